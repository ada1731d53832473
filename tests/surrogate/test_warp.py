"""The scale on which outcomes are modelled: there and back, noise that is a share of the value, one side of zero."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate import Optimiser
from surrogate.warp import STRAIGHT, Warp, bent

VALUES = st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=12)


@given(VALUES, st.sampled_from([1.0, -1.0]))
def test_there_and_back_in_order_and_with_the_slope_that_it_says(values, side):
    y = side * np.sort(np.array(values))
    warp = bent(y)
    assert warp is not None and warp.side == side
    warp = warp.standard(0.3, 0.7)
    z = warp.to(y)
    assert np.allclose(warp.back(z), y, rtol=1e-9)
    apart = np.abs(np.diff(y)) > 1e-9 * np.abs(y[1:])  # closer than that, rounding may make them one
    assert (side * np.diff(z) >= 0).all() and (side * np.diff(z) > 0)[apart].all(), "larger is larger on either scale"
    step = 1e-6 * np.abs(y)
    assert np.allclose((warp.to(y + step) - z) / step, warp.slope(y), rtol=1e-3)


def test_the_middle_is_the_median_of_the_draws_and_the_spread_covers_two_thirds():
    normal = np.random.default_rng(0).standard_normal(400_000)
    for warp in (STRAIGHT.standard(5.0, 2.0), Warp(10.0).standard(2.0, 0.5), Warp(10.0, -1.0).standard(-2.0, 0.5)):
        drawn = warp.back(0.4 + 0.3 * normal)
        middle, spread = warp.centre_and_spread(np.array([0.4]), np.array([0.3]))
        assert middle[0] == pytest.approx(np.median(drawn), rel=0.01)
        low, high = np.quantile(drawn, [0.1587, 0.8413])
        assert spread[0] == pytest.approx((high - low) / 2, rel=0.01)


def test_values_on_both_sides_of_zero_or_all_zero_stay_straight():
    assert bent(np.array([-3.0, 4.0])) is None
    assert bent(np.zeros(4)) is None
    assert bent(np.array([-0.01, 4.0, 5.0])) is not None, "a reading of nothing, a little below 0"


def product(recipes):
    return (100 * np.exp(-3 * (1 - recipes.x) - 2 * (recipes.y - 0.5) ** 2)).to_numpy(float)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_noise_that_is_a_share_of_the_value_gives_intervals_in_proportion_and_on_the_right_side(sign):
    opt = Optimiser({"x": (0, 1), "y": (0, 1)}, "max" if sign > 0 else "min", seed=0)
    recipes = opt.space.sample(40, seed=1)
    opt.tell(recipes, sign * product(recipes) * np.exp(0.15 * np.random.default_rng(0).standard_normal(40)))
    low, high = (opt.predict(pd.DataFrame({"x": [x], "y": [0.5]}), noisy=True).iloc[0] for x in (0.05, 0.95))
    assert sign * low.p05 >= 0 and sign * low.p95 >= 0
    assert high.p95 - high.p05 > 5 * (low.p95 - low.p05)


def test_a_large_batch_is_of_different_recipes():
    opt = Optimiser({"x": (0, 1), "y": (0, 1)}, seed=0)
    recipes = opt.space.sample(8, seed=1)
    opt.tell(recipes, product(recipes))
    assert len(opt.ask(40).drop_duplicates()) == 40
