"""The chooser: ask for recipes, tell what they gave, get a recommendation. Needs neither ledger nor physics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.given import is_number, mapped
from campaign.parameter import Numeric
from campaign.space import SearchSpace, read_tables
from surrogate import candidates
from surrogate.answer import STOP_BELOW, Stopping, Window, pareto, recommended, ridge, stopping, window
from surrogate.belief import Belief, learn
from surrogate.chooser import Pick, choose, repeated
from surrogate.design import first_recipes, first_size, given_up, test_every, untested
from surrogate.diagnostics import Diagnostics, diagnose
from surrogate.feasibility import Feasibility
from surrogate.goals import Goals
from surrogate.history import History, parse_cells, read_common, read_values
from surrogate.kernel import Layout
from surrogate.prior import Prior, as_function
from surrogate.reasons import reason
from surrogate.robustness import Slips
from surrogate.saved import path_of, read_history, read_state, without_nan, write_state
from surrogate.situation import Cost, Situation
from surrogate.threads import one_thread

Floats = npt.NDArray[np.float64]
DISTRUST: Final = 0.2
"""Under so much trust in the prior the names that it condemns are tried sooner."""
MILESTONE: Final = 100
"""Up to so many trials every fit starts afresh; beyond, from the fit at 100, 200, 400, … trials."""
CHANCE_DRAWS: Final = 512
"""Draws that a chance of meeting conditions is told from."""
FEWEST_ALIKE: Final = 4
"""So many trials that all failed, or all gave the same, say nothing of where to go [est]."""
ALIKE: Final = 1e-9
"""Results that differ by less than this share of their size are the same."""
_NOT_HANDED: Final = object()


class Optimiser:
    """Chooses recipes by what trials have shown, and by a prior as far as trials bear it out.

    >>> opt = Optimiser({"x": (0.0, 1.0)}, goal="max", seed=1)
    >>> recipes = opt.ask(2)
    >>> opt.tell(recipes, [0.2, 0.4])
    >>> opt.trials["value"].tolist()
    [0.2, 0.4]

    Everything is decided by the arguments, the seed and the history of told and pending recipes: the same history gives
    the same proposals.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | SearchSpace,
        goal: str | Mapping[str, str] = "max",
        *,
        constraints: Iterable[str] | None = (),
        steps: Mapping[str, float] | None = None,
        cost: Cost | None = None,
        prior: Any = None,
        seed: int = 0,
        descriptors: Mapping[str, Any] | None = None,
        forbidden: Iterable[Mapping[str, Any]] | None = (),
        log: Iterable[str] | None = (),
        risk: Mapping[str, float | str] | None = None,
    ) -> None:
        """Set up a choice.

        Args:
            space: parameter to bounds or names (see `SearchSpace.of`), or a ready SearchSpace.
            goal: "max", "min", or a mapping of objective to one of these; an objective may be a recipe parameter.
            constraints: conditions on the recipe, and on outcomes that are then told too, as text.
            steps: parameter to step.
            cost: function of a DataFrame of n recipes giving n costs above 0; gain per cost is then sought.
            prior: function of a DataFrame of n recipes giving n values, or draws x n; with several outcomes a mapping. NaN =
                it says nothing of that recipe. It is asked in few calls, but of many recipes: at the first `ask` of about 2 300
                times (1 + numbers + names, at most 8 a category), at each later one of a third of it; more with more than four
                numbers. Where that takes long, hand a table of its values that was computed once and is read between.
            seed: of everything that is drawn.
            descriptors: category to a table of its names' properties.
            forbidden: combinations that may not be made.
            log: parameters on a log scale.
            risk: how far off a recipe may be mixed, e.g. `{"speed_rpm": "2%", "active_wt_pct": 0.5}`; the value that
                is still reached in nine of ten mixes is then sought, and conditions on outcomes are to hold in as many.

        Raises:
            Refusal: anything that makes no sense, in one sentence.
        """
        ready = space if isinstance(space, SearchSpace) else None
        names = ready.names if ready else tuple(space) if isinstance(space, Mapping) else ()
        self._goals = Goals.of(goal, constraints, names)
        self._space = _space(ready, space, self._goals, steps, forbidden, descriptors, log)
        self._goals.refuse_names(self._space)
        if cost is not None and not callable(cost):
            raise Refusal(f"the cost {cost!r} is no function of a DataFrame of recipes")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise Refusal(f"seed {seed!r} is not a whole number of 0 or more")
        self._goal, self._cost, self._seed = goal, cost, int(seed)
        self._outcomes = self._goals.modelled(self._space.names)
        signs = {objective.name: objective.sign for objective in self._goals.objectives}
        self._signs = np.array([signs.get(name, 1.0) for name in self._outcomes])
        if callable(prior) and sum(not objective.known for objective in self._goals.objectives) > 1:
            raise Refusal(f"several objectives: hand the prior as a mapping, e.g. {{{self._outcomes[0]!r}: function}}")
        if callable(prior):
            prior = {self._outcomes[0]: prior}
        self._has_prior = prior is not None
        self._priors = {
            name: Prior(as_function(prior, name, self._outcomes), self._space, sign=sign)
            for name, sign in zip(self._outcomes, self._signs, strict=True)
        }
        self._risk = mapped(risk, "risk", '{"speed_rpm": "2%"}')
        self._slips = Slips.of(self._risk, self._space)
        self._layout = Layout.of(self._space)
        self._base = candidates.coarse(self._space, seed=self._seed)
        self._history = History.empty(len(self._space.parameters), len(self._outcomes))
        self._beliefs: dict[str, Belief] = {}
        self._milestones: dict[tuple[int, int], Belief] = {}
        self._believed = -1
        self._feasibility: tuple[int, Feasibility] | None = None
        self._best: tuple[Situation, Floats] | None = None

    def untold(self) -> Self:
        """Return an Optimiser with the same set-up that was told nothing; what the prior said so far need not be asked again."""
        made = copy(self)
        made._history = History.empty(len(self._space.parameters), len(self._outcomes))
        made._beliefs, made._milestones, made._believed, made._feasibility = {}, {}, -1, None
        made._best = None
        return made

    # ---- ask and tell ---------------------------------------------------------------------------------------------

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self._space

    @property
    def trials(self) -> pd.DataFrame:
        """All that was told: one row a trial, recipe then outcomes and their standard errors."""
        table = self._space.restore(self._history.x)
        for j, name in enumerate(self._outcomes):
            table[name] = self._history.values[:, j]
            table[f"{name}_se"] = self._history.se[:, j]
        return table

    @one_thread
    def ask(self, n: int = 1, *, explain: bool = False) -> pd.DataFrame:
        """Return the n recipes to try next, most promising first; they count as pending from now on.

        Args:
            n: how many.
            explain: adds `predicted`, `p05`, `p95` (of the noise-free outcome) and `reason`.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise Refusal(f"ask({n!r}): the number of recipes must be 1 or more")
        picks = self._choose(int(n))
        x = np.stack([pick.x for pick in picks])
        recipes = self._space.decode(x)
        if explain:
            prediction = self._prediction(x).rename(columns={"mean": "predicted"})
            recipes = pd.concat([recipes, prediction[["predicted", "p05", "p95"]]], axis=1)
            recipes["reason"] = [reason(pick, self._situation(x[:k]), self._signs[0]) for k, pick in enumerate(picks)]
        self._history = self._history.waiting(x)
        return recipes

    def tell(self, recipes: pd.DataFrame, values: Any, *, common: Any = None) -> None:
        """Take in results.

        Args:
            recipes: n rows, as mixed (a little outside the bounds is learned from); further columns are ignored; a
                recipe told again is a replicate.
            values: n numbers, or a DataFrame with `value` and `se`, or one column an outcome (and `<outcome>_se`).
                NaN = the trial failed.
            common: n x n covariance of errors that these results have in common, part of their `se` squared (such as
                what one law foresees of several cells); with several outcomes a mapping.

        Raises:
            Refusal: a cell that cannot be; nothing is taken in then.
        """
        table = self._space.check(recipes)
        read, se = read_values(values, self._outcomes, table.index)
        shared = read_common(common, self._outcomes, se)
        self._history = self._history.told(parse_cells(table, self._space), read, se, shared)

    def pending(self, recipes: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return what is under way; with `recipes`, after adding these (asked recipes are added by themselves)."""
        if recipes is not None:
            self._history = self._history.waiting(parse_cells(self._space.check(recipes), self._space))
        return self._space.restore(self._history.pending)

    def withdraw(self, recipes: pd.DataFrame) -> None:
        """Take recipes off the pending list that will never be told."""
        self._history = self._history.withdrawn(parse_cells(self._space.check(recipes), self._space))

    # ---- what is believed -----------------------------------------------------------------------------------------

    @property
    def objectives(self) -> dict[str, str]:
        """Every objective and its direction, "max" or "min"; one without a name is `value`."""
        return {o.name: "max" if o.sign > 0 else "min" for o in self._goals.objectives}

    @one_thread
    def predict(self, recipes: pd.DataFrame, *, outcome: str | None = None, noisy: bool = False) -> pd.DataFrame:
        """Return mean, sd, p05 and p95 of an outcome at n recipes.

        Args:
            recipes: n rows.
            outcome: name of one that trials measure; the first objective without it.
            noisy: of the next measurement instead of the noise-free outcome.
        """
        if outcome is not None and outcome not in self._outcomes:
            raise Refusal(f"{outcome!r} is no outcome that trials measure here: {', '.join(self._outcomes)}")
        return self._prediction(self._space.encode(recipes), outcome, noisy=noisy).set_index(recipes.index)

    @one_thread
    def chance_met(self, recipes: pd.DataFrame) -> pd.Series:
        """Return for n recipes the chance that they meet the conditions on outcomes (1 where there are none).

        With `risk`: that nine of ten mixes do.
        """
        chance = np.exp(self._situation().log_chance_admissible(self._space.encode(recipes), CHANCE_DRAWS))
        return pd.Series(chance, index=recipes.index, name="chance_met")

    @one_thread
    def recommend(self) -> pd.DataFrame:
        """Return one row: the recipe with the best believed outcome, its mean, p05, p95, and the trust in the prior.

        The recipe may be one that nobody has tried; the mean is the model's, not the luckiest result's. With several
        objectives it is the most balanced of the front, and the numbers are of the first objective that is modelled.
        """
        _, best = self._recommended()
        prediction = self._prediction(best)[["mean", "p05", "p95"]]
        return pd.concat([self._space.decode(best), prediction], axis=1).assign(trust=self.trust)

    @one_thread
    def pareto(self) -> pd.DataFrame:
        """Return the believed front of several objectives: recipes that no other beats in all, with believed means."""
        return pareto(self._situation(), self._rng(11))

    @one_thread
    def window(self, tolerance: float = 0.05) -> Window:
        """Return the recipes that are within tolerance of the best, with the chance of it (see `Window`).

        With several objectives: of the recommended one in every objective. The same goes for `ridge`.
        """
        if not is_number(tolerance) or not 0 < tolerance < 1:
            raise Refusal(f"tolerance {tolerance!r} must lie between 0 and 1, e.g. 0.05")
        situation, best = self._recommended()
        return window(situation, best, tolerance=tolerance, rng=self._rng(8))

    @one_thread
    def ridge(self, first: str, second: str, *, tolerance: float = 0.05, n: int = 25) -> pd.DataFrame:
        """Return an n x n grid over two numeric parameters, all else as recommended.

        Returns:
            Columns `first`, `second`, `mean`, `sd`, `probability` (of being within tolerance of the best), `allowed`.
        """
        if not is_number(tolerance) or not tolerance >= 0:
            raise Refusal(f"tolerance {tolerance!r} must be a share of 0 or more, e.g. 0.05")
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise Refusal(f"ridge with n={n!r}: the number of settings a side must be a whole number, e.g. 25")
        if first == second:
            raise Refusal(f"ridge along {first} twice; it runs along two parameters")
        for name in (first, second):
            if not isinstance(self._space[name], Numeric):
                raise Refusal(f"{name} is a choice among names; a ridge runs along two numeric parameters")
        situation, best = self._recommended()
        return ridge(situation, best, (first, second), tolerance=tolerance, n=n, rng=self._rng(9))

    @one_thread
    def stopping(self, smallest_worthwhile: float, *, bound: float = STOP_BELOW) -> Stopping:
        """Return the chance that going on gains more than is worthwhile, and whether it is under the bound.

        Args:
            smallest_worthwhile: gain in the outcome's unit.
            bound: chance under which to stop.
        """
        if not is_number(smallest_worthwhile) or not smallest_worthwhile >= 0:
            raise Refusal(f"the smallest worthwhile gain {smallest_worthwhile!r} must be a number of 0 or more")
        if not is_number(bound) or not 0 < bound < 1:
            raise Refusal(f"the bound {bound!r} is a chance and must lie between 0 and 1, e.g. {STOP_BELOW}")
        situation, best = self._recommended()
        return stopping(situation, best, smallest_worthwhile=smallest_worthwhile, bound=bound, rng=self._rng(10))

    @property
    @one_thread
    def trust(self) -> float:
        """Share of the first objective's variance that the prior is believed to explain: 0 to 1 (0 without prior)."""
        return self._believe()[self._outcomes[0]].trust

    @one_thread
    def diagnostics(self) -> Diagnostics:
        """Return leave-one-out parity, calibration, sensitivity and the prior's influence, of the first outcome."""
        belief = self._believe()[self._outcomes[0]]
        measured = ~np.isnan(self._history.values[:, 0])
        x, told = self._history.x[measured], self._history.values[measured, 0]
        return diagnose(self._space, belief, x, told, sign=float(self._signs[0]))

    @property
    @one_thread
    def flagged(self) -> pd.Series:
        """Which of the told trials contradict the others in any outcome; they stay in, with a wide error."""
        found = np.zeros(len(self._history.x), dtype=bool)
        for j, belief in enumerate(self._believe().values()):
            found[np.flatnonzero(~np.isnan(self._history.values[:, j]))] |= belief.flagged
        return pd.Series(found, name="flagged")

    # ---- JSON -----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set-up and the whole history as JSON; functions (prior, cost) are handed again on load."""
        state = {
            "space": self._space.to_dict(),
            "goal": self._goal if isinstance(self._goal, str) else dict(self._goal),
            "outcome_constraints": [constraint.text for constraint in self._goals.outcome_constraints],
            "seed": self._seed,
            "risk": self._risk,
            "needs": [name for name, given in (("prior", self._has_prior), ("cost", self._cost)) if given],
            "x": self._history.x.tolist(),
            "values": without_nan(self._history.values),
            "se": without_nan(self._history.se),
            "pending": self._history.pending.tolist(),
            "common": [[told.first, told.covariance.tolist()] for told in self._history.common],
        }
        write_state(path_of(path), state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, prior: Any = _NOT_HANDED, cost: Any = _NOT_HANDED) -> Self:
        """Read what `save` wrote.

        Args:
            path: of the JSON file.
            prior: the prior again, if there was one; None to go on without it.
            cost: the cost function again, if there was one; None to go on without it.

        Raises:
            Refusal: no such file, no JSON of ours, or a function that was not handed again.
        """
        file = path_of(path)
        state = read_state(file)
        for name, handed in (("prior", prior), ("cost", cost)):
            if name in state["needs"] and handed is _NOT_HANDED:
                raise Refusal(f"{path}: was saved with a {name} function, which no file holds; load it with {name}=…")
        try:
            space = SearchSpace.from_dict(state["space"])
        except Refusal as refusal:
            raise Refusal(f"{path}: {refusal}") from None
        made = cls(
            space,
            state["goal"],
            constraints=state["outcome_constraints"],
            prior=None if prior is _NOT_HANDED else prior,
            cost=None if cost is _NOT_HANDED else cost,
            seed=state["seed"],
            risk=state["risk"],
        )
        made._history = read_history(file, state, space, made._outcomes)
        return made

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _choose(self, n: int) -> list[Pick]:
        history = self._history
        rng = self._rng(0)
        used = np.vstack([history.x, history.pending])
        # With a prior a model chooses from the first recipe on, and tests the prior; without one it has nothing to go by.
        start = 0 if self._informed else first_size(self._space)
        under_way = len(used) - int(history.failed.sum())
        lost, n_names = given_up(self._space, self._base, history.x[~history.failed], history.x[history.failed])
        # Before any result a model without a prior would choose by cost alone: so the spread goes on.
        lacking = n if self._nothing_to_go_by else max(0, start - n_names - under_way)
        barred = lost | self._feasible().hopeless(self._base)
        base = self._base if barred.all() else self._base[~barred]
        first = first_recipes(self._space, base, used, min(n, lacking), rng)
        picks = [Pick(x, "spread") for x in first]
        while len(picks) < n:
            ahead = np.array([pick.x for pick in picks]).reshape(-1, used.shape[1])
            count, only = self._next_test(ahead, n - len(picks)) if self._informed else (n - len(picks), {})
            found = choose(self._situation(ahead, only), count, seed=int(rng.integers(2**31)))
            picks += found
            if not found:
                break
        return self._padded(picks, n)

    @property
    def _nothing_to_go_by(self) -> bool:
        """Whether trials say nothing of where to go: all failed, or all gave the same; a prior is then followed no longer."""
        history = self._history
        if history.failed.all():
            return not self._informed or len(history.x) >= FEWEST_ALIKE
        measured = sum(not objective.known for objective in self._goals.objectives)
        columns = [column[~np.isnan(column)] for column in history.values[:, :measured].T]
        if min(len(column) for column in columns) < FEWEST_ALIKE:
            return False
        return all(bool(np.ptp(column) <= ALIKE * np.abs(column).max()) for column in columns)

    @property
    def _informed(self) -> bool:
        return any(prior.width for prior in self._priors.values())

    def _next_test(self, ahead: Floats, n: int) -> tuple[int, dict[int, Floats]]:
        """Return how many of n recipes to choose now, and the names that they must have, if the prior is to be tested."""
        history = self._history
        answered = np.vstack([history.x[~history.failed], history.pending, ahead])
        names = untested(self._space, self._base, answered, history.x[history.failed])
        made = len(history.x) + len(history.pending) + len(ahead)
        every = test_every(self._space, names, made, distrusted=self.trust < DISTRUST)
        free = every - 1 - made % every if names else n
        return (min(n, free), {}) if free else (1, names)

    def _padded(self, picks: list[Pick], n: int) -> list[Pick]:
        """A space with fewer recipes than asked for gives replicates."""
        while len(picks) < n:
            ahead = np.array([pick.x for pick in picks]).reshape(-1, self._base.shape[1])
            used = np.vstack([self._history.x, self._history.pending, ahead])
            picks = [*picks, repeated(self._situation(ahead), used)]
        return picks

    def _situation(self, further: Floats | None = None, only: Mapping[int, Floats] | None = None) -> Situation:
        history = self._history
        succeeded = ~history.failed
        pending = history.pending if further is None else np.vstack([history.pending, further])
        return Situation(
            self._space,
            self._goals,
            self._believe(),
            self._feasible(),
            history.x[succeeded],
            pending,
            self._base,
            self._cost,
            self._slips,
            only or {},
        )

    def _recommended(self) -> tuple[Situation, Floats]:
        """What is known, and the recipe recommended by it: a whole search, made once for all that is asked of the answer."""
        now = self._situation()
        if self._best is None or not now.same_as(self._best[0]):
            self._best = now, recommended(now, self._rng(7))
        return now, self._best[1]

    def _feasible(self) -> Feasibility:
        history = self._history
        if self._feasibility is None or self._feasibility[0] != len(history.x):
            self._feasibility = len(history.x), Feasibility.of(self._space, history.x, history.failed)
        return self._feasibility[1]

    def _rng(self, purpose: int) -> np.random.Generator:
        """Chance that depends on seed and history alone, another for each purpose."""
        return np.random.default_rng([self._seed, len(self._history.x), len(self._history.pending), purpose])

    def _believe(self) -> dict[str, Belief]:
        if self._believed != len(self._history.x):
            self._beliefs = {name: self._learn(j, len(self._history.x)) for j, name in enumerate(self._outcomes)}
            self._believed = len(self._history.x)
        return self._beliefs

    def _learn(self, j: int, n: int) -> Belief:
        """Learn outcome j from the first n trials; long histories start from the belief at a milestone before.

        Milestones depend on the history alone, not on when somebody asked, so that a replay gives the same proposals.
        """
        milestone = MILESTONE * 2 ** int(np.log2((n - 1) / MILESTONE)) if n > MILESTONE else 0
        if milestone and (j, milestone) not in self._milestones:
            self._milestones[j, milestone] = self._learn(j, milestone)
        rows = np.flatnonzero(~np.isnan(self._history.values[:n, j]))
        return learn(
            self._layout,
            self._priors[self._outcomes[j]],
            self._history.x[rows],
            self._signs[j] * self._history.values[rows, j],
            se=self._history.se[rows, j],
            common=self._history.covariance(rows, j),
            earlier=self._milestones.get((j, milestone)),
        )

    def _prediction(self, x: Floats, outcome: str | None = None, *, noisy: bool = False) -> pd.DataFrame:
        name = outcome or next(objective.name for objective in self._goals.objectives if not objective.known)
        belief, sign = self._believe()[name], self._signs[self._outcomes.index(name)]
        if not belief.process.data.n:  # nothing is known of the outcome's unit
            return pd.DataFrame(np.nan, index=range(len(x)), columns=["mean", "sd", "p05", "p95"])
        mean, sd, quantiles = belief.summary(x, (0.05, 0.95), noisy=noisy)
        low, high = np.sort(sign * quantiles, axis=0)
        return pd.DataFrame({"mean": sign * mean, "sd": sd, "p05": low, "p95": high})


def _space(
    ready: SearchSpace | None,
    space: Any,
    goals: Goals,
    steps: Mapping[str, float] | None,
    forbidden: Iterable[Mapping[str, Any]] | None,
    descriptors: Mapping[str, Any] | None,
    log: Iterable[str] | None,
) -> SearchSpace:
    if ready is None:
        return SearchSpace.of(
            space,
            constraints=goals.recipe_constraints,
            steps=steps,
            forbidden=forbidden,
            descriptors=descriptors,
            log=log,
        )
    if any(_is_given(option) for option in (steps, forbidden, log)):
        raise Refusal("a ready SearchSpace already holds its steps, forbidden combinations and scales; give them there")
    if not goals.recipe_constraints and not descriptors:
        return ready
    saved = ready.to_dict()
    saved["constraints"] = [*saved["constraints"], *goals.recipe_constraints]
    saved["descriptors"] = {**saved["descriptors"], **read_tables(descriptors)}
    return SearchSpace.from_dict(saved)


def _is_given(option: Any) -> bool:
    return option is not None and (not isinstance(option, Iterable) or any(True for _ in option))
