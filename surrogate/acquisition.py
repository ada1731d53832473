"""How much a recipe promises: noisy expected improvement and hypervolume improvement from joint posterior draws.

Each draw is one way the outcome may be over all candidates, all tried recipes and all pending ones; a candidate's
improvement is what it adds to the best of the tried and pending in that draw (NEI, Letham et al. 2019; on a log
scale, smoothed, Ament et al. 2023, doi 10.48550/arXiv.2310.20708; hypervolume, Daulton et al. 2021).
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr

Floats = npt.NDArray[np.float64]
LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)


def log_expected_improvement(mean: Floats, sd: Floats, best: float) -> Floats:
    """Return log E[max(f - best, 0)] of normals, exact far into the tail where the plain form underflows to 0."""
    z = (mean - best) / sd
    density = -0.5 * z * z - LOG_SQRT_2PI
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(np.exp(density) + z * np.exp(log_ndtr(z)))
        # phi(z) + z Phi(z) = phi(z) [1 + z sqrt(pi/2) erfcx(-z / sqrt 2)]; below -1e3 it tends to phi(z) / z^2.
        below = np.minimum(z, -1.0)  # used there only; erfcx overflows on the other side
        bracket = np.log1p(below * np.sqrt(np.pi / 2.0) * erfcx(-below / np.sqrt(2.0)))
        far = density + np.where(z > -1e3, bracket, -2.0 * np.log(-below))
    return np.asarray(np.where(z > -1.0, near, far) + np.log(sd))


def log_improvement(draws: Floats, best: Floats, scale: float) -> Floats:
    """Return the log of each candidate's mean improvement.

    Args:
        draws: s x m outcomes of candidates.
        best: s best outcomes of what is tried or pending.
        scale: a typical spread of outcomes; improvements are smoothed over a hundredth of it, so that candidates
            that improve in no draw still have an order.
    """
    width = 0.01 * scale
    gain = (draws - best[:, None]) / width
    return np.asarray(np.log(np.logaddexp(0.0, gain).mean(axis=0)) + np.log(width))


def log_hypervolume_improvement(draws: Floats, baseline: Floats, reference: Floats) -> Floats:
    """Return the log of each candidate's mean gain in dominated hypervolume.

    Args:
        draws: s x m x k outcomes of candidates under k objectives, larger is better.
        baseline: s x b x k outcomes of what is tried or pending.
        reference: k values below which nothing counts.
    """
    lower, upper = _boxes(baseline, reference)
    gain = np.zeros(draws.shape[:2])
    for cell in range(lower.shape[1]):
        low, high = lower[:, cell][:, None, :], upper[:, cell][:, None, :]
        gain += np.clip(np.minimum(draws, high) - low, 0.0, None).prod(axis=2)
    mean = gain.mean(axis=0)
    return np.asarray(np.log(mean + 1e-12 * max(1e-300, float(mean.max()))))


def _boxes(baseline: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return the boxes (each s x cells x k) that tile what no point of each draw's baseline dominates."""
    with warnings.catch_warnings():
        # BoTorch's import (2 s, so only where it is needed) trips over a deprecation inside torch.jit.
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch
        from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
        from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
    point = torch.tensor(reference)
    parts = [FastNondominatedPartitioning(point, Y=torch.tensor(outcomes)) for outcomes in baseline]
    lower, upper = (bound.numpy() for bound in BoxDecompositionList(*parts).get_hypercell_bounds())
    return lower, upper
