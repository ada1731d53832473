"""The full solver's march, one design at a time, compiled by numba: the fast path on a CPU.

Same equations, steps and decisions as the reference in ``models.cell_torch`` (see docs/cell_solver.md for both).
What is particular here:

* One flat scratch array per design holds every vector, each in a row of ``_STRIDE`` numbers. Rows at constant
  distances of one array are what lets LLVM prove that the loops over nodes may be vectorised. The first slot of a row
  stays zero, so that the neighbour of the first node can be read.
* ``_log`` is fdlibm's logarithm written without branches: the one transcendental of a Newton iteration (asinh),
  vectorised without a vector library. A maximum is taken over bit patterns, which vectorises and catches NaN.
* The tridiagonal elimination runs from both ends towards the middle: two short chains instead of a long one.
"""

import math
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from models.cell_ocv import END_V
from models.cell_scaled import MODE_RATES, MODE_REST, MODE_WEIGHT
from models.cell_steps import (
    CUTOFF,
    END_CHANGE,
    END_LIMIT,
    END_RESIDUAL_V,
    FIRST_STEP,
    LARGEST_STEP,
    MOST_STEPS,
    NEWTON_LIMIT,
    NO_CAPACITY,
    SMALLEST_STEP,
    START_LIMIT,
    STEP_LIMIT,
    VOLTAGE_STEP,
)

MAX_NODES: Final = 62
_STRIDE: Final = MAX_NODES + 2
_DELTA: Final = END_V
_RATE_0, _RATE_1 = MODE_RATES
_REST: Final = MODE_REST
_MW: Final = MODE_WEIGHT

# Rows of the scratch array. Mesh: distances, transfer (lower, diagonal, upper). State: lithiation and the two modes,
# now and one step back; local current now, one and two back; surface lithiation now, one and two back.
_ROWS = (
    "dl du tl td tu c cm y0 y0m y1 y1m w wm s1 s2 s3 "
    # One Newton iteration: source of T, R/|D|, base of s, unknown w, s, G, 1/D, dG/ds, width of asinh, dG/dh
    "q k base x s g di gs rt gh "
    # Tridiagonal system, its right side, elimination factor and solution; the first solution of a bordered system
    "lo d up r f psi psb"
).split()
(
    _DL, _DU, _TL, _TD, _TU, _C, _CM, _Y0, _Y0M, _Y1, _Y1M, _W, _WM, _S1, _S2, _S3,
    _Q, _K, _BASE, _X, _S, _G, _DI, _GS, _RT, _GH,
    _LO, _D, _UP, _R, _F, _PSI, _PSB,
) = (row * _STRIDE + 1 for row in range(len(_ROWS)))  # fmt: skip
_SIZE: Final = len(_ROWS) * _STRIDE


def _jit(function: Any) -> Any:
    return numba.njit(error_model="numpy", fastmath={"contract"}, cache=True, nogil=True)(function)


@intrinsic
def _bits(typing_context: Any, x: Any) -> Any:
    """The 64 bits of a float as an integer."""
    return types.int64(types.float64), lambda c, builder, s, a: builder.bitcast(a[0], ir.IntType(64))


@intrinsic
def _from_bits(typing_context: Any, x: Any) -> Any:
    """The float with these 64 bits."""
    return types.float64(types.int64), lambda c, builder, s, a: builder.bitcast(a[0], ir.DoubleType())


@_jit
def _log(x: float) -> float:
    """Natural logarithm of a normal x > 0 to 1 ulp (fdlibm's e_log.c)."""
    i = _bits(x)
    k = (i - 0x3FE6A09E667F3BCD) & 0x7FF0000000000000  # exponent that brings x into [0.71, 1.41]
    exponent = _from_bits((k >> 52) | 0x4330000000000000) - 4503599627370496.0
    f = _from_bits(i - k) - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = 0.1531383769920937332 + z * 0.1479819860511658591
    r = 0.2222219843214978396 + z * (0.1818357216161805012 + z * r)
    r = 0.6666666666666735130 + z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * r))
    return exponent * 0.6931471805599453 + (2.0 * s + s * (z * r))


@_jit
def _coefficients(h: float, h_before: float, rate_0: float, rate_1: float, rest: float) -> Any:
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
    slope = b * (1.0 + _MW * (g0 + g1)) + rest
    return a, b, g0, g1, slope, a_h, b_h, -rate_0 * g0 * g0 * b_h, -rate_1 * g1 * g1 * b_h


