"""Early evidence: what a partial curve says about a cell's late capacity, with its own uncertainty.

    ln Q(T)/Q(n) = phi(Q_1..Q_n) beta + g(recipe) + e,   g ~ s c k(recipe, recipe'),   e ~ s (1 - c)

phi holds what a curve shows by cycle n (second over first discharge, change since, slope of late, level). beta and the
variance s^2 start from curves that a simulator drew (early and late capacities of the same draws), which count as a few
cells only, widened by what simulators get wrong about ageing; then every cell that reached T corrects them (conjugate
normal-inverse-gamma, O'Hagan & Forster 2004). g lets recipes alike depart from the law alike; its share c is weighed by
its evidence. A cell that ran to T needs no prediction; one without a cycle gives none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln

Floats = npt.NDArray[np.float64]

SIMULATED_COUNTS_AS = 4.0
"""How many real cells the simulator's curves are worth [est]."""
WORLD_SD_PER_LOG_CYCLE = 0.15
"""What a simulator gets wrong about ln capacity for each factor of e in cycle number [est]: physics.md section 5."""
RECIPE_LENGTH = 0.5
"""Distance (share of every range) over which recipes depart from the law alike [est]."""
OTHER_NAME = 0.4
"""Correlation left between recipes that differ in a name [est]."""
SHARES = (0.0, 0.5, 0.9)
"""Shares c of the variance that go with the recipe."""
READOUTS = (1, 2, 5, 10, 25, 50, 75, 100, 150, 200, 300)
"""Cycles at which curves are compared; a curve is read at the last of these that it reached."""
SMALLEST = 1e-4
"""Capacities below this (mAh cm-2) are read as this."""


@dataclass(frozen=True)
class Curve:
    """What was seen of one cell: its encoded recipe (numbers on the unit scale), names, and discharges from cycle 1 on."""

    recipe: Floats
    names: tuple[str, ...]
    discharge: Floats


@dataclass(frozen=True)
class Outlook:
    """ln of the capacity at the target cycle: mean and sd."""

    mean: float
    sd: float


def readout(cycles: int, target: int) -> int:
    """Return the last readout at or below a number of cycles, 0 where there is none."""
    return max((n for n in (*READOUTS, target) if n <= min(cycles, target)), default=0)


class Foresight:
    """Predicts the capacity at a target cycle from partial curves; built from simulated curves, taught by finished ones."""

    def __init__(self, target: int, simulated: Sequence[Floats], finished: Sequence[Curve] = ()) -> None:
        """Set up.

        Args:
            target: cycle that counts.
            simulated: whole curves (cycles 1 to target) of a simulator's draws; may be empty.
            finished: real cells that reached the target.
        """
        self.target = target
        self._simulated = [np.maximum(np.asarray(curve, dtype=float), SMALLEST) for curve in simulated]
        self._finished = [curve for curve in finished if len(curve.discharge) >= target]
        self._laws: dict[int, _Law] = {}

    @property
    def learned_from(self) -> int:
        """Number of real cells that reached the target."""
        return len(self._finished)

    def outlook(self, curve: Curve) -> Outlook | None:
        """Return what one cell's curve promises, or None before its first cycle."""
        n = readout(len(curve.discharge), self.target)
        if n == 0:
            return None
        now = math.log(max(float(curve.discharge[n - 1]), SMALLEST))
        if n == self.target:
            return Outlook(now, 0.0)
        if n not in self._laws:
            self._laws[n] = _learn(n, self.target, self._simulated, self._finished)
        mean, sd = self._laws[n].predict(curve)
        return Outlook(now + mean, sd)


@dataclass(frozen=True)
class _Law:
    """The law for one readout: parts of different recipe share c, with their weights."""

    n: int
    parts: tuple[_Part, ...]
    weights: Floats

    def predict(self, curve: Curve) -> tuple[float, float]:
        pairs = np.array([part.predict(_features(curve.discharge, self.n), curve) for part in self.parts])
        mean = float(self.weights @ pairs[:, 0])
        return mean, math.sqrt(float(self.weights @ (pairs[:, 1] ** 2 + pairs[:, 0] ** 2)) - mean**2)


@dataclass(frozen=True)
class _Part:
    """One conjugate fit in its kernel form: y ~ t(phi beta0, s^2 (phi V phi' + c k + (1 - c) 1))."""

    beta: Floats
    spread: Floats
    share: float
    shape: float
    rate: float
    curves: tuple[Curve, ...]
    features: Floats
    residual: Floats
    log_evidence: float

    def predict(self, phi: Floats, curve: Curve) -> tuple[float, float]:
        mean = float(phi @ self.beta)
        variance = float(phi @ self.spread @ phi) + 1.0
        if self.curves:
            cross = self.features @ self.spread @ phi + self.share * np.array([_alike(c, curve) for c in self.curves])
            factor = cho_factor(_covariance(self.curves, self.features, self.spread, self.share))
            mean += float(cross @ cho_solve(factor, self.residual))
            variance -= float(cross @ cho_solve(factor, cross))
        scale = self.rate / (self.shape - 1.0)
        return mean, math.sqrt(max(variance, 1e-6) * scale)


