"""What a result would add to the front of several objectives, if it were true.

    V = c E_r[max_i (min_j (v_ij - low_j) / (unit_j r_j))^k]

is the hypervolume under a front of values v of k objectives, r being directions (Zhang & Golovin 2020, doi
10.48550/arXiv.2006.04655). Values are on the beliefs' standardised scales, with the sign folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import qmc

from surrogate.situation import Situation

Floats = npt.NDArray[np.float64]

DIRECTIONS = 64
"""In which a front is measured [est]: with two objectives less than two degrees apart."""
MARGIN = 0.1
"""How far below the worst of the tried, in their range, a front is measured from, so that its ends count too (as BoTorch's
`infer_reference_point`). From the worst of all tried, not of the front: a front of few recipes, all alike, would leave out all
that is unlike them."""


@dataclass(frozen=True)
class _Ruler:
    """From where, and in what unit of each of k objectives, a front is measured."""

    low: Floats
    unit: Floats

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Read it off m x k believed values."""
        span = np.ptp(values, axis=0)
        unit = np.where(span > 0.0, span, 1.0)
        return cls(values.min(axis=0) - MARGIN * unit, unit)

    def reach(self, values: Floats) -> Floats:
        """Return how far m x k values reach in each direction, to the k-th power: m x directions."""
        above = (values - self.low) / self.unit
        rays = _directions(values.shape[1])
        far = np.minimum.reduce([side[:, None] / ray for side, ray in zip(above.T, rays.T, strict=True)])
        return np.asarray(np.maximum(far, 0.0) ** values.shape[1])


def claimed(situation: Situation, tried: Floats, x: Floats, told: Mapping[str, Floats]) -> Floats:
    """Return what m recipes would add to the front if they gave what is told, all else being as believed.

    Args:
        situation: what is believed, with two objectives or more.
        tried: r x p encoded, at least one: those that may be on the front.
        x: m x p encoded.
        told: m values on its belief's scale of each objective whose results are taken at their word.
    """
    believed = {name: situation.beliefs[name].mean(tried) for name in situation.wanted}
    values, counts = _values(situation, tried, believed), situation.likely_admissible(tried)
    ruler = _Ruler.of(values[counts] if counts.any() else values)
    front = ruler.reach(values[counts]).max(axis=0, initial=0.0)
    if_true = {name: told.get(name, situation.beliefs[name].mean(x)) for name in situation.wanted}
    return np.asarray(np.maximum(ruler.reach(_values(situation, x, if_true)) - front, 0.0).mean(axis=1))


def _values(situation: Situation, x: Floats, told: Mapping[str, Floats]) -> Floats:
    """Return m x k objectives, larger is better, slips allowed for, of what is told on the beliefs' scales."""
    known = situation.known(x)
    columns = [
        known[o.name] if o.known else told[o.name] - situation.loss(o.name, x) for o in situation.goals.objectives
    ]
    return np.stack(columns, axis=1)


@cache
def _directions(k: int) -> Floats:
    """Return directions x k, evenly spread over those in which all k objectives rise."""
    normals = np.abs(ndtri(qmc.Sobol(k, rng=np.random.default_rng(0)).random(DIRECTIONS)))
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))
