"""Numbers, dates and durations as tired people and cyclers write them; anything ambiguous is refused, never guessed.

`float()` is no judge of a lab file: it takes Arabic digits, `1_000`, `nan` and `inf`. Here a number is ASCII digits with
one decimal point or comma; a date is ISO 8601 (`04/03/2026` is April or March, so it is refused).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:[.,][0-9]{3})+[.,][0-9]+", re.ASCII)
_DASHES = str.maketrans({"−": "-", "‐": "-", "‑": "-", "–": "-"})
_CLOCK = re.compile(r"(?:(\d{1,5})d\s+)?(\d{1,6}):([0-5]?\d):([0-5]?\d(?:\.\d{1,9})?)", re.ASCII)
_DAYS_CLOCK = re.compile(r"(\d{1,5})-([01]\d|2[0-3]):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?)?\s*(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
EMPTY = frozenset({"", "-", "--", "n/a", "N/A", "na", "NA", "NaN", "nan", "None", "none", "NULL", "null", "#N/A", "?"})
"""Texts that stand for no value in a column of numbers. (In a column of names, `NA` is a name.)"""

EXCEL_EPOCH = datetime(1899, 12, 30)


def number(text: str) -> float:
    """Read one number, decimal point or comma.

    >>> number("6.28"), number("6,28"), number("−1e-3"), number("1.234,5"), number("1 234,5")
    (6.28, 6.28, -0.001, 1234.5, 1234.5)

    Raises:
        ValueError: with a clause that says what is wrong with it.
    """
    cleaned = text.strip().translate(_DASHES)
    text = text if len(text) <= 60 else text[:40] + "…"
    squeezed = re.sub(r"(?<=[0-9])[\u00a0\u202f ](?=[0-9]{3}(?:[^0-9]|$))", "", cleaned)
    if _NUMBER.fullmatch(squeezed):
        value = float(squeezed.replace(",", "."))
    elif _THOUSANDS.fullmatch(squeezed):
        mark = "," if squeezed.rfind(",") > squeezed.rfind(".") else "."
        other = "." if mark == "," else ","
        if mark in squeezed[: squeezed.rfind(mark)]:
            raise ValueError(f"{text!r} is not a number")
        value = float(squeezed.replace(other, "").replace(mark, "."))
    elif re.search(r"[^\x00-\x7f]", squeezed) and any(ch.isdigit() and not ch.isascii() for ch in squeezed):
        raise ValueError(f"{text!r} is written in digits other than 0-9")
    elif "_" in squeezed:
        raise ValueError(f"{text!r} holds an underscore, which is no part of a number")
    elif re.fullmatch(r"[+-]?(inf(inity)?|nan)", squeezed, re.IGNORECASE):
        raise ValueError(f"{text!r} is not a finite number")
    elif re.fullmatch(r"[+-]?[0-9.,eE+-]+\s*[A-Za-zµ%°/]+.*", squeezed):
        raise ValueError(f"{text!r} carries a unit; the unit belongs in the header, the number alone in the cell")
    else:
        raise ValueError(f"{text!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large to be a number")
    return value


def moment(text: str) -> datetime:
    """Read a date or a date and time: ISO 8601, or the serial number a spreadsheet stores.

    Where no zone is written it is the time of this machine, as on the wall beside it; the answer is in UTC.

    >>> moment("2026-03-04 10:30+01:00").isoformat()
    '2026-03-04T09:30:00+00:00'

    Raises:
        ValueError: the text is ambiguous or no date.
    """
    cleaned = text.strip()
    match = _ISO.fullmatch(cleaned)
    if match:
        year, month, day, hour, minute, second, part, zone = match.groups()
        iso = (
            f"{year}-{month}-{day}T{int(hour or 0):02d}:{minute or '00'}:{second or '00'}.{(part or '0').ljust(6, '0')}"
        )
        zone = zone or ""
        try:
            read = datetime.fromisoformat(iso + (f"{zone[:3]}:{zone[3:]}" if len(zone) == 5 else zone))
        except ValueError as error:
            raise ValueError(f"{text!r} is no time: {error}") from None
        return _in_utc(read, text)
    if re.fullmatch(r"\d{5}(\.\d+)?", cleaned, re.ASCII):
        days = timedelta(days=float(cleaned))
        return _in_utc(EXCEL_EPOCH + timedelta(seconds=round(days.total_seconds())), text)
    if re.fullmatch(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}.*", cleaned, re.ASCII):
        raise ValueError(
            f"{text!r} may be day/month or month/day; write it as {date(2026, 3, 4).isoformat()} (year-month-day)"
        )
    raise ValueError(f"{text!r} is not a date; write it as 2026-03-04 or 2026-03-04 10:30")


def _in_utc(read: datetime, text: str) -> datetime:
    """The instant in UTC; without a zone it is this machine's time."""
    if not 1970 <= read.year < 2200:
        raise ValueError(f"{text!r} lies in the year {read.year}; write the date as 2026-03-04 or 2026-03-04 10:30")
    return read.astimezone(UTC)


def duration_s(text: str) -> float:
    """Read a clock reading such as `120:15:30`, `0d 00:00:05` or `1-02:03:04` as seconds.

    >>> duration_s("120:15:30"), duration_s("1d 00:00:05"), duration_s("1-02:03:04.5")
    (432930.0, 86405.0, 93784.5)
    """
    cleaned = text.strip()
    match = _CLOCK.fullmatch(cleaned) or _DAYS_CLOCK.fullmatch(cleaned)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 120:15:30 or 0d 00:00:05")
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds)
