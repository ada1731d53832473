"""The virtual clock: a lab with one mixer and K channels, played against a chooser of trials, in days.

A mix takes its net hours, those of premilling too, over the duty and half an hour of hands; it begins in working hours and may
run overnight. A day after it ends its powder results are in and its cell goes on a channel, or waits for one. Each cycle lasts
(Q_dis + Q_chg)/I of that cell, so results arrive as partial curves and out of order. Day 0 is a Monday morning.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.spec import Lab
from flows.early_evidence import Seen
from flows.mixer import WEEKDAYS

if TYPE_CHECKING:
    from models.virtual_lab_plug import OpenLab

Floats = npt.NDArray[np.float64]
HANDS_DAYS = 0.5 / 24
POWDER_DAYS = 1.0
WEEK = 7.0
WITHIN = 0.05


@dataclass(frozen=True)
class Test:
    """One mix and its cell, as the clock knows it; what a chooser may see of it is `seen`."""

    number: int
    recipe: Mapping[str, Any]
    asked_day: float
    ready_day: float = np.inf
    """Its powder is known and its cell could start."""
    started_day: float = np.inf
    powder: Mapping[str, float] = field(default_factory=dict)
    discharge: Floats = field(default_factory=lambda: np.zeros(0))
    charge: Floats = field(default_factory=lambda: np.zeros(0))
    ends: Floats = field(default_factory=lambda: np.zeros(0))
    """Day on which each cycle ends."""
    died: bool = False
    """The last cycle of `discharge` was its last, before what was wanted."""
    stopped_after: int | None = None

    @property
    def last_cycle(self) -> int:
        """Cycles that it runs, or ran."""
        return len(self.ends) if self.stopped_after is None else self.stopped_after

    @property
    def ended_day(self) -> float:
        """Day on which its channel is free."""
        if not np.isfinite(self.started_day):
            return np.inf
        return float(self.ends[self.last_cycle - 1]) if self.last_cycle else self.started_day


def seen(test: Test, day: float) -> Seen:
    """What may be known of a test on a day."""
    cycles = min(int(np.searchsorted(test.ends, day + 1e-9, side="right")), test.last_cycle)
    if day < test.started_day:
        state = "mixing"
    elif day + 1e-9 < test.ended_day:
        state = "running"
    elif test.stopped_after is not None:
        state = "stopped"
    else:
        state = "died" if test.died else "ended"
    powder = test.powder if day >= test.ready_day else {}
    return Seen(test.number, test.recipe, powder, test.discharge[:cycles], state)


class Chooser(Protocol):
    """Whoever decides: this product, a peer, or a plan made once."""

    last_cycle: int
    """Its cells run so far unless stopped."""
    readouts: Sequence[int]
    """Cycles after which it wants to look at a cell."""
    ahead: int
    """Batches that it has mixed while every channel is taken."""

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        """Return what to mix now, or None to leave the mixer until something new is known; `free` channels lack a batch."""

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> Sequence[int]:
        """Return numbers of running tests to stop now; `wanted` batches wait for a channel."""

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return the recipe that it would recommend, None as long as it has nothing to go by."""


@dataclass(frozen=True)
class Bench:
    """What the lab has, and how long it is played."""

    channels: int = 8
    mixers: int = 1
    working_days: frozenset[int] = frozenset(range(5))
    working_hours: float = 9.0
    duty: float = 0.5
    most_tests: int = 10_000
    horizon_days: float = 730.0

    @classmethod
    def of(cls, lab: Lab, *, duty: float, most_tests: int, horizon_days: float = 730.0) -> Bench:
        """The bench of a campaign's `lab:` block."""
        days = frozenset(WEEKDAYS.index(day) for day in lab.working_days)
        return cls(
            channels=lab.channels,
            mixers=lab.mixers,
            working_days=days,
            working_hours=lab.working_hours_per_day,
            duty=duty,
            most_tests=most_tests,
            horizon_days=horizon_days,
        )

    def next_working(self, day: float) -> float:
        """First moment from `day` on at which somebody is there."""
        share = self.working_hours / 24
        for start in (np.floor(day) + k for k in range(9)):
            if int(start) % 7 in self.working_days and day < start + share:
                return float(max(day, start))
        return day


