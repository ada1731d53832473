"""What knowing better is worth: the knowledge gradient of measuring a recipe, tried or new.

    KG(j) = E_z[max_i (m_i + s_ij z)] - max_i m_i,    s_ij = cov_ij / sqrt(cov_jj + noise),    z ~ N(0, 1)

(Frazier, Powell & Dayanik 2009). Unlike expected improvement it gives a repetition of a noisy result its due.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from surrogate.belief import Belief

Floats = npt.NDArray[np.float64]
NODES = ndtri((np.arange(24) + 0.5) / 24)
"""Equally likely values of z."""


def worth_of_knowing(belief: Belief, x: Floats) -> Floats:
    """Return for each of m recipes what one more measurement of it would add to the best believed outcome."""
    total = np.zeros(len(x))
    for weight, mean, cov, noise in zip(belief.weights, *belief.joint(x), belief.typical_noise_variance, strict=True):
        shift = cov / np.sqrt(np.diagonal(cov) + noise)  # column j: what measuring j moves
        best = np.stack([(mean[:, None] + shift * z).max(axis=0) for z in NODES]).mean(axis=0)
        total += weight * (best - mean.max())
    return np.asarray(np.maximum(total, 0.0))
