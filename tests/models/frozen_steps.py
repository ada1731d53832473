"""Half-cycles solved again on given steps, sharing no code with the solvers: what gradients are compared with.

Many lanes at once: lane j repeats the accepted steps of one design of a march under a scaled design and a start of its own.
Newton without safeguards from the recorded currents, elimination along the nodes, and a secant for the one step that moves,
the last, which ends at the cut-off. Arrays are (nodes, lanes).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.cell_mesh import Mesh
from models.cell_ocv import END_V
from models.cell_scaled import MODE_RATES, MODE_REST
from models.cell_steps import CUTOFF, NO_CAPACITY, March

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class FrozenSteps:
    """The steps of a recorded march of n designs."""

    def __init__(self, mesh: Mesh, done: March, *, direction: int) -> None:
        assert done.current is not None
        self.bands = mesh.bands.numpy().transpose(1, 2, 0)
        self.ends = mesh.ends.numpy().transpose(1, 2, 0)
        self.sign = float(direction)
        self.steps, self.status = done.steps.numpy(), done.status.numpy()
        self.charge = done.charge.numpy()
        self.first = np.concatenate([[0], np.cumsum(self.steps + 1)[:-1]])
        self.current = done.current.numpy()

    def solve(self, p: Array, start: Array, lane: Index) -> tuple[Array, Array, Array]:
        """Charge passed (m,), voltage at every step (m, steps), end state (m, 3, nodes).

        Args:
            p: scaled designs, (m, 10).
            start: lithiation and modes at the start, (m, 3, nodes).
            lane: whose steps each takes, (m,).
        """
        p, start = p.T, start.transpose(1, 2, 0)
        now, before = start.copy(), start.copy()
        passed, h_before = np.zeros(len(lane)), np.zeros(len(lane))
        voltage = np.zeros((len(lane), self.charge.shape[1]))
        for k in range(self.charge.shape[1]):
            at = np.nonzero((self.steps[lane] >= k) & (self.status[lane] != NO_CAPACITY))[0]
            if not len(at):
                break
            of = lane[at]
            h = self.charge[of, k] - self.charge[of, k - 1] if k else np.zeros(len(at))
            step = _Step(self, of, k, p[:, at], h_before[at], now[..., at], before[..., at])
            free = (self.steps[of] == k) & (self.status[of] == CUTOFF)
            if free.any():
                h[free] = step.take(free).length_to_cutoff(h[free])
            after, voltage[at, k] = step.over(h)
            before[..., at], now[..., at] = now[..., at], after
            passed[at] += h
            h_before[at] = h
        return passed, voltage, now.transpose(2, 0, 1)


class _Step:
    """One step of some lanes, from where they stand."""

    def __init__(
        self, frozen: FrozenSteps, of: Index, k: int, p: Array, h_before: Array, now: Array, before: Array
    ) -> None:
        self.rest = frozen, of, k, p, h_before, now, before
        self.bands, self.ends, self.sign = frozen.bands[..., of], frozen.ends[..., of], frozen.sign
        self.p, self.h_before, self.now, self.before = p, h_before, now, before
        self.guess = frozen.current[frozen.first[of] + k].T

    def take(self, some: NDArray[np.bool_]) -> "_Step":
        frozen, of, k, *lanes = self.rest
        return _Step(frozen, of[some], k, *(array[..., some] for array in lanes))

    def length_to_cutoff(self, h: Array) -> Array:
        """The secant in the voltage."""
        x0, x1 = h, h * (1 + 1e-5)
        f0 = self.over(x0)[1] - self.p[9]
        for _ in range(20):
            f1 = self.over(x1)[1] - self.p[9]
            moves = (f1 != f0) & (np.abs(x1 - x0) >= 1e-15)
            if not moves.any():
                break
            x0, x1, f0 = x1, x1 - np.where(moves, f1 * (x1 - x0) / np.where(moves, f1 - f0, 1.0), 0.0), f1
        return x1

    def over(self, h: Array) -> tuple[Array, Array]:
        """State and voltage after a step of length h."""
        re, rs, separator, interface, start, fall, kinetic, exchange, lag, _ = self.p
        ratio = np.where(self.h_before > 0, h / np.where(self.h_before > 0, self.h_before, 1.0), 0.0)
        b = h * (1 + ratio) / (1 + 2 * ratio)
        g = 1 / (1 + b * np.array(MODE_RATES)[:, None] / lag)
        moved = self.now + ratio**2 / (1 + 2 * ratio) * (self.now - self.before)
        slope = b * (1 + 2 / 3 * g.sum(0)) + MODE_REST * lag
        base = moved[0] + (g[:, None] * moved[1:]).sum(0)
        to_left, to_right, below, diagonal, above = self.bands
        weights = diagonal.copy()
        weights[:-1] += below[1:]
        weights[1:] += above[:-1]
        r, w = re + rs, self.guess
        for _ in range(40):
            s = base + slope * w
            u = start - fall * s + END_V * (1 / s - 1 / (1 - s))
            psi = u - kinetic * np.arcsinh(w / (4 * exchange * np.sqrt(s * (1 - s)))) - interface * w
            root = np.sqrt(w * w + 16 * exchange**2 * s * (1 - s))
            u_s = -fall - END_V * (1 / s**2 + 1 / (1 - s) ** 2)
            d = slope * (u_s + kinetic / root * w * (0.5 / s - 0.5 / (1 - s))) - kinetic / root - interface
            f = (to_left + to_right) * psi - r * diagonal * w
            f[1:] -= to_left[1:] * psi[:-1] + r * below[1:] * w[:-1]
            f[:-1] -= to_right[:-1] * psi[1:] + r * above[:-1] * w[1:]
            f[0] += self.sign * re
            f[-1] += self.sign * rs
            change = _eliminate(
                -to_left[1:] * d[:-1] - r * below[1:],
                (to_left + to_right) * d - r * diagonal,
                -to_right[:-1] * d[1:] - r * above[:-1],
                -f,
            )
            # what all equations add up to: w must carry the whole current, which rounding loses where r is small
            lost = self.sign - (weights * (w + change)).sum(0)
            change = change + lost / d / (weights / d).sum(0)
            w = w + change
            psi = psi + d * change
            if (np.abs(change).max(0) < 1e-9 * (1 + np.abs(w).max(0))).all():  # what follows would be its square
                break
        first = psi[0] - self.sign * re * self.ends[0, 0] + r * (self.ends[0, 1] * w[0] + self.ends[0, 2] * w[1])
        last = psi[-1] - self.sign * rs * self.ends[1, 0] + r * (self.ends[1, 1] * w[-1] + self.ends[1, 2] * w[-2])
        v = (re * first + rs * last - self.sign * re * rs) / r - self.sign * separator
        return np.concatenate([(moved[0] + b * w)[None], g[:, None] * (moved[1:] + 2 / 3 * b * w)]), v


def _eliminate(below: Array, diagonal: Array, above: Array, right: Array) -> Array:
    """Solution of tridiagonal systems, (nodes, lanes)."""
    for i in range(1, len(diagonal)):
        factor = below[i - 1] / diagonal[i - 1]
        diagonal[i] -= factor * above[i - 1]
        right[i] -= factor * right[i - 1]
    right[-1] /= diagonal[-1]
    for i in range(len(diagonal) - 2, -1, -1):
        right[i] = (right[i] - above[i] * right[i + 1]) / diagonal[i]
    return right


def central_differences(outcomes: Callable[[Array], Array], at: Array, directions: Array) -> Array:
    """Derivatives along m directions, (m, ...), of fourth order: the poles of the open circuit bend everything near them.

    Args:
        outcomes: of many points at once, (points, dimensions) to (points, ...).
        at: the point, (dimensions,).
        directions: (m, dimensions); the step is 2e-6 of each.
    """
    step = 2e-6
    shifts = step * np.array([1.0, -1.0, 2.0, -2.0])
    values = outcomes((at + shifts[:, None, None] * directions).reshape(-1, len(at)))
    up, down, far_up, far_down = values.reshape(4, len(directions), *values.shape[1:])
    return (8 * (up - down) - (far_up - far_down)) / (12 * step)
