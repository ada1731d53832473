"""What is believed about one outcome: a mixture over how far the simulator is trusted, each part a Gaussian process.

The share rho^2 of the variance that is the simulator's takes a few values; each is fitted on its own and weighted by its
evidence. Trust is the mean of rho^2 under those weights. With no simulator there is one part, rho^2 = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from surrogate.gp import Data, Posterior, around, fit
from surrogate.kernel import Layout
from surrogate.outliers import doubt
from surrogate.prior import Prior

Floats = npt.NDArray[np.float64]

TRUST_GRID = ((0.0, 0.3), (0.5, 0.2), (0.85, 0.25), (0.97, 0.25))
"""Shares rho^2 and their weights before data [est]; tuned on the synthetic problems of benchmarks/, seeds 0-99."""
COLD_STEPS, WARM_STEPS = 60, 8
"""Steps of L-BFGS from the priors' means, and from the kernel of an earlier belief."""
KERNELS = 6
"""Further kernels per share."""
MOST_PARTS = 12
"""The weightiest parts that predictions are made from: each costs time at every candidate."""
MARGINALISED = 100
"""Up to so many results kernels are averaged over; beyond, the data leave one."""
NEGLIGIBLE = 1e-2
"""Parts with less weight are left out of draws and predictions."""


@dataclass(frozen=True)
class Belief:
    """The mixture after conditioning; predictions are in the outcome's unit, larger is better (sign folded in)."""

    prior: Prior
    parts: tuple[Posterior, ...]
    weights: Floats
    centre: float
    scale: float

    @property
    def trust(self) -> float:
        """Share of the variance that the simulator is believed to explain, 0 to 1."""
        return float(sum(weight * part.rho2 for weight, part in zip(self.weights, self.parts, strict=True)))

    def mean_sd(self, x: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of the noise-free outcome at m encoded recipes."""
        return self._pooled(*self.by_part(x))

    def by_part(self, x: Floats) -> tuple[Floats, Floats]:
        """Return parts x m means and sds."""
        features = self.prior.features(x)
        pairs = [part.mean_sd(x, features) for part in self.parts]
        means, sds = (np.stack(column) for column in zip(*pairs, strict=True))
        return self.centre + self.scale * means, self.scale * sds

    def draws(self, x: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Return n joint draws (n x m) of the noise-free outcome, each part in proportion to its weight."""
        counts = _apportion(self.weights, n)
        features = self.prior.features(x)
        found = [
            part.draws(x, features, _antithetic(count, len(x), rng))
            for part, count in zip(self.parts, counts, strict=True)
            if count
        ]
        return np.asarray(self.centre + self.scale * np.vstack(found))

    def quantiles(self, x: Floats, levels: tuple[float, ...], *, noisy: bool = False) -> Floats:
        """Return levels x m quantiles of the outcome (of the next measurement where `noisy`)."""
        means, sds = self.by_part(x)
        if noisy:
            sds = np.sqrt(sds**2 + self.noise_sd**2)
        return mixture_quantiles(self.weights, means, sds, levels)

    @property
    def noise_sd(self) -> float:
        """The sd that the next measurement is expected to have, in the outcome's unit."""
        variance = sum(w * p.typical_noise_variance() for w, p in zip(self.weights, self.parts, strict=True))
        return self.scale * math.sqrt(variance)

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which of the n results contradict the others."""
        return np.asarray(self.parts[0].data.extra > 0)

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return for each result the mean and sd (noise included) predicted without it."""
        pairs = [part.leave_one_out() for part in self.parts]
        means, sds = (np.stack(column) for column in zip(*pairs, strict=True))
        mean, sd = self._pooled(means, sds)
        return self.centre + self.scale * mean, self.scale * sd

    def _pooled(self, means: Floats, sds: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of a mixture; the spread of means about their mean, as a difference of squares would cancel."""
        mean = self.weights @ means
        return mean, np.sqrt(self.weights @ (sds**2 + (means - mean) ** 2))


def learn(
    layout: Layout,
    prior: Prior,
    x: Floats,
    y: Floats,
    *,
    se: Floats,
    earlier: Belief | None = None,
) -> Belief:
    """Fit the mixture to n >= 0 results.

    Args:
        layout: of the space.
        prior: features of the simulator, or none.
        x: n x p encoded recipes.
        y: n outcomes, larger is better.
        se: n standard errors, NaN where the noise is to be inferred.
        earlier: the belief after fewer of the same results; fits then start from its kernel parameters and take few
            steps, and shares that it found negligible are not taken up again.
    """
    centre, scale = standard_scale(y)
    features = prior.features(x)
    data = Data(
        x,
        (y - centre) / scale,
        (se / scale) ** 2,
        features,
        np.zeros(len(y)),
    )
    grid = dict(TRUST_GRID) if prior.width else {0.0: 1.0}
    # The likeliest kernel of each share comes last and stays.
    known = sorted(earlier.parts, key=lambda part: part.log_evidence) if earlier else []
    starts = {part.rho2: part.logs for part in known}
    shares = list(starts or grid)
    steps = WARM_STEPS if earlier else COLD_STEPS

    def fitted(data: Data, starts: Mapping[float, Floats]) -> tuple[list[Posterior], Floats]:
        parts = [fit(layout, data, rho2=rho2, start=starts.get(rho2), max_iterations=steps) for rho2 in shares]
        logs = np.array([math.log(grid[part.rho2]) + part.log_evidence for part in parts])
        weights = np.exp(logs - logs.max())
        return parts, weights / weights.sum()

    parts, weights = fitted(data, starts)
    extra = doubt(layout, data, parts[int(np.argmax(weights))])
    if (extra > 0).any():
        parts, weights = fitted(replace(data, extra=extra), {part.rho2: part.logs for part in parts})
    if 0 < len(y) <= MARGINALISED:
        parts, weights = _marginalised(parts, grid)
    kept = weights >= max(NEGLIGIBLE, np.sort(weights)[-MOST_PARTS:][0])
    chosen = tuple(part for part, keep in zip(parts, kept, strict=True) if keep)
    return Belief(prior, chosen, weights[kept] / weights[kept].sum(), centre, scale)


def _marginalised(parts: list[Posterior], grid: Mapping[float, float]) -> tuple[list[Posterior], Floats]:
    """Replace each part by several with other kernel parameters: one fit alone is too sure of itself while data are few."""
    normals = _antithetic(KERNELS, len(parts[0].logs), np.random.default_rng(0))
    groups = [around(part, normals) for part in parts]
    logs = np.array(
        [math.log(grid[part.rho2]) + evidence for part, (_, _, evidence) in zip(parts, groups, strict=True)]
    )
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    flat = [part for group, _, _ in groups for part in group]
    weights = np.concatenate([share * weights for share, (_, weights, _) in zip(shares, groups, strict=True)])
    return flat, weights


def standard_scale(y: Floats) -> tuple[float, float]:
    """Return the centre and scale that make n outcomes standard; sane for none, one or equal ones."""
    if not len(y):
        return 0.0, 1.0
    centre, sd = float(y.mean()), float(y.std())
    # Equal results, or too few to show their spread: outcomes may still differ elsewhere by a good part of their size.
    scale = max(sd, 0.3 * abs(centre)) if len(y) < 3 or sd < 1e-9 * abs(centre) else sd
    return centre, scale if scale > 1e-12 else 1.0


def mixture_quantiles(weights: Floats, means: Floats, sds: Floats, levels: tuple[float, ...]) -> Floats:
    """Return levels x m quantiles of m mixtures of normals (parts x m), by bisection."""
    from scipy.special import ndtr

    low, high = (means - 8 * sds).min(axis=0), (means + 8 * sds).max(axis=0)
    wanted = np.array(levels)[:, None]
    low, high = np.tile(low, (len(levels), 1)), np.tile(high, (len(levels), 1))
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = np.einsum("k,klm->lm", weights, ndtr((middle[None] - means[:, None]) / sds[:, None]))
        low, high = np.where(below < wanted, middle, low), np.where(below < wanted, high, middle)
    return np.asarray(0.5 * (low + high))


def _apportion(weights: Floats, n: int) -> list[int]:
    """Split n draws over parts by largest remainder."""
    exact = weights * n
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: n - int(counts.sum())]:
        counts[i] += 1
    return [int(count) for count in counts]


def _antithetic(n: int, m: int, rng: np.random.Generator) -> Floats:
    """Normals in mirrored pairs: their mean is exactly 0, so means of draws are nearly free of chance."""
    half = rng.standard_normal(((n + 1) // 2, m))
    return np.vstack([half, -half])[:n]
