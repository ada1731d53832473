"""The composite cathode: damage to the electrolyte, volume shares, thickness, and how well it conducts.

    damage        sigma = sigma_0 exp[-((g tau + tau_pre) / tau_sigma)^q],  g = shielding^(diluted share)
    collapse      d = 1 - exp[-(tau / tau_d)^p]
    ions          kappa = A_c (f sigma (sigma_0 / sigma_ref)^(w-1) (phi_SSE / phi_ref)^b + kappa_i P contact)
    electrons     sigma_el = sigma_c softplus((phi_C - phi_0) / w)^2 w^2

A_c is the area of contact under pressure, P the share covered by LiX on sound electrolyte. Milled alone the electrolyte takes
the whole dose; in the composite carbon and active take most of it (shielding), else ten hours of mixing would leave no
conductor. Sources: physics.md sections 0.7, 3.7, 3.8 and 4; Minnmann et al., J. Electrochem. Soc. 168, 040537 (2021) for f.
Valid near 50 wt% of electrolyte.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.inputs import Inputs
from models.mixing import BOLTZMANN_EV_K, ZERO_C_K, Mixing, weibull
from models.parameters import Values
from models.segregation import Segregation

_CM_TO_UM = 1e4


@dataclass(frozen=True)
class Composite:
    """The pressed cathode of n designs; every field broadcasts to (draws, n)."""

    sse_conductivity_S_cm: Tensor
    collapse: Tensor
    active_volume_fraction: Tensor
    sse_volume_fraction: Tensor
    carbon_volume_fraction: Tensor
    porosity: Tensor
    thickness_um: Tensor
    ionic_conductivity_S_cm: Tensor
    electronic_conductivity_S_cm: Tensor
    electron_access: Tensor
    contact_area: Tensor


def damaged_conductivity_S_cm(x: Inputs, mixing: Mixing, *, p: Values) -> Tensor:
    """Conductivity at room temperature of the electrolyte in the mix (a pellet of it where nothing else is in)."""
    diluted = (1 - x.sse_share) / 0.5
    shield = p["damage_shielding"] ** diluted
    met = shield * (mixing.dose_h - p["hand_mixing_dose_h"]) + mixing.premill_dose_h + 1e-9
    return x.sse_conductivity_S_cm * torch.exp(-((met / p["damage_dose_h"]) ** p["damage_shape"]))


def arrhenius(temperature_C: Tensor, activation_eV: Tensor, p: Values) -> Tensor:
    """Factor on a conductivity that was given at room temperature."""
    inverse = 1 / (temperature_C + ZERO_C_K) - 1 / (p["room_temperature_C"] + ZERO_C_K)
    return torch.exp(-activation_eV / BOLTZMANN_EV_K * inverse)


def press(x: Inputs, mixing: Mixing, segregation: Segregation, p: Values) -> Composite:
    """Press the mixed powder of n designs into a cathode."""
    volumes = torch.stack(
        [
            x.active_share / x.active_density_g_cm3,
            x.sse_share / x.sse_density_g_cm3,
            x.carbon_share / x.carbon_density_g_cm3,
        ]
    )
    solid = volumes.sum(0)
    shares = volumes / solid * (1 - p["porosity"])
    active, sse, carbon = shares.unbind(0)
    thickness_cm = x.composite_mg_cm2 * 1e-3 * solid / (1 - p["porosity"])
    sigma = damaged_conductivity_S_cm(x, mixing, p=p)
    area = _contact_area(x.stack_pressure_MPa, p) / _contact_area(p["reference_pressure_MPa"], p)
    hot = arrhenius(x.temperature_C, x.sse_activation_eV, p)
    crowd = (sse / p["reference_sse_volume_share"]) ** p["ion_percolation_exponent"]
    # Milled fine, lots conduct more alike than their pellets: grain boundaries and pressing are no longer those of the lot.
    lot = (x.sse_conductivity_S_cm / p["lot_reference_S_cm"]) ** (p["lot_conductivity_exponent"] - 1)
    bulk = p["ion_tortuosity_factor"] * sigma * lot * crowd
    collapse = weibull(mixing.dose_h, p["collapse_dose_h"], p["collapse_shape"])
    sound = segregation.coverage * (1 - p["reversibility_collapse_loss"] * collapse)
    interface = p["interface_conductivity_S_cm"] * sound * mixing.contact
    width = p["electron_percolation_width"]
    network = softplus((carbon - p["electron_percolation_share"]) / width) * width
    return Composite(
        sse_conductivity_S_cm=sigma,
        collapse=collapse,
        active_volume_fraction=active,
        sse_volume_fraction=sse,
        carbon_volume_fraction=carbon,
        porosity=p["porosity"] + torch.zeros_like(solid),
        thickness_um=thickness_cm * _CM_TO_UM,
        ionic_conductivity_S_cm=(bulk + interface) * area * hot,
        # A mix without carbon still leaks a little; the floor keeps resistances finite.
        electronic_conductivity_S_cm=p["electron_conductivity_S_cm"] * network**2 + 1e-6,
        electron_access=torch.sigmoid((carbon - p["electron_percolation_share"]) / width),
        contact_area=area,
    )


def _contact_area(pressure_MPa: Tensor, p: Values) -> Tensor:
    return -torch.expm1(-pressure_MPa / p["contact_pressure_MPa"])
