"""Results and priors at the edge: all alike, nearly all 0, tiny, and a prior that lures into failure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate import Optimiser

UNIT = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


@pytest.mark.parametrize("last", [5.0, 1e-9, 1e9])
def test_results_that_are_nearly_all_0_are_learned_from(last):
    opt = Optimiser({"x": (0.0, 1.0)})
    opt.tell(pd.DataFrame({"x": np.linspace(0, 1, 11)}), [0.0] * 10 + [last])
    opt.ask(1)
    assert opt.recommend()["x"].iloc[0] > 0.8


def test_a_condition_on_what_is_nearly_always_0_can_be_kept():
    opt = Optimiser({"x": (0.0, 1.0)}, {"capacity": "max"}, constraints=["cracked <= 0.5"])
    x = np.linspace(0, 1, 11)
    opt.tell(pd.DataFrame({"x": x}), pd.DataFrame({"capacity": x, "cracked": [0.0] * 10 + [1.0]}))
    assert 0.5 < opt.recommend()["x"].iloc[0] < 1.0


@pytest.mark.parametrize("prior", [None, lambda recipes: recipes["x"] + recipes["y"]])
def test_while_all_results_are_the_same_the_trials_spread(prior):
    opt = Optimiser(UNIT, seed=2, prior=prior)
    for _ in range(8):
        opt.tell(opt.ask(4), np.zeros(4))
    x = opt.trials[["x", "y"]].to_numpy()[8:]
    gaps = np.abs(x[:, None] - x[None]).max(axis=2) + np.eye(len(x))
    assert gaps.min() > 0.03
    counts, _, _ = np.histogram2d(*x.T, bins=2, range=[[0, 1], [0, 1]])
    assert counts.min() >= 3  # of 24 in quarters


def test_a_prior_that_lures_into_failure_is_left_after_a_few_trials():
    opt = Optimiser(UNIT, prior=lambda recipes: recipes["x"], seed=0)
    for _ in range(8):
        recipes = opt.ask(3)
        opt.tell(recipes, np.where(recipes["x"] > 0.5, np.nan, recipes["x"] - recipes["y"] ** 2))
    failed = opt.trials["value"].isna()
    assert failed.sum() < 20 and not failed.tail(6).all()
    assert opt.recommend()["x"].iloc[0] <= 0.6


def test_a_prior_that_is_0_nearly_everywhere_does_not_promise_the_moon():
    opt = Optimiser(UNIT, prior=lambda recipes: np.maximum(0.0, recipes["x"].to_numpy() - 0.95))
    recipes = pd.DataFrame(np.random.default_rng(0).random((8, 2)), columns=["x", "y"])
    opt.tell(recipes, 1 - ((recipes - 0.3) ** 2).sum(axis=1))
    assert opt.recommend()["p95"].iloc[0] < 30.0  # the results lie between 0.3 and 1


@given(power=st.integers(-90, 90))
@settings(deadline=None, max_examples=8)
def test_the_unit_of_the_outcome_is_nothing_to_the_choice(power):
    asked = []
    for unit in (1.0, 10.0**power):
        opt = Optimiser(UNIT, seed=0)
        for _ in range(3):
            recipes = opt.ask(3)
            opt.tell(recipes, unit * (2 + np.exp(-((recipes - [0.8, 0.2]) ** 2).sum(axis=1) * 8)))
        asked.append(opt.ask(1))
    assert np.allclose(asked[0], asked[1], atol=0.02)
