"""The answer of a campaign: window, ridge, stopping, diagnostics, reasons."""

import numpy as np
import pandas as pd
import pytest

from campaign.errors import Refusal
from surrogate import Optimiser

SPACE = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "sse": ["A", "B"]}


def ridge_truth(recipes):
    """Best along time x speed^2 = constant, with B."""
    dose = np.log(recipes.time_h * (recipes.speed_rpm / 2000) ** 2 / 2.0)
    return (100 * np.exp(-(dose**2)) * np.where(recipes.sse == "B", 1.0, 0.6)).to_numpy(float)


@pytest.fixture(scope="module")
def known():
    """A campaign that knows its space well."""
    opt = Optimiser(SPACE, seed=0)
    recipes = opt.space.sample(60, seed=1)
    opt.tell(recipes, ridge_truth(recipes))
    return opt


def test_the_window_holds_recipes_that_are_within_tolerance(known):
    window = known.window(0.05)
    sure = window.at_least(0.9)
    assert len(sure) and (ridge_truth(sure) > 90).mean() > 0.9
    assert (window.at_least(0.5).index.size >= len(sure)) and window.table.probability.is_monotonic_decreasing
    names = window.ranges.query("parameter == 'sse' and chance == 0.9").names.iloc[0]
    assert names == "B"


def test_an_empty_window_says_so_and_names_what_would_open_it():
    opt = Optimiser(SPACE, seed=0)
    recipes = opt.space.sample(3, seed=1)
    opt.tell(recipes, ridge_truth(recipes))
    window = opt.window(0.05)
    assert "No recipe" in window.sentence or "none with 90 %" in window.sentence
    assert len(window.at_least(0.9)) == 0 and len(window.openers)
    with pytest.raises(Refusal, match="tolerance"):
        opt.window(5)


def test_the_ridge_of_equivalents_follows_the_dose(known):
    grid = known.ridge("speed_rpm", "time_h", n=15)
    assert len(grid) == 225
    on = grid[grid.probability > 0.3]
    dose = on.time_h * (on.speed_rpm / 2000) ** 2
    assert len(on) > 5 and dose.between(1.2, 3.2).mean() > 0.8
    with pytest.raises(Refusal, match="choice among names"):
        known.ridge("speed_rpm", "sse")


def test_stopping_says_go_on_early_and_stop_late(known):
    early = Optimiser(SPACE, seed=0)
    recipes = early.space.sample(5, seed=1)
    early.tell(recipes, ridge_truth(recipes))
    assert not early.stopping(2.0).stop
    assert known.stopping(10.0).stop
    assert known.stopping(10.0).chance <= known.stopping(0.1).chance
    assert "%" in known.stopping(10.0).sentence


def test_diagnostics_show_what_matters(known):
    shown = known.diagnostics()
    assert shown.r2 > 0.8
    assert len(shown.parity) == 60 and {"told", "predicted", "p05", "p95", "flagged"} <= set(shown.parity)
    total = shown.sensitivity.set_index("parameter").total
    assert (total > 0.02).all() and total["sse"] < total["time_h"]
    assert shown.calibration.observed.between(0, 1).all()
    assert shown.trust == 0.0 and np.isnan(shown.log_odds_prior)


def test_each_proposal_carries_a_reason_made_of_numbers(known):
    asked = known.ask(3, explain=True)
    assert {"predicted", "p05", "p95", "reason"} <= set(asked)
    assert all(any(c.isdigit() for c in reason) for reason in asked.reason)
    assert (asked.p05 <= asked.predicted).all() and (asked.predicted <= asked.p95).all()
    first = Optimiser(SPACE, seed=0).ask(2, explain=True)
    assert first.reason.str.contains("Spread").all()


def test_a_shut_door_stays_shut_to_results_that_were_asked_with_reasons(known):
    opt = Optimiser(SPACE, seed=0)
    asked = opt.ask(2, explain=True)
    opt.tell(asked, pd.Series([1.0, 2.0], index=asked.index[::-1]))
    assert opt.trials.value.tolist() == [2.0, 1.0]


def test_the_front_of_two_goals_runs_from_one_to_the_other():
    opt = Optimiser({"x": (0, 1), "y": (0, 1)}, {"strength": "max", "price": "min"}, seed=0)
    for _ in range(12):
        recipes = opt.ask(1)
        opt.tell(recipes, pd.DataFrame({"strength": recipes.x - recipes.y**2, "price": recipes.x**2 + recipes.y}))
    front = opt.pareto()
    assert (front.y < 0.15).mean() > 0.8, "y only costs"
    assert front.x.min() < 0.2 and front.x.max() > 0.8
    assert 0.1 < opt.recommend().x[0] < 0.9, "the balanced one lies between"


def test_a_condition_on_an_outcome_bounds_what_is_recommended():
    opt = Optimiser({"x": (0, 1)}, constraints=["heat <= 60"], seed=0)
    recipes = pd.DataFrame({"x": np.linspace(0, 1, 11)})
    opt.tell(recipes, pd.DataFrame({"value": recipes.x, "heat": 100 * recipes.x}))
    assert 0.4 < opt.recommend().x[0] <= 0.62


@pytest.mark.parametrize(("turn", "goal"), [(1.0, "max"), (-1.0, "max"), (1.0, "min")])
def test_diagnostics_say_when_the_ranking_of_the_prior_is_turned_round(turn, goal):
    sign = 1.0 if goal == "max" else -1.0
    opt = Optimiser(SPACE, goal, seed=0, prior=lambda recipes: turn * sign * ridge_truth(recipes))
    recipes = opt.space.sample(25, seed=1)
    opt.tell(recipes, sign * ridge_truth(recipes))
    assert turn * opt.diagnostics().prior_likeness > 0.5
