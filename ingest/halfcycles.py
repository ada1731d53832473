"""Half-cycles and their charge: the one place where current and time become capacity.

A half-cycle is a run of one current sign. Rests (|I| <= 0.1 % of the largest), steps of rate and constant-voltage tails do
not end it. Charge is the integral of I dt: trapezoids between rows of one step; across a step change, the current before
holds until the change and the current after from there on. The instant of the change comes from the step time where
the file has one; else a step whose last interval is irregular was logged at its end, and an even grid is read as its
first time stamp says (rows at 0, dt, … stand for the interval that follows, rows at dt, 2 dt, … for the one before). A
current that is the mean since the row before is taken as that.
A half-cycle under 2 % of the largest, between larger ones, is a pulse: dropped with a note, its neighbours joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.series import Floats, Series

REST_SHARE = 1e-3
"""|I| up to this share of the largest is rest ."""
PULSE_SHARE = 0.02
"""A half-cycle under this share of the largest is a pulse."""
_JUMP_SHARE = 0.05
"""A change of current by more than this share of the largest is a change of step, where the file does not number steps."""
_GRID = 0.02
_HOLE = 1.5
"""An interval at a step change longer than this many of its neighbours is a hole in the record."""


@dataclass(frozen=True)
class HalfCycle:
    """One half-cycle: rows `first` to `last` (both counted), both carrying current of this sign."""

    sign: int
    """-1 discharge, +1 charge."""
    first: int
    last: int
    charge_mAh: float
    """Integral of |I| dt."""
    energy_mWh: float
    """Integral of |I| V dt."""
    vendor_mAh: float
    """The vendor's own: sum of positive counter differences; NaN where the file has no counter."""
    unsure_mAh: float = 0.0
    """Charge of the intervals in which the current was switched at an instant that the file does not tell."""
    rests: int = 0
    """Number of rests inside."""
    pulses: int = 0
    """Number of pulses dropped inside."""

    @property
    def mean_voltage_V(self) -> float:
        """Integral V dq / integral dq."""
        return self.energy_mWh / self.charge_mAh if self.charge_mAh > 0 else float("nan")


def signs(current_mA: Floats) -> NDArray[np.int8]:
    """Return -1, 0 or +1 per row; 0 is rest."""
    largest = float(np.max(np.abs(current_mA), initial=0.0))
    direction = np.sign(current_mA).astype(np.int8)
    direction[np.abs(current_mA) <= REST_SHARE * largest] = 0
    return direction


def split(series: Series) -> list[HalfCycle]:
    """Return the half-cycles of a series in order; neighbours have opposite signs.

    An empty list means that the series carries no current.
    """
    direction = signs(series.current_mA)
    carrying = np.flatnonzero(direction)
    if not len(carrying):
        return []
    charge, energy, unsure = _per_row(series, direction)
    vendor = _vendor_per_row(series, direction)
    edges = np.flatnonzero(np.diff(direction[carrying])) + 1
    firsts = carrying[np.concatenate(([0], edges))]
    lasts = carrying[np.concatenate((edges - 1, [len(carrying) - 1]))]
    into_rest = (direction[:-1] != 0) & (direction[1:] == 0)
    halves = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        rows = slice(first, last + 1)
        halves.append(
            HalfCycle(
                sign=int(direction[first]),
                first=first,
                last=last,
                charge_mAh=float(charge[rows].sum()) / 3600.0,
                energy_mWh=float(energy[rows].sum()) / 3600.0,
                vendor_mAh=float(vendor[rows].sum()) if vendor is not None else float("nan"),
                unsure_mAh=float(unsure[rows].sum()) / 3600.0,
                rests=int(into_rest[first:last].sum()),
            )
        )
    return _without_pulses(halves)


def _per_row(series: Series, direction: NDArray[np.int8]) -> tuple[Floats, Floats, Floats]:
    """Give each row |charge| (mA s) and |energy| (mW s) of the intervals around it, and the charge that is unsure (mA s)."""
    time, current, voltage = series.time_s, np.abs(series.current_mA), series.voltage_V
    charge, energy, unsure = np.zeros_like(time), np.zeros_like(time), np.zeros_like(time)
    if len(time) < 2:
        return charge, energy, unsure
    gap = np.diff(time)
    if series.interval_mean:
        charge[1:] = np.where(direction[1:] != 0, current[1:] * gap, 0.0)
        energy[1:] = charge[1:] * 0.5 * (voltage[1:] + voltage[:-1])
        return charge, energy, unsure
    jump = _jumps(series, direction)
    smooth = ~jump & (direction[1:] != 0)
    part = np.where(smooth, 0.5 * (current[1:] + current[:-1]) * gap, 0.0)
    charge[1:] += part
    energy[1:] += part * 0.5 * (voltage[1:] + voltage[:-1])
    before, after, known = _held(series, jump)
    left = np.where(jump & (direction[:-1] != 0), current[:-1] * before, 0.0)
    right = np.where(jump & (direction[1:] != 0), current[1:] * after, 0.0)
    charge[:-1] += left
    energy[:-1] += left * voltage[:-1]
    charge[1:] += right
    energy[1:] += right * voltage[1:]
    open_gap = np.where(jump & ~known & (gap <= _HOLE * np.concatenate((gap[1:], gap[-1:]))), gap, 0.0)
    unsure[:-1] += np.where(direction[:-1] != 0, current[:-1] * open_gap, 0.0)
    unsure[1:] += np.where(direction[1:] != 0, current[1:] * open_gap, 0.0)
    return charge, energy, unsure


