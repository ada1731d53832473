"""Levenberg-Marquardt for many fits at once: every start, or every left-out mix, is a lane of one batch.

    minimise 1/2 |A r(z)|^2 + 1/2 |z|^2,   z <- z - (J' A' A J + (1 + lambda) I)^-1 (J' A' A r + z)

A is a root of the precision of a lane's residuals (zero for those that are left out). Each lane has its own damping and
accepts its own steps. Steps are found with differences, which all lanes take together; the curvature of the Laplace
approximation takes its Jacobian from autograd (`jacobian`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
    """Result of each lane: z (lanes, p), D r / d z (lanes, r, p), objective (lanes,)."""

    z: Tensor
    jacobian: Tensor
    objective: Tensor


def jacobian(residuals: Residuals, z: Tensor) -> Tensor:
    """D r / d z at one point z (p,) by autograd, (r, p): each residual has a lane of its own, so one backward gives all."""
    rows = residuals(z[None]).shape[1]
    lanes = z.detach().repeat(rows, 1).requires_grad_()
    (slope,) = torch.autograd.grad(residuals(lanes).diagonal().sum(), lanes)
    return slope


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


def fit(residuals: Residuals, start: Tensor, *, root: Tensor) -> Fit:
    """Minimise every lane.

    A lane's Jacobian is kept up to date by Broyden's rank-one update and is taken anew where a step fails or before the lane
    is called done, so that most steps cost one evaluation. Lanes that start at one point share their first Jacobian.

    Args:
        residuals: batched residuals without the prior.
        start: (lanes, p).
        root: A of each lane, (lanes, r, r).
    """
    z, r = start.clone(), residuals(start)
    objective = _objective(r, z, root)
    damping = torch.full((len(z),), 0.1, dtype=z.dtype)
    points, which = torch.unique(start, dim=0, return_inverse=True)
    jac = differences(residuals, points, residuals(points))[which]
    fresh = torch.ones(len(z), dtype=torch.bool)
    k = torch.arange(len(z))
    for _ in range(_MOST_ITERATIONS):
        step = _step(jac[k], r[k], z[k], root[k], damping[k])
        moved = residuals(z[k] + step)
        new = _objective(moved, z[k] + step, root[k])
        better = torch.isfinite(new) & (new < objective[k])
        settled = torch.where(better, objective[k] - new, torch.zeros_like(new)) < _GAIN
        done = settled & fresh[k] & (better | (damping[k] > _STUCK))
        gone, went = k[better], step[better]
        jac[gone] += _broyden(jac[gone], moved[better] - r[gone], went)
        z[gone], r[gone], objective[gone] = z[gone] + went, moved[better], new[better]
        damping[k] = torch.where(better, damping[k] * 0.2, torch.where(fresh[k], damping[k] * 6, damping[k])).clamp(
            1e-6
        )
        again = k[settled & ~fresh[k]]
        fresh[gone] = False
        if len(again):
            jac[again] = differences(residuals, z[again], r[again])
            fresh[again] = True
        k = k[~done]
        if not len(k):
            break
    return Fit(z, differences(residuals, z, r), objective)


def _broyden(jac: Tensor, dr: Tensor, dz: Tensor) -> Tensor:
    """Least change of a Jacobian that makes it agree with the step just taken."""
    missing = dr - (jac @ dz[..., None])[..., 0]
    change: Tensor = missing[..., :, None] * dz[..., None, :] / (dz**2).sum(-1)[..., None, None].clamp(min=1e-30)
    return change


def _step(jac: Tensor, r: Tensor, z: Tensor, root: Tensor, damping: Tensor) -> Tensor:
    """A damped Gauss-Newton step, no coordinate moving more than three prior widths."""
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    white = root @ jac
    downhill = (white.transpose(1, 2) @ (root @ r[..., None]))[..., 0] + z
    lifted = white.transpose(1, 2) @ white + (1 + damping)[:, None, None] * eye
    step = torch.linalg.solve(lifted, -downhill[..., None])[..., 0]
    shortened: Tensor = step * (3.0 / step.abs().amax(1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
    return shortened


def covariance(jac: Tensor, root: Tensor) -> Tensor:
    """Covariance of the Laplace approximation from D r / d z (..., r, p) at a mode, (..., p, p)."""
    white = root @ jac
    eye = torch.eye(jac.shape[-1], dtype=jac.dtype)
    inverse: Tensor = torch.linalg.inv(white.transpose(-1, -2) @ white + eye)
    return inverse


def _objective(r: Tensor, z: Tensor, root: Tensor) -> Tensor:
    return 0.5 * (root @ r[..., None])[..., 0].square().sum(-1) + 0.5 * (z**2).sum(-1)
