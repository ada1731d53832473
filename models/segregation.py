"""Halide segregation: LiX leaves the electrolyte by shear and by heat, and covers the active.

    mechanical      theta_m = 1 - exp[-(tau / tau_theta)^m]
    thermal         d theta/dt = k(T) (1 - theta),  k = k_ref exp[-Ea/kB (1/T - 1/T_ref)]
    both            theta = 1 - (1 - theta_m) exp(-sum k t)
    mass balance    segregated_X = s_max theta x_X per halide;  bulk_X = x_X - segregated_X
    coverage        1 - exp(-v / delta0),  v = volume of LiX over area of active

The mass balance is kept per halide; LiX can never exceed what the electrolyte holds since s_max < 1.
Source: the paper (doi 10.1126/science.adt1882), Fig. 1 and S-figures; physics.md sections 3.6, 3.9 and 4. Whether shear,
heat or an S-rich interphase (Cronk et al., Nat. Commun. 17, 3298 (2026)) does it cannot be told from these facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.inputs import Inputs
from models.mixing import BOLTZMANN_EV_K, ZERO_C_K, Mixing, weibull
from models.parameters import Values

_CM_TO_NM = 1e7
_UM_TO_CM = 1e-4


@dataclass(frozen=True)
class Segregation:
    """Where the halide is; every field broadcasts to (draws, n), the per-halide ones to (draws, n, halides)."""

    extent: Tensor
    segregated_per_P: Tensor
    remaining_per_P: Tensor
    surface_halide_to_P: Tensor
    bulk_halide_to_P: Tensor
    area_halide_to_P: Tensor
    coverage: Tensor
    liX_layer_thickness_nm: Tensor
    liX_cm3_per_g: Tensor


def thermal_rate_per_h(temperature_C: Tensor, p: Values) -> Tensor:
    """Arrhenius rate of thermal segregation."""
    inverse = 1 / (temperature_C + ZERO_C_K) - 1 / (p["thermal_reference_C"] + ZERO_C_K)
    return p["segregation_thermal_rate_per_h"] * torch.exp(-p["segregation_thermal_Ea_eV"] / BOLTZMANN_EV_K * inverse)


def _believable_C(vessel_C: Tensor) -> Tensor:
    """Temperature with a smooth end at 300 degC: the heat balance is linear, and no vessel was ever that hot."""
    return 300.0 - 10.0 * torch.nn.functional.softplus((300.0 - vessel_C) / 10.0)


def segregate(x: Inputs, mixing: Mixing, p: Values) -> Segregation:
    """Segregate the halide of n designs; a pre-milled electrolyte has met no active that it could cover."""
    mechanical = weibull(mixing.dose_h, p["segregation_dose_h"], p["segregation_shape"])
    heated = thermal_rate_per_h(x.heat_C, p) * x.heat_h
    warm = thermal_rate_per_h(_believable_C(mixing.vessel_temperature_C), p) * x.time_h
    extent = 1 - (1 - mechanical) * torch.exp(-heated - warm)
    share = p["segregated_share"] * extent
    segregated = share[..., None] * x.halide_per_P
    total = x.halide_per_P.sum(-1)
    enrichment = 1 + (p["surface_enrichment"] - 1) * extent
    volume = (segregated * x.liX_molar_volume_cm3_mol).sum(-1) * x.sse_share / x.sse_molar_mass_g_mol
    area = active_area_cm2_per_g(x, p)
    mean_nm = volume / area * _CM_TO_NM
    coverage = -torch.expm1(-mean_nm / p["coverage_thickness_nm"])
    # As the coverage tends to 0 the islands that do the covering tend to the covering thickness.
    thickness = torch.where(
        coverage > 1e-9, mean_nm / coverage.clamp(min=1e-9), p["coverage_thickness_nm"] + 0 * mean_nm
    )
    bulk = total * (1 - share)
    surface = total * enrichment
    return Segregation(
        extent=extent,
        segregated_per_P=segregated,
        remaining_per_P=x.halide_per_P - segregated,
        surface_halide_to_P=surface,
        bulk_halide_to_P=bulk,
        area_halide_to_P=bulk + p["area_surface_share"] * (surface - bulk),
        coverage=coverage,
        liX_layer_thickness_nm=thickness * x.has_active * (total > 0),
        liX_cm3_per_g=volume,
    )


def active_area_cm2_per_g(x: Inputs, p: Values) -> Tensor:
    """Area of well-mixed active per gram of composite; a control without active counts as 1 wt% of it."""
    volume = x.active_share.clamp(min=0.01) / x.active_density_g_cm3
    return 6 * volume / (p["active_particle_um"] * _UM_TO_CM)
