"""The gap between model and world that no parameter explains: a Gaussian process on the residuals, inferred with each fit.

    t(row) = f(row; z) + a d0(x) + b d1(x) + noise              t: the scale on which rows are compared
    d0 ~ GP(0, level^2 c),  d1 ~ GP(0, per_log_cycle^2 c),  c(x, x') = exp(-1/2 sum_k (u_k - u'_k)^2 / length^2)
    a = 1, b = ln n for a capacity of cycle n;  a = 0, b = ln n for a retention;  a = b = 0 for all else

u are inputs of recipe and process over the scales of `SCALES`. The sizes (level, per_log_cycle, row, state, length) maximise
the marginal likelihood of the fitted rows, linearised at the mode z*, times their priors (`discrepancy.csv`):

    t - f(z*) + J z* ~ N(0, J J' + K + N)

`Worlds` are draws of d0 and d1 given the rows seen, by Matheron's rule on random Fourier features: smooth functions of the
recipe, the same for a seed whatever designs they are asked for, back at their prior width far from what was measured.
Source: physics.md sections 4 and 5; Kennedy & O'Hagan, J. R. Stat. Soc. B 63, 425 (2001); Wilson et al., ICML 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from campaign.outcome import cycle_of
from models.inputs import Inputs

SCALES: Mapping[str, float] = {
    "ln speed": 0.35,
    "ln time": 0.7,
    "ln premill": 0.7,
    "heat_C": 60.0,
    "ln capacity of active": 0.5,
    "active share": 0.10,
    "has active": 0.5,
    "ln carbon area": 0.7,
    "halide per P": 0.5,
    "ln lot conductivity": 0.7,
    "ln loading": 0.7,
    "ln current": 0.7,
    "ln pressure": 0.7,
    "anode_V_vs_Li": 0.6,
}
"""Change of each input that makes another process or cell [est]: a factor of 1.4 in speed, of 2 in time, another active."""

UNCERTAIN_STATES = (
    "surface_halide_to_P",
    "bulk_halide_to_P",
    "area_halide_to_P",
    "liX_layer_thickness_nm",
    "crystallite_size_um",
    "active_particle_size_um",
    "sse_pellet_conductivity_mS_cm",
    "ionic_conductivity_mS_cm",
    "randles_sevcik_slope",
)
"""States of the powder that are measured as numbers, and so have a gap."""

_TINY = 1e-9
_WAVES = 256
_STREAM = 55


@dataclass(frozen=True)
class Sizes:
    """Standard deviations in ln (or in the unit of a voltage or pressure), and the length of the kernel."""

    level: float
    per_log_cycle: float
    row: float
    state: float
    length: float


NAMES = tuple(field.name for field in fields(Sizes))


def inputs(x: Inputs) -> Tensor:
    """Inputs of the kernel over their scales, (n, inputs)."""
    columns = (
        x.speed_rpm.clamp(min=100.0).log(),
        x.time_h.clamp(min=0.1).log(),
        (x.premill_h + 1).log(),
        torch.where(x.heat_h > 0, x.heat_C, 25.0),
        x.active_capacity_mAh_g.log(),
        x.active_share,
        x.has_active,
        (1 + x.carbon_share * x.carbon_area_m2_g).log(),
        x.halide_per_P.sum(-1),
        x.sse_conductivity_S_cm.log(),
        x.loading_mg_cm2.log(),
        x.current_mA_cm2.log(),
        x.stack_pressure_MPa.clamp(min=1.0).log(),
        x.anode_V_vs_Li,
    )
    return torch.stack(columns, -1) / columns[0].new_tensor(list(SCALES.values()))


@dataclass(frozen=True)
class Terms:
    """What r rows ask of the discrepancy.

    Attributes:
        u: inputs of the kernel, (r, inputs).
        level: a of each row, (r,); `slope` is b.
        slope: see `level`.
        measured_sd: error of the measurement, and what is fixed for a voltage or pressure, (r,).
        row: 1 where the size `row` counts, else 0; `state` likewise.
        state: see `row`.
    """

    u: Tensor
    level: Tensor
    slope: Tensor
    measured_sd: Tensor
    row: Tensor
    state: Tensor

    def take(self, some: Tensor) -> Terms:
        """Some of the rows."""
        return Terms(*(getattr(self, field.name)[some] for field in fields(self)))

    def noise(self, sizes: Tensor) -> Tensor:
        """Variance that each row has by itself, (r,); `sizes` in the order of `NAMES`."""
        return self.measured_sd**2 + (self.row * sizes[2]) ** 2 + (self.state * sizes[3]) ** 2

    def kernel(self, sizes: Tensor) -> Tensor:
        """Covariance that rows share, (r, r)."""
        shared = sizes[0] ** 2 * torch.outer(self.level, self.level) + sizes[1] ** 2 * torch.outer(
            self.slope, self.slope
        )
        return shared * correlation(self.u, self.u, sizes[4])

    def covariance(self, sizes: Sizes) -> Tensor:
        """Covariance of r rows about the model, (r, r)."""
        at = torch.tensor(astuple(sizes), dtype=torch.float64)
        return self.kernel(at) + torch.diag(self.noise(at))


def correlation(u: Tensor, v: Tensor, length: Tensor | float) -> Tensor:
    """c(u, v), (n, m)."""
    squared: Tensor = (u[:, None] - v[None]).square().sum(-1)
    return torch.exp(-0.5 * squared / length**2)


@dataclass(frozen=True)
class Seen:
    """Rows that a fit has seen: what they ask, t - f at the mode (r,), and the slopes of f there (r, p)."""

    terms: Terms
    residual: Tensor
    jacobian: Tensor


@dataclass(frozen=True)
class Discrepancy:
    """Sizes with their priors (value and sd in ln), and the rows that were seen; none before a calibration."""

    sizes: Sizes
    prior: Sizes
    prior_sd: Sizes
    seen: Seen | None = None


def infer(known: Discrepancy, seen: Seen, z: Tensor) -> Sizes:
    """Sizes of largest marginal likelihood times prior, given rows seen at the mode z."""
    from scipy.optimize import minimize  # a third of a second that only a fit should wait for

    middle = torch.tensor(astuple(known.prior), dtype=torch.float64).log()
    width = torch.tensor(astuple(known.prior_sd), dtype=torch.float64)
    off = seen.residual + seen.jacobian @ z
    by_parameters = seen.jacobian @ seen.jacobian.T

    def negative(at: np.ndarray) -> tuple[float, np.ndarray]:
        logs = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        sizes = logs.exp()
        noise = torch.diag(seen.terms.noise(sizes) + _TINY)
        root = torch.linalg.cholesky(by_parameters + seen.terms.kernel(sizes) + noise)
        white = torch.linalg.solve_triangular(root, off[:, None], upper=False)
        value = (
            0.5 * white.square().sum() + root.diagonal().log().sum() + 0.5 * ((logs - middle) / width).square().sum()
        )
        value.backward()
        assert logs.grad is not None
        return value.item(), logs.grad.numpy()

    with torch.enable_grad():
        found = minimize(negative, middle.numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 60})
    return Sizes(*np.exp(found.x).tolist())


@dataclass(frozen=True)
class Worlds:
    """Draws of the discrepancy as functions of the recipe; every field but `waves` and `phases` runs over draws first."""

    sizes: Sizes
    waves: Tensor
    phases: Tensor
    weights: Tensor
    """(3, draws, waves): of d0, d1 and of the gap in a state."""
    departed: Tensor
    """Standard normal for each quantity that may leave the calibrated range, (draws, quantities)."""
    seen: Seen | None
    pull: Tensor
    """What the rows seen add: (draws, r)."""

    def at(self, x: Inputs, widening: np.ndarray) -> Gap:
        """The gap at n designs; `widening` of `limits.widening`, (n, quantities)."""
        u = inputs(x)
        d0, d1, state = self._prior(u)
        if self.seen is not None:
            shared = correlation(u, self.seen.terms.u, self.sizes.length)
            d0 = d0 + self.sizes.level**2 * (self.pull * self.seen.terms.level) @ shared.T
            d1 = d1 + self.sizes.per_log_cycle**2 * (self.pull * self.seen.terms.slope) @ shared.T
        return Gap(d0 + self.departed @ torch.as_tensor(widening).T, d1, state)

    def _prior(self, u: Tensor) -> Tensor:
        return _waves(u, self.waves, self.phases, self.weights, self.sizes)


@dataclass(frozen=True)
class Gap:
    """ln(world / model) of n designs, each (draws, n): of a capacity, for each e in cycle number, of a state."""

    level: Tensor
    slope: Tensor
    state: Tensor

    def log_factor(self, outcome: str) -> Tensor:
        """ln(world / model) of an outcome, (draws, n): its name tells whether it is a capacity, a ratio or a state."""
        cycle = cycle_of(outcome)
        if cycle is not None:
            alone = 0.0 if "retention" in outcome else 1.0
            return alone * self.level + math.log(cycle) * self.slope
        if outcome == "q2_over_q1":
            return math.log(2) * self.slope
        if outcome.startswith("peak_areal"):
            return self.level
        return self.state if outcome in UNCERTAIN_STATES else torch.zeros_like(self.state)


def _waves(u: Tensor, waves: Tensor, phases: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
    """Prior functions at u, (3, draws, n)."""
    basis = math.sqrt(2 / len(phases)) * torch.cos(u @ waves.T / sizes.length + phases)
    size = u.new_tensor([sizes.level, sizes.per_log_cycle, sizes.state])
    return size[:, None, None] * (weights @ basis.T)


def worlds(known: Discrepancy, moved: Tensor, *, seed: int, quantities: int) -> Worlds:
    """Draw worlds that agree with the rows seen.

    Args:
        known: sizes and rows seen.
        moved: z of each draw less the mode, (draws, p): a draw that explains the rows otherwise leaves other gaps.
        seed: of the worlds; the same gives the same functions for any designs.
        quantities: how many may leave the calibrated range.
    """
    generator = torch.Generator().manual_seed(seed * 1009 + _STREAM)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    draws, sizes = len(moved), known.sizes
    waves = normal(_WAVES, len(SCALES))
    phases = 2 * math.pi * torch.rand(_WAVES, generator=generator, dtype=torch.float64)
    departed, weights = normal(draws, quantities), normal(3, draws, _WAVES)
    if known.seen is None:
        return Worlds(sizes, waves, phases, weights, departed, None, torch.zeros(draws, 0, dtype=torch.float64))
    terms = known.seen.terms
    d0, d1, _ = _waves(terms.u, waves, phases, weights, sizes)
    at = torch.tensor(astuple(sizes), dtype=torch.float64)
    noise = terms.noise(at).sqrt() * normal(draws, len(terms.level))
    left = known.seen.residual - moved @ known.seen.jacobian.T - d0 * terms.level - d1 * terms.slope - noise
    pull = torch.linalg.solve(terms.covariance(sizes), left.T).T
    return Worlds(sizes, waves, phases, weights, departed, known.seen, pull)
