"""Full fidelity: the porous electrode resolved in x and in charge (method and measured errors: docs/cell_solver.md)."""

import importlib.util
from typing import Final

import torch
from torch import Tensor

from models import cell_mesh, cell_scaled
from models.cell import Backend, CellDesign, HalfCycle
from models.cell_steps import March, Tolerances

GRID_POINTS: Final = 101
TOLERANCES: Final = Tolerances()
RELATIVE_ERROR: Final = 5e-4  # of a capacity at the default mesh and steps: docs/cell_solver.md


def chosen_backend(device: torch.device, backend: Backend = "auto") -> Backend:
    """What ``auto`` means here: ``numba`` on a CPU where numba is installed, else ``torch``."""
    if backend != "auto":
        return backend
    return "numba" if device.type == "cpu" and importlib.util.find_spec("numba") else "torch"


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
        backend: ``numba``, ``torch`` or ``auto``.
        tolerances: step control.
        nodes: nodes of a new mesh.
    """
    if start is None:
        edges = cell_mesh.lay_edges(design, nodes=nodes)
        state = cell_scaled.charged_state(design, nodes=nodes)
    else:
        edges, state = start.edges, start.state
    scaled = cell_scaled.scale(design, direction=direction)
    mesh = cell_mesh.build(edges)
    done = _march(scaled, state, mesh, direction=direction, tolerances=tolerances, backend=backend, record=False)
    grid = torch.linspace(0.0, 1.0, GRID_POINTS, dtype=scaled.dtype, device=scaled.device)
    passed = done.charge[:, -1]
    return HalfCycle(
        capacity_mAh_cm2=passed * design.capacity_mAh_cm2,
        mean_voltage_V=_mean(done.charge, done.voltage),
        charge_grid=grid,
        voltage_V=_interpolate(done.charge, done.voltage, grid * passed[:, None]),
        state=done.state,
        edges=edges,
        status=done.status,
        relative_error=torch.full_like(passed, RELATIVE_ERROR),
    )


def _march(
    scaled: Tensor,
    state: Tensor,
    mesh: cell_mesh.Mesh,
    *,
    direction: int,
    tolerances: Tolerances,
    backend: Backend,
    record: bool,
) -> March:
    from models import cell_numba

    return cell_numba.march(scaled, state, mesh, direction=direction, tolerances=tolerances, record=record)


def _mean(charge: Tensor, voltage: Tensor) -> Tensor:
    """Energy over charge by the trapezoid of the steps; the first voltage where nothing passed."""
    passed = charge[:, -1]
    energy = torch.trapezoid(voltage, charge, dim=1)
    nothing = passed <= 0.0
    return torch.where(nothing, voltage[:, 0], energy / torch.where(nothing, torch.ones_like(passed), passed))


def _interpolate(charge: Tensor, voltage: Tensor, at: Tensor) -> Tensor:
    """Voltage at given charges, linear between the steps."""
    right = torch.searchsorted(charge.detach().contiguous(), at.detach().contiguous()).clamp(1, charge.shape[1] - 1)
    q0, q1 = charge.gather(1, right - 1), charge.gather(1, right)
    v0, v1 = voltage.gather(1, right - 1), voltage.gather(1, right)
    span = q1 - q0
    share = torch.where(span > 0, (at - q0) / torch.where(span > 0, span, torch.ones_like(span)), torch.ones_like(span))
    return v0 + share * (v1 - v0)
