"""Files as cyclers write them, made from a list of (current in mA, hours): the truth is the list, not the file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

import ingest
from ingest import tasks, understand

Steps = list[tuple[float, float]]

CASES: dict[str, tuple[Steps, list[float | None], list[float | None]]] = {
    # name: steps, expected discharge capacities, expected charge capacities (None: running, no value)
    "plain": ([(-1, 1), (0.9, 1), (-0.95, 1), (0.9, 1)], [1.0, 0.95], [0.9, 0.9]),
    "rest inside": ([(-1, 0.5), (0, 0.5), (-1, 0.5), (1, 0.9)], [1.0], [0.9]),
    "three rates": ([(-1, 1), (0, 0.1), (-0.5, 0.2), (0, 0.1), (-0.1, 0.5), (0, 0.1), (1, 1.1)], [1.15], [1.1]),
    "CV tail and leak": ([(-1, 1), (1e-4, 5), (1, 0.8), (0.2, 0.5)], [1.0], [0.9]),
    "cut": ([(-1, 1), (1, 0.9), (-1, 0.4)], [1.0, None], [0.9, None]),
    "pulse in charge": ([(-1, 1), (1, 0.5), (-1, 0.01), (1, 0.4)], [1.0], [0.9]),
}


def record(steps: Steps, *, dt_s: float = 6.0, logged: str = "start", rest_after: bool = False) -> np.ndarray:
    """Return rows (time s, step, step time s, mA, V, charge counter mAh, discharge counter mAh).

    `logged`: rows stand at the start of each interval, at its end, or at both ends of each step (as cyclers do).
    The voltage is a line in the state of charge plus a drop with the sign of the current.
    """
    if rest_after:
        steps = [*steps, (0.0, 0.2)]
    rows: list[tuple[float, ...]] = []
    begin, soc, up, down = 0.0, 1.0, 0.0, 0.0
    for number, (current, hours) in enumerate(steps, start=1):
        count = max(round(hours * 3600 / dt_s), 1)
        width = hours * 3600 / count
        marks = {"start": range(count), "end": range(1, count + 1), "both": range(count + 1)}[logged]
        for mark in marks:
            moved = current * mark * width / 3600
            volt = 1.2 + soc + moved + 0.05 * np.sign(current) * (abs(current) > 1e-3)
            at = begin + mark * width
            rows.append((at, number, mark * width, current, volt, up + max(moved, 0), down + max(-moved, 0)))
        moved = current * hours
        soc, up, down = soc + moved, up + max(moved, 0), down + max(-moved, 0)
        begin += hours * 3600
    return np.array(rows)


def series_csv(
    rows: np.ndarray, header: str = "time_s,current_mA,voltage_V", factors: tuple[float, ...] = (1, 1, 1)
) -> str:
    """Return a plain CSV of time, current and voltage."""
    columns = rows[:, [0, 3, 4]] * np.array(factors)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header.split(","))
    writer.writerows([[f"{cell:.9g}" for cell in row] for row in columns.tolist()])
    return text.getvalue()


def write(path: Path, text: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(header: str, rows: list[list[object]], delimiter: str = ",") -> str:
    """Return a delimited text table."""
    return "\n".join([header, *[delimiter.join(str(cell) for cell in row) for row in rows]]) + "\n"


def understood(folder: Path, raw: str | bytes, **arguments: object) -> dict[str, object]:
    """Return what the parsing process would say of these bytes, without the process."""
    (folder / "input").write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return understand.cycler(folder, ingest.Limits(), {**tasks._REHEARSED, "name": "f", **arguments})


def capacities(found: dict[str, dict[str, list[float]]]) -> list[float]:
    """Return the discharge capacities of what was understood."""
    return found["cycles"]["discharge_capacity_mAh"]
