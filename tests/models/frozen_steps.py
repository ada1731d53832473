"""Half-cycles solved again on given steps, sharing no code with the solvers: what gradients are compared with."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models import cell_mesh, cell_ocv, cell_scaled

Array = NDArray[np.float64]


class FrozenSteps:
    """One design solved again on given steps by dense Newton iterations in numpy; only the end of the last step moves."""

    def __init__(self, mesh: cell_mesh.Mesh, design: int, sign: float, charge: Array, guess: Array) -> None:
        bands, self.ends = mesh.bands[design].numpy(), mesh.ends[design].numpy()
        self.laplace = np.diag(bands[0] + bands[1]) - np.diag(bands[0][1:], -1) - np.diag(bands[1][:-1], 1)
        self.transfer = np.diag(bands[3]) + np.diag(bands[2][1:], -1) + np.diag(bands[4][:-1], 1)
        self.sign, self.charge, self.guess = sign, charge, guess

    def solve(self, p: Array, start: Array) -> tuple[float, Array, Array]:
        """Charge passed, voltage at every step, end state."""
        before = now = start
        voltages = []
        h_before = passed = 0.0
        for k in range(len(self.charge)):
            h = self.charge[k] - self.charge[k - 1] if k else 0.0
            if k == len(self.charge) - 1:
                h = self._length_to_cutoff(p, h, h_before, now, before, self.guess[k])
            after, v = self._step(p, h, h_before, now, before, self.guess[k])
            before, now = now, after
            h_before, passed = (h, passed + h) if k else (0.0, 0.0)
            voltages.append(v)
        return passed, np.array(voltages), now

    def outcome(self, p: Array, start: Array, on_charge: float, on_voltage: Array, on_state: Array) -> float:
        """A scalar of everything that a half-cycle gives."""
        charge, voltage, end = self.solve(p, start)
        return float(on_charge * charge + on_voltage @ voltage + (on_state * end).sum())

    def _length_to_cutoff(self, p: Array, h: float, *rest: object) -> float:
        x0, x1 = h, h * (1 + 1e-5)
        f0 = self._step(p, x0, *rest)[1] - p[9]
        for _ in range(20):
            f1 = self._step(p, x1, *rest)[1] - p[9]
            if f1 == f0 or abs(x1 - x0) < 1e-15:
                break
            x0, x1, f0 = x1, x1 - f1 * (x1 - x0) / (f1 - f0), f1
        return x1

    def _step(self, p: Array, h: float, h_before: float, now: Array, before: Array, w: Array) -> tuple[Array, float]:
        re, rs, separator, interface, start, fall, kinetic, exchange, lag, _ = p
        ratio = h / h_before if h_before else 0.0
        b = h * (1 + ratio) / (1 + 2 * ratio)
        g = 1 / (1 + b * np.array(cell_scaled.MODE_RATES) / lag)
        moved = now + ratio**2 / (1 + 2 * ratio) * (now - before)
        slope = b * (1 + 2 / 3 * g.sum()) + cell_scaled.MODE_REST * lag
        base = moved[0] + g @ moved[1:]
        ends = np.zeros(len(w))
        ends[0], ends[-1] = self.sign * re, self.sign * rs
        for _ in range(40):
            s = base + slope * w
            u = start - fall * s + cell_ocv.END_V * (1 / s - 1 / (1 - s))
            psi = u - kinetic * np.arcsinh(w / (4 * exchange * np.sqrt(s * (1 - s)))) - interface * w
            root = np.sqrt(w * w + 16 * exchange**2 * s * (1 - s))
            u_s = -fall - cell_ocv.END_V * (1 / s**2 + 1 / (1 - s) ** 2)
            d = slope * (u_s + kinetic / root * w * (0.5 / s - 0.5 / (1 - s))) - kinetic / root - interface
            f = self.laplace @ psi - (re + rs) * (self.transfer @ w) + ends
            step = np.linalg.solve(self.laplace * d - (re + rs) * self.transfer, -f)
            w = w + step
            if np.abs(step).max() < 1e-13 * (1 + np.abs(w).max()):
                break
        psi = psi + d * step
        first = psi[0] - self.sign * re * self.ends[0, 0] + (re + rs) * self.ends[0, 1:] @ w[:2]
        last = psi[-1] - self.sign * rs * self.ends[1, 0] + (re + rs) * self.ends[1, 1:] @ w[:-3:-1]
        v = (re * first + rs * last - self.sign * re * rs) / (re + rs) - self.sign * separator
        return np.concatenate([(moved[0] + b * w)[None], g[:, None] * (moved[1:] + 2 / 3 * b * w)]), v


def central_difference(outcome: Callable[[Array], float], p: Array, j: int) -> float:
    """Derivative along ln p[j], of fourth order: near a pole of the open circuit the second is off by 0.3 %."""
    step = np.zeros_like(p)
    step[j] = 1e-4 * max(abs(p[j]), 1e-3)  # smaller steps drown in the rounding there
    near, far = (outcome(p + k * step) - outcome(p - k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step[j]) * p[j]
