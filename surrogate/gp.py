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
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from surrogate.kernel import Gaps, Layout, covariance, diagonal

Floats = npt.NDArray[np.float64]

LOG_NOISE_SD = (math.log(0.1), 0.8)
"""Prior of the log of the noise's sd, in units of the outcomes' sd: 2 % to 50 % at two sigma [est]."""
MEAN_SD = 1.0
"""Prior sd of the constant, in units of the outcomes' sd."""
SCALE_FREEDOM = 0.3
"""Prior sd of the simulator's own scale factor around 1, beyond the common scale s [est]."""
JITTER = 1e-8


@dataclass(frozen=True)
class Data:
    """n results on the standardised scale."""

    x: Tensor
    """n x p encoded recipes."""
    y: Tensor
    """n outcomes."""
    variance: Tensor
    """n known noise variances; NaN where the noise is to be inferred."""
    features: Tensor
    """n x (1 + k): the simulator's mean and its directions of spread at the recipes; n x 0 without simulator."""
    inflation: Tensor
    """n factors on the noise variance, 1 but for suspected outliers."""

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
    logs: Tensor
    """Kernel parameters, then the log of the noise's sd."""
    chol: Tensor
    """Lower Cholesky factor of the data's covariance, n x n."""
    alpha: Tensor
    """K^-1 (y - mean), n."""
    log_evidence: float
    """Log marginal likelihood plus log priors at the fit."""

    def mean(self, x: Tensor, features: Tensor) -> Tensor:
        """Return the posterior mean at m recipes."""
        return prior_mean(features, self.logs, self.rho2) + self._cross(x, features).T @ self.alpha

    def mean_sd(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior mean and sd of the noise-free outcome at m recipes."""
        cross = self._cross(x, features)
        half = torch.linalg.solve_triangular(self.chol, cross, upper=False)
        prior = prior_variance(features, self.logs, self.rho2)
        mean = prior_mean(features, self.logs, self.rho2) + cross.T @ self.alpha
        return mean, torch.sqrt(torch.clamp(prior - (half * half).sum(0), min=1e-10))

    def joint(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior mean (m) and covariance (m x m) of the noise-free outcome."""
        cross = self._cross(x, features)
        half = torch.linalg.solve_triangular(self.chol, cross, upper=False)
        gaps = Gaps.between(self.layout, x, x)
        prior = total_covariance(self.layout, gaps, features, features, self.logs, self.rho2)
        return prior_mean(features, self.logs, self.rho2) + cross.T @ self.alpha, prior - half.T @ half

    def draws(self, x: Tensor, features: Tensor, normals: Tensor) -> Tensor:
        """Return joint draws (s x m) made of standard normals (s x m)."""
        mean, cov = self.joint(x, features)
        return mean + normals @ stable_cholesky(cov).T

    def noise_variance(self) -> Tensor:
        """Return the n variances of the results' noise, known or inferred."""
        return noise(self.data, self.logs)

    def typical_noise_variance(self) -> float:
        """Return the variance that the next result is expected to have."""
        known = self.data.variance[torch.isfinite(self.data.variance)]
        return float(known.median()) if len(known) == self.data.n else math.exp(2.0 * float(self.logs[-1]))

    def leave_one_out(self) -> tuple[Tensor, Tensor]:
        """Return for each result the mean and sd (noise included) that the others predict for it.

        Rasmussen & Williams (2006), eq. 5.12: both follow from K^-1, no refit.
        """
        inverse = torch.cholesky_inverse(self.chol)
        variance = 1.0 / torch.diagonal(inverse)
        return self.data.y - self.alpha * variance, torch.sqrt(variance)

    def _cross(self, x: Tensor, features: Tensor) -> Tensor:
        gaps = Gaps.between(self.layout, self.data.x, x)
        return total_covariance(self.layout, gaps, self.data.features, features, self.logs, self.rho2)


def prior_mean(features: Tensor, logs: Tensor, rho2: float) -> Tensor:
    """Return the mean before data: the simulator's, on the common scale."""
    if rho2 == 0.0:
        return torch.zeros(len(features), dtype=torch.float64)
    return math.sqrt(rho2) * torch.exp(logs[-3]) * features[:, 0]


def total_covariance(layout: Layout, gaps: Gaps, a: Tensor, b: Tensor, logs: Tensor, rho2: float) -> Tensor:
    """Return the covariance before data between recipes with features a (n x k) and b (m x k)."""
    k: Tensor = MEAN_SD**2 + (1.0 - rho2) * covariance(layout, gaps, logs[:-1])
    if rho2 > 0.0:
        k = k + rho2 * torch.exp(2.0 * logs[-3]) * (_freedom(a) @ b.T)
    return k


def prior_variance(features: Tensor, logs: Tensor, rho2: float) -> Tensor:
    """Return the diagonal of `total_covariance`."""
    k: Tensor = MEAN_SD**2 + (1.0 - rho2) * diagonal(logs[:-1], len(features))
    if rho2 > 0.0:
        k = k + rho2 * torch.exp(2.0 * logs[-3]) * (_freedom(features) * features).sum(1)
    return k


def noise(data: Data, logs: Tensor) -> Tensor:
    """Return the noise variance of each result."""
    inferred = torch.exp(2.0 * logs[-1]).expand(data.n)
    variance: Tensor = torch.where(torch.isnan(data.variance), inferred, data.variance)
    return variance * data.inflation


def fit(layout: Layout, data: Data, *, rho2: float, start: Tensor | None = None, max_iterations: int = 60) -> Posterior:
    """Fit kernel, scale and noise for a given share of the simulator, then condition on the data.

    Args:
        layout: of the space.
        data: n >= 0 results; with none, the process before data.
        rho2: share of variance that is the simulator's.
        start: logs to start from (the last fit's), else the priors' means.
        max_iterations: of L-BFGS.
    """
    centre, spread = layout.prior()
    centre = torch.cat([centre, torch.tensor([LOG_NOISE_SD[0]], dtype=torch.float64)])
    spread = torch.cat([spread, torch.tensor([LOG_NOISE_SD[1]], dtype=torch.float64)])
    gaps = Gaps.between(layout, data.x, data.x)

    def objective(values: Floats) -> tuple[float, Floats]:
        logs = torch.tensor(values, requires_grad=True)
        loss = -_log_density(layout, data, gaps, logs, rho2) + 0.5 * (((logs - centre) / spread) ** 2).sum()
        (slope,) = torch.autograd.grad(loss, logs)
        return float(loss.detach()), slope.numpy()

    best = (centre if start is None else start).numpy()
    if data.n:
        bounds = list(zip((centre - 4 * spread).tolist(), (centre + 4 * spread).tolist(), strict=True))
        found = minimize(
            objective,
            best,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iterations, "ftol": 1e-7},
        )
        best = found.x
    with torch.no_grad():
        return _condition(layout, data, gaps, torch.tensor(best), rho2, centre, spread)


