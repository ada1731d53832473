"""What may be proposed at all: no allowed recipe is out of reach."""

import numpy as np
import pytest

from mixwright import Optimiser


def loop(opt, function, n, q):
    for _ in range(n):
        recipes = opt.ask(q)
        assert not recipes.duplicated().any() and opt.space.feasible(recipes).all()
        opt.tell(recipes, function(recipes))
    return opt


def test_the_only_recipes_that_are_allowed_are_each_proposed():
    rules = ["a in (17, 424)", "b in (3, 900)"]
    opt = Optimiser({"a": (0, 999), "b": (0, 999)}, steps={"a": 1, "b": 1}, constraints=rules)
    assert len(opt.ask(4).drop_duplicates()) == 4


@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_follows_a_strip_that_conditions_leave(seed):
    rules = ["abs(a - b) <= 1", "abs(b - c) <= 1"]
    opt = Optimiser(dict.fromkeys("abc", (0, 999)), steps=dict.fromkeys("abc", 1), constraints=rules, seed=seed)
    loop(opt, lambda recipes: -((recipes.a - 613) ** 2) / 1e4, 5, 4)
    assert np.abs(opt.trials.a - 613).min() <= 3
