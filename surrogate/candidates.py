"""Candidates: many feasible recipes over every combination of names, and ever finer ones around the promising.

Proposals are picked from a finite set, so every constraint, step and forbidden combination is met by construction, the
choice among names is exact while they are few, and whole batches can be judged by joint posterior draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.parameter import Category
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
Score = Callable[[Floats], Floats]

MOST_EXACT = 64
"""Up to so many combinations of names each is searched on its own; beyond, Sobol draws choose among them."""
BASE = 1536
"""Recipes in the coarse set, over all combinations together."""
LEAST_PER_COMBINATION = 48
TOO_FEW = 16
"""A combination of names with fewer recipes than this is drawn for on its own: where little of it is allowed, chance that all
share passes it by."""
DRAWS_FOR_FEW = 1 << 20
"""Draws for all such together."""
REACH = (0.15, 0.05, 0.015)
"""Radius of the search around promising recipes, round by round, as a share of each range."""
MOVES = 320
"""Recipes looked at around all leaders together, in each round."""
FEW_NUMBERS, FAR_REACH = 4, (0.3, 0.15, 0.15, 0.08, 0.05, 0.03, 0.015)
"""With more numeric parameters there are these rounds, of as many times the moves as there are parameters beyond two: in six and
ten dimensions log expected improvement was up to 0.5 short of what a long search found."""
FEW_SETTINGS = 4
"""A number of no more settings is put to another as a name is: moves by shares of its range would seldom get there."""
SWAPS = 2048
"""Such recipes that are looked at in each round at most."""
SCARCE = 128
"""With fewer recipes in the coarse set, and fewer than one move in eight that is allowed, moves also follow the coarse set."""


def coarse(space: SearchSpace, *, seed: int) -> Floats:
    """Return encoded feasible recipes that cover the space, every combination of names alike."""
    if space.n_combinations > MOST_EXACT or not space.categories:
        return _filled(space, unique(space.encode(space.sample(BASE, seed=seed))), seed=seed)
    per = max(LEAST_PER_COMBINATION, BASE // space.n_combinations)
    sample = space.encode(space.sample(per, seed=seed))
    columns = [i for i, p in enumerate(space.parameters) if isinstance(p, Category)]
    blocks = []
    for combination in space.combinations():
        block = sample.copy()
        block[:, columns] = combination
        blocks.append(block)
    return _filled(space, settable(space, np.vstack(blocks)), seed=seed)


def _filled(space: SearchSpace, found: Floats, *, seed: int) -> Floats:
    """Return a coarse set with further recipes for combinations of names (where these are too many, for names) of too few."""
    categories = {i: p for i, p in enumerate(space.parameters) if isinstance(p, Category)}
    exact = space.n_combinations <= MOST_EXACT
    few = []
    for columns in [tuple(categories)] if exact else [(i,) for i in categories]:
        choices = [range(len(categories[i].choices)) for i in columns]
        # Of many names each has few by chance; and none can have more than there are settings of the numbers.
        fair = TOO_FEW if exact else BASE / 8 / len(choices[0])
        fair = min(fair, TOO_FEW, math.prod(p.n_settings for p in space.numeric))
        for place in itertools.product(*choices):
            names = {categories[i].name: categories[i].choices[k] for i, k in zip(columns, place, strict=True)}
            if (found[:, columns] == place).all(axis=1).sum() < fair and not space.rules_out(names):
                few.append(names)
    extra = []
    for names in few if len(few) <= MOST_EXACT else ():
        own = space.narrowed(names).find(LEAST_PER_COMBINATION, seed=seed, draws=DRAWS_FOR_FEW // len(few))
        extra += [space.encode(own)] if len(own) else []
    return unique(np.vstack([found, *extra])) if extra else found


def settable(space: SearchSpace, x: Floats) -> Floats:
    """Return those of n encoded recipes that, snapped to what can be set, are feasible; each once."""
    table = space.decode(x)
    table = table[space.kept(table)]
    return unique(space.encode(table)) if len(table) else x[:0]


def around(space: SearchSpace, anchors: Floats, radius: float, per_anchor: int, rng: np.random.Generator) -> Floats:
    """Return feasible recipes near anchors, some parameters moved and the others left."""
    numeric = np.array([not isinstance(p, Category) for p in space.parameters])
    x = np.repeat(anchors, per_anchor, axis=0)
    moves = rng.standard_normal(x.shape) * radius * numeric
    moved = rng.random(x.shape) < max(0.5, 1.5 / max(1, int(numeric.sum())))
    return settable(space, np.where(numeric, np.clip(x + moves * moved, 0.0, 1.0), x))


def along(
    space: SearchSpace, anchors: Floats, radius: float, per_anchor: int, of: Floats, rng: np.random.Generator
) -> Floats:
    """Return feasible recipes near anchors, moved as two recipes of a set differ: along conditions that leave a thin strip."""
    numeric = np.array([not isinstance(p, Category) for p in space.parameters])
    x = np.repeat(anchors, per_anchor, axis=0)
    ends = rng.integers(len(of), size=(2, len(x)))
    ways = np.where(numeric, of[ends[0]] - of[ends[1]], 0.0)
    ways /= np.maximum(np.abs(ways).max(axis=1, keepdims=True), 1e-9)
    moved = x + ways * rng.standard_normal((len(x), 1)) * radius
    return settable(space, np.where(numeric, np.clip(moved, 0.0, 1.0), x))


def swapped(space: SearchSpace, anchors: Floats, base: Floats, rng: np.random.Generator) -> Floats:
    """Return feasible recipes that differ from an anchor in one name, or in one number of few settings.

    Names only where they are too many for each combination to be searched on its own, and only such as the coarse set has.
    """
    blocks = [anchors[:0]]
    for j, parameter in enumerate(space.parameters):
        if isinstance(parameter, Category):
            values = np.unique(base[:, j]) if space.n_combinations > MOST_EXACT else base[:0, j]
        else:
            values = parameter.to_unit(parameter.settings()) if parameter.n_settings <= FEW_SETTINGS else base[:0, j]
        for value in values:
            block = anchors[np.abs(anchors[:, j] - value) > 1e-9]
            blocks.append(np.where(np.arange(block.shape[1]) == j, value, block))
    x = np.vstack(blocks)
    return settable(space, x if len(x) <= SWAPS else x[rng.choice(len(x), size=SWAPS, replace=False)])


def search(
    space: SearchSpace, base: Floats, anchors: Floats, score: Score, *, size: int, rng: np.random.Generator
) -> Floats:
    """Return up to `size` promising candidates: the best of the coarse set and of ever finer searches around them.

    Args:
        space: what is allowed.
        base: coarse set, n x p encoded.
        anchors: recipes worth a look around them whatever their score (the best tried).
        score: of n encoded recipes; larger is more promising.
        size: of the set returned.
        rng: for the moves.
    """
    tried = settable(space, anchors) if len(anchors) else anchors
    found = unique(np.vstack([base, tried])) if len(anchors) else base
    scores = score(found)
    further = rng.spawn(1)[0]  # moves that few spaces need leave the chance of the others as it was
    many = len(space.numeric) > FEW_NUMBERS
    moves = MOVES * (len(space.numeric) - 2) if many else MOVES
    for radius in FAR_REACH if many else REACH:
        starts = found[leaders(space, found, scores)]
        per = max(8, moves // len(starts))
        near = [swapped(space, np.vstack([starts, tried]), base, further)]
        if space.numeric:
            near.append(around(space, starts, radius, per, rng))
            if len(base) < SCARCE and len(near[-1]) < moves / 8:
                near.append(along(space, starts, radius, per, base, further))
        new = np.vstack(near)
        new = unique(new[~member(new, found)])
        if len(new):
            found, scores = np.vstack([found, new]), np.concatenate([scores, score(new)])
    order = np.argsort(-scores, kind="stable")
    return found[order[:size]]


def leaders(space: SearchSpace, x: Floats, scores: Floats, *, overall: int = 8, combinations: int = 12) -> list[int]:
    """Return indices of the best overall and of the best of each of the best combinations of names."""
    order = np.argsort(-scores, kind="stable")
    columns = [i for i, p in enumerate(space.parameters) if isinstance(p, Category)]
    _, first = np.unique(x[order][:, columns], axis=0, return_index=True)
    return list(dict.fromkeys([*order[:overall].tolist(), *order[np.sort(first)[:combinations]].tolist()]))


def unique(x: Floats) -> Floats:
    """Return rows once each, in order of first appearance."""
    kept: Floats = x[~pd.DataFrame(np.round(x, 9)).duplicated().to_numpy()]
    return kept


def member(x: Floats, of: Floats) -> npt.NDArray[np.bool_]:
    """Return for each row of x whether it stands in `of`."""
    known = {row.tobytes() for row in np.round(of, 9) + 0.0}
    return np.array([row.tobytes() in known for row in np.round(x, 9) + 0.0], dtype=bool)
