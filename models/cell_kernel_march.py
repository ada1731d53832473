"""The full solver's march, one design at a time, compiled by numba: the fast path on a CPU.

Same equations, steps and decisions as the reference in ``models.cell_torch`` (see docs/cell_solver.md for both).
"""

import math
from typing import Any

import numba
import numpy as np

from models.cell_jit import (
    BASE,
    CM,
    DI,
    GH,
    GS,
    PSB,
    PSI,
    S1,
    S2,
    S3,
    SIZE,
    WM,
    Y0,
    Y0M,
    Y1,
    Y1M,
    C,
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
)
from models.cell_kernel import (
    base,
    coefficients,
    into_bounds,
    linearise,
    load,
    solve_tridiagonal,
    transfer,
    update,
    voltage_of,
)
from models.cell_scaled import MODE_RATES, MODE_REST, MODE_WEIGHT
from models.cell_steps import (
    CUTOFF,
    END_CHANGE,
    END_LIMIT,
    END_RESIDUAL_V,
    FIRST_STEP,
    LARGEST_STEP,
    MOST_STEPS,
    NEWTON_GUARD,
    NEWTON_LIMIT,
    NO_CAPACITY,
    SMALLEST_STEP,
    START_LIMIT,
    START_MARGIN_V,
    STEP_LIMIT,
    VOLTAGE_STEP,
)

_RATE_0, _RATE_1 = MODE_RATES


@jit
def newton(m: Any, n: int, p: Any, sign: float, slope: float, tolerance: float, limit: int) -> int:
    """Iterations until the residual was within the tolerance before the last update; -1 where it was not."""
    for iteration in range(limit):
        linearise(m, n, p, slope, NEWTON_GUARD)
        transfer(m, n)
        m[R] -= sign * p[0]
        m[R + n - 1] -= sign * p[1]
        solve_tridiagonal(m, n)
        if update(m, n, slope, tolerance):
            return iteration + 1
    return -1


@jit
def _end(m: Any, n: int, p: Any, sign: float, ends: Any, h: float, longest: float, h_before: float, q: float) -> Any:
    """The last step, taken to the cut-off: Newton in the currents and the step h together (a bordered system).

    Returns:
        h and the iterations used; h = -1 where it did not converge.
    """
    rate_0, rate_1, rest = _RATE_0 / p[8], _RATE_1 / p[8], MODE_REST * p[8]
    for iteration in range(END_LIMIT):
        a, b, g0, g1, slope, a_h, b_h, g0_h, g1_h = coefficients(h, h_before, rate_0, rate_1, rest)
        base(m, n, a, g0, g1)
        if iteration == 0:
            into_bounds(m, n, slope)
        linearise(m, n, p, slope, NEWTON_GUARD)
        transfer(m, n)
        m[R] -= sign * p[0]
        m[R + n - 1] -= sign * p[1]
        solve_tridiagonal(m, n)
        for i in range(n):
            m[PSB + i] = m[PSI + i]
            w = m[X + i]
            d0 = m[Y0 + i] - m[Y0M + i]
            d1 = m[Y1 + i] - m[Y1M + i]
            s_h = a_h * (m[C + i] - m[CM + i]) + b_h * w
            s_h += g0_h * (m[Y0 + i] + a * d0 + MODE_WEIGHT * b * w) + g0 * (a_h * d0 + MODE_WEIGHT * b_h * w)
            s_h += g1_h * (m[Y1 + i] + a * d1 + MODE_WEIGHT * b * w) + g1 * (a_h * d1 + MODE_WEIGHT * b_h * w)
            m[GH + i] = m[GS + i] * s_h
            m[Q + i] = m[K + i] * m[GH + i]
        transfer(m, n)
        solve_tridiagonal(m, n)
        # currents of both solutions; row q and r are free again
        for i in range(n):
            m[Q + i] = m[X + i] + (m[PSB + i] - m[G + i]) * m[DI + i]
            m[R + i] = (m[PSI + i] - m[GH + i]) * m[DI + i]
        v = voltage_of(m[PSB], m[PSB + n - 1], m[Q : Q + n], n, p, sign, ends)
        zero = np.zeros(10)
        zero[0], zero[1] = p[0], p[1]
        v_h = voltage_of(m[PSI], m[PSI + n - 1], m[R : R + n], n, zero, 0.0, ends)
        h_new = min(max(h + (p[9] - v) / v_h, 0.1 * h), longest, 3.0 * h)
        change = h_new - h
        for i in range(n):
            m[G + i] += change * m[GH + i]
            m[PSI + i] = m[PSB + i] + change * m[PSI + i]
        h = h_new
        a, b, g0, g1, slope, a_h, b_h, g0_h, g1_h = coefficients(h, h_before, rate_0, rate_1, rest)
        base(m, n, a, g0, g1)
        settled = update(m, n, slope, END_RESIDUAL_V)
        if settled and abs(change) < END_CHANGE * (q + h):
            return h, iteration + 1
    return -1.0, END_LIMIT