@_jit
def _base(m: Any, n: int, a: float, g0: float, g1: float) -> None:
    """Surface lithiation that the step gives without any current."""
    for i in range(n):
        m[_BASE + i] = (
            m[_C + i] + a * (m[_C + i] - m[_CM + i])
            + g0 * (m[_Y0 + i] + a * (m[_Y0 + i] - m[_Y0M + i]))
            + g1 * (m[_Y1 + i] + a * (m[_Y1 + i] - m[_Y1M + i]))
        )  # fmt: skip


@_jit
def _into_bounds(m: Any, n: int, slope: float) -> None:
    """Where the guess leaves less than a tenth of the distance to a pole of the OCV, leave a tenth."""
    inverse = 1.0 / slope
    for i in range(n):
        s = m[_BASE + i] + slope * m[_X + i]
        near = 0.1 * m[_S1 + i]
        bounded = min(max(s, near), 0.9 + near)
        m[_X + i] = m[_X + i] if bounded == s else (bounded - m[_BASE + i]) * inverse


@_jit
def _linearise(m: Any, n: int, p: Any, slope: float) -> None:
    """G, its slope along w, and the tridiagonal system L psi = R T w + ..., all at the current guess of w."""
    resistance = p[0] + p[1]
    interface, start, fall, kinetic = p[3], p[4], p[5], p[6]
    four_i0 = 16.0 * p[7] * p[7]
    for i in range(n):
        w = m[_X + i]
        s = m[_BASE + i] + slope * w
        u = 1.0 - s
        r = 1.0 / (s * u)
        square = four_i0 * (s * u)
        root = math.sqrt(w * w + square)
        overpotential = kinetic * math.copysign(_log((abs(w) + root) / math.sqrt(square)), w)
        sharp = kinetic / root
        inverse, inverse_u = u * r, s * r
        g_s = -fall - _DELTA * (inverse * inverse + inverse_u * inverse_u) + sharp * w * (u - s) * (0.5 * r)
        g_s = min(g_s, 0.0)  # keeps the system an M-matrix where BDF2's base lies below the pole
        inverse_d = 1.0 / (slope * g_s - sharp - interface)
        g = start - fall * s + _DELTA * (inverse - inverse_u) - overpotential - interface * w
        m[_S + i] = s
        m[_RT + i] = root
        m[_G + i] = g
        m[_GS + i] = g_s
        m[_DI + i] = inverse_d
        m[_K + i] = -resistance * inverse_d
        m[_Q + i] = resistance * (w - g * inverse_d)
    for i in range(n):
        m[_LO + i] = m[_DL + i] - m[_TL + i] * m[_K + i - 1]
        m[_UP + i] = m[_DU + i] - m[_TU + i] * m[_K + i + 1]
        m[_D + i] = m[_DL + i] + m[_DU + i] + m[_TD + i] * m[_K + i]


@_jit
def _transfer(m: Any, n: int) -> None:
    """Right side: T times the row q."""
    for i in range(n):
        m[_R + i] = m[_TL + i] * m[_Q + i - 1] + m[_TD + i] * m[_Q + i] + m[_TU + i] * m[_Q + i + 1]


@_jit
def _solve_tridiagonal(m: Any, n: int) -> None:
    """psi from -lo psi(i-1) + d psi(i) - up psi(i+1) = r, eliminated from both ends; n is even."""
    half = n // 2
    x = 1.0 / m[_D]
    m[_F] = m[_UP] * x
    m[_PSI] = m[_R] * x
    z = 1.0 / m[_D + n - 1]
    m[_F + n - 1] = m[_LO + n - 1] * z
    m[_PSI + n - 1] = m[_R + n - 1] * z
    for i in range(1, half):
        j = n - 1 - i
        lo, up = m[_LO + i], m[_UP + j]
        x = 1.0 / (m[_D + i] - lo * m[_F + i - 1])
        z = 1.0 / (m[_D + j] - up * m[_F + j + 1])
        m[_F + i] = m[_UP + i] * x
        m[_PSI + i] = (m[_R + i] + lo * m[_PSI + i - 1]) * x
        m[_F + j] = m[_LO + j] * z
        m[_PSI + j] = (m[_R + j] + up * m[_PSI + j + 1]) * z
    i, j = half - 1, half
    x = (m[_PSI + i] + m[_F + i] * m[_PSI + j]) / (1.0 - m[_F + i] * m[_F + j])
    m[_PSI + j] += m[_F + j] * x
    m[_PSI + i] = x
    for i in range(half - 2, -1, -1):
        j = n - 1 - i
        m[_PSI + i] += m[_F + i] * m[_PSI + i + 1]
        m[_PSI + j] += m[_F + j] * m[_PSI + j - 1]


