"""The virtual clock: what starts when, what is seen when, what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from campaign.space import SearchSpace
from campaign.spec import Objective
from flows.rehearsal_calendar import Bench, Seen, play, regret, seen
from models.virtual_lab import Best, Cell, Cycles, Question
from models.virtual_lab_plug import OpenLab

QUESTION = Question(
    SearchSpace.of({"time_h": (0.5, 12.0)}),
    {"duty": 0.5, "cycles": 100},
    Objective(outcome="discharge_areal_capacity_cycle_100_mAh_cm2"),
)


class FlatLab:
    """Capacity is the mixing time in mAh cm-2, for ever; a cycle takes 2 Q / 0.5 hours."""

    def __init__(self, dies_after: int = 10_000) -> None:
        self.dies_after = dies_after

    def mix(self, recipe: Mapping[str, Any], context: Mapping[str, Any], day: float) -> float:
        return float(recipe["time_h"])

    def powder(self, mix: float) -> dict[str, float]:
        return {"crystallite_size_um": 0.1}

    def cycle(self, cell: Cell, n: int) -> Cycles:
        q = np.full(min(n, self.dies_after), cell.mix)
        return Cycles(q, q, 2 * q / 0.5)

    def best(self) -> Best:
        return Best(12.0)

    def truth(self, recipes: pd.DataFrame) -> np.ndarray:
        return recipes["time_h"].to_numpy(float)


class Plan:
    """Mixes a list of times and recommends the last one that it saw end."""

    last_cycle = 100
    readouts: Sequence[int] = (25,)
    ahead = 1

    def __init__(self, times: Sequence[float], *, stop: bool = False) -> None:
        self.times, self.stops, self.views = list(times), stop, []

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        return {"time_h": self.times.pop(0)} if self.times else None

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[int]:
        self.views.append(tests)
        return (
            [test.number for test in tests if test.state == "running" and len(test.discharge) >= 25]
            if self.stops
            else []
        )

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        ended = [test for test in tests if test.state in ("ended", "stopped")]
        return ended[-1].recipe if ended else None


def lab(**given: int) -> OpenLab:
    return OpenLab(FlatLab(**given), QUESTION)


def test_a_cell_starts_a_day_after_its_mix_and_lasts_as_long_as_its_cycles():
    (test,) = play(lab(), Plan([5.0]), Bench()).tests
    mixed = (0.5 + 5.0 / 0.5) / 24
    assert test.started_day == pytest.approx(np.floor(mixed + 1) + 1, abs=1)
    assert mixed + 1 <= test.started_day
    assert test.ended_day - test.started_day == pytest.approx(100 * 2 * 5.0 / 0.5 / 24)


def test_premilling_takes_the_mixer_too():
    class Premills(Plan):
        def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
            recipe = super().next(tests, free=free)
            return None if recipe is None else {**recipe, "premill_h": 4.0}

    held = replace(QUESTION, conditions={**QUESTION.conditions, "premill_h": 4.0})
    plain, asked, fixed = (
        play(OpenLab(FlatLab(), question), plan([4.0]), Bench()).tests[0].ready_day
        for question, plan in ((QUESTION, Plan), (QUESTION, Premills), (held, Plan))
    )
    assert asked == fixed == pytest.approx(np.ceil((0.5 + 8 / 0.5) / 24 + 1), abs=0.5)
    assert asked > plain


def test_one_mixer_mixes_one_after_the_other():
    played = play(lab(), Plan([8.0, 8.0, 8.0]), Bench())
    asked = [test.asked_day for test in played.tests]
    assert all(b - a >= 16 / 24 for a, b in pairwise(asked))
    both = play(lab(), Plan([8.0, 8.0, 8.0]), Bench(mixers=3))
    assert [test.asked_day for test in both.tests] == [0.0, 0.0, 0.0]


def test_no_more_cells_run_than_there_are_channels():
    played = play(lab(), Plan([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Bench(channels=2))
    for day in np.arange(0, 400, 0.5):
        assert sum(test.started_day <= day < test.ended_day for test in played.tests) <= 2
        assert sum(test.asked_day <= day < test.ended_day for test in played.tests) <= 3  # one batch is mixed ahead


def test_a_batch_mixed_ahead_starts_when_a_channel_is_free_and_somebody_is_there():
    first, second = play(lab(), Plan([5.0, 5.0]), Bench(channels=1)).tests
    assert second.asked_day < first.ended_day <= second.started_day < first.ended_day + 3
    assert int(second.started_day) % 7 < 5 and second.started_day % 1 < 9 / 24 + 1e-6


def test_a_chooser_may_stop_a_cell_for_a_batch_that_waits():
    class MakesRoom(Plan):
        def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[int]:
            return [test.number for test in tests if test.state == "running"][:wanted]

    first, second = play(lab(), MakesRoom([5.0, 5.0]), Bench(channels=1)).tests
    assert first.stopped_after is not None
    assert second.started_day == second.ready_day == pytest.approx(first.ended_day)


def test_nobody_mixes_at_the_weekend():
    played = play(lab(), Plan([1.0] * 40), Bench(channels=4))
    assert all(int(test.asked_day) % 7 < 5 and test.asked_day % 1 < 9 / 24 + 1e-6 for test in played.tests)


def test_stopping_frees_the_channel():
    on = play(lab(), Plan([5.0] * 6), Bench(channels=1))
    off = play(lab(), Plan([5.0] * 6, stop=True), Bench(channels=1))
    assert off.tests[-1].asked_day < 0.4 * on.tests[-1].asked_day
    assert all(test.stopped_after == 25 for test in off.tests)


def test_a_curve_is_seen_as_far_as_its_day():
    plan = Plan([5.0, 1.0])
    play(lab(), plan, Bench())
    first = next(view for view in plan.views if any(len(test.discharge) == 25 for test in view))
    lengths = {test.recipe["time_h"]: len(test.discharge) for test in first}
    assert lengths[1.0] == 25
    assert lengths[5.0] < 25


def test_a_dead_cell_is_seen_as_dead_only_when_it_died():
    (test,) = play(lab(dies_after=10), Plan([5.0]), Bench()).tests
    assert seen(test, test.started_day).state == "running"
    assert seen(test, test.ended_day + 0.01).state == "died"
    assert len(seen(test, test.ended_day + 0.01).discharge) == 10


def test_success_counts_from_when_it_lasts():
    played = play(lab(), Plan([12.0, 1.0]), Bench(channels=1))
    assert played.within() is None
    played = play(lab(), Plan([1.0, 12.0]), Bench(channels=1))
    day, cells = played.within()
    assert cells == 2
    assert day >= played.tests[1].ended_day > day - 7


def test_the_horizon_ends_it():
    played = play(lab(), Plan([12.0] * 50), Bench(channels=1, horizon_days=60.0))
    assert played.weeks["day"].max() <= 60
    assert all(test.asked_day <= 60 for test in played.tests)


def test_regret_is_a_share_of_the_best_either_way_round():
    assert regret(90.0, 100.0, sign=1.0) == pytest.approx(0.1)
    assert regret(2.2, 2.0, sign=-1.0) == pytest.approx(0.1)
