"""The chooser's contract: ask, tell, pending, recommend, save, load."""

import copy

import numpy as np
import pandas as pd
import pytest

from campaign.errors import Refusal
from campaign.space import SearchSpace
from surrogate import Optimiser

BOX = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "sse": ["A", "B", "C"]}
BONUS = {"A": 0.0, "B": 0.5, "C": 0.2}


def hill(recipes):
    """Best 0.5 at 1400 rpm, 3.6 h with B."""
    far = (recipes.speed_rpm / 2000 - 0.7) ** 2 + (recipes.time_h / 12 - 0.3) ** 2
    return (-4 * far + recipes.sse.map(BONUS)).to_numpy(float)


def run(opt, n, function=hill, q=1):
    for _ in range(n):
        recipes = opt.ask(q)
        opt.tell(recipes, function(recipes))
    return opt


def test_finds_the_top_of_a_hill_over_numbers_and_names():
    opt = run(Optimiser(BOX, steps={"speed_rpm": 25}, seed=1), 14)
    best = opt.recommend().iloc[0]
    assert best.sse == "B"
    assert hill(opt.recommend())[0] > 0.48
    assert best.p05 <= best["mean"] <= best.p95
    assert (opt.trials.speed_rpm % 25 == 0).all()


def test_names_that_a_prior_condemns_are_tried_once_while_it_is_still_trusted():
    def wrong(recipes):
        value = 1.0 + hill(recipes) - recipes.sse.map({"A": 0.0, "B": 1.5, "C": 1.2}).to_numpy(float)
        return np.stack([value, 1.1 * value, 0.9 * value])

    opt = run(Optimiser(BOX, prior=wrong, seed=1), 8)
    assert set(opt.trials.sse) == {"A", "B", "C"}
    assert run(opt, 6).recommend().iloc[0].sse == "B"


def test_the_same_history_gives_the_same_proposals_also_after_save_and_load(tmp_path):
    first, second = (run(Optimiser(BOX, seed=5), 7) for _ in range(2))
    first.save(tmp_path / "opt.json")
    loaded = Optimiser.load(tmp_path / "opt.json")
    asked = first.ask(3)
    pd.testing.assert_frame_equal(asked, second.ask(3))
    pd.testing.assert_frame_equal(asked, loaded.ask(3))
    assert not asked.equals(run(Optimiser(BOX, seed=6), 7).ask(3))


def test_an_untold_copy_proposes_as_a_new_one_would_and_asks_the_prior_nothing_again():
    asked = []

    def prior(recipes):
        asked.append(len(recipes))
        return hill(recipes)

    told = run(Optimiser(BOX, prior=prior, seed=5), 3)
    many = sum(asked)
    untold = told.untold()
    assert untold.trials.empty and untold.pending().empty and len(told.trials) == 3
    pd.testing.assert_frame_equal(run(untold, 3).trials, told.trials)
    assert sum(asked) == many


def test_a_deep_copy_and_a_shallow_one_propose_as_the_original_and_are_told_apart():
    tables = {"sse": {name: {"size": size} for name, size in BONUS.items()}}
    opt = Optimiser(
        BOX, prior=hill, descriptors=tables, forbidden=[{"sse": "A", "time_h": 1.0}], risk={"time_h": 0.1}, seed=5
    )
    run(opt, 3).ask()
    deep, shallow = copy.deepcopy(opt), copy.copy(opt)
    asked = opt.ask(2)
    pd.testing.assert_frame_equal(deep.ask(2), asked)
    pd.testing.assert_frame_equal(shallow.ask(2), asked)
    deep.tell(asked, [1.0, 2.0])
    assert len(opt.trials) == len(shallow.trials) == 3 and len(deep.trials) == 5


def test_proposals_do_not_depend_on_how_much_of_the_prior_is_remembered(monkeypatch):
    asked = []

    def prior(recipes):
        asked.append(len(recipes))
        return hill(recipes)

    as_ever = run(Optimiser(BOX, prior=prior, seed=5), 4).trials
    many = sum(asked)
    monkeypatch.setattr("surrogate.prior.MOST_REMEMBERED", 2000)
    pd.testing.assert_frame_equal(run(Optimiser(BOX, prior=prior, seed=5), 4).trials, as_ever)
    assert sum(asked) - many > many  # it did forget, and asked again


