"""Gradients: each piece by gradcheck, the half-cycle against central differences on the same frozen steps."""

from functools import partial

import numpy as np
import pytest
import torch
from frozen_steps import FrozenSteps, central_differences
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


@pytest.mark.parametrize("cells", [3, pytest.param(50, marks=pytest.mark.soak)])
def test_adjoint_agrees_with_central_differences_on_frozen_steps(cells, capsys):
    """In every scaled parameter, and along a random change of the state at the start."""
    design = cell_box.draw(cells, seed=5)
    mesh = cell_mesh.build(cell_mesh.lay_edges(design))
    state = cell_scaled.charged_state(design, nodes=cell_mesh.NODES).contiguous()
    rng = np.random.default_rng(0)
    errors = []
    for direction in (+1, -1):
        scaled = cell_scaled.scale(design, direction=direction)
        done = cell_numba.march(scaled, state, mesh, direction=direction, tolerances=Tolerances(), record=True)
        on_voltage = torch.from_numpy(rng.normal(size=done.voltage.shape))
        on_voltage *= torch.arange(done.voltage.shape[1]) <= done.steps[:, None]
        on_charge, on_state = torch.from_numpy(rng.normal(size=cells)), torch.from_numpy(rng.normal(size=state.shape))
        on_scaled, on_start = cell_numba.adjoint(
            scaled, state, mesh, done, direction=direction,
            on_voltage=on_voltage, on_charge=on_charge, on_state=on_state,
        )  # fmt: skip
        frozen = FrozenSteps(mesh, done, direction=direction)
        room = state[:, :1] * (1 - state[:, :1])
        shift = rng.normal(size=state.shape) * room.numpy()
        found = np.column_stack([(on_scaled * scaled).numpy(), (on_start.numpy() * shift).sum((1, 2))])
        for i in (done.status == CUTOFF).nonzero()[:, 0].tolist():
            expected = central_differences(
                partial(
                    outcome_of_half_cycle, frozen, i, scaled[i].numpy(), state[i].numpy(), shift[i],
                    on=(on_charge[i].numpy(), on_voltage[i].numpy(), on_state[i].numpy()),
                ),
                np.zeros(11),
                np.eye(11),
            )  # fmt: skip
            errors.append(np.abs(found[i] - expected).max() / np.abs(expected).max())
        state = done.state
    with capsys.disabled():
        print(f"\n{len(errors)} half-cycles: worst {max(errors):.1e}, median {np.median(errors):.1e}")
    assert len(errors) >= 1.5 * cells and max(errors) <= 1e-4


def outcome_of_half_cycle(frozen, i, scaled, start, shift, at, *, on):
    """A scalar of everything that a half-cycle gives, at relative changes of the parameters and a change of the start."""
    on_charge, on_voltage, on_state = on
    passed, voltage, end = frozen.solve(
        scaled * (1 + at[:, :10]), start + at[:, 10, None, None] * shift, np.full(len(at), i)
    )
    return on_charge * passed + voltage @ on_voltage + (on_state * end).sum((1, 2))


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
