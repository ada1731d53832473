"""The command `rehearse`: a whole campaign against virtual labs, before real months are spent."""

from __future__ import annotations

import os
from pathlib import Path

import click

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note, own_lab_option

TELL_EVERY = 10
"""Trials of a lab after which a line says how far it is."""


@click.command()
@campaign_argument
@click.option("--labs", default=20, show_default=True, help="How many virtual labs.")
@click.option("--seed", default=7, show_default=True, help="Seed of the first lab; the others follow it.")
@click.option(
    "--level",
    type=click.Choice(["faithful", "biased", "wrong"]),
    help="How far the labs' physics is from ours; without it what the campaign file says.",
)
@own_lab_option
@click.option("--horizon-days", default=730.0, show_default=True, help="Day on which a campaign ends at the latest.")
@click.option("--workers", default=os.cpu_count() or 1, show_default="number of cores", help="Processes.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Picture (PNG, SVG, HTML); else among the reports."
)
@json_option
def rehearse(
    campaign: str,
    labs: int,
    seed: int,
    level: str | None,
    lab_file: str | None,
    horizon_days: float,
    workers: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Play the whole campaign against virtual labs: days, cells and chance of success, before spending real months.

    The ledger is neither needed nor touched. The labs are simulated: what they say holds as far as they are like yours.
    """
    from flows import rehearsal_report as report
    from flows import settings as machine
    from flows.rehearse import read_question
    from flows.rehearse import rehearse as play

    spec, _, _ = read_question(campaign)
    told = level or spec.virtual_lab.level
    note(f"{labs} virtual labs ({told}), {spec.budget.trials} trials each, on {workers} processes …")

    results = play(
        campaign,
        labs=labs,
        seed=seed,
        level=level,  # type: ignore[arg-type]  # click has checked it
        lab_file=lab_file,
        horizon_days=horizon_days,
        workers=workers,
        progress=lambda result: note(report.of_lab(result)),
        tell_every=TELL_EVERY,
    )
    path = plot or machine.load(Path(campaign)).reports(spec.campaign) / "rehearsal.png"
    title = f"{spec.campaign}: {labs} virtual labs ({told}), {spec.budget.trials} trials"
    note(f"plot: {report.draw(results, path, title=title, tolerance_pct=spec.tolerance_pct)}")
    if as_json:
        emit_json(report.document(results, campaign=spec.campaign, level=told, tolerance_pct=spec.tolerance_pct))
        return
    emit_table(report.table(results), digits=3)
    for sentence in report.sentences(results, level=told, tolerance_pct=spec.tolerance_pct):
        click.echo(sentence)
