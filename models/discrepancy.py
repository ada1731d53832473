"""The gap between model and world that no parameter explains: a factor on each outcome, wider outside the measured range.

    ln Q(n) = f(n) + d0 + d1 ln n,   d0 ~ N(0, level^2 + sum of extrapolations^2),  d1 ~ N(0, per_log_cycle^2)

One pair (d0, d1) a design and draw, so that a retention keeps only d1 and two cycles of one cell stay correlated.
Source: physics.md sections 4 and 5 (sizes in `discrepancy.yaml`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from campaign.materials import Materials
from campaign.outcome import cycle_of
from models import limits

_FILE = Path(__file__).parent / "discrepancy.yaml"


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return loaded


def size(name: str) -> float:
    """One standard deviation of the data file by its name."""
    return float(_data()[name])


def level_sd(designs: pd.DataFrame, *, materials: Materials | None = None) -> np.ndarray:
    """Standard deviation of d0 of n designs, (n,)."""
    size = _data()
    extra: Mapping[str, float] = size["extrapolation"]
    left = limits.departures(designs, materials=materials)
    return np.array([math.hypot(size["level"], *(extra[name] for name in names)) for names in left])


def log_factors(outcome: str, level: np.ndarray, *, draws: int, seed: int) -> np.ndarray:
    """Draws of ln(world / model) for an outcome of n designs, (draws, n); the same seed gives the same worlds.

    Args:
        outcome: its name tells whether it is a capacity at a cycle, a ratio of cycles, or a state.
        level: `level_sd` of the designs.
        draws: how many.
        seed: of the worlds.
    """
    rng = np.random.default_rng([seed, 77])
    white = rng.standard_normal((2, draws, len(level)))
    slope: np.ndarray = float(_data()["per_log_cycle"]) * white[1]
    cycle = cycle_of(outcome)
    if cycle is not None:
        alone = "retention" in outcome
        return np.asarray(slope * math.log(cycle) + (0.0 if alone else 1.0) * level * white[0])
    if outcome == "q2_over_q1":
        return slope * math.log(2)
    if outcome.startswith("peak_areal"):
        return np.asarray(level * white[0])
    size = float(_data()["state"]) if outcome in _data()["uncertain_states"] else 0.0
    return np.asarray(size * white[0])
