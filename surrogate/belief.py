"""What is believed about one outcome: a mixture over how far the simulator is trusted, each part a Gaussian process.

The share rho^2 of the variance that is the simulator's takes a few values; each is fitted on its own and weighted by its
evidence. Trust is the mean of rho^2 under those weights. With no simulator there is one part, rho^2 = 0. The scale on which
all this is said is bent (`surrogate.warp`) where outcomes have one sign and differ by factors, unless a straight
scale predicts the better results better.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.models.model import Model
from botorch.posteriors.posterior import Posterior
from botorch.sampling.get_sampler import GetSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from scipy.special import logsumexp, ndtr
from torch import Tensor

from surrogate.kernel import Layout
from surrogate.outliers import doubt
from surrogate.prior import FACTOR, Prior
from surrogate.process import LOG_NOISE_SD, Data, Process, fit, stable_cholesky
from surrogate.spread import around
from surrogate.warp import STRAIGHT, Warp, bent

Floats = npt.NDArray[np.float64]

TRUST_GRID = ((0.0, 0.1), (0.5, 0.2), (0.9, 0.7))
"""Shares rho^2 and their weights before data [est]: a simulator is believed until results deny it, as ten or twenty of them can
hardly tell 0.7 from 0.9, and a doubt that is never resolved is paid for with trials. What other weights gave stands in
docs/virtual_labs.md."""
COLD_STEPS, WARM_STEPS = 80, 8
"""Steps of L-BFGS from the priors' means, and from the kernel of an earlier belief."""
KERNELS = 18
"""Further kernels per share, a sample; on held-out results 6, 18 and 120 predict alike."""
MOST_PARTS = 36
"""The weightiest parts that predictions are made from."""
MARGINALISED = 100
"""Up to so many results kernels are averaged over; beyond, the data leave one."""
SPREAD_BEFORE, COUNTS_AS = 0.7, 2.0
"""sd, in factors of e, that outcomes on a bent scale are taken to have over a space, and the results that this is worth [est]."""
LOG_SHARE = (math.log(0.06), 0.8)
"""Prior of the log of the noise's sd as a share of the value, on a bent scale: 1 % to 30 % at two sigma [est]."""
STRAIGHT_ODDS = 3.0
"""A straight scale must predict so much better (log density) than a bent one: few results cannot tell them apart [est]."""
NARROWEST = 1 / 3
"""Recipes that a simulator puts closer together than this share of its spread say no more of the outcomes' spread."""
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
        normals = base_samples.reshape(-1, *self.base_sample_shape).split(counts)  # type: ignore[no-untyped-call]  # torch's split is untyped
        draws = [  # draws as columns: one product of matrices a part, not one of a matrix and a vector a draw
            self.means[..., k, :] + (roots[..., k, :, :] @ some[..., 0].movedim(0, -1)).movedim(-1, 0)
            for k, some in enumerate(normals)
            if len(some)
        ]
        return torch.cat(draws).reshape(sample_shape + self.base_sample_shape)

    def rsample(self, sample_shape: torch.Size | None = None) -> Tensor:
        """Return draws from torch's global chance."""
        shape = torch.Size([1]) if sample_shape is None else sample_shape
        return self.rsample_from_base_samples(shape, torch.randn(shape + self.base_sample_shape, dtype=self.dtype))


@GetSampler.register(MixturePosterior)  # type: ignore[untyped-decorator]  # BoTorch's register is untyped
def _sampler(_: MixturePosterior, sample_shape: torch.Size, *, seed: int | None = None) -> SobolQMCNormalSampler:
    return SobolQMCNormalSampler(sample_shape=sample_shape, seed=seed)


