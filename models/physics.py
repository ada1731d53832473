"""The whole chain for n designs at once: inputs and parameters in, composite and cycling out, every step differentiable.

    recipe -> mixing -> segregation -> composite -> [cell <-> ageing] over anchor cycles -> record of every cycle

`quick` follows contact and cell in closed form. `full` solves the porous electrode at every anchor at once, puts the ratio
of solved to quick capacity on the trajectory, and follows that once more.
Source: physics.md sections 3 and 4; numerics of the cell: docs/cell_solver.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models import cell, cell_quick
from models.ageing import Trajectory, age, anchors
from models.cell import CellDesign, Fidelity, HalfCycle
from models.composite import press
from models.electrode import Powder, lump
from models.inputs import Inputs
from models.mixing import mix
from models.parameters import Values
from models.segregation import segregate


@dataclass(frozen=True)
class AnchorCells:
    """The cells of n designs at their anchors as one batch: nothing couples them once the contact is known.

    Lumped and solved when first looked at, since most outcomes need no voltage. Anchors are stacked before the states.
    """

    x: Inputs
    powder: Powder
    trajectory: Trajectory
    p: Values
    fidelity: Fidelity

    @cached_property
    def designs(self) -> CellDesign:
        """The lumped cells."""
        pairs = zip(self.trajectory.contact, self.trajectory.cycles, strict=True)
        each = [lump(self.x, self.powder, contact=contact, cycle=float(n), p=self.p).tensors() for contact, n in pairs]
        return CellDesign(*(torch.cat(columns) for columns in zip(*each, strict=True)))

    @cached_property
    def discharges(self) -> HalfCycle:
        """The discharge of each."""
        return cell.discharge(self.designs, fidelity=self.fidelity)

    @cached_property
    def charges(self) -> HalfCycle:
        """The charge after it."""
        return cell.charge(self.designs, start=self.discharges, fidelity=self.fidelity)


@dataclass(frozen=True)
class Run:
    """n designs followed over their cycles; tensors are (n,) or (draws, n) unless said otherwise.

    Attributes:
        powder: states before the first cycle.
        trajectory: contact and capacity at the anchors.
        cells: the cells behind it; `discharges` and `charges` are theirs.
    """

    powder: Powder
    trajectory: Trajectory
    cells: AnchorCells

    @property
    def cycles(self) -> tuple[int, ...]:
        """The anchors."""
        return self.trajectory.cycles

    @property
    def discharges(self) -> HalfCycle:
        """The solved discharges, anchors stacked before the states."""
        return self.cells.discharges

    @property
    def charges(self) -> HalfCycle:
        """The charges after them."""
        return self.cells.charges

    def discharge_at(self, cycle: int) -> Tensor:
        """Discharge capacity (mAh cm-2) at an anchor."""
        return self.trajectory.discharge_mAh_cm2[self.cycles.index(cycle)]

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
    ratio: float = 1.8,
) -> Run:
    """Follow n designs to cycle `last`.

    Args:
        x: n designs.
        p: parameter values, () or (draws, 1) each, or (n,) each.
        last: cycle to follow them to.
        also: cycles that must be among the anchors.
        fidelity: of the cell.
        ratio: of the cycle numbers of neighbouring anchors.
    """
    powder = prepare(x, p)
    at = anchors(last, also=also, ratio=ratio)

    def quick(contact: Tensor, cycle: float) -> Tensor:
        design = lump(x, powder, contact=contact, cycle=cycle, p=p)
        return cell_quick.capacity_mAh_cm2(design).reshape(contact.shape)

    trajectory = age(x, powder, capacity=quick, cycles=at, p=p)
    cells = AnchorCells(x, powder, trajectory, p, fidelity)
    if fidelity == "full":
        # The solved cells correct the path once; contact enters a capacity nearly in proportion and feels the cell only
        # through the loss, so that what a second solve would change is of second order (docs: `tests/models`).
        over = cells.discharges.capacity_mAh_cm2 / cell_quick.capacity_mAh_cm2(cells.designs)
        ratios = dict(zip(at, over.reshape(len(at), *trajectory.contact[0].shape), strict=True))
        trajectory = age(x, powder, capacity=lambda chi, n: quick(chi, n) * ratios[round(n)], cycles=at, p=p)
    return Run(powder, trajectory, cells)
