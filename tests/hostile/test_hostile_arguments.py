"""Arguments, tables and saved files that make no sense: each is refused with one sentence, never a traceback."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch

from mixwright import Optimiser, Refusal

BOX = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
TWO = pd.DataFrame({"x": [0.2, 0.7], "y": [0.4, 0.1]})


def prior(recipes):
    return recipes.x.to_numpy()


def refused(said, function, *args, **options):
    with pytest.raises(Refusal, match=said) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


# ---- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["trust", "mean", "sd", "p05", "p95", "predicted", "reason", "probability", "allowed", "cap_se"]
)
def test_a_parameter_called_like_a_column_of_the_answers_is_refused(name):
    refused(f"called {name}.*set_{name}", Optimiser, {name: (0, 1), "y": (0, 1)}, {"cap": "max"})


@pytest.mark.parametrize("name", ["z", "told", "flagged", "value", "chance"])
def test_other_names_are_free_and_an_explained_table_can_be_told_as_it_is(name):
    opt = Optimiser({name: (0, 1), "y": (0, 1)}, {"cap": "max"})
    for _ in range(2):
        asked = opt.ask(2, explain=True)
        opt.tell(asked, asked[name])
    assert opt.trials[name].tolist() == opt.trials["cap"].tolist()
    assert {name, "mean", "trust"} <= set(opt.recommend())


# ---- set-up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"constraints": 3}, "constraints: 3 is no list"),
        ({"forbidden": 3}, "forbidden: 3 is no list"),
        ({"forbidden": {"x": 1}}, r"right would be \[\{'x': 1\}\]"),
        ({"forbidden": [3]}, "3 is no mapping"),
        ({"forbidden": [{"x": [[1]]}]}, "no name or number of x"),
        ({"log": 3}, "log: 3 is no list"),
        ({"log": [["x"]]}, "no parameter; known are x, y"),
        ({"steps": 3}, "steps: 3 is no mapping"),
        ({"steps": ["x"]}, r"right would be e\.g\. \{\"speed_rpm\": 25\}"),
        ({"descriptors": 3}, "descriptors: 3 is no mapping"),
        ({"risk": 3}, "risk: 3 is no mapping"),
        ({"risk": ["x"]}, "is no mapping"),
        ({"cost": 3.0}, "cost 3.0 is no function"),
        ({"prior": 3.0}, "no function"),
        ({"prior": lambda recipes: [[1.0, 2.0], [3.0]]}, "something else than numbers"),
        ({"prior": lambda recipes: [10**400] * len(recipes)}, "something else than numbers"),
    ],
)
def test_options_of_another_kind_are_refused(options, said):
    refused(said, Optimiser, BOX, **options)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"x": {"choices": None}}, "no list of names"),
        ({"x": {"choices": ["a"], "known": [3]}}, r"known \[3\] is no list of names"),
        ({"x": (-1e308, 1e308)}, r"-1e\+308 is beyond 1e\+100"),
        ({"x": (0, 1e101)}, "larger unit"),
        ({"x": (0, 10**400)}, "larger unit"),
        ({"x": {"choices": "ABC"}}, "'ABC' is no list of names"),
        ({"x": {"choices": {"A", "B"}}}, "no list of names"),
        ({"x": {"low": 1, "high": 9, "log": "no"}}, "log is 'no'; right is true or false"),
        ({"x": {"low": 1, "high": 9, "step": 0}}, "step 0 is not a number above 0"),
    ],
)
def test_spaces_that_no_setting_can_be_made_of_are_refused(space, said):
    refused(said, Optimiser, space)


@pytest.mark.parametrize("size", [1e200, np.inf, 10**400])
def test_descriptors_beyond_all_measure_are_refused(size):
    refused("larger unit", Optimiser, {"c": ["a", "b"]}, descriptors={"c": {"a": {"m": 1.0}, "b": {"m": size}}})


NAMED = {"x": (0.0, 1.0), "sse": ["LPSCl", "LGPS"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"constraints": ["sse != 'LPGS'"]}, "'LPGS' is no name of sse; did you mean LGPS"),
        ({"constraints": ["sse in ('LPSCl', 'lgps') or x < 0.5"]}, "'lgps' is no name of sse; did you mean LGPS"),
        ({"constraints": ["'LPGS' == sse"]}, "'LPGS' is no name"),
        ({"constraints": ["sse != 3"]}, "3 is no name of sse"),
        ({"constraints": ["x != '0.5'"]}, "x is a number, and '0.5' a text"),
        ({"constraints": ["sse == 'LPGS' or gas <= 5"]}, "'LPGS' is no name"),
        ({"constraints": ["sse + 1 <= x"]}, "sse is a choice among names and cannot be reckoned with"),
        ({"constraints": ["abs(sse) <= gas"]}, "cannot be reckoned with"),
        ({"forbidden": [{"x": "0.5"}]}, "x is a number, and '0.5' none"),
        ({"forbidden": [{"x": [0.5, None]}]}, "x is a number, and None none"),
        ({"goal": {"cap": "max", "sse": "min"}}, "goal of sse: it is a choice among names"),
        ({"goal": {"cap": "max", "cap_se": "min"}}, "called cap_se, as the standard error of cap is"),
        ({"goal": {"cap": "max"}, "constraints": ["cap_se <= 3"]}, "called cap_se"),
    ],
)
def test_what_every_recipe_would_keep_or_break_and_names_for_two_things_are_refused(options, said):
    refused(said, Optimiser, NAMED, **options)


def test_none_stands_for_nothing_given():
    plain = Optimiser(BOX, seed=1)
    none = Optimiser(BOX, seed=1, constraints=None, forbidden=None, log=None, steps=None, descriptors=None, risk=None)
    pd.testing.assert_frame_equal(none.ask(3), plain.ask(3))
    ready = Optimiser(plain.space, seed=1, forbidden=None, log=None)
    assert ready.space == plain.space
    refused("a ready SearchSpace", Optimiser, plain.space, steps=3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n: ["a"] * n, "something else than numbers"),
        (lambda n: [[1.0], [1.0, 2.0]], "something else than numbers"),
        (lambda n: np.ones(n) + 1j, "something else than numbers"),
        (lambda n: None, "finite numbers above 0"),
    ],
)
def test_costs_that_are_no_numbers_are_refused(answer, said):
    opt = Optimiser(BOX, cost=lambda recipes: answer(len(recipes)), prior=prior)
    refused(said, opt.ask)


@pytest.mark.parametrize(("bounds", "slip"), [((0, 1), 5), ((0, 1), "400%"), ((-1, 1), 3.0), ((0, 0), 0.5)])
def test_a_slip_wider_than_the_range_is_refused(bounds, slip):
    refused("wider than the range", Optimiser, {"x": bounds, "y": (0, 1)}, risk={"x": slip})


@pytest.mark.parametrize(
    ("bounds", "slip"), [((0, 1), 1.0), ((0, 1), "100%"), ((-1, 1), 2.0), ((1000, 1010), "50%"), ((300, 300), 5)]
)
def test_the_widest_slips_that_are_taken_and_those_of_a_narrow_range_bear_asking(bounds, slip):
    opt = Optimiser({"x": bounds, "y": (0, 1)}, risk={"x": slip})
    recipes = opt.space.sample(6, seed=0)
    opt.tell(recipes, recipes.x + recipes.y)
    assert opt.space.feasible(opt.ask(1)).all() and np.isfinite(opt.recommend()["mean"][0])


# ---- results and questions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pd.DataFrame([[1, 2], [3, 4]], columns=["value", "value"]), "value stands 2 times among the values"),
        (pd.DataFrame([[1, 2, 3]] * 2, columns=["value", "se", "se"]), "se stands 2 times"),
        ({"value": 1.0}, "list of 2 numbers"),
        ({"value": [1.0, 2.0], "se": [1.0]}, "list of 2 numbers"),
        ([1j, 2], "complex"),
        (np.array([1.0 + 0j, 2.0]), "complex"),
        ([[1.0], [2.0, 3.0]], "one number a recipe"),
    ],
)
def test_values_of_another_form_are_refused_and_nothing_is_taken_in(values, said):
    opt = Optimiser(BOX)
    refused(said, opt.tell, TWO, values)
    assert opt.trials.empty


@pytest.mark.parametrize(
    ("recipes", "said"),
    [
        (pd.concat([TWO, TWO[["x"]]], axis=1), "column x stands 2 times among the recipes"),
        (TWO.assign(x=[1j, 0.5]), "complex"),
        (TWO.assign(x=pd.Series([0.5, 0.5 + 1j], dtype=object)), "row 1, column x"),
    ],
)
def test_recipes_of_another_form_are_refused(recipes, said):
    opt = Optimiser(BOX)
    refused(said, opt.tell, recipes, [1.0, 2.0])
    refused(said, opt.pending, recipes)
    refused(said, opt.predict, recipes)


def test_tensors_and_masked_arrays_are_read_or_refused():
    wanting = torch.tensor([1.0, 2.0], requires_grad=True)
    for values in (torch.tensor([1.0, 2.0]), wanting.detach().numpy(), np.ma.array([1.0, 2.0], mask=[False, False])):
        opt = Optimiser(BOX)
        opt.tell(TWO, values)
        assert opt.trials["value"].tolist() == [1.0, 2.0]
    opt.tell(TWO, np.ma.array([3.0, 4.0], mask=[False, True]))
    assert opt.trials["value"].isna().tolist() == [False, False, False, True]
    refused("one number a recipe", opt.tell, TWO, wanting)
    refused("one number a recipe", opt.tell, TWO, list(wanting))
    refused("not a plain number", opt.tell, TWO, list(torch.tensor([1.0, 2.0])))
    told = pd.DataFrame({"value": [1.0, 2.0], "se": [1.0, 1.0]})
    refused("2 x 2 numbers", opt.tell, TWO, told, common=torch.eye(2, requires_grad=True))
    refused("something else than numbers", Optimiser, BOX, prior=lambda recipes: wanting.expand(len(recipes) // 2, 2).T)
    costly = Optimiser(BOX, prior=prior, cost=lambda recipes: torch.ones(len(recipes), requires_grad=True))
    refused("something else than numbers", costly.ask)


def test_what_a_prior_masks_it_says_nothing_of():
    def spoken(recipes):
        return np.ma.masked_greater(recipes.x.to_numpy(), 0.5)

    opt = Optimiser(BOX, prior=spoken, seed=0)
    told = Optimiser(BOX, prior=lambda recipes: recipes.x.where(recipes.x <= 0.5), seed=0)
    pd.testing.assert_frame_equal(opt.ask(2), told.ask(2))


def test_a_prior_that_gives_other_draws_later_is_refused():
    answers = iter([2, 2, 2, 2, *[3] * 99])

    def changing(recipes):
        return np.tile(recipes.x.to_numpy(), (next(answers), 1))

    opt = Optimiser(BOX, prior=changing)
    opt.tell(TWO, [1.0, 2.0])
    refused("2 draws when first asked and 3 when asked again", opt.ask)


def test_questions_of_another_kind_are_refused():
    opt = Optimiser(BOX, prior=prior)
    for tolerance in ("x", None, 1j, np.complex128(1)):
        refused("tolerance", opt.window, tolerance)
        refused("tolerance", opt.ridge, "x", "y", tolerance=tolerance)
    for n in ("a", None, 2.5, -1, True):
        refused("number of settings", opt.ridge, "x", "y", n=n)
    refused("ridge along x twice", opt.ridge, "x", "x")
    refused("worthwhile", opt.stopping, np.complex128(1))


# ---- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, 3, "", "/", "a\0b"])
def test_what_names_no_file_is_refused(path):
    refused("file", Optimiser(BOX).save, path)
    refused("file", Optimiser.load, path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A state with everything in it that a state can hold."""
    opt = Optimiser(
        {"k": (0, 10), "x": (1e-3, 1.0), "sse": ["A", "B"]},
        {"cap": "max", "gas": "min"},
        steps={"k": 1},
        log=["x"],
        constraints=["k+x<=9", "gas<=5"],
        forbidden=[{"sse": "A", "k": 3}],
        descriptors={"sse": {"A": {"m": 1.0, "t": "u"}, "B": {"m": 2.0, "t": None}, "C": {"m": 1.0, "t": "v"}}},
        risk={"x": "5%"},
        seed=4,
    )
    outcomes = {"cap": [1.0, np.nan], "gas": [2.0, 3.0], "cap_se": [0.5, np.nan], "gas_se": [0.1, 0.1]}
    opt.tell(opt.ask(4).iloc[:2], pd.DataFrame(outcomes), common={"gas": np.full((2, 2), 0.01)})
    path = tmp_path_factory.mktemp("saved") / "opt.json"
    opt.save(path)
    return json.loads(path.read_text())


