"""Arguments, tables and saved files that make no sense: each is refused with one sentence, never a traceback."""

import numpy as np
import pytest

from mixwright import Optimiser, Refusal

BOX = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


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


# ---- set-up ---


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
