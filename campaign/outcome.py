"""Outcomes: the scalars that are derived from a cycling record, each defined once, here.

Names end in their unit and carry the cycle they speak of (`discharge_capacity_cycle_100_mAh_g_composite`), so that a
number is never read against the wrong one. Nothing is interpolated: an outcome whose cycle was not measured is absent (NaN).

Definitions (Q in mAh cm-2, `loading` of active in mg cm-2; of SSE where a control has no active):
* areal capacity at cycle n: Q_dis(n); per gram of composite: Q_dis(n) / (loading / active share) * 1000.
* SSE-corrected: Q_dis(n) less the charge that the SSE's own redox gave; known for simulated records only.
* utilisation: Q_dis(n) over the theoretical capacity of the active; above 100 % the SSE has contributed.
* retention: Q_dis(n) / Q_dis(1), and against the peak where every cycle up to n was measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.names import nearest

STANDARD_CYCLES = (1, 2, 25, 50, 100, 450)
"""Cycles that tables report where they were reached."""

RECIPE_OUTCOMES = ("mixing_time_h", "mixing_clock_h")
"""Outcomes that follow from the recipe: no trial is needed to know them."""
SLACK_H = 0.02
"""What a mix may take longer than a bound allows and still keep to it: a minute to stop the mixer."""

_CYCLE = re.compile(r"_cycle_(\d+)(?=_|$)")


@dataclass(frozen=True)
class Definition:
    """One family of outcomes; `{n}` in the name stands for the cycle."""

    name: str
    label: str
    unit: str
    better: str


_FAMILIES = (
    Definition("discharge_areal_capacity_cycle_{n}_mAh_cm2", "Discharge capacity at cycle {n}", "mAh cm⁻²", "max"),
    Definition(
        "discharge_capacity_cycle_{n}_mAh_g_composite",
        "Discharge capacity at cycle {n}",
        "mAh g⁻¹ of composite",
        "max",
    ),
    Definition(
        "discharge_capacity_cycle_{n}_mAh_g_active",
        "Discharge capacity at cycle {n}",
        "mAh g⁻¹ of active",
        "max",
    ),
    Definition(
        "sse_corrected_areal_capacity_cycle_{n}_mAh_cm2",
        "Discharge capacity at cycle {n} less the SSE's share",
        "mAh cm⁻²",
        "max",
    ),
    Definition(
        "sse_corrected_capacity_cycle_{n}_mAh_g_composite",
        "Discharge capacity at cycle {n} less the SSE's share",
        "mAh g⁻¹ of composite",
        "max",
    ),
    Definition("utilisation_cycle_{n}_pct", "Utilisation of the active at cycle {n}", "%", "max"),
    Definition("retention_cycle_{n}_pct", "Capacity at cycle {n} over cycle 1", "%", "max"),
    Definition("retention_cycle_{n}_vs_peak_pct", "Capacity at cycle {n} over the peak before it", "%", "max"),
    Definition(
        "discharge_energy_cycle_{n}_Wh_kg_composite",
        "Discharge energy at cycle {n}",
        "Wh kg⁻¹ of composite",
        "max",
    ),
    Definition("q2_over_q1", "Second over first discharge", "1", "max"),
    Definition("peak_areal_capacity_mAh_cm2", "Highest discharge capacity", "mAh cm⁻²", "max"),
    Definition("peak_cycle", "Cycle of the highest discharge", "cycle", "max"),
    Definition("mixing_time_h", "Net mixing time", "h", "min"),
    Definition("mixing_clock_h", "Mixing time on the clock", "h", "min"),
    Definition("specific_energy_kJ_g", "Mixing energy", "kJ g⁻¹", "min"),
)
_BY_NAME = {family.name: family for family in _FAMILIES}


def define(name: str) -> Definition:
    """Return the definition of an outcome, with its cycle put in.

    >>> define("retention_cycle_100_pct").label
    'Capacity at cycle 100 over cycle 1'

    Raises:
        Refusal: nobody defined the outcome; the sentence names the nearest one.
    """
    found = _CYCLE.search(name)
    family = _BY_NAME.get(_CYCLE.sub("_cycle_{n}", name))
    if family is None or (found is not None and int(found.group(1)) < 1):
        shown = [known.name.replace("{n}", "100") for known in _FAMILIES]
        raise Refusal(f"nobody defined the outcome {name!r}: {nearest(name, shown)}")
    cycle = found.group(1) if found else ""
    return Definition(name, family.label.replace("{n}", cycle), family.unit, family.better)


def cycle_of(name: str) -> int | None:
    """Return the cycle that an outcome's name speaks of, or None.

    >>> cycle_of("retention_cycle_100_pct")
    100
    """
    found = _CYCLE.search(name)
    return int(found.group(1)) if found else None


def composite_mg_cm2(designs: pd.DataFrame) -> pd.Series:
    """Mass of composite per area: loading over the share of what the loading speaks of (active, or SSE in a control)."""
    share = designs["active_wt_pct"].where(designs["active"].ne("none"), designs["sse_wt_pct"]) / 100.0
    return designs["loading_mg_cm2"] / share


def theoretical_areal_capacity_mAh_cm2(designs: pd.DataFrame, materials: Materials) -> pd.Series:
    """Areal capacity of the active by its theory; 0 for a control without active."""
    per_gram = designs["active"].map(lambda name: 0.0 if name == "none" else materials.active(name).capacity_mAh_g)
    return designs["loading_mg_cm2"] * per_gram.astype(float) / 1000.0


def derive(
    cycling: pd.DataFrame,
    designs: pd.DataFrame,
    materials: Materials,
    *,
    cycles: Sequence[int] = STANDARD_CYCLES,
) -> pd.DataFrame:
    """Derive every outcome that the records allow.

    Args:
        cycling: long table with `design`, `cycle`, `discharge_areal_capacity_mAh_cm2`, and where known
            `mean_discharge_voltage_V` and `sse_areal_capacity_mAh_cm2` (the SSE's own share of the discharge).
        designs: n completed designs, index = the values of `design`.
        materials: for theoretical capacities.
        cycles: which cycles to report.

    Returns:
        n rows, one column an outcome; NaN where the record does not hold what the outcome needs.
    """
    discharge = _wide(cycling, "discharge_areal_capacity_mAh_cm2", designs.index)
    composite = composite_mg_cm2(designs)
    theory = theoretical_areal_capacity_mAh_cm2(designs, materials).replace(0.0, np.nan)
    active_loading = designs["loading_mg_cm2"].where(designs["active"].ne("none"))
    voltage = _wide(cycling, "mean_discharge_voltage_V", designs.index)
    sse = _wide(cycling, "sse_areal_capacity_mAh_cm2", designs.index)
    out: dict[str, pd.Series] = {}
    first = _at(discharge, 1)
    for n in sorted(set(cycles)):
        q = _at(discharge, n)
        out[f"discharge_areal_capacity_cycle_{n}_mAh_cm2"] = q
        out[f"discharge_capacity_cycle_{n}_mAh_g_composite"] = q / composite * 1000.0
        out[f"discharge_capacity_cycle_{n}_mAh_g_active"] = q / active_loading * 1000.0
        out[f"sse_corrected_areal_capacity_cycle_{n}_mAh_cm2"] = q - _at(sse, n)
        out[f"sse_corrected_capacity_cycle_{n}_mAh_g_composite"] = (q - _at(sse, n)) / composite * 1000.0
        out[f"utilisation_cycle_{n}_pct"] = q / theory * 100.0
        if n > 1:
            out[f"retention_cycle_{n}_pct"] = q / first * 100.0
            out[f"retention_cycle_{n}_vs_peak_pct"] = q / _peak_until(discharge, n) * 100.0
        out[f"discharge_energy_cycle_{n}_Wh_kg_composite"] = q * _at(voltage, n) / composite * 1000.0
    out["q2_over_q1"] = _at(discharge, 2) / first
    last = int(discharge.columns.max()) if len(discharge.columns) else 0
    out["peak_areal_capacity_mAh_cm2"] = _peak_until(discharge, last)
    out["peak_cycle"] = _peak_cycle(discharge, out["peak_areal_capacity_mAh_cm2"])
    out["mixing_time_h"] = designs["time_h"] + designs["premill_h"]
    out["mixing_clock_h"] = out["mixing_time_h"] / designs["duty"]
    return pd.DataFrame(out, index=designs.index).dropna(axis=1, how="all")


def _wide(cycling: pd.DataFrame, column: str, index: pd.Index) -> pd.DataFrame:
    """Pivot one column of the long table to designs x cycles; without rows, an empty frame of that index."""
    if column not in cycling:
        return pd.DataFrame(index=index)
    return cycling.pivot(index="design", columns="cycle", values=column).reindex(index)


def _at(wide: pd.DataFrame, cycle: int) -> pd.Series:
    if cycle in wide.columns:
        return wide[cycle].astype(float)
    return pd.Series(np.nan, index=wide.index)


def _peak_until(wide: pd.DataFrame, last: int) -> pd.Series:
    """Peak over cycles 1..last where every one of them was measured; else NaN: a gap could hide the peak."""
    wanted = list(range(1, last + 1))
    if not wanted or not set(wanted) <= set(wide.columns):
        return pd.Series(np.nan, index=wide.index)
    return wide[wanted].astype(float).max(axis=1, skipna=False)


def _peak_cycle(wide: pd.DataFrame, peak: pd.Series) -> pd.Series:
    known = peak.notna()
    cycles = pd.Series(np.nan, index=wide.index)
    if known.any():
        cycles[known] = wide[known].astype(float).idxmax(axis=1).astype(float)
    return cycles
