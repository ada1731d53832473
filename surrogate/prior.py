"""Prior knowledge as a function of recipes: checked, remembered, and turned into features of a Gaussian process.

A prior is any function of a DataFrame of n recipes that gives n values, or draws x n values: an ensemble, whose draw k
always stands for the same parameters, which is the more honest form. Its unit and scale need not be the outcome's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.given import array_of
from campaign.names import nearest
from campaign.parameter import Category
from campaign.space import SearchSpace
from surrogate.gap import Gap
from surrogate.kernel import Layout
from surrogate.warp import BEND, RARE, SLIGHTLY, STRAIGHT, Warp

Floats = npt.NDArray[np.float64]
REFERENCE_RECIPES = 256
"""Recipes over which the prior's mean and spread are scaled to 1."""
MOST_DIRECTIONS = 64
"""Principal directions in which the draws differ that are kept: 98 % of the physics' variance on the published question."""

FACTOR = 3.0
"""Outcomes that differ by less than this factor over the space are as well told on a straight scale [est]."""
NAME_FREEDOM, MOST_NAMES = 0.7, 8
"""Prior sd of the factor by which a simulator's differences between names may be off (-1: their ranking is turned round)
[est], and how many names of a category it is compared with at most, evenly taken from its list: each costs a question."""
NUMBER_FREEDOM = 0.25
"""Prior sd of the share of a numeric parameter's effect that is turned round (1: its low end behaves like its high end); by
the log density of recipes not told, on biased and wrong labs with seeds 0-9."""
ROUNDING = 1e-5
"""Share of its size by which a prior may differ when asked twice: single precision rounds by what else is asked for."""
MOST_REMEMBERED = 20_000
"""Recipes whose values are remembered: 40 MB with 256 draws; beyond, memory begins again with what is asked now."""
FLAT = 1e-12
"""A prior whose spread over the space is below this share of its size says the same everywhere."""


class PriorFunction(Protocol):
    """What a user hands in."""

    def __call__(self, recipes: pd.DataFrame, /) -> Any:
        """Return n values, or draws x n values, for n recipes."""


