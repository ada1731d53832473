"""A Gaussian process over recipes, with a simulator's ensemble as part of its mean and covariance: a BoTorch model.

    y = a + rho s [ f(x) + v z f(x) + sum_k z_k e_k(x) ] + delta(x) + noise,    a, z, z_k ~ N(0, 1)

`f` is the ensemble's mean and `e_k` its directions of spread (both scaled to unit variance over the space), `delta` the
discrepancy with the kernel k of `surrogate.kernel`, times (1 - rho^2). With rho = 0 the simulator has no part. What is
conditioned on data is the joint of all: the draws are re-weighted and bent by the data and never collapse to a few.
One process holds several shares rho^2, or several kernels, as its batch. Outcomes are on a standardised scale here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.exceptions.warnings import OptimizationWarning
from botorch.models.gpytorch import GPyTorchModel
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch import ExactMarginalLogLikelihood
from gpytorch.distributions import MultivariateNormal
from gpytorch.likelihoods.gaussian_likelihood import _GaussianLikelihoodBase
from gpytorch.means import Mean
from gpytorch.models import ExactGP
from gpytorch.module import Module
from gpytorch.priors import NormalPrior
from linear_operator import LinearOperator, to_linear_operator
from linear_operator.operators import DiagLinearOperator
from torch import Tensor
from torch.nn import Parameter

from surrogate.kernel import Layout, RecipeKernel

Floats = npt.NDArray[np.float64]

LOG_NOISE_SD = (math.log(0.1), 0.5)
"""Prior of the log of the noise's sd in units of the outcomes' sd: 4 % to 27 % at two sigma [est]. With a wider one a wrong
simulator passed its misfit off as noise and kept its trust."""
JITTER = 1e-8
CHUNK = 4_000_000
"""Elements of a batch of covariances that are worked on at once, for memory."""


@dataclass(frozen=True)
class Data:
    """n results on the standardised scale."""

    x: Floats
    """n x (p + width): encoded recipes, then the simulator's features."""
    y: Floats
    """n outcomes."""
    variance: Floats
    """n known noise variances, each result's own; NaN where the noise is to be inferred."""
    extra: Floats
    """n further noise variances, 0 but for suspected outliers."""
    width: int
    """Number of the simulator's features, 0 without simulator."""
    log_noise: tuple[float, float] = LOG_NOISE_SD
    """Prior mean and sd of the log of the noise's sd, on the standardised scale."""
    common: Floats | None = None
    """n x n covariance of the errors that results have in common, beside their own noise; None for none."""

    @property
    def n(self) -> int:
        """Number of results."""
        return len(self.y)


class SimulatorMean(Mean):
    """The simulator's mean on the common scale; 0 without simulator."""

    def __init__(self, kernel: RecipeKernel) -> None:
        """Share the scale with the kernel."""
        super().__init__()  # type: ignore[no-untyped-call]  # GPyTorch's Mean is untyped
        self._kernel = (kernel,)  # in a tuple: the kernel's parameters are listed once, under the kernel

    def forward(self, x: Tensor) -> Tensor:
        """Return shares x n means."""
        (kernel,) = self._kernel
        if not kernel.width:
            return torch.zeros(len(kernel.rho2), x.shape[-2], dtype=x.dtype)
        mean: Tensor = kernel.simulator_scale[:, None] * x[..., x.shape[-1] - kernel.width]
        return mean


class ResultNoise(_GaussianLikelihoodBase):
    """Noise of each result: as told, else one inferred sd; suspected outliers have more."""

    log_sd: Parameter

    def __init__(self, data: Data, batch: int) -> None:
        """Start at the prior's mean."""
        super().__init__(noise_covar=Module())  # type: ignore[no-untyped-call, arg-type]  # any module will do
        self.register_parameter("log_sd", Parameter(torch.full((batch, 1), data.log_noise[0], dtype=torch.float64)))
        prior = NormalPrior(*data.log_noise)  # type: ignore[no-untyped-call]  # GPyTorch's priors are untyped
        self.register_prior("log_sd_prior", prior, "log_sd")
        self.known, self.extra = torch.from_numpy(data.variance), torch.from_numpy(data.extra)
        self._common = None if data.common is None else torch.from_numpy(data.common)

    def variances(self) -> Tensor:
        """Return shares x n noise variances of the results."""
        inferred = (2.0 * self.log_sd).exp().expand(-1, len(self.known))
        return torch.where(self.known.isnan(), inferred, self.known) + self.extra

    def covariances(self) -> Tensor:
        """Return shares x n x n covariances of the errors of the results, what they have in common included."""
        own = torch.diag_embed(self.variances())
        return own if self._common is None else own + self._common

    @property
    def typical(self) -> Tensor:
        """Variance that the next result is expected to have, per share."""
        if len(self.known) and not self.known.isnan().any():
            return self.known.median().expand(len(self.log_sd))
        return (2.0 * self.log_sd[:, 0]).exp()

    def _shaped_noise_covar(self, base_shape: torch.Size, *_: Any, **__: Any) -> LinearOperator:
        if base_shape[-1] == len(self.known):
            return (
                DiagLinearOperator(self.variances()) if self._common is None else to_linear_operator(self.covariances())
            )
        return DiagLinearOperator(self.typical[:, None].expand(-1, base_shape[-1]))