def _learn(n: int, target: int, simulated: Sequence[Floats], finished: Sequence[Curve]) -> _Law:
    beta, spread, variance = _before(n, target, simulated)
    phi = np.array([_features(curve.discharge, n) for curve in finished]).reshape(-1, len(beta))
    gone = np.array([_gone(curve.discharge, n, target) for curve in finished])
    parts = tuple(_fit(beta, spread, variance, share, tuple(finished), phi, gone) for share in SHARES)
    logs = np.array([part.log_evidence for part in parts])
    weights = np.exp(logs - logs.max())
    return _Law(n, parts, weights / weights.sum())


def _before(n: int, target: int, simulated: Sequence[Floats]) -> tuple[Floats, Floats, float]:
    """Return mean of beta, its covariance in units of the variance, and the variance, from simulated curves alone."""
    size = len(_features(np.ones(target), n))
    world = (WORLD_SD_PER_LOG_CYCLE * math.log(target / n)) ** 2
    if len(simulated) < 2 * size:
        return np.zeros(size), np.eye(size), world + 0.1**2
    phi = np.array([_features(curve, n) for curve in simulated])
    gone = np.array([_gone(curve, n, target) for curve in simulated])
    ridge = 1e-3 * len(phi) * np.eye(size)
    beta = np.linalg.solve(phi.T @ phi + ridge, phi.T @ gone)
    # Bounded influence: a dead cell's curve says nothing about the law of the living.
    kept = np.abs(gone - phi @ beta) < 4 * np.median(np.abs(gone - phi @ beta)) + 0.05
    beta = np.linalg.solve(phi[kept].T @ phi[kept] + ridge, phi[kept].T @ gone[kept])
    spread = np.linalg.inv(phi[kept].T @ phi[kept] + ridge) * kept.sum() / SIMULATED_COUNTS_AS
    return beta, spread, float(np.var(gone[kept] - phi[kept] @ beta)) + world


def _fit(
    beta: Floats,
    spread: Floats,
    variance: float,
    share: float,
    curves: tuple[Curve, ...],
    phi: Floats,
    gone: Floats,
) -> _Part:
    shape = 1.0 + SIMULATED_COUNTS_AS / 2
    rate = (shape - 1.0) * variance
    residual = gone - phi @ beta
    n = len(curves)
    if not n:
        return _Part(beta, spread, share, shape, rate, curves, phi, residual, 0.0)
    matrix = _covariance(curves, phi, spread, share)
    factor = cho_factor(matrix)
    fit = float(residual @ cho_solve(factor, residual))
    after_shape, after_rate = shape + n / 2, rate + fit / 2
    log_det = 2.0 * float(np.log(np.diagonal(factor[0])).sum())
    evidence = (
        float(gammaln(after_shape) - gammaln(shape))
        + shape * math.log(rate)
        - after_shape * math.log(after_rate)
        - log_det / 2
    )
    return _Part(beta, spread, share, after_shape, after_rate, curves, phi, residual, evidence)


def _covariance(curves: Sequence[Curve], phi: Floats, spread: Floats, share: float) -> Floats:
    alike = np.array([[_alike(a, b) for b in curves] for a in curves])
    return np.asarray(phi @ spread @ phi.T + share * alike + (1.0 - share + 1e-6) * np.eye(len(curves)))


def _alike(a: Curve, b: Curve) -> float:
    distance = float(((a.recipe - b.recipe) ** 2).sum()) / RECIPE_LENGTH**2
    other = sum(x != y for x, y in zip(a.names, b.names, strict=True))
    return math.exp(-0.5 * distance) * OTHER_NAME**other


def _gone(curve: Floats, n: int, target: int) -> float:
    """Return ln Q(T)/Q(n)."""
    read = np.maximum(curve, SMALLEST)
    return float(np.log(read[target - 1] / read[n - 1]))


def _features(curve: Floats, n: int) -> Floats:
    """What a curve shows by cycle n."""
    q = np.log(np.maximum(np.asarray(curve, dtype=float)[:n], SMALLEST))
    now, second, first = q[n - 1], q[min(n, 2) - 1], q[0]
    half = q[_half(n) - 1]
    return np.array([1.0, second - first, now - second, now - half, second])


@lru_cache(maxsize=64)
def _half(n: int) -> int:
    return max(min(2, n), (n + 1) // 2)
