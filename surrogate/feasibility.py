"""The chance that a trial does not fail, from trials that did and did not.

Cells fail by accident, and recipes fail because they cannot work; which of the two it is, is inferred. Under `accident` every
trial fails with one chance (a Beta). Under `place` the log odds of success are a Gaussian process over the recipe: a level, an
effect of each name, and a smooth part of some reach (Laplace's approximation; Rasmussen & Williams 2006, algorithms 3.1 and
3.2). The views are weighed by their evidence: one failure among successes says little about its place, failures that gather
at a name or in a corner say all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import betaln, expit, log_expit, logsumexp

from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_Gaps = tuple[Floats, Floats]
"""Between n and m recipes: squared distances of their numbers, and in how many names they differ."""

RATE, COUNTS_AS = 0.95, 10.0
"""Share of trials that succeed before any was made, and how many trials that is worth [est: 5 % of cells fail]."""
MEAN = float(np.log(RATE / (1 - RATE)))
"""Of the log odds where failures depend on the recipe."""
ACCIDENT = 0.7
"""Chance before data that failures are accidents alone [est]."""
REACHES, SHARPNESS = (0.05, 0.15, 0.5), (1.0, 3.0)
"""Distances (share of every range) over which failures may gather, and how sharply [est]; all pairs equally likely."""
LEVEL, NAME, PLACE = 1.0, 2.5, 2.0
"""Spread of the log odds in all, by name, and from place to place, at sharpness 1 [est]."""
OTHER_NAME = 0.4
"""Correlation of the place's part between recipes that differ in one name [est]."""
LEAST, RATHER_NOT = 0.5, 50.0
"""Recipes with less than this share of the best chance of success are tried only where nothing has worked yet [est]; and by how
much their log worth is lowered."""
ATTEMPTS = 2
"""Failures of one recipe, and nothing else, after which it is not asked for again: more than an accident."""
SAME = 0.005
"""Share of every range within which two recipes count as one."""
NEGLIGIBLE = 0.01
"""Weight under which a view is left out."""
MOST = 200
"""Trials that are looked at: failures (the last ones), half of the rest the successes nearest to them, half from all over."""
STEPS, HALVINGS = 50, 12
"""Of Newton's method at most; a handful suffices."""
FLAT = 1e-9
"""Gain of a step in the log density under which the mode is reached."""


@dataclass(frozen=True)
class Feasibility:
    """What is known about failures."""

    places: tuple[_Place, ...]
    """Views under which they depend on the recipe, as far as any is left."""
    weights: Floats
    """Of accidents and of each place; they sum to 1."""
    barren: Floats
    """k x p: failed recipes that failed twice or more and never gave anything."""
    proven: Floats
    """j x p: recipes that worked though the views hold them for unlikely to; and the least chance that each has."""
    floor: Floats
    x: Floats
    """Trials that were looked at."""

    @classmethod
    def of(cls, space: SearchSpace, x: Floats, failed: Flags) -> Self:
        """Learn from n trials."""
        if not failed.any():
            return cls((), np.ones(1), x[:0], x[:0], np.zeros(0), x)
        barren = _barren(x, failed)
        seen = _telling(x, failed)
        x, failed = x[seen], failed[seen]
        categorical = np.array([isinstance(p, Category) for p in space.parameters])
        shapes = list(product(REACHES, SHARPNESS))
        places = tuple(_Place.of(x, ~failed, categorical, *shape) for shape in shapes)
        before = RATE * COUNTS_AS, (1 - RATE) * COUNTS_AS
        accident = betaln(before[0] + (~failed).sum(), before[1] + failed.sum()) - betaln(*before)
        logs = np.array([accident, *(place.log_evidence for place in places)])
        logs += np.log([ACCIDENT, *[(1 - ACCIDENT) / len(shapes)] * len(shapes)])
        weights = np.exp(logs - logsumexp(logs))
        kept = weights[1:] >= NEGLIGIBLE
        weights = np.array([weights[0], *weights[1:][kept]])
        views = tuple(place for place, told in zip(places, kept, strict=True) if told)
        learned = cls(views, weights / weights.sum(), barren, x[:0], np.zeros(0), x)
        worked = x[~failed]
        times = same(worked, x)
        floor = (1 + times[:, ~failed].sum(axis=1)) / (2 + times.sum(axis=1))
        better = floor > learned.chance(worked)
        return replace(learned, proven=worked[better], floor=floor[better])

    def chance(self, x: Floats) -> Floats:
        """Return for m encoded recipes the chance that they work; an accident is not a recipe's fault."""
        chance = np.full(len(x), self.weights[0])
        if self.places:
            gaps = _gaps(self.x, x, self.places[0].categorical)
            chance += sum(w * place.chance(gaps) for w, place in zip(self.weights[1:], self.places, strict=True))
        if len(self.proven):
            chance = np.maximum(chance, np.where(same(x, self.proven), self.floor, 0.0).max(axis=1))
        return chance

    def hopeless(self, x: Floats) -> Flags:
        """Return which of m recipes would rather fail, or did so twice and never worked."""
        return self._hopeless(x, self.chance(x))

    def _hopeless(self, x: Floats, chance: Floats) -> Flags:
        return np.asarray((chance < LEAST * self.best) | same(x, self.barren).any(axis=1))

    def log_worth(self, x: Floats) -> Floats:
        """Return log chance of success of m recipes, and far below it for those that would rather fail.

        Expected gain alone would go on trying them: nothing is known of what they would give, so that it may be a lot.
        """
        chance = self.chance(x)
        return np.asarray(np.log(chance) - RATHER_NOT * self._hopeless(x, chance))

    @cached_property
    def best(self) -> float:
        """The highest chance of success among the trials that were looked at."""
        return float(self.chance(self.x).max(initial=0.0))