class Belief(Model):
    """The mixture after conditioning, a BoTorch model on the standardised scale (its own sign, larger is better).

    All methods speak on that scale, except those that say otherwise; `warp` leads from there to the outcome's unit.
    """

    num_outputs = 1
    batch_shape = torch.Size()

    def __init__(self, prior: Prior, process: Process, weights: Floats, warp: Warp, *, widen: float = 1.0) -> None:
        """Mix the parts (the batch of a process) by their weights; `widen` is a factor on every sd."""
        super().__init__()
        self.prior, self.process, self.weights, self.warp, self._widen = prior, process, weights, warp, widen

    def widened(self, factor: float) -> Belief:
        """Return the same belief with every sd larger by a factor."""
        return Belief(self.prior, self.process, self.weights, self.warp, widen=factor)

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
            mean, variance = self._marginal(X.reshape(-1, p))
            means, variances = (part.mT.reshape(*batch, -1, 1) for part in (mean, variance))
            return MixturePosterior(means, variances[..., None], weights)
        rows, where = torch.unique(X.reshape(-1, p), dim=0, return_inverse=True)
        where = where.view(*batch, q)
        mean, covariance = self._joint(rows)
        means = mean[:, where].movedim(0, -2)
        return MixturePosterior(means, covariance[:, where[..., :, None], where[..., None, :]].movedim(0, -3), weights)

    def _marginal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = self.process.marginal(self._seen(x))
        return mean, self._widen**2 * variance

    def _joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = self.process.joint(self._seen(x))
        return mean, self._widen**2 * covariance

    def _seen(self, x: Tensor) -> Tensor:
        """Return recipes with the simulator's features."""
        return torch.cat([x, torch.from_numpy(self.prior.features(x.numpy(), side=self.warp.bent_side))], dim=1)

    def mean_sd(self, x: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of the noise-free outcome at m encoded recipes."""
        return self._pooled(*self.by_part(x))

    def mean(self, x: Floats) -> Floats:
        """Return the mean alone, at a fraction of the cost."""
        return np.asarray(self.weights @ self.process.mean(self._seen(torch.from_numpy(x))).numpy())

    def by_part(self, x: Floats) -> tuple[Floats, Floats]:
        """Return parts x m means and sds."""
        mean, variance = self._marginal(torch.from_numpy(x))
        return mean.numpy(), variance.sqrt().numpy()

    def joint(self, x: Floats) -> tuple[Floats, Floats]:
        """Return parts x m means and parts x m x m covariances."""
        mean, covariance = self._joint(torch.from_numpy(x))
        return mean.numpy(), covariance.numpy()

    def draws(self, x: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Return n joint draws (n x m) of the noise-free outcome, each part in proportion to its weight."""
        mean, covariance = self._joint(torch.from_numpy(x))
        normals = torch.from_numpy(_antithetic(n, len(x), rng))[..., None]
        posterior = MixturePosterior(mean, covariance, torch.from_numpy(self.weights))
        return np.asarray(posterior.rsample_from_base_samples(torch.Size([n]), normals)[..., 0].numpy())

    def summary(self, x: Floats, levels: tuple[float, ...], *, noisy: bool = False) -> tuple[Floats, Floats, Floats]:
        """Return middle, spread and levels x m quantiles of the outcome in its unit (of the next measurement where `noisy`)."""
        means, sds = self.by_part(x)
        if noisy:
            sds = np.sqrt(sds**2 + self.noise_sd**2)
        quantiles = mixture_quantiles(self.weights[:, None], means, sds, levels)
        return *self._pooled(*self.warp.centre_and_spread(means, sds)), self.warp.back(quantiles)

    @property
    def typical_noise_variance(self) -> Floats:
        """Variance that the next measurement is expected to have under each part."""
        return np.asarray(self.process.likelihood.typical.detach().numpy())

    @property
    def noise_sd(self) -> float:
        """The sd that the next measurement is expected to have."""
        return math.sqrt(float(self.weights @ self.typical_noise_variance))

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which of the n results contradict the others."""
        return np.asarray(self.process.data.extra > 0)

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return for each result the mean and sd (noise included) predicted without it."""
        means, variances = (part.numpy() for part in self.process.leave_one_out())
        return self._pooled(means, np.sqrt(variances))

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
    common: Floats | None = None,
    earlier: Belief | None = None,
) -> Belief:
    """Fit the mixture to n >= 0 results.

    Args:
        layout: of the space.
        prior: features of the simulator, or none.
        x: n x p encoded recipes.
        y: n outcomes, larger is better.
        se: n standard errors, NaN where the noise is to be inferred.
        common: n x n covariance of the errors that results have in common, part of their se squared; None for none.
        earlier: the belief after fewer of the same results; fits then start from its kernel parameters and take few
            steps, and shares that it found negligible are not taken up again.
    """
    straight, curved = _straight(prior, x, y), _bent(prior, y)
    scales = [straight] if curved is None else [curved, replace(straight, side=curved.side, one_sided=True)]
    if earlier is not None:  # a long history's scale was settled
        scales = [scale for scale in scales if scale.bent_side == earlier.warp.bent_side] or scales[:1]
    fitted: list[tuple[Process, Floats]] = []
    for scale in scales:  # the straight scale's kernel is looked for from the bent one's
        near = fitted[0][0].logs if fitted else None
        fitted.append(_fit(layout, prior, x, y, _Errors(se, common), scale, earlier, near))
    chosen = 0
    if len(scales) > 1:
        bent_score, straight_score = (_score(*one, scale, y) for one, scale in zip(fitted, scales, strict=True))
        chosen = int(straight_score > bent_score + STRAIGHT_ODDS)
    return _averaged(prior, *fitted[chosen], scales[chosen])


