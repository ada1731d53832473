"""From the pressed composite to the lumped cell: what the porous electrode is given at a cycle.

Reached capacity     Q(n) = contact(n) m q + a q_SSE(n),  q_SSE = q_0 m_SSE (carbon area)^c (rate)^-r n^-b
Local diffusion      t_D = t_D0 / (1 + gain extent (1 - loss collapse))^2
Interface            R = R_i (1 + (bare - 1)(1 - coverage)) / contact area, grown linearly in cycles
Voltages             plateau of the active from the materials table, shifted, against the anode in use

The electrolyte's own redox counts as capacity of the same electrode, since the currents of both cross the same ionic
path. Source: physics.md sections 2 and 4; tables S and figures 3B, S41, S44 of doi 10.1126/science.adt1882.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.cell import CellDesign
from models.composite import Composite, arrhenius
from models.inputs import Inputs
from models.mixing import ZERO_C_K, Mixing, carbon_area_per
from models.parameters import Values
from models.segregation import Segregation

_ALLOY_ABOVE_V = 0.1
"""An anode nobler than this against lithium stores it in an alloy."""


@dataclass(frozen=True)
class Powder:
    """Everything known before the first cycle."""

    mixing: Mixing
    segregation: Segregation
    composite: Composite


def theoretical_capacity_mAh_cm2(x: Inputs) -> Tensor:
    """Areal capacity of the active by its theory, (n,); zero in a control without active."""
    return x.loading_mg_cm2 * x.active_capacity_mAh_g * 1e-3 * x.has_active


def sse_capacity_mAh_cm2(x: Inputs, cycle: Tensor | float, p: Values) -> Tensor:
    """Charge of the electrolyte's own redox at a cycle, at full contact."""
    sse_mg_cm2 = x.composite_mg_cm2 * x.sse_share
    carbon = (carbon_area_per(x.sse_share, x) / p["reference_carbon_m2_per_g_sse"]).clamp(min=1e-2)
    rate = x.current_mA_cm2 / sse_mg_cm2 * 1e3 / p["sse_reference_current_mA_g"]
    first = p["sse_capacity_mAh_g"] * 1e-3 * sse_mg_cm2 * carbon ** p["sse_carbon_exponent"]
    return first * rate ** -p["sse_rate_exponent"] * torch.as_tensor(cycle) ** -p["sse_capacity_fade"]


def active_charge_share(x: Inputs, cycle: Tensor | float, p: Values) -> Tensor:
    """Share of a cycle's charge that the active gives while it is in contact; the rest is the electrolyte's own redox."""
    theory = theoretical_capacity_mAh_cm2(x)
    return theory / (theory + sse_capacity_mAh_cm2(x, cycle, p))


def reached_mAh_cm2(
    x: Inputs, powder: Powder, *, contact: Tensor, cycle: Tensor | float, p: Values
) -> tuple[Tensor, Tensor]:
    """Capacities that current can reach at a cycle: of the active in contact, and of the electrolyte beside carbon.

    The electrolyte's own redox needs carbon, which mixing has put beside it; it does not lose contact as the active does.
    """
    mixed = powder.mixing.contact * sse_capacity_mAh_cm2(x, cycle, p)
    access = powder.composite.electron_access
    return access * contact * theoretical_capacity_mAh_cm2(x), access * mixed


def strain_per_mAh_cm2(x: Inputs) -> Tensor:
    """Thickness (um) that the active gains per mAh cm-2 that it stores."""
    # One mAh lithiates 1/q gram of active, and adds 6.94 g per mole of Li (26.8 Ah) to its mass.
    grams = 1 / x.active_capacity_mAh_g
    lithium = 6.94 / 26801.0
    change = (grams + lithium) / x.active_lithiated_density_g_cm3 - grams / x.active_density_g_cm3
    return change * 1e4


def net_um_per_mAh_cm2(x: Inputs, active_share: Tensor, p: Values) -> Tensor:
    """Change of the whole cell's thickness per charge of a discharge; negative where the anode shrinks more.

    `active_share` is the active's share of the charge: the electrolyte's own redox swells nothing.
    """
    alloyed = x.anode_V_vs_Li > _ALLOY_ABOVE_V
    anode = torch.where(alloyed, p["anode_alloy_um_per_mAh"], p["anode_metal_um_per_mAh"])
    return strain_per_mAh_cm2(x) * active_share - anode


def lump(x: Inputs, powder: Powder, *, contact: Tensor, cycle: Tensor | float, p: Values) -> CellDesign:
    """The cell at a cycle, flattened to (draws * n,); `cycle` is a scalar or broadcasts like `contact`."""
    composite, segregation, mixing = powder.composite, powder.segregation, powder.mixing
    active, own = reached_mAh_cm2(x, powder, contact=contact, cycle=cycle, p=p)
    length_cm = composite.thickness_um * 1e-4
    hot = arrhenius(x.temperature_C, p["contact_Ea_eV"], p)
    bare = 1 + (p["bare_interface_factor"] - 1) * (1 - segregation.coverage)
    grown = 1 + p["resistance_growth_100"] * (cycle - 1) / 99
    area = composite.contact_area * hot
    shift = p["li_in_potential_V"] - x.anode_V_vs_Li
    fields: Sequence[Tensor] = torch.broadcast_tensors(  # type: ignore[no-untyped-call]  # torch has no types here
        x.current_mA_cm2,
        active + own + 1e-6,
        length_cm / composite.ionic_conductivity_S_cm,
        length_cm / composite.electronic_conductivity_S_cm,
        p["separator_resistance_ohm_cm2"] / arrhenius(x.temperature_C, x.sse_activation_eV, p),
        p["interface_resistance_ohm_cm2"] * bare * grown / area,
        p["exchange_current_mA_cm2"] * area * mixing.contact,
        p["diffusion_time_h"] / _diffusion_gain(powder, p) ** 2 / hot,
        x.plateau_start_V_vs_LiIn + p["ocv_start_shift_V"] + shift,
        x.plateau_end_V_vs_LiIn + p["ocv_end_shift_V"] + shift,
        p["window_low_V_vs_Li"] - x.anode_V_vs_Li,
        p["window_high_V_vs_Li"] - x.anode_V_vs_Li,
        x.temperature_C + ZERO_C_K,
    )
    return CellDesign(*(field.reshape(-1) for field in fields))


def _diffusion_gain(powder: Powder, p: Values) -> Tensor:
    kept = 1 - p["slope_collapse_loss"] * powder.composite.collapse
    halide = powder.segregation.coverage
    return 1 + p["slope_segregation_gain"] * powder.segregation.extent * kept * halide


def randles_sevcik_slope(powder: Powder, p: Values) -> Tensor:
    """Slope in the arbitrary unit of the paper: area in contact times the root of the local diffusivity."""
    return p["slope_scale"] * powder.mixing.contact * _diffusion_gain(powder, p)