class Process(ExactGP, GPyTorchModel):
    """Exact processes for several shares of the simulator (the batch), on the same results."""

    _num_outputs = 1
    covar_module: RecipeKernel
    likelihood: ResultNoise

    def __init__(self, layout: Layout, data: Data, rho2: Tensor) -> None:
        """Make it with parameters at the priors' means."""
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        batch = len(rho2)
        super().__init__(x.expand(batch, -1, -1), y.expand(batch, -1), ResultNoise(data, batch))
        self.layout, self.data, self.rho2 = layout, data, rho2
        self.covar_module = RecipeKernel(layout, rho2, data.width)
        self.mean_module = SimulatorMean(self.covar_module)
        self._x, self._y = x, y

    def forward(self, x: Tensor) -> MultivariateNormal:
        """Return the process before data."""
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))

    # ---- parameters ----------------------------------------------------------------------------------------------

    @property
    def logs(self) -> Tensor:
        """All that is fitted: shares x (kernel's logs, log of the noise's sd)."""
        return torch.cat([self.covar_module.logs, self.likelihood.log_sd], dim=1).detach()

    def moved(self, logs: Tensor, rho2: Tensor) -> Process:
        """Return the processes with given parameters."""
        other = Process(self.layout, self.data, rho2)
        other.load_state_dict({"covar_module.logs": logs[:, :-1], "likelihood.log_sd": logs[:, -1:]}, strict=False)
        return other

    def log_density(self, *, slopes: bool = True) -> tuple[Tensor, list[Tensor]]:
        """Return the log marginal likelihood plus log priors of each share, and its slopes in the parameters.

        With W = alpha alpha' - K^-1 the likelihood's slope is 1/2 sum W dK + alpha dm: automatic differentiation runs
        through kernel and mean only, not through the factorisation, which makes it three times as fast.
        """
        k = self.covar_module.forward(self._x, self._x) + self.likelihood.covariances()
        mean = self.mean_module(self._x)
        priors = torch.stack(
            [prior.log_prob(closure(module)).sum(-1) for _, module, prior, closure, _ in self.named_priors()]  # type: ignore[no-untyped-call]  # GPyTorch's
        ).sum(0)
        with torch.no_grad():
            chol = stable_cholesky(k)
            residual = self._y - mean
            alpha = torch.cholesky_solve(residual[..., None], chol)
            likelihood = -0.5 * (residual * alpha[..., 0]).sum(-1) - chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            likelihood = likelihood - 0.5 * self.data.n * math.log(2.0 * math.pi)
            value = likelihood + priors
            if not slopes:
                return value, []
            weight = 0.5 * (alpha @ alpha.mT - torch.cholesky_inverse(chol))
        traced = (weight * k).sum() + (alpha[..., 0] * mean).sum() + priors.sum()
        return value, list(torch.autograd.grad(traced, [self.covar_module.logs, self.likelihood.log_sd]))

    # ---- conditioned on the data -----------------------------------------------------------------------------------

    @cached_property
    def _factor(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            k = self.covar_module.forward(self._x, self._x) + self.likelihood.covariances()
            chol = stable_cholesky(k)
            return chol, torch.cholesky_solve((self._y - self.mean_module(self._x))[..., None], chol)

    @torch.no_grad()
    def marginal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return shares x m posterior means and variances of the noise-free outcome.

        The same as `posterior`, GPyTorch's own, without covariances between the m recipes: these may be thousands.
        """
        step = max(1, CHUNK // (len(self.rho2) * max(1, self.data.n)))
        pairs = [self._condition(part) for part in torch.split(x, step)]
        mean = torch.cat([mean for mean, _ in pairs], dim=1)
        lost = torch.cat([half.square().sum(-2) for _, half in pairs], dim=1)
        return mean, (self.covar_module.forward(x, x, diag=True) - lost).clamp_min(1e-10)

    @torch.no_grad()
    def mean(self, x: Tensor) -> Tensor:
        """Return shares x m posterior means: without variances, which cost most."""
        _, alpha = self._factor
        step = max(1, CHUNK // (len(self.rho2) * max(1, self.data.n)))
        known = [(self.covar_module.forward(self._x, part).mT @ alpha)[..., 0] for part in torch.split(x, step)]
        mean: Tensor = self.mean_module(x) + torch.cat(known, dim=1)
        return mean

    @torch.no_grad()
    def joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return shares x m posterior means and shares x m x m covariances of the noise-free outcome."""
        mean, half = self._condition(x)
        return mean, self.covar_module.forward(x, x) - half.mT @ half

    @torch.no_grad()
    def leave_one_out(self) -> tuple[Tensor, Tensor]:
        """Return for each share and result the mean and variance (noise included) that the others predict for it.

        Rasmussen & Williams (2006), eq. 5.12: both follow from K^-1, no refit.
        """
        chol, alpha = self._factor
        variance = 1.0 / torch.cholesky_inverse(chol).diagonal(dim1=-2, dim2=-1)
        return self._y - alpha[..., 0] * variance, variance

    def _condition(self, x: Tensor) -> tuple[Tensor, Tensor]:
        chol, alpha = self._factor
        cross = self.covar_module.forward(self._x, x)
        mean = self.mean_module(x) + (cross.mT @ alpha)[..., 0]
        return mean, torch.linalg.solve_triangular(chol, cross, upper=False)


def fit(layout: Layout, data: Data, rho2: Sequence[float], *, start: Tensor | None = None, steps: int = 60) -> Process:
    """Fit kernel, scale and noise for each share to the highest posterior density, by BoTorch's L-BFGS.

    Args:
        layout: of the space.
        data: n >= 0 results; with none, the process before data.
        rho2: shares of the variance that are the simulator's.
        start: shares x parameters to start from, else the priors' means.
        steps: of L-BFGS; 0 leaves the start.
    """
    shares = torch.tensor(list(rho2), dtype=torch.float64)
    process = Process(layout, data, shares)
    if start is not None:
        process = process.moved(start, shares)
    if data.n and steps:
        mll = ExactMarginalLogLikelihood(process.likelihood, process)  # type: ignore[no-untyped-call]  # GPyTorch's
        parameters: dict[str, Tensor] = dict(mll.named_parameters())
        centre, spread = hyperprior(layout, data.log_noise)
        low, high = centre - 4.0 * spread, centre + 4.0 * spread
        bounds: dict[str, Any] = {}
        for name, parameter in parameters.items():
            columns = slice(-1, None) if name.endswith("log_sd") else slice(None, -1)
            bounds[name] = tuple(side[columns].expand(parameter.shape).flatten() for side in (low, high))

        def closure() -> tuple[Tensor, list[Tensor]]:
            value, slopes = process.log_density()
            by_name = {"log_sd": -slopes[1], "logs": -slopes[0]}
            return -value.sum(), [by_name[name.rsplit(".", 1)[1]] for name in parameters]

        with warnings.catch_warnings():
            # So ends a line search where the density is flat to rounding, as nearly noise-free results leave it: at its peak.
            warnings.filterwarnings("ignore", message=".*ABNORMAL", category=OptimizationWarning)
            fit_gpytorch_mll_scipy(
                mll, parameters=parameters, bounds=bounds, closure=closure, options={"maxiter": steps, "ftol": 1e-5}
            )
    return process.eval()


def hyperprior(layout: Layout, log_noise: tuple[float, float] = LOG_NOISE_SD) -> tuple[Tensor, Tensor]:
    """Return mean and sd of the logs of all that is fitted: the kernel's, then the noise's sd."""
    centre, spread = layout.prior()
    noise = torch.tensor(log_noise, dtype=torch.float64)
    return torch.cat([torch.from_numpy(centre), noise[:1]]), torch.cat([torch.from_numpy(spread), noise[1:]])


def stable_cholesky(matrix: Tensor) -> Tensor:
    """Return lower Cholesky factors of a batch, adding to the diagonal as little as rounding demands."""
    scale = matrix.diagonal(dim1=-2, dim2=-1).mean(-1) if matrix.shape[-1] else matrix.new_ones(matrix.shape[:-2])
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    for power in range(6):
        factor, info = torch.linalg.cholesky_ex(matrix + (JITTER * 10.0**power * scale)[..., None, None] * eye)
        if not info.any():
            return torch.as_tensor(factor)
    raise ArithmeticError("covariance is not positive definite even with 0.1 % added to its diagonal")
