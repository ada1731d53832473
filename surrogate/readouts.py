"""From early to late: what partial curves say about capacity at a later cycle, learned from every cell on its way there.

Between successive readouts n < m of a curve stands one law, taught by all cells that have passed both:

    ln Q(m)/Q(n) = phi beta + h(names) + g(recipe) + e,      all in units of one scale s,

phi holds what is known of a cell by cycle n: second over first discharge, the drop of late carried on, the second discharge,
the powder readings. beta, h and g are shared, so their errors are common to cells alike and hardly touch their order; e is
the cell's own. The laws are conjugate (normal-inverse-gamma; O'Hagan & Forster 2004) and start from what a simulator's
curves did, counted as a few cells, or from nothing. A cell's outlook adds up the laws that still lie before it; the joint
covariance of all cells comes with it, so that what is common can be told from what is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

READOUTS = (1, 2, 5, 10, 25, 50, 75, 100, 150, 200, 300, 450, 700, 1000)
"""Cycles at which curves are compared; a curve is read at the last of these that it reached."""
# The spreads below were set by hand, on labs with seeds 0-99 and a toy: the data move the laws and their scale, not these.
SMALLEST = 1e-4
"""Capacities below this (mAh cm-2) are read as this."""
OWN_SD = 0.09
"""A cell's own departure from the law, for a factor of e in cycle number [est: 450-cycle curves of one recipe, physics.md 5]."""
PERSISTENCE = 0.7
"""Correlation of a cell's own departures between stretches of its curve [est]."""
SCALE_COUNTS_AS = 4.0
"""How many cells that estimate of the scale is worth [est]."""
SIMULATED_COUNTS_AS = 2.0
"""How many real cells the simulator's curves are worth [est]: it knows little of ageing."""
COMMON, SLOPE, LEVEL, SECOND, POWDER, NAMES, RECIPE = 4.0, 4.0, 2.0, 3.0, 0.3, 4.0, 3.0
"""Spread of the shared parts before data, in units of the scale [est]: a law may be far from no change, and differ by name and
from region to region, as a knee comes early here and late there. A powder reading is believed once many cells have shown it: it
tells the bad ones soonest, and at 1.0 it spoiled what is foretold of the promising ones (benchmarks/early_curves.py)."""
RECIPE_LENGTH = 0.4
"""Distance (share of every range) over which recipes depart from the law alike [est]."""
TYPICAL_MAH_CM2 = 3.0
"""Capacity at which `level` is 0; its choice moves nothing but the meaning of the common part."""


@dataclass(frozen=True)
class Curve:
    """What was seen of one cell."""

    recipe: Floats
    """Numbers of its recipe on the unit scale."""
    names: tuple[str, ...]
    discharge: Floats
    """Discharges from cycle 1 on, mAh cm-2."""
    powder: Mapping[str, float] = field(default_factory=dict)
    first: tuple[float, float] | None = None
    """Where no cycle was seen: ln of the first discharge as the powder tells it, and its sd (`surrogate.powder`)."""