def _jumps(series: Series, direction: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Say for each interval whether the current was switched within it."""
    jump = direction[1:] != direction[:-1]
    current = np.abs(series.current_mA)
    stepped = np.abs(np.diff(series.current_mA)) > _JUMP_SHARE * max(float(current.max()), 1e-300)
    if series.step is not None:
        stepped &= series.step[1:] != series.step[:-1]
    elif series.step_time_s is not None:
        stepped &= np.diff(series.step_time_s) < 0
    return np.asarray(jump | stepped, dtype=bool)


def _held(series: Series, jump: NDArray[np.bool_]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return, per interval, for how long the current before and after it flowed, and whether the file tells it.

    A hole much longer than its neighbours is no current: neither side is stretched over it.
    """
    time = series.time_s
    gap = np.diff(time)
    last = np.concatenate((gap[:1], gap[:-1]))
    following = np.concatenate((gap[1:], gap[-1:]))
    first_stamp_opens = len(gap) > 0 and time[0] < 0.5 * gap[0]
    before = np.where(_even_before(gap) & first_stamp_opens, gap, 0.0)
    after = np.where(gap - before <= _HOLE * following, gap - before, 0.0)
    known = np.zeros(len(gap), dtype=bool)
    if series.step_time_s is not None:
        since = series.step_time_s[1:]
        goes_on = np.abs(since - series.step_time_s[:-1] - gap) <= 1e-3 * gap + 1e-6
        known = jump & ~goes_on & (since >= 0) & (since <= gap * (1 + 1e-6) + 1e-3)
        after = np.where(known, np.minimum(since, gap), after)
        rest = gap - after
        before = np.where(known, np.where(rest <= _HOLE * last, rest, 0.0), before)
    return before, after, known


def _even_before(gap: Floats) -> NDArray[np.bool_]:
    """Say for each interval whether it and the two before it are equally long: no sign of a row logged at a step's end."""
    even = np.zeros(len(gap), dtype=bool)
    if len(gap) > 2:
        here, one, two = gap[2:], gap[1:-1], gap[:-2]
        even[2:] = (np.abs(here - one) <= _GRID * one) & (np.abs(one - two) <= _GRID * two)
    return even


def _vendor_per_row(series: Series, direction: NDArray[np.int8]) -> Floats | None:
    """Return the vendor's increment of each row: positive counter differences, never the maximum or the last value."""
    if series.charge_counter_mAh is not None and series.discharge_counter_mAh is not None:
        up = _increments(series.charge_counter_mAh)
        down = _increments(series.discharge_counter_mAh)
        return np.where(direction > 0, up, np.where(direction < 0, down, 0.0))
    if series.throughput_mAh is not None:
        moved = np.diff(series.throughput_mAh, prepend=series.throughput_mAh[:1]) * direction
        return np.where(moved > 0, moved, 0.0)
    if series.counter_mAh is not None:
        return np.where(direction != 0, _increments(series.counter_mAh), 0.0)
    return None


def _increments(counter: Floats) -> Floats:
    """Return positive differences of a counter by magnitude; after a reset to near zero, the new value itself."""
    level = np.abs(counter)
    difference = np.diff(level, prepend=level[:1])
    previous = np.concatenate((level[:1], level[:-1]))
    reset = (difference < 0) & (level < 0.1 * previous)
    return np.where(difference > 0, difference, np.where(reset, level, 0.0))


def _without_pulses(halves: list[HalfCycle]) -> list[HalfCycle]:
    largest = max(half.charge_mAh for half in halves)
    small = [half.charge_mAh < PULSE_SHARE * largest for half in halves]
    kept: list[HalfCycle] = []
    index = 0
    while index < len(halves):
        if not small[index]:
            kept.append(halves[index])
            index += 1
            continue
        end = index
        while end < len(halves) and small[end]:
            end += 1
        group = halves[index:end]
        together = sum(half.charge_mAh for half in group)
        if end == len(halves) or together >= PULSE_SHARE * largest:
            kept += group
        elif kept:
            kept[-1] = replace(kept[-1], pulses=kept[-1].pulses + len(group))
        index = end
    return _joined(kept)


def _joined(halves: list[HalfCycle]) -> list[HalfCycle]:
    """Join neighbours of one sign (what stood between them was a pulse)."""
    joined: list[HalfCycle] = []
    for half in halves:
        if joined and joined[-1].sign == half.sign:
            before = joined[-1]
            joined[-1] = replace(
                before,
                last=half.last,
                charge_mAh=before.charge_mAh + half.charge_mAh,
                energy_mWh=before.energy_mWh + half.energy_mWh,
                vendor_mAh=before.vendor_mAh + half.vendor_mAh,
                unsure_mAh=before.unsure_mAh + half.unsure_mAh,
                rests=before.rests + half.rests,
                pulses=before.pulses + half.pulses,
            )
        else:
            joined.append(half)
    return joined
