"""Gradient of a half-cycle on its accepted steps, compiled: the adjoint of the march, step by step backwards.

Every accepted step solved F = L psi - R T w + boundary = 0 with psi = G(s, w) and s = base(state before) + B w. By the
implicit function theorem its adjoint is one linear system with the transposed Newton matrix, (L + K T^T) lambda = ...,
at the recorded currents: no Newton iteration is repeated, and no step but the last one moves. The last ends where
V = V_cut, so its length h is a function too; the multiplier of that condition makes the derivative along h vanish.
"""

from typing import Any

import numpy as np

from models import cell_jit
from models.cell_jit import (
    CM,
    DI,
    DL,
    DU,
    GS,
    LO,
    PSI,
    RT,
    STRIDE,
    TD,
    TL,
    TU,
    UP,
    Y0,
    Y0M,
    Y1,
    Y1M,
    C,
    G,
    K,
    R,
    S,
    X,
    jit,
)  # fmt: skip
from models.cell_kernel import base, coefficients, linearise, load, solve_tridiagonal
from models.cell_ocv import END_V
from models.cell_scaled import MODE_RATES, MODE_REST, MODE_WEIGHT
from models.cell_steps import CUTOFF, NO_CAPACITY

_RATE_0, _RATE_1 = MODE_RATES

# Rows beyond those of the march: cotangents of the state after this step and after the one before (each:
# lithiation and both modes), of the electrode potential and of the surface lithiation.
AC, A0, A1, BC, B0, B1, PB, SB = (cell_jit.SIZE + row * STRIDE + 1 for row in range(8))
SIZE = cell_jit.SIZE + 8 * STRIDE


@jit
def _restore(m: Any, n: int, history: Any, k: int, current: Any) -> None:
    """State one and two steps back, and the current of step k."""
    for i in range(n):
        m[C + i], m[Y0 + i], m[Y1 + i] = history[k, 0, i], history[k, 1, i], history[k, 2, i]
        m[X + i] = current[i]
    before = max(k - 1, 0)
    for i in range(n):
        m[CM + i], m[Y0M + i], m[Y1M + i] = history[before, 0, i], history[before, 1, i], history[before, 2, i]


@jit
def _advance(m: Any, n: int, a: float, b: float, g0: float, g1: float, after: Any) -> None:
    for i in range(n):
        w = m[X + i]
        after[0, i] = m[C + i] + a * (m[C + i] - m[CM + i]) + b * w
        after[1, i] = g0 * (m[Y0 + i] + a * (m[Y0 + i] - m[Y0M + i]) + MODE_WEIGHT * b * w)
        after[2, i] = g1 * (m[Y1 + i] + a * (m[Y1 + i] - m[Y1M + i]) + MODE_WEIGHT * b * w)


@jit
def _cotangents(m: Any, n: int, p: Any, ends: Any, b: float, g0: float, g1: float, on_voltage: float) -> None:
    """Rows lambda (in PSI), cotangents of the potential (PB) and of the surface lithiation (SB) for one step."""
    re, rs = p[0], p[1]
    r = re + rs
    for i in range(n):
        own = b * m[AC + i] + MODE_WEIGHT * b * (g0 * m[A0 + i] + g1 * m[A1 + i])
        m[R + i] = -own * m[DI + i]
        # transposed bands
        m[LO + i] = m[DL + i] - m[TU + i - 1] * m[K + i]
        m[UP + i] = m[DU + i] - m[TL + i + 1] * m[K + i]
    last = n - 1
    m[R] -= on_voltage * (re / r + re * ends[0, 1] * m[DI])
    m[R + 1] -= on_voltage * re * ends[0, 2] * m[DI + 1]
    m[R + last] -= on_voltage * (rs / r + rs * ends[1, 1] * m[DI + last])
    m[R + last - 1] -= on_voltage * rs * ends[1, 2] * m[DI + last - 1]
    solve_tridiagonal(m, n)
    m[PSI - 1] = 0.0
    m[PSI + n] = 0.0
    for i in range(n):
        x = m[PSI + i]
        m[PB + i] = m[DL + i] * (x - m[PSI + i - 1]) + m[DU + i] * (x - m[PSI + i + 1])
    m[PB] += on_voltage * re / r
    m[PB + last] += on_voltage * rs / r
    for i in range(n):
        m[SB + i] = m[PB + i] * m[GS + i]