@dataclass(frozen=True)
class _Errors:
    """Errors of n results in the outcome's unit: as `learn` takes them."""

    se: Floats
    common: Floats | None

    def on(self, slope: Floats) -> tuple[Floats, Floats | None]:
        """Return variances that are each result's own, and the common covariance, on a scale of that slope."""
        whole = (self.se * slope) ** 2
        if self.common is None:
            return whole, None
        common = self.common * slope[:, None] * slope
        return np.maximum(whole - np.diagonal(common), 0.0), common


def _fit(
    layout: Layout,
    prior: Prior,
    x: Floats,
    y: Floats,
    errors: _Errors,
    warp: Warp,
    earlier: Belief | None,
    near: Tensor | None,
) -> tuple[Process, Floats]:
    """Fit every share on one scale; return them, and the logs of their weights before data."""
    seen = np.hstack([x, prior.features(x, side=warp.bent_side)])
    log_noise = LOG_NOISE_SD if warp.bent_side is None else (LOG_SHARE[0] - math.log(warp.scale), LOG_SHARE[1])
    own, common = errors.on(warp.slope(y))
    data = Data(seen, warp.to(y), own, np.zeros(len(y)), prior.width, log_noise, common)
    shares, before = (np.array(column) for column in zip(*TRUST_GRID, strict=True))
    if not prior.width:
        shares, before = shares[:1], before[:1]
    if earlier is None or earlier.warp.bent_side != warp.bent_side:
        return fit(layout, data, shares.tolist(), start=near, steps=COLD_STEPS), np.log(before)
    first = [int(np.argmax(earlier.shares == share)) for share in shares if share in earlier.shares]
    kept = earlier.shares[first]
    process = fit(layout, data, kept.tolist(), start=earlier.process.logs[first], steps=WARM_STEPS)
    return process, np.log(before[np.isin(shares, kept)])


def _score(process: Process, log_weights: Floats, warp: Warp, y: Floats) -> float:
    """Return the log density of the better half of the results y (in their unit), each predicted from all others."""
    means, variances = (part.numpy() for part in process.leave_one_out())
    logs = -0.5 * (warp.to(y) - means) ** 2 / variances - 0.5 * np.log(2.0 * np.pi * variances)
    weights = log_weights + process.log_density(slopes=False)[0].numpy()
    density = logsumexp(logs + weights[:, None], axis=0) - logsumexp(weights) + np.log(warp.slope(y))
    return float(density[y >= np.median(y)].sum())


