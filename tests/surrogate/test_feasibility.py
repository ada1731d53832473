"""Failures: an accident is forgiven, what never works is left alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign.space import SearchSpace
from surrogate import Optimiser
from surrogate.feasibility import MOST, Feasibility

SPACE = SearchSpace.of({"sse": ["A", "B", "C"], "time_h": (0.0, 1.0)})


def spread(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(0, 3, n), rng.random(n)]).astype(float)


def test_without_a_failure_every_recipe_works():
    known = Feasibility.of(SPACE, spread(9), np.zeros(9, dtype=bool))
    assert (known.chance(spread(20, 1)) == 1.0).all()


def test_one_failure_among_successes_is_taken_for_an_accident():
    x, failed = spread(12), np.arange(12) == 4
    chance = Feasibility.of(SPACE, x, failed).chance(x)
    assert chance[4] == chance.min() > 0.8


def test_failures_at_random_leave_no_place_condemned():
    for seed in range(5):
        x = spread(60, seed)
        failed = np.random.default_rng(seed).random(60) < 0.06
        assert Feasibility.of(SPACE, x, failed).chance(x).min() > 0.7


def test_a_name_that_always_fails_is_known_also_where_it_was_not_tried():
    x = np.vstack([spread(12)[spread(12)[:, 0] > 0], [[0, 0.1], [0, 0.4], [0, 0.7], [0, 0.9]]])
    known = Feasibility.of(SPACE, x, x[:, 0] == 0)
    new = np.array([[0, 0.25], [1, 0.25]])
    bad, good = known.chance(new)
    assert bad < 0.4 < 0.7 < good
    assert known.log_worth(new)[0] < known.log_worth(new)[1] - 10


def test_a_corner_that_fails_is_told_from_the_rest():
    space = SearchSpace.of({"a": (0.0, 1.0), "b": (0.0, 1.0)})
    x = np.random.default_rng(3).random((40, 2))
    known = Feasibility.of(space, x, x[:, 0] > 0.6)
    inside, outside = known.chance(np.array([[0.95, 0.5], [0.2, 0.5]]))
    assert inside < 0.15 and outside > 0.9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_a_chance_is_a_chance_and_the_same_whatever_the_order(rows):
    x = np.array([[name, number] for name, number, _ in rows])
    failed = np.array([lost for *_, lost in rows])
    asked = np.vstack([x, spread(10, 5)])
    chance = Feasibility.of(SPACE, x, failed).chance(asked)
    assert ((chance > 0) & (chance <= 1)).all()
    assert Feasibility.of(SPACE, x[::-1], failed[::-1]).chance(asked) == pytest.approx(chance, abs=1e-5)


def test_long_histories_are_read_by_their_failures_and_the_successes_beside_them():
    x = spread(5 * MOST)
    known = Feasibility.of(SPACE, x, (x[:, 0] == 0) & (x[:, 1] > 0.8))
    assert len(known.x) == MOST
    bad, good = known.chance(np.array([[0, 0.95], [2, 0.1]]))
    assert bad < 0.1 < 0.8 < good


def run(opt: Optimiser, n: int, f) -> pd.DataFrame:
    asked = []
    for _ in range(n):
        recipe = opt.ask(1)
        opt.tell(recipe, f(recipe))
        asked.append(recipe)
    return pd.concat(asked, ignore_index=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_name_that_never_works_is_given_up_though_its_values_stay_unknown(seed):
    def f(r):
        hill = (
            r.sse.map({"A": 0.0, "B": 500.0, "C": 400.0}) - ((r.speed_rpm - 1200) / 80) ** 2 - 5 * (r.time_h - 5) ** 2
        )
        return np.where(r.sse == "A", np.nan, hill)

    opt = Optimiser({"sse": ["A", "B", "C"], "speed_rpm": (400, 2000), "time_h": (0.5, 12)}, seed=seed)
    asked = run(opt, 24, f)
    assert (asked.sse == "A").sum() <= 9
    assert opt.recommend().iloc[0].sse == "B"


def test_of_few_recipes_none_that_failed_twice_is_asked_for_again_and_the_best_that_works_is_found():
    opt = Optimiser({"n": (1, 6), "a": list("uvw")}, steps={"n": 1}, seed=0)
    asked = run(opt, 26, lambda r: np.where(r.n >= 5, np.nan, r.n + r.a.map({"u": 0.0, "v": 0.5, "w": 1.0})))
    fails = asked[asked.n >= 5]
    assert fails.value_counts().max() <= 2
    best = opt.recommend().iloc[0]
    assert (best.n, best.a) == (4, "w")


def test_what_failed_each_time_is_not_recommended_however_high_the_prior_puts_it():
    height = {"a": 10.0, "b": 5.0, "c": 4.0, "d": 3.0}
    opt = Optimiser({"n": list(height)}, prior=lambda recipes: recipes.n.map(height).to_numpy())
    opt.tell(pd.DataFrame({"n": ["b", "c", "d", *"aaaa"]}), [5, 4, 3.0, *[np.nan] * 4])
    assert opt.recommend().iloc[0].n == "b"
    assert opt.ask(1).iloc[0].n != "a"


def test_with_several_objectives_a_name_that_never_works_is_given_up_too():
    def f(r):
        told = pd.DataFrame({"u": r.a, "v": 1 - r.a**2 + 0.2 * r.b})
        return told.mask(r.c.eq("p").to_numpy()[:, None].repeat(2, axis=1))

    opt = Optimiser({"c": ["p", "q"], "a": (0, 1), "b": (0, 1)}, goal={"u": "max", "v": "max"}, seed=1)
    assert (run(opt, 16, f).c.tail(8) == "p").sum() <= 2


def test_the_first_spread_leaves_names_and_recipes_that_failed_twice():
    opt = Optimiser({"c": list("abcdefgh"), "x": (0, 1)}, seed=0)
    asked = run(opt, 24, lambda r: np.where(r.c.isin(["a", "b"]), r.x, np.nan))
    assert asked[~asked.c.isin(["a", "b"])].c.value_counts().max() <= 3
    few = run(Optimiser({"c": list("abcdefgh")}, seed=0), 24, lambda r: np.where(r.c.isin(["a", "b"]), 1.0, np.nan))
    assert few[~few.c.isin(["a", "b"])].c.value_counts().max() <= 2


def test_what_was_shown_to_work_may_be_recommended_however_near_the_failures_lie():
    opt = Optimiser({"a": (0, 1)}, seed=3)
    run(opt, 18, lambda r: np.where(r.a > 0.6, np.nan, 3 * r.a))
    best = opt.trials.value.max()
    assert opt.recommend()["mean"].iloc[0] > 0.9 * best


def test_a_campaign_may_stop_though_a_name_that_always_fails_stays_unknown():
    opt = Optimiser({"c": ["p", "q"], "a": (0, 1)}, steps={"a": 0.1}, seed=1)
    run(opt, 26, lambda r: np.where(r.c == "p", np.nan, r.a))
    found = opt.stopping(0.02)
    assert found.chance < 0.25
    assert opt.recommend().iloc[0].c == "q"
    assert (run(opt, 4, lambda r: np.where(r.c == "p", np.nan, r.a)).c == "q").all()


def test_a_name_that_failed_is_not_called_new():
    opt = Optimiser({"c": ["p", "q"], "x": (0, 1)}, seed=0)
    opt.tell(pd.DataFrame({"c": ["p", "q"], "x": [0.2, 0.5]}), [np.nan, 1.0])
    assert not opt.ask(4, explain=True).reason.str.contains("first trial of c").any()


def test_recipes_that_differ_by_the_weighing_alone_fail_together():
    x = np.array([[0, 0.5], [0, 0.501], [1, 0.2], [2, 0.9]])
    known = Feasibility.of(SPACE, x, np.array([True, True, False, False]))
    assert known.hopeless(np.array([[0, 0.5005], [1, 0.2005]])).tolist() == [True, False]


def test_what_worked_is_not_passed_over_for_lying_beside_what_fails():
    load = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.64, 0.7, 0.8, 0.9, 1.0])
    opt = Optimiser({"load": (0, 1)}, seed=0)
    opt.tell(pd.DataFrame({"load": load}), pd.DataFrame({"value": np.where(load < 0.65, 10 * load, np.nan), "se": 0.1}))
    assert opt.recommend().load.iloc[0] > 0.63


def test_what_worked_once_and_failed_more_often_is_passed_over():
    load = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.64, 0.64, 0.64, 0.66, 0.8, 1.0])
    worked = (load < 0.65) & (np.arange(11) < 6)
    opt = Optimiser({"load": (0, 1)}, seed=0)
    opt.tell(pd.DataFrame({"load": load}), pd.DataFrame({"value": np.where(worked, 10 * load, np.nan), "se": 0.1}))
    assert opt.recommend().load.iloc[0] < 0.63
