"""Arguments, tables and saved files that make no sense: each is refused with one sentence, never a traceback."""

import numpy as np
import pytest

from mixwright import Optimiser, Refusal

BOX = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


def refused(said, function, *args, **options):
    with pytest.raises(Refusal, match=said) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


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
