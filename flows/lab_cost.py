"""What a trial costs a lab: days of mixer and channel, and where prices are known the material of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.recipe import PUBLISHED_RECIPE, complete
from campaign.space import SearchSpace
from campaign.spec import Lab

Floats = npt.NDArray[np.float64]
HANDS_DAYS = 1.5
"""Weighing, powder tests, building a cell [est]."""
WATCHED_DAYS = 8.0
"""Channel-days that a cell is watched before it has told most [est]: some ten cycles of 19 h."""
PARTS = (("active", "active_wt_pct"), ("sse", "sse_wt_pct"), ("carbon", "carbon_wt_pct"))


def days(recipes: pd.DataFrame, conditions: Mapping[str, Any]) -> Floats:
    """Return the days that each of n trials takes: hands, the mixer by the clock, and the channel."""
    # The three columns alone: completing whole designs for every candidate took a sixth of a rehearsal's time.
    held = {**PUBLISHED_RECIPE, **conditions}
    net, premill, duty = (recipes[n] if n in recipes else held[n] for n in ("time_h", "premill_h", "duty"))
    mixing = (net + premill) / duty / 24 + np.zeros(len(recipes))
    return np.asarray(HANDS_DAYS + mixing + WATCHED_DAYS, dtype=float)


def price(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab) -> Floats:
    """Return the price of each of n batches; materials without a price count nothing."""
    grams = material_g(designs_of(recipes, conditions), lab.batch_mass_g)
    return np.array([sum(lab.price_per_g.get(name, 0.0) * mass for name, mass in row.items()) for row in grams])


def cost(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab, *, typical_price: float) -> Floats:
    """Return what n trials cost: their days, and half as much again for a batch of typical price where prices are known."""
    spent = days(recipes, conditions)
    if not lab.price_per_g or typical_price <= 0:
        return spent
    weight = PRICE_SHARE * (HANDS_DAYS + WATCHED_DAYS)
    return np.asarray(spent + weight * price(recipes, conditions, lab) / typical_price)


def of_lab(space: SearchSpace, conditions: Mapping[str, Any], lab: Lab) -> Callable[[pd.DataFrame], Floats]:
    """Return the cost function of a campaign in a lab, for recipes of its space."""
    names = list(space.names)
    typical = float(price(space.sample(256, seed=0), conditions, lab).mean())
    return lambda recipes: cost(recipes[names], conditions, lab, typical_price=typical)


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
