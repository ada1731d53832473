"""What several tests of the flows share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl

LAB = (("evaluator: physics", "evaluator: lab\nlearn_from: [published]"), ("campaign: small", "campaign: small_lab"))


def fill(sheet: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Fill cells of a lab sheet as a technician would: by trial and header."""
    book = openpyxl.load_workbook(sheet)
    page = book.worksheets[0]
    head = {cell.value: cell.column for cell in page[1]}
    places = {page.cell(row, 1).value: row for row in range(2, page.max_row + 1)}
    for trial, cells in rows.items():
        for header, value in cells.items():
            page.cell(places[trial], head[header]).value = value
    book.save(sheet)
