"""The full solver's march in numpy, one design at a time: for a few designs where nothing is compiled.

Same equations, steps and decisions as ``models.cell_torch`` and ``models.cell_kernel_march``. Plain control flow needs no
masks, and a design's vectors are short: four times faster than the torch march for the anchors of one recipe, and done
before a compiler would be. The gradient is the torch one, which takes any march.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dgtsv
from torch import Tensor

from models.cell_mesh import Mesh
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
    NEWTON_GUARD,
    NEWTON_LIMIT,
    NO_CAPACITY,
    SMALLEST_STEP,
    START_LIMIT,
    START_MARGIN_V,
    STEP_LIMIT,
    VOLTAGE_STEP,
    March,
    Tolerances,
)
from models.cell_torch_adjoint import adjoint

__all__ = ["adjoint", "march"]

Array = NDArray[np.float64]


class _Step(NamedTuple):
    """BDF2 over h after h_before: new = now + a (now - before) + b w for the lithiation, g (...) for the modes."""

    a: float
    b: float
    g: Array
    slope: float


class _Linear(NamedTuple):
    """The electrode potential at a guess of the currents: surface lithiation, G, dG/ds, 1/D, width of the asinh."""

    s: Array
    g: Array
    g_s: Array
    inverse_d: Array
    root: Array


def march(scaled: Tensor, state: Tensor, mesh: Mesh, *, direction: int, tolerances: Tolerances, record: bool) -> March:
    """March n designs to their cut-off; arguments and result as in ``models.cell_numba.march``."""
    arrays = [t.detach().cpu().numpy() for t in (scaled, state, mesh.bands, mesh.ends)]
    done = [
        _Design(p, start, bands, ends, float(direction), tolerances).march()
        for p, start, bands, ends in zip(*arrays, strict=True)
    ]
    most = max(len(d.charge) for d in done)

    def table(rows: list[list[float]]) -> Tensor:
        return torch.tensor([row + row[-1:] * (most - len(row)) for row in rows], dtype=torch.float64)

    return March(
        steps=torch.tensor([len(d.charge) - 1 for d in done]),
        status=torch.tensor([d.status for d in done]),
        charge=table([d.charge for d in done]),
        voltage=table([d.voltage for d in done]),
        current=torch.from_numpy(np.concatenate([d.current for d in done])) if record else None,
        state=torch.from_numpy(np.stack([d.now for d in done])),
        iterations=torch.tensor([d.count for d in done]),
    )


class _Design:
    """One design and where its march stands."""

    def __init__(self, p: Array, state: Array, bands: Array, ends: Array, sign: float, tolerances: Tolerances) -> None:
        self.p, self.bands, self.ends = [float(x) for x in p], bands, ends
        self.sign, self.tolerances = sign, tolerances
        self.rates = np.array(MODE_RATES) / p[8]
        self.now = self.before = state
        self.w = self.w1 = np.full(state.shape[1], sign)
        self.s = [state.sum(0)] * 3
        self.h1 = self.h2 = self.v = self.v1 = 0.0
        self.charge: list[float] = []
        self.voltage: list[float] = []
        self.current: list[Array] = []
        self.count = [0, 0, 0, 0]
        self.status = STEP_LIMIT

    def march(self) -> "_Design":
        """To the cut-off, or to where nothing goes on."""
        h = 0.0
        while len(self.charge) <= MOST_STEPS and self.status == STEP_LIMIT:
            starting = not self.charge
            step = self._step(h)
            base = self._base(step)
            x = _into_bounds(self.w + self._ratio(h) * (self.w - self.w1), base, step.slope, self.s[0])
            solved = self._newton(x, base, step, START_LIMIT if starting else NEWTON_LIMIT)
            if solved is None:
                self.count[2] += 1
                h *= 0.3
                if starting:  # not even at the start can the particles' surfaces carry the current
                    self.status = NO_CAPACITY
                    self.charge, self.voltage, self.current = [0.0], [self.p[9]], [np.zeros_like(x)]
                elif h < SMALLEST_STEP:
                    break
                continue
            x, psi = solved
            v = self._voltage(psi, x)
            beyond = self.sign * (v - self.p[9]) <= (START_MARGIN_V if starting else 0.0)
            if starting:
                self.status = NO_CAPACITY if beyond else STEP_LIMIT
                self._accept(0.0, x, v, step)
                h = FIRST_STEP
                continue
            error = self._error(h, x, base + step.slope * x, v)
            if not error < 1.5:
                self.count[1] += 1
                h *= max(0.2, 0.8 * error ** (-1.0 / 3.0)) if error < 1e30 else 0.2
                continue
            if beyond:
                share = (self.v - self.p[9]) / (self.v - v)
                ended = self._end(self.w + share * (x - self.w), share * h, h)
                if ended is None:
                    self.count[3] += 1
                    h *= 0.3
                    if h < SMALLEST_STEP:
                        break
                    continue
                h, x = ended
                self.status = CUTOFF
                self._accept(h, x, self.p[9], self._step(h))
                continue
            self._accept(h, x, v, step)
            h = min(h * min(2.0, max(0.3, 0.85 * (error + 1e-9) ** (-1.0 / 3.0))), LARGEST_STEP)
        return self

    def _ratio(self, h: float) -> float:
        return h / self.h1 if self.h1 > 0.0 else 0.0

    def _step(self, h: float) -> _Step:
        ratio = self._ratio(h)
        q = 1.0 / (1.0 + 2.0 * ratio)
        b = h * (1.0 + ratio) * q
        g = 1.0 / (1.0 + b * self.rates)
        return _Step(ratio * ratio * q, b, g, b * (1.0 + MODE_WEIGHT * float(g.sum())) + MODE_REST * self.p[8])

    def _base(self, step: _Step) -> Array:
        moved = self.now + step.a * (self.now - self.before)
        return np.asarray(moved[0] + step.g[0] * moved[1] + step.g[1] * moved[2])

    def _linearise(self, x: Array, base: Array, slope: float) -> _Linear:
        _, _, _, interface, start, fall, kinetic, exchange, _, _ = self.p
        s = base + slope * x
        u = 1.0 - s
        product = s * u
        r = 1.0 / product
        square = (16.0 * exchange * exchange) * product
        root = np.sqrt(x * x + square)
        overpotential = kinetic * np.copysign(np.log((np.abs(x) + root) / np.sqrt(square)), x)
        sharp = kinetic / root
        far, near = u * r, s * r
        g_s = -fall - END_V * (far * far + near * near) + sharp * x * (u - s) * (0.5 * r)
        g_w = -sharp - interface
        inverse_d = 1.0 / np.minimum(slope * g_s + g_w, NEWTON_GUARD * g_w)
        g = start - fall * s + END_V * (far - near) - overpotential - interface * x
        return _Linear(s, g, g_s, inverse_d, root)

    def _potentials(self, x: Array, at: _Linear, *others: Array) -> Array:
        """Psi of one Newton iteration, (nodes, 1 + others): others are further sources in place of G's residual."""
        left, right, lower, diagonal, upper = self.bands
        resistance = self.p[0] + self.p[1]
        k = -resistance * at.inverse_d
        sources = np.stack([resistance * x + k * at.g, *(k * other for other in others)], axis=1)
        b = diagonal[:, None] * sources
        b[1:] += lower[1:, None] * sources[:-1]
        b[:-1] += upper[:-1, None] * sources[1:]
        b[0, 0] -= self.sign * self.p[0]
        b[-1, 0] -= self.sign * self.p[1]
        below, above = lower[1:] * k[:-1] - left[1:], upper[:-1] * k[1:] - right[:-1]
        return np.asarray(dgtsv(below, left + right + diagonal * k, above, b)[3])

    def _newton(self, x: Array, base: Array, step: _Step, limit: int) -> tuple[Array, Array] | None:
        for _ in range(limit):
            at = self._linearise(x, base, step.slope)
            psi = self._potentials(x, at)[:, 0]
            self.count[0] += 1
            x, settled = _update(x, psi - at.g, at, base, step.slope, self.tolerances.newton_V)
            if settled:
                return x, psi
        return None

    def _end(self, x: Array, h: float, longest: float) -> tuple[float, Array] | None:
        """The last step, taken to the cut-off: Newton in the currents and the step h together."""
        q = self.charge[-1]
        for iteration in range(END_LIMIT):
            step = self._step(h)
            base = self._base(step)
            if iteration == 0:
                x = _into_bounds(x, base, step.slope, self.s[0])
            at = self._linearise(x, base, step.slope)
            g_h = at.g_s * self._along(h, x, step)
            psi, psi_h = self._potentials(x, at, g_h).T
            self.count[0] += 1
            v = self._voltage(psi, x + (psi - at.g) * at.inverse_d)
            v_h = self._voltage(psi_h, (psi_h - g_h) * at.inverse_d, sign=0.0)
            h_new = min(max(h + (self.p[9] - v) / v_h, 0.1 * h), longest, 3.0 * h)
            change, h = h_new - h, h_new
            step = self._step(h)
            base = self._base(step)
            e = psi + change * psi_h - at.g - change * g_h
            x, settled = _update(x, e, at, base, step.slope, END_RESIDUAL_V)
            if settled and abs(change) < END_CHANGE * (q + h):
                return h, x
        return None

    def _along(self, h: float, x: Array, step: _Step) -> Array:
        """Derivative of the surface lithiation along the step h, currents fixed."""
        ratio = self._ratio(h)
        q = 1.0 / (1.0 + 2.0 * ratio)
        a_h = 2.0 * ratio * (1.0 + ratio) * q * q / self.h1 if self.h1 > 0.0 else 0.0
        b_h = (1.0 + ratio) * q - ratio * q * q
        difference = self.now - self.before
        out: Array = a_h * difference[0] + b_h * x
        for mode in (0, 1):
            g = float(step.g[mode])
            moved = self.now[1 + mode] + step.a * difference[1 + mode] + MODE_WEIGHT * step.b * x
            out = (
                out - self.rates[mode] * g * g * b_h * moved + g * (a_h * difference[1 + mode] + MODE_WEIGHT * b_h * x)
            )
        return out

    def _voltage(self, psi: Array, x: Array, *, sign: float | None = None) -> float:
        re, rs = self.p[0], self.p[1]
        r, to = re + rs, self.sign if sign is None else sign
        near, far = self.ends
        first = psi[0] - to * re * near[0] + r * (near[1] * x[0] + near[2] * x[1])
        last = psi[-1] - to * rs * far[0] + r * (far[1] * x[-1] + far[2] * x[-2])
        return float((re * first + rs * last - to * re * rs) / r - to * self.p[2])

    def _error(self, h: float, x: Array, s: Array, v: float) -> float:
        """Difference from the extrapolation of the last steps, over the tolerances."""
        k = len(self.charge) - 1
        if k == 0:
            return float(np.abs(0.5 * h * (x - self.w)).max()) / self.tolerances.lithiation
        slope = (self.s[0] - self.s[1]) / self.h1
        away = s - self.s[0] - h * slope
        if k > 1:
            bend = (slope - (self.s[1] - self.s[2]) / self.h2) / (self.h1 + self.h2)
            away = away - h * (h + self.h1) * bend
        volts = abs(v - self.v - self._ratio(h) * (self.v - self.v1)) * math.sqrt(min(h / VOLTAGE_STEP, 1.0))
        return max(float(np.abs(away).max()) / self.tolerances.lithiation, volts / self.tolerances.voltage_V)

    def _accept(self, h: float, x: Array, v: float, step: _Step) -> None:
        starting = not self.charge
        moved = self.now + step.a * (self.now - self.before)
        after = np.concatenate(
            [(moved[0] + step.b * x)[None], step.g[:, None] * (moved[1:] + MODE_WEIGHT * step.b * x)]
        )
        self.before, self.now = self.now, after
        self.w1, self.w = (x if starting else self.w), x
        self.s = [after.sum(0) + MODE_REST * self.p[8] * x, *self.s[:2]]
        self.v1, self.v = (v if starting else self.v), v
        if not starting:
            self.h2, self.h1 = self.h1, h
        self.charge.append(self.charge[-1] + h if self.charge else 0.0)
        self.voltage.append(v)
        self.current.append(x)


def _into_bounds(x: Array, base: Array, slope: float, s_last: Array) -> Array:
    """Where the guess leaves less than a tenth of the distance to a pole of the OCV, leave a tenth."""
    s, near = base + slope * x, 0.1 * s_last
    bounded = np.minimum(np.maximum(s, near), 0.9 + near)
    out: Array = np.where(bounded == s, x, (bounded - base) / slope)
    return out


def _update(x: Array, e: Array, at: _Linear, base: Array, slope: float, tolerance: float) -> tuple[Array, bool]:
    """Newton's step that cannot overshoot, and whether it was the last: see ``cell_kernel.update``."""
    change = e * at.inverse_d
    whole = x + change
    if np.abs(e).max() < tolerance:
        s, near = base + slope * whole, 0.1 * at.s
        if not ((s < near) | (s > 0.9 + near)).any():
            return whole, True
    size, length = np.abs(x), np.abs(change)
    grown = (1.0 + 0.25 * length / at.root) ** 4
    shrunk = np.maximum(0.5 * (size * (grown + 1 / grown) - at.root * (grown - 1 / grown)), size - length)
    new = np.where(change * x >= 0, whole, np.copysign(1.0, x) * shrunk)
    return _into_bounds(new, base, slope, at.s), False
