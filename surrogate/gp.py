"""A Gaussian process over recipes, with a simulator's ensemble as part of its mean and covariance.

    y = u + a + rho s [ f(x) + sum_k z_k e_k(x) ] + delta(x) + noise,    a ~ N(0, 1), z ~ N(0, 1)

`f` is the ensemble's mean and `e_k` its directions of spread (both scaled to unit variance over the space), `delta` the
discrepancy with the kernel of `surrogate.kernel`, times (1 - rho^2). With rho = 0 the simulator has no part. What is
conditioned on data is the joint of all: the draws are re-weighted and bent by the data and never collapse to a few.
Outcomes are on a standardised scale here. Kernel, scale and noise are fitted to the highest posterior density
(marginal likelihood times priors) by L-BFGS with exact gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import Bounds, minimize

from surrogate.kernel import Gaps, Layout, covariance, diagonal, slopes

Floats = npt.NDArray[np.float64]

LOG_NOISE_SD = (math.log(0.1), 0.5)
"""Prior of the log of the noise's sd, in units of the outcomes' sd: 4 % to 27 % at two sigma [est]. With a wider one a wrong
simulator passed its misfit off as noise and kept its trust."""
MEAN_SD = 1.0
"""Prior sd of the constant, in units of the outcomes' sd."""
SCALE_FREEDOM = 0.3
"""Prior sd of the simulator's own scale factor around 1, beyond the common scale s [est]."""
JITTER = 1e-8
WIDER = 1.2
"""Kernel parameters are drawn this much wider than the normal approximation of their density [est]."""
MOST_WEIGHT = 0.5


@dataclass(frozen=True)
class Data:
    """n results on the standardised scale."""

    x: Floats
    """n x p encoded recipes."""
    y: Floats
    """n outcomes."""
    variance: Floats
    """n known noise variances; NaN where the noise is to be inferred."""
    features: Floats
    """n x (1 + k): the simulator's mean and its directions of spread at the recipes; n x 0 without simulator."""
    extra: Floats
    """n further noise variances, 0 but for suspected outliers."""

    @property
    def n(self) -> int:
        """Number of results."""
        return len(self.y)


@dataclass(frozen=True)
class Posterior:
    """A fitted process, conditioned on the data."""

    layout: Layout
    data: Data
    rho2: float
    """Share of the variance that is the simulator's, 0 to 1."""
    logs: Floats
    """Kernel parameters, then the log of the noise's sd."""
    chol: Floats
    """Lower Cholesky factor of the data's covariance, n x n."""
    alpha: Floats
    """K^-1 (y - mean), n."""
    log_evidence: float
    """Log marginal likelihood plus log priors at the fit."""

    def mean_sd(self, x: Floats, features: Floats) -> tuple[Floats, Floats]:
        """Return posterior mean and sd of the noise-free outcome at m recipes."""
        mean, half = self._condition(x, features)
        variance = prior_variance(features, self.logs, self.rho2) - (half * half).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def joint(self, x: Floats, features: Floats) -> tuple[Floats, Floats]:
        """Return posterior mean (m) and covariance (m x m) of the noise-free outcome."""
        mean, half = self._condition(x, features)
        gaps = Gaps.between(self.layout, x, x)
        prior = total_covariance(self.layout, gaps, features, features, self.logs, self.rho2)
        return mean, prior - half.T @ half

    def draws(self, x: Floats, features: Floats, normals: Floats) -> Floats:
        """Return joint draws (s x m) made of standard normals (s x m)."""
        mean, cov = self.joint(x, features)
        return np.asarray(mean + normals @ stable_cholesky(cov).T)

    def typical_noise_variance(self) -> float:
        """Return the variance that the next result is expected to have."""
        known = self.data.variance[np.isfinite(self.data.variance)]
        everywhere = self.data.n and len(known) == self.data.n
        return float(np.median(known)) if everywhere else math.exp(2.0 * float(self.logs[-1]))

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """Return for each result the mean and sd (noise included) that the others predict for it.

        Rasmussen & Williams (2006), eq. 5.12: both follow from K^-1, no refit.
        """
        variance = 1.0 / np.diagonal(_inverse(self.chol))
        return self.data.y - self.alpha * variance, np.sqrt(variance)

    def _condition(self, x: Floats, features: Floats) -> tuple[Floats, Floats]:
        gaps = Gaps.between(self.layout, self.data.x, x)
        cross = total_covariance(self.layout, gaps, self.data.features, features, self.logs, self.rho2)
        mean = prior_mean(features, self.logs, self.rho2) + cross.T @ self.alpha
        return mean, np.asarray(solve_triangular(self.chol, cross, lower=True, check_finite=False))