@jit
def _along_step(
    m: Any, n: int, a: float, b: float, g0: float, g1: float, a_h: float, b_h: float, g0_h: float, g1_h: float
) -> float:
    """Derivative of everything along the length of the step, currents fixed."""
    total = 0.0
    for i in range(n):
        w, s = m[X + i], m[SB + i]
        d0, d1 = m[Y0 + i] - m[Y0M + i], m[Y1 + i] - m[Y1M + i]
        total += (m[AC + i] + s) * (a_h * (m[C + i] - m[CM + i]) + b_h * w)
        y0_h = g0_h * (m[Y0 + i] + a * d0 + MODE_WEIGHT * b * w) + g0 * (a_h * d0 + MODE_WEIGHT * b_h * w)
        y1_h = g1_h * (m[Y1 + i] + a * d1 + MODE_WEIGHT * b * w) + g1 * (a_h * d1 + MODE_WEIGHT * b_h * w)
        total += (m[A0 + i] + s) * y0_h + (m[A1 + i] + s) * y1_h
    return total


@jit
def _parameters(
    m: Any, n: int, p: Any, sign: float, ends: Any, on_voltage: float, b: float, g0: float, g1: float,
    after: Any, out: Any,
) -> None:  # fmt: skip
    """Add what one step gives to the cotangents of the scaled design."""
    re, rs = p[0], p[1]
    r = re + rs
    last = n - 1
    transferred = start = fall = kinetic = exchange = interface = rest = rate_0 = rate_1 = 0.0
    for i in range(n):
        w, s, pb = m[X + i], m[S + i], m[PB + i]
        transferred -= m[PSI + i] * (m[TL + i] * m[X + i - 1] + m[TD + i] * w + m[TU + i] * m[X + i + 1])
        overpotential = p[4] - p[5] * s + END_V * (1.0 / s - 1.0 / (1.0 - s)) - p[3] * w - m[G + i]
        start += pb
        fall -= pb * s
        kinetic -= pb * overpotential / p[6]
        exchange += pb * p[6] * w / (m[RT + i] * p[7])
        interface -= pb * w
        rest += m[SB + i] * w
        rate_0 -= (m[A0 + i] + m[SB + i]) * b * g0 * after[1, i]
        rate_1 -= (m[A1 + i] + m[SB + i]) * b * g1 * after[2, i]
    inner = ends[0, 1] * m[X] + ends[0, 2] * m[X + 1]
    outer = ends[1, 1] * m[X + last] + ends[1, 2] * m[X + last - 1]
    first_V = m[G] - sign * re * ends[0, 0] + r * inner
    last_V = m[G + last] - sign * rs * ends[1, 0] + r * outer
    mean_V = (re * first_V + rs * last_V - sign * re * rs) / r
    out[0] += (
        transferred
        + sign * m[PSI]
        + on_voltage / r * (first_V + re * (inner - sign * ends[0, 0]) + rs * outer - sign * rs - mean_V)
    )
    out[1] += (
        transferred
        + sign * m[PSI + last]
        + on_voltage / r * (last_V + rs * (outer - sign * ends[1, 0]) + re * inner - sign * re - mean_V)
    )
    out[2] -= on_voltage * sign
    out[3] += interface
    out[4] += start
    out[5] += fall
    out[6] += kinetic
    out[7] += exchange
    out[8] += MODE_REST * rest - (rate_0 * _RATE_0 + rate_1 * _RATE_1) / (p[8] * p[8])


