"""Which cell a file belongs to: said with it, in its name, in its metadata, or on the sheet; never guessed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from campaign.errors import Refusal
from campaign.names import nearest

How = Literal["said", "name", "metadata", "sheet", "unassigned"]


@dataclass(frozen=True)
class Assignment:
    """The cell of a file and how it was found; `cell` is None where the file must wait."""

    cell: str | None
    how: How
    sentence: str


def find_cell(
    file_name: str,
    *,
    known_cells: Collection[str],
    said: str | None = None,
    metadata_id: str | None = None,
    sheet_files: Mapping[str, str] | None = None,
) -> Assignment:
    """Find the cell of a file.

    Args:
        file_name: as given; a cell id counts where it stands in it as a word (`T0003-M1-C2_week4.ndax`).
        known_cells: ids, and labels of the lab, of the campaign's cells.
        said: what a person said (`--cell`); it wins.
        metadata_id: a cell id that the file itself carries.
        sheet_files: file name -> cell id, from the lab sheet's file column.

    Raises:
        Refusal: a person named a cell that nobody knows.
    """
    if said is not None:
        if said not in known_cells:
            raise Refusal(f"--cell {said}: nobody knows this cell: {nearest(said, known_cells)}")
        return Assignment(said, "said", f"{file_name} belongs to cell {said}, as said")
    found: dict[str, How] = {}
    for cell in _in_name(file_name, known_cells):
        found.setdefault(cell, "name")
    by_lower = {cell.lower(): cell for cell in known_cells}
    if metadata_id is not None and metadata_id.lower() in by_lower:
        found.setdefault(by_lower[metadata_id.lower()], "metadata")
    sheet_cell = (sheet_files or {}).get(file_name)
    if sheet_cell in known_cells and sheet_cell is not None:
        found.setdefault(sheet_cell, "sheet")
    if len(found) == 1:
        cell, how = next(iter(found.items()))
        return Assignment(cell, how, f"{file_name} belongs to cell {cell}, found by its {how}")
    if found:
        told = ", ".join(f"{cell} (by its {how})" for cell, how in found.items())
        return Assignment(None, "unassigned", f"{file_name} could belong to {told}; it waits until you say --cell ID")
    return Assignment(
        None,
        "unassigned",
        f"{file_name} names no cell: it waits until you say --cell ID, put the id into its name, or its name on the "
        "sheet",
    )


def _in_name(file_name: str, known_cells: Collection[str]) -> list[str]:
    """Return the known ids that stand in a name as words; of two that overlap, the longer."""
    hits: list[tuple[int, int, str]] = []
    for cell in sorted(known_cells, key=len, reverse=True):
        for match in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(cell)}(?![A-Za-z0-9])", file_name, re.IGNORECASE):
            if not any(start < match.end() and match.start() < end for start, end, _ in hits):
                hits.append((match.start(), match.end(), cell))
    return list(dict.fromkeys(cell for _, _, cell in hits))