def prior_mean(features: Floats, logs: Floats, rho2: float) -> Floats:
    """Return the mean before data: the simulator's, on the common scale."""
    if rho2 == 0.0:
        return np.zeros(len(features))
    return np.asarray(math.sqrt(rho2) * np.exp(logs[-3]) * features[:, 0])


def total_covariance(layout: Layout, gaps: Gaps, a: Floats, b: Floats, logs: Floats, rho2: float) -> Floats:
    """Return the covariance before data between recipes with features a (n x k) and b (m x k)."""
    k = MEAN_SD**2 + (1.0 - rho2) * covariance(layout, gaps, logs[:-1])
    if rho2 > 0.0:
        k += rho2 * np.exp(2.0 * logs[-3]) * (_freedom(a) @ b.T)
    return k


def prior_variance(features: Floats, logs: Floats, rho2: float) -> Floats:
    """Return the diagonal of `total_covariance`."""
    k = MEAN_SD**2 + (1.0 - rho2) * diagonal(logs[:-1], len(features))
    if rho2 > 0.0:
        k += rho2 * np.exp(2.0 * logs[-3]) * (_freedom(features) * features).sum(axis=1)
    return np.asarray(k)


def fit(layout: Layout, data: Data, *, rho2: float, start: Floats | None = None, max_iterations: int = 60) -> Posterior:
    """Fit kernel, scale and noise for a given share of the simulator, then condition on the data.

    Args:
        layout: of the space.
        data: n >= 0 results; with none, the process before data.
        rho2: share of variance that is the simulator's.
        start: logs to start from, else the priors' means.
        max_iterations: of L-BFGS; 0 conditions at the start.
    """
    centre, spread = hyperprior(layout)
    density = _Density(layout, data, rho2, centre, spread)
    logs = centre if start is None else start
    if data.n and max_iterations:
        found = minimize(
            density.loss,
            logs,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(centre - 4.0 * spread, centre + 4.0 * spread),
            options={"maxiter": max_iterations, "ftol": 1e-7},
        )
        logs = np.asarray(found.x)
    chol, alpha = density.factor(logs, density.covariance(logs))
    return Posterior(layout, data, rho2, logs, chol, alpha, density.value(logs, chol, alpha))


def around(part: Posterior, normals: Floats) -> tuple[list[Posterior], Floats, float]:
    """Return processes with other kernel parameters that the data allow, their weights, and the log evidence.

    The density of the parameters is taken as normal about its peak (Laplace), points are drawn from it (by the rows of
    `normals`, a little wider), and each is weighted by the density that it really has over that of the normal.
    """
    centre, spread = hyperprior(part.layout)
    density = _Density(part.layout, part.data, part.rho2, centre, spread)
    root, log_volume = _root_covariance(density, part.logs, spread)
    parts, log_weights = [part], [part.log_evidence]
    for row in normals:
        step = np.clip(root @ (WIDER * row), -3.0 * spread, 3.0 * spread)
        logs = np.clip(part.logs + step, centre - 4.0 * spread, centre + 4.0 * spread)
        chol, alpha = density.factor(logs, density.covariance(logs))
        moved = replace(part, logs=logs, chol=chol, alpha=alpha, log_evidence=density.value(logs, chol, alpha))
        parts.append(moved)
        log_weights.append(moved.log_evidence + 0.5 * float(row @ row))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    # No single point may outweigh all others: with few points such a weight is chance.
    weights = np.minimum(weights / weights.sum(), MOST_WEIGHT)
    return parts, weights / weights.sum(), part.log_evidence + log_volume


def _root_covariance(density: _Density, logs: Floats, spread: Floats) -> tuple[Floats, float]:
    """Return a root of the inverse curvature at a peak (never wider than the priors) and the log of its volume."""
    curvature = np.empty((len(logs), len(logs)))
    for i in range(len(logs)):
        step = np.zeros(len(logs))
        step[i] = 1e-3
        curvature[i] = (density.loss(logs + step)[1] - density.loss(logs - step)[1]) / 2e-3
    scaled = 0.5 * (curvature + curvature.T) * np.outer(spread, spread)
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(values, 1.0)
    root = (spread[:, None] * vectors) / np.sqrt(values)
    return root, float(np.log(spread).sum() - 0.5 * np.log(values).sum())


