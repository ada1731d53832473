"""Commands for what the lab brings: `ingest`, `inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note


@click.command()
@campaign_argument
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cell", help="The cell that the file is of, such as T0001-M1-C1.")
@click.option(
    "--active-mass-mg", type=click.FloatRange(min=0, min_open=True), help="Active in that cell, if no sheet said it."
)
@click.option("--area-cm2", type=click.FloatRange(min=0, min_open=True), help="Area of that cell, if no sheet said it.")
@click.option("--by", help="Who brings it; by default the user of this machine.")
@json_option
def ingest(
    campaign: str,
    files: tuple[Path, ...],
    cell: str | None,
    active_mass_mg: float | None,
    area_cm2: float | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Take in lab results: a filled sheet, a CSV of capacity against cycle, or a raw cycler file."""
    from campaign.errors import Refusal
    from flows import take_in
    from flows.session import open_session, who

    if len(files) > 1 and (cell or active_mass_mg or area_cm2):
        raise Refusal("--cell, --active-mass-mg and --area-cm2 speak of one file; give one file with them")
    session = open_session(campaign)
    facts = {"active_mass_mg": active_mass_mg, "area_cm2": area_cm2}
    taken = [take_in.take_in(session, path, by=by or who(), cell=cell, **facts) for path in files]
    for item in taken:
        for sentence in item.findings:
            note(f"note: {sentence}")
    if as_json:
        emit_json([{"sentence": item.sentence, "trials": item.trials, "findings": item.findings} for item in taken])
        return
    for item in taken:
        click.echo(item.sentence)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--start", type=click.Choice(["discharge", "charge"]), help="Direction of cycle 1; else that of the file."
)
@json_option
def inspect(file: Path, start: str | None, as_json: bool) -> None:
    """Say what would be understood of a lab file, without any campaign."""
    from campaign.errors import Refusal
    from ingest import inspect as look

    if not file.is_file():
        raise Refusal(f"there is no file {file}")
    found = look(file, start=start)  # type: ignore[arg-type]  # click.Choice gives one of the two
    if as_json:
        emit_json(found.as_json())
        return
    partial = "; its first cycle is partial" if found.first_cycle_partial else ""
    click.echo(
        f"{found.name}: {found.format}, {found.rows} rows, {len(found.cycles)} cycles, starts with {found.start}{partial}"
    )
    shown = [
        "cycle",
        "discharge_capacity_mAh",
        "charge_capacity_mAh",
        "vendor_discharge_capacity_mAh",
        "vendor_charge_capacity_mAh",
    ]
    emit_table(found.cycles[[*shown, "discharge_state", "charge_state"]])
    for finding in found.findings:
        click.echo(f"{finding.level}: {finding.check}: {finding.sentence}")
