"""The physics as prior knowledge for many rehearsals at once: its ensemble on a grid, and joint draws of whole curves.

A rehearsal asks the same prior about hundreds of thousands of recipes; ln of each draw is smooth in the recipe, so it is
solved once on a grid over the space (every combination of names by itself) and interpolated by cubic splines: between the
nodes a linear one is 4.5 % low where the outcome is high, and proposals then gather on the nodes (splines: 1.2 %).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.interpolate import NdBSpline, make_interp_spline

from campaign.materials import Materials
from campaign.parameter import Category
from models.inputs import encode
from models.parameters import load
from models.physics import run
from models.physics_prior import prior_ensemble
from models.record import discharge_at
from models.virtual_lab import Question

Floats = npt.NDArray[np.float64]
PriorFunction = Callable[[pd.DataFrame], Floats]
NODES = {1: 65, 2: 25, 3: 12}
"""Nodes an axis, by the number of axes; with more axes the ensemble is asked itself."""
MOST_COMBINATIONS = 24
CURVE_DRAWS, CURVE_RECIPES = 24, 12


def ensemble_prior(
    question: Question, *, draws: int, seed: int, materials: Materials | None = None, grid: bool = True
) -> PriorFunction:
    """Return the physics' ensemble of the objective as a function of recipes, draws x n.

    Args:
        question: space, conditions and objective.
        draws: how many simulators.
        seed: of the draws.
        materials: our tables and a lab's own rows.
        grid: interpolate where the space is small enough for it.
    """
    name = question.objective.outcome

    def exact(recipes: pd.DataFrame) -> Floats:
        return prior_ensemble(question.designs(recipes), name, draws=draws, seed=seed, materials=materials)

    axes = [parameter.name for parameter in question.space.numeric]
    if not grid or len(axes) not in NODES or question.space.n_combinations > MOST_COMBINATIONS:
        return exact
    tables = _tables(question, exact, axes)
    categories = [category.name for category in question.space.categories]

    def interpolated(recipes: pd.DataFrame) -> Floats:
        out = np.empty((draws, len(recipes)))
        units = np.clip(question.space.encode(recipes), 0.0, None)
        columns = [i for i, p in enumerate(question.space.parameters) if not isinstance(p, Category)]
        names = list(recipes[categories].itertuples(index=False, name=None)) if categories else [()] * len(recipes)
        for combination in set(names):
            rows = [i for i, own in enumerate(names) if own == combination]
            if combination in tables:
                out[:, rows] = np.exp(tables[combination](np.clip(units[np.ix_(rows, columns)], 0.0, 1.0))).T
            else:
                out[:, rows] = exact(recipes.iloc[rows])
        return out

    return interpolated


def _tables(question: Question, exact: PriorFunction, axes: Sequence[str]) -> dict[tuple[str, ...], NdBSpline]:
    nodes = np.linspace(0.0, 1.0, NODES[len(axes)])
    points = np.array(list(itertools.product(nodes, repeat=len(axes))))
    parameters = {parameter.name: parameter for parameter in question.space.numeric}
    numbers = pd.DataFrame({axis: parameters[axis].unscale(points[:, i]) for i, axis in enumerate(axes)})
    categories = question.space.categories
    tables = {}
    for combination in itertools.product(*(category.choices for category in categories)):
        recipes = numbers.assign(**{c.name: name for c, name in zip(categories, combination, strict=True)})
        values = np.log(np.maximum(exact(recipes[list(question.space.names)]), 1e-6)).T
        shaped = values.reshape(*[len(nodes)] * len(axes), -1)
        tables[combination] = _spline(nodes, shaped, len(axes))
    return tables


def _spline(nodes: Floats, values: Floats, n_axes: int) -> NdBSpline:
    """Return the cubic spline through values on a grid (n_axes axes with the same nodes, then draws), fitted axis by axis."""
    knots = make_interp_spline(nodes, nodes).t
    for axis in range(n_axes):
        values = np.moveaxis(make_interp_spline(nodes, values, axis=axis).c, 0, axis)
    return NdBSpline((knots,) * n_axes, np.ascontiguousarray(values), 3)


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
