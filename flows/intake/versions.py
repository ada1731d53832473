"""How a new file stands to the earlier files of its cell: the same, longer, shorter, changed, or the next part of the test."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from campaign.errors import Refusal
from flows.intake.kept import Kept, called, from_archive, limits
from flows.session import Session
from ingest import CURRENT, Comparison, CyclingFile, Difference, compare_versions

Kind = Literal["first", "same", "contained", "extends", "changed", "continues"]
_SHOWN = 5
_ALIKE = 0.025
"""Two exports of one test agree within 2.1 % where they are coarse; the next part of a test differs more in some cycle."""


@dataclass(frozen=True)
class Relation:
    """How a file stands to what its cell has; `offset` is what its own cycle numbers are counted on from."""

    kind: Kind
    offset: int = 0
    older: str | None = None
    """sha256 of the version that it replaces."""
    sentence: str = ""


def relate(session: Session, file: Kept, found: CyclingFile, cell: str, *, continues: bool) -> Relation:
    """Compare a file with every earlier one of its cell, the newest first.

    Args:
        session: an open campaign.
        file: the new file.
        found: what it holds.
        cell: the cell that it is of.
        continues: a person's word that it is the next part of the test, not a version of an earlier file.

    Raises:
        Refusal: it looks like the same test exported another way.
    """
    files = session.ledger.files(session.name)
    earlier = files[files["subject"].eq(cell) & files["sha256"].ne(file.sha256)].iloc[::-1]
    for _, row in earlier.iterrows() if not continues else ():
        details = json.loads(row["details"])
        compared = _compare(session, file, str(row["sha256"]), str(row["name"]))
        if compared is None:
            continue
        kind, differences = _kind(compared)
        another = str(row["name"]).casefold() != file.name.casefold()
        if kind == "changed" and another and differences[0].row <= 2 and not _same_readings(compared):
            continue  # another record from its first row on: not a version of this file
        said = _sentence(kind, compared, differences, str(row["name"]))
        return Relation(kind, int(details.get("offset", 0)), str(row["sha256"]), said)
    if earlier.empty and not continues:
        return Relation("first")
    return _continuation(
        session, found, cell, json.loads(earlier.iloc[0]["details"]) if len(earlier) else {}, continues
    )


def _compare(session: Session, file: Kept, older: str, name: str) -> Comparison | None:
    """Compare with one earlier file; None where the two are of different formats."""
    before = from_archive(session, older, name)
    try:
        with called({older: name, file.sha256: file.name}):
            return compare_versions(before.path, file.path, limits=limits())
    except Refusal as refusal:
        if "cannot be compared" in str(refusal) or " has no " in str(refusal):
            return None
        raise


def _kind(compared: Comparison) -> tuple[Kind, list[Difference]]:
    """A value that was missing and is there now is no changed past."""
    differences = [d for d in compared.differences if d.old is not None and not math.isnan(d.old)]
    if compared.kind == "changed" and not differences:
        return ("extends" if compared.new_rows >= compared.old_rows else "contained"), []
    return compared.kind, differences


def _same_readings(compared: Comparison) -> bool:
    """Say whether a cycler's file repeats times and voltages of an earlier one: a corrected current, not the next part.

    The current of the next part may be that of the part before, to every digit; its voltages at the same times are not.
    """
    return {difference.column for difference in compared.differences} == {CURRENT}


def _sentence(kind: Kind, compared: Comparison, differences: list[Difference], older: str) -> str:
    if kind != "changed":
        return compared.sentence if compared.kind != "changed" else "values that were still missing are there now"
    shown = [f"data row {d.row}, {d.column}: was {d.old:g}, is {d.new:g}" for d in differences[:_SHOWN]]
    more = "; and more" if len(differences) > _SHOWN else ""
    return f"the past differs from what was taken in before ({older}): {'; '.join(shown)}{more}"


def _continuation(
    session: Session, found: CyclingFile, cell: str, last: dict[str, object], continues: bool
) -> Relation:
    standing = session.ledger.cycling(session.name, with_excluded=True)
    mine = standing[standing["subject"].eq(cell) & standing["file"].notna()].set_index("cycle")
    if found.format == "capacity-table" or mine.empty:
        return Relation("continues" if len(mine) else "first")  # a table numbers its own cycles
    if not continues:
        _refuse_the_same_test(found, mine, cell)
    before = int(mine.index.max())
    begins_inside = bool(found.cycles["cycle"].eq(0).any())
    offset = before + (1 if last.get("cut") and begins_inside else 0)
    return Relation("continues", offset, None, f"taken as the next part of the test: its cycle 1 is cycle {offset + 1}")


def _refuse_the_same_test(found: CyclingFile, mine: pd.DataFrame, cell: str) -> None:
    new = found.cycles.set_index("cycle")["discharge_capacity_mAh"].dropna()
    both = new.index.intersection(mine.index)
    old = mine.loc[both, "discharge_capacity_mAh"]
    if len(both) and bool(((new[both] - old).abs() <= _ALIKE * old).all()):
        raise Refusal(
            f"{found.name}: its first {len(both)} cycles are those that {cell} has already, so it looks like the same test "
            "exported another way; nothing was taken. If it is the next part of the test, say --continues; if it shall "
            "replace what stands, say --amend --why '…'"
        )
