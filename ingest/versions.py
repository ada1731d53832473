"""A file that grows: is the new version the old one with more rows, or was the past changed? And does it still grow?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ingest import sandbox
from ingest.cycler import convert
from ingest.limits import Limits

SETTLE_S = 10.0
"""A file untouched for this long is taken as written to its end (cyclers append every few seconds to minutes)."""
_OLDER = "older"


@dataclass(frozen=True)
class Difference:
    """One value of the past that is another now."""

    row: int
    """Data row, 1 the first."""
    column: str
    old: float
    new: float


@dataclass(frozen=True)
class Comparison:
    """How a new version of a file stands to the old one."""

    kind: Literal["same", "extends", "contained", "changed"]
    """`same` rows; `extends` the old by new rows; `contained` in the old (an earlier export); `changed` a past row."""
    old_rows: int
    new_rows: int
    differences: tuple[Difference, ...] = ()
    """The first twenty, in order of row."""

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        if self.kind == "changed":
            first = self.differences[0]
            return (
                f"data row {first.row}, {first.column}: was {first.old:g}, is {first.new:g}; the past was changed, "
                "so take it as an amendment or refuse it"
            )
        return {
            "same": f"the same {self.old_rows} rows as before",
            "extends": f"{self.new_rows - self.old_rows} rows more than the {self.old_rows} before, which are unchanged",
            "contained": f"an earlier version: its {self.new_rows} rows are the first of the {self.old_rows} known",
        }[self.kind]


def compare_versions(old: Path, new: Path, *, limits: Limits | None = None) -> Comparison:
    """Compare two versions of a cell's file row by row (test time, current and voltage, or the table's numbers).

    Raises:
        Refusal: one of them cannot be read, or they are of different formats.
    """
    limits = limits or Limits.current()
    with sandbox.scratch_folder() as folder:
        before = sandbox.take(Path(old), folder / _OLDER, limits=limits)
        after = sandbox.take(Path(new), folder / sandbox.INPUT, limits=limits)
        names = [before.name, after.name]
        converted = [
            convert(folder, _OLDER, before.name, limits=limits),
            convert(folder, sandbox.INPUT, after.name, limits=limits),
        ]
        found = sandbox.run("compare", folder, after.name, {"names": names, "converted": converted}, limits=limits)
    differences = tuple(Difference(**difference) for difference in found["differences"])
    old_rows, new_rows = found["old_rows"], found["new_rows"]
    kind: Literal["same", "extends", "contained", "changed"] = "same"
    if differences:
        kind = "changed"
    elif new_rows != old_rows:
        kind = "extends" if new_rows > old_rows else "contained"
    return Comparison(kind, old_rows, new_rows, differences)


def is_settled(path: Path, *, settle_s: float = SETTLE_S, clock: Callable[[], float] = time.time) -> bool:
    """Say whether a file rests: untouched for `settle_s`; where its time stamp lies in the future, unchanged over two looks."""
    first = path.stat()
    age = clock() - first.st_mtime
    if age >= 0:
        return age >= settle_s
    time.sleep(min(settle_s, 0.5))
    second = path.stat()
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)
