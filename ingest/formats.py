"""Which format a file is, told by its content and never by its name, and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaign.errors import Refusal
from campaign.names import nearest
from ingest import capacity_table, series_reader, text
from ingest.headers import parse
from ingest.limits import Limits
from ingest.series import Series
from ingest.tables import Table

INPUT = "input"
_HEADER_LINES = 200


@dataclass(frozen=True)
class Found:
    """A file's content: a time series, or a table of capacities by cycle."""

    format: str
    content: Series | Table
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(folder: Path, place: str, *, limits: Limits, arguments: Mapping[str, Any]) -> Found:
    """Read the file `input` of a folder.

    Raises:
        Refusal: no format that we know, or its reader refuses.
    """
    path = folder / INPUT
    with path.open("rb") as stream:
        head = stream.read(4096)
    for signature, kind in _BINARY:
        if head.startswith(signature):
            raise Refusal(f"{place}: {kind}")
    return _text(path, place, limits=limits)


_BINARY = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is an old or password-protected Office file; save it as .xlsx or CSV without a password",
    ),
    (b"%PDF", "is a PDF; export the data as CSV"),
    (b"\x89HDF", "is an HDF5 file, which is not read here; export the data as CSV"),
    (b"\x7fELF", "is a program, not data"),
    (b"MZ", "is a program, not data"),
    (b"\x1f\x8b", "is packed with gzip; unpack it and give the file itself"),
)


def _text(path: Path, place: str, *, limits: Limits) -> Found:
    document = text.document(place, path.read_bytes())
    line = header_line(document)
    if line is None:
        raise Refusal(_no_header(document))
    table = text.table(document, header_line=line, limits=limits)
    return from_table(table, metadata=_metadata(document.head(line)))


def from_table(table: Table, *, metadata: Mapping[str, str] | None = None) -> Found:
    """Read a table as a time series or as capacities by cycle."""
    headers = [parse(name) for name in table.header]
    if capacity_table.is_capacity_table(headers):
        return Found("capacity-table", table, metadata or {})
    kind, series = series_reader.read(table)
    return Found(kind, series, metadata or {})


def header_line(document: text.Document) -> int | None:
    """Return the 0-based line whose cells name the columns of a time series or a capacity table; None where there is none."""
    for number, line in enumerate(document.head(_HEADER_LINES)):
        for mark in text.DELIMITERS:
            if mark in line and is_header([cell.strip().strip('"') for cell in line.split(mark)]):
                return number
    return None


def is_header(cells: list[str]) -> bool:
    """Say whether a row of cells is the header of something that we read."""
    headers = [parse(cell) for cell in cells if cell]
    return series_reader.is_series(headers) or capacity_table.is_capacity_table(headers)


def _no_header(document: text.Document) -> str:
    lines = [line for line in document.head(50) if line.strip()]
    if not lines:
        return f"{document.place}: holds no text"
    widest = max(lines, key=lambda line: max(line.count(mark) for mark in text.DELIMITERS))
    mark = max(text.DELIMITERS, key=widest.count)
    cells = [parse(cell.strip().strip('"')) for cell in widest.split(mark)][:30]
    named = [cell.text for cell in cells if cell.text and not cell.text[:1].isdigit()]
    seen = ", ".join(repr(name[:40]) for name in named[:6]) or "no names"
    known = (
        "test time (s)",
        "current (mA)",
        "voltage (V)",
        "cycle",
        "discharge capacity (mAh)",
        "charge capacity (mAh)",
    )
    hint = f"; for {named[0][:40]!r} {nearest(named[0], known)}" if named else ""
    return (
        f"{document.place}: no row names the columns of a time series (test time, current, voltage) or of capacities by cycle "
        f"(cycle, discharge capacity), with units; seen were {seen}{hint}"
    )


def _metadata(lines: list[str]) -> dict[str, str]:
    """Return `key: value` lines above the header."""
    found: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and value.strip() and len(key) < 60:
            found[key.strip().lower().replace(" ", "_")] = value.strip()
    return found
