"""The physics as prior knowledge for many rehearsals at once: its ensembles on a grid, and joint draws of whole curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from campaign.materials import Materials
from models.inputs import encode
from models.parameters import load
from models.physics import run
from models.physics_prior import ensemble_in_parts
from models.prior_grid import Floats, PriorFunction, tabulated
from models.record import discharge_at
from models.virtual_lab import Question

CURVE_DRAWS, CURVE_RECIPES = 24, 12


def ensemble_priors(
    question: Question,
    outcomes: Sequence[str],
    *,
    draws: int,
    seed: int,
    materials: Materials | None = None,
    keep: Path | None = None,
) -> Mapping[str, PriorFunction]:
    """Return the physics' ensemble of each outcome as a function of recipes, draws x n.

    Args:
        question: space, conditions and what is wanted.
        outcomes: those that trials teach.
        draws: how many simulators.
        seed: of the draws.
        materials: our tables and a lab's own rows.
        keep: folder for its grid (`models.prior_grid`); None keeps none.
    """
    ensemble = ensemble_in_parts(question.designs, draws=draws, seed=seed, materials=materials)
    return tabulated(question.space, ensemble, outcomes, keep=keep)


def simulated_curves(
    question: Question, *, cycles: int, seed: int, materials: Materials | None = None
) -> tuple[Floats, ...]:
    """Return whole discharge curves (1 to `cycles`) of recipes spread over the space, each under each of some draws."""
    designs = question.designs(question.space.sample(CURVE_RECIPES, seed=seed))
    x, known = encode(designs, materials), load()
    p = known.values(known.draw(CURVE_DRAWS, seed=seed))
    every = torch.arange(1, cycles + 1, dtype=torch.float64)
    with torch.no_grad():
        curves = discharge_at(x, run(x, p, last=max(cycles, 2)), every, p).numpy()
    return tuple(curves.reshape(-1, cycles))
