"""What no capacity exceeds: the active by its theory and the electrolyte's own share, together.

The chooser knows numbers only, and where little is known its intervals reach beyond what a cell can hold. What is printed and
kept ends there; what is chosen does not depend on it. The rule is that of the virtual labs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome
from campaign.materials import Materials
from campaign.spec import CampaignSpec

HELD = ("discharge_areal_capacity", "discharge_capacity", "utilisation", "peak_areal_capacity")
"""Outcomes that are in proportion to what a cell holds."""
DRAWS, SURE = 256, 0.95
"""The electrolyte's share is taken as large as all but one of twenty draws of the calibrated physics have it."""


def of(recipes: pd.DataFrame, name: str, spec: CampaignSpec, materials: Materials) -> npt.NDArray[np.float64]:
    """Return the most that an outcome can be for n recipes of a campaign; infinite where no theory bounds it."""
    if not name.startswith(HELD) or recipes.empty:
        return np.full(len(recipes), np.inf)
    from models.electrode import sse_capacity_mAh_cm2, theoretical_capacity_mAh_cm2
    from models.inputs import encode
    from models.parameters import load

    designs = spec.designs(recipes[list(spec.space)].reset_index(drop=True))
    x, known = encode(designs, materials), load()
    shares = sse_capacity_mAh_cm2(x, 1.0, known.values(known.draw(DRAWS, seed=0)))
    most = theoretical_capacity_mAh_cm2(x) + shares.quantile(SURE, dim=0)
    record = pd.DataFrame({"design": designs.index, "cycle": outcome.cycle_of(name) or 1})
    record["discharge_areal_capacity_mAh_cm2"] = most.detach().numpy()
    cycles = [int(record["cycle"].iloc[0])]
    derived = outcome.derive(record, designs, materials, cycles=cycles).reindex(columns=[name])[name]
    return derived.fillna(np.inf).to_numpy(dtype=float)


def under(predicted: pd.DataFrame, most: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return predictions (n rows of mean and interval ends) none of which exceeds n ceilings."""
    return predicted.clip(upper=pd.Series(most, index=predicted.index), axis=0)
