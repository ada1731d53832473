"""A prior that says nothing (NaN) of part of the space says nothing firm of it."""

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser

BOX = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "sse": ["A", "B", "C"]}
SHARE = {"A": 1.0, "B": 0.7, "C": 0.4}


def hill(recipes):
    """Best 100 at 1500 rpm, 8 h with A."""
    far = ((recipes.speed_rpm - 1500) / 500) ** 2 + ((recipes.time_h - 8) / 4) ** 2
    return (100 * np.exp(-far) * recipes.sse.map(SHARE)).to_numpy(float)


def silent_where(*, faster_than=9999.0, sse=""):
    def says(recipes):
        return np.where((recipes.speed_rpm > faster_than) | (recipes.sse == sse), np.nan, hill(recipes))

    return says


def best_of(prior, n, *, seed):
    opt = Optimiser(BOX, prior=prior, seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(n):
        recipes = opt.ask(1)
        opt.tell(recipes, hill(recipes) * (1 + 0.04 * rng.standard_normal(len(recipes))))
    return hill(opt.trials).max()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_is_found_where_the_prior_says_nothing(seed):
    assert best_of(silent_where(faster_than=1250), 10, seed=seed) > 95


def test_a_name_of_which_the_prior_says_nothing_is_found():
    assert best_of(silent_where(sse="A"), 10, seed=0) > 90


def test_what_is_not_said_is_less_sure_than_what_is():
    opt = Optimiser(BOX, prior=silent_where(faster_than=1250), seed=0)
    told = pd.DataFrame({"speed_rpm": [500, 800, 1100, 1200], "time_h": [3, 9, 6, 8], "sse": list("ABCA")})
    opt.tell(told, hill(told))
    asked = pd.DataFrame({"speed_rpm": [1000, 1900], "time_h": [6.0, 6.0], "sse": ["A", "A"]})
    sd = opt.predict(asked)["sd"]
    assert sd[1] > 3 * sd[0]


def test_where_little_is_said_or_little_left_out_recipes_are_given():
    for limit in (420.0, 1990.0):
        opt = Optimiser(BOX, prior=silent_where(faster_than=limit), seed=0)
        recipes = opt.ask(3)
        opt.tell(recipes, hill(recipes))
        assert len(opt.ask(2)) == 2 and np.isfinite(opt.recommend()["mean"]).all()
