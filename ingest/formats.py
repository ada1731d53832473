"""Which format a file is, told by its content and never by its name, and its reader."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from campaign.errors import Refusal
from campaign.names import nearest
from ingest import binary, capacity_table, containers, numbers, series_reader, text, workbook
from ingest.headers import parse
from ingest.limits import Limits
from ingest.series import Series
from ingest.tables import Table

_HEADER_LINES = 200
_SHEET_HEAD_ROWS = 40
_CELL_COLUMN_ROWS = 100_000

_NOT_READ = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "is an old or password-protected Office file; save it as .xlsx or CSV without a password",
    ),
    (b"%PDF", "is a PDF; export the data as CSV"),
    (b"\x89HDF", "is an HDF5 file, which is not read here; export the data as CSV"),
    (b"\x7fELF", "is a program, not data"),
    (b"MZ", "is a program, not data"),
    (b"\x1f\x8b", "is packed with gzip; unpack it and give the file itself"),
    (b"BZh", "is packed with bzip2; unpack it and give the file itself"),
    (b"\x89PNG", "is a picture; export the data as CSV"),
    (b"SQLite format 3\0", "is an SQLite database, not a cycler file"),
)


@dataclass(frozen=True)
class Found:
    """A file's content: a time series, or a table of capacities by cycle."""

    format: str
    content: Series | Table
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, place: str, *, converted: str | None, limits: Limits) -> Found:
    """Read a file.

    Args:
        path: the file, or the text that a program made of it.
        place: its name, for sentences.
        converted: the format that a program (`ingest.programs`) turned into this text, if any.
        limits: of the parsing process.

    Raises:
        Refusal: no format that we know, or its reader refuses.
    """
    if converted == "arbin-res":
        exported = path.read_bytes()
        if not exported.startswith(b"Test_ID,Data_Point,"):
            raise Refusal(
                f"{place}: the Arbin database has no readable channel table; it is damaged or cut off: copy it again"
            )
        return _arbin_res(text.table(text.document(place, exported), delimiter=",", limits=limits))
    if converted is not None:
        content = text.table(text.document(place, path.read_bytes()), delimiter="\t", limits=limits)
        return Found(converted, series_reader.read(content)[1])
    with path.open("rb") as stream:
        head = stream.read(64)
    for signature, kind in _NOT_READ:
        if head.startswith(signature):
            raise Refusal(f"{place}: {kind}")
    if head.startswith(b"PK"):
        return _zip(path, place, limits=limits)
    if head.startswith(b"NEWARE"):
        return Found("neware-nda", *binary.neware(path, place, suffix=".nda"))
    if head.startswith(b"PAR1"):
        return from_table(binary.parquet(path, place, limits=limits))
    if head.startswith(b"\x00\x01\x00\x00Standard "):
        return _arbin_res(binary.access_database(path, place))
    try:
        return _text(path, place, limits=limits)
    except Refusal as refusal:
        ending = PurePath(place).suffix.lower()
        if ending not in _BINARY:
            raise
        raise Refusal(
            f"{place}: its name ends in {ending}, but it does not begin like such a file; it was damaged or cut when it was "
            f"copied: copy it again (read as text: {str(refusal).removeprefix(place).lstrip(',: ')})"
        ) from None


_BINARY = frozenset({".nda", ".ndax", ".mpr", ".res", ".xlsx", ".parquet"})
_NEWARE_LIBRARIES = (
    "polars",
    "fastnda",
    "fastnda.nda",
    "fastnda.nda_meta",
    "fastnda.ndax",
    "fastnda.utils",
    "fastnda.dicts",
    "xmltodict",
)


def libraries(path: Path) -> tuple[str, ...]:
    """Return the libraries that this file's reader loads, by its first bytes."""
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(b"NEWARE") or (head.startswith(b"PK") and _is_ndax(path)):
        return _NEWARE_LIBRARIES
    if head.startswith(b"PAR1"):
        return ("pyarrow.parquet",)
    return ("access_parser",) if head.startswith(b"\x00\x01\x00\x00Standard ") else ()


def _is_ndax(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as container:
            return any(name.endswith(".ndc") for name in container.namelist())
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # zipfile raises it for a version of the container that it does not know
        UnicodeDecodeError,
        EOFError,
        OSError,
        ValueError,
    ):
        return False


def _zip(path: Path, place: str, *, limits: Limits) -> Found:
    names = containers.check_zip(path, place, limits=limits)
    if "xl/workbook.xml" in names:
        return _workbook(path, place, limits=limits)
    if any(name.endswith((".ndc", "VersionInfo.xml")) for name in names):
        return Found("neware-ndax", *binary.neware(path, place, suffix=".ndax"))
    raise Refusal(
        f"{place}: is a zip archive of {len(names)} files and neither a workbook nor a Neware .ndax; unpack it and "
        "give the file itself"
    )


