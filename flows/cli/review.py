"""Commands that look: `status`, `report`, `plot`, `diagnostics`, `sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd

from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note

if TYPE_CHECKING:
    from flows.session import Session


def print_answer(campaign: str, *, as_json: bool) -> None:
    """Print the recommended recipe, its ridge, what is not known, and where to look next."""
    from flows.session import open_session
    from flows.view import campaign_view
    from review import diagnosis

    session = open_session(campaign, write=False)
    view, found = campaign_view(session)
    report = session.settings.reports(session.name) / "report.html"
    why = None if found is not None else _why_none(session)
    measured = view.ranked(view.published)
    if as_json:
        answered = None if found is None else {
            "recipe": found.recipe,
            "mean": found.mean,
            "p05": found.p05,
            "p95": found.p95,
            "other_objectives": found.others,
            "chance_met": found.chance_met,
            "trust_in_prior": found.trust,
            "sentences": found.sentences,
            "notes": found.notes,
            "ridge": found.ridge,
        }  # fmt: skip
        checked = diagnosis.as_dict(view.diagnosis)
        shown = ["trial_id", view.objective.name, *view.recipe_columns(measured)]
        best = measured[shown].head(1) if len(measured) else measured
        emit_json(
            {
                "campaign": session.name,
                "recommendation": answered,
                "why_none": why,
                "best_published": next(iter(best.to_dict("records")), None),
                "diagnostics": checked,
                "report": str(report),
            }
        )
        return
    if found is None:
        click.echo(why)
        return
    for sentence in found.sentences:
        click.echo(sentence)
    if checked_in_short := diagnosis.summary(view.diagnosis):
        click.echo(checked_in_short)
    for sentence in found.notes:
        click.echo(f"Note: {sentence}")
    if len(measured):
        top = measured.iloc[0]
        click.echo(
            f"Best published beside it (measured, not used here): {top[view.objective.name]:.4g} {view.objective.unit} "
            f"at {top['speed_rpm']:g} rpm, {top['time_h']:g} h, {top['sse']}."
            if session.spec.evaluator == "physics"
            else f"Best published: {top[view.objective.name]:.4g} {view.objective.unit}."
        )
    click.echo(f"Report:  {report}")
    _print_mlflow(session)


def _why_none(session: Session) -> str:
    """Say why nothing can be recommended."""
    trials = session.reader.trials(session.name)
    states = trials.loc[trials["evaluator"].eq(session.spec.evaluator), "state"]
    failed = int(states.eq("failed").sum())
    why = f"no trial gave a result, and {failed} of {len(states)} failed" if failed else "no result has come in"
    return f"No recommendation yet: {why}."


def _print_mlflow(session: Session) -> None:
    """Say how to look at the copy in MLflow: the server's command where it is our own file, and the saved views."""
    from flows import project

    uri = session.settings.mlflow_tracking_uri
    if uri.startswith("sqlite"):
        click.echo(f"MLflow:  DO_NOT_TRACK=true mlflow server --backend-store-uri {uri} --host 127.0.0.1 --workers 1")
    views = project.links_file(session)
    if views.exists():
        for line in views.read_text(encoding="utf-8").splitlines():
            click.echo(f"         {line}")


