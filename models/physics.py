"""The whole chain for n designs at once: inputs and parameters in, composite and cycling out, every step differentiable.

    recipe -> mixing -> segregation -> composite -> [cell <-> ageing] over anchor cycles -> record of every cycle

`quick` follows contact and cell in closed form. `full` solves the porous electrode at every anchor at once, puts the ratio
of solved to quick capacity on the trajectory, and follows that once more.
Source: physics.md sections 3 and 4; numerics of the cell: docs/cell_solver.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models import cell
from models.ageing import CapacityOfCycle, Trajectory, age, anchors
from models.cell import CellDesign, Fidelity, HalfCycle
from models.composite import press
from models.electrode import Powder, lump
from models.inputs import Inputs
from models.mixing import mix
from models.parameters import Values
from models.segregation import segregate


@dataclass(frozen=True)
class Run:
    """n designs followed over their cycles; tensors are (n,) or (draws, n) unless said otherwise.

    Attributes:
        powder: states before the first cycle.
        trajectory: contact and capacity at the anchors.
        solved: the discharges, anchors stacked before draws and designs; None for a bare run.
        charges: the charges after them; None where no charge was asked for.
    """

    powder: Powder
    trajectory: Trajectory
    solved: HalfCycle | None
    charges: HalfCycle | None

    @property
    def cycles(self) -> tuple[int, ...]:
        """The anchors."""
        return self.trajectory.cycles

    def discharge_at(self, cycle: int) -> Tensor:
        """Discharge capacity (mAh cm-2) at an anchor."""
        return self.trajectory.discharge_mAh_cm2[self.cycles.index(cycle)]

    @property
    def discharges(self) -> HalfCycle:
        """The solved discharges."""
        if self.solved is None:
            raise ValueError("a bare run has no half-cycles")
        return self.solved

    def mean_voltage_V(self) -> Tensor:
        """Mean discharge voltage at every anchor, (anchors, *states)."""
        return self.at_anchors(self.discharges.mean_voltage_V)

    def at_anchors(self, flat: Tensor) -> Tensor:
        """Unstack a field of a half-cycle: (anchors, *states, ...)."""
        return flat.reshape(len(self.cycles), *self.trajectory.contact[0].shape, *flat.shape[1:])


def prepare(x: Inputs, p: Values) -> Powder:
    """Mix, segregate and press n designs."""
    mixing = mix(x, p)
    segregation = segregate(x, mixing, p)
    return Powder(mixing, segregation, press(x, mixing, segregation, p))


def run(
    x: Inputs,
    p: Values,
    *,
    last: int,
    also: Sequence[int] = (),
    fidelity: Fidelity = "quick",
    charges: bool = False,
    bare: bool = False,
    ratio: float = 1.8,
) -> Run:
    """Follow n designs to cycle `last`.

    Args:
        x: n designs.
        p: parameter values, () or (draws, 1) each, or (n,) each.
        last: cycle to follow them to.
        also: cycles that must be among the anchors.
        fidelity: of the cell.
        charges: solve the charge after each anchor's discharge.
        bare: quick only: leave out the half-cycles, and so voltages; three times faster.
        ratio: of the cycle numbers of neighbouring anchors.
    """
    powder = prepare(x, p)
    at = anchors(last, also=also, ratio=ratio)

    def quick(contact: Tensor, cycle: float) -> Tensor:
        design = lump(x, powder, contact=contact, cycle=cycle, p=p)
        return cell.discharge(design, fidelity="quick").capacity_mAh_cm2.reshape(contact.shape)

    trajectory = age(x, powder, capacity=quick, cycles=at, p=p)
    if bare and fidelity == "quick" and not charges:
        return Run(powder, trajectory, None, None)
    stacked = _stack(x, powder, trajectory, p)
    discharges = cell.discharge(stacked, fidelity=fidelity)
    if fidelity == "full":
        # The solved cells correct the path once; contact enters a capacity nearly in proportion and feels the cell only
        # through the loss, so that what a second solve would change is of second order (docs: `tests/models`).
        closed = cell.discharge(stacked, fidelity="quick").capacity_mAh_cm2
        over = (discharges.capacity_mAh_cm2 / closed).reshape(len(at), *trajectory.contact[0].shape)
        trajectory = age(x, powder, capacity=_corrected(quick, dict(zip(at, over, strict=True))), cycles=at, p=p)
    after = cell.charge(stacked, start=discharges, fidelity=fidelity) if charges else None
    return Run(powder, trajectory, discharges, after)


def _corrected(quick: CapacityOfCycle, ratio: Mapping[int, Tensor]) -> CapacityOfCycle:
    return lambda contact, cycle: quick(contact, cycle) * ratio[round(cycle)]


def _stack(x: Inputs, powder: Powder, trajectory: Trajectory, p: Values) -> CellDesign:
    """The cells of every anchor as one batch: nothing couples them once the contact is known."""
    pairs = zip(trajectory.contact, trajectory.cycles, strict=True)
    each = [lump(x, powder, contact=contact, cycle=float(n), p=p).tensors() for contact, n in pairs]
    return CellDesign(*(torch.cat(columns) for columns in zip(*each, strict=True)))