@jit
def _accept(m: Any, n: int, a: float, b: float, g0: float, g1: float, rest: float, first: bool) -> None:
    for i in range(n):
        w = m[X + i]
        c = m[C + i] + a * (m[C + i] - m[CM + i]) + b * w
        y0 = g0 * (m[Y0 + i] + a * (m[Y0 + i] - m[Y0M + i]) + MODE_WEIGHT * b * w)
        y1 = g1 * (m[Y1 + i] + a * (m[Y1 + i] - m[Y1M + i]) + MODE_WEIGHT * b * w)
        m[CM + i], m[C + i] = m[C + i], c
        m[Y0M + i], m[Y0 + i] = m[Y0 + i], y0
        m[Y1M + i], m[Y1 + i] = m[Y1 + i], y1
        m[WM + i], m[W + i] = w if first else m[W + i], w
        m[S3 + i], m[S2 + i], m[S1 + i] = m[S2 + i], m[S1 + i], c + y0 + y1 + rest * w


@jit
def _error(m: Any, n: int, k: int, h: float, h1: float, h2: float) -> Any:
    """Largest difference of the new surface lithiation from the polynomial through the last ones."""
    worst = numba.int64(0)
    if k == 0:
        for i in range(n):
            worst = max(worst, bits(abs(0.5 * h * (m[X + i] - m[W + i]))))
    elif k == 1:
        for i in range(n):
            slope = (m[S1 + i] - m[S2 + i]) / h1
            worst = max(worst, bits(abs(m[S + i] - m[S1 + i] - h * slope)))
    else:
        for i in range(n):
            slope = (m[S1 + i] - m[S2 + i]) / h1
            bend = (slope - (m[S2 + i] - m[S3 + i]) / h2) / (h1 + h2)
            worst = max(worst, bits(abs(m[S + i] - m[S1 + i] - h * slope - h * (h + h1) * bend)))
    return from_bits(worst)


@jit
def march_one(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, tolerance: Any,
    charge: Any, voltage: Any, current: Any, end_state: Any, count: Any,
) -> int:  # fmt: skip
    """One half-cycle; fills the steps (and the currents where the array has room), returns the status."""
    n = state.shape[1]
    m = np.empty(SIZE)
    load(m, n, bands, state, sign)
    rate_0, rate_1, rest = _RATE_0 / p[8], _RATE_1 / p[8], MODE_REST * p[8]
    k, status = -1, STEP_LIMIT
    q = h = h1 = h2 = v = v1 = 0.0
    while k < MOST_STEPS:
        a, b, g0, g1, slope, _, _, _, _ = coefficients(h, h1, rate_0, rate_1, rest)
        base(m, n, a, g0, g1)
        ratio = h / h1 if h1 > 0.0 else 0.0
        for i in range(n):
            m[X + i] = m[W + i] + ratio * (m[W + i] - m[WM + i])
        into_bounds(m, n, slope)
        used = newton(m, n, p, sign, slope, tolerance[2], NEWTON_LIMIT if k >= 0 else START_LIMIT)
        if used < 0:
            count[2] += 1
            h *= 0.3
            if k < 0:
                current[:1] = 0.0
                status = NO_CAPACITY  # not even at the start can the particles' surfaces carry the current
                break
            if h < SMALLEST_STEP:
                break
            continue
        count[0] += used
        v_new = voltage_of(m[PSI], m[PSI + n - 1], m[X : X + n], n, p, sign, ends)
        beyond = sign * (v_new - p[9]) <= (START_MARGIN_V if k < 0 else 0.0)
        error = 0.0
        if k < 0 and beyond:
            status = NO_CAPACITY
        elif k >= 0:
            for i in range(n):
                m[S + i] = m[BASE + i] + slope * m[X + i]
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
                    m[X + i] = m[W + i] + share * (m[X + i] - m[W + i])
                reached, used = _end(m, n, p, sign, ends, share * h, h, h1, q)
                count[0] += used
                if reached < 0.0:
                    count[3] += 1
                    h *= 0.3
                    if h < SMALLEST_STEP:
                        break
                    continue
                h, status, v_new = reached, CUTOFF, p[9]
                a, b, g0, g1, slope, _, _, _, _ = coefficients(h, h1, rate_0, rate_1, rest)
        _accept(m, n, a, b, g0, g1, rest, k < 0)
        k += 1
        q += h
        v1, v = v if k > 0 else v_new, v_new
        charge[k], voltage[k] = q, v
        if current.shape[0] > k:
            for i in range(n):
                current[k, i] = m[W + i]
        if status != STEP_LIMIT:
            break
        if k == 0:
            h = FIRST_STEP
        else:
            h2, h1 = h1, h
            h = min(h * min(2.0, max(0.3, 0.85 * (error + 1e-9) ** (-1.0 / 3.0))), LARGEST_STEP)
    for i in range(n):
        end_state[0, i], end_state[1, i], end_state[2, i] = m[C + i], m[Y0 + i], m[Y1 + i]
    if k < 0:  # no consistent start: nothing passed
        k, charge[0], voltage[0] = 0, 0.0, p[9]
    charge[k + 1 :] = charge[k]
    voltage[k + 1 :] = voltage[k]
    count[4] = k
    return status


@jit
def march_many(
    p: Any, sign: float, state: Any, bands: Any, ends: Any, tolerance: Any,
    charge: Any, voltage: Any, current: Any, end_state: Any, count: Any, status: Any,
) -> int:  # fmt: skip
    """Every design of a block, one after the other; all arrays have the design first, but for the currents.

    Those lie packed, all steps of one design after those of the one before; the number of rows is returned.
    """
    rows = 0
    for i in range(p.shape[0]):
        status[i] = march_one(
            p[i], sign, state[i], bands[i], ends[i], tolerance,
            charge[i], voltage[i], current[rows:], end_state[i], count[i],
        )  # fmt: skip
        rows += count[i, 4] + 1
    return rows
