"""Conditions on outcomes, several objectives, slips and cost: what is chosen, said and advised keeps to all of them."""

import re

import numpy as np
import pandas as pd
import pytest

from campaign.errors import Refusal
from surrogate import Optimiser


def bounded(*, told: pd.DataFrame) -> Optimiser:
    """Capacity rises along x, and what it must keep falls: the best that keeps 90 lies at 0.33."""
    opt = Optimiser({"x": (0.0, 2.0)}, {"capacity": "max"}, constraints=["kept >= 90"], steps={"x": 0.05}, seed=1)
    opt.tell(told, outcomes(told))
    return opt


def outcomes(recipes: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"capacity": 100.0 * recipes["x"], "kept": 100.0 - 30.0 * recipes["x"]})


def test_where_no_recipe_meets_the_conditions_the_chooser_says_so_and_finds_its_way_to_them():
    opt = bounded(told=pd.DataFrame({"x": np.linspace(1.0, 2.0, 11)}))
    stopping = opt.stopping(1.0)
    assert not stopping.stop and "No recipe is known that is likely to meet the conditions" in stopping.sentence
    first = opt.ask(1, explain=True)
    assert "no recipe so far is likely to meet them" in first["reason"].iloc[0]
    for asked in (first, None, None, None):
        recipes = opt.ask(1) if asked is None else asked
        opt.tell(recipes, outcomes(recipes))
    assert outcomes(opt.recommend())["kept"].iloc[0] >= 90.0


def test_the_best_so_far_in_a_reason_is_one_that_meets_the_conditions():
    opt = bounded(told=pd.DataFrame({"x": [0.0, 0.2, 1.0, 1.5, 2.0]}))
    reason = opt.ask(1, explain=True)["reason"].iloc[0]
    best = float(re.search(r"against (\S+) believed", reason)[1])
    assert best == pytest.approx(20.0, abs=3.0) and "meets the conditions with a chance of" in reason


def test_chances_of_meeting_conditions_can_be_asked_for():
    opt = bounded(told=pd.DataFrame({"x": np.linspace(0.0, 2.0, 9)}))
    chance = opt.chance_met(pd.DataFrame({"x": [0.1, 0.33, 1.5]}))
    assert chance.iloc[0] > 0.9 > chance.iloc[1] > chance.iloc[2]
    assert opt.predict(pd.DataFrame({"x": [1.0]}), outcome="kept")["mean"].iloc[0] == pytest.approx(70.0, abs=2.0)
    with pytest.raises(Refusal, match="'keep' is no outcome that trials measure here: capacity, kept"):
        opt.predict(pd.DataFrame({"x": [1.0]}), outcome="keep")


def test_a_recipe_that_the_constraints_forbid_is_no_bar_though_it_was_tried():
    opt = Optimiser({"x": (0.0, 1.0)}, constraints=["x <= 0.5"], seed=1)
    x = np.linspace(0.0, 1.0, 9)
    opt.tell(pd.DataFrame({"x": x}), x)
    reason = opt.ask(1, explain=True)["reason"].iloc[0]
    assert float(re.search(r"against (\S+) believed", reason)[1]) == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def two_wanted() -> Optimiser:
    opt = Optimiser({"x": (0.0, 1.0), "time_h": (0.5, 12.0)}, {"capacity": "max", "time_h": "min"}, seed=2)
    rng = np.random.default_rng(0)
    recipes = pd.DataFrame({"x": rng.random(40), "time_h": rng.uniform(0.5, 12.0, 40)})
    capacity = 100 * (1 - (recipes["x"] - 0.6) ** 2) * (1 - np.exp(-recipes["time_h"] / 4))
    opt.tell(recipes, pd.DataFrame({"capacity": capacity}))
    return opt


def test_with_several_objectives_a_reason_names_each_and_what_the_front_gains(two_wanted):
    opt = two_wanted.untold()
    opt.tell(two_wanted.trials, two_wanted.trials[["capacity"]])
    for reason in opt.ask(2, explain=True)["reason"]:
        assert re.match(r"Predicted capacity \S+ ± \S+, time_h \S+: beaten in everything by none so far with", reason)