def test_asking_leaves_the_global_random_states_alone():
    import torch

    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state().clone()
    run(Optimiser(BOX, seed=0), 6)
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])


def test_what_is_pending_is_not_proposed_again():
    opt = run(Optimiser(BOX, seed=2), 6)
    asked = pd.concat([opt.ask(1) for _ in range(4)])
    assert len(asked.drop_duplicates()) == 4
    assert len(opt.pending()) == 4
    opt.tell(asked.iloc[:1], hill(asked.iloc[:1]))
    assert len(opt.pending()) == 3
    opt.withdraw(asked.iloc[1:])
    assert len(opt.pending()) == 0


def test_a_lower_goal_is_the_mirror_of_a_higher_one():
    up = run(Optimiser(BOX, "max", seed=3), 8)
    down = run(Optimiser(BOX, "min", seed=3), 8, function=lambda recipes: -hill(recipes))
    pd.testing.assert_frame_equal(up.trials[list(BOX)], down.trials[list(BOX)])
    assert up.recommend()["mean"][0] == pytest.approx(-down.recommend()["mean"][0])


@pytest.mark.parametrize(
    "space",
    [
        {"x": (0, 1)},
        {"kind": ["a", "b", "c"]},
        {"kind": ["a"], "x": (0, 1)},
        {"x": (2, 2), "y": (0, 1)},
        {"x": (0, 3), "kind": ["a", "b"], "y": (1, 1000)},
    ],
    ids=["one number", "names only", "one name", "a fixed number", "mixed"],
)
def test_odd_spaces_and_flat_results_are_no_problem(space):
    opt = Optimiser(space, steps={"x": 0.5} if "x" in space else None, seed=0)
    for _ in range(5):
        recipes = opt.ask(2)
        assert len(recipes) == 2 and opt.space.feasible(recipes).all()
        opt.tell(recipes, [1.0, 1.0])
    assert np.isfinite(opt.recommend()[["mean", "p05", "p95"]].to_numpy(float)).all()


def test_failures_only_and_a_single_result_are_no_problem():
    opt = Optimiser(BOX, seed=0)
    for _ in range(8):
        recipes = opt.ask()
        opt.tell(recipes, [np.nan])
    assert len(opt.recommend()) == 1
    opt.tell(opt.ask(), [3.0])
    assert len(opt.recommend()) == 1


def test_several_goals_with_a_prior_can_be_asked_for_before_any_result():
    optimiser = Optimiser(
        {"x": (0.0, 1.0), "kind": ["a", "b"]},
        goal={"gain": "max", "waste": "min"},
        prior={"gain": lambda recipes: recipes["x"].to_numpy()},
        seed=1,
    )
    recipes = optimiser.ask(6)
    assert len(recipes.drop_duplicates()) == 6
    assert recipes["x"].max() > 0.8  # what the prior says promises gain is among them


def test_several_goals_and_a_condition_on_an_outcome():
    opt = Optimiser(BOX, {"capacity": "max", "time_h": "min"}, constraints=["retention >= 80", "time_h <= 10"], seed=1)
    for _ in range(9):
        recipes = opt.ask(1)
        assert recipes.time_h.le(10).all()
        opt.tell(recipes, pd.DataFrame({"capacity": hill(recipes), "retention": 90 - 3 * recipes.time_h}))
    assert set(opt.trials.columns) >= {"capacity", "retention", "time_h"}


@pytest.mark.parametrize("rule", ["x*y == 0.5", "1/x*y == 0.5", "x*y == 0"])
def test_an_equality_that_a_bound_leaves_without_solution_ends_no_campaign(rule):
    opt = Optimiser({"x": (0.0, 1.0), "y": (0.0, 1.0)}, constraints=[rule], seed=0)
    for _ in range(6):
        recipes = opt.ask(2)
        opt.tell(recipes, -((recipes.x - 0.1) ** 2))
        assert opt.space.feasible(recipes).all()
    assert opt.space.feasible(opt.recommend()).all()


