"""Process window and ridge where much fails or is forbidden: only what can be made is a bar, and worth a trial."""

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser


@pytest.fixture(scope="module")
def cliff() -> Optimiser:
    """The faster the better, and above 1500 rpm everything fails."""
    opt = Optimiser({"speed_rpm": (400, 2000), "time_h": (0.5, 12)}, seed=1, steps={"speed_rpm": 25, "time_h": 0.25})
    recipes = opt.space.sample(90, seed=2)
    values = 50 + 25 * recipes["speed_rpm"] / 1000 - ((recipes["time_h"] - 5) / 4) ** 2
    opt.tell(recipes, values.where(recipes["speed_rpm"] <= 1500))
    return opt


def test_what_fails_is_no_bar_for_the_window(cliff):
    inside = cliff.window(0.05).at_least(0.5)
    assert len(inside) and inside["speed_rpm"].max() <= 1600


def test_trials_that_open_the_window_are_such_as_may_work(cliff):
    assert cliff.window(0.05).openers["speed_rpm"].max() <= 1600


def test_what_is_forbidden_is_no_bar_for_the_ridge():
    opt = Optimiser({"x": (0.0, 1.0), "y": (0.0, 1.0)}, constraints=["x + y <= 1"], seed=1)
    recipes = pd.DataFrame(np.random.default_rng(0).random((40, 2)), columns=["x", "y"])
    opt.tell(recipes, 100 * (recipes["x"] + recipes["y"]))
    grid = opt.ridge("x", "y", n=11)
    edge = grid[grid["allowed"] & (grid["x"] + grid["y"] > 0.98)]
    assert (edge["probability"] > 0.9).all()
