"""The full cell against solutions that share no code with it: a stiff solver of SciPy, and limits with a closed form."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from models import cell, cell_mesh, cell_ocv, cell_scaled
from models.cell import CellDesign

Array = NDArray[np.float64]


def design(**changes: float) -> CellDesign:
    """One plausible cell, with changes."""
    values = {
        "current_mA_cm2": 0.67, "capacity_mAh_cm2": 5.0, "ionic_resistance_ohm_cm2": 900.0,
        "electronic_resistance_ohm_cm2": 30.0, "separator_resistance_ohm_cm2": 60.0,
        "interface_resistance_ohm_cm2": 80.0, "exchange_current_mA_cm2": 0.5, "diffusion_time_h": 1.0,
        "ocv_start_V": 1.45, "ocv_end_V": 1.15, "cutoff_discharge_V": 0.38, "cutoff_charge_V": 2.38,
        "temperature_K": 298.0,
    }  # fmt: skip
    values |= changes
    return CellDesign(*(torch.tensor([values[name]], dtype=torch.float64) for name in CellDesign.__dataclass_fields__))


def inside(s: Array) -> Array:
    """Lithiation that SciPy's trial steps may put outside (0, 1)."""
    return np.clip(s, 1e-6, 1 - 1e-6)


class MethodOfLines:
    """Plain finite volumes on an even mesh; the algebraic currents are eliminated in the right side, SciPy does the rest."""

    def __init__(self, p: Array, sign: float, nodes: int) -> None:
        self.p, self.sign, self.n = p, sign, nodes
        x = 1.0 / nodes
        self.laplace = (2 * np.eye(nodes) - np.eye(nodes, k=1) - np.eye(nodes, k=-1)) / x
        self.laplace[0, 0] = self.laplace[-1, -1] = 1 / x
        self.x = x
        self.w = np.full(nodes, sign)
        self.rates = [4.493409457909064**2 / p[8], 7.725251836937707**2 / p[8]]
        self.rest = p[8] * (1 / 15 - sum(2 / 3 / (r * p[8]) for r in self.rates))

    def potential(self, s: Array, w: Array) -> Array:
        _, _, _, interface, start, fall, kinetic, exchange, _, _ = self.p
        u = start - fall * s + 4e-4 * (1 / s - 1 / (1 - s))
        return u - kinetic * np.arcsinh(w / (4 * exchange * np.sqrt(s * (1 - s)))) - interface * w

    def slopes(self, s: Array, w: Array) -> tuple[Array, Array]:
        _, _, _, interface, _, fall, kinetic, exchange, _, _ = self.p
        root = np.sqrt(w * w + 16 * exchange**2 * s * (1 - s))
        by_s = -fall - 4e-4 * (1 / s**2 + 1 / (1 - s) ** 2) + kinetic * w / root * (0.5 / s - 0.5 / (1 - s))
        return by_s, -kinetic / root - interface

    def currents(self, z: Array) -> tuple[Array, Array]:
        """Local currents at a state, and their derivative by the summed states."""
        re, rs = self.p[:2]
        resting = z.reshape(3, -1).sum(0)
        w = self.w if np.isfinite(self.w).all() else np.full(self.n, self.sign)
        ends = np.zeros(self.n)
        ends[0], ends[-1] = self.sign * re, self.sign * rs
        for _ in range(100):
            s = inside(resting + self.rest * w)
            by_s, by_w = self.slopes(s, w)
            slope = self.laplace * (by_w + self.rest * by_s) - (re + rs) * self.x * np.eye(self.n)
            f = self.laplace @ self.potential(s, w) - (re + rs) * self.x * w + ends
            step = np.linalg.solve(slope, -f)
            room = 0.9 * np.minimum(s, 1 - s) / self.rest
            w = w + np.clip(step, -np.minimum(room, np.abs(w) + 0.3), np.minimum(room, np.abs(w) + 0.3))
            if np.abs(step).max() < 1e-12 * (1 + np.abs(w).max()):
                break
        self.w = w
        return w, -np.linalg.solve(slope, self.laplace * by_s)

    def right_side(self, q: float, z: Array) -> Array:
        w, _ = self.currents(z)
        y0, y1 = z.reshape(3, -1)[1:]
        return np.concatenate([w, -self.rates[0] * y0 + 2 / 3 * w, -self.rates[1] * y1 + 2 / 3 * w])

    def jacobian(self, q: float, z: Array) -> Array:
        _, d = self.currents(z)
        out = np.block([[d, d, d], [2 / 3 * d] * 3, [2 / 3 * d] * 3])
        n = self.n
        out[n : 2 * n, n : 2 * n] -= self.rates[0] * np.eye(n)
        out[2 * n :, 2 * n :] -= self.rates[1] * np.eye(n)
        return out

    def voltage(self, q: float, z: Array) -> float:
        re, rs, separator = self.p[:3]
        w, _ = self.currents(z)
        psi = self.potential(inside(z.reshape(3, -1).sum(0) + self.rest * w), w)
        first = psi[0] - self.sign * re * self.x / 2 + (re + rs) * w[0] * self.x**2 / 8
        depth = 1 - (np.arange(self.n) + 0.5) * self.x
        return first - rs * self.x * depth @ w - self.sign * separator

    def solve(self, start: Array, shares: Array) -> tuple[float, Array, Array]:
        """Charge to the cut-off, voltage at shares of it, end state."""

        def left(q: float, z: Array) -> float:
            return self.sign * (self.voltage(q, z) - self.p[9])

        left.terminal = True  # type: ignore[attr-defined]  # how scipy marks an event
        done = solve_ivp(
            self.right_side, (0.0, 1.2), start, method="BDF", jac=self.jacobian, events=left,
            rtol=1e-6, atol=1e-8, dense_output=True,
        )  # fmt: skip
        end = done.t[-1]
        self.voltage(end, done.y[:, -1])
        # from the end backwards, where the currents of the last call are the guess for the next
        curve = [self.voltage(q, done.sol(q)) for q in end * shares[::-1]]
        return end, np.array(curve[::-1]), done.y[:, -1]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # SciPy's own, in trial steps that it rejects
