"""What a campaign asks of the chooser: its objectives and conditions, those that the recipe itself decides said of its settings.

How long a mix takes follows from the recipe: trials teach nothing about it, and none is needed to know that one takes too long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.outcome import RECIPE_OUTCOMES
from campaign.spec import OutcomeBound

MIXING_TIME = "time_h"


def setting_of(outcome: str, varied: Collection[str], conditions: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """Return the varied setting that decides an outcome, with factor and offset: outcome = factor * setting + offset.

    None where it takes a trial to know it, or where more than one setting decides it.
    """
    if outcome not in RECIPE_OUTCOMES or MIXING_TIME not in varied or {"premill_h", "duty"} & set(varied):
        return None
    per_net_hour = 1.0 / float(conditions["duty"]) if outcome == "mixing_clock_h" else 1.0
    return MIXING_TIME, per_net_hour, per_net_hour * float(conditions["premill_h"])


def objectives(
    wanted: Mapping[str, Literal["max", "min"]], varied: Collection[str], conditions: Mapping[str, Any]
) -> dict[str, str]:
    """Return objectives and directions, one that a setting decides under that setting's name."""
    found = {}
    for outcome, goal in wanted.items():
        setting = setting_of(outcome, varied, conditions)
        found[setting[0] if setting else outcome] = str(goal)
    return found


def conditions_on(bounds: Iterable[OutcomeBound], varied: Collection[str], conditions: Mapping[str, Any]) -> list[str]:
    """Return bounds as text, on the setting that decides the outcome or on the outcome."""
    texts = []
    for bound in bounds:
        name, factor, offset = setting_of(bound.outcome, varied, conditions) or (bound.outcome, 1.0, 0.0)
        for sense, limit in ((">=", bound.at_least), ("<=", bound.at_most)):
            if limit is not None:
                texts.append(f"{name} {sense} {(limit - offset) / factor!r}")
    return texts


def keeps(
    recipes: pd.DataFrame, bounds: Iterable[OutcomeBound], conditions: Mapping[str, Any]
) -> npt.NDArray[np.bool_]:
    """Return of n recipes, as mixed, whether they keep to the bounds that a setting decides."""
    kept = np.ones(len(recipes), dtype=bool)
    for bound in bounds:
        setting = setting_of(bound.outcome, list(recipes.columns), conditions)
        if setting is not None:
            name, factor, offset = setting
            kept &= bound.met(factor * recipes[name].astype(float) + offset).to_numpy()
    return kept


def learned(outcomes: Iterable[str], varied: Collection[str], conditions: Mapping[str, Any]) -> list[str]:
    """Return the outcomes that trials teach."""
    return [outcome for outcome in outcomes if setting_of(outcome, varied, conditions) is None]
