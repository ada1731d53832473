"""Mixing: speed, time, balls and geometry to dose, specific energy, temperature, contact and sizes.

    dose            tau = t (N / N_ref)^n (B / B_ref)^b                       equivalent hours
    bed power       P = (B + 1) Omega^2 R r_bed k Omega,  Omega = 2 pi N / 60     W per g of powder
    vessel          C dT/dt = P_vessel - hA (T - T0), in square waves of the duty cycle
    contact         a = 1 - exp[-(tau / tau_a)^p],  closed further by melt infiltration in a heat step
    comminution     1/L - 1/L0 = K tau^m

Sources: kinematics and stress energy, Burmeister & Kwade, Chem. Soc. Rev. 42, 7660 (2013); physics.md sections 3 and 4.
Valid for planetary centrifugal mixers with balls between 200 rpm and their limit; rpm of other mixers do not compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.inputs import Inputs
from models.parameters import Values

BOLTZMANN_EV_K = 8.617333262e-5
ZERO_C_K = 273.15
_SHORT_H = 0.02
"""Width over which the shorter of two times is taken, so that gradients have no jump there."""


@dataclass(frozen=True)
class Mixing:
    """What mixing did to n designs; every field broadcasts to (draws, n)."""

    dose_h: Tensor
    premill_dose_h: Tensor
    specific_power_W_g: Tensor
    specific_energy_kJ_g: Tensor
    vessel_temperature_C: Tensor
    contact: Tensor
    crystallite_size_um: Tensor
    active_particle_size_um: Tensor
    crystalline_active: Tensor


def weibull(dose_h: Tensor, scale_h: Tensor, shape: Tensor) -> Tensor:
    """Share converted after a dose: 1 - exp[-(dose/scale)^shape]."""
    return -torch.expm1(-((dose_h / scale_h) ** shape))


def dose(speed_rpm: Tensor, time_h: Tensor, *, ball_ratio: Tensor, exponent: Tensor, p: Values) -> Tensor:
    """Equivalent hours at the reference speed; speeds under 1 rpm count as 1 rpm to keep the power differentiable."""
    speed = speed_rpm.clamp(min=1.0) / p["dose_reference_speed_rpm"]
    balls = ball_ratio.clamp(min=1e-3) / p["dose_reference_ball_ratio"]
    return time_h * speed**exponent * balls ** p["ball_exponent"]


def carbon_area_per(share: Tensor, x: Inputs) -> Tensor:
    """Carbon area (m2) per gram of a component of the given weight share."""
    return x.carbon_share * x.carbon_area_m2_g / share.clamp(min=1e-3)


def mix(x: Inputs, p: Values) -> Mixing:
    """Follow the mixing of n designs."""
    exponent = p["dose_exponent"]
    main = dose(x.speed_rpm, x.time_h, ball_ratio=x.ball_ratio, exponent=exponent, p=p) + p["hand_mixing_dose_h"]
    before = dose(x.premill_speed_rpm, x.premill_h, ball_ratio=x.ball_ratio, exponent=exponent, p=p)
    power = specific_power_W_g(x, x.speed_rpm, p=p)
    premill_power = specific_power_W_g(x, x.premill_speed_rpm, p=p)
    energy = (power * x.time_h + premill_power * x.premill_h) * 3.6
    return Mixing(
        dose_h=main,
        premill_dose_h=before,
        specific_power_W_g=power,
        specific_energy_kJ_g=energy,
        vessel_temperature_C=peak_vessel_temperature_C(x, power, p=p),
        contact=_contact(x, main, p=p),
        crystallite_size_um=_crystallite(x, p),
        active_particle_size_um=_particle(main, p),
        crystalline_active=torch.exp(-_breaking_dose_h(x, p) / p["amorphisation_dose_h"]),
    )


def specific_power_W_g(x: Inputs, speed_rpm: Tensor, *, p: Values) -> Tensor:
    """Power into the powder per gram of it: weight of the bed at the orbit's acceleration, moved by the spin."""
    omega = speed_rpm * (2 * math.pi / 60)
    bed = (x.ball_ratio + 1) * omega**2 * x.orbit_radius_m * p["bed_arm_m"] * x.spin_ratio * omega
    return bed * p["dissipation_efficiency"] * 1e-3  # W/kg to W/g


