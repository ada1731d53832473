"""Recalculate what a report prints from an export alone: standard library only, nothing of Mixwright.

    python tests/reliability/recalculate.py EXPORT_FOLDER CYCLE      one line a trial: capacity per g of composite and of active

Capacity per gram = capacity per cm2 / loading; loading of active = the cell's own mass / area where both are known, else
as the protocol asks; loading of composite = loading of active / share of active. A trial's value is the mean of its cells.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from statistics import fmean


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of one table of the export."""
    with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def standing(folder: Path) -> dict[tuple[str, int], dict[str, str]]:
    """The newest row of each cycle of each subject, where it is not withdrawn."""
    newest: dict[tuple[str, int], dict[str, str]] = {}
    for row in sorted(table(folder, "cycling"), key=lambda row: int(row["seq"])):
        newest[row["subject"], int(row["cycle"])] = row
    return {place: row for place, row in newest.items() if row["withdrawn"] == "0"}


def excluded(folder: Path) -> set[str]:
    """Ids of trials, mixes and cells that do not count."""
    rows = [row for name in ("trial", "mix", "cell") for row in table(folder, name)]
    return {row["id"] for row in rows if row["state"] == "excluded"}


def recipe(trial: dict[str, str]) -> dict[str, float]:
    """The recipe as done where that is known, else as asked, with its protocol."""
    parts = (trial["recipe_asked"], trial["recipe_done"], trial["protocol"])
    return {name: value for part in parts for name, value in (json.loads(part) if part else {}).items()}


def loading_mg_cm2(cell: dict[str, str] | None, asked: dict[str, float]) -> float:
    """Active per area: of the cell where it was weighed and measured, else as asked."""
    if cell and cell["active_mass_mg"] and cell["area_cm2"]:
        return float(cell["active_mass_mg"]) / float(cell["area_cm2"])
    return asked["loading_mg_cm2"]


def capacities(folder: Path, cycle: int) -> dict[str, tuple[float, float]]:
    """trial -> (mAh per g of composite, mAh per g of active) of one cycle, mean over its cells."""
    trials = {row["id"]: recipe(row) for row in table(folder, "trial")}
    cells = {row["id"]: row for row in table(folder, "cell")}
    out = excluded(folder)
    found: dict[str, list[tuple[float, float]]] = {}
    for (subject, number), row in standing(folder).items():
        parts = subject.split("-")
        above = {"-".join(parts[: n + 1]) for n in range(len(parts))}
        if number != cycle or above & out or not row["discharge_areal_capacity_mAh_cm2"]:
            continue
        asked = trials[row["trial"]]
        loading = loading_mg_cm2(cells.get(subject), asked)
        per_active = 1000 * float(row["discharge_areal_capacity_mAh_cm2"]) / loading
        found.setdefault(row["trial"], []).append((per_active * asked["active_wt_pct"] / 100, per_active))
    return {
        trial: (fmean(value for value, _ in values), fmean(value for _, value in values))
        for trial, values in found.items()
    }


if __name__ == "__main__":
    for trial, (composite, active) in sorted(capacities(Path(sys.argv[1]), int(sys.argv[2])).items()):
        print(f"{trial} {composite:.6g} mAh per g of composite, {active:.6g} mAh per g of active")
