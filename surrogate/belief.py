"""What is believed about one outcome: a mixture over how far the simulator is trusted, each part a Gaussian process.

The share rho^2 of the variance that is the simulator's takes a few values; each is fitted on its own and weighted by its
evidence. Trust is the mean of rho^2 under those weights. With no simulator there is one part, rho^2 = 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.models.model import Model
from botorch.posteriors.posterior import Posterior
from botorch.sampling.get_sampler import GetSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from scipy.special import ndtr
from torch import Tensor

from surrogate.kernel import Layout
from surrogate.outliers import doubt
from surrogate.prior import Prior
from surrogate.process import Data, Process, fit, stable_cholesky
from surrogate.spread import around

Floats = npt.NDArray[np.float64]

TRUST_GRID = ((0.0, 0.3), (0.5, 0.2), (0.85, 0.25), (0.97, 0.25))
"""Shares rho^2 and their weights before data [est]; tuned on the synthetic problems of benchmarks/, seeds 0-99."""
COLD_STEPS, WARM_STEPS = 80, 8
"""Steps of L-BFGS from the priors' means, and from the kernel of an earlier belief."""
KERNELS = 6
"""Further kernels per share."""
MOST_PARTS = 12
"""The weightiest parts that predictions are made from: each costs time at every candidate."""
MARGINALISED = 100
"""Up to so many results kernels are averaged over; beyond, the data leave one."""
FEWEST_ONE_SIDED, DECADE = 3, 10.0
"""An outcome is taken to keep its sign after so many results of one sign whose largest is so many times the smallest."""
NEGLIGIBLE = 1e-2
"""Parts with less weight are left out of draws and predictions."""


class MixturePosterior(Posterior):
    """Joint posterior of q recipes under a mixture of normals: each part gives its share of the draws."""

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor) -> None:
        """Take ... x parts x q means, ... x parts x q x q covariances and the parts' weights."""
        self.means, self.covariances, self.weights = means, covariances, weights

    @property
    def device(self) -> torch.device:
        """Device of the numbers."""
        return self.means.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        return self.means.dtype

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the batch of sets of q recipes."""
        return self.means.shape[:-2]

    @property
    def base_sample_shape(self) -> torch.Size:
        """Shape of the normals that one draw is made of: ... x q x 1."""
        return torch.Size((*self.means.shape[:-2], self.means.shape[-1], 1))

    @property
    def batch_range(self) -> tuple[int, int]:
        """Batch dimensions of `base_sample_shape`."""
        return 0, -2

    def _extended_shape(self, sample_shape: torch.Size = torch.Size()) -> torch.Size:  # noqa: B008 - BoTorch's
        return sample_shape + self.base_sample_shape

    @property
    def mean(self) -> Tensor:
        """Mean of the mixture, ... x q x 1."""
        return torch.einsum("k,...kq->...q", self.weights, self.means)[..., None]

    @property
    def variance(self) -> Tensor:
        """Variance of the mixture, ... x q x 1; of the means about their mean, as a difference of squares would cancel."""
        apart = self.means - self.mean.mT
        within = self.covariances.diagonal(dim1=-2, dim2=-1)
        return torch.einsum("k,...kq->...q", self.weights, within + apart.square()).clamp_min(1e-10)[..., None]

    def rsample_from_base_samples(self, sample_shape: torch.Size, base_samples: Tensor) -> Tensor:
        """Turn standard normals (draws x ... x q x 1) into draws, the first ones under the first part and so on."""
        counts = apportion(self.weights, sample_shape.numel())
        roots = stable_cholesky(self.covariances)
        normals = base_samples.reshape(-1, *self.base_sample_shape).split(counts)  # type: ignore[no-untyped-call]
        draws = [
            self.means[..., k, :, None] + roots[..., k, :, :] @ some for k, some in enumerate(normals) if len(some)
        ]
        return torch.cat(draws).reshape(sample_shape + self.base_sample_shape)

    def rsample(self, sample_shape: torch.Size | None = None) -> Tensor:
        """Return draws from torch's global chance."""
        shape = torch.Size([1]) if sample_shape is None else sample_shape
        return self.rsample_from_base_samples(shape, torch.randn(shape + self.base_sample_shape, dtype=self.dtype))


@GetSampler.register(MixturePosterior)  # type: ignore[untyped-decorator]
def _sampler(_: MixturePosterior, sample_shape: torch.Size, *, seed: int | None = None) -> SobolQMCNormalSampler:
    return SobolQMCNormalSampler(sample_shape=sample_shape, seed=seed)