@_jit
def _update(m: Any, n: int, slope: float) -> float:
    """Newton's step in w that cannot overshoot; returns the largest residual (V) before it.

    A growing |w| takes the step as it is. A shrinking one takes it in the overpotential (w = a sinh v), with exp(-x)
    replaced by (1 + x/4)^-4, so that the step stays on the safe side of the exponential. Then a node may use up nine
    tenths of its distance to a pole of the OCV, no more.
    """
    worst = numba.int64(0)
    inverse = 1.0 / slope
    for i in range(n):
        e = m[_PSI + i] - m[_G + i]
        worst = max(worst, _bits(abs(e)))
        w, root = m[_X + i], m[_RT + i]
        change = e * m[_DI + i]
        size, step = abs(w), abs(change)
        x = 1.0 + 0.25 * step / root
        x *= x
        x *= x
        y = 1.0 / x
        shrunk = max(0.5 * (size * (x + y) - root * (x - y)), size - step)
        w_new = w + change if change * w >= 0.0 else math.copysign(1.0, w) * shrunk
        near = 0.1 * m[_S + i]
        s_new = m[_BASE + i] + slope * w_new
        bounded = min(max(s_new, near), 0.9 + near)
        m[_X + i] = w_new if bounded == s_new else (bounded - m[_BASE + i]) * inverse
    return _from_bits(worst)


@_jit
def _voltage(psi_0: float, psi_n: float, w: Any, n: int, p: Any, sign: float, ends: Any) -> float:
    """Terminal voltage: both boundary potentials, weighted by the resistance of the other carrier."""
    re, rs = p[0], p[1]
    r = re + rs
    first = psi_0 - sign * re * ends[0, 0] + r * (ends[0, 1] * w[0] + ends[0, 2] * w[1])
    last = psi_n - sign * rs * ends[1, 0] + r * (ends[1, 1] * w[n - 1] + ends[1, 2] * w[n - 2])
    return (re * first + rs * last - sign * re * rs) / r - sign * p[2]


@_jit
def _load(m: Any, n: int, bands: Any, state: Any, sign: float) -> None:
    m[:] = 0.0
    for i in range(n):
        m[_DL + i], m[_DU + i] = bands[0, i], bands[1, i]
        m[_TL + i], m[_TD + i], m[_TU + i] = bands[2, i], bands[3, i], bands[4, i]
        m[_C + i] = m[_CM + i] = state[0, i]
        m[_Y0 + i] = m[_Y0M + i] = state[1, i]
        m[_Y1 + i] = m[_Y1M + i] = state[2, i]
        m[_W + i] = m[_WM + i] = sign
        m[_S1 + i] = state[0, i] + state[1, i] + state[2, i]


@_jit
def _newton(m: Any, n: int, p: Any, sign: float, slope: float, tolerance: float, limit: int) -> int:
    """Iterations until the residual was within the tolerance before the last update; -1 where it was not."""
    for iteration in range(limit):
        _linearise(m, n, p, slope)
        _transfer(m, n)
        m[_R] -= sign * p[0]
        m[_R + n - 1] -= sign * p[1]
        _solve_tridiagonal(m, n)
        if _update(m, n, slope) < tolerance:
            return iteration + 1
    return -1