@pytest.mark.parametrize("steps", [{"b": 5}, {"a": 0.25, "b": 5}])
def test_proposals_keep_the_step_of_what_makes_up_a_balance(steps):
    opt = Optimiser({"a": (10, 40), "b": (10, 40)}, steps=steps, constraints=["a + b == 50"], seed=0)
    for _ in range(4):
        recipes = opt.ask(2)
        opt.tell(recipes, -((recipes.a - 22) ** 2))
        assert (recipes.b % 5 == 0).all() and (recipes.a + recipes.b == 50).all()
    assert opt.recommend()["b"][0] % 5 == 0


def test_a_ridge_keeps_the_balance_of_a_whole():
    opt = Optimiser({"a": (10, 40), "c": (10, 40), "t": (0.0, 1.0)}, constraints=["a + c == 50"], seed=0)
    recipes = opt.ask(6)
    opt.tell(recipes, recipes.t - ((recipes.a - 30) / 20) ** 2)
    surface = opt.ridge("a", "t", n=5)
    assert surface.allowed.all() and (surface.probability > 0).any()
    assert opt.ridge("a", "c", n=5).allowed.sum() == 5  # along the line on which they are 50


def test_a_front_says_nothing_before_any_result():
    front = Optimiser({"x": (0.0, 1.0)}, {"a": "max", "b": "min"}).pareto()
    assert len(front) and front[["a", "b"]].isna().all(axis=None)


@pytest.mark.parametrize("name", ["µ", "d_µm", "Fu\u0308llung"])
def test_a_condition_on_a_parameter_is_one_however_its_name_is_written(name):
    opt = Optimiser({name: (0.0, 1.0), "b": (0.0, 1.0)}, constraints=[f"{name} + b <= 0.5"], seed=0)
    assert (opt.ask(8).sum(axis=1) <= 0.5 + 1e-9).all()
    other = {"µ": "μ", "d_µm": "d_μm", "Fu\u0308llung": "Füllung"}[name]
    with pytest.raises(Refusal, match="written with another sign"):
        Optimiser({name: (0.0, 1.0)}, constraints=[f"{other} <= 0.5"])


def test_an_outcome_may_be_called_se():
    opt = Optimiser({"x": (0.0, 1.0)}, {"se": "max"})
    opt.tell(opt.ask(2), pd.DataFrame({"se": [1.0, 2.0]}))
    assert opt.trials.se.tolist() == [1.0, 2.0]


def test_a_ready_space_is_taken_with_its_steps():
    opt = Optimiser(SearchSpace.of({"x": (0, 10)}, steps={"x": 2.5}), seed=0)
    assert set(opt.ask(5).x) <= {0, 2.5, 5, 7.5, 10}


def test_numbers_as_names_are_refused_with_the_way_out():
    with pytest.raises(Refusal, match=r"as texts, e\.g\. \['1', '2', '3'\]"):
        Optimiser({"washes": [1, 2, 3]}, seed=0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 2.0], "1 recipes but 2 values"),
        (["6,28"], r"write 6\.28"),
        ([np.inf], "infinite"),
        ([1e200], "larger unit"),
        (pd.DataFrame({"value": [1.0], "se": [-1.0]}), "negative"),
        (pd.DataFrame({"vlaue": [1.0]}), "did you mean vlaue"),
    ],
)
def test_results_that_cannot_be_are_refused_and_nothing_is_taken_in(values, said):
    opt = Optimiser(BOX, seed=0)
    recipes = opt.ask(1)
    with pytest.raises(Refusal, match=said):
        opt.tell(recipes, values)
    assert len(opt.trials) == 0 and len(opt.pending()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"goal": "maximum"}, "neither 'max' nor 'min'"),
        ({"goal": {"time_h": "min"}}, "nothing to learn"),
        ({"constraints": ["sped_rpm <= 3"]}, "did you mean speed_rpm"),
        ({"prior": 3}, "no function"),
        ({"prior": {"vlue": hill}}, "did you mean value"),
        ({"prior": lambda recipes: np.full(len(recipes), np.nan)}, "no finite value"),
        ({"seed": "x"}, "whole number"),
        ({"prior": lambda recipes: [1.0, 2.0]}, r"shape \(2,\)"),
        ({"prior": lambda recipes: np.random.default_rng().normal(size=len(recipes))}, "asked twice"),
    ],
)
def test_a_set_up_that_makes_no_sense_is_refused(options, said):
    with pytest.raises(Refusal, match=said):
        Optimiser(BOX, **options)


