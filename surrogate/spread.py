"""Kernels that the data allow besides the best one: one fit alone is too sure of itself while data are few.

The density of the parameters is taken as normal about its peak (Laplace), points are drawn from it (a little wider), and
each is weighted by the density that it really has over that of the normal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surrogate.process import Process, hyperprior

WIDER = 1.2
"""Parameters are drawn this much wider than the normal approximation of their density [est]."""
MOST_WEIGHT = 0.5
"""No single point may outweigh all others: with few points such a weight is chance."""
STEP = 1e-3


def around(process: Process, normals: Tensor) -> tuple[Process, Tensor, Tensor]:
    """Return processes with other parameters that the data allow, their weights, and the log evidence of each share.

    Args:
        process: fitted, with s shares.
        normals: s x t x parameters standard normals.

    Returns:
        A process with s (1 + t) parts, share by share; weights s x (1 + t), 1 over each share; s log evidences.
    """
    centre, spread = hyperprior(process.layout, process.data.log_noise)
    peak, rho2 = process.logs, process.rho2
    root, log_volume = _root_covariance(process, spread)
    steps = torch.cat([torch.zeros_like(normals[:, :1]), normals], dim=1)
    moves = (WIDER * steps @ root.mT).clamp(-3.0 * spread, 3.0 * spread)  # s x (1 + t) x parameters
    logs = (peak[:, None, :] + moves).clamp(centre - 4.0 * spread, centre + 4.0 * spread)
    parts = process.moved(logs.flatten(0, 1), rho2.repeat_interleave(steps.shape[1]))
    density = parts.log_density(slopes=False)[0].view(len(rho2), -1)
    weights = torch.softmax(density + 0.5 * steps.square().sum(-1), dim=1).clamp_max(MOST_WEIGHT)
    return parts, weights / weights.sum(1, keepdim=True), density[:, 0] + log_volume


def _root_covariance(process: Process, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Return roots of the inverse curvature at the peaks (never wider than the priors) and the logs of their volume."""
    eye = STEP * torch.eye(len(spread), dtype=spread.dtype)
    moves = torch.cat([eye, -eye])
    moved = process.moved((process.logs + moves[:, None]).flatten(0, 1), process.rho2.repeat(len(moves)))
    ahead, behind = torch.cat(moved.log_density()[1], dim=1).view(2, len(spread), len(process.rho2), -1)
    curvature = ((behind - ahead) / (2.0 * STEP)).movedim(0, 1)  # s x parameters x parameters
    scaled = 0.5 * (curvature + curvature.mT) * spread[:, None] * spread
    values, vectors = torch.linalg.eigh(scaled)
    values = values.clamp_min(1.0)
    # The symmetric root: which eigenvectors stand for directions that the data leave alike is decided by rounding alone.
    root = spread[:, None] * (vectors / values.sqrt()[:, None, :]) @ vectors.mT
    return root, spread.log().sum() - 0.5 * values.log().sum(1)