@jit
def _back(m: Any, n: int, a: float, g0: float, g1: float) -> None:
    """Cotangents of the two states before, from those of this step; then one step down."""
    for i in range(n):
        c = m[AC + i] + m[SB + i]
        y0 = g0 * (m[A0 + i] + m[SB + i])
        y1 = g1 * (m[A1 + i] + m[SB + i])
        m[AC + i], m[BC + i] = m[BC + i] + (1.0 + a) * c, -a * c
        m[A0 + i], m[B0 + i] = m[B0 + i] + (1.0 + a) * y0, -a * y0
        m[A1 + i], m[B1 + i] = m[B1 + i] + (1.0 + a) * y1, -a * y1


@jit
def adjoint_one(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, steps: int, status: int, charge: Any, current: Any,
    on_voltage: Any, on_charge: float, on_state: Any, out: Any, out_state: Any,
) -> None:  # fmt: skip
    """Cotangents of one scaled design and of its start, from those of its voltages, its charge and its end."""
    n = state.shape[1]
    m = np.empty(SIZE)
    load(m, n, bands, state, sign)
    rate_0, rate_1, rest = _RATE_0 / p[8], _RATE_1 / p[8], MODE_REST * p[8]
    # states before and after every step; entry k + 1 is the state after step k
    history = np.empty((steps + 2, 3, n))
    history[0] = state
    for k in range(steps + 1):
        h = charge[k] - charge[k - 1] if k > 0 else 0.0
        h_before = charge[k - 1] - charge[k - 2] if k > 1 else 0.0
        _restore(m, n, history, k, current[k])
        a, b, g0, g1, _, _, _, _, _ = coefficients(h, h_before, rate_0, rate_1, rest)
        _advance(m, n, a, b, g0, g1, history[k + 1])
    for i in range(n):
        m[AC + i], m[A0 + i], m[A1 + i] = on_state[0, i], on_state[1, i], on_state[2, i]
    for k in range(steps, -1, -1):
        h = charge[k] - charge[k - 1] if k > 0 else 0.0
        h_before = charge[k - 1] - charge[k - 2] if k > 1 else 0.0
        _restore(m, n, history, k, current[k])
        a, b, g0, g1, slope, a_h, b_h, g0_h, g1_h = coefficients(h, h_before, rate_0, rate_1, rest)
        base(m, n, a, g0, g1)
        linearise(m, n, p, slope, 0.0)
        v = on_voltage[k]
        if k == steps and status == CUTOFF:
            out[9] += v  # the last voltage is the cut-off itself
            _cotangents(m, n, p, ends, b, g0, g1, 0.0)
            free = _along_step(m, n, a, b, g0, g1, a_h, b_h, g0_h, g1_h)
            _cotangents(m, n, p, ends, b, g0, g1, 1.0)
            v = -(on_charge + free) / (_along_step(m, n, a, b, g0, g1, a_h, b_h, g0_h, g1_h) - free)
            out[9] -= v
        _cotangents(m, n, p, ends, b, g0, g1, v)
        _parameters(m, n, p, sign, ends, v, b, g0, g1, history[k + 1], out)
        _back(m, n, a, g0, g1)
    for i in range(n):
        # both accumulators: the start is also what BDF2 would see one step before it
        out_state[0, i] = m[AC + i] + m[BC + i]
        out_state[1, i] = m[A0 + i] + m[B0 + i]
        out_state[2, i] = m[A1 + i] + m[B1 + i]


@jit
def adjoint_many(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, steps: Any, status: Any, charge: Any, first: Any,
    current: Any, on_voltage: Any, on_charge: Any, on_state: Any, out: Any, out_state: Any,
) -> None:  # fmt: skip
    """Every design of a block; ``first`` is each one's first row in ``current``."""
    for i in range(p.shape[0]):
        if status[i] == NO_CAPACITY:
            out_state[i] = on_state[i]
        else:
            adjoint_one(
                p[i], sign, state[i], bands[i], ends[i], steps[i], status[i], charge[i],
                current[first[i] : first[i] + steps[i] + 1], on_voltage[i], on_charge[i], on_state[i],
                out[i], out_state[i],
            )  # fmt: skip