@_jit
def _end(m: Any, n: int, p: Any, sign: float, ends: Any, h: float, longest: float, h_before: float, q: float) -> Any:
    """The last step, taken to the cut-off: Newton in the currents and the step h together (a bordered system).

    Returns:
        h and the iterations used; h = -1 where it did not converge.
    """
    rate_0, rate_1, rest = _RATE_0 / p[8], _RATE_1 / p[8], _REST * p[8]
    for iteration in range(END_LIMIT):
        a, b, g0, g1, slope, a_h, b_h, g0_h, g1_h = _coefficients(h, h_before, rate_0, rate_1, rest)
        _base(m, n, a, g0, g1)
        if iteration == 0:
            _into_bounds(m, n, slope)
        _linearise(m, n, p, slope)
        _transfer(m, n)
        m[_R] -= sign * p[0]
        m[_R + n - 1] -= sign * p[1]
        _solve_tridiagonal(m, n)
        for i in range(n):
            m[_PSB + i] = m[_PSI + i]
            w = m[_X + i]
            d0 = m[_Y0 + i] - m[_Y0M + i]
            d1 = m[_Y1 + i] - m[_Y1M + i]
            s_h = a_h * (m[_C + i] - m[_CM + i]) + b_h * w
            s_h += g0_h * (m[_Y0 + i] + a * d0 + _MW * b * w) + g0 * (a_h * d0 + _MW * b_h * w)
            s_h += g1_h * (m[_Y1 + i] + a * d1 + _MW * b * w) + g1 * (a_h * d1 + _MW * b_h * w)
            m[_GH + i] = m[_GS + i] * s_h
            m[_Q + i] = m[_K + i] * m[_GH + i]
        _transfer(m, n)
        _solve_tridiagonal(m, n)
        # currents of both solutions; row q and r are free again
        for i in range(n):
            m[_Q + i] = m[_X + i] + (m[_PSB + i] - m[_G + i]) * m[_DI + i]
            m[_R + i] = (m[_PSI + i] - m[_GH + i]) * m[_DI + i]
        v = _voltage(m[_PSB], m[_PSB + n - 1], m[_Q : _Q + n], n, p, sign, ends)
        zero = np.zeros(10)
        zero[0], zero[1] = p[0], p[1]
        v_h = _voltage(m[_PSI], m[_PSI + n - 1], m[_R : _R + n], n, zero, 0.0, ends)
        h_new = min(max(h + (p[9] - v) / v_h, 0.1 * h), min(longest, 3.0 * h))
        change = h_new - h
        for i in range(n):
            m[_G + i] += change * m[_GH + i]
            m[_PSI + i] = m[_PSB + i] + change * m[_PSI + i]
        h = h_new
        a, b, g0, g1, slope, a_h, b_h, g0_h, g1_h = _coefficients(h, h_before, rate_0, rate_1, rest)
        _base(m, n, a, g0, g1)
        residual = _update(m, n, slope)
        if residual < END_RESIDUAL_V and abs(change) < END_CHANGE * (q + h):
            return h, iteration + 1
    return -1.0, END_LIMIT


@_jit
def _accept(m: Any, n: int, a: float, b: float, g0: float, g1: float, rest: float, first: bool) -> None:
    for i in range(n):
        w = m[_X + i]
        c = m[_C + i] + a * (m[_C + i] - m[_CM + i]) + b * w
        y0 = g0 * (m[_Y0 + i] + a * (m[_Y0 + i] - m[_Y0M + i]) + _MW * b * w)
        y1 = g1 * (m[_Y1 + i] + a * (m[_Y1 + i] - m[_Y1M + i]) + _MW * b * w)
        m[_CM + i], m[_C + i] = m[_C + i], c
        m[_Y0M + i], m[_Y0 + i] = m[_Y0 + i], y0
        m[_Y1M + i], m[_Y1 + i] = m[_Y1 + i], y1
        m[_WM + i], m[_W + i] = w if first else m[_W + i], w
        m[_S3 + i], m[_S2 + i], m[_S1 + i] = m[_S2 + i], m[_S1 + i], c + y0 + y1 + rest * w


@_jit
def _error(m: Any, n: int, k: int, h: float, h1: float, h2: float) -> float:
    """Largest difference of the new surface lithiation from the polynomial through the last ones."""
    worst = numba.int64(0)
    if k == 0:
        for i in range(n):
            worst = max(worst, _bits(abs(0.5 * h * (m[_X + i] - m[_W + i]))))
    elif k == 1:
        for i in range(n):
            slope = (m[_S1 + i] - m[_S2 + i]) / h1
            worst = max(worst, _bits(abs(m[_S + i] - m[_S1 + i] - h * slope)))
    else:
        for i in range(n):
            slope = (m[_S1 + i] - m[_S2 + i]) / h1
            bend = (slope - (m[_S2 + i] - m[_S3 + i]) / h2) / (h1 + h2)
            worst = max(worst, _bits(abs(m[_S + i] - m[_S1 + i] - h * slope - h * (h + h1) * bend)))
    return _from_bits(worst)


