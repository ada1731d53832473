"""Compiled pieces of the full solver, on the scratch array of ``models.cell_jit``; reference: ``models.cell_pieces``.

A step, the electrode potential and its slope, the tridiagonal solve and Newton's update. The elimination runs from both
ends towards the middle: two short chains of dependent divisions instead of a long one.
"""

import math
from typing import Any

import numba

from models.cell_jit import (
    BASE,
    CM,
    DI,
    DL,
    DU,
    DX,
    GS,
    LO,
    PSI,
    RT,
    S1,
    TD,
    TL,
    TU,
    UP,
    WM,
    Y0,
    Y0M,
    Y1,
    Y1M,
    C,
    D,
    F,
    G,
    K,
    Q,
    R,
    S,
    W,
    X,
    bits,
    from_bits,
    jit,
    log,
)
from models.cell_ocv import END_V
from models.cell_scaled import MODE_WEIGHT


@jit
def coefficients(h: float, h_before: float, rate_0: float, rate_1: float, rest: float) -> Any:
    """BDF2 with a variable step: s = base + b w. Implicit Euler where there is no step before, identity at h = 0.

    Returns:
        a (new = (1 + a) now - a before + b w), b, decay of both modes g, slope B of s in w; and the derivatives of
        a, b, g along h.
    """
    ratio = h / h_before if h_before > 0.0 else 0.0
    q = 1.0 / (1.0 + 2.0 * ratio)
    a = ratio * ratio * q
    b = h * (1.0 + ratio) * q
    a_h = 2.0 * ratio * (1.0 + ratio) * q * q / h_before if h_before > 0.0 else 0.0
    b_h = (1.0 + ratio) * q - ratio * q * q
    g0 = 1.0 / (1.0 + b * rate_0)
    g1 = 1.0 / (1.0 + b * rate_1)
    slope = b * (1.0 + MODE_WEIGHT * (g0 + g1)) + rest
    return a, b, g0, g1, slope, a_h, b_h, -rate_0 * g0 * g0 * b_h, -rate_1 * g1 * g1 * b_h


@jit
def base(m: Any, n: int, a: float, g0: float, g1: float) -> None:
    """Surface lithiation that the step gives without any current."""
    for i in range(n):
        m[BASE + i] = (
            m[C + i] + a * (m[C + i] - m[CM + i])
            + g0 * (m[Y0 + i] + a * (m[Y0 + i] - m[Y0M + i]))
            + g1 * (m[Y1 + i] + a * (m[Y1 + i] - m[Y1M + i]))
        )  # fmt: skip


@jit
def into_bounds(m: Any, n: int, slope: float) -> None:
    """Where the guess leaves less than a tenth of the distance to a pole of the OCV, leave a tenth."""
    inverse = 1.0 / slope
    for i in range(n):
        s = m[BASE + i] + slope * m[X + i]
        near = 0.1 * m[S1 + i]
        bounded = min(max(s, near), 0.9 + near)
        m[X + i] = m[X + i] if bounded == s else (bounded - m[BASE + i]) * inverse


@jit
def linearise(m: Any, n: int, p: Any, slope: float, guard: float) -> None:
    """G, its slope D along w, and the tridiagonal system L psi = R T w + ..., all at the current guess of w.

    D keeps at least the share ``guard`` of its kinetic part: that matters only where BDF2's base lies beyond a pole.
    """
    resistance = p[0] + p[1]
    interface, start, fall, kinetic = p[3], p[4], p[5], p[6]
    four_i0 = 16.0 * p[7] * p[7]
    for i in range(n):
        w = m[X + i]
        s = m[BASE + i] + slope * w
        u = 1.0 - s
        r = 1.0 / (s * u)
        square = four_i0 * (s * u)
        root = math.sqrt(w * w + square)
        overpotential = kinetic * math.copysign(log((abs(w) + root) / math.sqrt(square)), w)
        sharp = kinetic / root
        inverse, inverse_u = u * r, s * r
        g_s = -fall - END_V * (inverse * inverse + inverse_u * inverse_u) + sharp * w * (u - s) * (0.5 * r)
        kinetic_d = -sharp - interface
        inverse_d = 1.0 / min(slope * g_s + kinetic_d, guard * kinetic_d)
        g = start - fall * s + END_V * (inverse - inverse_u) - overpotential - interface * w
        m[S + i] = s
        m[RT + i] = root
        m[G + i] = g
        m[GS + i] = g_s
        m[DI + i] = inverse_d
        m[K + i] = -resistance * inverse_d
        m[Q + i] = resistance * (w - g * inverse_d)
    for i in range(n):
        m[LO + i] = m[DL + i] - m[TL + i] * m[K + i - 1]
        m[UP + i] = m[DU + i] - m[TU + i] * m[K + i + 1]
        m[D + i] = m[DL + i] + m[DU + i] + m[TD + i] * m[K + i]


