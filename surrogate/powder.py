"""What powder results say of a batch none of whose cells has a cycle yet: the first discharge that they let expect.

Two models of ln Q(1), both taught by the cells that have cycled (`surrogate.readouts.conjugate`): one knows recipe and names
alone, the other the powder readings too. What the recipe lets expect the chooser knows already, so only what the powder adds
is told: the second model, weighed by its evidence against the first (Hoeting et al. 1999, Bayesian model averaging), divided by
the first, as a likelihood is what is left of a posterior over its prior. Powder that foretells nothing then says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from surrogate.readouts import (
    TYPICAL_MAH_CM2,
    Conjugate,
    Curve,
    Flags,
    Floats,
    conjugate,
    log_capacity,
    similarity,
    standardised,
)

OWN_SD = 0.25
"""Sd of ln of the first discharge between batches whose recipe and powder are alike, before data [est]."""
COMMON, NAMES, RECIPE, READING = 4.0, 3.0, 2.0, 2.0
"""Spread of level, names, recipe and the slope of a reading before data, in units of that sd [est]."""
FEWEST_TAUGHT = 4
"""Cells with a cycle and a powder reading before a batch is judged by its powder [est]."""
MOST_DOUBT = 0.5
"""Sd (ln) above which what powder adds is left out [est]: as a value with an error it would say little, and that skewed."""


def first_discharge(curves: Sequence[Curve]) -> list[tuple[float, float] | None]:
    """Return what the powder of each of n cells adds to what is known of its first discharge.

    Args:
        curves: of all cells; those with a cycle teach, the others are asked about.

    Returns:
        n items: mean and sd of ln of the first discharge (mAh cm-2) where the powder tells anything; None for a cell that has
        cycled, and where the powder tells nothing.
    """
    told: list[tuple[float, float] | None] = [None] * len(curves)
    cycled = np.array([len(curve.discharge) > 0 for curve in curves], dtype=bool)
    powder = standardised([curve.powder for curve in curves], cycled)
    measured = np.array([bool(curve.powder) for curve in curves], dtype=bool)
    if cycled.all() or not powder.shape[1] or (cycled & measured).sum() < FEWEST_TAUGHT:
        return told
    firsts = np.array(
        [log_capacity(curve.discharge[:1])[0] for curve, seen in zip(curves, cycled, strict=True) if seen]
    )
    off = firsts - math.log(TYPICAL_MAH_CM2)
    shared = COMMON**2 + similarity(curves, names=NAMES, recipe=RECIPE)
    blind = _learned(shared, off, cycled)
    sighted = _learned(shared + READING**2 * powder @ powder.T, off, cycled)
    weight = 1.0 / (1.0 + math.exp(float(np.clip(blind.log_evidence - sighted.log_evidence, -50.0, 50.0))))
    before, with_powder = np.diagonal(blind.covariance), np.diagonal(sighted.covariance)
    mean = weight * sighted.mean + (1 - weight) * blind.mean
    between = weight * (1 - weight) * (sighted.mean - blind.mean) ** 2
    variance = weight * with_powder + (1 - weight) * before + between
    precision = 1.0 / variance - 1.0 / before
    for place, i in enumerate(np.flatnonzero(~cycled)):
        if measured[i] and precision[place] > MOST_DOUBT**-2:
            added = (mean[place] / variance[place] - blind.mean[place] / before[place]) / precision[place]
            told[i] = (math.log(TYPICAL_MAH_CM2) + float(added), float(precision[place] ** -0.5))
    return told


def _learned(shared: Floats, off: Floats, cycled: Flags) -> Conjugate:
    return conjugate(shared, np.eye(len(cycled)), off, cycled, variance=OWN_SD**2)
