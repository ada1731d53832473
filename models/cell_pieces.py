"""The full solver's pieces in torch: step coefficients, electrode potential, tridiagonal systems, terminal voltage.

Arrays are (nodes, lanes): a lane is one design. Formulas as in ``models.cell_kernel``; derivation: docs/cell_solver.md.
Rows of a scaled design are those of ``cell_scaled.COLUMNS``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.cell_ocv import END_V
from models.cell_scaled import MODE_RATES, MODE_REST, MODE_WEIGHT


class Coefficients(NamedTuple):
    """One step of BDF2: new = now + a (now - before) + b w for the mean lithiation, g (...) for the modes.

    Each is (lanes,), ``g`` (2, lanes); ``slope`` is ds/dw. ``*_h`` are derivatives along the step h.
    """

    a: Tensor
    b: Tensor
    g: Tensor
    slope: Tensor
    a_h: Tensor
    b_h: Tensor
    g_h: Tensor


def coefficients(h: Tensor, h_before: Tensor, lag: Tensor) -> Coefficients:
    """Coefficients of a step h after a step ``h_before`` (0: none, implicit Euler); h = 0 is the consistent start."""
    first = h_before <= 0.0
    safe = torch.where(first, torch.ones_like(h), h_before)
    ratio = torch.where(first, torch.zeros_like(h), h / safe)
    q = 1.0 / (1.0 + 2.0 * ratio)
    b = h * (1.0 + ratio) * q
    rates = torch.tensor(MODE_RATES, dtype=h.dtype, device=h.device)[:, None] / lag
    g = 1.0 / (1.0 + b * rates)
    b_h = (1.0 + ratio) * q - ratio * q * q
    return Coefficients(
        a=ratio * ratio * q,
        b=b,
        g=g,
        slope=b * (1.0 + MODE_WEIGHT * g.sum(0)) + MODE_REST * lag,
        a_h=2.0 * ratio * (1.0 + ratio) * q * q / safe,
        b_h=b_h,
        g_h=-rates * g * g * b_h,
    )


def advance(now: Tensor, before: Tensor, w: Tensor, c: Coefficients) -> Tensor:
    """Lithiation and modes (3, nodes, lanes) after a step with the local currents w (nodes, lanes)."""
    moved = now + c.a * (now - before)
    modes = c.g[:, None] * (moved[1:] + MODE_WEIGHT * c.b * w)
    return torch.cat([(moved[0] + c.b * w)[None], modes])


def base(now: Tensor, before: Tensor, c: Coefficients) -> Tensor:
    """Surface lithiation after a step without current: s = base + slope w."""
    moved = now + c.a * (now - before)
    return moved[0] + (c.g[:, None] * moved[1:]).sum(0)


def advance_along(now: Tensor, before: Tensor, w: Tensor, c: Coefficients) -> Tensor:
    """Derivative of ``advance`` along the step h at fixed currents, (3, nodes, lanes)."""
    difference = now - before
    modes = c.g_h[:, None] * (now[1:] + c.a * difference[1:] + MODE_WEIGHT * c.b * w)
    modes = modes + c.g[:, None] * (c.a_h * difference[1:] + MODE_WEIGHT * c.b_h * w)
    return torch.cat([(c.a_h * difference[0] + c.b_h * w)[None], modes])


class Potential(NamedTuple):
    """G(s, w) and what Newton needs of it, each (nodes, lanes)."""

    g: Tensor
    g_s: Tensor
    g_w: Tensor
    root: Tensor


def potential(s: Tensor, w: Tensor, p: Tensor) -> Potential:
    """Electrode potential at surface lithiation s and local current w: OCV less overpotential and interface drop.

    G = U(s) - kinetic asinh(w / (4 exchange sqrt(s (1 - s)))) - interface w; ``root`` is the width of the asinh.
    """
    interface, start, fall, kinetic, exchange = p[3], p[4], p[5], p[6], p[7]
    u = 1.0 - s
    product = s * u
    r = 1.0 / product
    square = 16.0 * exchange**2 * product
    root = torch.sqrt(w * w + square)
    sharp = kinetic / root
    overpotential = kinetic * torch.copysign(torch.log((w.abs() + root) / torch.sqrt(square)), w)
    g = start - fall * s + END_V * (u * r - s * r) - overpotential - interface * w
    g_s = -fall - END_V * ((u * r) ** 2 + (s * r) ** 2) + sharp * w * (u - s) * (0.5 * r)
    return Potential(g, g_s, -sharp - interface, root)


def apply_transfer(q: Tensor, bands: Tensor) -> Tensor:
    """T q for a row of nodes; ``bands`` is (5, nodes, lanes)."""
    out = bands[3] * q
    out[1:] += bands[2, 1:] * q[:-1]
    out[:-1] += bands[4, :-1] * q[1:]
    return out


def system(k: Tensor, bands: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lower, diagonal and upper band of L + T diag(k)."""
    lower, upper = -bands[0], -bands[1]
    lower[1:] += bands[2, 1:] * k[:-1]
    upper[:-1] += bands[4, :-1] * k[1:]
    return lower, bands[0] + bands[1] + bands[3] * k, upper


def solve_tridiagonal(lower: Tensor, diagonal: Tensor, upper: Tensor, right: Tensor) -> Tensor:
    """Solution of tridiagonal systems by parallel cyclic reduction: a few wide operations instead of many narrow ones.

    Args:
        lower: (nodes, lanes), its first row is zero.
        diagonal: (nodes, lanes).
        upper: (nodes, lanes), its last row is zero.
        right: right sides, (..., nodes, lanes).
    """
    n = diagonal.shape[0]
    stride = 1
    while stride < n:
        alpha = -lower[stride:] / diagonal[:-stride]
        gamma = -upper[:-stride] / diagonal[stride:]
        new_diagonal, new_right = diagonal.clone(), right.clone()
        new_lower, new_upper = torch.zeros_like(lower), torch.zeros_like(upper)
        new_diagonal[stride:] += alpha * upper[:-stride]
        new_diagonal[:-stride] += gamma * lower[stride:]
        new_right[..., stride:, :] += alpha * right[..., :-stride, :]
        new_right[..., :-stride, :] += gamma * right[..., stride:, :]
        new_lower[stride:] = alpha * lower[:-stride]
        new_upper[:-stride] = gamma * upper[stride:]
        lower, diagonal, upper, right = new_lower, new_diagonal, new_upper, new_right
        stride *= 2
    return right / diagonal


def terminal_voltage(psi: Tensor, w: Tensor, p: Tensor, sign: float, ends: Tensor) -> Tensor:
    """Voltage of the cell, (lanes,): both boundary potentials, weighted by the resistance of the other carrier.

    Args:
        psi: potential at the nodes, (nodes, lanes).
        w: local currents.
        p: scaled designs, (10, lanes).
        sign: +1 discharge, -1 charge; 0 leaves the part that is linear in psi and w.
        ends: ``Mesh.ends`` with the lane last, (2, 3, lanes).
    """
    re, rs = p[0], p[1]
    r = re + rs
    first = psi[0] - sign * re * ends[0, 0] + r * (ends[0, 1] * w[0] + ends[0, 2] * w[1])
    last = psi[-1] - sign * rs * ends[1, 0] + r * (ends[1, 1] * w[-1] + ends[1, 2] * w[-2])
    return (re * first + rs * last - sign * re * rs) / r - sign * p[2]
