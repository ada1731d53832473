"""What the parsing process can be asked to do: each task takes files in its folder and gives plain JSON data."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from campaign.errors import Refusal
from ingest import formats, text, understand, workbook
from ingest import sheet_columns as layout
from ingest.limits import Limits

INPUT = "input"


_REHEARSAL = b"cycle,discharge capacity (Ah),charge capacity (Ah)\n1,1,0.9\n2,0.9,0.9\n"
_REHEARSED: Mapping[str, Any] = MappingProxyType(
    {"name": "rehearsal", "start": None, "facts": {}, "finished": False, "need_mAh": False, "converted": None}
)


def rehearse() -> None:
    """Read a tiny table once, before any file is trusted: numpy, pandas and pint load parts of themselves on first use."""
    with tempfile.TemporaryDirectory(prefix="mixwright-") as scratch:
        folder = Path(scratch)
        (folder / INPUT).write_bytes(_REHEARSAL)
        cycler(folder, Limits(), _REHEARSED)


def warm_up(task: str, folder: Path) -> None:
    """Import what a task's reader needs before the doors are closed."""
    if task in ("cycler", "compare"):
        for name in ("input", "older"):
            path = folder / name
            for library in formats.libraries(path) if path.exists() else ():
                if importlib.util.find_spec(library.split(".")[0]) is not None:
                    importlib.import_module(library)


def cycler(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Read a cycler file (`ingest.understand`)."""
    return understand.cycler(folder, limits, arguments)


def sheet(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of the trials page of a lab sheet, as text."""
    place = arguments["name"]
    path = folder / INPUT
    book = workbook.open_book(path, place, limits=limits)
    names = book.reader.sheet_names
    version = workbook.marker(path)
    page = layout.SHEET if layout.SHEET in names else (names[0] if len(names) == 1 else None)
    if page is None:
        raise Refusal(
            f"{place}: has no sheet {layout.SHEET!r}; this workbook holds "
            + ", ".join(repr(name) for name in names[:6])
        )
    if book.scans[page].last_row > limits.sheet_rows:
        raise Refusal(
            f"{place}, sheet {page!r}: has {book.scans[page].last_row} rows; a lab sheet has {limits.sheet_rows} at "
            "most (setting sheet_rows)"
        )
    table = workbook.sheet_table(book, page)
    return {"sheet": page, "version": version, **_plain(table)}


def table(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a small table (history, powder results) as text, from CSV or the first sheet of a workbook."""
    place = arguments["name"]
    path = folder / INPUT
    if path.read_bytes()[:2] == b"PK":
        book = workbook.open_book(path, place, limits=limits)
        return {"sheet": book.reader.sheet_names[0], **_plain(workbook.sheet_table(book, book.reader.sheet_names[0]))}
    return {"sheet": "", **_plain(text.table(text.document(place, path.read_bytes()), limits=limits))}


def _plain(content: Any) -> dict[str, Any]:
    columns = [[_cell(cell) for cell in content.cells.column(position)] for position in range(len(content.header))]
    return {"place": content.place, "header": list(content.header), "first_row": content.first_row, "columns": columns}


def _cell(value: object) -> str | bool:
    """Spell a cell as text; True and False stay what they are, so that no number column takes them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return str(value).strip()


TASKS: Mapping[str, Callable[[Path, Limits, Mapping[str, Any]], Any]] = MappingProxyType(
    {"cycler": cycler, "compare": understand.compare, "sheet": sheet, "table": table}
)
