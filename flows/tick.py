"""The tick: all that can be done for a campaign now, in order; and the run: ticks until the budget or the stopping rule.

A tick is idempotent: killed half-way, run twice or by two schedulers at once, it leaves the same ledger, because every
write carries its key and a lease lets one tick work at a time. It needs the ledger alone: with MLflow gone it says so and
goes on, and the next one brings the copy up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from campaign.trial import OPEN
from flows import choose, evaluate, history, inbox, outlook, project, stock, under_test
from flows.session import Session, is_dead, now, who
from store import Lease, Stale

T = TypeVar("T")
Step = Callable[[str, Callable[[], T]], T]
"""How a step is called: plainly, or as a Prefect task of this name."""

LEASE_S = 300.0
"""Longer than any single step; renewed before each, so that a tick that died far away holds up the next for this long at most."""


@dataclass(frozen=True)
class TickResult:
    """What one tick did, in numbers and sentences."""

    proposed: tuple[str, ...] = ()
    evaluated: tuple[str, ...] = ()
    taken_in: tuple[str, ...] = ()
    busy: bool = False
    """Another tick was at work; this one did nothing."""
    finished: bool = False
    """Budget or stopping rule reached: there is nothing more to propose."""
    sentences: tuple[str, ...] = ()


def plainly(name: str, step: Callable[[], Any]) -> Any:
    """Call a step without Prefect."""
    del name
    return step()


def tick(session: Session, *, call: Step[Any] = plainly, project_now: bool = True) -> TickResult:
    """Do all that can be done now: import history, take in files, propose up to the open batch, evaluate, project, report.

    Args:
        session: an open campaign.
        call: how steps are called.
        project_now: bring MLflow and the report up to date at the end; `run` does so once, after its last tick.
    """
    with _lease(session) as lease:
        if lease is None:
            return TickResult(
                busy=True, sentences=("another tick of this campaign is at work; this one leaves it to that",)
            )
        call = _renewing(call, session, lease)
        call("import history", lambda: history.import_history(session))
        arrived = call("take in", lambda: inbox.empty(session) if session.spec.evaluator == "lab" else inbox.Emptied())
        call("foresee", lambda: outlook.foresee(session))
        # Trials that a killed tick had proposed are answered before new ones are chosen: the choice then knows them.
        evaluated = call("evaluate", lambda: evaluate.evaluate_waiting(session))
        proposed, sentence = call("propose", lambda: _propose(session, lease))
        evaluated += call("evaluate", lambda: evaluate.evaluate_waiting(session)) if proposed else []
        call("advise", lambda: under_test.bring_up_to_date(session))
        sentences = [*arrived.sentences, *([sentence] if sentence else [])]
        if project_now:
            sentences += call("project and report", lambda: project.bring_up_to_date(session))
    return TickResult(
        tuple(proposed),
        tuple(evaluated),
        arrived.taken,
        finished=not proposed and not evaluated,
        sentences=tuple(sentences),
    )


def run(
    session: Session, *, call: Step[Any] = plainly, progress: Callable[[Session, TickResult], None] | None = None
) -> list[TickResult]:
    """Tick until nothing more can be done now: the budget is used, the stopping rule holds, or a lab must answer first."""
    results: list[TickResult] = []
    while True:
        result = tick(session, call=call, project_now=False)
        results.append(result)
        if progress is not None:
            progress(session, result)
        if result.busy or result.finished:
            break
    if not results[-1].busy:
        call("project and report", lambda: project.bring_up_to_date(session))
    return results


def _propose(session: Session, lease: Lease) -> tuple[list[str], str | None]:
    room = _room(session)
    if room.q == 0:
        return [], room.sentence
    stop = choose.reason_to_stop(session)
    if stop is not None:
        return [], stop
    try:
        proposed = list(choose.propose(session, room.q, lease=lease).index)
        return proposed, stock.short_of(session, len(proposed), room.q)
    except (Stale, stock.OutOfStock) as reason:
        return [], str(reason)


@dataclass(frozen=True)
class _Room:
    q: int
    sentence: str | None = None


def _room(session: Session) -> _Room:
    """How many trials may be proposed now: up to the open batch, within the budget.

    A lab's trial is open until its cell is under test: what is to be mixed next does not wait for cells that run for months.
    """
    own = _asked_for(session)
    budget = session.spec.budget
    left = budget.trials - len(own)
    under_way = [state for state in OPEN if state != "testing" or session.spec.evaluator != "lab"]
    waiting = int(own["state"].isin(under_way).sum())
    if left <= 0:
        return _Room(0, f"the budget of {budget.trials} trials is used")
    if waiting >= budget.batch:
        return _Room(0, f"{waiting} trials are open, as many as the batch allows; their results come first")
    if session.spec.evaluator != "lab":
        return _Room(min(left, budget.batch - waiting))
    room = max(1, len(under_test.free_channels(session, session.reader))) - waiting
    if room <= 0:
        running = session.spec.lab.channels - len(under_test.free_channels(session, session.reader))
        return _Room(
            0, f"{waiting} trials wait to be tested and {running} of {session.spec.lab.channels} channels are taken"
        )
    return _Room(min(left, budget.batch - waiting, room))


def _asked_for(session: Session) -> pd.DataFrame:
    """The trials that count against the budget: all that the campaign has asked for, whatever became of them."""
    trials = session.ledger.trials(session.name)
    return trials[trials["evaluator"].eq(session.spec.evaluator) & trials["planned"].astype(bool)]


def over_budget(session: Session) -> str | None:
    """Say that more trials were asked for than the budget has: a person may, a tick does not."""
    budget, count = session.spec.budget.trials, len(_asked_for(session))
    if count <= budget:
        return None
    return f"the budget of {budget} trials is exceeded: {count} were asked for by now; tick and run ask for no more"


def _renewing(call: Step[Any], session: Session, lease: Lease) -> Step[Any]:
    """Keep the lease before each step; a tick that another has taken over stops here."""

    def renewed(name: str, step: Callable[[], Any]) -> Any:
        session.ledger.renew(lease, at=now(), ttl_s=LEASE_S)
        return call(name, step)

    return renewed


@contextmanager
def _lease(session: Session) -> Iterator[Lease | None]:
    name = f"tick {session.name}"
    lease = session.ledger.claim(name, by=who(), at=now(), ttl_s=LEASE_S)
    held = session.ledger.holder(name)
    if lease is None and held is not None and is_dead(held.holder):
        # A process of this machine that was killed gives its lease back by no longer being there.
        session.ledger.release(held, at=now())
        lease = session.ledger.claim(name, by=who(), at=now(), ttl_s=LEASE_S)
    try:
        yield lease
    finally:
        if lease is not None:
            session.ledger.release(lease, at=now())


def summary(*results: TickResult) -> str:
    """Say what ticks did: one line of counts over all, and below it each sentence of the last on a line of its own."""
    proposed, evaluated, taken_in = (
        sum(len(getattr(result, part)) for result in results) for part in ("proposed", "evaluated", "taken_in")
    )
    done = f"proposed {proposed}, evaluated {evaluated}, took in {taken_in}"
    return "\n".join(([] if results[-1].busy else [done]) + list(results[-1].sentences))


def states(trials: pd.DataFrame) -> dict[str, int]:
    """Count trials by state."""
    return {str(state): int(count) for state, count in trials["state"].value_counts().items()}
