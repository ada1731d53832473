"""What a trial costs a lab: days of whichever is scarcer, mixers or channels, and where prices are known its batch's material.

Trials follow one another as fast as the scarcer of the two allows. Eight channels that cells hold for weeks are scarce beside one
mixer: there an hour more of mixing costs nothing, and to shun it would only cost good recipes. With many channels the mixer is
scarce, and what is mixed in half the time is learned in half the days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.recipe import PUBLISHED_RECIPE, complete
from campaign.space import SearchSpace
from campaign.spec import Lab
from flows.mixer import days_a_batch

Floats = npt.NDArray[np.float64]
CHANNEL_DAYS = 20.0
"""Days that a cell holds its channel [est]: the worst a few, one that teaches the others how cells fade its whole run."""
PARTS = (("active", "active_wt_pct"), ("sse", "sse_wt_pct"), ("carbon", "carbon_wt_pct"))


def days(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab) -> Floats:
    """Return the days of the lab that each of n trials takes, all mixers and channels in use."""
    # The three columns alone: completing whole designs for every candidate took a sixth of a rehearsal's time.
    held = {**PUBLISHED_RECIPE, **conditions}
    net, premill, duty = (recipes[n] if n in recipes else held[n] for n in ("time_h", "premill_h", "duty"))
    clock_h = (net + premill) / duty + np.zeros(len(recipes))
    return np.maximum(days_a_batch(np.asarray(clock_h, dtype=float), lab), CHANNEL_DAYS / lab.channels)


def price(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab) -> Floats:
    """Return the price of each of n batches; materials without a price count nothing."""
    grams = material_g(designs_of(recipes, conditions), lab.batch_mass_g)
    return np.array([sum(lab.price_per_g.get(name, 0.0) * mass for name, mass in row.items()) for row in grams])


def cost(recipes: pd.DataFrame, conditions: Mapping[str, Any], lab: Lab, *, typical_price: float) -> Floats:
    """Return what n trials cost: their days, and half as much again for a batch of typical price where prices are known."""
    spent = days(recipes, conditions, lab)
    if not lab.price_per_g or typical_price <= 0:
        return spent
    return np.asarray(spent * (1.0 + PRICE_SHARE * price(recipes, conditions, lab) / typical_price))


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
