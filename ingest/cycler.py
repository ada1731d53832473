"""The door for cycler files: `inspect` says what would be understood, `read_cycler` hands it over for a known cell."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ingest import programs, sandbox
from ingest.checks import CellFacts
from ingest.cycles import COLUMNS
from ingest.findings import CyclingFile, Finding, Inspection, Start
from ingest.limits import Limits

_TEXT = ("discharge_state", "charge_state")


def inspect(path: Path, *, start: Start | None = None, limits: Limits | None = None) -> Inspection:
    """Say what would be understood of a file, without any campaign.

    Args:
        path: a cycler file or a table of capacity against cycle.
        start: direction of cycle 1; where it is not given, the direction in which the file begins.
        limits: of the parsing process.

    Raises:
        Refusal: the file is not read, with the reason and what would be right.
    """
    return _read(path, start=start, facts=CellFacts(), finished=False, need_mAh=False, limits=limits)


def read_cycler(
    path: Path,
    *,
    start: Start = "discharge",
    cell: CellFacts | None = None,
    finished: bool = False,
    limits: Limits | None = None,
) -> CyclingFile:
    """Read a cycler file for a cell that is known.

    Args:
        path: a cycler file or a table of capacity against cycle.
        start: direction of the first half-cycle of cycle 1, as the trial states it.
        cell: mass, area and active of the cell; the file's own mass is never used.
        finished: a person's word that the test is over, so the last half-cycle is whole.
        limits: of the parsing process.

    Raises:
        Refusal: the file is not read, or holds what cannot be; nothing of it is taken then.
    """
    return _read(path, start=start, facts=cell or CellFacts(), finished=finished, need_mAh=True, limits=limits)


def _read(
    path: Path, *, start: Start | None, facts: CellFacts, finished: bool, need_mAh: bool, limits: Limits | None
) -> CyclingFile:
    limits = limits or Limits.current()
    with sandbox.scratch_folder() as folder:
        snapshot = sandbox.take(Path(path), folder / sandbox.INPUT, limits=limits)
        arguments = {
            "name": snapshot.name,
            "start": start,
            "facts": asdict(facts),
            "finished": finished,
            "need_mAh": need_mAh,
        }
        arguments["converted"] = convert(folder, sandbox.INPUT, snapshot.name, limits=limits)
        found = sandbox.run("cycler", folder, snapshot.name, arguments, limits=limits)
    return CyclingFile(
        name=snapshot.name,
        sha256=snapshot.sha256,
        format=found["format"],
        rows=found["rows"],
        start=found["start"],
        first_cycle_partial=found["first_cycle_partial"],
        cycles=cycle_table(found["cycles"]),
        findings=tuple(Finding(**finding) for finding in found["findings"]),
        metadata=found["metadata"],
        cell_id=found["cell_id"],
        given=found["given"],
    )


def convert(folder: Path, stem: str, name: str, *, limits: Limits) -> str | None:
    """Let a program turn the binary file `stem` into the text `stem.converted` where one is needed; returns its format."""
    program = programs.needed(folder / stem, name)
    if program is None:
        return None
    sandbox.run("program", folder, name, {"argv": list(program.argv)}, limits=limits)
    (folder / sandbox.STDOUT).rename(folder / f"{stem}{sandbox.CONVERTED}")
    return program.format


def cycle_table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Make the cycle table from JSON columns, null as NaN."""
    arrays: dict[str, Any] = {}
    for name in COLUMNS:
        cells = columns[name]
        if name in _TEXT:
            arrays[name] = cells
        elif name == "cycle":
            arrays[name] = np.array(cells, dtype=np.int64)
        else:
            arrays[name] = np.array([math.nan if cell is None else cell for cell in cells], dtype=float)
    return pd.DataFrame(arrays)
