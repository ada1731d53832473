"""The cell in ten numbers: every design divided by its own current and capacity.

x runs from separator (0) to collector (1), q is charge passed over the theoretical capacity, w the local reaction
current over the mean one (positive in discharge). All resistances become voltages at the current I:

    ds/dq = w,   (1/tau) modes below,   psi'' = -(re + rs) w,   psi = G(s, w),   V from psi at both ends

The particle is a sphere with linear diffusion of constant D. Its surface lies ahead of its mean by

    s = c + y_1 + y_2 + r tau w,   dy_m/dq = -(lambda_m^2 / tau) y_m + (2/3) w,   tan lambda_m = lambda_m

the two slowest modes of the exact series, and r = 1/15 - (2/3) sum 1/lambda_m^2 the quasi-steady rest of the others
(for steady filling the sum is the exact 1/15). All of it is linear in w, which the solver uses.
"""

from typing import Final

import torch
from torch import Tensor

from models.cell import CellDesign
from models.cell_ocv import lithiation_at_charged_rest

GAS_OVER_FARADAY_V_K: Final = 8.617333262e-5
MODE_RATES: Final = (4.493409457909064**2, 7.725251836937707**2)
MODE_WEIGHT: Final = 2.0 / 3.0
MODE_REST: Final = 1.0 / 15.0 - MODE_WEIGHT * (1.0 / MODE_RATES[0] + 1.0 / MODE_RATES[1])

COLUMNS: Final = (
    "ionic_V",
    "electronic_V",
    "separator_V",
    "interface_V",
    "ocv_start_V",
    "ocv_slope_V",
    "kinetic_V",
    "exchange",
    "particle_lag",
    "cutoff_V",
)
"""Columns of the scaled design, (n, 10): four drops, start and fall of the plateau, 2RT/F, i0/I, I tau/Q, cut-off."""

_LEAST_FALL_V: Final = 0.01
_LEAST_LAG: Final = 1e-9  # below it the particle is uniform to rounding
_LEAST_OHMIC_V: Final = 1e-9  # keeps the elliptic problem away from a pure Neumann problem


def plateau_fall_V(design: CellDesign) -> Tensor:
    """Fall of the plateau, (n,): start less end, kept positive, since a plateau that rises has no stable state.

    A smooth maximum with zero: 2 mV too much at a fall of 10 mV, 0.1 mV at 250 mV.
    """
    fall = design.ocv_start_V - design.ocv_end_V
    return 0.5 * (fall + torch.sqrt(fall * fall + _LEAST_FALL_V**2))


def scale(design: CellDesign, *, direction: int) -> Tensor:
    """Scaled designs, (n, 10) in the order of ``COLUMNS``; differentiable."""
    d = design
    current_A = d.current_mA_cm2 * 1e-3
    return torch.stack(
        [
            current_A * d.ionic_resistance_ohm_cm2 + _LEAST_OHMIC_V,
            current_A * d.electronic_resistance_ohm_cm2 + _LEAST_OHMIC_V,
            current_A * d.separator_resistance_ohm_cm2,
            current_A * d.interface_resistance_ohm_cm2,
            d.ocv_start_V,
            plateau_fall_V(d),
            2.0 * GAS_OVER_FARADAY_V_K * d.temperature_K,
            d.exchange_current_mA_cm2 / d.current_mA_cm2,
            d.current_mA_cm2 * d.diffusion_time_h / d.capacity_mAh_cm2 + _LEAST_LAG,
            d.cutoff_discharge_V if direction > 0 else d.cutoff_charge_V,
        ],
        dim=1,
    )


def charged_state(design: CellDesign, *, nodes: int) -> Tensor:
    """The uniform cathode at rest at the upper cut-off: lithiation and two modes at every node, (n, 3, nodes)."""
    rest = lithiation_at_charged_rest(design.cutoff_charge_V, start_V=design.ocv_start_V, fall_V=plateau_fall_V(design))
    zero = torch.zeros_like(rest)
    return torch.stack([rest, zero, zero], dim=1)[:, :, None].expand(-1, -1, nodes)
