"""Levenberg-Marquardt for many fits at once: every start, or every left-out mix, is a lane of one batch.

    minimise 1/2 sum_i w_i r_i(z)^2 + 1/2 |z|^2,   z <- z - (J' W J + I + lambda I)^-1 (J' W r + z)

Each lane has its own damping and accepts its own steps. Steps are found with differences, which all lanes take together;
the curvature J' W J + I of the Laplace approximation comes from autograd (`laplace`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

Residuals = Callable[[Tensor], Tensor]
"""(lanes, p) -> (lanes, r)."""

_MOST_ITERATIONS = 60
_WIDEST = 640
"""Lanes evaluated at once: bounds the memory."""

_STEP = 1e-6
_STUCK = 1e4

_GAIN = 1e-3
"""A lane is done when a step gains less than this in its objective (units of log likelihood)."""


@dataclass(frozen=True)
class Fit:
    """Result of each lane: z (lanes, p), Gauss-Newton covariance (lanes, p, p), objective (lanes,)."""

    z: Tensor
    covariance: Tensor
    objective: Tensor


def jacobian(residuals: Residuals, z: Tensor) -> Tensor:
    """D r / d z by forward-mode autograd, (lanes, r, p): exact, each direction a lane of its own."""
    lanes, p = z.shape
    along = torch.eye(p, dtype=z.dtype, device=z.device).repeat(lanes, 1)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(z.repeat_interleave(p, 0), along)  # type: ignore[no-untyped-call]
        slope = forward_ad.unpack_dual(residuals(dual)).tangent  # type: ignore[no-untyped-call]
    if slope is None:
        raise ValueError("the residuals do not depend on the parameters")
    columns: Tensor = slope.reshape(lanes, p, -1).transpose(1, 2)
    return columns


def differences(residuals: Residuals, z: Tensor, r: Tensor) -> Tensor:
    """The same by forward differences: ten times cheaper, good enough to find a step (its error is of order 1e-6)."""
    p = z.shape[1]
    step = _STEP * torch.eye(p, dtype=z.dtype, device=z.device)
    wide = max(1, _WIDEST // p)
    parts = []
    for begin in range(0, len(z), wide):
        some, at = z[begin : begin + wide], r[begin : begin + wide]
        moved = residuals((some[:, None] + step).reshape(-1, p)).reshape(len(some), p, -1)
        parts.append(((moved - at[:, None]) / _STEP).transpose(1, 2))
    return torch.cat(parts)


def fit(residuals: Residuals, start: Tensor, *, weight: Tensor) -> Fit:
    """Minimise every lane.

    Args:
        residuals: batched residuals without the prior.
        start: (lanes, p).
        weight: (lanes, r), 0 leaves a residual out of a lane.
    """
    z, r = start.clone(), residuals(start)
    objective = _objective(r, z, weight)
    damping = torch.ones(len(z), 1, 1, dtype=z.dtype)
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    open_lanes = torch.arange(len(z))
    for _ in range(_MOST_ITERATIONS):
        k = open_lanes
        trial = z[k] + _step(differences(residuals, z[k], r[k]), r[k], z[k], weight[k], damping[k])
        r_trial = residuals(trial)
        new = _objective(r_trial, trial, weight[k])
        better = torch.isfinite(new) & (new < objective[k])
        gain = torch.where(better, objective[k] - new, torch.zeros_like(new))
        z[k] = torch.where(better[:, None], trial, z[k])
        r[k] = torch.where(better[:, None], r_trial, r[k])
        objective[k] = objective[k] - gain
        damping[k] = (damping[k] * torch.where(better, 0.2, 6.0)[:, None, None]).clamp(1e-6, 1e6)
        done = (better & (gain < _GAIN)) | (~better & (damping[k, 0, 0] > _STUCK))
        open_lanes = k[~done]
        if not len(open_lanes):
            break
    jac = differences(residuals, z, r)
    curvature = (jac * weight[..., None]).transpose(1, 2) @ jac + eye
    return Fit(z, torch.linalg.inv(curvature), objective)


def _step(jac: Tensor, r: Tensor, z: Tensor, weight: Tensor, damping: Tensor) -> Tensor:
    """A damped Gauss-Newton step, no coordinate moving more than three prior widths."""
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    weighted = (jac * weight[..., None]).transpose(1, 2)
    downhill = (weighted @ r[..., None])[..., 0] + z
    step = torch.linalg.solve(weighted @ jac + (1 + damping) * eye, -downhill[..., None])[..., 0]
    shortened: Tensor = step * (3.0 / step.abs().amax(1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
    return shortened


def laplace(residuals: Residuals, z: Tensor, *, weight: Tensor) -> Tensor:
    """Covariance (p, p) of the Laplace approximation at one mode z (p,), its Jacobian from autograd."""
    jac = jacobian(residuals, z[None])[0]
    curvature = (jac * weight[:, None]).T @ jac + torch.eye(len(z), dtype=z.dtype)
    covariance: Tensor = torch.linalg.inv(curvature)
    return covariance


def _objective(r: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    return 0.5 * (weight * r**2).sum(-1) + 0.5 * (z**2).sum(-1)
