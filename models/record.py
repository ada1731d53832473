"""From the anchors to every cycle: the cycling record of n designs.

    Q(n) = chi(n) [m q + q_SSE(n)] u(n):  chi from its own law with ln G a cubic Hermite through the anchors (their rates are
    known), u (what the cell makes of the reached capacity) linear in ln n; likewise voltages and the charge.

Valid between the first and the last anchor; `spacing` chooses the anchors by an estimate of the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models import cell_quick
from models.ageing import activated, alive, protection
from models.electrode import reached_mAh_cm2, sse_capacity_mAh_cm2, theoretical_capacity_mAh_cm2
from models.inputs import Inputs, take, with_cycle_axis
from models.parameters import Values
from models.physics import Run, run

JUMP_ERROR = 1.25e-3
"""Largest move of a capacity, relative to its peak, when the spacing of the anchors is halved: a quarter of the error allowed,
as the worst of 384 designs was off by three moves (0.38 %)."""

SPACINGS = tuple(1.8 ** (0.5**i) for i in range(6))
"""Ratios of neighbouring anchors that are tried, each the root of the one before."""


@dataclass(frozen=True)
class Record:
    """Capacities and mean voltages at every cycle, each (*states, cycles)."""

    cycles: Tensor
    discharge_mAh_cm2: Tensor
    charge_mAh_cm2: Tensor
    sse_mAh_cm2: Tensor
    mean_discharge_V: Tensor
    mean_charge_V: Tensor


def discharge_at(x: Inputs, followed: Run, cycles: Tensor, p: Values) -> Tensor:
    """Discharge capacity at any cycles within the run, (*states, cycles)."""
    active, own = _reached_at(x, followed, cycles, p)
    return (active + own) * _linear(_use(x, followed, p), followed, cycles)


def own_share_at(x: Inputs, followed: Run, cycles: Tensor, p: Values) -> Tensor:
    """Share of the discharge that is the electrolyte's own redox, (*states, cycles)."""
    active, own = _reached_at(x, followed, cycles, p)
    return own / (active + own).clamp(min=1e-12)


def every_cycle(x: Inputs, followed: Run, p: Values) -> Record:
    """The record of cycles 1 to the last anchor."""
    last = followed.cycles[-1]
    cycles = torch.arange(1, last + 1, dtype=torch.float64, device=x.speed_rpm.device)
    discharge = discharge_at(x, followed, cycles, p)
    own = own_share_at(x, followed, cycles, p)
    recharged = followed.charges.capacity_mAh_cm2 / followed.discharges.capacity_mAh_cm2.clamp(min=1e-9)
    # What has lost contact since the discharge cannot be charged; the electrolyte's own redox stays.
    share = _linear(list(followed.at_anchors(recharged)), followed, cycles) * (
        own + (1 - own) * _kept(followed, cycles)
    )
    return Record(
        cycles=cycles,
        discharge_mAh_cm2=discharge,
        charge_mAh_cm2=discharge * share,
        sse_mAh_cm2=discharge * own,
        mean_discharge_V=_linear(list(followed.mean_voltage_V()), followed, cycles),
        mean_charge_V=_linear(list(followed.at_anchors(followed.charges.mean_voltage_V)), followed, cycles),
    )


def quick_error_at(x: Inputs, followed: Run, cycles: Tensor, p: Values) -> Tensor:
    """One sigma of ln(quick / full) of the discharge at any cycles, (*states, cycles)."""
    sigma = [cell_quick.relative_error(share.clamp(max=1.0), "discharge") for share in _use(x, followed, p)]
    return _linear(sigma, followed, cycles)


