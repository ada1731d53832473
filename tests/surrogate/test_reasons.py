"""Reasons of proposals: the numbers of a sentence go together, with those of `predict`, and can be read."""

import re

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser

SPACE = {"speed_rpm": (400, 2000), "time_h": (0.5, 12)}
SENTENCE = re.compile(
    r"Predicted (?P<mean>\S+) ± (?P<sd>\S+)(?:, (?P<slipped>\S+) where settings slip,)? against (?P<best>\S+) believed of "
    r"the best so far: better than that with a chance of (?P<better>\d+)%; better than all (?P<rivals>[a-z ,]+) with "
    r"(?P<chance>\d+)%, then by (?P<gain>\S+) \(doubting the belief 1.5 times as much as stated\)"
)


def hill(recipes: pd.DataFrame) -> pd.Series:
    return 100 - 60 * ((recipes["speed_rpm"] - 1500) / 800) ** 2 - 30 * ((recipes["time_h"] - 5) / 4) ** 2


def valley(recipes: pd.DataFrame) -> pd.Series:
    """Steep beside its floor: on a bent scale the mean of medians is above the median of the mean."""
    return 10 + 60 * ((recipes["speed_rpm"] - 1500) / 400) ** 2 + 3 * ((recipes["time_h"] - 5) / 4) ** 2


def optimiser(truth, size: float = 1.0, **options) -> Optimiser:
    opt = Optimiser(SPACE, seed=5, **options)
    recipes = opt.space.sample(12, seed=2)
    opt.tell(recipes, size * (truth(recipes) + np.random.default_rng(0).normal(0, 1, 12)))
    return opt


def test_both_chances_of_a_reason_say_against_what():
    opt = optimiser(hill)
    tried = opt.trials
    asked = opt.ask(4, explain=True)
    said = [SENTENCE.match(reason) for reason in asked["reason"]]
    assert [each["rivals"] for each in said] == ["tried"] + ["tried, under way or asked before it"] * 3
    for each in said:  # two numbers and a chance that belong together: ahead by belief is likelier ahead than not
        ahead = float(each["mean"]) - float(each["best"])
        assert (int(each["better"]) - 50) * ahead >= 0
        assert float(each["best"]) == pytest.approx(opt.predict(tried[list(SPACE)])["mean"].max(), rel=1e-3)
    assert int(said[-1]["chance"]) < int(said[-1]["better"])


@pytest.mark.parametrize(("truth", "goal"), [(valley, "min"), (hill, "max")])
def test_no_recipe_is_better_where_settings_slip(truth, goal):
    sign = 1.0 if goal == "max" else -1.0
    opt = optimiser(truth, goal=goal, risk={"speed_rpm": "2%"})
    recipes = opt.ask(4, explain=True)
    for reason, predicted in zip(recipes["reason"], recipes["predicted"], strict=True):
        said = SENTENCE.match(reason)
        assert sign * float(said["slipped"]) <= sign * float(said["mean"])
        assert float(said["mean"]) == pytest.approx(predicted, rel=1e-3)


def test_large_numbers_are_written_out():
    for reason in optimiser(hill, size=3e4).ask(3, explain=True)["reason"]:
        assert "e+" not in reason and SENTENCE.match(reason)
