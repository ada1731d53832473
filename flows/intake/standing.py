"""A trial stands where its mixes and cells are: also after something was taken back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from campaign.errors import Refusal
from campaign.trial import SubjectId, Trial
from flows.intake import cells, times
from store import Ledger

if TYPE_CHECKING:
    from flows.people import Act

_UNMIXED = ("proposed", "issued")
_UNTESTED = (*_UNMIXED, "mixing")


def catch_up(ledger: Ledger, name: str, act: Act) -> str:
    """Bring a trial that stands before its mixes and cells to where they are. Repeatable.

    Returns:
        Its state now.
    """
    mixes, tested = _parts(ledger, name)
    mixed, running = mixes.index[mixes["state"].eq("mixed")], tested.index[tested["state"].eq("running")]
    if ledger.trial(name).state in _UNMIXED and len(mixed):
        ledger.mixed(mixed[-1], key=act.key("mixed as before", name, ledger.seq), at=act.at, by=act.by, why=act.why)
    if ledger.trial(name).state in _UNTESTED and len(running):
        # Only a start makes a trial one under test, so its cell, which runs, is started once more, as of when it was.
        cell, at = str(running[-1]), times.noted(ledger, str(running[-1]), "start") or act.at
        ledger.undo(cell, key=act.key("undo", cell, ledger.seq), at=act.at, by=act.by, why=act.why)
        ledger.start(cell, key=act.key("runs as before", cell, ledger.seq), at=at, by=act.by, why=act.why)
    return ledger.trial(name).state


def undo(ledger: Ledger, subject: SubjectId, act: Act) -> str:
    """Take back the last change of state of a trial, mix or cell; its trial follows. Returns what to say.

    Raises:
        Refusal: something else stands on it that has to be taken back first, or there is nothing to undo.
    """
    trial = ledger.trial(str(subject))
    mixes, tested = _parts(ledger, trial.id)
    _refuse_held(trial, subject, mixes, tested)
    # The trial goes first: killed after it, the same command again does the rest.
    if subject.kind != "trial" and _last_reason(trial, subject, mixes, tested):
        ledger.undo(trial.id, key=act.key("undo", trial.id, ledger.seq), at=act.at, by=act.by, why=act.why)
    if subject.kind == "mix" and _state(mixes, subject) == "mixed":
        _forget_done(ledger, trial, subject, mixes, act)
    new = ledger.undo(str(subject), key=act.key("undo", subject), at=act.at, by=act.by, why=act.why)
    state = catch_up(ledger, trial.id, act)
    if subject.kind == "trial":
        return f"{subject} is {state} again"
    return f"{subject} is {new} again" + (f", and {trial.id} {state}" if state != trial.state else "")


def _refuse_held(trial: Trial, subject: SubjectId, mixes: pd.DataFrame, tested: pd.DataFrame) -> None:
    """Refuse to take back what a batch or cell that stands says, and name that."""
    begun = [str(cell) for cell in tested.index[tested["state"].ne("planned")]]
    mixed = [str(mix) for mix in mixes.index[mixes["state"].eq("mixed")]]
    holder = ""
    if subject.kind == "trial" and trial.state in ("mixing", "testing"):
        holder = ([""] + (begun if trial.state == "testing" else mixed))[-1]
    elif subject.kind == "mix" and _state(mixes, subject) == "mixed":
        holder = ([""] + [cell for cell in begun if cell.startswith(f"{subject}-")])[-1]
    if holder:
        stands = str(tested.loc[holder, "state"]) if holder in tested.index else "mixed"
        raise Refusal(
            f"{subject} is {trial.state if subject.kind == 'trial' else 'mixed'} because {holder} is {stands}; to take that "
            f"back first: mixwright undo CAMPAIGN {holder} --why '…'"
        )


def _last_reason(trial: Trial, subject: SubjectId, mixes: pd.DataFrame, tested: pd.DataFrame) -> bool:
    """Whether the trial stands where it does for this mix or cell alone."""
    if subject.kind == "mix":
        others = mixes[mixes["state"].eq("mixed") & (mixes.index != str(subject))]
        return trial.state == "mixing" and _state(mixes, subject) == "mixed" and others.empty
    others = tested[tested["state"].ne("planned") & (tested.index != str(subject))]
    return trial.state == "testing" and _state(tested, subject) == "running" and others.empty


def _forget_done(ledger: Ledger, trial: Trial, mix: SubjectId, mixes: pd.DataFrame, act: Act) -> None:
    """What was told of a batch that was never mixed is no recipe; that of another batch, or as asked, stands again."""
    others = mixes[mixes["state"].eq("mixed") & (mixes.index != str(mix))]
    done = json.loads(str(others["recipe_done"].iloc[-1])) if len(others) else {}
    changes = {
        trial.id: {"recipe_done": done or None},
        str(mix): {"recipe_done": None, "details": {}},
    }
    key = act.key("not done", mix, ledger.seq)
    ledger.amend(subjects=changes, why=act.why or "not mixed", key=key, at=act.at, by=act.by)
    cells.share_follows(ledger, trial.id, by=act.by, at=act.at)


def _parts(ledger: Ledger, trial: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    mixes, tested = ledger.mixes(), ledger.cells()
    return mixes[mixes["trial"].eq(trial)], tested[tested["trial"].eq(trial)]


def _state(table: pd.DataFrame, subject: SubjectId) -> str | None:
    return str(table.loc[str(subject), "state"]) if str(subject) in table.index else None
