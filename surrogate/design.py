"""The first recipes of a campaign that knows nothing yet: spread over the space, every name early."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
SHORTLIST = 24
"""Of so many random candidates the farthest from all tried is taken: spread, but not only corners."""
MOST_NAMES = 8
"""Up to so many names of a category each is tried before a model chooses; of more, the model chooses among the rest."""
TEST_EVERY, TEST_OFTEN = 4, 2
"""Every so-many-th recipe under a prior (under one that is distrusted) has a name that was never answered for, while there
is one; tuned on wrong and biased labs, seeds 0-9. Of more than `MOST_NAMES` names all are to have been tried after as many trials
as so many names take, so that they come sooner where many are left; but not before the names that it likes."""
ATTEMPTS = 2
"""A name that failed so often is not tried for its own sake again."""


def first_size(space: SearchSpace) -> int:
    """How many trials go out before a model chooses: one a parameter and one more, or one a name where there are few."""
    names = [len(category.choices) for category in space.categories]
    return max(1 + len(space.parameters), *(count for count in (0, *names) if count <= MOST_NAMES), 0)


def untested(space: SearchSpace, base: Floats, answered: Floats, failed: Floats) -> dict[int, Floats]:
    """Return, for the first category with such, its column and the names of the coarse set that were never answered for.

    A prior that ranks names wrongly is never refuted by trials of those that it likes. Categories of few names come first.
    """
    sizes = [len(p.choices) if isinstance(p, Category) else 0 for p in space.parameters]
    for j in sorted(np.flatnonzero(sizes).tolist(), key=lambda j: sizes[j] > MOST_NAMES):
        new = np.setdiff1d(base[:, j], np.concatenate([answered[:, j], _lost_names(failed[:, j])]))
        if len(new):
            return {j: new}
    return {}


def test_every(space: SearchSpace, names: dict[int, Floats], trials: int, *, distrusted: bool) -> int:
    """Return how often, after so many trials, one goes to names that were never answered for."""
    for j, left in names.items():
        parameter = space.parameters[j]
        if isinstance(parameter, Category) and len(parameter.choices) > MOST_NAMES and trials >= MOST_NAMES:
            pace = (TEST_EVERY * MOST_NAMES - trials) // len(left)
            return TEST_OFTEN if distrusted else int(np.clip(pace, TEST_OFTEN, TEST_EVERY))
    return TEST_OFTEN if distrusted else TEST_EVERY


def _lost_names(failed: Floats) -> Floats:
    names, times = np.unique(failed, return_counts=True)
    return np.asarray(names[times >= ATTEMPTS])


def given_up(space: SearchSpace, base: Floats, answered: Floats, failed: Floats) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which of the coarse set have a name that failed `ATTEMPTS` times and never answered; and how many such names."""
    rows, count = np.zeros(len(base), dtype=bool), 0
    for j, parameter in enumerate(space.parameters):
        if isinstance(parameter, Category):
            names = np.setdiff1d(_lost_names(failed[:, j]), answered[:, j])
            rows, count = rows | np.isin(base[:, j], names), count + len(names)
    return rows, count


def first_recipes(space: SearchSpace, base: Floats, used: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Return n encoded recipes: of the least tried names, and far from those used and from each other."""
    chosen = np.zeros((0, base.shape[1]))
    categorical = np.array([isinstance(p, Category) for p in space.parameters])
    for _ in range(n):
        taken = np.vstack([used, chosen])
        times = sum((base[:, [j]] == taken[:, j]).sum(axis=1) for j in np.flatnonzero(categorical))
        fresh = base[times == np.min(times)] if categorical.any() else base
        shortlist = fresh[rng.choice(len(fresh), size=min(SHORTLIST, len(fresh)), replace=False)]
        if len(taken):
            gaps = np.abs(shortlist[:, None, :] - taken[None, :, :])
            # A new name counts as far as half a range: it is a different place, but the same numbers teach too.
            gaps = np.where(categorical, 0.5 * (gaps > 0), gaps)
            shortlist = shortlist[[int(np.argmax((gaps**2).sum(axis=2).min(axis=1)))]]
        chosen = np.vstack([chosen, shortlist[:1]])
    return chosen