def changed(state, place, value):
    state = copy.deepcopy(state)
    inner = state
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return state


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("x",), 5, "x is no list"),
        (("x",), [[1, 2]] * 2, r"shape \(2, 2\); right is \(2, 3\)"),
        (("x",), [[1, 2, 3], [1, 2]], "x has shape|equally long"),
        (("x",), [["a", 0, 0]] * 2, "x holds 'a'"),
        (("x",), [[None, 0, 0]] * 2, "x holds None"),
        (("x", 0, 2), 7, "a name of sse"),
        (("values",), [["a", 1]] * 2, "values holds 'a'"),
        (("values",), [[1e300, 1]] * 2, "no number within"),
        (("se", 0, 0), -1, "0 or more"),
        (("pending",), None, "pending is no list"),
        (("pending",), [[0, 0, float("nan")]], "pending holds nan"),
        (("common",), 3, "common is no list"),
        (("common",), [3], "no pair"),
        (("common", 0, 0), 1, "there are 2 results"),
        (("common", 0, 1, 1), "a", "common"),
        (("common", 0, 1, 1, 0, 1), 5, "symmetric"),
        (("risk",), [1], "risk is no mapping"),
        (("needs",), None, "needs is no list"),
        (("goal",), 3, "goal is no text or mapping"),
        (("space",), None, "space is no mapping"),
        (("space",), {}, "space holds no mapping of parameters"),
        (("space", "parameters"), None, "space holds no mapping of parameters"),
        (("space", "parameters", "k"), None, "k: None is neither"),
        (("space", "parameters", "sse", "choices"), None, "no list of names"),
        (("space", "descriptors", "sse"), 3, "one row a name"),
        (("space", "forbidden"), None, "no list of forbidden"),
    ],
)
def test_a_file_of_another_form_is_refused_by_its_name(saved, tmp_path, place, value, said):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(changed(saved, place, value)))
    refused(f"bad.json: .*({said})", Optimiser.load, path)


