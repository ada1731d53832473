"""From early to late: partial curves as evidence, each cell teaching those behind it."""

from itertools import pairwise

import numpy as np
import pytest

from surrogate.readouts import Curve, outlook, readout

RNG = np.random.default_rng(0)


def fading(rate: float, *, level: float = 4.0, target: int = 100, knee: float = 0.0) -> np.ndarray:
    n = np.arange(1, target + 1)
    return level * np.exp(-rate * (n - 1) - knee * np.maximum(n - 60, 0))


def curve(discharge, x: float = 0.5, name: str = "A", **powder: float) -> Curve:
    return Curve(np.array([x]), (name,), np.asarray(discharge), powder)


def test_doubt_shrinks_as_the_curve_grows_and_ends_at_the_target():
    others = [curve(fading(r), x) for r, x in zip(RNG.uniform(0, 0.01, 6), RNG.random(6), strict=True)]
    whole = fading(0.005)
    sds = [outlook([*others, curve(whole[:n])], 100).sd[-1] for n in (2, 10, 25, 50, 75)]
    assert all(a > b for a, b in pairwise(sds))
    assert outlook([*others, curve(whole)], 100).sd[-1] == 0
    assert outlook([curve(whole)], 100).mean[0] == pytest.approx(np.log(whole[-1]))


def test_a_late_knee_is_learned_from_the_cells_that_have_passed_it():
    whole = fading(0.008, knee=0.02)
    ahead = [curve(fading(r, knee=0.02), x) for r, x in zip(RNG.uniform(0, 0.01, 5), RNG.random(5), strict=True)]
    alone = outlook([curve(whole[:50])], 100).mean[0]
    taught = outlook([*ahead, curve(whole[:50])], 100).mean[-1]
    assert abs(taught - np.log(whole[-1])) < 0.3 * abs(alone - np.log(whole[-1]))


def test_cells_half_way_teach_those_behind_them():
    """Nobody has come to the target; what all lose between cycles 10 and 50 is known all the same."""
    ahead = [curve(fading(0.02)[:50], x) for x in (0.2, 0.4, 0.6, 0.8)]
    mean = outlook([*ahead, curve(fading(0.0, level=3.0)[:1], 0.5)], 100).mean
    assert mean[-1] < np.log(3.0) - 0.5


def test_what_is_common_to_all_hardly_touches_their_order():
    cells = [curve(fading(0.002, level=q)[:5], x) for q, x in zip((3, 3.5, 4, 4.5), (0.1, 0.4, 0.6, 0.9), strict=True)]
    look = outlook(cells, 100)
    assert (look.own_sd < 0.6 * look.sd).all()


def test_an_electrolyte_that_collapses_is_told_apart_from_the_others():
    ahead = [curve(fading(0.003), 0.2 * i) for i in range(5)]
    ahead += [curve(fading(0.003, knee=0.03), 0.2 * i, "B") for i in range(5)]
    cells = [*ahead, curve(fading(0.003)[:50], 0.3), curve(fading(0.003)[:50], 0.3, "B")]
    *_, good, bad = outlook(cells, 100).mean
    assert good - bad > 0.5


def told_apart(pairs: int) -> float:
    """What powder makes of two cells whose curves are alike, when a late knee has gone with it in so many pairs."""
    ahead = [
        curve(fading(0.001, knee=k), 0.3 + 0.1 * i, size=s) for i in range(pairs) for k, s in ((0.0, 1.0), (0.02, 5.0))
    ]
    cells = [*ahead, curve(fading(0.001)[:50], size=1.0), curve(fading(0.001)[:50], size=5.0)]
    *_, small, large = outlook(cells, 100).mean
    return float(small - large)


def test_powder_tells_cells_apart_whose_early_curves_are_alike_the_more_the_more_have_shown_it():
    knee = float(np.log(fading(0.001)[-1] / fading(0.001, knee=0.02)[-1]))
    told = [told_apart(pairs) / knee for pairs in (1, 3, 6, 12, 24)]
    assert all(a < b for a, b in pairwise(told))
    assert 0.25 < told[1] < 0.5
    assert 0.75 < told[-1] <= 1.0


def test_intervals_cover_what_happens():
    inside = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rates, knees, x = rng.uniform(0, 0.006, 12), rng.uniform(0, 0.008, 12), rng.random(12)
        whole = [curve(fading(r, knee=k), u) for r, k, u in zip(rates, knees, x, strict=True)]
        cells = [*whole[:4], *[Curve(c.recipe, c.names, c.discharge[:25]) for c in whole[4:]]]
        look = outlook(cells, 100)
        truth = np.log([c.discharge[-1] for c in whole[4:]])
        inside.extend(np.abs(truth - look.mean[4:]) < 1.645 * look.sd[4:])
    assert 0.8 <= np.mean(inside) <= 1.0


def test_dead_cells_constant_curves_and_one_cycle_are_taken_as_they_come():
    cells = [curve([0.0, 0.0, 0.0]), curve([2.0] * 60), curve([3.0]), curve([2.0] * 100)]
    look = outlook(cells, 41)
    assert np.isfinite(look.mean).all() and np.isfinite(look.own_sd).all()
    assert look.mean[1] == pytest.approx(np.log(2.0))


def test_readouts_end_at_the_target():
    assert [readout(n, 60) for n in (0, 1, 30, 60, 400)] == [0, 1, 25, 60, 60]
