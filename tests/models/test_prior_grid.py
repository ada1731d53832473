"""An ensemble asked once on a grid: near the ensemble everywhere, kept in a file, made anew when the file is not of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign.errors import Refusal
from campaign.space import SearchSpace
from models.prior_grid import on_grid

SPACE = SearchSpace.of({"x": (0.0, 1.0), "y": (10.0, 20.0), "kind": ["a", "b"]})


class Ensemble:
    """Three draws, smooth in the recipe; counts the recipes that it is asked for."""

    def __init__(self, tilt=1.0):
        self.tilt, self.asked = tilt, 0

    def __call__(self, recipes):
        self.asked += len(recipes)
        y = (recipes["y"].to_numpy(float) - 10) / 10
        base = np.sin(3 * recipes["x"].to_numpy(float)) + self.tilt * y**2 + (recipes["kind"] == "b").to_numpy()
        return np.exp(np.outer([0.5, 1.0, 1.5], base))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(10, 20), st.sampled_from("ab"))
def test_interpolated_is_close_to_the_ensemble_for_any_recipe(x, y, kind):
    recipes = pd.DataFrame({"x": [x], "y": [y], "kind": [kind]})
    assert np.allclose(GRID(recipes), Ensemble()(recipes), rtol=1e-3)


GRID = on_grid(SPACE, Ensemble())


def test_a_kept_grid_is_used_again_and_gives_the_same(tmp_path):
    first, said = Ensemble(), []
    recipes = SPACE.sample(20, seed=5)
    values = on_grid(SPACE, first, keep=tmp_path, before=said.append)(recipes)
    assert said == [2 * 25 * 25] and first.asked > said[0]
    second = Ensemble()
    again = on_grid(SPACE, second, keep=tmp_path, before=said.append)(recipes)
    assert len(said) == 1 and second.asked < 100
    assert np.array_equal(values, again)


def test_a_kept_grid_of_other_simulators_is_not_taken(tmp_path):
    on_grid(SPACE, Ensemble(), keep=tmp_path)
    recipes = SPACE.sample(20, seed=5)
    other = Ensemble(tilt=-1.0)
    assert np.allclose(on_grid(SPACE, other, keep=tmp_path)(recipes), other(recipes), rtol=1e-3)


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: b"\xff" * len(b)])
def test_a_damaged_grid_is_made_anew(tmp_path, damage):
    on_grid(SPACE, Ensemble(), keep=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    recipes = SPACE.sample(20, seed=5)
    assert np.allclose(on_grid(SPACE, Ensemble(), keep=tmp_path)(recipes), Ensemble()(recipes), rtol=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_space_of_too_many_names_is_asked_itself():
    many = SearchSpace.of({"x": (0.0, 1.0), "y": (10.0, 20.0), "kind": [f"n{i}" for i in range(25)]})
    ensemble, recipes = Ensemble(), many.sample(20, seed=5)
    prior = on_grid(many, ensemble)
    assert ensemble.asked == 0
    assert np.array_equal(prior(recipes), Ensemble()(recipes)) and ensemble.asked == len(recipes)


def test_a_place_that_cannot_be_written_is_told_before_the_ensemble_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    ensemble = Ensemble()
    with pytest.raises(Refusal, match=r"file/prior: the prior cannot be kept there .*; free some room"):
        on_grid(SPACE, ensemble, keep=tmp_path / "file" / "prior")
    assert ensemble.asked < 100