@dataclass(frozen=True)
class Played:
    """A campaign as it went.

    Attributes:
        weeks: one row a weekly check: `day`, `cells` (started so far), `regret` (of the recommended recipe, true value),
            `regret_tried` (of the best one tried).
        tests: all of them.
        best: the lab's noise-free best.
    """

    weeks: pd.DataFrame
    tests: tuple[Test, ...]
    best: float

    def within(self, tolerance: float = WITHIN) -> tuple[float, int] | None:
        """Day and cells from which on every check finds the recommended recipe within tolerance; None if never."""
        off = np.flatnonzero(~(self.weeks["regret"].to_numpy() <= tolerance))
        first = int(off[-1]) + 1 if len(off) else 0
        if first >= len(self.weeks):
            return None
        row = self.weeks.iloc[first]
        return float(row["day"]), int(row["cells"])


def play(lab: OpenLab, chooser: Chooser, bench: Bench) -> Played:
    """Play one campaign from day 0 to the horizon, or until nothing happens any more."""
    return _Clock(lab, chooser, bench).run()


class _Clock:
    def __init__(self, lab: OpenLab, chooser: Chooser, bench: Bench) -> None:
        self.lab, self.chooser, self.bench = lab, chooser, bench
        self.tests: dict[int, Test] = {}
        self.mixers = [0.0] * bench.mixers
        self.queue: list[tuple[float, int, str, int]] = []
        self.waiting: dict[int, Any] = {}
        """Batches whose cells wait for a channel, the oldest first."""
        self.planned: set[tuple[float, str]] = set()
        self.tie = count()
        self.truths: dict[tuple[Any, ...], float] = {}
        self.news = True
        """Whether something has come in since the chooser last left the mixer idle."""

    def run(self) -> Played:
        rows: list[dict[str, float]] = []
        self._at(0.0, "mix", -1)
        self._at(WEEK, "week", -1)
        acts = {"mix": self._fill, "ready": self._ready, "seat": self._seat, "look": self._look, "end": self._end}
        while self.queue:
            day, _, kind, number = heapq.heappop(self.queue)
            if day > self.bench.horizon_days:
                break
            if kind != "week":
                acts[kind](day, number)
                continue
            rows.append(self._check(day))
            if self.queue:
                self._at(day + WEEK, "week", -1)
        if rows and rows[-1]["day"] + WEEK <= self.bench.horizon_days:
            rows.append({**self._check(rows[-1]["day"] + WEEK)})  # what came in after the last check
        return Played(pd.DataFrame(rows), tuple(self.tests.values()), self.lab.best().value)

    def _at(self, day: float, kind: str, number: int) -> None:
        heapq.heappush(self.queue, (day, next(self.tie), kind, number))

    def _once(self, day: float, kind: str) -> None:
        """Put down what concerns no single test, unless it is planned already."""
        if (day, kind) not in self.planned:
            self.planned.add((day, kind))
            self._at(day, kind, -1)

    def _view(self, day: float) -> list[Seen]:
        return [seen(test, day) for test in self.tests.values()]

    # ---- what happens --------------------------------------------------------------------------------------------

    def _fill(self, day: float, number: int) -> None:
        """Mix for every channel that has no batch, and ahead, as far as mixers are free now."""
        del number
        if day < self.bench.next_working(day) - 1e-9:
            self._once(self.bench.next_working(day), "mix")
            return
        while self._lacking(day) + self.chooser.ahead > 0 and self.news and len(self.tests) < self.bench.most_tests:
            mixer = int(np.argmin(self.mixers))
            if self.mixers[mixer] > day + 1e-9:
                self._once(self.mixers[mixer], "mix")
                return
            recipe = self.chooser.next(self._view(day), free=max(self._lacking(day), 0))
            if recipe is None:
                self.news = False
                return
            self._mix(recipe, day, mixer)

    def _lacking(self, day: float) -> int:
        """Channels that neither run nor have a batch on its way to them; below 0 where batches wait."""
        return self.bench.channels - sum(test.ended_day > day + 1e-9 for test in self.tests.values())

    def _mix(self, recipe: Mapping[str, Any], day: float, mixer: int) -> None:
        number = len(self.tests) + 1
        held = self.lab.question.conditions
        hours = float(recipe.get("time_h", held.get("time_h", 5.0)))
        hours += float(recipe.get("premill_h", held.get("premill_h", 0.0)))
        done = day + HANDS_DAYS + hours / self.bench.duty / 24
        self.mixers[mixer] = done
        self.tests[number] = Test(number, dict(recipe), day)
        self._at(self.bench.next_working(done + POWDER_DAYS), "ready", number)

    def _ready(self, day: float, number: int) -> None:
        """Powder results are in; the cell takes a channel, or waits for one."""
        test = self.tests[number]
        mix = self.lab.mix(test.recipe, day=test.asked_day, label=f"T{number:04d}-M1")
        self.tests[number] = replace(test, ready_day=day, powder=self.lab.powder(mix))
        self.waiting[number] = mix
        self._something_new(day)

    def _seat(self, day: float, number: int) -> None:
        """Start the cells that wait, on free channels and on those of cells that the chooser stops for them."""
        del number
        if self.waiting and day < self.bench.next_working(day) - 1e-9:
            self._once(self.bench.next_working(day), "seat")
            return
        short = len(self.waiting) - (self.bench.channels - self._running(day))
        if short > 0:
            self._stop(self.chooser.stop(self._view(day), wanted=short), day)
        while self.waiting and self._running(day) < self.bench.channels:
            first = next(iter(self.waiting))
            self._start(day, first, self.waiting.pop(first))

    def _running(self, day: float) -> int:
        return sum(test.started_day <= day and test.ended_day > day + 1e-9 for test in self.tests.values())

    def _start(self, day: float, number: int, mix: Any) -> None:
        record = self.lab.cycle(mix, self.chooser.last_cycle)
        ends = day + np.cumsum(record.hours) / 24
        self.tests[number] = replace(
            self.tests[number],
            started_day=day,
            discharge=record.discharge_mAh_cm2,
            charge=record.charge_mAh_cm2,
            ends=ends,
            died=len(ends) < self.chooser.last_cycle,
        )
        for cycle in self.chooser.readouts:
            if cycle < len(ends):
                self._at(float(ends[cycle - 1]), "look", number)
        self._at(self.tests[number].ended_day, "end", number)

    def _look(self, day: float, number: int) -> None:
        if self.tests[number].stopped_after is not None:
            return
        self._stop(self.chooser.stop(self._view(day)), day)
        self._something_new(day)

    def _stop(self, numbers: Sequence[int], day: float) -> None:
        for number in numbers:
            test = self.tests[number]
            # A cycle that is under way is broken off: what was complete counts.
            cycles = int(np.searchsorted(test.ends, day + 1e-9, side="right"))
            self.tests[number] = replace(test, stopped_after=cycles, ends=_cut(test.ends, cycles, day))

    def _end(self, day: float, number: int) -> None:
        if self.tests[number].stopped_after is None:
            self._something_new(day)

    def _something_new(self, day: float) -> None:
        self.news = True
        self._seat(day, -1)
        self._fill(day, -1)

    # ---- the weekly check ----------------------------------------------------------------------------------------

    def _check(self, day: float) -> dict[str, float]:
        recipe = self.chooser.recommend(self._view(day))
        best = self.lab.best().value
        tried = [self._truth(test.recipe) for test in self.tests.values() if test.started_day <= day]
        recommended = self._truth(recipe) if recipe is not None else np.nan
        sign = 1.0 if self.lab.question.objective.goal == "max" else -1.0
        top = sign * max((sign * value for value in tried if value == value), default=np.nan)
        return {
            "day": day,
            "cells": float(len(tried)),
            # A recipe that breaks a bound is worth nothing.
            "regret": 1.0 if recipe is not None and np.isnan(recommended) else regret(recommended, best, sign=sign),
            "regret_tried": regret(top, best, sign=sign),
        }

    def _truth(self, recipe: Mapping[str, Any]) -> float:
        key = tuple(recipe[name] for name in self.lab.question.space.names)
        if key not in self.truths:
            self.truths[key] = float(self.lab.admitted(pd.DataFrame([dict(recipe)]))[0])
        return self.truths[key]


def regret(value: float, best: float, *, sign: float) -> float:
    """How far a value is from the best, as a share of the best."""
    return sign * (best - value) / abs(best)


def _cut(ends: Floats, cycles: int, day: float) -> Floats:
    """Ends of a test that is stopped on a day: its channel is free then, not when the last whole cycle ended."""
    kept = ends[:cycles].copy()
    if cycles:
        kept[-1] = day
    return kept
