"""Gradients: each piece by gradcheck, the half-cycle against central differences on the same frozen steps."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.autograd import gradcheck

from models import (
    cell,
    cell_box,
    cell_full,
    cell_mesh,
    cell_numpy,
    cell_ocv,
    cell_pieces,
    cell_quick,
    cell_scaled,
    cell_torch,
)
from models.cell import CellDesign
from models.cell_steps import CUTOFF, Tolerances

cell_numba = pytest.importorskip("models.cell_numba", reason="numba is optional", exc_type=ImportError)

NODES = 8
LONG_STEPS = Tolerances(lithiation=2e-3, voltage_V=8e-3, newton_V=Tolerances().recorded_newton_V)
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


@pytest.mark.parametrize("cells", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_adjoint_agrees_with_central_differences_on_frozen_steps(cells):
    design = cell_box.draw(cells, seed=5)
    mesh = cell_mesh.build(cell_mesh.lay_edges(design, nodes=NODES))
    state = cell_scaled.charged_state(design, nodes=NODES).contiguous()
    rng = np.random.default_rng(0)
    checked = 0
    for direction in (+1, -1):
        scaled = cell_scaled.scale(design, direction=direction)
        done = cell_numba.march(scaled, state, mesh, direction=direction, tolerances=LONG_STEPS, record=True)
        first = np.concatenate([[0], np.cumsum(done.steps.numpy() + 1)])
        on_voltage = torch.from_numpy(rng.normal(size=done.voltage.shape))
        on_voltage *= torch.arange(done.voltage.shape[1]) <= done.steps[:, None]
        on_charge, on_state = torch.from_numpy(rng.normal(size=cells)), torch.from_numpy(rng.normal(size=state.shape))
        found, _ = cell_numba.adjoint(
            scaled, state, mesh, done, direction=direction,
            on_voltage=on_voltage, on_charge=on_charge, on_state=on_state,
        )  # fmt: skip
        for i in range(cells):
            if done.status[i] != CUTOFF:
                continue
            n = int(done.steps[i]) + 1
            frozen = FrozenSteps(
                mesh, i, direction, done.charge[i, :n].numpy(), done.current[first[i] : first[i] + n].numpy()
            )

            p = scaled[i].numpy()
            expected = np.empty(10)
            for j in range(10):
                step = np.zeros(10)
                step[j] = 1e-4 * max(abs(p[j]), 1e-3)  # smaller steps drown in the rounding near the poles
                ahead, behind = (
                    frozen.outcome(
                        x, state[i].numpy(), float(on_charge[i]), on_voltage[i, :n].numpy(), on_state[i].numpy()
                    )
                    for x in (p + step, p - step)
                )
                expected[j] = (ahead - behind) / (2 * step[j]) * p[j]
            assert np.abs(found[i].numpy() * p - expected).max() <= 1e-4 * np.abs(expected).max()
            checked += 1
        state = done.state
    assert checked >= 1.5 * cells


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_every_backend_gives_the_kernels_half_cycles_and_gradients(backend):
    design = cell_box.draw(12, seed=2)
    outcomes = []
    for one in ("numba", backend):
        leaves = [field.clone().requires_grad_() for field in design.tensors()]
        cells = CellDesign(*leaves)
        down = cell_full.half_cycle(cells, start=None, direction=1, backend=one, nodes=16)
        up = cell_full.half_cycle(cells, start=down, direction=-1, backend=one, nodes=16)
        total = down.mean_voltage_V.sum() + up.capacity_mAh_cm2.sum() + up.voltage_V[:, 30].sum()
        outcomes.append((down, up, torch.autograd.grad(total, leaves)))
    (down, up, grads), (down_t, up_t, grads_t) = outcomes
    for a, b in ((down, down_t), (up, up_t)):
        assert torch.allclose(a.capacity_mAh_cm2, b.capacity_mAh_cm2, rtol=1e-8, atol=1e-10)
        assert torch.allclose(a.voltage_V, b.voltage_V, atol=1e-6)
        assert torch.equal(a.status, b.status)
    scale = torch.stack([(g * x).abs() for g, x in zip(grads, design.tensors(), strict=True)]).amax(0)
    for g, h, x in zip(grads, grads_t, design.tensors(), strict=True):
        assert ((g - h) * x).abs().le(1e-5 * scale + 1e-12).all()


def test_asking_for_no_gradient_keeps_nothing():
    design = cell_box.draw(3, seed=0)
    assert cell.discharge(design).capacity_mAh_cm2.grad_fn is None


def double(*shape: int, low: float = 0.1, high: float = 0.9, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()


def test_pieces_pass_gradcheck():
    assert gradcheck(lambda s, w, p: cell_pieces.potential(s, w, p)[:1], (double(4, 2), double(4, 2), double(10, 2)))
    assert gradcheck(
        lambda h, before, lag: cell_pieces.coefficients(h, before, lag)[:4], (double(3), double(3), double(3))
    )
    assert gradcheck(
        lambda now, before, w, h: cell_pieces.advance(
            now, before, w, cell_pieces.coefficients(h, torch.ones_like(h), torch.ones_like(h))
        ),
        (double(3, 4, 2), double(3, 4, 2), double(4, 2), double(2)),
    )
    lower, upper = double(6, 2).detach(), double(6, 2).detach()
    lower[0], upper[-1] = 0.0, 0.0
    assert gradcheck(
        lambda d, r: cell_pieces.solve_tridiagonal(lower, d, upper, r), (double(6, 2, low=2, high=3), double(6, 2))
    )
    ends = double(2, 3, 2).detach()
    assert gradcheck(
        lambda psi, w, p: cell_pieces.terminal_voltage(psi, w, p, 1.0, ends),
        (double(5, 2), double(5, 2), double(10, 2)),
    )
    assert gradcheck(
        lambda v, start, fall: cell_ocv.lithiation_at_charged_rest(v, start_V=start, fall_V=fall),
        (double(4), double(4, seed=1), double(4)),
    )


def test_slopes_of_the_potential_are_its_derivatives():
    s, w, p = double(4, 3), double(4, 3, low=-2.0, high=2.0, seed=1), double(10, 3).detach()
    at = cell_pieces.potential(s, w, p)
    by_s, by_w = torch.autograd.grad(at.g.sum(), (s, w))
    assert torch.allclose(by_s, at.g_s) and torch.allclose(by_w, at.g_w)


@pytest.mark.parametrize("direction", [+1, -1])
def test_quick_passes_gradcheck(direction):
    design = cell_box.draw(3, seed=4)

    def outcome(*fields: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cells = CellDesign(*fields)
        half = cell_quick.half_cycle(cells, start=None, direction=+1)
        if direction < 0:
            half = cell_quick.half_cycle(cells, start=half, direction=-1)
        return half.capacity_mAh_cm2, half.mean_voltage_V, half.voltage_V

    assert gradcheck(outcome, tuple(f.clone().requires_grad_() for f in design.tensors()), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("solver", [cell_numpy, cell_torch])
def test_every_march_takes_the_kernels_steps(solver):
    design = cell_box.draw(20, seed=9)
    mesh = cell_mesh.build(cell_mesh.lay_edges(design, nodes=16))
    state = cell_scaled.charged_state(design, nodes=16)
    for direction in (+1, -1):
        scaled = cell_scaled.scale(design, direction=direction)
        a, b = (
            one.march(scaled, state, mesh, direction=direction, tolerances=Tolerances(), record=True)
            for one in (cell_numba, solver)
        )
        assert torch.equal(a.steps, b.steps) and torch.equal(a.status, b.status)
        assert torch.allclose(a.charge[:, -1], b.charge[:, -1], rtol=1e-7, atol=1e-10)
        state = a.state
