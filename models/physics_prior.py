"""The physics as prior knowledge of a campaign: half of the simulators as calibrated, half as the physics allows at all.

The published rows pin many parameters down, for the mixer, powders and cells that gave them; another lab's need not be those.
With calibrated draws alone a prior is sure of itself and, elsewhere, wrong: a chooser that learns which directions of doubt
matter needs those directions in it (on 10 biased labs, 20 results each, the first recipe within 5 % of the best stood at
rank 15 of 3000 with calibrated draws and at rank 9 with both; geometric means, seeds 0-9).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.materials import Materials
from models.discrepancy import Worlds
from models.parameters import Parameters
from models.prior_grid import Ensemble, Table
from models.simulate import draw_worlds, ensemble, gaps, simulators

Floats = npt.NDArray[np.float64]
DRAWS = 256
"""Simulators in a campaign's prior, and in a rehearsal's [est]; what other numbers gave stands in docs/tried.md."""


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


def ensemble_in_parts(
    designs_of: Callable[[pd.DataFrame], pd.DataFrame],
    *,
    draws: int,
    seed: int,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
) -> Ensemble:
    """Return `prior_ensemble` of any outcomes as what `models.prior_grid.tabulated` takes.

    What costs, the simulators, is told apart from the gap between them and the world: that is cheap, rough in the recipe and
    jumps where a quantity leaves its calibrated range, and so better not interpolated.

    Args:
        designs_of: makes designs of recipes, complete ones (`campaign.recipe.complete`).
        draws: how many simulators.
        seed: of the draws.
        materials: our tables and a lab's own rows; None is ours.
        parameters: None is the calibrated file.
    """
    allowed = draws // 2
    halves = [(count, prior) for count, prior in ((draws - allowed, False), (allowed, True)) if count]

    def smooth(recipes: pd.DataFrame, outcomes: Sequence[str]) -> Table:
        designs = designs_of(recipes)
        parts = [
            simulators(
                designs, outcomes, draws=count, seed=seed, materials=materials, parameters=parameters, prior=prior
            )
            for count, prior in halves
        ]
        return {name: np.vstack([part[name] for part in parts]) for name in outcomes}

    @lru_cache(maxsize=1)
    def worlds() -> list[Worlds]:
        return [draw_worlds(draws=count, seed=seed, parameters=parameters, prior=prior) for count, prior in halves]

    def factor(recipes: pd.DataFrame, outcomes: Sequence[str]) -> Table:
        parts = gaps(designs_of(recipes), worlds(), materials=materials)
        return {name: np.vstack([np.exp(part.log_factor(name).numpy()) for part in parts]) for name in outcomes}

    return Ensemble(smooth, factor)
