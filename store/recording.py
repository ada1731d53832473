"""Results into the ledger: rows are checked, added, never changed; an amendment adds a row that supersedes.

A scalar result is superseded by the row that names it. A cycle of a cycling record is superseded by the newest row of the
same subject and cycle: a growing file adds cycles, a repeated file adds nothing, and a cycle that was marked `partial`
gives way to its longer version. Any other difference from what stands is refused unless it comes as an amendment.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.trial import SubjectId, read_id
from store import schema
from store.write import Stale, Write, in_utc

RESULT_COLUMNS = (
    "subject", "observable", "unit", "value", "cycle", "relation", "rel_uncertainty", "abs_uncertainty", "provenance",
    "file", "note",
)  # fmt: skip
CYCLING_COLUMNS = ("subject", "cycle", *schema.CYCLING_NUMBERS, "partial", "file", "flags", "ended_at")
AMENDABLE = ("value", "unit", "cycle", "relation", "rel_uncertainty", "abs_uncertainty", "provenance", "file", "note")
_NUMBERS = ("value", "rel_uncertainty", "abs_uncertainty", *schema.CYCLING_NUMBERS)
_SAME = 1e-9
"""Relative difference below which two numbers are one value that went through text."""


def rows_of(table: pd.DataFrame | None, columns: Sequence[str], required: Sequence[str]) -> list[dict[str, Any]]:
    """Plain, checked rows of a table; an absent column or an empty cell gives None.

    Raises:
        Refusal: a column that is not known or missing, an empty required cell, a number that is none or not finite.
    """
    if table is None or not len(table):
        return []
    unknown = [str(name) for name in table.columns if name not in columns]
    if unknown:
        raise Refusal(f"column {unknown[0]!r} is no part of a result: {nearest(unknown[0], columns)}")
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise Refusal(
            f"a table of results needs the column {missing[0]!r}; it has {', '.join(map(str, table.columns))}"
        )
    present = [name for name in columns if name in table.columns]
    cells = [[_cell(value, name, label) for label, value in table[name].items()] for name in present]
    empty = dict.fromkeys(columns)
    rows = [{**empty, **dict(zip(present, values, strict=True))} for values in zip(*cells, strict=True)]
    for row, label in zip(rows, table.index, strict=True):
        for name in required:
            if row[name] is None:
                raise Refusal(f"row {label}, column {name}: is empty; it must be given")
    return rows


def _cell(value: Any, name: str, label: Hashable) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if name in ("cycle", "result"):
        if isinstance(value, str) or value != int(value) or value < 1:
            raise Refusal(f"row {label}, column {name}: {value!r} is no number from 1 on")
        return int(value)
    if name == "ended_at":
        return _instant(value, f"row {label}, column {name}")
    if name in _NUMBERS:
        return measured(value, f"row {label}, column {name}")
    return bool(value) if name == "partial" else str(value)


def _instant(value: Any, place: str) -> str:
    try:
        return in_utc(datetime.fromisoformat(str(value))).isoformat(timespec="microseconds")
    except ValueError as error:
        raise Refusal(f"{place}: {value!r} is no time; write it like 2026-03-01T09:30+00:00") from error


LARGEST = 1e12
"""Beyond it lies no quantity of a lab in our units, and the sums of squares of a model would lose all other digits."""


def measured(value: Any, place: str) -> float:
    """A float that is finite and no larger than anything that is measured.

    Raises:
        Refusal: names the place.
    """
    number = finite(value, place)
    if abs(number) > LARGEST:
        raise Refusal(f"{place}: {number:g} is larger than anything that is measured; is the unit right?")
    return number


def finite(value: Any, place: str) -> float:
    """A float that is finite.

    Raises:
        Refusal: names the place.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Refusal(f"{place}: {value!r} is not a finite number")
    return number


