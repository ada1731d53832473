"""An ensemble of simulators asked at recipes scattered over a space of many numeric parameters, and interpolated between them.

A grid over four axes and more is dear or coarse. Here, for each combination of names, `NODES` recipes are spread evenly
(Sobol; some of them on the bounds, as beyond the outermost recipes nothing is known), and through them goes, for each draw,

    ln(1 + y / bend) = sum_i w_i |x - x_i|^3 + a + b x,    x = A (c - centre),    c = ln(1 + (s - low) / floor) on 0 to 1

a cubic radial basis function of the settings s (Wahba, Spline Models for Observational Data, 1990). The bend is the chooser's
own, a tenth of the high values: on ln alone draws of cells that give next to nothing are cliffs that rule the picture. A is
the root of the mean outer product of the draws' own slopes, found by three fits to some of the nodes: distance counts where
the outcome changes, as along the dose, and hardly elsewhere, so that many parameters cost little more than few (Constantine,
Active Subspaces, 2015). What leaving out one node at a time would have missed follows from the same solution (Rippa, Adv.
Comput. Math. 11, 193, 1999), and is the error that is told. What other interpolants gave: docs/tried.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import qmc

from campaign.parameter import Category
from campaign.space import SearchSpace

if TYPE_CHECKING:
    from models.prior_grid import Asked, Ensemble, PriorFunction

Floats = npt.NDArray[np.float64]
NODES = 1728
"""Recipes for each combination of names: as many as a grid over three axes has."""
MOST_NODES, FEWEST_NODES = 24 * NODES, 400
"""Recipes in all; where names leave fewer than the latter for each combination, the ensemble is asked itself."""
SMALLEST = 1e-6
"""Outcomes below this are read as this."""
BEND, RARE = 0.1, 0.01
"""`bend` as a share of the high values, as of `surrogate.warp`."""
_OVER = 0.1
"""Share of the range that nodes are spread beyond each bound, to be moved onto it."""
_FLOOR = 0.05
"""Least `floor` as a share of the range: a range that begins at 0 has no ln there."""
_MOST_TRIED = 1 << 17
_STEEP, _TURNS = 864, 3
"""Nodes that the directions are found from, and how often."""
_SLOPES, _DRAWS, _STEP = 256, 64, 0.03
_LEAST_WEIGHT = 1e-4
"""Least eigenvalue of the slopes' outer product, as a share of the largest."""
_AT_ONCE = 256
"""Recipes looked at together: what they need stays in the processor's own memory."""


