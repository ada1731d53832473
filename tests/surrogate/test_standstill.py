"""A long campaign that seems to have nothing left to gain doubts what it believes, and looks elsewhere."""

import numpy as np
import pandas as pd

from surrogate import Optimiser

BOX = {"speed_rpm": (400, 2000), "time_h": (0.5, 12)}
SAYS = "next to nothing is left to gain"


def known_hill(n, *, noise_sd=0.05):
    """A campaign whose n results know a hill at 800 rpm and 3 h: all over the space, and every fifth at its top."""
    rng = np.random.default_rng(0)
    top = np.arange(n) % 5 == 0
    speed, time = np.where(top, 800, rng.uniform(400, 2000, n)), np.where(top, 3, rng.uniform(0.5, 12, n))
    value = 2.0 - ((speed - 800) / 600) ** 2 - ((time - 3) / 5) ** 2 + noise_sd * rng.standard_normal(n)
    opt = Optimiser(BOX, seed=3)
    opt.tell(pd.DataFrame({"speed_rpm": speed, "time_h": time}), pd.DataFrame({"value": value, "se": noise_sd}))
    return opt


def from_the_top(asked):
    """Distance to the hill's top, in shares of the ranges."""
    return max(abs(asked["speed_rpm"] - 800) / 1600, abs(asked["time_h"] - 3) / 11.5)


def test_where_nothing_seems_left_to_gain_the_next_recipe_tests_the_belief_and_says_so():
    asked = known_hill(70).ask(1, explain=True).iloc[0]
    assert SAYS in asked["reason"]
    assert from_the_top(asked) > 0.2


def test_a_campaign_of_fewer_results_goes_on_around_the_best():
    asked = known_hill(59).ask(1, explain=True).iloc[0]
    assert SAYS not in asked["reason"]
    assert from_the_top(asked) < 0.05


def test_as_long_as_there_is_something_to_gain_the_belief_is_not_doubted_more():
    assert SAYS not in known_hill(70, noise_sd=0.5).ask(1, explain=True)["reason"].iloc[0]