def _workbook(path: Path, place: str, *, limits: Limits) -> Found:
    """Read the one sheet of a workbook that holds a series (a vendor's summary sheets are left aside)."""
    book = workbook.open_book(path, place, limits=limits)
    if workbook.marker(path):
        raise Refusal(
            f"{place}: is a lab sheet, not a cycler file; hand it in with the campaign (mixwright ingest CAMPAIGN "
            f"{place})"
        )
    found: list[tuple[str, int, bool]] = []
    for sheet in book.reader.sheet_names:
        for number, row in enumerate(book.rows(sheet, count=_SHEET_HEAD_ROWS)):
            headers = [parse(str(cell)) for cell in row if cell != ""]
            if series_reader.is_series(headers) or capacity_table.is_capacity_table(headers):
                found.append((sheet, number, series_reader.is_series(headers)))
                break
    series = [(sheet, number) for sheet, number, is_series in found if is_series]
    chosen = series or [(sheet, number) for sheet, number, _ in found]
    if not chosen:
        raise Refusal(
            f"{place}: no sheet names the columns of a time series (test time, current, voltage) or of capacities by "
            "cycle; its sheets are " + ", ".join(book.reader.sheet_names[:8])
        )
    if len(chosen) > 1:
        names = ", ".join(repr(sheet) for sheet, _ in chosen[:6])
        raise Refusal(f"{place}: {len(chosen)} sheets hold a record ({names}); save each channel as a file of its own")
    metadata = workbook.pairs(book)
    return from_table(workbook.sheet_table(book, chosen[0][0], header_row=chosen[0][1]), metadata=metadata)


def _arbin_res(table: Table) -> Found:
    """Read an Arbin database's channel table: one test, its data points in order and none missing."""
    at = {name: table.header.index(name) for name in ("Test_ID", "Data_Point") if name in table.header}
    if len(at) < 2:
        raise Refusal(f"{table.place}: its channel table has no Test_ID and Data_Point; is it an Arbin database?")
    tests = sorted(set(table.floats(at["Test_ID"]).tolist()))
    if len(tests) > 1:
        raise Refusal(
            f"{table.place}: holds {len(tests)} tests (Test_ID {', '.join(f'{test:g}' for test in tests[:5])}); "
            "export one test for each cell"
        )
    points = table.floats(at["Data_Point"])
    ordered = series_reader.in_order(table, points)
    return Found("arbin-res", series_reader.read(ordered)[1])


def _text(path: Path, place: str, *, limits: Limits) -> Found:
    document = text.document(place, path.read_bytes())
    _refuse_layers(document)
    line = header_line(document)
    if line is None:
        raise Refusal(_no_header(document))
    _refuse_data_above(document, line)
    table = text.table(document, header_line=line, limits=limits)
    return from_table(table, metadata=_metadata(document.head(line)))


def _refuse_layers(document: text.Document) -> None:
    """Refuse Neware's layered export: the headers of cycles, steps and records stand below each other, each further in."""
    lines = [line for line in document.head(8) if line.strip()][:3]
    for mark in text.DELIMITERS:
        further_in = len(lines) == 3 and lines[1].startswith(mark) and lines[2].startswith(mark * 2)
        if further_in and "step" in lines[1].lower() and lines[0].lower().lstrip('"').startswith("cycle"):
            raise Refusal(
                f"{document.place}: is Neware's layered export (cycle, step and record rows in one table); export it "
                "again unlayered, as .ndax or as plain record CSV"
            )


def _refuse_data_above(document: text.Document, line: int) -> None:
    """Refuse a file whose header stands below rows of data: what is above it would be lost in silence."""
    lines = document.head(line + 1)
    for number, above in enumerate(lines[:line], start=1):
        for mark in text.DELIMITERS:
            cells = above.split(mark)
            if len(cells) == lines[line].count(mark) + 1 > 1 and all(_is_number(cell) for cell in cells):
                raise Refusal(
                    f"{document.place}, row {number}: numbers stand above row {line + 1}, which names the columns; two tables "
                    "or a damaged first header: keep one header, in the first row"
                )


def _is_number(cell: str) -> bool:
    try:
        numbers.number(cell)
    except ValueError:
        return False
    return True


def from_table(table: Table, *, metadata: Mapping[str, str] | None = None) -> Found:
    """Read a table as a time series or as capacities by cycle."""
    headers = [parse(name) for name in table.header]
    metadata = {**(metadata or {}), **_cell_column(table, [header.name for header in headers])}
    if capacity_table.is_capacity_table(headers):
        return Found("capacity-table", table, metadata)
    kind, series = series_reader.read(table)
    return Found(kind, series, metadata)


def _cell_column(table: Table, names: list[str]) -> dict[str, str]:
    """Return the cell that a column of cell ids names; several cells in one file are refused."""
    position = next((names.index(name) for name in ("cellid", "cellname", "cell", "barcode") if name in names), None)
    if position is None or table.rows > _CELL_COLUMN_ROWS:
        return {}
    cells = [text for text in dict.fromkeys(table.texts(position)) if text]
    if len(cells) > 1:
        raise Refusal(
            f"{table.place}, column {table.header[position]!r}: names {len(cells)} cells ({', '.join(cells[:4])}); "
            "give each cell a file of its own"
        )
    return {"cell_id": cells[0]} if cells else {}


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
        f"{document.place}: no row names the columns of a time series (test time, current, voltage) or of capacities "
        "by cycle "
        f"(cycle, discharge capacity), with units; seen were {seen}{hint}"
    )


def _metadata(lines: list[str]) -> dict[str, str]:
    """Return `key: value` pairs above the header."""
    found: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and value.strip() and len(key) < 60:
            found[key.strip(" #;%\t").lower().replace(" ", "_")] = " ".join(value.split())
    return found