def _log_density(layout: Layout, data: Data, gaps: Gaps, logs: Tensor, rho2: float) -> Tensor:
    chol = stable_cholesky(_data_covariance(layout, data, gaps, logs, rho2))
    residual = (data.y - prior_mean(data.features, logs, rho2))[:, None]
    half = torch.linalg.solve_triangular(chol, residual, upper=False)
    constant = 0.5 * data.n * math.log(2.0 * math.pi)
    density: Tensor = -0.5 * (half * half).sum() - torch.log(torch.diagonal(chol)).sum() - constant
    return density


def _condition(
    layout: Layout, data: Data, gaps: Gaps, logs: Tensor, rho2: float, centre: Tensor, spread: Tensor
) -> Posterior:
    chol = stable_cholesky(_data_covariance(layout, data, gaps, logs, rho2))
    residual = (data.y - prior_mean(data.features, logs, rho2))[:, None]
    alpha = torch.cholesky_solve(residual, chol)[:, 0]
    evidence = _log_density(layout, data, gaps, logs, rho2) - 0.5 * (((logs - centre) / spread) ** 2).sum()
    return Posterior(layout, data, rho2, logs, chol, alpha, float(evidence))


def _data_covariance(layout: Layout, data: Data, gaps: Gaps, logs: Tensor, rho2: float) -> Tensor:
    k = total_covariance(layout, gaps, data.features, data.features, logs, rho2)
    return k + torch.diag(noise(data, logs))


def _freedom(features: Tensor) -> Tensor:
    """The simulator's mean may be stretched a little; its directions of spread are as wide as they came."""
    scaled = features.clone()
    scaled[:, 0] = scaled[:, 0] * SCALE_FREEDOM**2
    return scaled


def stable_cholesky(matrix: Tensor) -> Tensor:
    """Return a lower Cholesky factor, adding to the diagonal as little as rounding demands."""
    scale = float(torch.diagonal(matrix.detach()).mean()) if len(matrix) else 1.0
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    for power in range(6):
        factor, info = torch.linalg.cholesky_ex(matrix + (JITTER * 10.0**power * scale) * eye)
        if int(info) == 0:
            return torch.as_tensor(factor)
    raise ArithmeticError("covariance is not positive definite even with 0.1 % added to its diagonal")