@jit
def transfer(m: Any, n: int) -> None:
    """Right side: T times the row q."""
    for i in range(n):
        m[R + i] = m[TL + i] * m[Q + i - 1] + m[TD + i] * m[Q + i] + m[TU + i] * m[Q + i + 1]


@jit
def solve_tridiagonal(m: Any, n: int) -> None:
    """Psi from -lo psi(i-1) + d psi(i) - up psi(i+1) = r, eliminated from both ends; n is even."""
    half = n // 2
    x = 1.0 / m[D]
    m[F] = m[UP] * x
    m[PSI] = m[R] * x
    z = 1.0 / m[D + n - 1]
    m[F + n - 1] = m[LO + n - 1] * z
    m[PSI + n - 1] = m[R + n - 1] * z
    for i in range(1, half):
        j = n - 1 - i
        lo, up = m[LO + i], m[UP + j]
        x = 1.0 / (m[D + i] - lo * m[F + i - 1])
        z = 1.0 / (m[D + j] - up * m[F + j + 1])
        m[F + i] = m[UP + i] * x
        m[PSI + i] = (m[R + i] + lo * m[PSI + i - 1]) * x
        m[F + j] = m[LO + j] * z
        m[PSI + j] = (m[R + j] + up * m[PSI + j + 1]) * z
    i, j = half - 1, half
    x = (m[PSI + i] + m[F + i] * m[PSI + j]) / (1.0 - m[F + i] * m[F + j])
    m[PSI + j] += m[F + j] * x
    m[PSI + i] = x
    for i in range(half - 2, -1, -1):
        j = n - 1 - i
        m[PSI + i] += m[F + i] * m[PSI + i + 1]
        m[PSI + j] += m[F + j] * m[PSI + j - 1]


@jit
def update(m: Any, n: int, slope: float, tolerance: float) -> bool:
    """Newton's step in w; true where the residual was within the tolerance (V) before it and the step was taken whole.

    A whole step keeps the sum of the currents exact: charge is balanced to rounding. Before that, a step must not
    overshoot: a growing |w| takes it as it is, a shrinking one takes it in the overpotential (w = a sinh v), with
    exp(-x) replaced by (1 + x/4)^-4, which stays on the safe side of the exponential. And a node may use up nine tenths
    of its distance to a pole of the OCV, no more.
    """
    worst = numba.int64(0)
    outside = numba.int64(0)
    for i in range(n):
        e = m[PSI + i] - m[G + i]
        worst = max(worst, bits(abs(e)))
        step = e * m[DI + i]
        m[DX + i] = step
        s = m[BASE + i] + slope * (m[X + i] + step)
        near = 0.1 * m[S + i]
        outside += 1 if s < near or s > 0.9 + near else 0
    if from_bits(worst) < tolerance and outside == 0:
        for i in range(n):
            m[X + i] += m[DX + i]
        return True
    inverse = 1.0 / slope
    for i in range(n):
        w, root, step = m[X + i], m[RT + i], m[DX + i]
        size, length = abs(w), abs(step)
        x = 1.0 + 0.25 * length / root
        x *= x
        x *= x
        y = 1.0 / x
        shrunk = max(0.5 * (size * (x + y) - root * (x - y)), size - length)
        w_new = w + step if step * w >= 0.0 else math.copysign(1.0, w) * shrunk
        near = 0.1 * m[S + i]
        s_new = m[BASE + i] + slope * w_new
        bounded = min(max(s_new, near), 0.9 + near)
        m[X + i] = w_new if bounded == s_new else (bounded - m[BASE + i]) * inverse
    return False


@jit
def voltage_of(psi_0: float, psi_n: float, w: Any, n: int, p: Any, sign: float, ends: Any) -> Any:
    """Terminal voltage: both boundary potentials, weighted by the resistance of the other carrier."""
    re, rs = p[0], p[1]
    r = re + rs
    first = psi_0 - sign * re * ends[0, 0] + r * (ends[0, 1] * w[0] + ends[0, 2] * w[1])
    last = psi_n - sign * rs * ends[1, 0] + r * (ends[1, 1] * w[n - 1] + ends[1, 2] * w[n - 2])
    return (re * first + rs * last - sign * re * rs) / r - sign * p[2]


@jit
def load(m: Any, n: int, bands: Any, state: Any, sign: float) -> None:
    """Fill the scratch array with a mesh and a start."""
    m[:] = 0.0
    for i in range(n):
        m[DL + i], m[DU + i] = bands[0, i], bands[1, i]
        m[TL + i], m[TD + i], m[TU + i] = bands[2, i], bands[3, i], bands[4, i]
        m[C + i] = m[CM + i] = state[0, i]
        m[Y0 + i] = m[Y0M + i] = state[1, i]
        m[Y1 + i] = m[Y1M + i] = state[2, i]
        m[W + i] = m[WM + i] = sign
        m[S1 + i] = state[0, i] + state[1, i] + state[2, i]
