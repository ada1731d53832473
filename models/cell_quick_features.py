"""What the quick cell sees of a design: dimensionless drops, each of which can only cost capacity.

Voltages are counted in 2RT/F. A half-cycle has a window, from the open circuit at its start to its cut-off; what uses it
up are drops that grow with the current. Signs are such that the utilisation falls, or stays, with every feature, and
with every drop behind it: more current, more resistance or a slower particle raise all features that they enter.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.cell import CellDesign
from models.cell_scaled import GAS_OVER_FARADAY_V_K, plateau_fall_V

FEATURES: Final = 10


def features(design: CellDesign, *, direction: int) -> Tensor:
    """Features of n designs, (n, 10), each about within [-2, 2] inside ``models.cell_box``.

    Order: the window used up at the start (linear, then as the log of what is left), depth that the front can reach,
    ionic, electronic, interface, kinetic, particle lag, fall of the plateau, particle lag against what is left.
    """
    d = design
    volt = 2.0 * GAS_OVER_FARADAY_V_K * d.temperature_K
    current_A = d.current_mA_cm2 * 1e-3
    fall = plateau_fall_V(d) / volt
    ionic = current_A * d.ionic_resistance_ohm_cm2 / volt
    electronic = current_A * d.electronic_resistance_ohm_cm2 / volt
    interface = current_A * d.interface_resistance_ohm_cm2 / volt
    kinetic = torch.asinh(d.current_mA_cm2 / (2.0 * d.exchange_current_mA_cm2))
    if direction > 0:
        window = (d.ocv_start_V - d.cutoff_discharge_V) / volt
    else:
        window = (d.cutoff_charge_V - d.ocv_start_V) / volt + fall
    window = window - current_A * d.separator_resistance_ohm_cm2 / volt
    left = window - ionic * electronic / (ionic + electronic) - interface - kinetic
    room = (softplus(left) + 0.3).log()
    lag = (d.current_mA_cm2 * d.diffusion_time_h / d.capacity_mAh_cm2 + 1e-6).log()
    columns = (
        (-left, -10.0, 8.0),
        (-room, -2.5, 1.0),
        ((ionic + fall).log() - room, -1.0, 2.0),
        (ionic.log(), 0.5, 2.5),
        (electronic.log(), -5.0, 4.0),
        (interface.log(), -0.5, 2.5),
        ((kinetic + 1e-3).log(), -2.0, 2.5),
        (lag, -2.5, 3.0),
        (fall.log(), 0.7, 1.2),
        (lag - room, -5.0, 3.5),
    )
    return torch.stack([(x - centre) / width for x, centre, width in columns], dim=1)
