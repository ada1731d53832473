"""Zip containers (.xlsx, .ndax) looked at before any reader opens them: size unpacked, ratio, encryption, far cells, formulas."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal
from ingest.limits import Limits

_BLOCK = 1 << 20
_SMALL = 10 * 1024 * 1024
_CELL = re.compile(rb'<(?:\w+:)?(?:c|row)\b[^>]*?\br="([A-Z]{0,3})([0-9]{1,9})"')
_ERROR = re.compile(rb'<(?:\w+:)?c\b(?=[^>]*?\bt="e")[^>]*?\br="([A-Z]{1,3}[0-9]{1,9})"')
_FORMULA = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3}[0-9]{1,9})"[^>]*>\s*<(?:\w+:)?f[ >/]')


@dataclass(frozen=True)
class SheetScan:
    """What one worksheet XML holds, seen without building a table."""

    cells: int
    last_row: int
    last_column: int
    formulas: tuple[str, ...]
    """Addresses of the first cells that hold a formula."""
    errors: tuple[str, ...] = ()
    """Addresses of the first cells that hold an error such as #REF!, which a reader shows as empty."""


def check_zip(path: Path, place: str, *, limits: Limits) -> list[str]:
    """Return the names of the members of a container that is safe to unpack.

    Raises:
        Refusal: damaged, encrypted, too large once unpacked, packed suspiciously well, or with names that are paths.
    """
    try:
        with zipfile.ZipFile(path) as container:
            members = container.infolist()
            if any(member.flag_bits & 0x1 for member in members):
                raise Refusal(f"{place}: is protected by a password; save it without one")
            total = sum(member.file_size for member in members)
            if total > limits.unpacked_MiB * 1024 * 1024:
                raise Refusal(
                    f"{place}: unpacks to {total / 2**20:.0f} MiB; the limit is {limits.unpacked_MiB} MiB (setting "
                    "unpacked_MiB)"
                )
            for member in members:
                if member.file_size > _SMALL and member.file_size > limits.zip_ratio * max(member.compress_size, 1):
                    raise Refusal(
                        f"{place}: its part {member.filename[:60]!r} unpacks to "
                        f"{member.file_size // max(member.compress_size, 1)} times "
                        f"its size; the limit is {limits.zip_ratio} (setting zip_ratio): this looks like a zip bomb"
                    )
                name = member.filename.replace("\\", "/")
                if name.startswith("/") or ".." in name.split("/") or "\0" in name:
                    raise Refusal(f"{place}: holds a part with a path for a name ({member.filename[:60]!r})")
                if name.lower().endswith((".zip", ".xlsx", ".7z", ".gz")):
                    raise Refusal(f"{place}: holds another archive ({name[:60]!r}); unpack it and give the file itself")
            if len({member.filename for member in members}) != len(members):
                raise Refusal(f"{place}: holds two parts of one name; save it again")
            return [member.filename for member in members]
    except (
        zipfile.BadZipFile,
        NotImplementedError,  # zipfile raises it for a compression or version that it does not know
        UnicodeDecodeError,
        EOFError,
        OSError,
    ) as error:
        raise Refusal(f"{place}: its zip container is damaged or cut off ({error}); export or save it again") from None


def check_workbook(path: Path, place: str, *, limits: Limits) -> dict[str, SheetScan]:
    """Check a workbook and scan every sheet's XML; returns part name -> scan.

    Raises:
        Refusal: as `check_zip`; macros; no sheet; a sheet of too many cells, or with a lone cell far away.
    """
    names = check_zip(path, place, limits=limits)
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        raise Refusal(f"{place}: holds macros; save it as a plain .xlsx")
    sheets = [name for name in names if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name)]
    if not sheets:
        raise Refusal(f"{place}: is a zip file without a worksheet in it; a workbook is saved as .xlsx")
    scans: dict[str, SheetScan] = {}
    try:
        with zipfile.ZipFile(path) as container:
            for name in ("xl/workbook.xml", "xl/sharedStrings.xml", *sheets):
                if name in names:
                    _refuse_entities(container, name, place)
            for name in sheets:
                scans[name] = _scan(container, name, limits)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise Refusal(f"{place}: its zip container is damaged or cut off ({error}); save it again") from None
    for name, scan in scans.items():
        if scan.cells > 0 and scan.last_row > limits.workbook_rows and scan.cells > scan.last_row // 2:
            raise Refusal(
                f"{place}: {name.rsplit('/', 1)[-1]} has {scan.last_row} rows; the limit of a workbook is "
                f"{limits.workbook_rows} (setting workbook_rows): export so long a record as CSV"
            )
        box = scan.last_row * max(scan.last_column, 1)
        if box > limits.sheet_cells:
            raise Refusal(
                f"{place}: {name.rsplit('/', 1)[-1]} reaches to row {scan.last_row}, column {scan.last_column} and "
                f"fills {scan.cells} cells; "
                f"the limit is {limits.sheet_cells} cells from corner to corner (setting sheet_cells): delete stray "
                "far cells or split the file"
            )
    return scans


def _refuse_entities(container: zipfile.ZipFile, name: str, place: str) -> None:
    with container.open(name) as stream:
        if b"<!DOCTYPE" in stream.read(4096):
            raise Refusal(f"{place}: its part {name!r} declares XML entities, which no spreadsheet does; save it again")


def _scan(container: zipfile.ZipFile, name: str, limits: Limits) -> SheetScan:
    """Look through a sheet's XML, and no further than its limits."""
    cells = last_row = last_column = 0
    formulas: list[str] = []
    errors: list[str] = []
    for text in _overlapping(container, name):
        for match in _CELL.finditer(text):
            row = int(match[2])
            last_row = max(last_row, row)
            if match[1]:
                cells += 1
                last_column = max(last_column, _column_number(match[1]))
        if last_row > limits.workbook_rows and cells > last_row // 2:
            break
        if b"<f" in text or b":f" in text:
            formulas += [match[1].decode() for match in _FORMULA.finditer(text)]
            formulas = formulas[:100]
        if b't="e"' in text:
            errors = (errors + [match[1].decode() for match in _ERROR.finditer(text)])[:100]
    return SheetScan(cells, last_row, last_column, tuple(dict.fromkeys(formulas)), tuple(errors))


def _overlapping(container: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Yield blocks that end at the end of a row or cell, so that no cell is cut in two."""
    with container.open(name) as stream:
        rest = b""
        while block := stream.read(_BLOCK):
            text = rest + block
            cut = (
                max(text.rfind(b"</row>"), text.rfind(b"</c>"), text.rfind(b"/>"))
                if len(text) < 8 * _BLOCK
                else len(text)
            )
            cut = cut if cut > 0 else len(text)
            yield text[:cut]
            rest = text[cut:]
        yield rest


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
