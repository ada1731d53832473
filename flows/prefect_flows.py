"""The Prefect skins: a flow for one tick and one for a run, each step a task, no subflows (each would cost a second).

Nothing is decided here. Exclusion between ticks is the ledger's lease, not Prefect's limit: a runner that died must not
hold up the next tick. Import this module only after `flows.quiet.apply`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import tick as steps
from flows.session import Session, open_session
from flows.tick import TickResult, summary

Progress = Callable[[Session, TickResult], None]


def as_task(name: str, step: Callable[[], Any]) -> Any:
    """Call a step as a Prefect task; nothing of it is cached or stored by Prefect, the ledger has it."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(step)()


@flow(name="mixwright-tick", flow_run_name="tick {campaign}", persist_result=False, validate_parameters=False)
def tick_flow(campaign: str, lab_file: str | None = None) -> str:
    """One tick of a campaign file: the deployment that a schedule fires.

    Returns:
        What was done: a line of counts, and a line for each sentence.
    """
    session = open_session(campaign, lab_file=lab_file)
    result = steps.tick(session, call=as_task)
    line = summary(result)
    create_markdown_artifact(
        key="tick", markdown=_markdown(session, result), description=f"What this tick of {session.name} did"
    )
    return line


def run_flow(
    progress: Progress | None = None, started: Callable[[], None] | None = None
) -> Callable[[str, str | None], str]:
    """Make the flow that ticks a campaign file to its end; what it reports to stays out of Prefect's parameters.

    Args:
        progress: told of every tick.
        started: called when the flow itself begins, after imports and server.
    """

    @flow(name="mixwright-run", flow_run_name="run {campaign}", persist_result=False, validate_parameters=False)
    def run(campaign: str, lab_file: str | None = None) -> str:
        if started is not None:
            started()
        results = steps.run(open_session(campaign, lab_file=lab_file), call=as_task, progress=progress)
        return summary(*results)

    return run


def _markdown(session: Session, result: TickResult) -> str:
    done, *sentences = summary(result).splitlines()
    lines = [f"**{done}**", "", *(f"- {sentence}" for sentence in sentences)]
    lines += [f"- proposed {name}" for name in result.proposed]
    lines += [f"- evaluated {name}" for name in result.evaluated]
    lines += ["", f"Report: `{session.settings.reports(session.name) / 'report.html'}`"]
    return "\n".join(lines)