def places(value, place=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from [place] if place else []
    for step, within in inner:
        yield from places(within, (*place, step))


def test_a_file_with_anything_in_any_place_is_read_or_refused(saved, tmp_path):
    path = tmp_path / "odd.json"
    junk = [None, True, -3, 1e300, 10**400, float("nan"), "a", [], {}, [[1]], {"a": [1]}, "A"]
    read = 0
    for k, place in enumerate(places(saved)):
        for value in junk[k % 2 :: 2]:
            path.write_text(json.dumps(changed(saved, place, value)))
            try:
                opt = Optimiser.load(path)
            except Refusal as refusal:
                assert "\n" not in str(refusal)
                continue
            assert len(opt.trials.columns) and len(opt.pending().columns)
            read += 1
    assert read


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"format": 1' + "0" * 5000 + "}"])
def test_a_file_that_is_no_state_is_refused(tmp_path, text):
    (tmp_path / "no.json").write_text(text)
    refused("Optimiser.save wrote", Optimiser.load, tmp_path / "no.json")


def test_what_json_cannot_hold_is_refused_on_saving(tmp_path):
    opt = Optimiser({"c": ["a"]}, descriptors={"c": {"a": {"made": pd.Timestamp("2020-01-01")}}})
    refused("cannot be saved", opt.save, tmp_path / "opt.json")
    assert not list(tmp_path.iterdir())


def test_times_and_lists_are_neither_numbers_nor_names(tmp_path):
    opt = Optimiser({"x": (0.0, 1.0), "kind": ["a", "b"]})
    recipes = pd.DataFrame({"x": [0.1, 0.2], "kind": ["a", "b"]})
    with pytest.raises(Refusal, match="is a time; tell numbers"):
        opt.tell(recipes, pd.to_datetime(["2026-01-01", "2026-01-02"]))
    with pytest.raises(Refusal, match=r"row 0, column kind: \['a'\] is not known"):
        opt.tell(recipes.assign(kind=[["a"], "b"]), [1.0, 2.0])
    with pytest.raises(Refusal, match="is a folder"):
        opt.save(tmp_path)
    assert not list(tmp_path.parent.glob("*.part"))
