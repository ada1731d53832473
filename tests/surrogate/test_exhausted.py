"""A small space all of whose recipes were tried: what is asked for then is repetitions of those that may be the best."""

import itertools

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser

NAMES = {"carbon": ["KB", "C45"], "sse": ["LPSCl", "LGPS", "Li3PS4"]}
MEANS = [10.0, 9.6, 4.0, 3.0, 2.0, 1.0]
RECIPES = pd.DataFrame(list(itertools.product(*NAMES.values())), columns=list(NAMES))


def all_tried(times, noise_sd, *, seed=0, goal="max"):
    """All six recipes told so many times each: two are good and alike, four are far worse."""
    opt = Optimiser(NAMES, goal=goal, seed=seed)
    rng = np.random.default_rng(seed)
    sign = 1.0 if goal == "max" else -1.0
    for _ in range(times):
        opt.tell(RECIPES, sign * (np.array(MEANS) + noise_sd * rng.standard_normal(6)))
    return opt


def places(asked):
    return [RECIPES.index[(RECIPES == row).all(axis=1)][0] for _, row in asked[list(NAMES)].iterrows()]


@pytest.mark.parametrize("goal", ["max", "min"])
def test_what_may_be_best_is_repeated_and_what_is_far_behind_is_not(goal):
    opt, asked = all_tried(2, 0.7, goal=goal), []
    for _ in range(4):  # told without noise from here on, so that soon no repetition is worth anything
        recipe = opt.ask(1)
        asked += places(recipe)
        opt.tell(recipe, [(1.0 if goal == "max" else -1.0) * MEANS[asked[-1]]])
    assert set(asked) <= {0, 1}


def test_a_batch_of_repetitions_knows_what_it_holds_already():
    assert set(places(all_tried(2, 0.7).ask(6))) == {0, 1}


def test_the_reason_says_that_all_is_tried():
    assert "every other recipe is tried" in all_tried(2, 0.7).ask(1, explain=True)["reason"].iloc[0]


def test_what_always_fails_is_not_repeated():
    opt = Optimiser(NAMES, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(2):
        opt.tell(RECIPES, np.where(RECIPES.index == 0, np.nan, np.array(MEANS) + 0.7 * rng.standard_normal(6)))
    assert 0 not in places(opt.ask(4))


def test_where_nothing_is_left_to_learn_recipes_are_still_given_evenly():
    opt = Optimiser(NAMES, seed=0)
    for _ in range(2):
        opt.tell(RECIPES, pd.DataFrame({"value": MEANS, "se": 0.0}))
    assert sorted(places(opt.ask(6))) == list(range(6))
