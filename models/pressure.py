"""Stack pressure: the cathode swells, the anode shrinks, and a stiff frame feels the difference.

    swing      dP = K (cathode um/mAh - anode um/mAh) Q
    residual   dP (1 - R) after the first charge: what the first cycle does not give back

Source: fig. S37 of doi 10.1126/science.adt1882; thickness of lithium in Li-In 2.9, as metal 4.85 um cm2/mAh [lit].
Valid for a cell held at constant gap.
"""

from __future__ import annotations

from torch import Tensor

from models.electrode import net_um_per_mAh_cm2, reached_mAh_cm2
from models.inputs import Inputs
from models.parameters import Values
from models.physics import Run


def swing_first_discharge_MPa(x: Inputs, r: Run, p: Values) -> Tensor:
    """Change of stack pressure in the first discharge."""
    active, own = reached_mAh_cm2(x, r.powder, contact=r.trajectory.contact[0], cycle=1.0, p=p)
    net_um = net_um_per_mAh_cm2(x, active / (active + own), p) * r.discharge_at(1)
    return p["frame_stiffness_MPa_um"] * net_um


def residual_after_first_charge_MPa(x: Inputs, r: Run, p: Values) -> Tensor:
    """Change of stack pressure that the first charge has not undone."""
    return swing_first_discharge_MPa(x, r, p) * (1 - r.trajectory.reversibility)