@pytest.mark.parametrize(
    "changes",
    [{}, {"ionic_resistance_ohm_cm2": 60.0, "diffusion_time_h": 20.0}, {"electronic_resistance_ohm_cm2": 600.0}],
)
def test_agrees_with_a_stiff_solver_both_ways(changes):
    cells = design(**changes)
    nodes = 48
    down = cell.discharge(cells)
    up = cell.charge(cells, start=down)
    state = cell_scaled.charged_state(cells, nodes=nodes)[0].numpy().reshape(-1)
    for sign, half in ((+1, down), (-1, up)):
        lines = MethodOfLines(cell_scaled.scale(cells, direction=sign)[0].numpy(), float(sign), nodes)
        shares = np.linspace(0.02, 0.98, 25)
        passed, voltage, state = lines.solve(state, shares)
        ours = np.interp(shares, half.charge_grid.numpy(), half.voltage_V[0].numpy())
        assert float(half.capacity_mAh_cm2) == pytest.approx(passed * 5.0, rel=1e-3)
        assert math.sqrt(np.mean((ours - voltage) ** 2)) <= 2e-3


def test_a_cell_without_internal_resistance_gives_the_open_circuit_curve():
    cells = design(
        current_mA_cm2=1e-4, ionic_resistance_ohm_cm2=1.0, electronic_resistance_ohm_cm2=1.0,
        exchange_current_mA_cm2=100.0, diffusion_time_h=0.01,
    )  # fmt: skip
    half = cell.discharge(cells)
    start, fall = cells.ocv_start_V, cell_scaled.plateau_fall_V(cells)
    rest = float(cell_scaled.charged_state(cells, nodes=2)[0, 0, 0])

    def ocv(s: float) -> float:
        return float(cell_ocv.open_circuit_voltage(torch.tensor([s], dtype=torch.float64), start_V=start, fall_V=fall))

    full = brentq(lambda s: ocv(s) - 0.38, 0.5, 1 - 1e-9)
    assert float(half.capacity_mAh_cm2) == pytest.approx(5.0 * (full - rest), rel=1e-4)
    for k in (10, 50, 90):
        at = rest + (full - rest) * float(half.charge_grid[k])
        assert float(half.voltage_V[0, k]) == pytest.approx(ocv(at), abs=1e-3)


def test_a_sharp_front_stops_where_the_ionic_drop_uses_up_the_window():
    cells = design(
        ionic_resistance_ohm_cm2=4000.0, electronic_resistance_ohm_cm2=0.01, separator_resistance_ohm_cm2=0.01,
        interface_resistance_ohm_cm2=0.01, exchange_current_mA_cm2=100.0, diffusion_time_h=0.01,
        ocv_start_V=1.30, ocv_end_V=1.29,
    )  # fmt: skip
    half = cell.discharge(cells)
    front = (1.295 - 0.38) / (0.67e-3 * 4000.0)
    # beyond the front the first few per cent react too, where the plateau begins
    assert 1.0 <= float(half.capacity_mAh_cm2) / (5.0 * front) <= 1.08


def test_swapping_carriers_mirrors_the_cathode():
    there = cell.discharge(design(ionic_resistance_ohm_cm2=900.0, electronic_resistance_ohm_cm2=30.0))
    mirrored = cell.discharge(design(ionic_resistance_ohm_cm2=30.0, electronic_resistance_ohm_cm2=900.0))
    assert torch.allclose(there.capacity_mAh_cm2, mirrored.capacity_mAh_cm2, rtol=1e-9)
    assert torch.allclose(there.lithiation, mirrored.lithiation.flip(1), atol=1e-8)


def test_rest_is_the_inverse_of_the_open_circuit():
    start = torch.tensor([1.4, 1.2], dtype=torch.float64)
    fall = torch.tensor([0.3, 0.02], dtype=torch.float64)
    volts = torch.tensor([2.3, 1.6], dtype=torch.float64)
    s = cell_ocv.lithiation_at_charged_rest(volts, start_V=start, fall_V=fall)
    assert torch.allclose(cell_ocv.open_circuit_voltage(s, start_V=start, fall_V=fall), volts, atol=2e-6)


def test_operators_are_exact_for_a_parabola_of_current():
    """psi'' = -R w with w = x^2: psi = -R x^4/12, and the charge is 1/3."""
    edges = cell_mesh.lay_edges(design(ionic_resistance_ohm_cm2=3000.0))
    mesh = cell_mesh.build(edges)
    x = 0.5 * (edges[0, 1:] + edges[0, :-1])
    assert float(mesh.weights[0] @ x**2) == pytest.approx(1 / 3, rel=2e-4)
    psi = -(x**4) / 12
    inner = slice(2, -2)
    bands = mesh.bands[0]
    left = bands[0, 1:-1] * (psi[1:-1] - psi[:-2]) + bands[1, 1:-1] * (psi[1:-1] - psi[2:])
    right = bands[2, 1:-1] * x[:-2] ** 2 + bands[3, 1:-1] * x[1:-1] ** 2 + bands[4, 1:-1] * x[2:] ** 2
    assert torch.allclose(left[inner], right[inner], rtol=2e-3)