def add_results(write: Write, rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Insert scalar results (subjects known); returns their ids."""
    first = write.next_number(schema.result.c.id)
    full = []
    for number, row in enumerate(rows, start=first):
        relation = row["relation"] or "="
        if relation not in ("=", ">=", "<="):
            raise Refusal(f"{row['subject']}, {row['observable']}: the relation {relation!r} must be =, >= or <=")
        subject = read_id(row["subject"])
        new = {"id": number, "seq": write.seq, "trial": subject.trial, "relation": relation, "subject": str(subject)}
        full.append({"supersedes": None, "withdrawn": False, **row, **new})
        write.touch(subject.trial)
    write.insert(schema.result, full)
    return [row["id"] for row in full]


def add_cycles(write: Write, rows: Sequence[Mapping[str, Any]], *, amend: bool = False) -> int:
    """Insert rows of cycling records (subjects known); returns how many were new.

    Raises:
        Refusal: a cycle twice, or different from what stands, unless `amend`.
    """
    by_subject: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_subject.setdefault(str(read_id(row["subject"])), []).append(row)
    return sum(_add_record(write, subject, part, amend=amend) for subject, part in by_subject.items())


def _add_record(write: Write, name: str, rows: Sequence[Mapping[str, Any]], *, amend: bool) -> int:
    standing = standing_cycles(write.connection, name)
    subject = read_id(name)
    seen: set[int] = set()
    full = []
    for row in rows:
        cycle = row["cycle"]
        if cycle in seen:
            raise Refusal(f"{name}: cycle {cycle} stands twice in the table; each cycle has one row")
        seen.add(cycle)
        old = standing.get(cycle)
        if old is not None:
            different = [n for n in schema.CYCLING_NUMBERS if row[n] is not None and not same(row[n], old[n])]
            if not different and bool(row["partial"]) == old["partial"] and not (amend and old["withdrawn"]):
                continue  # known already; a cycle that was withdrawn stays so when its file comes again
            if not (amend or old["partial"]):
                column = different[0] if different else "partial"
                raise Refusal(
                    f"{name}: cycle {cycle} is recorded with {column} = {old[column]}, this says {row[column]}; if the record "
                    "was wrong, amend it and say why"
                )
            if amend:
                row = {**row, **{n: old[n] for n in schema.CYCLING_NUMBERS if row[n] is None}}
        new = {"subject": name, "trial": subject.trial, "seq": write.seq, "partial": bool(row["partial"])}
        ended = None if row["ended_at"] is None else datetime.fromisoformat(row["ended_at"])
        full.append({"withdrawn": False, **row, **new, "ended_at": ended})
    write.insert(schema.cycling, full)
    if full:
        write.touch(subject.trial)
    return len(full)


def standing_cycles(connection: sa.Connection, subject: str) -> dict[int, sa.RowMapping]:
    """Newest row of each cycle of a subject."""
    table = schema.cycling
    query = sa.select(table).where(table.c.subject == subject).order_by(table.c.seq)
    return {row["cycle"]: row for row in connection.execute(query).mappings()}


def same(new: float, old: float | None) -> bool:
    """Whether two numbers are one value."""
    return old is not None and math.isclose(new, old, rel_tol=_SAME, abs_tol=1e-12)


def amend_results(write: Write, rows: Iterable[Mapping[str, Any]], withdraw: Iterable[int]) -> list[int]:
    """Supersede scalar results: by rows with other values, or by rows that only withdraw them. Returns the new ids."""
    changed = [
        (row["result"], {n: v for n, v in row.items() if n != "result" and v is not None}, False) for row in rows
    ]
    new = []
    for old_id, values, withdrawn in changed + [(number, {}, True) for number in withdraw]:
        old = write.one(schema.result, id=old_id)
        if old is None:
            raise Refusal(f"there is no result {old_id} in the ledger; `export` lists the ids of results")
        later = write.one(schema.result, supersedes=old_id)
        if later is not None:
            raise Stale(f"result {old_id} is superseded by result {later['id']} already; amend that one")
        if withdrawn and old["withdrawn"]:
            raise Refusal(f"result {old_id} is withdrawn already; to count it again, amend it with its value")
        row = {name: old[name] for name in RESULT_COLUMNS} | values
        new += add_results(write, [{**row, "supersedes": old_id, "withdrawn": withdrawn}])
    return new


def ensure(write: Write, subject: SubjectId, *, planned: bool = True) -> None:
    """Make the mix and the cell of an id where the ledger has not heard of them; its trial must be known."""
    trial = SubjectId(subject.trial_number)
    write.state_of(trial)
    if subject.mix_number and write.one(schema.mix, id=subject.mix) is None:
        mix = SubjectId(subject.trial_number, subject.mix_number)
        row = {"trial": subject.trial, "planned": planned, "recipe_done": None, "details": "{}"}
        write.begin(mix, row, verb="plan")
    if subject.cell_number and write.one(schema.cell, id=str(subject)) is None:
        row = {"mix": subject.mix, "trial": subject.trial, "planned": planned, "details": "{}"}
        write.begin(subject, row, verb="plan")


def withdraw_cycles(write: Write, rows: Iterable[Mapping[str, Any]]) -> int:
    """Supersede cycles by rows that only withdraw them; returns how many."""
    count = 0
    for row in rows:
        subject = read_id(row["subject"])
        old = standing_cycles(write.connection, str(subject)).get(row["cycle"])
        if old is None or old["withdrawn"]:
            raise Refusal(f"{subject}: cycle {row['cycle']} is not recorded, so it cannot be withdrawn")
        write.insert(schema.cycling, {**old, "seq": write.seq, "withdrawn": True})
        write.touch(subject.trial)
        count += 1
    return count
