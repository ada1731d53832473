"""Designs as tensors: one row a recipe and protocol, with the properties of its materials looked up.

A design table (docs/architecture.md) goes in; every field comes out as a float64 tensor of shape (n,), so that the
physics never sees a name, and a material is nothing but its row of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from campaign import materials as campaign_materials
from campaign.materials import Materials
from campaign.recipe import TEXT_COLUMNS, complete


@dataclass(frozen=True)
class Inputs:
    """What the physics needs of n designs; every field (n,) unless said otherwise, units in the names."""

    speed_rpm: Tensor
    time_h: Tensor
    premill_h: Tensor
    premill_speed_rpm: Tensor
    heat_C: Tensor
    heat_h: Tensor
    ball_ratio: Tensor
    duty: Tensor
    orbit_radius_m: Tensor
    spin_ratio: Tensor
    thermal_mass_J_K: Tensor
    heat_loss_W_K: Tensor
    active_share: Tensor
    sse_share: Tensor
    carbon_share: Tensor
    active_capacity_mAh_g: Tensor
    active_density_g_cm3: Tensor
    active_lithiated_density_g_cm3: Tensor
    active_melting_C: Tensor
    active_conductivity_S_cm: Tensor
    plateau_start_V_vs_LiIn: Tensor
    plateau_end_V_vs_LiIn: Tensor
    sse_conductivity_S_cm: Tensor
    sse_activation_eV: Tensor
    sse_density_g_cm3: Tensor
    sse_molar_mass_g_mol: Tensor
    halide_per_P: Tensor
    """Each halide by itself, (n, halides)."""
    halide_names: tuple[str, ...]
    liX_molar_volume_cm3_mol: Tensor
    """Of each halide's lithium salt, (halides,)."""
    liX_oxidation_V_vs_Li: Tensor
    """Of each halide's lithium salt, (halides,)."""
    carbon_density_g_cm3: Tensor
    carbon_area_m2_g: Tensor
    loading_mg_cm2: Tensor
    current_mA_cm2: Tensor
    stack_pressure_MPa: Tensor
    temperature_C: Tensor
    anode_V_vs_Li: Tensor
    has_active: Tensor
    """1 where there is an active, else 0; a control's loading is of its electrolyte."""

    @property
    def composite_mg_cm2(self) -> Tensor:
        """Mass of composite per area."""
        share = torch.where(self.has_active > 0, self.active_share, self.sse_share)
        return self.loading_mg_cm2 / share

    @property
    def n(self) -> int:
        """Number of designs."""
        return self.speed_rpm.shape[0]

    def to(self, device: torch.device | str) -> Inputs:
        """The same on another device."""
        return _each(self, lambda tensor: tensor.to(device))


def take(x: Inputs, rows: Tensor) -> Inputs:
    """Some of the designs, by position."""
    return _each(x, lambda tensor: tensor[rows], but=_SHARED)


def with_cycle_axis(x: Inputs) -> Inputs:
    """The same inputs with a trailing axis for cycles."""
    return _each(x, lambda tensor: tensor[..., None], but=(*_SHARED, "halide_per_P"))


_SHARED = ("liX_molar_volume_cm3_mol", "liX_oxidation_V_vs_Li")


def _each(x: Inputs, change: Callable[[Tensor], Tensor], *, but: tuple[str, ...] = ()) -> Inputs:
    """Change every tensor, leaving out the fields `but`."""
    changed: dict[str, Any] = {}
    for field in fields(x):
        value = getattr(x, field.name)
        if isinstance(value, Tensor) and field.name not in but:
            changed[field.name] = change(value)
    return replace(x, **changed)


def encode(designs: pd.DataFrame, materials: Materials | None = None) -> Inputs:
    """Look up the materials of n designs.

    Args:
        designs: any subset of the columns of a design table; the rest takes the published value.
        materials: our tables (and a lab's own rows); None is ours.

    Raises:
        Refusal: a name that nobody defined, a cell that is no number, shares that do not sum to 100.
    """
    stock = materials or campaign_materials.load()
    return encode_complete(complete(designs, stock), stock)


