"""When the next batches can be mixed: in working hours, one after the other on each mixer, running overnight where they must."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.spec import Lab

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_BEGINS_H = 8.0
"""Hour of the day, local time, at which the lab's working hours begin [est]; a lab of 24 h begins at midnight."""
HANDS_H = 0.5
"""Weighing in and closing the vessel [est]."""


@dataclass(frozen=True)
class Slot:
    """A batch's place on a mixer."""

    mixer: int
    begins: datetime
    ends: datetime

    @property
    def sentence(self) -> str:
        """For people."""
        overnight = ", overnight" if self.ends.date() != self.begins.date() else ""
        return f"mixer {self.mixer}: begin {self.begins:%a %d %b %H:%M}, done {self.ends:%a %d %b %H:%M}{overnight}"


def mixer_slots(clock_h: pd.Series, lab: Lab, at: datetime) -> dict[str, Slot]:
    """Place batches in order, each on the mixer that is free first.

    Args:
        clock_h: hours on the clock of each batch, indexed by trial.
        lab: mixers, working days and hours.
        at: now; mixers are taken to be free from then on.

    Returns:
        Trial -> slot, in local time.
    """
    here = at.astimezone()
    free = [here] * lab.mixers
    slots = {}
    for trial, hours in clock_h.items():
        mixer = min(range(lab.mixers), key=lambda i: free[i])
        begins = next_working(free[mixer], lab)
        ends = begins + timedelta(hours=HANDS_H + float(hours))
        free[mixer] = ends
        slots[str(trial)] = Slot(mixer + 1, begins, ends)
    return slots


def days_a_batch(clock_h: npt.NDArray[np.float64], lab: Lab) -> npt.NDArray[np.float64]:
    """Return the days from batch to batch in the long run, if all took as long as each of n does.

    The last one begun in a day's working hours runs on overnight. Working days are taken to follow one another, and a batch to
    take less than a week.

    Args:
        clock_h: n times on the clock (h), without hands.
        lab: mixers, working days and hours.
    """
    hours, days = clock_h + HANDS_H, len(set(lab.working_days))
    one_day, one_week = lab.working_hours_per_day, (days - 1) * 24.0 + lab.working_hours_per_day
    a_week = np.minimum(days * np.ceil(one_day / hours), np.ceil(one_week / hours))
    return np.asarray(7.0 / a_week / lab.mixers)


def next_working(at: datetime, lab: Lab) -> datetime:
    """First moment from `at` on at which somebody is in the lab."""
    first = 0.0 if lab.working_hours_per_day > 24.0 - DAY_BEGINS_H else DAY_BEGINS_H
    for days in range(8):
        day = (at + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        opens = day + timedelta(hours=first)
        if WEEKDAYS[day.weekday()] in lab.working_days and at < opens + timedelta(hours=lab.working_hours_per_day):
            return max(at, opens)
    return at
