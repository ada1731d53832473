"""Prior knowledge as a function of recipes: checked, remembered, and turned into features of a Gaussian process.

A prior is any function of a DataFrame of n recipes that gives n values, or draws x n values: an ensemble, whose draw k
always stands for the same parameters, which is the more honest form. Its unit and scale need not be the outcome's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
REFERENCE_RECIPES = 256
"""Recipes over which the prior's mean and spread are scaled to 1."""


class PriorFunction(Protocol):
    """What a user hands in."""

    def __call__(self, recipes: pd.DataFrame, /) -> Any:
        """Return n values, or draws x n values, for n recipes."""


class Prior:
    """A user's prior for one outcome, asked once per recipe.

    Attributes:
        width: number of features, 1 + draws; 0 where there is no prior, or where it says the same everywhere.
    """

    def __init__(self, function: PriorFunction | None, space: SearchSpace, *, sign: float = 1.0) -> None:
        self._function, self._space, self._sign = function, space, sign
        self._memory: dict[bytes, Floats] = {}
        self.width = 0
        if function is not None:
            self._scale()

    def features(self, x: Floats) -> Floats:
        """Return n x width features of n encoded recipes: the mean, then each draw's departure from it."""
        if not self.width or not len(x):
            return np.zeros((len(x), self.width))
        raw = self._raw(x)
        mean = raw.mean(axis=0)
        spread = (raw - mean) / (self._sd * np.sqrt(len(raw)))
        return np.vstack([(mean - self._centre) / self._sd, spread]).T

    def values(self, x: Floats) -> Floats:
        """Return the prior's own mean at n encoded recipes, in its own unit."""
        return self._sign * np.asarray(self._raw(x).mean(axis=0))

    def _scale(self) -> None:
        reference = self._space.encode(self._space.sample(REFERENCE_RECIPES, seed=0))
        given = self._call(reference)
        again = self._call(reference[:3])
        if len(again) != len(given) or not np.allclose(given[:, :3], again, rtol=1e-9, atol=0.0, equal_nan=True):
            raise Refusal(
                "the prior gives other values when asked twice for the same recipes; fix the seed of its draws, so that "
                "draw k always means the same parameters"
            )
        if not np.isfinite(given).any():
            raise Refusal("the prior gave no finite value for any recipe of the space")
        self._typical = float(np.nanmean(np.where(np.isfinite(given), given, np.nan)))
        raw = self._raw(reference)
        mean = raw.mean(axis=0)
        self._centre = float(mean.mean())
        self._sd = float(np.sqrt(mean.var() + raw.var(axis=0).mean()))
        if self._sd > 1e-12 * max(1.0, abs(self._centre)):
            self.width = 1 + len(raw)

    def _raw(self, x: Floats) -> Floats:
        """Return draws x n values, asking the function only for recipes that it has not been asked for."""
        x = np.ascontiguousarray(np.round(x, 12))
        keys = [row.tobytes() for row in x]
        new = [i for i, key in enumerate(keys) if key not in self._memory]
        if new:
            for i, column in zip(new, _fill(self._call(x[new]), self._typical).T, strict=True):
                self._memory[keys[i]] = column
        return np.stack([self._memory[key] for key in keys], axis=1)

    def _call(self, x: Floats) -> Floats:
        assert self._function is not None
        table = self._space.restore(x)
        given = np.asarray(self._function(table), dtype=float)
        shape = given.shape
        if given.ndim == 1:
            given = given[None, :]
        if given.ndim != 2 or given.shape[1] != len(x) or not len(given):
            raise Refusal(
                f"the prior gave an array of shape {shape} for {len(x)} recipes; right is ({len(x)},) or "
                f"(draws, {len(x)})"
            )
        return self._sign * given


def _fill(given: Floats, typical: float) -> Floats:
    """Where some draws say nothing about a recipe, the others' mean stands in; where none does, the mean of all recipes."""
    finite = np.isfinite(given)
    if finite.all():
        return given
    counts = finite.sum(axis=0)
    means = np.where(counts > 0, np.where(finite, given, 0.0).sum(axis=0) / np.maximum(counts, 1), typical)
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
