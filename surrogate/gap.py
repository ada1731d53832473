"""What a simulator would say of recipes of which it says nothing: its own values carried on as a Gaussian process would.

Where a simulator gives NaN (its solver fails, its law does not hold) nothing is known but what it says beside. Taking the
mean of all recipes there would be a firm word that nobody gave; so its mean goes on smoothly from what it does say, and
what may be otherwise is given as directions of spread, as of an ensemble whose members agree wherever it speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from surrogate.kernel import Layout
from surrogate.process import Data, Process, fit

Floats = npt.NDArray[np.float64]
MOST_KNOWN, MOST_ANCHORS = 160, 48
"""Recipes that the process is fitted to, and silent ones that span the directions."""
ROUGHNESS = 1e-3
"""Variance that a simulator's values are taken to have about a smooth course, in units of their variance."""
KEPT = 1e-3
"""Directions of less variance than this share of the widest are taken for none."""
STEP = 256
"""Recipes that are looked at together."""


@dataclass(frozen=True)
class Gap:
    """A simulator's mean and directions of spread where it says nothing."""

    process: Process
    anchors: Floats
    """k x p encoded silent recipes."""
    weights: Floats
    """directions x k: of the covariances with the anchors."""

    @classmethod
    def of(cls, layout: Layout, known: Floats, values: Floats, silent: Floats) -> Self:
        """Fit it to n encoded recipes and the simulator's standardised mean there; `silent` are m without.

        Args:
            layout: of the space.
            known: n x p.
            values: n.
            silent: m x p.
        """
        x, y = known[:MOST_KNOWN], values[:MOST_KNOWN]
        data = Data(x, y, np.full(len(x), ROUGHNESS), np.zeros(len(x)), 0)
        with torch.enable_grad():
            process = fit(layout, data, [0.0])
        anchors = silent[:MOST_ANCHORS]
        covariance = process.joint(torch.from_numpy(anchors))[1][0].numpy()
        sizes, directions = np.linalg.eigh(0.5 * (covariance + covariance.T))
        kept = sizes > KEPT * sizes.max()
        weights = np.where(kept, directions / np.sqrt(np.where(kept, sizes, 1.0)), 0.0).T
        return cls(process, anchors, np.asarray(weights))

    def fill(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the mean (m) and the directions (m x directions) at m encoded silent recipes."""
        means, spreads = [np.zeros(0)], [np.zeros((0, len(self.weights)))]
        k = len(self.anchors)
        for part in np.split(x, range(STEP, len(x), STEP)):
            mean, covariance = self.process.joint(torch.from_numpy(np.vstack([self.anchors, part])))
            means.append(mean[0, k:].numpy())
            spreads.append(covariance[0, k:, :k].numpy() @ self.weights.T)
        return np.concatenate(means), np.vstack(spreads)