def test_with_several_objectives_the_window_lies_around_the_recommended_recipe(two_wanted):
    best, window = two_wanted.recommend().iloc[0], two_wanted.window(0.05)
    assert "of the recommended one in every objective" in window.sentence
    sure = window.at_least(0.9)
    assert sure["time_h"].max() <= 1.05 * best["time_h"] + 1e-6
    near = (window.table[["x", "time_h"]] - best[["x", "time_h"]].astype(float)).abs().max(axis=1).idxmin()
    assert window.table.loc[near, "probability"] > 0.9


def test_with_several_objectives_a_gain_that_costs_another_objective_is_no_reason_to_go_on(two_wanted):
    stopping = two_wanted.stopping(5.0)  # capacity alone would gain 30
    assert stopping.stop and "without loss in another objective" in stopping.sentence


def test_before_any_result_there_is_nothing_to_stop_for():
    for opt in (Optimiser({"x": (0.0, 1.0)}), Optimiser({"x": (0.0, 1.0)}, prior=lambda recipes: recipes["x"])):
        stopping = opt.stopping(30.0)
        assert not stopping.stop and np.isnan(stopping.chance) and "no result yet" in stopping.sentence


def test_where_settings_slip_both_sides_of_a_reason_bear_the_slips():
    opt = Optimiser({"x": (0.0, 1.0)}, seed=1, risk={"x": 0.1})
    x = np.linspace(0.0, 1.0, 17)
    opt.tell(pd.DataFrame({"x": x}), 100 * np.exp(-(((x - 0.8) / 0.05) ** 2)) + 60 * np.exp(-(((x - 0.3) / 0.3) ** 2)))
    reason = opt.ask(1, explain=True)["reason"].iloc[0]
    said, best = re.search(r", (\S+) where settings slip, against (\S+) believed", reason).groups()
    assert float(best) < 70.0 and float(said) < 70.0


def test_the_coin_of_a_cost_is_nothing_to_the_choice():
    asked = []
    for coin in (1.0, 1000.0, 0.001):
        rng = np.random.default_rng(1)
        opt = Optimiser({"x": (0.0, 1.0), "y": (0.0, 1.0)}, seed=3, cost=lambda t, coin=coin: np.full(len(t), coin))
        for _ in range(14):
            recipe = opt.ask(1)
            opt.tell(recipe, 100 * np.exp(-((recipe - [0.3, 0.7]) ** 2).sum(axis=1) * 5) + rng.normal(0, 8, 1))
        asked.append(opt.trials[["x", "y"]].to_numpy())
    assert np.allclose(asked[0], asked[1]) and np.allclose(asked[0], asked[2])


def test_trials_that_would_open_the_window_are_not_three_of_a_kind():
    opt = Optimiser({"x": (0.0, 1.0), "y": (0.0, 1.0)}, seed=1)
    recipes = opt.space.sample(6, seed=2)
    opt.tell(recipes, 100 - 50 * ((recipes - 0.6) ** 2).sum(axis=1))
    openers = opt.window(0.05).openers[["x", "y"]].to_numpy()
    gaps = [np.abs(a - b).max() for i, a in enumerate(openers) for b in openers[:i]]
    assert min(gaps) > 0.05


@pytest.mark.parametrize(("slope", "side"), [(-50.0, "low"), (50.0, "high")])
def test_before_any_result_conditions_are_judged_by_what_the_prior_says_of_them(slope, side):
    """The prior puts what is kept at 70 in the middle of the range, where the condition begins."""
    spread = np.linspace(-8, 8, 17)
    prior = {
        "capacity": lambda recipes: np.outer(1 + 0.05 * spread, 100 - 100 * (recipes["x"] - 0.8) ** 2),
        "kept": lambda recipes: np.outer(1 + 0.01 * spread, 70 + slope * (recipes["x"] - 0.5)),
    }
    opt = Optimiser({"x": (0.0, 1.0)}, {"capacity": "max"}, constraints=["kept >= 70"], prior=prior, seed=1)
    chance = opt.chance_met(pd.DataFrame({"x": [0.0, 1.0]})).to_numpy()[:: 1 if side == "low" else -1]
    assert chance[0] > 0.6 and chance[1] < 0.4
    first = opt.ask(1)["x"].iloc[0]
    assert first <= 0.5 if side == "low" else first >= 0.5