@dataclass(frozen=True)
class Outlook:
    """ln of the capacity at the target cycle, for n cells."""

    mean: Floats
    covariance: Floats

    @cached_property
    def sd(self) -> Floats:
        """Sd of each, what is common included."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance)))

    @cached_property
    def own_sd(self) -> Floats:
        """Sd of each against the mean of all: what could change their order; of a lone cell all that is in doubt."""
        c = self.covariance
        if len(c) == 1:
            return self.sd
        apart = np.diagonal(c) - 2 * c.mean(axis=1) + c.mean()
        return np.asarray(np.sqrt(np.maximum(apart, 0.0)))


def readout(cycles: int, target: int) -> int:
    """Return the last readout at or below a number of cycles, 0 where there is none."""
    return max((n for n in (*READOUTS, target) if n <= min(cycles, target)), default=0)


def outlook(curves: Sequence[Curve], target: int, simulated: Sequence[Floats] = ()) -> Outlook:
    """Return what n curves promise at a target cycle.

    Args:
        curves: of all cells there are; those further on teach the law to those behind. Each has one cycle at least, or what
            its powder tells of the first.
        target: cycle that counts.
        simulated: whole curves (cycles 1 to target) of a simulator's draws; may be empty.
    """
    stops = sorted({n for n in READOUTS if n < target} | {target})
    read = np.full((len(curves), len(stops)), np.nan)
    for i, curve in enumerate(curves):
        reached = [stop for stop in stops if stop <= len(curve.discharge)]
        read[i, : len(reached)] = log_capacity(curve.discharge)[np.array(reached, dtype=int) - 1]
    covariance = np.zeros((len(curves), len(curves)))
    apart = np.zeros(len(curves))
    seen = ~np.isnan(read[:, 0])
    for row, curve in enumerate(curves):
        if not seen[row]:
            read[row, 0], covariance[row, row] = _told_by_powder(curve)
    powder = np.nan_to_num(standardised([curve.powder for curve in curves], seen))
    alike = similarity(curves, names=NAMES, recipe=RECIPE)
    mine = [log_capacity(curve)[np.array(stops) - 1] for curve in simulated]
    world = np.array(mine).reshape(-1, len(stops))
    for k in range(len(stops) - 1):
        phi = _features(read, k, stops, powder)
        past = ~np.isnan(read[:, k + 1])
        drift = _drift(world, k, stops, powder.shape[1])
        mean, cov, own = _law(
            phi, read[:, k + 1] - read[:, k], past, seen, alike, drift, width=math.log(stops[k + 1] / stops[k])
        )
        read[~past, k + 1] = read[~past, k] + mean
        covariance[np.ix_(~past, ~past)] += cov
        # What sets a cell apart in one stretch goes on in the next: a knee lasts.
        covariance[~past, ~past] += 2 * PERSISTENCE * apart[~past] * own
        apart[~past] += own
    return Outlook(read[:, -1], covariance)


def _law(
    phi: Floats, change: Floats, past: Flags, seen: Flags, alike: Floats, drift: Floats, *, width: float
) -> tuple[Floats, Floats, Floats]:
    """Learn one law from the cells that are past it.

    Returns:
        For those before it: mean and covariance of the change, and the sd that is each cell's own.
    """
    spread = np.array([COMMON, SLOPE, LEVEL, SECOND, *[POWDER] * (phi.shape[1] - 4)]) ** 2
    # What a cell does that hardly works says little of those that do.
    own = np.diag(1.0 + np.maximum(phi[seen, 2].max() - phi[:, 2], 0.0) ** 2)
    expected = phi @ drift
    law = conjugate((phi * spread) @ phi.T + alike, own, (change - expected)[past], past, variance=OWN_SD**2 * width)
    return expected[~past] + law.mean, law.covariance, np.sqrt(np.diagonal(own)[~past] * law.scale)


@dataclass(frozen=True)
class Conjugate:
    """What a normal-inverse-gamma model that was taught some of its rows says of the others."""

    mean: Floats
    covariance: Floats
    scale: float
    """Variance that one unit of the given covariances stands for, as learned."""
    log_evidence: float
    """Of what was taught, up to a constant that only its number sets."""


def conjugate(shared: Floats, own: Floats, off: Floats, taught: Flags, *, variance: float) -> Conjugate:
    """Learn m departures and their scale, and say what the other rows do.

    Args:
        shared: n x n covariance between rows, in units of the scale.
        own: n x n, diagonal, of what is each row's own.
        off: m departures from what was expected.
        taught: n flags, which rows they are of.
        variance: the scale before data, worth `SCALE_COUNTS_AS` rows.
    """
    asked = ~taught
    shape, rate = SCALE_COUNTS_AS / 2 + 1.0, SCALE_COUNTS_AS / 2 * variance
    mean, covariance, evidence = np.zeros(asked.sum()), (shared + own)[np.ix_(asked, asked)], 0.0
    if taught.any():
        factor = cho_factor((shared + own)[np.ix_(taught, taught)])
        cross = shared[np.ix_(taught, asked)]
        mean = cross.T @ cho_solve(factor, off)
        covariance = covariance - cross.T @ cho_solve(factor, cross)
        shape, rate = shape + len(off) / 2, rate + float(off @ cho_solve(factor, off)) / 2
        evidence = -float(np.log(np.diagonal(factor[0])).sum()) - shape * math.log(rate)
    scale = rate / (shape - 1.0)
    return Conjugate(mean, covariance * scale, scale, evidence)


def _told_by_powder(curve: Curve) -> tuple[float, float]:
    """Mean and variance of ln of a first discharge that nobody saw."""
    if curve.first is None:
        raise ValueError("a curve without a cycle needs what its powder tells of the first")
    mean, sd = curve.first
    return mean, sd**2


def _features(read: Floats, k: int, stops: Sequence[int], powder: Floats) -> Floats:
    """What is known at readout k: 1, the drop of late carried on to the next one, level, second over first, powder."""
    now, second = read[:, k], read[:, min(k, 1)]
    before = max(k - 1, 1)
    carried = np.zeros(len(read))
    if before < k:
        carried = (now - read[:, before]) * math.log(stops[k + 1] / stops[k]) / math.log(stops[k] / stops[before])
    columns = [np.ones(len(read)), carried, second - math.log(TYPICAL_MAH_CM2), second - read[:, 0]]
    return np.column_stack([*columns, powder])


def _drift(world: Floats, k: int, stops: Sequence[int], n_powder: int) -> Floats:
    """Coefficients before data: what the simulator's curves did, drawn towards no change at all."""
    beta = np.zeros(4 + n_powder)
    if len(world):
        change = float(np.median(world[:, k + 1] - world[:, k]))
        beta[0] = change * SIMULATED_COUNTS_AS / (SIMULATED_COUNTS_AS + 1.0)
    return beta


def similarity(curves: Sequence[Curve], *, names: float, recipe: float) -> Floats:
    """Covariance of h + g between n cells, in units of the scale, for spreads of either."""
    x = np.array([curve.recipe for curve in curves]).reshape(len(curves), -1)
    apart = ((x[:, None] - x[None]) ** 2).sum(axis=-1) / RECIPE_LENGTH**2
    same = np.array([[a.names == b.names for b in curves] for a in curves]).reshape(len(curves), len(curves))
    return np.asarray(names**2 * same + recipe**2 * np.exp(-0.5 * apart))


def standardised(readings: Sequence[Mapping[str, float]], cycled: Flags) -> Floats:
    """Logs of n powder readings in units of their spread over the cells that have cycled; NaN where one was not taken.

    Returns:
        n x readings; one that fewer than two of the cells have, or that is the same for all, has no column.
    """
    names = sorted({name for reading, counts in zip(readings, cycled, strict=True) if counts for name in reading})
    columns = []
    for name in names:
        taken = np.array([reading.get(name, math.nan) for reading in readings], dtype=float)
        logs = np.log(np.where((taken > 0) & np.isfinite(taken), taken, math.nan))
        known = logs[cycled]
        if np.isfinite(known).sum() < 2 or np.nanstd(known) < 1e-9:
            continue
        columns.append((logs - np.nanmedian(known)) / np.nanstd(known))
    return np.column_stack(columns) if columns else np.zeros((len(readings), 0))


def log_capacity(curve: Floats) -> Floats:
    """Natural logs of capacities (mAh cm-2), dead cells as the smallest that is told apart."""
    return np.asarray(np.log(np.maximum(np.asarray(curve, dtype=float), SMALLEST)))
