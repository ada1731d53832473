"""Full fidelity: the porous electrode resolved in x and in charge (method and measured errors: docs/cell_solver.md).

The march runs outside autograd. Where a gradient is asked for it keeps the local currents of its accepted steps, and
the backward pass solves the adjoint of those steps (implicit function theorem); otherwise nothing is kept.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

from models import cell_compiled, cell_mesh, cell_scaled
from models.cell import Backend, CellDesign, HalfCycle
from models.cell_mesh import Mesh
from models.cell_steps import March, Tolerances

GRID_POINTS: Final = 101
TOLERANCES: Final = Tolerances()
RELATIVE_ERROR: Final = 5e-4  # of a capacity at the default mesh and steps: docs/cell_solver.md
_CHUNK: Final = 4096  # designs that run together; bounds memory at about 1 GB with gradients
_MANY: Final = 64  # designs; below, numpy is done before a compiler would be, and before torch


def chosen_backend(device: torch.device, *, designs: int, backend: Backend = "auto") -> Backend:
    """What ``auto`` means for a number of designs; all three take the same steps.

    ``numba`` on a CPU where it is compiled, or where it is installed and there are designs enough to wait for its
    compiler (once per machine and version); else ``numpy`` for few designs, one after the other, and ``torch`` for many.
    """
    if backend != "auto":
        return backend
    if device.type != "cpu":
        return "torch"
    many = designs >= _MANY
    if importlib.util.find_spec("numba") is not None and (many or cell_compiled.is_compiled()):
        return "numba"
    return "torch" if many else "numpy"


def half_cycle(
    design: CellDesign,
    *,
    start: HalfCycle | None,
    direction: int,
    backend: Backend = "auto",
    tolerances: Tolerances = TOLERANCES,
    nodes: int = cell_mesh.NODES,
) -> HalfCycle:
    """One discharge (+1) or charge (-1) of n designs; see ``models.cell`` for arguments and result.

    Args:
        design: n cells.
        start: the half-cycle before; None for the charged, uniform cathode on a new mesh.
        direction: +1 discharge, -1 charge.
        backend: ``numba``, ``numpy``, ``torch`` or ``auto``.
        tolerances: step control.
        nodes: nodes of a new mesh.
    """
    if start is None:
        edges = cell_mesh.lay_edges(design, nodes=nodes)
        state = cell_scaled.charged_state(design, nodes=nodes)
    else:
        edges, state = start.edges, start.state
    scaled = cell_scaled.scale(design, direction=direction)
    chosen = chosen_backend(scaled.device, designs=design.n, backend=backend)
    blocks = [slice(first, first + _CHUNK) for first in range(0, max(design.n, 1), _CHUNK)]
    parts = [
        _solve(scaled[at], state[at], edges[at], direction=direction, tolerances=tolerances, backend=chosen)
        for at in blocks
    ]
    passed, mean, curve, end, status = (torch.cat(column) for column in zip(*parts, strict=True))
    return HalfCycle(
        capacity_mAh_cm2=passed * design.capacity_mAh_cm2,
        mean_voltage_V=mean,
        charge_grid=_grid(passed),
        voltage_V=curve,
        state=end,
        edges=edges,
        status=status,
        relative_error=torch.full_like(passed, RELATIVE_ERROR),
    )


def _grid(like: Tensor) -> Tensor:
    return torch.linspace(0.0, 1.0, GRID_POINTS, dtype=like.dtype, device=like.device)


def _solve(
    scaled: Tensor, state: Tensor, edges: Tensor, *, direction: int, tolerances: Tolerances, backend: Backend
) -> tuple[Tensor, ...]:
    """Charge passed, mean voltage, curve, end state and status of one chunk."""
    mesh = cell_mesh.build(edges)
    passed, voltage, end, charge, status = _Solve.apply(  # type: ignore[no-untyped-call]  # torch has no types here
        scaled, state, mesh, direction, tolerances, backend
    )
    # the steps stay where they were, but for the end of the last
    last = charge >= charge[:, -1:]
    charge = torch.where(last, passed[:, None], charge)
    curve = _interpolate(charge, voltage, _grid(passed) * passed[:, None])
    return passed, _mean(charge, voltage), curve, end, status


class _Solve(torch.autograd.Function):
    """The march with its adjoint: (scaled, state) -> (charge passed, voltages at the steps, end state)."""

    @staticmethod
    def forward(
        ctx: Any, scaled: Tensor, state: Tensor, mesh: Mesh, direction: int, tolerances: Tolerances, backend: Backend
    ) -> tuple[Tensor, ...]:
        record = any(ctx.needs_input_grad)
        solver = _solver(backend)
        done: March = solver.march(scaled, state, mesh, direction=direction, tolerances=tolerances, record=record)
        if record:
            ctx.save_for_backward(scaled, state)
            ctx.rest = mesh, done, direction, solver
        ctx.mark_non_differentiable(done.charge, done.status)
        return done.charge[:, -1].clone(), done.voltage, done.state, done.charge, done.status

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled, state = ctx.saved_tensors
        mesh, done, direction, solver = ctx.rest
        on_charge, on_voltage, on_state = grads[:3]
        # voltages repeated after the last step are that step's
        beyond = torch.arange(on_voltage.shape[1], device=on_voltage.device) > done.steps[:, None]
        on_last = torch.where(beyond, on_voltage, 0.0).sum(1, keepdim=True)
        on_voltage = torch.where(beyond, 0.0, on_voltage).scatter_add(1, done.steps[:, None], on_last)
        on_scaled, on_start = solver.adjoint(
            scaled, state, mesh, done, direction=direction,
            on_voltage=on_voltage, on_charge=on_charge, on_state=on_state,
        )  # fmt: skip
        return on_scaled, on_start, None, None, None, None


def _solver(backend: Backend) -> ModuleType:
    return importlib.import_module(f"models.cell_{backend}")  # numba is optional


def _mean(charge: Tensor, voltage: Tensor) -> Tensor:
    """Energy over charge by the trapezoid of the steps; the first voltage where nothing passed."""
    passed = charge[:, -1]
    energy = torch.trapezoid(voltage, charge, dim=1)
    nothing = passed <= 0.0
    return torch.where(nothing, voltage[:, 0], energy / torch.where(nothing, torch.ones_like(passed), passed))


def _interpolate(charge: Tensor, voltage: Tensor, at: Tensor) -> Tensor:
    """Voltage at given charges, linear between the steps."""
    if charge.shape[1] == 1:  # nothing passed in any cell
        return voltage.expand(-1, at.shape[1])
    right = torch.searchsorted(charge.detach().contiguous(), at.detach().contiguous())
    right = right.clamp(1, charge.shape[1] - 1)
    q0, q1 = charge.gather(1, right - 1), charge.gather(1, right)
    v0, v1 = voltage.gather(1, right - 1), voltage.gather(1, right)
    wide = q1 > q0
    share = torch.where(wide, (at - q0) / torch.where(wide, q1 - q0, 1.0), 1.0)
    return v0 + share * (v1 - v0)