def hyperprior(layout: Layout) -> tuple[Floats, Floats]:
    """Return mean and sd of the logs of all that is fitted: the kernel's, then the noise's sd."""
    centre, spread = layout.prior()
    return np.append(centre, LOG_NOISE_SD[0]), np.append(spread, LOG_NOISE_SD[1])


@dataclass(frozen=True)
class _Density:
    """Log marginal likelihood plus log priors, with its slopes."""

    layout: Layout
    data: Data
    rho2: float
    centre: Floats
    spread: Floats
    gaps: Gaps = field(init=False)
    simulated: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gaps", Gaps.between(self.layout, self.data.x, self.data.x))
        features = self.data.features
        object.__setattr__(self, "simulated", _freedom(features) @ features.T if self.rho2 > 0.0 else np.zeros(()))

    def covariance(self, logs: Floats) -> Floats:
        """Return the n x n covariance of the results."""
        k = MEAN_SD**2 + (1.0 - self.rho2) * covariance(self.layout, self.gaps, logs[:-1])
        if self.rho2 > 0.0:
            k += self.rho2 * np.exp(2.0 * logs[-3]) * self.simulated
        k.flat[:: self.data.n + 1] += self._noise(logs)
        return k

    def factor(self, logs: Floats, k: Floats) -> tuple[Floats, Floats]:
        """Return the Cholesky factor of k and K^-1 (y - mean)."""
        chol = stable_cholesky(k)
        residual = self.data.y - prior_mean(self.data.features, logs, self.rho2)
        return chol, np.asarray(cho_solve((chol, True), residual, check_finite=False))

    def value(self, logs: Floats, chol: Floats, alpha: Floats) -> float:
        """Return the log density."""
        residual = self.data.y - prior_mean(self.data.features, logs, self.rho2)
        likelihood = (
            -0.5 * residual @ alpha - np.log(np.diagonal(chol)).sum() - 0.5 * self.data.n * math.log(2 * math.pi)
        )
        return float(likelihood - 0.5 * (((logs - self.centre) / self.spread) ** 2).sum())

    def loss(self, logs: Floats) -> tuple[float, Floats]:
        """Return minus the log density and its slopes.

        With W = alpha alpha' - K^-1 the likelihood's slope is 1/2 sum W dK + alpha dm.
        """
        k = self.covariance(logs)
        chol, alpha = self.factor(logs, k)
        weight = np.outer(alpha, alpha) - _inverse(chol)
        slope = np.empty_like(logs)
        _, kernel_slope = slopes(self.layout, self.gaps, logs[:-1], weight)
        slope[:-1] = 0.5 * (1.0 - self.rho2) * kernel_slope
        if self.rho2 > 0.0:
            slope[-3] += self.rho2 * np.exp(2.0 * logs[-3]) * np.vdot(weight, self.simulated)
            slope[-3] += alpha @ prior_mean(self.data.features, logs, self.rho2)
        inferred = np.where(np.isnan(self.data.variance), np.exp(2.0 * logs[-1]), 0.0)
        slope[-1] = np.diagonal(weight) @ inferred
        slope -= (logs - self.centre) / self.spread**2
        return -self.value(logs, chol, alpha), -slope

    def _noise(self, logs: Floats) -> Floats:
        known = self.data.variance
        return np.where(np.isnan(known), np.exp(2.0 * logs[-1]), known) + self.data.extra


def _freedom(features: Floats) -> Floats:
    """The simulator's mean may be stretched a little; its directions of spread are as wide as they came."""
    scaled = features.copy()
    scaled[:, 0] *= SCALE_FREEDOM**2
    return scaled


def _inverse(chol: Floats) -> Floats:
    """Return the inverse of the matrix whose lower Cholesky factor is given."""
    if not len(chol):
        return chol
    half, _ = lapack.dpotri(chol, lower=1)
    inverse: Floats = np.tril(half) + np.tril(half, -1).T
    return inverse


def stable_cholesky(matrix: Floats) -> Floats:
    """Return a lower Cholesky factor, adding to the diagonal as little as rounding demands."""
    scale = float(np.diagonal(matrix).mean()) if len(matrix) else 1.0
    for power in range(6):
        stiff = matrix.copy()
        stiff.flat[:: len(matrix) + 1] += JITTER * 10.0**power * scale
        factor, info = lapack.dpotrf(stiff, lower=1, clean=1)
        if info == 0:
            return np.asarray(factor)
    raise ArithmeticError("covariance is not positive definite even with 0.1 % added to its diagonal")
