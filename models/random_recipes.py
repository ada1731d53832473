"""Random recipes and protocols inside the allowed box: for fits, maps and tests that must hold all over it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from campaign import materials
from models.limits import BOX, REDUCED_ABOVE_V_VS_LI

_LEAST_TIME_H = 0.05
_CYCLES = (1, 2, 50, 100, 450)


def random_recipes(n: int, seed: int, *, corners: bool = False) -> pd.DataFrame:
    """Design table of n rows that the physics does not refuse; with `corners`, every number on one of its bounds."""
    stock = materials.load()
    sses = [name for name, row in stock.electrolytes.items() if row.window_low_V_vs_Li < REDUCED_ABOVE_V_VS_LI]
    rng = np.random.default_rng(seed)

    def within(name: str, low: float | None = None) -> np.ndarray:
        bound = BOX[name]
        lowest = bound.low if low is None else low
        at = rng.integers(0, 2, n).astype(float) if corners else rng.random(n)
        return lowest + at * (bound.high - lowest)

    sse_wt_pct = within("sse_wt_pct")
    active_wt_pct = np.minimum(within("active_wt_pct"), 100 - sse_wt_pct - BOX["carbon_wt_pct"].low)
    heated, premilled = rng.random(n) < 0.3, rng.random(n) < 0.3
    return pd.DataFrame(
        {
            "speed_rpm": within("speed_rpm"),
            "time_h": within("time_h", _LEAST_TIME_H),
            "active": rng.choice(list(stock.actives), n),
            "sse": rng.choice(sses, n),
            "carbon": rng.choice(list(stock.carbons), n),
            "active_wt_pct": active_wt_pct,
            "sse_wt_pct": sse_wt_pct,
            "carbon_wt_pct": 100 - sse_wt_pct - active_wt_pct,
            "premill_h": np.where(premilled, within("premill_h"), 0.0),
            "premill_speed_rpm": np.where(premilled, within("premill_speed_rpm"), 0.0),
            "heat_h": np.where(heated, within("heat_h"), 0.0),
            "heat_C": np.where(heated, within("heat_C"), np.nan),
            "ball_ratio": within("ball_ratio"),
            "duty": within("duty"),
            "loading_mg_cm2": within("loading_mg_cm2"),
            "current_mA_cm2": within("current_mA_cm2"),
            "stack_pressure_MPa": within("stack_pressure_MPa"),
            "temperature_C": within("temperature_C"),
            "anode": rng.choice(list(stock.anodes), n),
            "cycles": rng.choice(_CYCLES, n),
        }
    )
