"""Long histories, many names, many parameters: still a proposal, still the same one."""

import time

import numpy as np
import pandas as pd
import pytest

from surrogate import Optimiser


def wave(recipes):
    return (np.sin(4 * recipes.x0) + recipes.x1 + recipes.kind.str[1:].astype(int) / 10).to_numpy(float)


def test_a_long_history_gives_the_same_proposals_however_it_was_told():
    space = {"x0": (0, 1), "x1": (0, 1), "kind": [f"k{i}" for i in range(4)]}
    at_once, in_parts = Optimiser(space, seed=0), Optimiser(space, seed=0)
    recipes = at_once.space.sample(230, seed=1)
    values = wave(recipes) + 0.05 * np.random.default_rng(0).normal(size=230)
    at_once.tell(recipes, values)
    for first in range(0, 230, 46):
        in_parts.tell(recipes.iloc[first : first + 46], values[first : first + 46])
        in_parts.trust  # noqa: B018 - somebody looks in between
    pd.testing.assert_frame_equal(at_once.ask(2), in_parts.ask(2))


def test_many_names_and_many_parameters_are_searched():
    space = {f"x{i}": (0, 1) for i in range(8)} | {"kind": [f"k{i}" for i in range(30)], "other": list("abcde")}
    opt = Optimiser(space, seed=0, constraints=["x0 + x1 + x2 <= 1.5", "x3 * x4 <= 0.5"])
    recipes = opt.space.sample(25, seed=1)
    opt.tell(recipes, wave(recipes))
    start = time.process_time()
    asked = opt.ask(3)
    assert time.process_time() - start < 20
    assert opt.space.feasible(asked).all() and len(asked.drop_duplicates()) == 3


@pytest.mark.soak
def test_a_thousand_results_are_answered_in_seconds():
    space = {"x0": (0, 1), "x1": (0, 1), "kind": [f"k{i}" for i in range(4)]}
    opt = Optimiser(space, seed=0)
    recipes = opt.space.sample(1000, seed=1)
    opt.tell(recipes, wave(recipes) + 0.05 * np.random.default_rng(0).normal(size=1000))
    start = time.process_time()
    opt.ask(1)
    assert time.process_time() - start < 30
