"""Limits of the child process that parses a file: settings, with room for twice the largest file that we measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from campaign.errors import Refusal
from campaign.names import nearest


@dataclass(frozen=True)
class Limits:
    """What one file may cost. The machine settings may change each (`MIXWRIGHT_INGEST_<NAME>`)."""

    memory_MiB: int = 2048
    """Address space above that of the freshly started child; a 2-million-row CSV needs under half of it."""
    cpu_s: int = 20
    """CPU time of one parse; a 2-million-row CSV needs under half of it."""
    wall_s: int = 60
    """Time on the clock of one parse."""
    file_MiB: int = 1024
    """Size of the file itself."""
    unpacked_MiB: int = 512
    """Size of all members of a zip container (.xlsx, .ndax) once unpacked."""
    zip_ratio: int = 200
    """Largest ratio of unpacked to packed size of a zip container."""
    sheet_cells: int = 2_000_000
    """Cells of one sheet, counted as its bounding box."""
    workbook_rows: int = 300_000
    """Rows of one sheet; a longer record is exported as CSV, which has no such limit."""
    sheet_rows: int = 5_000
    """Rows of a lab sheet."""
    text_columns: int = 500
    """Columns of a text table."""

    @classmethod
    def current(cls) -> Limits:
        """Return the limits of this machine: ours, changed by `MIXWRIGHT_INGEST_…` in the environment."""
        return cls.from_settings(os.environ)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, prefix: str = "MIXWRIGHT_INGEST_") -> Limits:
        """Take limits from settings such as environment variables: `MIXWRIGHT_INGEST_MEMORY_MIB=4096`.

        Raises:
            Refusal: an unknown limit, or a value that is no positive whole number.
        """
        known = {item.name.upper(): item.name for item in fields(cls)}
        given: dict[str, int] = {}
        for key, text in settings.items():
            if not key.startswith(prefix):
                continue
            name = key.removeprefix(prefix).upper()
            if name not in known:
                raise Refusal(f"setting {key} is no limit of ours: {nearest(name, known)}")
            if not (text.isascii() and text.isdigit() and int(text) > 0):
                raise Refusal(f"setting {key} is {text!r}; it must be a positive whole number")
            given[known[name]] = int(text)
        return cls(**given)
