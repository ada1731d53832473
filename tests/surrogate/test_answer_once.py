"""What is recommended is looked for once, however much is asked of the answer; and again as soon as more is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from surrogate import Optimiser

SPACE = {"a": (0.0, 10.0), "b": (0.0, 1.0)}


def counting() -> tuple[Callable[[pd.DataFrame], np.ndarray], list[int]]:
    asked: list[int] = []

    def cost(recipes: pd.DataFrame) -> np.ndarray:
        asked.append(len(recipes))
        return np.ones(len(recipes))

    return cost, asked


def test_the_recommended_recipe_is_looked_for_once() -> None:
    cost, asked = counting()
    optimiser = Optimiser(space=SPACE, goal="max", cost=cost, seed=1)
    recipes = optimiser.space.sample(8, seed=1)
    optimiser.tell(recipes, 10 - (recipes["a"] - 4) ** 2 + recipes["b"])
    first = optimiser.recommend()
    once = len(asked)
    again = optimiser.recommend()
    assert once and len(asked) == once
    pd.testing.assert_frame_equal(first, again)
    for more in ("result", "under way", "no more so"):
        before, odd = len(asked), optimiser.space.sample(1, seed=5)
        if more == "result":
            optimiser.tell(odd, [14.0])
        elif more == "under way":
            optimiser.pending(odd)
        else:
            optimiser.withdraw(odd)
        optimiser.recommend()
        assert len(asked) > before, more
    fresh = Optimiser(space=SPACE, goal="max", cost=cost, seed=1)
    fresh.tell(recipes, 10 - (recipes["a"] - 4) ** 2 + recipes["b"])
    fresh.window()
    pd.testing.assert_frame_equal(fresh.recommend(), first)
    emptied = fresh.untold()
    emptied.tell(recipes, (recipes["a"] - 9) ** 2)
    assert not emptied.recommend().equals(first)