def encode_complete(full: pd.DataFrame, stock: Materials) -> Inputs:
    """Look up the materials of n designs that `campaign.recipe.complete` has been through."""

    def column(name: str) -> Tensor:
        return torch.tensor(full[name].to_numpy(dtype=float), dtype=torch.float64)

    places = {name: pd.factorize(full[name]) for name in TEXT_COLUMNS}

    def look_up(name: str, rows: dict[str, dict[str, float]], key: str) -> Tensor:
        codes, names = places[name]
        return torch.tensor([rows[label][key] for label in names], dtype=torch.float64)[torch.as_tensor(codes)]

    sse = {name: _numbers(stock.electrolyte(name)) for name in full["sse"].unique()}
    active = {name: _active(name, stock) for name in full["active"].unique()}
    carbon = {name: _carbon(name, stock) for name in full["carbon"].unique()}
    mixer = {name: _numbers(stock.mixer(name)) for name in full["mixer"].unique()}
    anode = {name: _numbers(stock.anode(name)) for name in full["anode"].unique()}
    halides = tuple(stock.halides)
    fractions = {name: stock.electrolyte(name).halide_fractions for name in full["sse"].unique()}
    # An electrolyte without phosphorus is made of its halide: none of it is counted as free to leave.
    countable = {name: not math.isnan(stock.electrolyte(name).halide_per_P) for name in fractions}
    per_P = [
        [fractions[name].get(halide, 0.0) if countable[name] else 0.0 for halide in halides] for name in full["sse"]
    ]
    molar_volume = [row.molar_mass_LiX_g_mol / row.density_LiX_g_cm3 for row in stock.halides.values()]
    heated = full["heat_h"] > 0
    return Inputs(
        speed_rpm=column("speed_rpm"),
        time_h=column("time_h"),
        premill_h=column("premill_h"),
        premill_speed_rpm=column("premill_speed_rpm"),
        heat_C=torch.tensor(full["heat_C"].where(heated).fillna(25.0).to_numpy(dtype=float), dtype=torch.float64),
        heat_h=column("heat_h"),
        ball_ratio=column("ball_ratio"),
        duty=column("duty"),
        orbit_radius_m=look_up("mixer", mixer, "orbit_radius_m"),
        spin_ratio=look_up("mixer", mixer, "spin_ratio"),
        thermal_mass_J_K=look_up("mixer", mixer, "thermal_mass_J_K"),
        heat_loss_W_K=look_up("mixer", mixer, "heat_loss_W_K"),
        active_share=column("active_wt_pct") / 100.0,
        sse_share=column("sse_wt_pct") / 100.0,
        carbon_share=column("carbon_wt_pct") / 100.0,
        active_capacity_mAh_g=look_up("active", active, "capacity_mAh_g"),
        active_density_g_cm3=look_up("active", active, "density_g_cm3"),
        active_lithiated_density_g_cm3=look_up("active", active, "lithiated_density_g_cm3"),
        active_melting_C=look_up("active", active, "melting_point_C"),
        active_conductivity_S_cm=look_up("active", active, "electronic_conductivity_S_cm"),
        plateau_start_V_vs_LiIn=look_up("active", active, "discharge_start_V_vs_LiIn"),
        plateau_end_V_vs_LiIn=look_up("active", active, "discharge_end_V_vs_LiIn"),
        sse_conductivity_S_cm=look_up("sse", sse, "conductivity_mS_cm") * 1e-3,
        sse_activation_eV=look_up("sse", sse, "activation_energy_eV"),
        sse_density_g_cm3=look_up("sse", sse, "density_g_cm3"),
        sse_molar_mass_g_mol=look_up("sse", sse, "molar_mass_g_mol"),
        halide_per_P=torch.tensor(per_P, dtype=torch.float64),
        halide_names=halides,
        liX_molar_volume_cm3_mol=torch.tensor(molar_volume, dtype=torch.float64),
        liX_oxidation_V_vs_Li=torch.tensor(
            [row.oxidation_V_vs_Li for row in stock.halides.values()], dtype=torch.float64
        ),
        carbon_density_g_cm3=look_up("carbon", carbon, "density_g_cm3"),
        carbon_area_m2_g=look_up("carbon", carbon, "surface_area_m2_g"),
        loading_mg_cm2=column("loading_mg_cm2"),
        current_mA_cm2=column("current_mA_cm2"),
        stack_pressure_MPa=column("stack_pressure_MPa"),
        temperature_C=column("temperature_C"),
        anode_V_vs_Li=look_up("anode", anode, "potential_V_vs_Li"),
        has_active=torch.tensor(full["active"].ne("none").to_numpy(dtype=float), dtype=torch.float64),
    )


def _numbers(row: object) -> dict[str, float]:
    return {name: value for name, value in vars(row).items() if isinstance(value, float)}


def _active(name: str, stock: Materials) -> dict[str, float]:
    """A control without active reads the numbers of the first active, at a share of zero."""
    first = next(iter(stock.actives.values()))
    return _numbers(first if name == "none" else stock.active(name))


def _carbon(name: str, stock: Materials) -> dict[str, float]:
    first = next(iter(stock.carbons.values()))
    return _numbers(first if name == "none" else stock.carbon(name))
