"""The scale on which an outcome is modelled: straight, or bent so that equal factors become equal steps.

    z = (w(y) - centre) / scale,    w(y) = y    or    w(y) = side ln(1 + side y / bend)

Capacities, conductivities and lifetimes are products of factors, spread over decades, and their noise is a share of the
value: bent, factors add up and the noise is even. `bend`, a tenth of the high values, keeps what is next to nothing from
ruling the picture. Which of the two describes the results better is left to the evidence (`surrogate.belief`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BEND = 0.1
"""`bend` as a share of the high values (their 90th percentile) [est]."""
RARE = 0.01
"""Where the high values are less than this share of the largest, nearly all are next to 0."""
SLIGHTLY = 0.02
"""A value this far on the wrong side of 0, as a share of the largest, is a reading of nothing."""


@dataclass(frozen=True)
class Warp:
    """From an outcome (its sign folded in: larger is better) to the standardised scale and back."""

    bend: float
    """Infinite: straight."""
    side: float = 1.0
    """The side of 0 on which the outcome lies, where it is bent."""
    centre: float = 0.0
    scale: float = 1.0
    one_sided: bool = False
    """Whether an outcome on a straight scale is known to keep to its side of 0."""

    @property
    def bent_side(self) -> float | None:
        """The side of 0 to which the scale is bent, None where it is straight."""
        return None if np.isinf(self.bend) else self.side

    def standard(self, centre: float, scale: float) -> Warp:
        """Return the same warp, standardised."""
        return replace(self, centre=centre, scale=scale)

    def to(self, y: Floats) -> Floats:
        """Return values on the standardised scale."""
        return np.asarray((self._bent(y) - self.centre) / self.scale)

    def back(self, z: Floats) -> Floats:
        """Return outcomes; never on the wrong side of 0 where it is known."""
        w = self.centre + self.scale * np.asarray(z)
        if np.isinf(self.bend):
            return self.side * np.maximum(self.side * w, 0.0) if self.one_sided else w
        return np.asarray(self.side * self.bend * np.expm1(np.clip(self.side * w, 0.0, 300.0)))

    def slope(self, y: Floats) -> Floats:
        """Return dz/dy."""
        if np.isinf(self.bend):
            return np.full(np.shape(y), 1.0 / self.scale)
        return np.asarray(1.0 / ((self.bend + np.maximum(self.side * y, 0.0)) * self.scale))

    def centre_and_spread(self, mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
        """Return the middle of the outcome and its spread, half of what lies between one sd below and above, for normal z.

        On a bent scale the middle is the median: the mean of what may lie decades apart is ruled by a tail that nobody
        believes in, and could exceed the 95th percentile.
        """
        return self.back(mean), 0.5 * np.abs(self.back(mean + sd) - self.back(mean - sd))

    def _bent(self, y: Floats) -> Floats:
        if np.isinf(self.bend):
            return y
        return np.asarray(self.side * np.log1p(np.maximum(self.side * y, 0.0) / self.bend))


STRAIGHT = Warp(np.inf)


def bent(values: Floats) -> Warp | None:
    """Return the bent scale for values that all lie on one side of 0, else None."""
    size = float(np.abs(values).max(initial=0.0))
    side = 1.0 if values.sum() > 0 else -1.0
    if size == 0.0 or (side * values).min() < -SLIGHTLY * size:
        return None
    return Warp(BEND * max(float(np.quantile(np.abs(values), 0.9)), RARE * size), side)
