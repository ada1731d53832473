"""Cells of which some of what is wanted is measured, and that teach nothing all the same: another wanted outcome is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from campaign import outcome
from flows import evidence, under_test
from flows.session import Session
from store import Reader

_LISTED = 3
"""So many missing cycles are named; of more, how many they are."""


def sentences(session: Session, reader: Reader) -> list[str]:
    """Say of each such cell which outcome is missing and what would fill it.

    A cell that runs on to what is missing is none, nor one whose early curve speaks for it.
    """
    if session.spec.evaluator != "lab":
        return []
    half = evidence.half_known(reader, session)
    if half.empty:
        return []
    learned = set(evidence.learnable(reader, session).trials)
    record = evidence.record(reader, session.name)
    states = reader.cells(session.name)["state"]
    said: dict[str, str] = {}
    for subject, row in half.iterrows():
        cell = str(subject)
        mine = record[record["subject"].eq(cell)]
        unknown = [str(name) for name in half.columns if name != "trial" and pd.isna(row[name])]
        missing = [name for name in unknown if not _comes(mine, name, states.get(cell), row["trial"] in learned)]
        if missing:
            fill = "; ".join(dict.fromkeys(_filled_by(mine, name) for name in missing))
            verb = "is" if len(missing) == 1 else "are"
            said[cell] = f"{cell}: nothing is learned from it, as {' and '.join(missing)} {verb} not known; {fill}"
    if not said:
        return []  # asking the early curves may mean asking the physics
    early, _ = under_test.partial(session, reader, learned)
    return [sentence for cell, sentence in said.items() if cell not in set(early["number"].astype(str))]


def _comes(record: pd.DataFrame, name: str, state: str | None, learned: bool) -> bool:
    """Whether an outcome lacks cycles only that a running cell will reach, or that nobody needs after another cell's."""
    absent = _absent(record, name)
    later = bool(absent) and min(absent) > record["cycle"].max()
    return later and (state == "running" or learned)


def _absent(record: pd.DataFrame, name: str) -> list[int]:
    """Cycles that an outcome takes and that the record does not hold."""
    last = int(record["cycle"].max()) if len(record) else 1
    return sorted(set(_takes(name, last)) - set(record["cycle"].astype(int)))


def _takes(name: str, last: int) -> Iterator[int]:
    cycle = outcome.cycle_of(name)
    if name.endswith("_vs_peak_pct") or name.startswith("peak_"):
        yield from range(1, (cycle or last) + 1)
    elif cycle is not None:
        yield cycle
    if name.startswith("retention_") or name == "q2_over_q1":
        yield 1
    if name == "q2_over_q1":
        yield 2


def _filled_by(record: pd.DataFrame, name: str) -> str:
    absent = _absent(record, name)
    if absent:
        return f"hand in its record with {_cycles(absent)}"
    if name.startswith("discharge_energy_"):
        return f"hand in its cycler's file with the voltages of cycle {outcome.cycle_of(name)}"
    return f"no lab's record holds {name}: take it out of the campaign file"


def _cycles(cycles: Iterable[int]) -> str:
    numbers = [str(cycle) for cycle in cycles]
    if len(numbers) > _LISTED:
        return f"the {len(numbers)} cycles that it lacks up to cycle {numbers[-1]}"
    return f"cycle{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
