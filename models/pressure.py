"""Stack pressure: the cathode swells, the anode shrinks, and a stiff frame feels the difference.

    swing      dP = K (cathode um/mAh - anode um/mAh) Q
    residual   dP (1 - R) after the first charge: what the first cycle does not give back

Source: fig. S37 of doi 10.1126/science.adt1882; thickness of lithium in Li-In 2.9, as metal 4.85 um cm2/mAh [lit].
Valid for a cell held at constant gap.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.electrode import reached_mAh_cm2, strain_per_mAh_cm2
from models.inputs import Inputs
from models.parameters import Values
from models.physics import Run

_ALLOY_ABOVE_V = 0.1


def net_um_per_mAh_cm2(x: Inputs, r: Run, p: Values) -> Tensor:
    """Change of the cell's thickness per charge of a discharge; negative: the anode shrinks more."""
    alloyed = x.anode_V_vs_Li > _ALLOY_ABOVE_V
    anode = torch.where(alloyed, p["anode_alloy_um_per_mAh"], p["anode_metal_um_per_mAh"])
    active, own = reached_mAh_cm2(x, r.powder, contact=r.trajectory.contact[0], cycle=1.0, p=p)
    return strain_per_mAh_cm2(x) * active / (active + own) - anode


def swing_first_discharge_MPa(x: Inputs, r: Run, p: Values) -> Tensor:
    """Change of stack pressure in the first discharge."""
    return p["frame_stiffness_MPa_um"] * net_um_per_mAh_cm2(x, r, p) * r.discharge_at(1)


def residual_after_first_charge_MPa(x: Inputs, r: Run, p: Values) -> Tensor:
    """Change of stack pressure that the first charge has not undone."""
    return swing_first_discharge_MPa(x, r, p) * (1 - r.trajectory.reversibility)
