"""From the anchors to every cycle: the cycling record of n designs.

    Q(n) = chi(n) [m q + q_SSE(n)] u(n):  chi from its own law with ln F a cubic Hermite through the anchors (their rates are
    known), u (what the cell makes of the reached capacity) linear in ln n; likewise voltages and the charge.

The error of the jump is estimated by leaving out each anchor in turn: halving the step of a piecewise linear u quarters
its error, so a quarter of the difference seen is what is left. Valid between the first and the last anchor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.ageing import activated
from models.electrode import reached_mAh_cm2, sse_capacity_mAh_cm2, theoretical_capacity_mAh_cm2
from models.inputs import Inputs, with_cycle_axis
from models.parameters import Values
from models.physics import Run


@dataclass(frozen=True)
class Record:
    """Capacities and mean voltages at every cycle, each (*states, cycles)."""

    cycles: Tensor
    discharge_mAh_cm2: Tensor
    charge_mAh_cm2: Tensor
    sse_mAh_cm2: Tensor
    mean_discharge_V: Tensor
    mean_charge_V: Tensor
    relative_jump_error: Tensor


def discharge_at(x: Inputs, run: Run, cycles: Tensor, p: Values) -> Tensor:
    """Discharge capacity at any cycles within the run, (*states, cycles)."""
    active, own = _reached_at(x, run, cycles, p)
    return (active + own) * _linear(_use(x, run, p), run, cycles)


def own_share_at(x: Inputs, run: Run, cycles: Tensor, p: Values) -> Tensor:
    """Share of the discharge that is the electrolyte's own redox, (*states, cycles)."""
    active, own = _reached_at(x, run, cycles, p)
    return own / (active + own).clamp(min=1e-12)


def every_cycle(x: Inputs, run: Run, p: Values) -> Record:
    """The record of cycles 1 to the last anchor; the run must have charges."""
    if run.charges is None:
        raise ValueError("a record needs the charges: run(..., charges=True)")
    last = run.cycles[-1]
    cycles = torch.arange(1, last + 1, dtype=torch.float64, device=x.speed_rpm.device)
    discharge = discharge_at(x, run, cycles, p)
    own = own_share_at(x, run, cycles, p)
    recharged = run.charges.capacity_mAh_cm2 / run.discharges.capacity_mAh_cm2.clamp(min=1e-9)
    # What has lost contact since the discharge cannot be charged; the electrolyte's own redox stays.
    share = _linear(list(run.at_anchors(recharged)), run, cycles) * (own + (1 - own) * _kept(run, cycles))
    return Record(
        cycles=cycles,
        discharge_mAh_cm2=discharge,
        charge_mAh_cm2=discharge * share,
        sse_mAh_cm2=discharge * own,
        mean_discharge_V=_linear(list(run.at_anchors(run.discharges.mean_voltage_V)), run, cycles),
        mean_charge_V=_linear(list(run.at_anchors(run.charges.mean_voltage_V)), run, cycles),
        relative_jump_error=jump_error(x, run, p),
    )


def jump_error(x: Inputs, run: Run, p: Values) -> Tensor:
    """Estimated relative error of the capacity between anchors, the worst of each design, (*states)."""
    use = _use(x, run, p)
    n = [float(torch.log(torch.tensor(float(c)))) for c in run.cycles]
    worst = torch.zeros_like(use[0])
    # From cycle 1 to 2 the first cycle's break is not smooth, and both are always solved.
    for k in range(2, len(use) - 1):
        weight = (n[k] - n[k - 1]) / (n[k + 1] - n[k - 1])
        skipped = use[k - 1] * (1 - weight) + use[k + 1] * weight
        worst = torch.maximum(worst, 0.25 * (skipped / use[k].clamp(min=1e-9) - 1).abs())
    return worst


def _use(x: Inputs, run: Run, p: Values) -> list[Tensor]:
    """Discharge over reached capacity at each anchor."""
    path = run.trajectory
    return [
        q / sum(reached_mAh_cm2(x, run.powder, contact=chi, cycle=float(n), p=p), start=torch.tensor(1e-9))
        for q, chi, n in zip(path.discharge_mAh_cm2, path.contact, path.cycles, strict=True)
    ]


def _reached_at(x: Inputs, run: Run, cycles: Tensor, p: Values) -> tuple[Tensor, Tensor]:
    """Capacity in reach of the active and of the electrolyte at any cycles, (*states, cycles) each."""
    mixed = run.powder.mixing.contact[..., None] * sse_capacity_mAh_cm2(with_cycle_axis(x), cycles, _columns(p))
    access = run.powder.composite.electron_access[..., None]
    theory = theoretical_capacity_mAh_cm2(x)[..., None]
    return access * _contact_at(run, cycles, p) * theory, access * mixed


def _contact_at(run: Run, cycles: Tensor, p: Values) -> Tensor:
    path = run.trajectory
    odds = path.start_log_odds[..., None] + path.gain_log_odds[..., None] * activated(cycles, _columns(p))
    later = torch.sigmoid(odds) * torch.exp(_log_kept(run, cycles))
    return torch.where(cycles < 2, path.contact[0][..., None], later)


def _log_kept(run: Run, cycles: Tensor) -> Tensor:
    """Cubic Hermite through ln F, whose slope at each anchor is known."""
    path = run.trajectory
    at = torch.tensor(run.cycles, dtype=torch.float64, device=cycles.device)
    left, width, t = _place(at, cycles)
    value, slope = torch.stack(path.log_kept, -1), -torch.stack(path.loss_rate, -1)
    right = (left + 1).clamp(max=len(at) - 1)
    # Nothing is lost before the first recharge: between cycles 1 and 2 the slope is nil.
    slope0, slope1 = torch.where(at[left] < 2, 0.0, 1.0) * slope[..., left], slope[..., right]
    y0, y1 = value[..., left], value[..., right]
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2
    h01, h11 = t**2 * (3 - 2 * t), t**2 * (t - 1)
    return h00 * y0 + h10 * width * slope0 + h01 * y1 + h11 * width * slope1


def _kept(run: Run, cycles: Tensor) -> Tensor:
    """Share of a discharge's active that is still in contact when it is charged."""
    here = _log_kept(run, cycles)
    step = torch.diff(here, dim=-1, append=here[..., -1:] - run.trajectory.loss_rate[-1][..., None])
    return torch.where(cycles < 2, run.trajectory.reversibility[..., None], torch.exp(step))


def _linear(anchored: list[Tensor], run: Run, cycles: Tensor) -> Tensor:
    """Interpolate anchored values linearly in ln n."""
    at = torch.log(torch.tensor(run.cycles, dtype=torch.float64, device=cycles.device))
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
