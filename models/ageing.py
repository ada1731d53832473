"""Ageing: how much of the active is still in contact at each cycle, by adaptive cycle jumping.

    protection     P = coverage (1 - loss collapse)
    first cycle    R = 1 - (1 - r0)(1 - P)(1 - exp(-strain / strain_0)),  strain of what is in contact
    activation     a(n) = sigmoid{logit(chi(1) R) + gain P [1 - exp(-(n - 2)/n_a)]},  n >= 2
    loss           F = G [P + (1 - P) exp(-k_b (n - 2))]: what is bare dies, what is covered lives on, and loses
                   d ln G/dn = -(k_s (strain/ref)^2 (duration/ref)^p (swing/p_stack/ref)^q exp[-(p_stack - ref)/P0]
                               + k_d collapse^2 + k_X sum x_X exp[(V_end - V_X)/w])
    contact        chi(1) = a [1 - b (1 - coverage)],  chi(n) = a(n) F(n)

Strain and duration of a cycle follow from the capacity that the cell solver gives, so loss and cell are coupled. Only a
few anchor cycles are solved; between them ln F is a trapezoid of its rate (Heun), and the utilisation of the cell is
interpolated in ln n. Sources: physics.md sections 3.12, 3.13, 3.15 and 4; cycle jumping after Sulzer et al., J. Electrochem.
Soc. 168, 120531 (2021). Beyond 100 cycles only one recipe was measured: a scenario, not a forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models.electrode import (
    Powder,
    net_um_per_mAh_cm2,
    reached_mAh_cm2,
    strain_per_mAh_cm2,
    theoretical_capacity_mAh_cm2,
)
from models.inputs import Inputs
from models.parameters import Values

CapacityOfCycle = Callable[[Tensor, float], Tensor]
"""(contact, cycle) -> discharge capacity in mAh cm-2, same shape as contact."""


_DEAD = -40.0
"""ln of the contact at which nothing is left to lose."""


@dataclass(frozen=True)
class Trajectory:
    """Contact and capacity at the anchor cycles; the lists run over `cycles`, each entry (draws, n).

    `log_kept` is ln G and `loss_rate` its fall a cycle; the log-odds are those of the contact after the first cycle and of its
    activation.
    """

    cycles: tuple[int, ...]
    contact: tuple[Tensor, ...]
    log_kept: tuple[Tensor, ...]
    discharge_mAh_cm2: tuple[Tensor, ...]
    loss_rate: tuple[Tensor, ...]
    reversibility: Tensor
    start_log_odds: Tensor
    gain_log_odds: Tensor


def anchors(last: int, *, also: Sequence[int] = (), ratio: float = 1.8) -> tuple[int, ...]:
    """Cycles to solve: 1, 2, then a constant ratio of cycle numbers, and the last.

    >>> anchors(100)
    (1, 2, 3, 5, 10, 17, 31, 57, 100)
    """
    wanted = {1, min(2, last), last, *also}
    n = 3.0
    while n * ratio**0.5 < last:
        wanted.add(round(n))
        n *= ratio
    return tuple(sorted(n for n in wanted if 1 <= n <= last))


def activated(cycle: Tensor | float, p: Values) -> Tensor:
    """Share of the activation that is done at a cycle; it starts after the first recharge."""
    return -torch.expm1(-(torch.as_tensor(cycle, dtype=torch.float64) - 2.0) / p["activation_cycles"])


def protection(powder: Powder, p: Values) -> Tensor:
    """Share of the interface that LiX on sound electrolyte protects."""
    kept = 1 - p["reversibility_collapse_loss"] * powder.composite.collapse
    return powder.segregation.coverage * kept


def age(x: Inputs, powder: Powder, *, capacity: CapacityOfCycle, cycles: Sequence[int], p: Values) -> Trajectory:
    """Follow n designs from anchor to anchor.

    Args:
        x: n designs.
        powder: their composite.
        capacity: the cell, or what stands for it.
        cycles: anchors, rising, the first is 1.
        p: parameter values, () or (draws, 1) each.
    """
    sound = protection(powder, p)
    bare = x.has_active * (1 - powder.segregation.coverage)
    first = powder.mixing.contact * (1 - p["first_discharge_bare_loss"] * bare)
    one = torch.ones_like(first * sound)
    discharge = [capacity(first * one, 1.0)]
    swollen = strain_per_mAh_cm2(x) * theoretical_capacity_mAh_cm2(x) / powder.composite.thickness_um
    broken = -torch.expm1(-swollen / p["irreversible_strain"])
    reversible = 1 - (1 - p["reversibility_bare"]) * (1 - sound) * broken
    start = torch.logit((first * reversible).clamp(1e-9, 1 - 1e-9))
    gain = p["activation_gain"] * sound
    contact, log_kept = [first * one], [torch.zeros_like(one)]
    rates = [_loss_rate(x, powder, discharge[0], contact=contact[0], cycle=1.0, p=p)]
    for before, n in pairwise(cycles):
        active = torch.sigmoid(start + gain * activated(n, p)) * alive(sound, n, p)
        span = float(n - max(before, 2))
        guessed = (log_kept[-1] - rates[-1] * span).clamp(min=_DEAD)
        guess = active * torch.exp(guessed)
        q = capacity(guess, float(n))
        rate = _loss_rate(x, powder, q, contact=guess, cycle=float(n), p=p)
        kept = (log_kept[-1] - 0.5 * span * (rates[-1] + rate)).clamp(min=_DEAD)
        reached = active * torch.exp(kept)
        if span > 0:
            # Contact enters the capacity nearly in proportion: no second look at the cell for so small a correction; a
            # large one means that the anchors are too far apart, which `models.record.spacing` sees.
            q = q * torch.exp((kept - guessed).clamp(-1.0, 1.0))
            rate = _loss_rate(x, powder, q, contact=reached, cycle=float(n), p=p)
        contact.append(reached)
        log_kept.append(kept)
        discharge.append(q)
        rates.append(rate)
    return Trajectory(
        tuple(cycles), tuple(contact), tuple(log_kept), tuple(discharge), tuple(rates), reversible, start, gain
    )


def alive(sound: Tensor, cycle: Tensor | float, p: Values) -> Tensor:
    """Share of the active that is covered, or bare and not yet lost: a law in closed form that no anchor has to follow."""
    since = (torch.as_tensor(cycle, dtype=torch.float64) - 2.0).clamp(min=0.0)
    return sound + (1 - sound) * torch.exp(-p["fade_bare"] * since) + 1e-30


def _loss_rate(
    x: Inputs, powder: Powder, discharge_mAh_cm2: Tensor, *, contact: Tensor, cycle: float, p: Values
) -> Tensor:
    """Share of the contact that a cycle costs the covered active; the electrolyte's own share of the charge swells nothing."""
    active, own = reached_mAh_cm2(x, powder, contact=contact, cycle=cycle, p=p)
    share = active / (active + own + 1e-9)
    stored = discharge_mAh_cm2 * share
    strain = strain_per_mAh_cm2(x) * stored / powder.composite.thickness_um / p["fade_reference_strain"]
    duration = (2 * discharge_mAh_cm2 / x.current_mA_cm2 + 1e-6) / p["fade_reference_duration_h"]
    swing = p["frame_stiffness_MPa_um"] * net_um_per_mAh_cm2(x, share, p) * discharge_mAh_cm2
    breathing = torch.sqrt((swing / x.stack_pressure_MPa) ** 2 + 1e-6) / p["fade_reference_breathing"]
    pressed = torch.exp(-(x.stack_pressure_MPa - p["reference_pressure_MPa"]) / p["fade_pressure_MPa"])
    swelling = p["fade_strain"] * strain**2 * duration ** p["fade_duration_exponent"] * pressed
    swelling = swelling * breathing ** p["fade_breathing_exponent"]
    # Squared: collapsed grains cut active off where they meet, so that a few of them do little.
    collapsed = powder.composite.collapse
    return swelling + p["fade_collapse"] * collapsed**2 + _oxidised(x, p)


def _oxidised(x: Inputs, p: Values) -> Tensor:
    """Share of the contact lost a cycle to halide that the end of charge oxidises; its lower the voltage, the more."""
    beyond = (p["window_high_V_vs_Li"][..., None] - x.liX_oxidation_V_vs_Li) / p["halide_oxidation_width_V"][..., None]
    return p["fade_halide_oxidation"] * (x.halide_per_P * torch.exp(beyond)).sum(-1)