def _averaged(prior: Prior, process: Process, log_weights: Floats, warp: Warp) -> Belief:
    """Return the belief: outliers doubted, kernels averaged over, shares weighted by their evidence."""
    data, shares = process.data, process.rho2.tolist()
    evidence = process.log_density(slopes=False)[0].numpy()
    extra = doubt(process, int(np.argmax(evidence + log_weights)))
    if (extra > 0).any():
        process = fit(process.layout, replace(data, extra=extra), shares, start=process.logs, steps=COLD_STEPS)
        evidence = process.log_density(slopes=False)[0].numpy()
    within = np.ones((len(shares), 1))
    if 0 < data.n <= MARGINALISED:
        process, inside, evidences = around(process, torch.from_numpy(_directions(process, shares)))
        within, evidence = inside.numpy(), evidences.numpy()
    weights = np.exp(evidence + log_weights - (evidence + log_weights).max())
    weights = ((weights / weights.sum())[:, None] * within).ravel()
    kept = np.flatnonzero(weights >= max(NEGLIGIBLE, np.sort(weights)[-MOST_PARTS:][0]))
    process = process.moved(process.logs[kept], process.rho2[kept])
    return Belief(prior, process, weights[kept] / weights[kept].sum(), warp)


def _directions(process: Process, shares: list[float]) -> Floats:
    """Normals that a share's further kernels are drawn by, shares x KERNELS x parameters: others for each share and results.

    They are a sample: the same ones at all times, their error would stand for a whole campaign. The results seed them, to
    three digits, as rounding must decide nothing.
    """
    size, told = process.logs.shape[1], zlib.crc32((np.round(process.data.y, 3) + 0.0).tobytes())
    return np.stack([_antithetic(KERNELS, size, np.random.default_rng([round(1e3 * share), told])) for share in shares])


def _straight(prior: Prior, x: Floats, y: Floats) -> Warp:
    """Return the straight scale that makes outcomes over the space standard; sane for none, one or equal results.

    Before any result a simulator is taken at its word, unit and all: conditions need a number. Results at recipes that it
    puts close together are closer together than outcomes over the space.
    """
    if not len(y):
        return prior.scale
    centre, scale = float(y.mean()), float(y.std())
    if len(y) < 3 or scale < 1e-12 * abs(centre):
        # Too few or equal: outcomes may still differ elsewhere by a good part of their size.
        scale = max(scale, 0.3 * abs(centre))
    elif prior.width:
        scale /= float(np.clip(prior.features(x)[:, 0].std(), NARROWEST, 1.0))
    return STRAIGHT.standard(centre, scale if scale > 0.0 else 1.0)


def _bent(prior: Prior, y: Floats) -> Warp | None:
    """Return the bent scale that makes outcomes over the space standard; None where they lack one sign, or are alike."""
    warp = bent(y) if len(y) else None
    if warp is None or not (prior.spans_factors(warp.side) or np.abs(y).max() >= FACTOR * np.abs(y).min()):
        return None
    if prior.width:
        return warp.standard(float(warp.to(y).mean()), prior.log_spread(warp.side))
    w = warp.to(y)
    own = math.sqrt((len(y) * w.var() + COUNTS_AS * SPREAD_BEFORE**2) / (len(y) + COUNTS_AS))
    return warp.standard(float(w.mean()), own)


def mixture_quantiles(weights: Floats, means: Floats, sds: Floats, levels: tuple[float, ...]) -> Floats:
    """Return levels x m quantiles of m mixtures of normals (parts x m; weights parts x 1), by bisection."""
    low, high = (
        np.tile(side, (len(levels), 1)) for side in ((means - 8 * sds).min(axis=0), (means + 8 * sds).max(axis=0))
    )
    wanted = np.array(levels)[:, None] * np.ones(means.shape[1])
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = (weights[:, None] * ndtr((middle[None] - means[:, None]) / sds[:, None])).sum(axis=0)
        low, high = np.where(below < wanted, middle, low), np.where(below < wanted, high, middle)
    return np.asarray(0.5 * (low + high))


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