class Belief(Model):
    """The mixture after conditioning, a BoTorch model on the standardised scale (its own sign, larger is better).

    The methods that take and give numpy arrays speak in the outcome's unit, with the sign folded in.
    """

    num_outputs = 1
    batch_shape = torch.Size()

    def __init__(self, prior: Prior, process: Process, weights: Floats, *, centre: float, scale: float) -> None:
        """Mix the parts (the batch of a process) by their weights."""
        super().__init__()
        self.prior, self.process, self.weights = prior, process, weights
        self.centre, self.scale = centre, scale

    @property
    def shares(self) -> Floats:
        """Share rho^2 of each part."""
        return np.asarray(self.process.rho2)

    @property
    def trust(self) -> float:
        """Share of the variance that the simulator is believed to explain, 0 to 1."""
        return float(self.weights @ self.shares)

    def posterior(self, X: Tensor, *_: Any, **__: Any) -> MixturePosterior:
        """Return the joint posterior of the noise-free outcome at ... x q x p encoded recipes.

        A batch of sets shares most of its recipes (those already tried), so each recipe is computed once.
        """
        *batch, q, p = X.shape
        weights = torch.from_numpy(self.weights)
        if q == 1:
            mean, variance = self.process.marginal(self._seen(X.reshape(-1, p)))
            means, variances = (part.mT.reshape(*batch, -1, 1) for part in (mean, variance))
            return MixturePosterior(means, variances[..., None], weights)
        rows, where = torch.unique(X.reshape(-1, p), dim=0, return_inverse=True)
        where = where.view(*batch, q)
        mean, covariance = self.process.joint(self._seen(rows))
        means = mean[:, where].movedim(0, -2)
        return MixturePosterior(means, covariance[:, where[..., :, None], where[..., None, :]].movedim(0, -3), weights)

    def _seen(self, x: Tensor) -> Tensor:
        """Return recipes with the simulator's features."""
        return torch.cat([x, torch.from_numpy(self.prior.features(x.numpy()))], dim=1)

    # ---- in the outcome's unit -------------------------------------------------------------------------------------

    def mean_sd(self, x: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of the noise-free outcome at m encoded recipes."""
        return self._pooled(*self.by_part(x))

    def by_part(self, x: Floats) -> tuple[Floats, Floats]:
        """Return parts x m means and sds."""
        mean, variance = self.process.marginal(self._seen(torch.from_numpy(x)))
        return self.centre + self.scale * mean.numpy(), self.scale * variance.sqrt().numpy()

    def joint(self, x: Floats) -> tuple[Floats, Floats]:
        """Return parts x m means and parts x m x m covariances."""
        mean, covariance = self.process.joint(self._seen(torch.from_numpy(x)))
        return self.centre + self.scale * mean.numpy(), self.scale**2 * covariance.numpy()

    def draws(self, x: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Return n joint draws (n x m) of the noise-free outcome, each part in proportion to its weight."""
        mean, covariance = self.process.joint(self._seen(torch.from_numpy(x)))
        normals = torch.from_numpy(_antithetic(n, len(x), rng))[..., None]
        posterior = MixturePosterior(mean, covariance, torch.from_numpy(self.weights))
        drawn = posterior.rsample_from_base_samples(torch.Size([n]), normals)
        return np.asarray(self.centre + self.scale * drawn[..., 0].numpy())

    def summary(self, x: Floats, levels: tuple[float, ...], *, noisy: bool = False) -> tuple[Floats, Floats, Floats]:
        """Return mean, sd and levels x m quantiles of the outcome (of the next measurement where `noisy`).

        Where all results lie on one side of 0 and spread over a decade or more, the outcome is taken to stay on that
        side: a capacity is not predicted below 0.
        """
        means, sds = self.by_part(x)
        if noisy:
            sds = np.sqrt(sds**2 + self.noise_sd**2)
        told = self.centre + self.scale * self.process.data.y
        size = np.abs(told)
        if len(told) < FEWEST_ONE_SIDED or np.ptp(np.sign(told)) or size.max() < DECADE * size.min():
            return *self._pooled(means, sds), mixture_quantiles(self.weights[:, None], means, sds, levels)
        side = float(np.sign(told[0]))
        weights, within, apart = _beyond_zero(self.weights[:, None], side * means, sds)
        mean = (weights * within).sum(axis=0)
        sd = np.sqrt((weights * (apart**2 + (within - mean) ** 2)).sum(axis=0))
        # Quantiles of what lies beyond 0 are those of the whole mixture at higher levels.
        above = (self.weights[:, None] * ndtr(side * means / sds)).sum(axis=0)
        asked = levels if side > 0 else tuple(1.0 - level for level in levels)
        whole = mixture_quantiles(self.weights[:, None], side * means, sds, asked, above=above)
        return side * mean, sd, side * whole

    @property
    def typical_noise_variance(self) -> Floats:
        """Variance that the next measurement is expected to have under each part, in the outcome's unit."""
        return np.asarray(self.scale**2 * self.process.likelihood.typical.detach().numpy())

    @property
    def noise_sd(self) -> float:
        """The sd that the next measurement is expected to have, in the outcome's unit."""
        return math.sqrt(float(self.weights @ self.typical_noise_variance))

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which of the n results contradict the others."""
        return np.asarray(self.process.data.extra > 0)

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return for each result the mean and sd (noise included) predicted without it."""
        means, variances = (part.numpy() for part in self.process.leave_one_out())
        mean, sd = self._pooled(means, np.sqrt(variances))
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
    seen = np.hstack([x, prior.features(x)])
    data = Data(seen, (y - centre) / scale, (se / scale) ** 2, np.zeros(len(y)), prior.width)
    shares, before = (np.array(column) for column in zip(*TRUST_GRID, strict=True))
    if not prior.width:
        shares, before = shares[:1], before[:1]
    start = None
    if earlier is not None:
        first = [int(np.argmax(earlier.shares == share)) for share in shares if share in earlier.shares]
        start = earlier.process.logs[first]
        before = before[np.isin(shares, earlier.shares)]
        shares = earlier.shares[first]
    process = fit(layout, data, shares.tolist(), start=start, steps=COLD_STEPS if start is None else WARM_STEPS)
    evidence = process.log_density(slopes=False)[0].numpy()
    extra = doubt(process, int(np.argmax(evidence + np.log(before))))
    if (extra > 0).any():
        process = fit(layout, replace(data, extra=extra), shares.tolist(), start=process.logs, steps=COLD_STEPS)
        evidence = process.log_density(slopes=False)[0].numpy()
    within = np.ones((len(shares), 1))
    if 0 < len(y) <= MARGINALISED:
        normals = torch.from_numpy(_antithetic(KERNELS, process.logs.shape[1], np.random.default_rng(0)))
        process, inside, evidences = around(process, normals)
        within, evidence = inside.numpy(), evidences.numpy()
    weights = np.exp(evidence - evidence.max()) * before
    weights = ((weights / weights.sum())[:, None] * within).ravel()
    kept = np.flatnonzero(weights >= max(NEGLIGIBLE, np.sort(weights)[-MOST_PARTS:][0]))
    process = process.moved(process.logs[kept], process.rho2[kept])
    return Belief(prior, process, weights[kept] / weights[kept].sum(), centre=centre, scale=scale)


def standard_scale(y: Floats) -> tuple[float, float]:
    """Return the centre and scale that make n outcomes standard; sane for none, one or equal ones."""
    if not len(y):
        return 0.0, 1.0
    centre, sd = float(y.mean()), float(y.std())
    # Equal results, or too few to show their spread: outcomes may still differ elsewhere by a good part of their size.
    scale = max(sd, 0.3 * abs(centre)) if len(y) < 3 or sd < 1e-9 * abs(centre) else sd
    return centre, scale if scale > 1e-12 else 1.0


def mixture_quantiles(
    weights: Floats, means: Floats, sds: Floats, levels: tuple[float, ...], *, above: Floats | None = None
) -> Floats:
    """Return levels x m quantiles of m mixtures of normals (parts x m), by bisection.

    Args:
        weights: parts x 1.
        means: parts x m.
        sds: parts x m.
        levels: of the quantiles.
        above: m chances of lying above 0, where the quantiles are those of what lies there.
    """
    low, high = (means - 8 * sds).min(axis=0), (means + 8 * sds).max(axis=0)
    wanted = np.array(levels)[:, None] * np.ones(means.shape[1])
    if above is not None:
        wanted, low = 1.0 - (1.0 - wanted) * above, np.maximum(low, 0.0)
        high = np.maximum(high, low)
    low, high = np.tile(low, (len(levels), 1)), np.tile(high, (len(levels), 1))
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = (weights[:, None] * ndtr((middle[None] - means[:, None]) / sds[:, None])).sum(axis=0)
        low, high = np.where(below < wanted, middle, low), np.where(below < wanted, high, middle)
    return np.asarray(0.5 * (low + high))


def _beyond_zero(weights: Floats, means: Floats, sds: Floats) -> tuple[Floats, Floats, Floats]:
    """Return weights, means and sds (parts x m) of what lies above 0 of each part of mixtures of normals."""
    cut = -means / sds
    beyond = np.maximum(ndtr(-cut), 1e-12)
    hazard = np.exp(-0.5 * cut**2) / math.sqrt(2.0 * math.pi) / beyond
    variance = sds**2 * np.clip(1.0 + cut * hazard - hazard**2, 1e-6, 1.0)
    share = weights * beyond
    return share / share.sum(axis=0), np.maximum(means + sds * hazard, 0.0), np.sqrt(variance)


def apportion(weights: Tensor, n: int) -> list[int]:
    """Split n draws over parts by largest remainder."""
    exact = weights.numpy() * n
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: n - int(counts.sum())]:
        counts[i] += 1
    return [int(count) for count in counts]


def _antithetic(n: int, m: int, rng: np.random.Generator) -> Floats:
    """Normals in mirrored pairs: their mean is exactly 0, so means of draws are nearly free of chance."""
    half = rng.standard_normal(((n + 1) // 2, m))
    return np.vstack([half, -half])[:n]
