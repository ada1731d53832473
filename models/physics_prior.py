"""The physics as prior knowledge of a campaign: half of the simulators as calibrated, half as the physics allows at all.

The published rows pin many parameters down, for the mixer, powders and cells that gave them; another lab's need not be those.
With calibrated draws alone a prior is sure of itself and, elsewhere, wrong: a chooser that learns which directions of doubt
matter needs those directions in it (on 10 biased labs, 20 results each, the first recipe within 5 % of the best stood at
rank 15 of 3000 with calibrated draws and at rank 9 with both; geometric means, seeds 0-9).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.materials import Materials
from models.parameters import Parameters
from models.simulate import ensemble

Floats = npt.NDArray[np.float64]
DRAWS = 256
"""Simulators in a campaign's prior, and in a rehearsal's [est]; what other numbers gave stands in docs/virtual_labs.md."""


def prior_ensemble(
    designs: pd.DataFrame,
    outcome: str,
    *,
    draws: int,
    seed: int,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
) -> Floats:
    """Return an outcome of n designs under each simulator, (draws, n); arguments as of `models.simulate.ensemble`.

    The same seed gives the same simulators for any designs.
    """
    allowed = draws // 2
    halves = [
        ensemble(designs, outcome, draws=count, seed=seed, materials=materials, parameters=parameters, prior=prior)
        for count, prior in ((draws - allowed, False), (allowed, True))
        if count
    ]
    return np.vstack(halves)
