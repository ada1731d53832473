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
    cycled = np.array([len(curve.discharge) > 0 for curve in curves], dtype=bool)
    powder = standardised([curve.powder for curve in curves], cycled)
    taken = ~np.isnan(powder)
    told: list[tuple[float, float] | None] = [None] * len(curves)
    # Batches with the same readings are asked about together, by these readings alone.
    for kind in np.unique(taken[~cycled], axis=0) if powder.shape[1] else []:
        asked = np.flatnonzero(~cycled & (taken == kind).all(axis=1))
        if (taken[cycled] & kind).any(axis=1).sum() >= FEWEST_TAUGHT:
            rows = np.concatenate([np.flatnonzero(cycled), asked])
            found = _told([curves[i] for i in rows], powder[np.ix_(rows, kind)], cycled[rows])
            for i, item in zip(asked.tolist(), found, strict=True):
                told[i] = item
    return told


def _told(curves: Sequence[Curve], powder: Floats, cycled: Flags) -> list[tuple[float, float] | None]:
    """What the powder adds for those of n cells that have not cycled, all of which have all of these readings."""
    firsts = np.array(
        [log_capacity(curve.discharge[:1])[0] for curve, seen in zip(curves, cycled, strict=True) if seen]
    )
    off = firsts - math.log(TYPICAL_MAH_CM2)
    shared = COMMON**2 + similarity(curves, names=NAMES, recipe=RECIPE)
    blind = conjugate(shared, np.eye(len(cycled)), off, cycled, variance=OWN_SD**2)
    known = np.nan_to_num(powder)
    # A reading that was not taken may be anything: what it would have told is the cell's own.
    own = np.diag(1.0 + READING**2 * np.isnan(powder).sum(axis=1))
    sighted = conjugate(shared + READING**2 * known @ known.T, own, off, cycled, variance=OWN_SD**2)
    weight = 1.0 / (1.0 + math.exp(float(np.clip(blind.log_evidence - sighted.log_evidence, -50.0, 50.0))))
    before, with_powder = np.diagonal(blind.covariance), np.diagonal(sighted.covariance)
    mean = weight * sighted.mean + (1 - weight) * blind.mean
    between = weight * (1 - weight) * (sighted.mean - blind.mean) ** 2
    variance = weight * with_powder + (1 - weight) * before + between
    precision = 1.0 / variance - 1.0 / before
    tells = precision > MOST_DOUBT**-2
    precision = np.where(tells, precision, 1.0)
    added = math.log(TYPICAL_MAH_CM2) + (mean / variance - blind.mean / before) / precision
    return [(float(m), float(p**-0.5)) if told else None for m, p, told in zip(added, precision, tells, strict=True)]
