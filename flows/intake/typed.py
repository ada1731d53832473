"""Capacities typed into the lab sheet where there is no cycler file, as rows of a cell's record."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from campaign.errors import Refusal
from flows.intake import cells
from flows.intake.cells import Cell

_TYPED = re.compile(r"(discharge|charge)_(?:areal_)?capacity_cycle_(\d+)_(mAh_cm2|mAh_g_composite|mAh_g_active|mAh)")

_GIVEN = {"mAh_cm2": "mAh/cm2", "mAh_g_active": "mAh/g", "mAh_g_composite": "mAh/g of composite"}


def rows(outcome: Mapping[str, float], cell: Cell, facts: Mapping[str, float], place: str) -> pd.DataFrame:
    """Typed values as one row a cycle: mAh and mAh/cm2, as far as the cell's mass and area allow.

    Raises:
        Refusal: a column that is no capacity of a cycle, or one that needs a mass or an area which nobody gave.
    """
    found: dict[int, dict[str, float | str]] = {}
    for name, value in outcome.items():
        match = _TYPED.fullmatch(name)
        if match is None:
            raise Refusal(
                f"{place}: {name} cannot be typed in; right would be a capacity of one cycle, such as "
                "discharge_areal_capacity_cycle_100_mAh_cm2 (all else follows from it)"
            )
        kind, cycle, unit = match.group(1), int(match.group(2)), match.group(3)
        if cycle < 1:
            raise Refusal(f"{place}: {name} speaks of cycle {cycle}; cycles are counted from 1")
        row = found.setdefault(cycle, {})
        areal, amount = _per_area(value, unit, cell, facts, f"{place}, {name}")
        row[f"{kind}_areal_capacity_mAh_cm2"] = areal
        if amount is not None:
            row[f"{kind}_capacity_mAh"] = amount
        if unit != "mAh":
            row["flags"] = cells.given_in(_GIVEN[unit], cell.trial)
    return pd.DataFrame([{"subject": cell.id, "cycle": cycle, **values} for cycle, values in sorted(found.items())])


def _per_area(
    value: float, unit: str, cell: Cell, facts: Mapping[str, float], place: str
) -> tuple[float, float | None]:
    """Value per cm2, and in mAh where that was what was typed."""
    area = facts.get("area_cm2", cell.area_cm2)
    if unit == "mAh_cm2":
        return value, None
    if unit == "mAh":
        if area is None:
            raise Refusal(
                f"{place}: a capacity in mAh needs the cell's area; type it into 'area (cm2)' of the same row"
            )
        return value / area, value
    loading = cells.loading_mg_cm2(cell, facts)
    share = cells.number(cell.trial.recipe.get("active_wt_pct"))
    if loading is None or (unit == "mAh_g_composite" and not share):
        raise Refusal(f"{place}: a capacity per gram needs the cell's active mass and area; type them in the same row")
    per_gram = loading if unit == "mAh_g_active" else loading / (float(share or 0) / 100.0)
    return value * per_gram / 1000.0, None
