"""What knowing better is worth: the knowledge gradient of measuring a recipe, tried or new.

    KG(j) = E_z[max_i (m_i + s_ij z)] - max_i m_i,    s_ij = cov_ij / sqrt(cov_jj + noise),    z ~ N(0, 1)

(Frazier, Powell & Dayanik 2009). Unlike expected improvement it gives a repetition of a noisy result its due. With several
objectives the best believed is the hypervolume under the front of the believed means (Daulton et al. 2023), as the mean over
directions of the k-th power of the front's distance (Zhang & Golovin 2020); what is added is told as a distance, in sd.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from scipy.stats import qmc

from surrogate.belief import Belief, apportion

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
NODES = ndtri((np.arange(24) + 0.5) / 24)
"""Equally likely values of z."""
DIRECTIONS = 32
"""In which a front is measured."""
SCENARIOS = 8
"""Of what a measurement may show of several objectives; each also with every objective turned round, so that none counts for
the chance company of another."""


NOTHING = 1e-9
"""Worth under which no repetition is worth more than another."""
LEAST_NOISE = 1e-8
"""Variance that a measurement is taken to have at least, for rounding."""
SERIES = (1, 4, 16, 64)
"""Repetitions of one recipe in a row that are weighed: one alone may change no mind where a few would (Frazier & Powell 2010)."""


def worth_of_knowing(belief: Belief, x: Floats) -> Floats:
    """Return for each of m recipes what one more measurement of it would add to the best believed outcome."""
    return _worth(belief, *belief.joint(x), belief.typical_noise_variance)


def worth_with_pending(belief: Belief, x: Floats, pending: Floats) -> Floats:
    """Return for each of m recipes what a measurement in a series of it would add on average, be it a series of one.

    What is under way (k recipes, one a measurement) counts as measured.
    """
    mean, cov = belief.joint(np.vstack([x, pending]))
    m, noise = len(x), np.maximum(belief.typical_noise_variance, LEAST_NOISE)
    if len(pending):
        ahead = cov[:, m:, m:] + noise[:, None, None] * np.eye(len(pending))
        cross = cov[:, :m, m:]
        cov = cov[:, :m, :m] - cross @ np.linalg.solve(ahead, cross.swapaxes(1, 2))
    series = [_worth(belief, mean[:, :m], cov, noise / times) / times for times in SERIES]
    return np.asarray(np.max(series, axis=0))


def _worth(belief: Belief, means: Floats, covariances: Floats, noises: Floats) -> Floats:
    total = np.zeros(means.shape[1])
    for weight, mean, cov, noise in zip(belief.weights, means, covariances, noises, strict=True):
        shift = cov / np.sqrt(np.diagonal(cov) + noise)  # column j: what measuring j moves
        best = np.stack([(mean[:, None] + shift * z).max(axis=0) for z in NODES]).mean(axis=0)
        total += weight * (best - mean.max())
    return np.asarray(np.maximum(total, 0.0))


def worth_for_front(sides: Sequence[Belief | Floats], losses: Sequence[Floats], x: Floats, counts: Flags) -> Floats:
    """Return for each of m recipes what one more measurement of it would add to the front of k objectives.

    Args:
        sides: belief about each objective, or m values of one that is known, on a scale of its own sd; larger is better.
        losses: m each, taken off the beliefs' means.
        x: m x p encoded recipes.
        counts: which of them may stand on the front.
    """
    rng = np.random.default_rng(0)
    normals = ndtri(qmc.LatinHypercube(len(sides), scramble=False, rng=rng).random(SCENARIOS))
    means, shifts = [], []
    for side, loss in zip(sides, losses, strict=True):
        if not isinstance(side, Belief):
            means.append(np.tile(side, (SCENARIOS, 1)))
            shifts.append(np.zeros((SCENARIOS, len(x), len(x))))
            continue
        part = np.repeat(np.arange(len(side.weights)), apportion(torch.from_numpy(side.weights), SCENARIOS))
        part = rng.permutation(part)  # each belief's parts in their shares, whatever the others' are
        mean, cov = side.joint(x)
        shift = cov / np.sqrt(np.diagonal(cov, axis1=1, axis2=2) + side.typical_noise_variance[:, None])[:, None]
        means.append(mean[part] - loss)
        shifts.append(shift[part])
    low = np.array([mean[:, counts].mean(axis=0).min() for mean in means])
    rays = np.abs(ndtri(qmc.LatinHypercube(len(sides), scramble=False, rng=rng).random(DIRECTIONS)))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)

    def power(values: list[Floats]) -> Floats:
        """Values: k times r x n of r recipes in n cases; mean k-th power of the front's distance in each case."""
        along = [(v - at)[..., None] / ray for v, at, ray in zip(values, low, rays.T, strict=True)]
        return np.asarray(
            (np.minimum.reduce(np.broadcast_arrays(*along)).max(axis=0).clip(0.0) ** len(sides)).mean(axis=-1)
        )

    turns = list(itertools.product(*((1.0, -1.0) if isinstance(side, Belief) else (1.0,) for side in sides)))
    total = np.zeros(len(x))
    for s, z in enumerate(normals):
        now = [mean[s, counts][:, None] for mean in means]
        before = power(now)
        moves = [
            shift[s, counts] * each for shift, each in zip(shifts, z, strict=True)
        ]  # column j: what measuring j moves
        # What a k-th power gains, as the distance that gains it.
        unit = len(turns) * len(sides) * np.maximum(before, 1e-12) ** (1.0 - 1.0 / len(sides))
        for turn in turns:
            total += (power([at + t * move for at, t, move in zip(now, turn, moves, strict=True)]) - before) / unit
    return np.maximum(total / SCENARIOS, 0.0)