def peak_vessel_temperature_C(x: Inputs, power_W_g: Tensor, *, p: Values) -> Tensor:
    """Highest temperature of the vessel once the duty cycle repeats itself (an upper bound for short mixing)."""
    rise = power_W_g * p["batch_mass_g"] * p["vessel_heat_share"] / x.heat_loss_W_K
    thermal_h = x.thermal_mass_J_K / x.heat_loss_W_K / 3600
    on, period = p["duty_period_h"] * x.duty, p["duty_period_h"]
    heated_h = -_SHORT_H * torch.logaddexp(-on / _SHORT_H, -x.time_h / _SHORT_H)
    return p["room_temperature_C"] + rise * torch.expm1(-heated_h / thermal_h) / torch.expm1(-period / thermal_h)


def thermal_history(x: Inputs, p: Values, *, points: int = 200) -> tuple[Tensor, Tensor]:
    """Vessel temperature against hours on the clock, from rest: both (points, n), exact in each half of the duty cycle."""
    power = specific_power_W_g(x, x.speed_rpm, p=p)
    rise = power * p["batch_mass_g"] * p["vessel_heat_share"] / x.heat_loss_W_K
    rate = 3600 * x.heat_loss_W_K / x.thermal_mass_J_K
    clock = torch.linspace(0, 1, points, dtype=torch.float64, device=rate.device)[:, None] * (x.time_h / x.duty)
    period = p["duty_period_h"]
    on = period * x.duty
    cycles = torch.floor(clock / period)
    phase = clock - cycles * period
    # Temperature at the start of a period: a geometric series of what one rotation leaves behind.
    left = torch.exp(-rate * period)
    gained = -torch.expm1(-rate * on) * torch.exp(-rate * (period - on))
    start = gained * (1 - left**cycles) / (1 - left)
    rotating = 1 - (1 - start) * torch.exp(-rate * torch.minimum(phase, on))
    resting = torch.exp(-rate * (phase - on).clamp(min=0.0))
    return clock, p["room_temperature_C"] + rise * rotating * resting


def _contact(x: Inputs, dose_h: Tensor, *, p: Values) -> Tensor:
    carbon = carbon_area_per(x.active_share, x) / p["reference_carbon_m2_per_g_active"]
    # A control without active has carbon and electrolyte only; its own redox needs no active wetted.
    carbon = torch.where(x.has_active > 0, carbon, torch.ones_like(carbon)).clamp(min=0.01)
    mixed = weibull(dose_h * carbon ** p["contact_carbon_exponent"], p["contact_dose_h"], p["contact_shape"])
    sigma = x.active_conductivity_S_cm
    own = p["contact_self_conduction"] * sigma / (sigma + p["self_conduction_threshold_S_cm"])
    molten = torch.sigmoid((x.heat_C - x.active_melting_C) / p["melt_width_K"])
    soaked = p["melt_contact_gain"] * molten * -torch.expm1(-x.heat_h / p["melt_infiltration_h"])
    return mixed + (1 - mixed) * (own * mixed + soaked * (1 - own * mixed))


def _crystallite(x: Inputs, p: Values) -> Tensor:
    exponent = p["crystallite_speed_exponent"]
    before = dose(x.premill_speed_rpm, x.premill_h, ball_ratio=x.ball_ratio, exponent=exponent, p=p)
    broken = p["crystallite_rate_per_um"] * (_breaking_dose_h(x, p) + before + 1e-9) ** p["crystallite_shape"]
    return 1 / (1 / p["crystallite_initial_um"] + broken)


def _breaking_dose_h(x: Inputs, p: Values) -> Tensor:
    """Dose that breaks crystals: it asks less of the speed than what makes contact and drives halide out."""
    return dose(x.speed_rpm, x.time_h, ball_ratio=x.ball_ratio, exponent=p["crystallite_speed_exponent"], p=p)


def _particle(dose_h: Tensor, p: Values) -> Tensor:
    """Size of the active: from as received to well mixed, following the contact that it makes."""
    mixed = weibull(dose_h, p["contact_dose_h"], p["contact_shape"])
    return 1 / ((1 - mixed) / p["active_particle_initial_um"] + mixed / p["active_particle_um"])
