"""Outcomes and observables by name, as differentiable functions of a run.

`outcome` answers every name of `campaign.outcome` and every state of the composite; definitions are those of
`campaign.outcome`, here in torch so that draws and gradients pass through. `composite_table` lists the states.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.outcome import cycle_of, define
from models.electrode import Powder, randles_sevcik_slope, theoretical_capacity_mAh_cm2
from models.inputs import Inputs
from models.parameters import Values
from models.physics import Run
from models.record import discharge_at, own_share_at, quick_error_at

STATES = (
    "surface_halide_to_P",
    "bulk_halide_to_P",
    "area_halide_to_P",
    "segregation_extent",
    "liX_coverage",
    "liX_layer_thickness_nm",
    "crystallite_size_um",
    "active_particle_size_um",
    "crystal_collapse",
    "crystalline_active_fraction",
    "contact_fraction",
    "sse_pellet_conductivity_mS_cm",
    "ionic_conductivity_mS_cm",
    "electronic_conductivity_mS_cm",
    "active_volume_fraction",
    "sse_volume_fraction",
    "carbon_volume_fraction",
    "porosity",
    "thickness_um",
    "randles_sevcik_slope",
    "dose_h",
    "vessel_temperature_C",
    "specific_power_W_g",
    "specific_energy_kJ_g",
)
"""Scalars known before the first cycle."""


def states(powder: Powder, p: Values) -> dict[str, Tensor]:
    """Every state of the composite by its name, each (*states)."""
    mixing, halide, pressed = powder.mixing, powder.segregation, powder.composite
    values = (
        halide.surface_halide_to_P,
        halide.bulk_halide_to_P,
        halide.area_halide_to_P,
        halide.extent,
        halide.coverage,
        halide.liX_layer_thickness_nm,
        mixing.crystallite_size_um,
        mixing.active_particle_size_um,
        pressed.collapse,
        mixing.crystalline_active,
        mixing.contact,
        pressed.sse_conductivity_S_cm * 1e3,
        pressed.ionic_conductivity_S_cm * 1e3,
        pressed.electronic_conductivity_S_cm * 1e3,
        pressed.active_volume_fraction,
        pressed.sse_volume_fraction,
        pressed.carbon_volume_fraction,
        pressed.porosity,
        pressed.thickness_um,
        randles_sevcik_slope(powder, p),
        mixing.dose_h + mixing.premill_dose_h,
        mixing.vessel_temperature_C,
        mixing.specific_power_W_g,
        mixing.specific_energy_kJ_g,
    )
    whole = sum(value * 0 for value in values)
    return {name: value + whole for name, value in zip(STATES, values, strict=True)}


def cycles_of(names: Sequence[str]) -> tuple[int, ...]:
    """Cycles that outcomes of these names need, at least 1 and 2."""
    return tuple(sorted({1, 2} | {n for name in names if (n := cycle_of(name)) is not None}))


def outcome(name: str, x: Inputs, run: Run, p: Values) -> Tensor:
    """One outcome of a run, (*states).

    Raises:
        Refusal: nobody defined the outcome.
    """
    if name in STATES:
        return states(run.powder, p)[name]
    define(name)
    n = cycle_of(name)
    if n is not None:
        return _at_cycle(re.sub(r"_cycle_\d+", "", name), n, x, run, p)
    return _whole(name, x, run, p)


def quick_error(name: str, x: Inputs, run: Run, p: Values) -> Tensor:
    """One sigma of ln(quick / full) of an outcome of a quick run, (*states); nil where the cell has no part in it."""
    if name in STATES or name.startswith("mixing_") or name == "peak_cycle":
        return torch.zeros_like(run.trajectory.contact[0])
    n = cycle_of(name)
    return quick_error_at(x, run, _cycles([2 if n is None else n], x), p)[..., 0]


def _at_cycle(family: str, n: int, x: Inputs, run: Run, p: Values) -> Tensor:
    q = discharge_at(x, run, _cycles([n], x), p)[..., 0]
    per_composite = 1000.0 / x.composite_mg_cm2
    own = 1 - own_share_at(x, run, _cycles([n], x), p)[..., 0]
    if family == "discharge_areal_capacity_mAh_cm2":
        return q
    if family == "discharge_capacity_mAh_g_composite":
        return q * per_composite
    if family == "discharge_capacity_mAh_g_active":
        return q * 1000.0 / x.loading_mg_cm2
    if family == "sse_corrected_areal_capacity_mAh_cm2":
        return q * own
    if family == "sse_corrected_capacity_mAh_g_composite":
        return q * own * per_composite
    if family == "utilisation_pct":
        return 100.0 * q / theoretical_capacity_mAh_cm2(x).clamp(min=1e-9)
    if family == "retention_pct":
        return 100.0 * q / discharge_at(x, run, _cycles([1], x), p)[..., 0]
    if family == "retention_vs_peak_pct":
        return 100.0 * q / discharge_at(x, run, _cycles(range(1, n + 1), x), p).amax(-1)
    if family == "discharge_energy_Wh_kg_composite":
        volts = run.mean_voltage_V()[run.cycles.index(n)]
        return q * volts * per_composite
    raise Refusal(f"the physics has no outcome {family!r}")


def _whole(name: str, x: Inputs, run: Run, p: Values) -> Tensor:
    everyone = torch.zeros_like(run.trajectory.contact[0])
    if name == "q2_over_q1":
        both = discharge_at(x, run, _cycles([1, 2], x), p)
        return both[..., 1] / both[..., 0]
    if name in ("peak_areal_capacity_mAh_cm2", "peak_cycle"):
        best = discharge_at(x, run, _cycles(range(1, run.cycles[-1] + 1), x), p).max(-1)
        return best.values if name.startswith("peak_areal") else best.indices.to(torch.float64) + 1
    if name == "mixing_time_h":
        return x.time_h + x.premill_h + everyone
    if name == "mixing_clock_h":
        return (x.time_h + x.premill_h) / x.duty + everyone
    raise Refusal(f"the physics has no outcome {name!r}: {nearest(name, STATES)}")


def _cycles(wanted: Sequence[int], x: Inputs) -> Tensor:
    return torch.tensor(list(wanted), dtype=torch.float64, device=x.speed_rpm.device)