def test_a_saved_prior_must_be_handed_again(tmp_path):
    opt = run(Optimiser(BOX, prior=hill, seed=0), 3)
    opt.save(tmp_path / "opt.json")
    with pytest.raises(Refusal, match="prior"):
        Optimiser.load(tmp_path / "opt.json")
    loaded = Optimiser.load(tmp_path / "opt.json", prior=hill)
    pd.testing.assert_frame_equal(loaded.ask(2), opt.ask(2))
    with pytest.raises(Refusal, match="no such file"):
        Optimiser.load(tmp_path / "absent.json")


def test_a_prior_that_is_silent_in_places_is_used_where_it_speaks():
    opt = Optimiser(BOX, prior=lambda recipes: np.where(recipes.speed_rpm > 1800, np.nan, hill(recipes)), seed=0)
    run(opt, 4)
    assert opt.trust > 0.5


def test_three_goals_share_a_front():
    opt = Optimiser(BOX, {"a": "max", "b": "min", "c": "max"}, seed=0)
    recipes = opt.space.sample(10, seed=1)
    opt.tell(recipes, pd.DataFrame({"a": recipes.time_h, "b": recipes.speed_rpm, "c": -recipes.time_h}))
    assert opt.space.feasible(opt.ask(2)).all()
    assert len(opt.pareto()) >= 2


def test_each_name_is_tried_before_one_is_exploited_and_nothing_is_predicted_before_a_result():
    opt = Optimiser({"x": (0, 1), "sse": list("ABCDEF")}, seed=0)
    first = opt.ask(4, explain=True)
    assert first[["predicted", "p05", "p95"]].isna().all(axis=None)
    assert first.reason.str.contains("first trial of sse").all()
    opt.tell(first, [1.0, 2.0, 3.0, 4.0])
    assert set(first.sse) | set(opt.ask(2).sse) == set("ABCDEF")


def told_together(common, *, n=6, sd=0.3):
    """Results near 1000 rpm whose errors may be common, and one without error far from them."""
    opt = Optimiser({"speed_rpm": (400, 2000)}, seed=0)
    recipes = pd.DataFrame({"speed_rpm": [1000.0 + 2 * k for k in range(n)] + [1900.0]})
    values = pd.DataFrame({"value": [4.0] * n + [2.0], "se": [sd] * n + [0.01]})
    opt.tell(recipes, values, common=common)
    return opt


def test_errors_in_common_do_not_average_out():
    n, sd = 6, 0.3
    square = np.zeros((n + 1, n + 1))
    square[:n, :n] = 0.9 * sd**2
    there = pd.DataFrame({"speed_rpm": [1004.0]})
    apart, together = (told_together(common).predict(there)["sd"].item() for common in (None, square))
    assert together > 1.5 * apart
    own = told_together(np.diag(np.full(n + 1, 5e-5))).predict(there)["sd"].item()
    assert own == pytest.approx(apart, rel=1e-3)  # a part of each one's own error that nobody shares changes nothing


def test_errors_in_common_are_saved_and_stay_with_their_results(tmp_path):
    square = np.full((7, 7), 9e-5)
    opt = told_together(square)
    opt.tell(pd.DataFrame({"speed_rpm": [500.0]}), [1.0])
    opt.save(tmp_path / "opt.json")
    loaded = Optimiser.load(tmp_path / "opt.json")
    pd.testing.assert_frame_equal(loaded.ask(2), opt.ask(2))
    again = told_together(None)
    again.tell(pd.DataFrame({"speed_rpm": [500.0]}), [1.0])
    there = pd.DataFrame({"speed_rpm": [1004.0]})
    assert loaded.predict(there)["sd"].item() == opt.predict(there)["sd"].item() != again.predict(there)["sd"].item()


