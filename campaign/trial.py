"""Trials, mixes and cells: their ids, their states, and the one table of state changes.

A trial is one recipe under one protocol; a mix is one physical batch of it; a cell is one test of one mix.
Ids are typed by people, so they are short and forgiving to read: `T0007`, `T0007-M1`, `T0007-M1-C1`.

The table is forgiving where the lab is ahead of the record (a mix that nobody announced, a cell started before its mix was
told): news that comes late never moves a state backwards and is never refused. What would contradict the record is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from campaign.errors import Refusal
from campaign.names import nearest

SIMULATED = ("physics", "virtual-lab")
MEASURED = ("lab", "published", "earlier")
EVALUATORS = SIMULATED + MEASURED

OPEN = ("proposed", "issued", "mixing", "testing")
ENDED = ("completed", "failed", "abandoned")
TRIAL_STATES = (*OPEN, *ENDED, "excluded")
MIX_STATES = ("planned", "mixed", "failed", "excluded")
CELL_STATES = ("planned", "running", "stopped", "completed", "failed", "excluded")
FIRST_STATE: Mapping[str, str] = MappingProxyType({"trial": "proposed", "mix": "planned", "cell": "planned"})

BEFORE = "(the state before)"
"""Target of `undo`: the state that the last change that still stands had replaced."""


def _to(target: str, *sources: str) -> dict[str, str]:
    return {source: target for source in sources}


def _stay(*states: str) -> dict[str, str]:
    return {state: state for state in states}


TRANSITIONS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "trial": {
            "issue": _to("issued", "proposed") | _stay("issued", "mixing", "testing"),
            "mix": _to("mixing", "proposed", "issued") | _stay("mixing", "testing", *ENDED, "excluded"),
            "start": _to("testing", "proposed", "issued", "mixing") | _stay("testing", *ENDED, "excluded"),
            "complete": _to("completed", *OPEN, "failed", "abandoned"),
            "fail": _to("failed", *OPEN, "abandoned"),
            "abandon": _to("abandoned", *OPEN),
            "exclude": _to("excluded", *OPEN, *ENDED),
            "undo": _to(BEFORE, *TRIAL_STATES[1:]),
        },
        "mix": {
            "mix": _to("mixed", "planned") | _stay(*MIX_STATES[1:]),
            "fail": _to("failed", "planned", "mixed"),
            "exclude": _to("excluded", "planned", "mixed", "failed"),
            "undo": _to(BEFORE, *MIX_STATES[1:]),
        },
        "cell": {
            "start": _to("running", "planned"),
            "stop": _to("stopped", "planned", "running"),
            "complete": _to("completed", "planned", "running", "stopped"),
            "fail": _to("failed", "planned", "running", "stopped"),
            "exclude": _to("excluded", *CELL_STATES[:-1]),
            "undo": _to(BEFORE, *CELL_STATES[1:]),
        },
    }
)
"""kind -> verb -> {state: next state}. What is not in the table is refused; state -> same state is news that comes late."""


def next_state(kind: str, state: str, verb: str, *, name: str) -> str:
    """State that a trial, mix or cell has after a verb; `BEFORE` for an undo.

    Raises:
        Refusal: the table has no such change; the sentence names `name` and what is possible from its state.
    """
    target = TRANSITIONS[kind].get(verb, {}).get(state)
    if target is None:
        possible = [other for other, changes in TRANSITIONS[kind].items() if state in changes]
        raise Refusal(f"{name}: cannot {verb} a {kind} that is {state}; possible now: {', '.join(possible)}")
    return target


def standing_states(changes: Iterable[tuple[str, str]]) -> list[str]:
    """States that still stand, oldest first, from (verb, state after it); an undo takes the last one away.

    >>> standing_states([("propose", "proposed"), ("complete", "completed"), ("undo", "proposed")])
    ['proposed']
    """
    stack: list[str] = []
    for verb, state in changes:
        if verb == "undo":
            stack.pop()
        elif not stack or stack[-1] != state:
            stack.append(state)
    return stack


_ID = re.compile(r"T(\d{1,9})(?:-?M(\d{1,4})(?:-?C(\d{1,4}))?)?", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class SubjectId:
    """What a result can hang on: a trial, one of its mixes, or one cell of a mix (0 = not given)."""

    trial_number: int
    mix_number: int = 0
    cell_number: int = 0

    @property
    def kind(self) -> str:
        """`trial`, `mix` or `cell`."""
        return "cell" if self.cell_number else "mix" if self.mix_number else "trial"

    @property
    def trial(self) -> str:
        """Id of the trial."""
        return f"T{self.trial_number:04d}"

    @property
    def mix(self) -> str:
        """Id of the mix; the trial's where there is none."""
        return f"{self.trial}-M{self.mix_number}" if self.mix_number else self.trial

    def __str__(self) -> str:
        return f"{self.mix}-C{self.cell_number}" if self.cell_number else self.mix


def read_id(text: str) -> SubjectId:
    """Read an id as a person types it: case, leading zeros, blanks around it and a missing hyphen do not matter.

    >>> str(read_id(" t7-m1c2 "))
    'T0007-M1-C2'

    Raises:
        Refusal: it is no id.
    """
    match = _ID.fullmatch(text.strip())
    numbers = [int(group) for group in match.groups() if group is not None] if match else [0]
    if 0 in numbers:
        raise Refusal(f"{text!r} is no id of a trial, mix or cell; they read like T0007, T0007-M1 or T0007-M1-C1")
    return SubjectId(*numbers)


def check_evaluator(name: str) -> str:
    """Return the evaluator's name, or refuse it with the nearest right one."""
    if name not in EVALUATORS:
        raise Refusal(f"{name!r} is no evaluator: {nearest(name, EVALUATORS)}")
    return name


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Why a batch of trials was proposed: what another person needs to make the same proposal again.

    `data_seq` is the ledger's sequence number that the evidence was read at, `data_sha256` the hash of that evidence;
    `outcome` names the quantity that is predicted; `trust_in_prior` is between 0 (none) and 1, or None without a prior.
    """

    model_version: str
    seed: int
    data_seq: int
    data_sha256: str
    outcome: str
    trust_in_prior: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recipe under one protocol, as the ledger holds it now."""

    id: str
    campaign: str
    campaign_version: int
    evaluator: str
    state: str
    planned: bool
    recipe_asked: Mapping[str, Any]
    recipe_done: Mapping[str, Any] | None
    protocol: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe to learn from: as asked, with what is known to have been done in its place."""
        return {**self.recipe_asked, **(self.recipe_done or {})}
