"""Workbooks (.xlsx) into tables: calamine reads the cells, the XML says what calamine would hide (formulas, far cells)."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import python_calamine

from campaign.errors import Refusal
from ingest import sheet_columns as layout
from ingest.containers import SheetScan, check_workbook
from ingest.limits import Limits
from ingest.tables import Grid, Table

_REL = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


@dataclass(frozen=True)
class Book:
    """An opened workbook whose container was checked."""

    place: str
    reader: python_calamine.CalamineWorkbook
    scans: dict[str, SheetScan]
    """Sheet name -> what its XML holds."""

    def rows(self, sheet: str, *, count: int | None = None) -> list[list[Any]]:
        """Return the cells of a sheet from A1 on, every row of one width."""
        return self.reader.get_sheet_by_name(sheet).to_python(skip_empty_area=False, nrows=count)

    def refuse_formulas(self, sheet: str) -> None:
        """Refuse a sheet that holds a formula or an error: both may read as empty, and no formula is ever run here."""
        formulas = self.scans[sheet].formulas if sheet in self.scans else ()
        errors = self.scans[sheet].errors if sheet in self.scans else ()
        if errors:
            raise Refusal(
                f"{self.place}, sheet {sheet!r}, cell {errors[0]}: holds an error such as #REF!; type the value"
            )
        if formulas:
            raise Refusal(
                f"{self.place}, sheet {sheet!r}, cell {formulas[0]}: holds a formula; formulas are never run here, "
                "so copy the cells and paste them as values"
            )


def open_book(path: Path, place: str, *, limits: Limits) -> Book:
    """Check and open a workbook.

    Raises:
        Refusal: the container or a sheet is not safe to read (see `ingest.containers`), or is no workbook.
    """
    parts = check_workbook(path, place, limits=limits)
    try:
        names = _sheet_parts(path)
        reader = python_calamine.CalamineWorkbook.from_path(str(path))
    except (python_calamine.CalamineError, ElementTree.ParseError, KeyError, zipfile.BadZipFile) as error:
        raise Refusal(
            f"{place}: the workbook is damaged ({error}); open it in a spreadsheet and save it again"
        ) from None
    return Book(place, reader, {sheet: parts[part] for sheet, part in names.items() if part in parts})


def _sheet_parts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as container:
        book = ElementTree.fromstring(container.read("xl/workbook.xml"))  # noqa: S314 - entities were refused before
        links = ElementTree.fromstring(container.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - as above
    targets = {link.get("Id"): (link.get("Target") or "").lstrip("/") for link in links}
    parts = {}
    for element in book.iter():
        if element.tag.endswith("}sheet") and element.get(_REL) in targets:
            target = targets[element.get(_REL)]
            parts[element.get("name") or ""] = target if target.startswith("xl/") else f"xl/{target}"
    return parts


def part_text(path: Path, part: str, most: int) -> str | None:
    """Return the first `most` bytes of one part of a workbook as text; None for a file without it or a damaged one."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    try:
        with zipfile.ZipFile(path) as container, container.open(part) as stream:
            return stream.read(most).decode("utf-8", errors="replace")
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        OSError,
        EOFError,
        NotImplementedError,  # zipfile raises it for a compression that it does not know
        RuntimeError,  # zipfile raises it for a part with a password
        ValueError,
    ):
        return None


def marker(path: Path) -> str | None:
    """Return the version in the hidden property that our own lab sheets carry; None for any other or damaged file."""
    text = part_text(path, "docProps/custom.xml", 100_000) or ""
    found = re.search(rf'name="{layout.MARKER}"[^>]*>\s*<[^>]+>([^<]+)<', text)
    return found[1].strip() if found else None


def sheet_table(book: Book, sheet: str, *, header_row: int = 0) -> Table:
    """Make a table of one sheet whose header stands on a given 0-based row; empty rows at the end are left away.

    Raises:
        Refusal: a formula, an empty or repeated column name, or no data row.
    """
    book.refuse_formulas(sheet)
    place = f"{book.place}, sheet {sheet!r}"
    rows = book.rows(sheet)
    while rows and not any(cell != "" for cell in rows[-1]):
        rows.pop()
    if len(rows) <= header_row + 1:
        raise Refusal(f"{place}: has no data row below its header")
    names = [str(cell).strip() for cell in rows[header_row]]
    width = max((position + 1 for position, name in enumerate(names) if name), default=0)
    for position, name in enumerate(names[:width]):
        if not name and any(row[position] != "" for row in rows[header_row + 1 :]):
            raise Refusal(f"{place}, row {header_row + 1}: column {position + 1} holds values and has no name")
        if name and names.index(name) != position:
            raise Refusal(
                f"{place}, row {header_row + 1}: the column {name!r} stands there twice; give each column one name"
            )
    for number, row in enumerate(rows[header_row + 1 :], start=header_row + 2):
        if any(cell != "" for cell in row[width:]):
            raise Refusal(f"{place}, row {number}: holds a value to the right of the last named column")
    content = [row[:width] for row in rows[header_row + 1 :]]
    return Table(place, tuple(names[:width]), header_row + 2, len(content), Grid(content))


def pairs(book: Book) -> dict[str, str]:
    """Return what a vendor's information sheet says: a row of names above a row of values (Arbin `Global_Info`)."""
    found: dict[str, str] = {}
    for sheet in book.reader.sheet_names:
        if "info" not in sheet.lower():
            continue
        rows = iter(book.rows(sheet, count=12))
        for names in rows:
            if sum(isinstance(name, str) and name != "" for name in names) >= 4:
                found |= {
                    str(name).strip().lower().replace(" ", "_"): str(value).strip()
                    for name, value in zip(names, next(rows, [""] * len(names)), strict=True)
                    if name != ""
                }
    return found