def spacing(x: Inputs, p: Values, *, last: int, also: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """Choose for each of n designs, by itself, how dense its anchors must be.

    Quick trajectories tell: the spacing is halved (in ln n) until that moves no capacity by more than `JUMP_ERROR` of the
    peak. The last move, or `JUMP_ERROR` where it is less, is told as the error.

    Returns:
        Ratio of neighbouring anchors, (n,), one of `SPACINGS`; estimated error of jumping relative to the peak, (n,).
    """
    seen = torch.unique(torch.round(torch.logspace(0, math.log10(last), 40, dtype=torch.float64)))
    device = x.speed_rpm.device
    chosen = torch.full((x.n,), SPACINGS[-1], dtype=torch.float64, device=device)
    error = torch.zeros(x.n, dtype=torch.float64, device=device)
    left = torch.arange(x.n, device=device)
    coarse: Tensor | None = None
    for ratio, finer in pairwise((*SPACINGS, SPACINGS[-1] ** 0.5)):
        part = take(x, left)
        if coarse is None:
            coarse = discharge_at(part, run(part, p, last=last, also=also, ratio=ratio), seen, p)
        fine = discharge_at(part, run(part, p, last=last, also=also, ratio=finer), seen, p)
        moved = ((coarse - fine).abs() / fine.amax(-1, keepdim=True)).amax(-1)
        good = moved <= JUMP_ERROR
        chosen[left], error[left] = ratio, moved.clamp(min=JUMP_ERROR)
        left, coarse = left[~good], fine[~good]
        if not len(left):
            break
    return chosen, error


def _use(x: Inputs, followed: Run, p: Values) -> list[Tensor]:
    """Discharge over reached capacity at each anchor."""
    path = followed.trajectory
    return [
        q / sum(reached_mAh_cm2(x, followed.powder, contact=chi, cycle=float(n), p=p), start=torch.tensor(1e-9))
        for q, chi, n in zip(path.discharge_mAh_cm2, path.contact, path.cycles, strict=True)
    ]


def _reached_at(x: Inputs, followed: Run, cycles: Tensor, p: Values) -> tuple[Tensor, Tensor]:
    """Capacity in reach of the active and of the electrolyte at any cycles, (*states, cycles) each."""
    mixed = followed.powder.mixing.contact[..., None] * sse_capacity_mAh_cm2(with_cycle_axis(x), cycles, _columns(p))
    access = followed.powder.composite.electron_access[..., None]
    theory = theoretical_capacity_mAh_cm2(x)[..., None]
    return access * _contact_at(followed, cycles, p) * theory, access * mixed


def _contact_at(followed: Run, cycles: Tensor, p: Values) -> Tensor:
    path = followed.trajectory
    odds = path.start_log_odds[..., None] + path.gain_log_odds[..., None] * activated(cycles, _columns(p))
    later = torch.sigmoid(odds) * torch.exp(_log_kept(followed, cycles)) * _alive(followed, cycles)
    return torch.where(cycles < 2, path.contact[0][..., None], later)


def _log_kept(followed: Run, cycles: Tensor) -> Tensor:
    """Cubic Hermite through ln G, whose slope at each anchor is known."""
    path = followed.trajectory
    at = torch.tensor(followed.cycles, dtype=torch.float64, device=cycles.device)
    left, width, t = _place(at, cycles)
    value, slope = torch.stack(path.log_kept, -1), -torch.stack(path.loss_rate, -1)
    right = (left + 1).clamp(max=len(at) - 1)
    # Nothing is lost before the first recharge: between cycles 1 and 2 the slope is nil.
    slope0, slope1 = torch.where(at[left] < 2, 0.0, 1.0) * slope[..., left], slope[..., right]
    y0, y1 = value[..., left], value[..., right]
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2
    h01, h11 = t**2 * (3 - 2 * t), t**2 * (t - 1)
    return h00 * y0 + h10 * width * slope0 + h01 * y1 + h11 * width * slope1


def _alive(followed: Run, cycles: Tensor) -> Tensor:
    p = followed.cells.p
    return alive(protection(followed.powder, p)[..., None], cycles, _columns(p))


def _kept(followed: Run, cycles: Tensor) -> Tensor:
    """Share of a discharge's active that is still in contact when it is charged."""
    here = _log_kept(followed, cycles)
    step = torch.diff(here, dim=-1, append=here[..., -1:] - followed.trajectory.loss_rate[-1][..., None])
    step = step + torch.log(_alive(followed, cycles + 1) / _alive(followed, cycles))
    return torch.where(cycles < 2, followed.trajectory.reversibility[..., None], torch.exp(step))


def _linear(anchored: list[Tensor], followed: Run, cycles: Tensor) -> Tensor:
    """Interpolate anchored values linearly in ln n."""
    at = torch.log(torch.tensor(followed.cycles, dtype=torch.float64, device=cycles.device))
    left, _, t = _place(at, torch.log(cycles))
    value = torch.stack(anchored, -1)
    return value[..., left] * (1 - t) + value[..., (left + 1).clamp(max=len(at) - 1)] * t


def _place(at: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the anchor to the left, width of its interval, position in it (0 to 1)."""
    left = (torch.searchsorted(at, wanted, right=True) - 1).clamp(0, max(len(at) - 2, 0))
    right = (left + 1).clamp(max=len(at) - 1)
    width = (at[right] - at[left]).clamp(min=1e-12)
    return left, width, ((wanted - at[left]) / width).clamp(0.0, 1.0)


def _columns(p: Values) -> Values:
    return {name: value[..., None] if value.ndim else value for name, value in p.items()}
