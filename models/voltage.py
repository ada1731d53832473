"""Readings of the voltage curves at anchor cycles: where a plateau starts, and the gap between charge and discharge.

A plateau starts after 5 % of the charge of its half-cycle. The gap at a charge is the voltage of the charge after that
much was charged, less that of the discharge after that much was discharged. All against Li-In, as the paper prints them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from models.inputs import Inputs
from models.parameters import Values
from models.physics import Run

_PLATEAU_SHARE = 0.05


def _curve(r: Run, cycle: int, half: Literal["discharge", "charge"]) -> tuple[Tensor, Tensor, Tensor]:
    """Capacity (*states), grid (m,) and voltages (*states, m) at the anchor nearest to a cycle."""
    solved = r.discharges if half == "discharge" else r.charges
    nearest = min(range(len(r.cycles)), key=lambda k: abs(r.cycles[k] - cycle))
    return (
        r.at_anchors(solved.capacity_mAh_cm2)[nearest],
        solved.charge_grid,
        r.at_anchors(solved.voltage_V)[nearest],
    )


def _at_share(volts: Tensor, grid: Tensor, share: Tensor) -> Tensor:
    """Interpolate a curve linearly at a share of its charge, clamped to the curve; the grid may be uneven."""
    inside = share.clamp(0.0, 1.0)
    left = (torch.searchsorted(grid, inside.detach().contiguous(), right=True) - 1).clamp(0, len(grid) - 2)
    t = (inside - grid[left]) / (grid[left + 1] - grid[left])
    low = torch.gather(volts, -1, left[..., None])[..., 0]
    high = torch.gather(volts, -1, left[..., None] + 1)[..., 0]
    return low * (1 - t) + high * t


def plateau_start_V(x: Inputs, r: Run, p: Values, cycle: int, *, half: Literal["discharge", "charge"]) -> Tensor:
    """Voltage at the start of the plateau, against Li-In."""
    capacity, grid, volts = _curve(r, cycle, half)
    against = x.anode_V_vs_Li - p["li_in_potential_V"]
    return _at_share(volts, grid, torch.full_like(capacity, _PLATEAU_SHARE)) + against


def gap_at_V(r: Run, cycle: int, *, charge_mAh_cm2: float) -> Tensor:
    """Voltage of the charge less that of the discharge, both after `charge_mAh_cm2` (or at their end)."""
    low_capacity, grid, low = _curve(r, cycle, "discharge")
    high_capacity, _, high = _curve(r, cycle, "charge")
    return _at_share(high, grid, charge_mAh_cm2 / high_capacity) - _at_share(low, grid, charge_mAh_cm2 / low_capacity)
