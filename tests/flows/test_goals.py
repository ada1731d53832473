"""What the recipe decides is said of its settings, exactly, and what was mixed is judged with a minute's slack."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from campaign.constraint import Constraint
from campaign.spec import OutcomeBound
from flows import goals
from flows.early_evidence import needed_cycle

VARIED = ("speed_rpm", "time_h")


@given(
    limit=st.floats(1.0, 20.0),
    duty=st.sampled_from([0.5, 0.6, 0.7, 1.0]),
    premill_h=st.sampled_from([0.0, 0.25, 1.0]),
    name=st.sampled_from(["mixing_time_h", "mixing_clock_h"]),
)
def test_a_bound_said_of_the_setting_is_the_bound_on_the_outcome(limit, duty, premill_h, name):
    held = {"duty": duty, "premill_h": premill_h}
    bound = OutcomeBound(outcome=name, at_most=limit)
    (text,) = goals.conditions_on([bound], VARIED, held)
    recipes = pd.DataFrame({"speed_rpm": 1500.0, "time_h": np.arange(0.25, 24.0, 0.25)})
    proposable = Constraint(text).holds(recipes)
    hours = (recipes["time_h"] + premill_h) / (duty if name == "mixing_clock_h" else 1.0)
    assert bound.met(hours)[proposable].all()  # nothing is proposed that does not count afterwards
    assert (goals.keeps(recipes, [bound], held) == bound.met(hours)).all()
    assert hours[~proposable].min() > limit - 1e-6 if (~proposable).any() else True


def test_a_mix_that_ran_a_minute_over_keeps_its_bound():
    bound = OutcomeBound(outcome="mixing_time_h", at_most=5)
    assert bound.met(pd.Series([5.0, 5.01, 5.1])).tolist() == [True, True, False]


def test_what_more_than_one_setting_decides_is_left_to_be_learned():
    assert goals.learned(["mixing_time_h"], VARIED, {"duty": 0.5, "premill_h": 0.0}) == []
    assert goals.learned(["mixing_time_h"], (*VARIED, "premill_h"), {"duty": 0.5}) == ["mixing_time_h"]
    assert goals.learned(["mixing_time_h"], ("speed_rpm",), {"time_h": 5.0}) == ["mixing_time_h"]


def test_a_bound_on_mixing_asks_for_no_cycle_more():
    assert needed_cycle("mixing_time_h", {"cycles": 100}) == 1
