"""Tables with a header row, from text or from a workbook: strict about width, forgiving about nothing that shifts a column.

`pandas.read_csv` is polite to damage: a short row becomes NaN, an extra field shifts every column by one, `1e999` is inf
and a name `NA` is NaN. Here every row has the header's width, and every number is read by `ingest.numbers` or equal to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from campaign.errors import Refusal
from ingest import numbers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A header and its columns; `place` is the file, and the sheet if there is one, for sentences."""

    place: str
    header: tuple[str, ...]
    first_row: int
    """Row number (1-based, as an editor or a spreadsheet counts) of the first data row."""
    rows: int
    cells: Grid | Columns | Text
    notes: tuple[str, ...] = ()

    def texts(self, column: int) -> list[str]:
        """Return a column as stripped text."""
        return [_as_text(cell) for cell in self.cells.column(column)]

    def floats(self, column: int, *, empty: bool = False) -> Floats:
        """Return a column of numbers; where `empty` is allowed, an empty cell is NaN.

        Raises:
            Refusal: a cell is no finite number; says file, row, column and what would be right.
        """
        fast = self.cells.floats(column)
        if fast is not None and bool(np.isfinite(fast).all()):
            return fast
        return np.array(
            [self._float(cell, row, column, empty) for row, cell in enumerate(self.cells.column(column))], dtype=float
        )

    def where(self, row: int, column: int) -> str:
        """Return `file, row 7, column Voltage (V)` for a 0-based data row."""
        return f"{self.place}, row {self.first_row + row}, column {self.header[column]!r}"

    def _float(self, cell: object, row: int, column: int, empty: bool) -> float:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return float(cell)
        if isinstance(cell, bool) or isinstance(cell, datetime | date | time | timedelta):
            raise Refusal(f"{self.where(row, column)}: {cell} is not a number; type the number alone")
        text = _as_text(cell)
        if empty and text in numbers.EMPTY:
            return float("nan")
        if not text:
            raise Refusal(f"{self.where(row, column)}: empty where a number is needed")
        try:
            return numbers.number(text)
        except ValueError as error:
            raise Refusal(f"{self.where(row, column)}: {error}") from None


@dataclass(frozen=True)
class Grid:
    """Cells of a workbook sheet, row by row, each row of the header's width."""

    content: Sequence[Sequence[Any]]

    def column(self, index: int) -> list[Any]:
        """Return one column as it stands."""
        return [row[index] for row in self.content]

    def floats(self, index: int) -> Floats | None:
        """Return a column of nothing but numbers, or None."""
        cells = self.column(index)
        return np.array(cells, dtype=float) if all(type(cell) in (float, int) for cell in cells) else None


@dataclass(frozen=True)
class Columns:
    """Columns of a binary table, each an array."""

    content: tuple[NDArray[Any], ...]

    def column(self, index: int) -> list[Any]:
        """Return one column as it stands."""
        return list(self.content[index].tolist())

    def floats(self, index: int) -> Floats | None:
        """Return a column of nothing but numbers, or None."""
        values = self.content[index]
        if values.dtype.kind == "M":
            return values.astype("datetime64[ns]").astype(np.int64) / 1e9
        return values.astype(float) if values.dtype.kind in "iuf" else None


class Text:
    """The body of a text table: bytes in, columns out; every line was counted to have the same width."""

    def __init__(self, body: bytes, *, encoding: str, delimiter: str, width: int, decimal_comma: bool) -> None:
        self._body = body
        self._encoding = encoding
        self._delimiter = delimiter
        self._width = width
        self._decimal = "," if decimal_comma else "."
        self._quoted = b'"' in body
        self._floats: dict[int, Floats | None] = {}

    def column(self, index: int) -> list[str]:
        """Return one column as text."""
        lines = io.StringIO(self._body.decode(self._encoding), newline="")
        if self._quoted:
            return [row[index] for row in csv.reader(lines, delimiter=self._delimiter, strict=True)]
        return [line.rstrip("\r\n").split(self._delimiter)[index] for line in lines]

    def floats(self, index: int) -> Floats | None:
        """Return a column of nothing but plain numbers, or None."""
        if index not in self._floats:
            self.prefetch([index])
        return self._floats[index]

    def prefetch(self, indices: Sequence[int]) -> None:
        """Let the C parser of pandas read several columns in one pass over the file."""
        wanted = sorted(set(indices) - set(self._floats))
        if not wanted:
            return
        frame = pd.read_csv(
            io.BytesIO(self._body),
            sep=self._delimiter,
            header=None,
            names=list(range(self._width)),
            usecols=wanted,
            index_col=False,
            decimal=self._decimal,
            na_filter=False,
            encoding=self._encoding,
            low_memory=True,
            skip_blank_lines=False,
        )
        for index in wanted:
            values = frame[index]
            self._floats[index] = values.to_numpy(dtype=float) if values.dtype.kind in "if" else None


def _as_text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return "" if cell is None else str(cell).strip()