@_jit
def march_one(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, tolerance: Any,
    charge: Any, voltage: Any, current: Any, end_state: Any, count: Any,
) -> int:  # fmt: skip
    """One half-cycle; fills the steps (and the currents where the array has room), returns the status."""
    n = state.shape[1]
    m = np.empty(_SIZE)
    _load(m, n, bands, state, sign)
    rate_0, rate_1, rest = _RATE_0 / p[8], _RATE_1 / p[8], _REST * p[8]
    k, status = -1, STEP_LIMIT
    q = h = h1 = h2 = v = v1 = 0.0
    while k < MOST_STEPS:
        a, b, g0, g1, slope, _, _, _, _ = _coefficients(h, h1, rate_0, rate_1, rest)
        _base(m, n, a, g0, g1)
        ratio = h / h1 if h1 > 0.0 else 0.0
        for i in range(n):
            m[_X + i] = m[_W + i] + ratio * (m[_W + i] - m[_WM + i])
        _into_bounds(m, n, slope)
        used = _newton(m, n, p, sign, slope, tolerance[2], NEWTON_LIMIT if k >= 0 else START_LIMIT)
        if used < 0:
            count[2] += 1
            h *= 0.3
            if k < 0:
                status = NO_CAPACITY  # not even at the start can the particles' surfaces carry the current
                break
            if h < SMALLEST_STEP:
                break
            continue
        count[0] += used
        v_new = _voltage(m[_PSI], m[_PSI + n - 1], m[_X : _X + n], n, p, sign, ends)
        beyond = sign * (v_new - p[9]) <= 0.0
        error = 0.0
        if k < 0 and beyond:
            status = NO_CAPACITY
        elif k >= 0:
            for i in range(n):
                m[_S + i] = m[_BASE + i] + slope * m[_X + i]
            error = _error(m, n, k, h, h1, h2) / tolerance[0]
            if k > 0:
                bend = abs(v_new - v - ratio * (v - v1))
                error = max(error, bend * math.sqrt(min(h / VOLTAGE_STEP, 1.0)) / tolerance[1])
            if not error < 1.5:
                count[1] += 1
                h *= max(0.2, 0.8 * error ** (-1.0 / 3.0)) if error < 1e30 else 0.2
                continue
            if beyond:
                share = (v - p[9]) / (v - v_new)
                for i in range(n):
                    m[_X + i] = m[_W + i] + share * (m[_X + i] - m[_W + i])
                reached, used = _end(m, n, p, sign, ends, share * h, h, h1, q)
                count[0] += used
                if reached < 0.0:
                    count[3] += 1
                    h *= 0.3
                    if h < SMALLEST_STEP:
                        break
                    continue
                h, status, v_new = reached, CUTOFF, p[9]
                a, b, g0, g1, slope, _, _, _, _ = _coefficients(h, h1, rate_0, rate_1, rest)
        _accept(m, n, a, b, g0, g1, rest, k < 0)
        k += 1
        q += h
        v1, v = v if k > 0 else v_new, v_new
        charge[k], voltage[k] = q, v
        if current.shape[0] > k:
            for i in range(n):
                current[k, i] = m[_W + i]
        if status != STEP_LIMIT:
            break
        if k == 0:
            h = FIRST_STEP
        else:
            h2, h1 = h1, h
            h = min(h * min(2.0, max(0.3, 0.85 * (error + 1e-9) ** (-1.0 / 3.0))), LARGEST_STEP)
    for i in range(n):
        end_state[0, i], end_state[1, i], end_state[2, i] = m[_C + i], m[_Y0 + i], m[_Y1 + i]
    if k < 0:  # no consistent start: nothing passed
        k, charge[0], voltage[0] = 0, 0.0, p[9]
    charge[k + 1 :] = charge[k]
    voltage[k + 1 :] = voltage[k]
    count[4] = k
    return status


@_jit
def march_many(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, tolerance: Any,
    charge: Any, voltage: Any, current: Any, end_state: Any, count: Any, status: Any,
) -> None:  # fmt: skip
    """Every design of a block, one after the other; all arrays have the design first."""
    for i in range(p.shape[0]):
        status[i] = march_one(
            p[i], sign, state[i], bands[i], ends[i], tolerance,
            charge[i], voltage[i], current[i], end_state[i], count[i],
        )  # fmt: skip