@dataclass(frozen=True)
class Scatter:
    """A space of many numeric parameters, and the recipes in it that are asked."""

    space: SearchSpace
    combinations: tuple[tuple[str, ...], ...]
    """Names that can be chosen together and leave enough recipes; the ensemble itself answers for others."""
    nodes: tuple[pd.DataFrame, ...]
    """Recipes asked, for each combination."""

    @classmethod
    def over(cls, space: SearchSpace) -> Scatter | None:
        """Spread recipes over a space; None where its names are too many, or leave too few recipes."""
        names = [category.name for category in space.categories]
        choices = itertools.product(*(category.choices for category in space.categories))
        live = [own for own in choices if not names or not space.rules_out(dict(zip(names, own, strict=True)))]
        count = min(NODES, MOST_NODES // max(len(live), 1))
        if count < FEWEST_NODES:
            return None
        spread = [(own, _spread(space, dict(zip(names, own, strict=True)), count)) for own in live]
        enough = [(own, recipes) for own, recipes in spread if len(recipes) > 2 * len(space.numeric)]
        if not enough:
            return None
        return cls(space, tuple(own for own, _ in enough), tuple(recipes for _, recipes in enough))

    @property
    def name(self) -> str:
        """What a file of it is called after, beside its space."""
        return f"scattered, {sum(map(len, self.nodes))} recipes, 1"

    def asked(self, ensemble: Ensemble) -> Asked:
        """What is asked at the nodes: the part that costs and is smooth."""
        return ensemble.smooth

    def fit(self, values: Sequence[Floats]) -> dict[str, Floats]:
        """Return the coefficients of what goes through the values at the nodes, draws x n for each combination."""
        high = np.concatenate([each.mean(axis=0) for each in values])
        bend = BEND * max(float(np.quantile(high, 0.9)), RARE * float(high.max()), SMALLEST)
        arrays = {"bend": np.array([bend])}
        for i, (recipes, each) in enumerate(zip(self.nodes, values, strict=True)):
            bent = np.log1p(np.maximum(each, SMALLEST) / bend).T
            fitted = _fit(self._coordinates(self.space.encode(recipes)), bent)
            arrays |= {f"{key}.{i}": np.ascontiguousarray(array) for key, array in fitted.items()}
        return arrays

    def holds(self, arrays: Mapping[str, Floats]) -> bool:
        """Whether arrays read from a file are what `fit` gives, none of them spoiled."""
        expected = {"bend"} | {f"{key}.{i}" for key in _KEYS for i in range(len(self.nodes))}
        return expected <= set(arrays) and all(bool(np.isfinite(arrays[key]).all()) for key in expected)

    def error(self, arrays: Mapping[str, Floats]) -> float:
        """Root mean square of what is missed at a node left out, over that by which draws differ, on the bent scale."""
        missed, apart = sum((arrays[f"error.{i}"] for i in range(len(self.nodes))), np.zeros(2))
        return float(np.sqrt(missed / apart)) if apart > 0 else 0.0

    def function(self, arrays: Mapping[str, Floats], ensemble: Ensemble, outcome: str) -> PriorFunction:
        """Return the interpolated function of recipes, draws x n."""
        fitted = {own: {key: arrays[f"{key}.{i}"] for key in _KEYS} for i, own in enumerate(self.combinations)}
        bend, draws = float(arrays["bend"][0]), len(arrays["least.0"])
        categories = [category.name for category in self.space.categories]

        def interpolated(recipes: pd.DataFrame) -> Floats:
            x = self._coordinates(self.space.encode(recipes))
            names = list(recipes[categories].itertuples(index=False, name=None)) if categories else [()] * len(recipes)
            parts, places, between = [], [], np.zeros(len(recipes), dtype=bool)
            for own in dict.fromkeys(names):
                rows = np.array([i for i, each in enumerate(names) if each == own])
                places.append(rows)
                if own in fitted:
                    between[rows] = True
                    parts.append(bend * np.expm1(_at(fitted[own], x[rows])).T)
                else:
                    parts.append(ensemble(recipes.iloc[rows], [outcome])[outcome])
            out = np.empty((draws, len(recipes)))
            for rows, part in zip(places, parts, strict=True):
                out[:, rows] = part
            if ensemble.factor is not None and between.any():
                # Asked once for all names: looking materials up costs as much for one recipe as for hundreds.
                out[:, between] *= ensemble.factor(self._clipped(recipes[between]), [outcome])[outcome]
            return out

        return interpolated

    def _clipped(self, recipes: pd.DataFrame) -> pd.DataFrame:
        return recipes.assign(
            **{axis.name: recipes[axis.name].clip(axis.low, axis.high) for axis in self.space.numeric}
        )

    @cached_property
    def _columns(self) -> list[int]:
        return [i for i, parameter in enumerate(self.space.parameters) if not isinstance(parameter, Category)]

    def _coordinates(self, encoded: Floats) -> Floats:
        """Map n encoded recipes to coordinates, n x numeric parameters: 0 to 1, in equal factors where the range spans any."""
        units = np.clip(encoded[:, self._columns], 0.0, 1.0)
        for j, axis in enumerate(self.space.numeric):
            if axis.high > axis.low and not axis.log:
                ratio = 1.0 / max(axis.low / (axis.high - axis.low), _FLOOR)
                units[:, j] = np.log1p(ratio * units[:, j]) / np.log1p(ratio)
        return units


def _spread(space: SearchSpace, names: Mapping[str, str], count: int) -> pd.DataFrame:
    """Return up to `count` different recipes with these names that the space allows, evenly spread."""
    numeric = space.numeric
    fixed = [axis.low == axis.high for axis in numeric]
    engine = qmc.Sobol(len(numeric), rng=np.random.default_rng(0))
    found = pd.DataFrame(columns=list(space.names))
    drawn, size = 0, 1 << int(np.ceil(np.log2(count)))
    while len(found) < count and drawn < _MOST_TRIED:
        units = np.clip((1 + 2 * _OVER) * engine.random(size) - _OVER, 0.0, 1.0)
        units[:, fixed] = 0.5
        column = iter(units.T)
        encoded = np.column_stack(
            [
                np.full(size, p.levels.index(names[p.name])) if isinstance(p, Category) else next(column)
                for p in space.parameters
            ]
        )
        batch = space.decode(encoded)
        batch = batch[space.feasible(batch)]
        found = (pd.concat([found, batch]) if len(found) else batch).drop_duplicates(ignore_index=True)
        drawn += size
        size = drawn
    return found.head(count)


_KEYS = ("centre", "map", "places", "weights", "tail", "least", "most", "error")


def _fit(c: Floats, y: Floats) -> dict[str, Floats]:
    """Fit n coordinates (n x k) to n x draws values.

    Returns:
        centre (k) and map (k x k) to the places (n x k) between which distances are taken; weights (n x draws) and tail
        (k + 1 x draws); least and most of each draw, which nothing between the nodes may leave; sums of squares of what is
        missed at nodes left out, and of departures from the mean of the draws (of the nodes, where there is one draw).
    """
    centre = c.mean(axis=0)
    some = slice(0, _STEEP), slice(None, None, max(1, y.shape[1] // _DRAWS))
    found = np.eye(c.shape[1])
    for _ in range(_TURNS):
        found = _directions(c[some[0]], y[some], centre, found)
    places = (c - centre) @ found
    weights, tail, missed = _solve(places, y)
    apart = y - y.mean(axis=1 if y.shape[1] > 1 else 0, keepdims=True)
    sums = np.array([np.square(missed).sum(), np.square(apart).sum()])
    fitted = {"centre": centre, "map": found, "places": places, "weights": weights, "tail": tail}
    return fitted | {"least": y.min(axis=0), "most": y.max(axis=0), "error": sums}


def _directions(c: Floats, y: Floats, centre: Floats, start: Floats) -> Floats:
    """Return the root of the mean outer product of slopes (k x k), from a fit with distances by an earlier one."""
    places = (c - centre) @ start
    weights, tail, _ = _solve(places, y)
    at = c[:_SLOPES]
    here = _sum(places, weights, tail, (at - centre) @ start)
    slopes = []
    for j in range(c.shape[1]):
        step = np.where(at[:, j] > 0.5, -_STEP, _STEP)
        moved = at.copy()
        moved[:, j] += step
        slopes.append((_sum(places, weights, tail, (moved - centre) @ start) - here) / step[:, None])
    flat = np.stack(slopes).reshape(len(slopes), -1)
    sizes, vectors = np.linalg.eigh(flat @ flat.T)
    if sizes[-1] <= 0.0:
        return start
    return np.asarray(vectors * np.sqrt(np.maximum(sizes / sizes[-1], _LEAST_WEIGHT)))


def _solve(places: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return weights, tail and what is missed at each node when it is left out, of the interpolant through y."""
    n, k = places.shape
    # Parameters that depend on each other (shares that sum to 100), or do not vary, span fewer directions than there are.
    _, sizes, vectors = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    spanned = vectors[sizes > 1e-6 * sizes[0]].T if sizes[0] > 0 else np.zeros((k, 0))
    line = np.hstack([np.ones((n, 1)), places @ spanned])
    m = line.shape[1]
    system = np.zeros((n + m, n + m))
    system[:n, :n] = _cubes(places, places)
    system[:n, n:], system[n:, :n] = line, line.T
    inverse = np.linalg.inv(system)
    solution = inverse[:, :n] @ y
    weights, tail = solution[:n], solution[n:]
    missed = weights / np.diagonal(inverse)[:n, None]
    return weights, np.vstack([tail[:1], spanned @ tail[1:]]), missed


def _cubes(x: Floats, places: Floats) -> Floats:
    """Cubes of distances, n x nodes."""
    squared = np.square(x).sum(axis=1)[:, None] + np.square(places).sum(axis=1) - 2.0 * x @ places.T
    np.maximum(squared, 0.0, out=squared)
    return np.asarray(squared * np.sqrt(squared))


def _sum(places: Floats, weights: Floats, tail: Floats, x: Floats) -> Floats:
    return np.asarray(_cubes(x, places) @ weights + tail[0] + x @ tail[1:])


def _at(fitted: Mapping[str, Floats], c: Floats) -> Floats:
    """Interpolate at n coordinates: n x draws."""
    out = np.empty((len(c), fitted["weights"].shape[1]))
    for start in range(0, len(c), _AT_ONCE):
        x = (c[start : start + _AT_ONCE] - fitted["centre"]) @ fitted["map"]
        values = _sum(fitted["places"], fitted["weights"], fitted["tail"], x)
        out[start : start + _AT_ONCE] = np.clip(values, fitted["least"], fitted["most"])
    return out
