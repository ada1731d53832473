"""The chance that a trial does not fail, from trials that did and did not.

A Beta estimate whose counts are trials weighted by nearness, so that one failure among successes says little about its
place (cells fail by accident) while failures that gather say much:

    p(x) = (w p0 + sum_i k(x, x_i) [i succeeded]) / (w + sum_i k(x, x_i)),    p0 = (1 + successes) / (1 + trials)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]

REACH = 0.2
"""Distance over which a failure tells about its neighbours, as a share of each range [est]."""
OTHER_NAME = 0.4
"""How much a trial with another name in one category counts [est]."""
WEIGHT = 1.0
"""Weight of the overall rate, in trials."""


@dataclass(frozen=True)
class Feasibility:
    """What is known about failures."""

    x: Floats
    succeeded: Floats
    """n, 1 or 0."""
    categorical: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, space: SearchSpace, x: Floats, failed: npt.NDArray[np.bool_]) -> Feasibility:
        """Learn from n trials."""
        categorical = np.array([isinstance(p, Category) for p in space.parameters])
        return cls(x, 1.0 - failed.astype(float), categorical)

    def chance(self, x: Floats) -> Floats:
        """Return for m encoded recipes the chance of success."""
        if self.succeeded.all():
            return np.ones(len(x))
        gaps = x[:, None, :] - self.x[None, :, :]
        numeric, names = gaps[:, :, ~self.categorical], gaps[:, :, self.categorical]
        nearness = np.exp(-0.5 * (numeric**2).sum(2) / REACH**2) * OTHER_NAME ** (names != 0).sum(2)
        overall = (1.0 + self.succeeded.sum()) / (1.0 + len(self.succeeded))
        return np.asarray((WEIGHT * overall + nearness @ self.succeeded) / (WEIGHT + nearness.sum(1)))
