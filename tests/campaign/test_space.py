"""The search space: what may be proposed, and the map between recipes and the unit cube."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.errors import Refusal
from campaign.space import SearchSpace

BOX = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "active_wt_pct": (15, 40), "sse": ["LPSCl", "LPSBr", "LGPS"]}


def test_what_is_sampled_is_feasible_stepped_and_repeats_under_a_seed():
    space = SearchSpace.of(
        BOX,
        steps={"speed_rpm": 25, "time_h": 0.25},
        constraints=["time_h * (speed_rpm/2000)**2 <= 6", "active_wt_pct + 10 <= 45"],
        forbidden=[{"sse": "LGPS"}],
    )
    recipes = space.sample(200, seed=3)
    assert len(recipes) == 200
    assert space.feasible(recipes).all()
    assert (recipes.time_h * (recipes.speed_rpm / 2000) ** 2 <= 6 + 1e-9).all()
    assert recipes.active_wt_pct.le(35 + 1e-9).all()
    assert (recipes.speed_rpm % 25 == 0).all() and (recipes.time_h % 0.25 == 0).all()
    assert set(recipes.sse) == {"LPSCl", "LPSBr"}
    pd.testing.assert_frame_equal(recipes, space.sample(200, seed=3))
    assert not recipes.equals(space.sample(200, seed=4))


@given(st.floats(400, 2000), st.floats(0.5, 12), st.floats(15, 40), st.sampled_from(BOX["sse"]))
def test_recipes_survive_the_round_trip_through_the_unit_cube(speed, time, active, sse):
    space = SearchSpace.of(BOX, log=["time_h"])
    recipe = pd.DataFrame({"speed_rpm": [speed], "time_h": [time], "active_wt_pct": [active], "sse": [sse]})
    units = space.encode(recipe)
    assert units.shape == (1, 4) and (units[:, :3] >= -1e-12).all() and (units[:, :3] <= 1 + 1e-12).all()
    pd.testing.assert_frame_equal(space.decode(units), recipe, check_exact=False, rtol=1e-9)


@given(st.floats(-5, 50), st.floats(0.01, 3))
def test_snapping_stays_within_half_a_step_and_the_bounds(value, step):
    space = SearchSpace.of({"x": (1.0, 30.0)}, steps={"x": step})
    snapped = space.snap(pd.DataFrame({"x": [value]})).x[0]
    assert 1 <= snapped <= 30 + 1e-9
    if 1 <= value <= 30 - step:
        assert abs(snapped - value) <= step / 2 + 1e-6
    assert space.snap(pd.DataFrame({"x": [snapped]})).x[0] == pytest.approx(snapped, abs=1e-9)


@pytest.mark.parametrize("unit", [1e-15, 1e-7, 1.0])
def test_settings_and_balances_of_any_size_are_exact(unit):
    recipes = SearchSpace.of({"x": (unit, 9 * unit)}, steps={"x": unit}).sample(9, seed=0)
    assert sorted(recipes.x) == pytest.approx([k * unit for k in range(1, 10)], rel=1e-12, abs=0)
    mix = {"a": (0, 60 * unit), "b": (0, 60 * unit), "c": (0, 100 * unit)}
    parts = SearchSpace.of(mix, constraints=[f"a + b + c == {100 * unit!r}"]).sample(20, seed=0)
    assert np.allclose(parts.sum(axis=1) / unit, 100, rtol=1e-6)


def test_one_hot_encoding_has_one_column_a_name():
    space = SearchSpace.of(BOX)
    coded = space.encode(space.sample(16, seed=0), one_hot=True)
    assert coded.shape == (16, 6)
    assert (coded[:, 3:].sum(axis=1) == 1).all()


def test_an_equality_is_balanced_by_its_last_parameter():
    space = SearchSpace.of(
        {"active_wt_pct": (15, 40), "sse_wt_pct": (40, 60), "carbon_wt_pct": (5, 30)},
        constraints=["active_wt_pct + sse_wt_pct + carbon_wt_pct == 100"],
    )
    recipes = space.sample(50, seed=1)
    assert np.allclose(recipes.sum(axis=1), 100)
    assert space.feasible(recipes).all()


def test_told_recipes_may_lie_a_little_outside_the_bounds():
    space = SearchSpace.of(BOX)
    told = pd.DataFrame({"speed_rpm": [0.0], "time_h": [14.0], "active_wt_pct": [45.0], "sse": ["LGPS"]})
    assert space.encode(told)[0, 0] < 0 and space.encode(told)[0, 1] > 1
    assert not space.feasible(told)[0]
    assert len(space.objections(told.iloc[0])) == 3


def test_a_name_with_descriptors_may_be_told_but_is_never_proposed():
    space = SearchSpace.of({"sse": ["A", "B"]}, descriptors={"sse": {n: {"k": i} for i, n in enumerate("ABC")}})
    assert space.encode(pd.DataFrame({"sse": ["C"]}))[0, 0] == 2
    assert set(space.sample(64, seed=0).sse) == {"A", "B"}


def test_a_finite_space_gives_each_recipe_once():
    space = SearchSpace.of({"x": (0, 2), "kind": ["a", "b"]}, steps={"x": 1})
    assert len(space.sample(100, seed=0)) == 6


@pytest.mark.parametrize(
    ("top", "rules", "count"),
    [
        (999, ["a in (17, 424)", "b in (3, 900)"], 4),
        (999, ["abs(a - b) <= 1"], 2998),
        (1499, ["a + b <= 1"], 3),
        (3, ["a + b == 3"], 4),
    ],
)
def test_the_few_recipes_that_tight_conditions_leave_of_a_finite_space_are_all_found(top, rules, count):
    space = SearchSpace.of({"a": (0, top), "b": (0, top)}, steps={"a": 1, "b": 1}, constraints=rules)
    recipes = space.sample(count + 5, seed=0)
    assert len(recipes) == count and not recipes.duplicated().any() and space.feasible(recipes).all()


def test_a_finite_space_too_large_to_go_through_is_drawn_from_as_long_as_a_continuous_one():
    rules = ["abs(a - b) <= 2", "abs(b - c) <= 2"]
    space = SearchSpace.of(dict.fromkeys("abc", (0, 499)), steps=dict.fromkeys("abc", 1), constraints=rules)
    assert len(space.sample(256, seed=0)) == 256


def test_json_round_trip_keeps_everything():
    space = SearchSpace.of(
        {"x": (1, 10), "kind": ["a", "b"]},
        steps={"x": 0.5},
        log=["x"],
        constraints=["x <= 9 or kind == 'a'"],
        forbidden=[{"kind": "b", "x": [1.0, 1.5]}],
        descriptors={"kind": {"a": {"k": 1.0, "halide": "Cl"}, "b": {"k": None, "halide": "Br"}}},
    )
    back = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert back == space
    pd.testing.assert_frame_equal(back.sample(20, seed=5), space.sample(20, seed=5))


@pytest.mark.parametrize(
    ("space", "options", "said"),
    [
        ({"x": (2, 1)}, {}, "reversed"),
        ({"x": (0, float("nan"))}, {}, "finite"),
        ({"x": (0, float("inf"))}, {}, "finite"),
        ({}, {}, "empty"),
        ({"x": 3}, {}, "neither bounds"),
        ({"x": ["a", 2]}, {}, "neither"),
        ({"x": ["a", "a"]}, {}, "twice"),
        ({"x": []}, {}, "neither|nothing"),
        ({"x": (0, 1)}, {"steps": {"y": 1}}, "did you mean|known are"),
        ({"x": (0, 1)}, {"steps": {"x": 0}}, "above 0"),
        ({"x": (0, 1)}, {"log": ["x"]}, "log scale"),
        ({"speed_rpm": (0, 1)}, {"constraints": ["spede_rpm <= 1"]}, "did you mean speed_rpm"),
        ({"sse": ["LGPS"]}, {"forbidden": [{"sse": "LGP"}]}, "did you mean LGPS"),
        ({"sse": ["LGPS"]}, {"constraints": ["sse <= 3"]}, "orders a name"),
        ({"sse": ["LGPS"]}, {"descriptors": {"sse": {"LPSCl": {"k": 1}}}}, "LGPS has no row"),
        ({"x y": (0, 1)}, {}, "plain name"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_a_sentence(space, options, said):
    with pytest.raises(Refusal, match=said):
        SearchSpace.of(space, **options)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"time_h": 300.0}, "another unit"),
        ({"time_h": "5,0"}, r"'5,0' is not a number; write 5\.0"),
        ({"time_h": float("nan")}, "finite"),
        ({"sse": "LPSCL"}, "did you mean LPSCl"),
        ({"time_h": None}, "finite"),
    ],
)
def test_a_tired_persons_recipe_is_refused_with_row_and_column(recipe, said):
    row = {"speed_rpm": 1000.0, "time_h": 5.0, "active_wt_pct": 20.0, "sse": "LPSCl"} | recipe
    with pytest.raises(Refusal, match=said):
        SearchSpace.of(BOX).check(pd.DataFrame([row], index=[7]))


def test_a_missing_column_names_the_nearest_one():
    with pytest.raises(Refusal, match="speed_rpm is missing; did you mean speed_rpn"):
        SearchSpace.of({"speed_rpm": (0, 1)}).check(pd.DataFrame({"speed_rpn": [1.0]}))


def test_constraints_that_nothing_meets_are_refused():
    with pytest.raises(Refusal, match="no recipe"):
        SearchSpace.of({"x": (0, 1)}, constraints=["x >= 2"]).sample(3, seed=0)


def test_the_space_imports_neither_torch_nor_scipy():
    code = "import sys, campaign.space; sys.exit(any(m in sys.modules for m in ('torch', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("by", "slipped"),
    [
        ({"a": 2.0}, {"a": 32.0, "b": 20.0, "c": 48.0}),  # the last makes up for it
        ({"c": 1.0}, {"a": 30.0, "b": 19.0, "c": 51.0}),  # the last that is not off by itself
        ({"a": 1.0, "b": 1.0, "c": 9.0}, {"a": 31.0, "b": 21.0, "c": 48.0}),  # all are: the balance follows
    ],
)
def test_more_of_one_part_is_less_of_another(by, slipped):
    space = SearchSpace.of({"a": (0, 100), "b": (0, 100), "c": (0, 100)}, constraints=["a + b + c == 100"])
    mixed = space.displaced(
        pd.DataFrame([{"a": 30.0, "b": 20.0, "c": 50.0}]), {k: np.array([v]) for k, v in by.items()}
    )
    assert mixed.to_dict("records") == [slipped]


def test_parts_that_two_balances_share_keep_both():
    space = SearchSpace.of({"a": (0, 50), "b": (0, 50), "c": (0, 50)}, constraints=["b + c == 50", "a + c == 30"])
    mixed = space.displaced(pd.DataFrame([{"a": 10.0, "b": 30.0, "c": 20.0}]), {"a": np.array([1.0])})
    assert mixed.to_dict("records") == [{"a": 11.0, "b": 31.0, "c": 19.0}]


@pytest.mark.parametrize("steps", [{"b": 5}, {"a": 0.25, "b": 5}, {"a": 5}, {"a": 5, "b": 0.25}])
def test_what_makes_up_a_balance_keeps_its_step(steps):
    space = SearchSpace.of({"a": (10, 40), "b": (10, 40)}, steps=steps, constraints=["a + b == 50"])
    recipes = space.sample(64, seed=0)
    assert len(recipes) > 1
    for name, step in steps.items():
        assert (((recipes[name] - 10) / step) % 1.0).abs().max() < 1e-9
    assert np.allclose(recipes.a + recipes.b, 50)
