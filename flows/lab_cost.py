"""What a trial costs a lab: its days, more where the lab waits for its mixer, and where prices are known its batch's material.

Days are those of hands, mixer and channel until a cell has told most. Where mixers are scarcer than channels, trials follow one
another as fast as mixing allows, and what is mixed in half the time is learned in half the days: there they count as many times
over as the lab waits longer for a mixer than for a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.materials import Materials
from campaign.recipe import PUBLISHED_PROTOCOL, PUBLISHED_RECIPE, complete
from campaign.space import SearchSpace
from campaign.spec import Lab
from flows.mixer import days_a_batch

Floats = npt.NDArray[np.float64]
HANDS_DAYS = 1.5
"""Weighing, powder tests, building a cell [est]."""
WATCHED_DAYS = 8.0
"""Channel-days that a cell is watched before it has told most [est]: some ten cycles of 19 h."""
CHANNEL_DAYS = 20.0
"""Days that a cell holds its channel at most, on average [est]: the worst a few, one that teaches the others how cells fade its
whole run."""
PARTS = (("active", "active_wt_pct"), ("sse", "sse_wt_pct"), ("carbon", "carbon_wt_pct"))


def days(
    recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab, materials: Materials, *, cycles: int
) -> Floats:
    """Return the days that each of n trials costs the lab, all mixers and channels in use.

    Args:
        recipes: n rows of varied columns.
        conditions: what is held.
        lab: its mixers, channels and working hours.
        materials: for what the active can hold.
        cycles: that a cell runs to.
    """
    # Single columns alone: completing whole designs for every candidate took a sixth of a rehearsal's time.
    held = {**PUBLISHED_RECIPE, **PUBLISHED_PROTOCOL, **conditions}
    net, premill, duty = (recipes[n] if n in recipes else held[n] for n in ("time_h", "premill_h", "duty"))
    clock_h = (net + premill) / duty + np.zeros(len(recipes))
    run = whole_run_days(recipes, held, materials, cycles=cycles)
    spent = HANDS_DAYS + clock_h / 24 + np.minimum(WATCHED_DAYS, run)
    waits = days_a_batch(np.asarray(clock_h, dtype=float), lab) / (np.minimum(CHANNEL_DAYS, run) / lab.channels)
    return np.asarray(spent * np.maximum(waits, 1.0), dtype=float)


def whole_run_days(
    recipes: pd.DataFrame, held: Mapping[str, Any], materials: Materials, *, cycles: int
) -> Floats | float:
    """Return the days that cells of n recipes would take for all cycles, discharge and charge at what the active can hold."""
    loading, current = (recipes[n] if n in recipes else held[n] for n in ("loading_mg_cm2", "current_mA_cm2"))
    if "active" in recipes:
        per_g: Any = recipes["active"].map({name: _per_g(name, materials) for name in recipes["active"].unique()})
    else:
        per_g = _per_g(str(held["active"]), materials)
    return np.asarray(cycles * 2.0 * (loading * per_g / 1000.0) / current / 24.0, dtype=float)


def _per_g(active: str, materials: Materials) -> float:
    """What an active can hold (mAh per gram); a control without one is taken for sulfur, so that it does not cost nothing."""
    return materials.active("S" if active == "none" else active).capacity_mAh_g


def price(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab) -> Floats:
    """Return the price of each of n batches; materials without a price count nothing."""
    grams = material_g(designs_of(recipes, conditions), lab.batch_mass_g)
    return np.array([sum(lab.price_per_g.get(name, 0.0) * mass for name, mass in row.items()) for row in grams])


def of_lab(
    space: SearchSpace, conditions: Mapping[str, Any], lab: Lab, materials: Materials, *, cycles: int
) -> Callable[[pd.DataFrame], Floats]:
    """Return the cost function of a campaign in a lab, for recipes of its space.

    It is their days, and half as much again for a batch of typical price where prices are known.
    """
    names = list(space.names)
    typical = float(price(space.sample(256, seed=0), conditions, lab).mean()) if lab.price_per_g else 0.0

    def cost(recipes: pd.DataFrame) -> Floats:
        spent = days(recipes[names], conditions, lab, materials, cycles=cycles)
        if typical <= 0:
            return spent
        return np.asarray(spent * (1.0 + PRICE_SHARE * price(recipes[names], conditions, lab) / typical))

    return cost


def all_alike(recipes: pd.DataFrame) -> Floats:
    """The cost of each of n recipes where none is dearer than another."""
    return np.ones(len(recipes))


PRICE_SHARE = 0.5
"""What a batch of typical price counts beside its days [est]; a lab for which material is dearer says so by its prices' ratio."""


def material_g(designs: pd.DataFrame, batch_mass_g: float) -> list[dict[str, float]]:
    """Return the grams of each material in a batch of each of n designs."""
    rows = []
    for design in designs.to_dict("records"):
        row: dict[str, float] = {}
        for part, share in PARTS:
            name, mass = str(design[part]), float(design[share]) / 100 * batch_mass_g
            if name != "none" and mass > 0:
                row[name] = row.get(name, 0.0) + mass
        rows.append(row)
    return rows


def designs_of(recipes: pd.DataFrame, conditions: Mapping[str, Any]) -> pd.DataFrame:
    """Complete n recipes of a space by what is held."""
    given = {n: v for n, v in conditions.items() if n not in recipes and n != "carbon_wt_pct"}
    return complete(recipes.assign(**given))
