"""Commands that move a campaign on: `run`, `tick`, `propose`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note, own_lab_option

if TYPE_CHECKING:
    import pandas as pd

    from flows.cli.progress import Display
    from flows.session import Session


@click.command()
@campaign_argument
@click.option("--no-prefect", is_flag=True, help="Call the steps without Prefect.")
@own_lab_option
@json_option
def run(campaign: str, no_prefect: bool, lab_file: str | None, as_json: bool) -> None:
    """Tick to the end of the budget; end with the recommended recipe and where to look.

    A second run of the same file continues; it does not start over. A campaign with `evaluator: virtual-lab` can be answered by
    a lab of your own (--lab).
    """
    from flows import settings as machine
    from flows.cli.progress import Display

    began = time.monotonic()
    settings = machine.load(Path(campaign))
    note(f"starting {'without Prefect' if no_prefect else 'Prefect'} (imports, migrations, server) …")
    with Display(began) as display:
        if no_prefect:
            sentence = _run_plainly(campaign, lab_file, display)
        else:
            from flows import prefect_call
            from flows.rehearse import check_same_lab
            from flows.session import open_session

            # A faulty file, and a lab that is not the one of before, are refused before a server is started for them.
            check_same_lab(open_session(campaign, lab_file=lab_file))

            sentence = prefect_call.run(campaign, lab_file, settings, display.tick, display.started)
    note(f"start-up {display.startup_s:.0f} s, work {time.monotonic() - began - display.startup_s:.0f} s; {sentence}")
    from flows.cli.review import print_answer

    print_answer(campaign, as_json=as_json)


def _run_plainly(campaign: str, lab_file: str | None, display: Display) -> str:
    from flows import tick as steps
    from flows.session import open_session

    session = open_session(campaign, lab_file=lab_file)
    display.started()
    return steps.summary(*steps.run(session, progress=display.tick))


@click.command()
@campaign_argument
@own_lab_option
@json_option
def tick(campaign: str, lab_file: str | None, as_json: bool) -> None:
    """Do all that can be done now, once: take in, propose up to the batch, evaluate, project, report."""
    from flows import prefect_call
    from flows import settings as machine

    settings = machine.load(Path(campaign))
    if prefect_call.server_answers(settings):
        note(f"on the Prefect server at {settings.prefect_api_url}")
        line = prefect_call.tick(campaign, lab_file, settings)
    else:
        where = f"at {settings.prefect_api_url} does not answer" if settings.prefect_api_url else "is not configured"
        note(f"a Prefect server {where}: the same steps without Prefect")
        from flows import tick as steps
        from flows.session import open_session

        line = steps.summary(steps.tick(open_session(campaign, lab_file=lab_file)))
    if as_json:
        done, *sentences = line.splitlines()
        emit_json({"tick": done, "sentences": sentences})
    else:
        click.echo(line)


@click.command()
@campaign_argument
@click.option("-q", "q", default=1, show_default=True, type=click.IntRange(1, 64), help="How many trials.")
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a lab sheet (.xlsx) of the open trials."
)
@json_option
def propose(campaign: str, q: int, sheet: Path | None, as_json: bool) -> None:
    """Choose the next trials: each with its predicted outcome, uncertainty and the reason it was chosen.

    Trials that are proposed and not yet begun are given again before new ones are chosen, so asking twice costs nothing.
    """
    from flows import history, lab_sheet, stock
    from flows import tick as steps
    from flows.session import open_session
    from ingest.sheet_write import refuse_place

    session = open_session(campaign)
    if sheet is not None:
        refuse_place(sheet)
    history.import_history(session)
    if session.spec.evaluator == "lab":
        _print_evidence(session)
    table = _next_trials(session, q)
    if short := stock.short_of(session, len(table), q):
        note(short)
    if over := steps.over_budget(session):
        note(over)
    if sheet is not None:
        lab_sheet.write(session, sheet, list(table.index))
        note(f"sheet: {sheet}")
    if as_json:
        emit_json(table.reset_index())
    else:
        emit_table(table.reset_index())


def _next_trials(session: Session, q: int) -> pd.DataFrame:
    """The next trials; where the stock does for no new one, those alone that wait already."""
    from flows import choose, stock

    try:
        return choose.next_trials(session, q)
    except stock.OutOfStock:
        trials = session.ledger.trials(session.name)
        waiting = int((trials["state"].eq("proposed") & trials["planned"].astype(bool)).sum())
        if not waiting:
            raise
        return choose.next_trials(session, waiting)


def _print_evidence(session: Session) -> None:
    """Say what the choice is made from: rows of this space and protocol that measured what is wanted, and tests under way."""
    from flows import evidence, under_test

    reader = session.reader
    known = evidence.learnable(reader, session)
    partial, _ = under_test.partial(session, reader, set(known.trials))
    if len(partial):
        each = "its test so far lets" if len(partial) == 1 else "their tests so far let"
        note(f"chosen also from what {each} expect: {', '.join(partial['trial'].unique())}")
    if not known.trials:
        if len(partial):
            return
        by = (
            "are those of most promise by the physics"
            if session.spec.prior == "physics"
            else "are spread over the space"
        )
        note(f"nothing was measured in this space and protocol yet: the first recipes {by}")
        return
    trials = session.ledger.trials(session.name).loc[known.trials]
    measured = int(known.values.notna().all(axis=1).sum())
    failed = len(known.trials) - measured
    said = [f"{measured} measured result{'s' * (measured != 1)}"] if measured else []
    said += [f"{failed} trial{'s' * (failed != 1)} that failed"] if failed else []
    note(f"chosen from {' and '.join(said)} in this space and protocol:")
    shown = known.recipes.join(known.values).assign(trial=known.trials, evaluator=trials["evaluator"].to_list())
    for line in shown.to_string(index=False).splitlines():
        note("  " + line)