@dataclass(frozen=True)
class _Place:
    """Log odds of success as a Gaussian process, after n trials."""

    categorical: Flags
    reach: float
    sharpness: float
    slope: Floats
    """n: of the log likelihood at the mode."""
    root: Floats
    """n: square root of the curvature there."""
    factor: Floats
    """n x n: lower Cholesky factor of 1 + root K root."""
    log_evidence: float

    @classmethod
    def of(cls, x: Floats, succeeded: Flags, categorical: Flags, reach: float, sharpness: float) -> Self:
        """Find the mode by Newton's method, each step halved until it climbs: far from the mode a whole one overshoots."""
        kernel = sharpness**2 * _covariance(_gaps(x, x, categorical), categorical, reach)
        sign, mean = np.where(succeeded, 1.0, -1.0), MEAN
        weights = np.zeros(len(x))
        height = _log_posterior(weights, kernel, mean, sign)
        for _ in range(STEPS):
            f = mean + kernel @ weights
            slope, root, factor = _curvature(f, sign, kernel)
            b = root**2 * (f - mean) + slope
            step = b - root * cho_solve((factor, True), root * (kernel @ b)) - weights
            shares = 0.5 ** np.arange(HALVINGS)
            share = next((s for s in shares if _log_posterior(weights + s * step, kernel, mean, sign) > height), 0.0)
            weights = weights + share * step
            before, height = height, _log_posterior(weights, kernel, mean, sign)
            if height - before < FLAT:
                break
        slope, root, factor = _curvature(mean + kernel @ weights, sign, kernel)
        evidence = height - float(np.log(np.diagonal(factor)).sum())
        return cls(categorical, reach, sharpness, slope, root, factor, evidence)

    def chance(self, gaps: _Gaps) -> Floats:
        """Return the chance of success of m recipes: the logistic averaged over the log odds (MacKay 1992)."""
        cross = self.sharpness**2 * _covariance(gaps, self.categorical, self.reach)
        mean = MEAN + cross.T @ self.slope
        told = solve_triangular(self.factor, self.root[:, None] * cross, lower=True)
        own = self.sharpness**2 * (LEVEL**2 + NAME**2 * self.categorical.sum() + PLACE**2)
        variance = np.maximum(own - (told**2).sum(axis=0), 0.0)
        return np.asarray(expit(mean / np.sqrt(1 + np.pi * variance / 8)))


def _log_posterior(weights: Floats, kernel: Floats, mean: float, sign: Floats) -> float:
    """Log density of what happened and of the log odds mean + kernel @ weights, up to a constant."""
    off = kernel @ weights
    return float(log_expit(sign * (mean + off)).sum() - 0.5 * weights @ off)


def _curvature(f: Floats, sign: Floats, kernel: Floats) -> tuple[Floats, Floats, Floats]:
    """Slope of the log likelihood, root of its curvature, and the factor of 1 + root K root, at log odds f."""
    slope = sign * expit(-sign * f)
    root = np.sqrt(expit(f) * expit(-f))
    return slope, root, cholesky(np.eye(len(f)) + root[:, None] * kernel * root, lower=True)


def _gaps(a: Floats, b: Floats, categorical: Flags) -> _Gaps:
    apart = a[:, None, :] - b[None, :, :]
    return (apart[:, :, ~categorical] ** 2).sum(axis=2), (apart[:, :, categorical] != 0).sum(axis=2).astype(float)


def _covariance(gaps: _Gaps, categorical: Flags, reach: float) -> Floats:
    """Covariance of the log odds of n and m recipes, at sharpness 1."""
    square, other = gaps
    near = np.exp(-0.5 * square / reach**2) * OTHER_NAME**other
    return np.asarray(LEVEL**2 + NAME**2 * (categorical.sum() - other) + PLACE**2 * near)


def same(a: Floats, b: Floats) -> Flags:
    """Whether n and m recipes, n x m, are the same but for how exactly they were weighed and set."""
    return np.asarray(np.abs(a[:, None, :] - b[None, :, :]).max(axis=2, initial=0.0) < SAME)


def _barren(x: Floats, failed: Flags) -> Floats:
    lost = x[failed]
    times = same(lost, x)
    fails = times[:, failed].sum(axis=1)
    return np.asarray(lost[(fails >= ATTEMPTS) & (fails == times.sum(axis=1))])


def _telling(x: Floats, failed: Flags) -> npt.NDArray[np.intp]:
    """Rows of the trials that are looked at: of many, the failures, the successes nearest to one, and every so-many-th."""
    if len(x) <= MOST:
        return np.arange(len(x))
    lost = np.flatnonzero(failed)[-MOST // 2 :]
    rest = np.flatnonzero(~failed)
    gaps = ((x[rest][:, None, :] - x[lost][None, :, :]) ** 2).sum(axis=2).min(axis=1)
    order = rest[np.argsort(gaps, kind="stable")]
    near, far = np.split(order, [(MOST - len(lost)) // 2])
    spread = far[np.linspace(0, len(far) - 1, min(MOST - len(lost) - len(near), len(far))).astype(int)]
    return np.sort(np.concatenate([lost, near, spread]))
