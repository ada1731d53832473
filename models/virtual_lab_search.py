"""Dense search: the noise-free maximum of a cheap function over a search space, to within a fraction of a percent.

Every combination of names gets its share of an even cover; then recipes close around the best ones are tried, in ever
smaller neighbourhoods. A maximum that hides within a few percent of every range from 4000 recipes would be missed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
COVER = 4096
RADII = (0.08, 0.03, 0.01)
LEADERS, NEAR = 24, 40


def densest(space: SearchSpace, value: Callable[[pd.DataFrame], Floats]) -> tuple[pd.DataFrame, float]:
    """Return the best recipe (one row) and its value.

    Args:
        space: where to look.
        value: of n recipes, larger is better; NaN where a recipe does not count.

    Raises:
        Refusal: no recipe counts.
    """
    rng = np.random.default_rng(0)
    numeric = np.array([not isinstance(parameter, Category) for parameter in space.parameters])
    table = space.sample(COVER, seed=0)
    values = _clean(value(table))
    for radius in RADII:
        top = np.argsort(-values, kind="stable")[:LEADERS]
        x = np.repeat(space.encode(table.iloc[top]), NEAR, axis=0)
        moved = np.where(numeric, np.clip(x + radius * rng.standard_normal(x.shape), 0.0, 1.0), x)
        near = space.decode(moved)
        near = near[space.feasible(near)].drop_duplicates()
        if len(near):
            table = pd.concat([table.iloc[top], near], ignore_index=True)
            values = np.concatenate([values[top], _clean(value(near))])
    best = int(np.argmax(values))
    if not np.isfinite(values[best]):
        raise Refusal("no recipe of the space keeps the bounds on its outcomes in this virtual lab")
    return table.iloc[[best]], float(values[best])


def _clean(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, -np.inf)