@pytest.mark.parametrize(
    ("square", "said"),
    [
        (np.zeros((3, 3)), "shape"),
        (np.triu(np.full((7, 7), 1e-5)), "symmetric"),
        (np.full((7, 7), np.nan), "symmetric and finite"),
        (np.full((7, 7), 0.5), "hold the common error"),
        (np.where(np.eye(7) > 0, 1e-5, 9e-5), "no errors have this covariance"),
        ({"speed": np.zeros((7, 7))}, "no outcome"),
    ],
)
def test_a_covariance_of_errors_that_cannot_be_is_refused(square, said):
    with pytest.raises(Refusal, match=said):
        told_together(square)


def test_where_everything_is_under_way_an_answer_comes_from_that():
    opt = Optimiser({"a": ["x", "y", "z"]})
    opt.ask(3)
    assert opt.recommend().iloc[0].a in "xyz" and opt.window().sentence
    height = {"x": 1.0, "y": 2.0, "z": 9.0}
    knowing = Optimiser({"a": list(height)}, prior=lambda recipes: recipes.a.map(height).to_numpy())
    knowing.tell(pd.DataFrame({"a": ["x", "y"]}), [1.0, 2.0])
    knowing.pending(pd.DataFrame({"a": ["z"]}))
    assert knowing.recommend().iloc[0].a == "z"


def test_without_a_prior_a_large_first_batch_is_spread_whatever_it_costs():
    opt = Optimiser({"sse": ["L"], "time_h": (0.5, 12)}, cost=lambda recipes: recipes.time_h)
    asked = opt.ask(8, explain=True)
    assert asked.time_h.max() - asked.time_h.min() > 8 and asked.time_h.round(1).nunique() == 8
    assert asked.reason.str.startswith("Spread").all() and not asked.reason.str.contains("first trial of sse L").any()


def test_only_the_first_recipe_of_a_name_is_called_its_first_trial():
    opt = Optimiser({"sse": ["A", "B"], "time_h": (0.5, 12)})
    reasons = opt.ask(4, explain=True).reason
    assert reasons.str.contains("first trial of sse").sum() == 2


def test_a_prior_in_single_precision_is_no_random_one():
    def single(recipes):
        return (np.sin(7 * recipes.x.to_numpy(np.float32)) + np.float32(3)).astype(np.float32)

    rounding = iter([0.0, 1e-7, 2e-7] * 50)
    assert len(Optimiser({"x": (0, 1)}, prior=lambda recipes: single(recipes) * (1 + next(rounding))).ask(1)) == 1
    with pytest.raises(Refusal, match="asked twice"):
        rng = np.random.default_rng(0)
        Optimiser({"x": (0, 1)}, prior=lambda recipes: rng.random(len(recipes)))
    sizes = iter([4, 3])
    with pytest.raises(Refusal, match="4 draws when first asked and 3"):
        Optimiser({"x": (0, 1)}, prior=lambda recipes: np.ones((next(sizes), len(recipes))))


def test_slips_in_saving_loading_and_asking_get_a_sentence(tmp_path):
    opt = Optimiser({"n": (1, 6)}, steps={"n": 1}, forbidden=[{"n": np.int64(3)}])
    opt.save(tmp_path / "opt.json")
    assert Optimiser.load(tmp_path / "opt.json").space.names == ("n",)
    with pytest.raises(Refusal, match="folder that exists"):
        opt.save(tmp_path / "absent" / "opt.json")
    (tmp_path / "half.json").write_text('{"format": 1}')
    with pytest.raises(Refusal, match="lacks space"):
        Optimiser.load(tmp_path / "half.json")
    with pytest.raises(Refusal, match="cannot be read"):
        Optimiser.load(tmp_path)
    with pytest.raises(Refusal, match="between 0 and 1"):
        opt.stopping(0.1, bound=5)
    with pytest.raises(Refusal, match="must be a number"):
        opt.stopping("a")
    for values, common, words in (([{}], None, "not a number"), ([1.0], "abc", "numbers are wanted")):
        with pytest.raises(Refusal, match=words):
            opt.tell(pd.DataFrame({"n": [2]}), values, common=common)
