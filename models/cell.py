"""The cell under constant current: discharge and charge of a solid-state chalcogen cathode, many designs at once.

One interface, two fidelities:

* ``full`` resolves the porous electrode in x and in charge (``models.cell_full``);
* ``quick`` has the same parameters and states with the electrode reduced to a closed form (``models.cell_quick``).

Equations, mesh, steps and measured errors: docs/cell_solver.md.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Literal

from torch import Tensor

Fidelity = Literal["full", "quick"]
Backend = Literal["auto", "numba", "numpy", "torch"]


class Status(IntEnum):
    """How a half-cycle ended."""

    CUTOFF = 0
    """The voltage reached the cut-off."""
    NO_CAPACITY = 1
    """The voltage was beyond the cut-off as soon as the current flowed."""
    STEP_LIMIT = 2
    """The solver gave up; the capacity is that of the last accepted step."""


@dataclass(frozen=True)
class CellDesign:
    """Lumped parameters of the cells; every field is a float64 tensor of shape (n,), per geometric area.

    Attributes:
        current_mA_cm2: constant current density, positive.
        capacity_mAh_cm2: theoretical areal capacity of the active material that is in contact.
        ionic_resistance_ohm_cm2: L / kappa_eff, cathode thickness over effective Li+ conductivity.
        electronic_resistance_ohm_cm2: L / sigma_el, the same for electrons.
        separator_resistance_ohm_cm2: separator and anode, in series.
        interface_resistance_ohm_cm2: of the active surface, referred to the geometric area.
        exchange_current_mA_cm2: a i0 L, exchange current of the whole active surface per geometric area.
        diffusion_time_h: R^2 / D of the active particle.
        ocv_start_V: start of the sloping plateau against the anode (charged).
        ocv_end_V: end of the plateau (discharged); below ``ocv_start_V``.
        cutoff_discharge_V: lower voltage limit.
        cutoff_charge_V: upper voltage limit.
        temperature_K: cell temperature.
    """

    current_mA_cm2: Tensor
    capacity_mAh_cm2: Tensor
    ionic_resistance_ohm_cm2: Tensor
    electronic_resistance_ohm_cm2: Tensor
    separator_resistance_ohm_cm2: Tensor
    interface_resistance_ohm_cm2: Tensor
    exchange_current_mA_cm2: Tensor
    diffusion_time_h: Tensor
    ocv_start_V: Tensor
    ocv_end_V: Tensor
    cutoff_discharge_V: Tensor
    cutoff_charge_V: Tensor
    temperature_K: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """The fields in order."""
        return tuple(getattr(self, f.name) for f in fields(self))

    @property
    def n(self) -> int:
        """Number of designs."""
        return self.current_mA_cm2.shape[0]


@dataclass(frozen=True)
class HalfCycle:
    """What a discharge or a charge gave, for n designs.

    Attributes:
        capacity_mAh_cm2: charge passed, (n,).
        mean_voltage_V: energy over charge, (n,).
        charge_grid: shares of the capacity (0 to 1) at which the curve is given, (m,).
        voltage_V: the curve, (n, m).
        state: local lithiation of the active at the end, and the modes of its particles, (n, 3, nx); quick: (n, 1, 1).
        edges: edges of the nodes from separator (0) to collector (1), (n, nx + 1).
        status: codes of ``Status``, (n,) int64.
        relative_error: estimated relative error (one sigma) of the capacity against the full solution, (n,).
    """

    capacity_mAh_cm2: Tensor
    mean_voltage_V: Tensor
    charge_grid: Tensor
    voltage_V: Tensor
    state: Tensor
    edges: Tensor
    status: Tensor
    relative_error: Tensor

    @property
    def lithiation(self) -> Tensor:
        """Local lithiation at the end, separator to collector, (n, nx)."""
        return self.state[:, 0]


def discharge(
    design: CellDesign,
    *,
    start: HalfCycle | None = None,
    fidelity: Fidelity = "full",
    backend: Backend = "auto",
) -> HalfCycle:
    """Discharge to ``cutoff_discharge_V``.

    Args:
        design: n cells.
        start: the half-cycle before (its end is where this begins); None begins from the charged, uniform cathode.
        fidelity: ``full`` or ``quick``; ``start`` must come from the same.
        backend: what marches ``full``: ``numba`` (compiled, CPU), ``numpy`` (CPU, one design at a time), ``torch`` (any
            device), or ``auto``, the fastest to answer here (``cell_full.chosen_backend`` tells which).

    Returns:
        The half-cycle; differentiable with respect to the fields of ``design`` and the state of ``start``.

    Raises:
        ValueError: ``start`` comes from the other fidelity or from other cells.
    """
    return _half_cycle(design, start=start, fidelity=fidelity, direction=+1, backend=backend)


def charge(
    design: CellDesign, *, start: HalfCycle, fidelity: Fidelity = "full", backend: Backend = "auto"
) -> HalfCycle:
    """Charge to ``cutoff_charge_V`` from where ``start`` ended; arguments and result as in ``discharge``."""
    return _half_cycle(design, start=start, fidelity=fidelity, direction=-1, backend=backend)


def _half_cycle(
    design: CellDesign, *, start: HalfCycle | None, fidelity: Fidelity, direction: int, backend: Backend
) -> HalfCycle:
    from models import cell_full, cell_quick  # they import this module's dataclasses

    if start is not None:
        modes = 3 if fidelity == "full" else 1
        if start.state.shape[:2] != (design.n, modes):
            raise ValueError(
                f"start has {start.state.shape[0]} cells with {start.state.shape[1]} states each, "
                f"but {design.n} cells at fidelity {fidelity} need {modes} states each"
            )
    if fidelity == "quick":
        return cell_quick.half_cycle(design, start=start, direction=direction)
    if design.n == 0:
        return cell_quick.half_cycle(design, start=None, direction=direction)
    return cell_full.half_cycle(design, start=start, direction=direction, backend=backend)
