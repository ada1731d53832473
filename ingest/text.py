"""Text files: encoding, delimiter, decimal mark and header found by content, and the width of every line counted."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import numpy as np

from campaign.errors import Refusal
from ingest.limits import Limits
from ingest.tables import Table, Text

DELIMITERS = ("\t", ";", ",", "|")
_HEAD_BYTES = 65536
_ROWS_TO_JUDGE = 4
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Document:
    """A decoded text file: its bytes without the byte order mark, and the encoding they are in."""

    place: str
    body: bytes
    encoding: str
    notes: tuple[str, ...] = ()

    def head(self, lines: int = 200) -> list[str]:
        """Return the first lines as text."""
        return self.body[:_HEAD_BYTES].decode(self.encoding, errors="replace").splitlines()[:lines]


def document(place: str, raw: bytes) -> Document:
    """Find the encoding of a text file.

    Raises:
        Refusal: the bytes are no text in UTF-8, UTF-16 with a byte order mark, or a western 8-bit encoding.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return Document(place, raw.decode("utf-16").encode(), "utf-8", ("the file was UTF-16",))
        except UnicodeDecodeError:
            raise Refusal(f"{place}: starts as UTF-16 text and breaks off; save it again as CSV UTF-8") from None
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    zero = raw.find(b"\0")
    if zero >= 0:
        line = raw.count(b"\n", 0, zero) + 1
        raise Refusal(
            f"{place}, row {line}: holds a zero byte, so it is no text or is damaged; save it again as CSV UTF-8"
        )
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    try:
        raw.decode("utf-8")
        return Document(place, raw, "utf-8")
    except UnicodeDecodeError as error:
        if re.search(rb"[\x00-\x08\x0e-\x1f\x81\x8d\x8f\x90\x9d]", raw):
            line = raw.count(b"\n", 0, error.start) + 1
            raise Refusal(
                f"{place}, row {line}: holds bytes that are no text in any encoding we know; save it again as CSV UTF-8"
            ) from None
        return Document(place, raw, "cp1252", ("the file was read as Windows-1252 text",))


def table(text: Document, *, header_line: int = 0, delimiter: str | None = None, limits: Limits) -> Table:
    """Cut a text into a table whose header stands on a given 0-based line.

    Raises:
        Refusal: no delimiter, an empty or repeated column name, no data row, or a line of another width than the header.
    """
    head = text.head(header_line + 50)
    if len(head) <= header_line:
        raise Refusal(f"{text.place}: ends before its header (row {header_line + 1})")
    mark = delimiter or _delimiter(head[header_line:])
    if mark is None:
        raise Refusal(
            f"{text.place}, row {header_line + 1}: no comma, semicolon or tab divides the header into columns"
        )
    names = [cell.strip() for cell in next(csv.reader([head[header_line]], delimiter=mark))]
    if len(names) > limits.text_columns:
        raise Refusal(
            f"{text.place}: has {len(names)} columns; the limit is {limits.text_columns} (setting text_columns)"
        )
    full_width = len(names)
    while names and not names[-1]:
        names.pop()
    start = _line_start(text.body, header_line + 1)
    body = text.body[start:].rstrip(b"\r\n \t") if mark != "\t" else text.body[start:].rstrip(b"\r\n ")
    ended = text.body[start + len(body) :][:1] in (b"\n", b"\r") or not body
    notes = list(text.notes)
    if not body:
        raise Refusal(f"{text.place}: has a header and no data row")
    _check_names(text.place, names, header_line)
    width = _count_widths(text.place, body, mark, {len(names), full_width}, header_line + 2)
    if not ended:
        body = _without_cut_line(body, mark, notes, text.place)
    commas = mark != "," and _decimal_comma(body, mark)
    cells = Text(body + b"\n", encoding=text.encoding, delimiter=mark, width=width, decimal_comma=commas)
    rows = body.count(b"\n") + 1
    return Table(text.place, tuple(names), header_line + 2, rows, cells, tuple(notes))


def _delimiter(lines: list[str]) -> str | None:
    counts = {mark: lines[0].count(mark) for mark in DELIMITERS}
    best = max(counts, key=lambda mark: (counts[mark], -DELIMITERS.index(mark)))
    if counts[best] == 0:
        return None
    for mark in DELIMITERS:
        if counts[mark] and all(line.count(mark) == counts[mark] for line in lines[:5] if line.strip()):
            return mark
    return best


def _check_names(place: str, names: list[str], header_line: int) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name:
            raise Refusal(f"{place}, row {header_line + 1}: column {position} has no name")
        if name in seen:
            raise Refusal(
                f"{place}, row {header_line + 1}: the column {name!r} stands there twice; give each column one name"
            )
        seen.add(name)


def _line_start(body: bytes, line: int) -> int:
    position = 0
    for _ in range(line):
        found = body.find(b"\n", position)
        if found < 0:
            return len(body)
        position = found + 1
    return position


def _count_widths(place: str, body: bytes, mark: str, allowed: set[int], first_row: int) -> int:
    """Return the one width that all lines have; quoted fields are counted by the csv module."""
    if b'"' in body:
        reader = csv.reader(body.decode("utf-8", errors="replace").splitlines(), delimiter=mark, strict=True)
        try:
            widths = np.array([len(row) for row in reader])
        except csv.Error as error:
            raise Refusal(
                f"{place}, row {first_row + reader.line_num - 1}: {error}; check the quotation marks"
            ) from None
    else:
        codes = np.frombuffer(body, dtype=np.uint8)
        starts = np.concatenate(([0], np.flatnonzero(codes == ord("\n")) + 1))
        widths = np.add.reduceat(codes == ord(mark), np.minimum(starts, len(codes) - 1), dtype=np.int32) + 1
    wrong = np.flatnonzero(~np.isin(widths, list(allowed)) | (widths != widths[0]))
    if len(wrong):
        row = int(wrong[0])
        last = " (the last row: the file was cut or is still being written)" if row == len(widths) - 1 else ""
        raise Refusal(
            f"{place}, row {first_row + row}: has {int(widths[row])} fields where the header has {max(allowed)}{last}"
        )
    return int(widths[0])


def _without_cut_line(body: bytes, mark: str, notes: list[str], place: str) -> bytes:
    """Drop a last line without a line end if its last number is shorter than any above it: it may have been cut."""
    lines = body[-20000:].split(b"\n")[0 if len(body) <= 20000 else 1 :]
    decimals = [_decimals(line.rsplit(mark.encode(), 1)[-1]) for line in lines]
    shorter = len(lines) > _ROWS_TO_JUDGE and decimals[-1] < min(decimals[:-1])
    if len(lines) > 1 and (shorter or body.endswith((b".", b"-", b"+", b"e", b"E", mark.encode()))):
        notes.append("the last line has no line end and its last number is cut short, so it was left out")
        return body[: body.rfind(b"\n")]
    notes.append("the last line has no line end; the file may go on")
    return body


def _decimals(cell: bytes) -> int:
    digits = cell.strip().replace(b",", b".").rpartition(b".")
    return len(digits[2]) if digits[1] else 0


def _decimal_comma(body: bytes, mark: str) -> bool:
    sample = body[:20000].decode("latin-1").split("\n")[:100]
    return any(_COMMA_NUMBER.fullmatch(cell.strip()) for line in sample for cell in line.split(mark))
