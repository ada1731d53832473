"""Random designs inside the box of the physics, for property tests."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from campaign import materials
from models.limits import BOX

STOCK = materials.load()
SSES = [name for name, row in STOCK.electrolytes.items() if row.window_low_V_vs_Li < 2.2]
ACTIVES = list(STOCK.actives)


def random_designs(n: int, seed: int, *, corners: bool = False) -> pd.DataFrame:
    """Designs that the physics does not refuse; with `corners`, every number on one of its bounds."""
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
            "time_h": within("time_h", 0.05),
            "active": rng.choice(ACTIVES, n),
            "sse": rng.choice(SSES, n),
            "carbon": rng.choice(list(STOCK.carbons), n),
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
            "anode": rng.choice(list(STOCK.anodes), n),
            "cycles": rng.choice([1, 2, 50, 100, 450], n),
        }
    )


seeds = st.integers(0, 10_000)