class Prior:
    """A user's prior for one outcome, asked once per recipe.

    Attributes:
        width: number of features, 1 + parameters + directions; 0 where there is no prior, or it says the same everywhere.
        silent: whether it says nothing (NaN in every draw) of some of the recipes that it was scaled over (`surrogate.gap`).
    """

    def __init__(self, function: PriorFunction | None, space: SearchSpace, *, sign: float = 1.0) -> None:
        self._function, self._space, self._sign = function, space, sign
        self._memory: dict[bytes, Floats] = {}
        self._turned_memory: dict[bytes, Floats] = {}
        self._unit, self._draws = 1.0, 0
        self.width, self.silent = 0, False
        self._scales: dict[float | None, _Scale] = {}
        self._gaps: dict[float | None, Gap] = {}
        self._extremes, self._usual = np.zeros(2), 0.0
        if function is not None:
            self._scale()

    def features(self, x: Floats, *, side: float | None = None) -> Floats:
        """Return n x width features of n encoded recipes: the mean, its doubts (`_doubts`), its directions of spread.

        Where it says nothing, mean and directions are those of the `gap`, and it has no doubts.

        The mean has unit variance over the space; with a `side` of 0 all are bent first, as the outcome is. Directions
        are the principal ones of the draws' departures from their mean, so that many draws cost no more than few.
        """
        if not self.width or not len(x):
            return np.zeros((len(x), self.width))
        scale = self._scale_of(side)
        given = self._raw(x)
        raw = scale.warp.to(given - scale.zero)
        mean = raw.mean(axis=0)
        told = np.vstack([mean, self._doubts(x, given.mean(axis=0), scale), scale.directions @ (raw - mean)]).T
        if not self.silent:
            return told
        nothing, gap = self._says_nothing(x), self._gap(side)
        told = np.hstack([np.where(nothing[:, None], 0.0, told), np.zeros((len(x), len(gap.weights)))])
        if nothing.any():
            told[nothing, 0], told[nothing, -len(gap.weights) :] = gap.fill(np.ascontiguousarray(x[nothing]))
        return told

    def _gap(self, side: float | None) -> Gap:
        """Return what stands in on one scale where nothing is said."""
        if side not in self._gaps:
            scale = self._scale_of(side)
            values = scale.warp.to(self._raw(self._reference) - scale.zero).mean(axis=0)
            self._gaps[side] = Gap.of(Layout.of(self._space), self._reference, values, self._unanswered)
        return self._gaps[side]

    def _doubts(self, x: Floats, mean: Floats, scale: _Scale) -> Floats:
        """Return parameters x n directions in which the simulator's mean (n) may be wrong as a whole, one a parameter.

        Of a category its departure from the mean over all names, of a number what turning it round would change. A
        simulator that is wrong about one parameter is then mended there, and keeps its word about the others.
        """
        here = scale.warp.to(mean - scale.zero)
        others = self._turned(x)
        unknown = np.isnan(others)  # a turned recipe of which nothing is said is no reason to doubt
        others = np.where(unknown, mean[:, None], others) if unknown.any() else others
        turned = np.split(scale.warp.to(others - scale.zero), np.cumsum(self._turns)[:-1], axis=1)
        names = [isinstance(parameter, Category) for parameter in self._space.parameters]
        return np.stack(
            [
                NAME_FREEDOM * (here - values.mean(axis=1)) if named else NUMBER_FREEDOM * (values[:, 0] - here)
                for values, named in zip(turned, names, strict=True)
            ]
        )

    @property
    def _turns(self) -> list[int]:
        """How many other recipes each parameter is looked at by: `MOST_NAMES` names at most, a number once."""
        return [min(len(p.choices), MOST_NAMES) if isinstance(p, Category) else 1 for p in self._space.parameters]

    def _turned(self, x: Floats) -> Floats:
        """Return the prior's mean at n recipes with one parameter turned (n x sum of `_turns`), asked once per recipe.

        Where the turned recipe is not allowed the recipe itself stands in.
        """
        x = np.ascontiguousarray(np.round(x, 12))
        keys = [row.tobytes() for row in x]
        new = [i for i, key in enumerate(keys) if key not in self._turned_memory]
        if new:
            turned = np.repeat(x[new][:, None], sum(self._turns), axis=1)
            k = 0
            for j, (parameter, count) in enumerate(zip(self._space.parameters, self._turns, strict=True)):
                if not isinstance(parameter, Category):
                    turned[:, k, j] = np.clip(1.0 - turned[:, k, j], 0.0, 1.0)
                elif count > 1:
                    turned[:, k : k + count, j] = np.round(np.linspace(0, len(parameter.choices) - 1, count))
                k += count
            flat = turned.reshape(-1, x.shape[1])
            barred = ~self._space.feasible(self._space.restore(flat))
            flat[barred] = np.repeat(x[new], sum(self._turns), axis=0)[barred]
            means = _fill(self._call(flat)).mean(axis=0).reshape(len(new), -1)
            _remember(self._turned_memory, keys, new, means)
        return np.stack([self._turned_memory[key] for key in keys])

    def log_spread(self, side: float) -> float:
        """Return the sd over the space of the prior bent to one side, in factors of e."""
        return self._scale_of(side).warp.scale

    def spans_factors(self, side: float) -> bool:
        """Return whether the prior lies on that side of 0 and differs by factors over the space.

        One that is 0 nearly everywhere says by nothing what is usual.
        """
        low, high = np.sort(side * self._extremes)
        return bool(self.width and low >= -SLIGHTLY * high and high >= FACTOR * low and self._usual > RARE * high)

    def _scale_of(self, side: float | None) -> _Scale:
        """Return the straight scale, or the one bent to a side: a prior that knows no 0 on that side is moved to one."""
        if side not in self._scales:
            raw, zero, warp = self._raw(self._reference), 0.0, STRAIGHT
            if side is not None:
                if not self.spans_factors(side):
                    zero = float(raw.mean(axis=0).min() if side > 0 else raw.mean(axis=0).max())
                sizes = np.abs(raw.mean(axis=0) - zero)
                warp = Warp(BEND * max(float(np.quantile(sizes, 0.9)), RARE * float(sizes.max()), FLAT), side)
            self._scales[side] = _Scale.of(warp, zero, raw)
        return self._scales[side]

    @property
    def scale(self) -> Warp:
        """The straight scale on which its draws over the space are standard, in its own unit; plain where it says nothing."""
        if not self.width:
            return STRAIGHT
        warp = self._scale_of(None).warp
        return STRAIGHT.standard(self._unit * warp.centre, self._unit * warp.scale)

    def values(self, x: Floats) -> Floats:
        """Return the prior's own mean at n encoded recipes, in its own unit."""
        return self._sign * self._unit * np.asarray(self._raw(x).mean(axis=0))

    def _scale(self) -> None:
        reference = self._space.encode(self._space.sample(REFERENCE_RECIPES, seed=0))
        given = self._call(reference)
        self._unit = float(np.abs(given).max(initial=0.0, where=np.isfinite(given))) or 1.0
        given = given / self._unit
        again = self._call(reference[:3])
        if not np.allclose(given[:, :3], again, rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
            raise Refusal(
                "the prior gives other values when asked twice for the same recipes; fix the seed of its draws, so that "
                "draw k always means the same parameters"
            )
        if not np.isfinite(given).any():
            raise Refusal("the prior gave no finite value for any recipe of the space")
        self._typical = float(np.nanmean(np.where(np.isfinite(given), given, np.nan)))
        nothing = self._says_nothing(reference)
        self.silent, self._reference, self._unanswered = bool(nothing.any()), reference[~nothing], reference[nothing]
        raw = self._raw(self._reference)
        self._extremes = np.array([raw.mean(axis=0).min(), raw.mean(axis=0).max()])
        self._usual = float(np.quantile(np.abs(raw.mean(axis=0)), 0.9))
        straight = self._scale_of(None)
        if straight.warp.scale > FLAT:
            self.width = 1 + len(self._space.parameters) + len(straight.directions)
            self.width += len(self._gap(None).weights) if self.silent else 0

    def _raw(self, x: Floats) -> Floats:
        """Return draws x n values; where nothing is said, the mean of all that is."""
        raw = self._asked(x)
        unknown = np.isnan(raw)
        return np.where(unknown, self._typical, raw) if unknown.any() else raw

    def _says_nothing(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Return of n recipes whether no draw says anything of them."""
        return np.asarray(np.isnan(self._asked(x)[0]))

    def _asked(self, x: Floats) -> Floats:
        """Return draws x n values, asking the function only for recipes that it has not been asked for."""
        x = np.ascontiguousarray(np.round(x, 12))
        keys = [row.tobytes() for row in x]
        new = [i for i, key in enumerate(keys) if key not in self._memory]
        if new:
            _remember(self._memory, keys, new, _fill(self._call(x[new])).T)
        return np.stack([self._memory[key] for key in keys], axis=1)

    def _call(self, x: Floats) -> Floats:
        assert self._function is not None
        table = self._space.restore(x)
        told = self._function(table)
        try:
            answer = array_of(told)
            given = answer.astype(float, casting="same_kind" if answer.dtype.kind == "c" else "unsafe")
        except (ValueError, TypeError, OverflowError) as error:
            raise Refusal(f"the prior gave something else than numbers for {len(x)} recipes: {error}") from error
        shape = given.shape
        if given.ndim == 1:
            given = given[None, :]
        if given.ndim != 2 or given.shape[1] != len(x) or not len(given):
            raise Refusal(
                f"the prior gave an array of shape {shape} for {len(x)} recipes; right is ({len(x)},) or "
                f"(draws, {len(x)})"
            )
        self._draws = self._draws or len(given)
        if len(given) != self._draws:
            raise Refusal(
                f"the prior gave {self._draws} draws when first asked and {len(given)} when asked again; draw k must always "
                "mean the same parameters"
            )
        return self._sign * given / self._unit


@dataclass(frozen=True)
class _Scale:
    """How draws of the prior are put beside outcomes: moved by `zero`, bent and scaled, and their departures summed up."""

    zero: float
    warp: Warp
    """Under which draws x reference recipes have mean 0 and variance 1."""
    directions: Floats
    """directions x draws: weights whose sums of departures have the draws' covariance."""

    @classmethod
    def of(cls, warp: Warp, zero: float, raw: Floats) -> _Scale:
        """Read scale and principal directions off draws x reference recipes."""
        w = warp.to(raw - zero)
        fitted = warp.standard(float(w.mean()), float(np.sqrt(w.mean(axis=0).var() + w.var(axis=0).mean())))
        departures = w - w.mean(axis=0)
        _, vectors = np.linalg.eigh(departures @ departures.T)
        return cls(zero, fitted, vectors[:, ::-1].T[:MOST_DIRECTIONS] / np.sqrt(len(raw)))


def _remember(memory: dict[bytes, Floats], keys: Sequence[bytes], new: Sequence[int], values: Floats) -> None:
    """Put the values of new keys into a memory; one that is full keeps only what is asked for now."""
    if len(memory) + len(new) > MOST_REMEMBERED:
        kept = {key: memory[key] for key in keys if key in memory}
        memory.clear()
        memory.update(kept)
    # Copies: a row of a view would hold the whole answer in memory.
    memory.update({keys[i]: row.copy() for i, row in zip(new, values, strict=True)})


def _fill(given: Floats) -> Floats:
    """Where some draws say nothing about a recipe, the others' mean stands in; where none says anything, NaN."""
    finite = np.isfinite(given)
    if finite.all():
        return given
    counts = finite.sum(axis=0)
    means = np.where(counts > 0, np.where(finite, given, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    return np.asarray(np.where(finite, given, means))


def as_function(prior: Any, name: str, outcomes: Sequence[str]) -> Callable[[pd.DataFrame], Any] | None:
    """Return the prior of one outcome out of what a user handed in: nothing, one function, or one per outcome."""
    if isinstance(prior, Mapping):
        for key in prior:
            if key not in outcomes:
                raise Refusal(f"prior: {key!r} is no outcome that is modelled; {nearest(str(key), outcomes)}")
    chosen = prior.get(name) if isinstance(prior, Mapping) else prior
    if chosen is not None and not callable(chosen):
        raise Refusal(f"the prior of {name} is no function of a DataFrame of recipes")
    return chosen
