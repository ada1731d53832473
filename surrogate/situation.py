"""What the next choice rests on: space, beliefs, chances of failure, goals, what was tried and is under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.given import array_of
from campaign.space import SearchSpace
from surrogate.belief import Belief
from surrogate.feasibility import Feasibility
from surrogate.goals import Goals
from surrogate.robustness import Slips

Floats = npt.NDArray[np.float64]
Cost = Callable[[pd.DataFrame], npt.ArrayLike]


@dataclass(frozen=True)
class Situation:
    """All that a choice depends on."""

    space: SearchSpace
    goals: Goals
    beliefs: Mapping[str, Belief]
    """Per modelled outcome; a belief about an objective has its sign folded in (larger is better)."""
    feasibility: Feasibility
    tried: Floats
    pending: Floats
    base: Floats
    cost: Cost | None
    slips: Slips | None = None
    only: Mapping[int, Floats] = field(default_factory=dict)
    """Columns of categories, and the names that alone may be chosen now."""

    @property
    def wanted(self) -> list[str]:
        """Names of the objectives that are modelled."""
        return [objective.name for objective in self.goals.objectives if not objective.known]

    def same_as(self, other: Situation) -> bool:
        """Say whether another one was made from the very same beliefs, trials and trials under way."""
        return (
            self.beliefs is other.beliefs
            and self.feasibility is other.feasibility
            and np.array_equal(self.tried, other.tried)
            and np.array_equal(self.pending, other.pending)
        )

    def admitted(self, x: Floats) -> Floats:
        """Return those of m recipes whose names may be chosen now."""
        for column, names in self.only.items():
            x = x[np.isin(x[:, column], names)]
        return x

    def known(self, x: Floats) -> dict[str, Floats]:
        """Return the objectives that the recipe itself decides (m each, larger is better)."""
        table = self.space.restore(x)
        return {o.name: o.sign * table[o.name].to_numpy(float) for o in self.goals.objectives if o.known}

    def log_penalty(self, x: Floats) -> Floats:
        """Return log worth by the chance of success, minus log cost, of m recipes."""
        penalty = self.feasibility.log_worth(x)
        if self.cost is not None:
            penalty = penalty - np.log(costs(self.cost, self.space.restore(x)))
        return np.asarray(penalty)

    def drawn(self, x: Floats, n: int, rng: np.random.Generator) -> tuple[dict[str, Floats], npt.NDArray[np.bool_]]:
        """Return n joint draws of the modelled objectives at m recipes in their units, larger is better, slips allowed for.

        And whether in each draw the conditions on outcomes hold.
        """
        draws = {name: belief.draws(x, n, rng) for name, belief in self.beliefs.items()}
        wanted = {name: self.beliefs[name].warp.back(draws[name] - self.loss(name, x)) for name in self.wanted}
        return wanted, self.admissible(draws, x)

    def objectives(self, x: Floats, n: int, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return n joint draws of all k objectives at m recipes (n x m x k, larger is better), and whether conditions hold."""
        (draws, met), known = self.drawn(x, n, rng), self.known(x)
        columns = [
            np.broadcast_to(known[o.name], (n, len(x))) if o.known else draws[o.name] for o in self.goals.objectives
        ]
        return np.stack(columns, axis=2), met

    def loss(self, name: str, x: Floats) -> Floats:
        """Return what slips of setting and weighing cost one outcome at m recipes, on the belief's scale."""
        return -self.slips.shifts(self.beliefs[name], self.space, x)[0] if self.slips else np.zeros(len(x))

    def admissible(self, draws: Mapping[str, Floats], x: Floats) -> npt.NDArray[np.bool_]:
        """Return per draw and recipe whether the conditions on outcomes hold, in nine of ten mixes where settings slip.

        Args:
            draws: s x m of every modelled outcome on its belief's scale, where nothing slips.
            x: m encoded recipes.
        """
        bounding = {name for constraint in self.goals.outcome_constraints for name in constraint.names}
        if not bounding:
            return np.ones(next(iter(draws.values())).shape, dtype=bool)
        signs = {objective.name: objective.sign for objective in self.goals.objectives}
        ends = {}
        for name, values in draws.items():
            belief, at = self.beliefs[name], [values]
            if self.slips and name in bounding:
                at = [values + shift for shift in self.slips.shifts(belief, self.space, x)]
            ends[name] = [signs.get(name, 1.0) * belief.warp.back(end) for end in at]
        return self.goals.met(ends, self.space.restore(x))

    def log_chance_admissible(self, x: Floats, n: int = 64) -> Floats:
        """Return the log chance, from n draws, that m recipes meet the conditions on outcomes, each outcome on its own.

        Where no draw meets them it is under 0.001, and the higher the nearer they are: a search must find its way there.
        """
        if not self.goals.outcome_constraints:
            return np.zeros(len(x))
        told = {name: belief.mean_sd(x) for name, belief in self.beliefs.items()}
        chance = self._share_admissible(x, told, 1.0, n)
        none = chance == 0.0
        if none.any():
            far = {name: (mean[none], sd[none]) for name, (mean, sd) in told.items()}
            wide = [self._share_admissible(x[none], far, widen, n) for widen in (4.0, 16.0)]
            chance[none] = 1e-3 * np.maximum(np.mean(wide, axis=0), 1e-6)
        return np.asarray(np.log(chance))

    def _share_admissible(self, x: Floats, told: Mapping[str, tuple[Floats, Floats]], widen: float, n: int) -> Floats:
        """Share of n draws, each outcome on its own and its sd times a factor, that meet the conditions at m recipes."""
        draws = {
            name: mean + widen * sd * np.random.default_rng(j).standard_normal((n, 1))
            for j, (name, (mean, sd)) in enumerate(told.items())
        }
        return np.asarray(self.admissible(draws, x).mean(axis=0))

    def likely_admissible(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Return of m recipes whether they rather meet the conditions on outcomes than not."""
        return np.asarray(self.log_chance_admissible(x) > np.log(0.5))


def costs(cost: Cost, recipes: pd.DataFrame) -> Floats:
    """Return the cost of n recipes, checked."""
    answer = cost(recipes)
    try:
        array = array_of(answer)
        given = array.astype(float, casting="same_kind" if array.dtype.kind == "c" else "unsafe")
    except (ValueError, TypeError, OverflowError) as error:
        raise Refusal(f"the cost gave something else than numbers for {len(recipes)} recipes: {error}") from error
    if given.shape != (len(recipes),) or not np.isfinite(given).all() or (given <= 0).any():
        raise Refusal(f"the cost must give {len(recipes)} finite numbers above 0 for {len(recipes)} recipes")
    return given