@click.command()
@campaign_argument
@json_option
def status(campaign: str, as_json: bool) -> None:
    """Show trials by state, the best so far, what is awaited, and cells of which something is not known."""
    from campaign.trial import OPEN
    from flows import evidence, unlearned
    from flows.intake import cells
    from flows.session import open_session

    session = open_session(campaign, write=False)
    reader = session.reader
    look = [*cells.unsaid(session, reader), *unlearned.sentences(session, reader)]
    waiting = cells.unassigned(session, reader)
    trials = reader.trials(session.name)
    counts = trials.groupby(["evaluator", "state"], sort=False).size().rename("trials").reset_index()
    open_trials = trials[trials["state"].isin(OPEN)]
    known = evidence.learnable(reader, session).means()
    objective = session.spec.objective
    results = known[objective.outcome]
    values = results.where(evidence.meets_bounds(session.spec, known))
    best: dict[str, object] | None = None
    if values.notna().any():
        row = int((values if objective.goal == "max" else -values).argmax())
        shown = [*(each.outcome for each in session.spec.objectives), *session.spec.space]
        best = {"trial": known.index[row], **{name: known[name].iloc[row] for name in dict.fromkeys(shown)}}
    why = None if best is not None else "no result yet"
    if best is None and results.notna().any():
        bounds = ", ".join(bound.sentence for bound in session.spec.outcome_constraints)
        why = f"none of the {results.notna().sum()} results meets {bounds}"
    if as_json:
        emit_json(
            {
                "campaign": session.name,
                "states": counts,
                "best": best,
                "why_none": why,
                "awaited": open_trials.reset_index()["trial"].to_list(),
                "unassigned": waiting,
                "look": look,
            }
        )
        return
    emit_table(counts)
    click.echo()
    if best is None:
        click.echo(f"best so far: {why}")
    else:
        click.echo(
            "best so far: " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in best.items())
        )
    awaited = open_trials.reset_index()[["trial", "state", *session.spec.space]]
    click.echo("awaited: " + ("nothing" if awaited.empty else ""))
    if len(awaited):
        emit_table(pd.DataFrame(awaited))
    if waiting:
        click.echo("files that wait for their cell:")
    for sentence in waiting:
        click.echo(f"  {sentence}")
    if look:
        click.echo("please look at:")
    for sentence in look:
        click.echo(f"  {sentence}")


@click.command()
@campaign_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where; by default in the data directory."
)
def report(campaign: str, output: Path | None) -> None:
    """Write the report: one self-contained HTML with every plot."""
    from flows import project
    from flows.session import open_session
    from flows.view import campaign_view

    session = open_session(campaign, write=False)
    view, _ = campaign_view(session)
    click.echo(project.write_report(session, view, output))


@click.command()
@campaign_argument
@click.argument("what")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="PNG, SVG or HTML; the data go beside it."
)
def plot(campaign: str, what: str, output: Path | None) -> None:
    """Draw one plot (PNG, SVG or HTML) and write the data behind it.

    WHAT is best_so_far, capacity_against_cycle, objective_over_speed_time, sse_comparison, parity or sensitivity.
    """
    from flows.session import open_session
    from flows.view import campaign_view
    from review import plots

    plots.refuse_unknown(what)
    session = open_session(campaign, write=False)
    view, _ = campaign_view(session)
    drawn = plots.draw(view, what)
    for path in drawn.save(output or session.settings.reports(session.name) / f"{what}.png"):
        click.echo(path)


@click.command()
@campaign_argument
@json_option
def diagnostics(campaign: str, as_json: bool) -> None:
    """Say how far the model deserves belief.

    Each result is predicted from all others: how many lay inside their intervals, how much of the results is foretold; which
    settings matter by the model, and how much of it is the prior's.
    """
    from flows.choose import chooser
    from flows.diagnosis import diagnosis
    from flows.session import open_session
    from review.diagnosis import as_dict, sentences

    session = open_session(campaign, write=False)
    reader = session.reader
    found = diagnosis(session, reader, chooser(session, reader))
    if as_json:
        emit_json({"campaign": session.name, **as_dict(found)})
        return
    for sentence in sentences(found):
        click.echo(sentence)
    if len(found.parity):
        click.echo()
        emit_table(found.parity)


@click.command()
@campaign_argument
def sync(campaign: str) -> None:
    """Rebuild the MLflow copy of a campaign from the ledger."""
    from campaign.errors import Refusal
    from flows import project
    from flows.session import open_session
    from flows.view import campaign_view

    session = open_session(campaign, write=False)
    view, _ = campaign_view(session)
    session.ledger.reset_projection(session.name)
    written = project.write_report(session, view)
    sentence = project.project(session, view, written, rebuild=True)
    if sentence:
        raise Refusal(sentence)
    note(f"MLflow at {session.settings.mlflow_tracking_uri} shows the ledger again")
