"""Foresight: partial curves as evidence."""

from itertools import pairwise

import numpy as np
import pytest

from surrogate.early import Curve, Foresight, readout


def fading(rate: float, *, level: float = 6.0, target: int = 100, knee: float = 0.0) -> np.ndarray:
    n = np.arange(1, target + 1)
    return level * np.exp(-rate * (n - 1) - knee * np.maximum(n - 60, 0))


RNG = np.random.default_rng(0)
SIMULATED = [
    fading(rate, level=level) for rate, level in zip(RNG.uniform(0, 0.03, 200), RNG.uniform(1, 8, 200), strict=True)
]


def curve(discharge, x=0.5, name="A") -> Curve:
    return Curve(np.array([x]), (name,), np.asarray(discharge))


def test_a_law_that_holds_is_used_at_once():
    whole = fading(0.01)
    outlook = Foresight(100, SIMULATED).outlook(curve(whole[:50]))
    assert outlook.mean == pytest.approx(np.log(whole[-1]), abs=0.1)


def test_doubt_shrinks_as_the_curve_grows_and_ends_at_the_target():
    foresight, whole = Foresight(100, SIMULATED), fading(0.01)
    sds = [foresight.outlook(curve(whole[:n])).sd for n in (2, 10, 25, 50, 75, 100)]
    assert all(a > b for a, b in pairwise(sds))
    assert sds[-1] == 0


def test_a_late_knee_that_the_simulator_does_not_know_is_learned_from_finished_cells():
    finished = [curve(fading(r, knee=0.02), x) for r, x in zip(RNG.uniform(0, 0.02, 8), RNG.random(8), strict=True)]
    before, after = Foresight(100, SIMULATED), Foresight(100, SIMULATED, finished)
    whole = fading(0.012, knee=0.02)
    misses = [abs(f.outlook(curve(whole[:50])).mean - np.log(whole[-1])) for f in (before, after)]
    assert misses[1] < 0.3 * misses[0]


def test_an_electrolyte_that_collapses_is_told_apart_from_the_others():
    finished = [curve(fading(0.005), 0.1 * i) for i in range(5)]
    finished += [curve(fading(0.005, knee=0.03), 0.1 * i, "B") for i in range(5)]
    foresight = Foresight(100, SIMULATED, finished)
    good, bad = (foresight.outlook(curve(fading(0.005)[:50], 0.25, name)).mean for name in "AB")
    assert good - bad > 0.6


def test_intervals_cover_what_happens_where_the_law_is_not_the_simulators():
    inside = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        cells = [
            curve(fading(r, knee=k), x)
            for r, k, x in zip(rng.uniform(0, 0.02, 12), rng.uniform(0, 0.02, 12), rng.random(12), strict=True)
        ]
        foresight = Foresight(100, SIMULATED, cells[:6])
        for cell in cells[6:]:
            outlook = foresight.outlook(curve(cell.discharge[:50], cell.recipe[0]))
            inside.append(abs(np.log(cell.discharge[-1]) - outlook.mean) < 1.645 * outlook.sd)
    assert 0.8 <= np.mean(inside) <= 1.0


def test_nothing_is_said_before_the_first_cycle_and_nothing_needs_a_simulator():
    assert Foresight(100, []).outlook(curve([])) is None
    assert Foresight(100, []).outlook(curve([5.0, 4.0])).sd > 0.1


def test_readouts_end_at_the_target():
    assert [readout(n, 60) for n in (0, 1, 30, 60, 400)] == [0, 1, 25, 60, 60]
