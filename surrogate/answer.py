"""What a campaign ends in: the recommended recipe, its process window, and whether to go on.

All three are read off joint posterior draws over one set of recipes: in every draw some recipe is best, and a recipe is
within tolerance, or worth more than the recommended one, in some share of the draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.parameter import Numeric
from campaign.space import SearchSpace
from surrogate import candidates
from surrogate.chooser import best_tried, promising
from surrogate.feasibility import same
from surrogate.situation import Situation

Floats = npt.NDArray[np.float64]

DRAWS = 400
LIKELY, SURE = 0.5, 0.9
"""Chances that bound the two process windows."""
STOP_BELOW = 0.1
"""Default bound on the chance of a worthwhile gain under which a campaign should stop."""

STOP_DOUBT = 1.2
"""How much wider than stated beliefs are taken to be in asking what may yet be gained [est]: the best of many recipes draws on
the tails, where a process is too sure of itself. After 10 to 40 trials on tune labs 0-9 a gain of 2 % was there in 88 % of looks;
stated were 81 % with 1, 88 % with 1.2, 94 % with 1.5 (40 looks; `benchmarks/calibration.py --seeds 0-9` with it changed)."""


@dataclass(frozen=True)
class Window:
    """The region of recipes that are within tolerance of the best, as far as is known."""

    tolerance: float
    table: pd.DataFrame
    """Recipes with `probability` of being within tolerance (and meeting every condition), highest first."""
    ranges: pd.DataFrame
    """Per parameter and chance (0.5, 0.9): lowest and highest value, or names, of the recipes that reach it."""
    openers: pd.DataFrame
    """Recipes whose trials would do most to open the window: nearest to the bar and least known."""
    sentence: str

    def at_least(self, chance: float) -> pd.DataFrame:
        """Return the recipes whose probability reaches a chance."""
        return self.table[self.table["probability"] >= chance]


@dataclass(frozen=True)
class Stopping:
    """Whether to go on."""

    chance: float
    """Chance that some recipe is better than the recommended one by more than the smallest worthwhile gain, without loss in
    another objective, or meets the conditions where that one does not; NaN before any result."""
    expected_gain: float
    """Median over all that is possible of what the best recipe would gain, in the outcome's unit."""
    stop: bool
    sentence: str


def recommended(situation: Situation, rng: np.random.Generator) -> Floats:
    """Return the encoded recipe (1 x p) with the best believed outcome, tried or not."""
    x = _answers(situation, rng)
    return x[[int(np.argmax(worth(situation, x)))]]


def _answers(situation: Situation, rng: np.random.Generator) -> Floats:
    """Return the recipes that may be an answer: promising, tried or under way, and likelier to work than not if any is."""
    known = candidates.settable(situation.space, np.vstack([best_tried(situation), situation.pending]))
    x = np.vstack([promising(situation, rng), known])
    x = x if len(x) else situation.base  # a small space of which nothing has ever worked
    works = situation.feasibility.chance(x) >= LIKELY
    return x[works] if works.any() else x


def worth(situation: Situation, x: Floats) -> Floats:
    """Return the believed value of m recipes, lowered where they may fail, break a condition or bear no slips.

    With several objectives: the least of their shares of the range over the m recipes (the balanced ones are high).
    """
    doubt = np.log(_works(situation, x)) + situation.log_chance_admissible(x)
    values = believed(situation, x)
    if values.shape[1] == 1:
        return np.asarray(values[:, 0] + doubt)
    shares = (values - values.min(axis=0)) / (np.ptp(values, axis=0) + 1e-12)
    return np.asarray(shares.min(axis=1) + doubt)


def _works(situation: Situation, x: Floats) -> Floats:
    """Return the chance of success of m recipes; of one that was tried at least the share of its trials that worked."""
    worked, made = same(x, situation.tried).sum(axis=1), same(x, situation.feasibility.x).sum(axis=1)
    share = worked / np.maximum(np.maximum(made, worked), 1)
    return np.asarray(np.maximum(situation.feasibility.chance(x), share))


def believed(situation: Situation, x: Floats) -> Floats:
    """Return m x k believed objectives, larger is better, slips allowed for; modelled ones on their beliefs' scales."""
    known = situation.known(x)
    columns = [
        known[o.name] if o.known else situation.beliefs[o.name].mean_sd(x)[0] - situation.loss(o.name, x)
        for o in situation.goals.objectives
    ]
    return np.stack(columns, axis=1)


def pareto(situation: Situation, rng: np.random.Generator) -> pd.DataFrame:
    """Return the recipes, tried or promising, whose believed objectives no other recipe beats in all."""
    x = _answers(situation, rng)
    x = x[np.exp(situation.log_chance_admissible(x)) > LIKELY] if situation.goals.outcome_constraints else x
    values = believed(situation, x)
    beaten = [bool(((values >= v).all(axis=1) & (values > v).any(axis=1)).any()) for v in values]
    front = x[~np.array(beaten, dtype=bool)]
    table = situation.space.decode(front)
    for j, objective in enumerate(situation.goals.objectives):
        if not objective.known:
            belief = situation.beliefs[objective.name]
            told = objective.sign * belief.warp.back(believed(situation, front)[:, j])
            # Before any result nothing is known of the outcome's unit.
            table[objective.name] = told if belief.process.data.n else np.nan
    return table.sort_values(situation.wanted[0], ignore_index=True)


def window(situation: Situation, best: Floats, *, tolerance: float, rng: np.random.Generator) -> Window:
    """Return the process window around what may be best.

    Args:
        situation: what is believed.
        best: the recommended recipe, 1 x p encoded.
        tolerance: share of the best value that may be lost.
        rng: of the draws.
    """
    x = _around_best(situation, best, rng)
    probability = chance_within(situation, x, best, tolerance=tolerance, rng=rng)
    order = np.argsort(-probability, kind="stable")
    table = situation.space.decode(x[order]).assign(probability=probability[order])
    ranges = pd.concat([_ranges(situation.space, table, chance) for chance in (LIKELY, SURE)], ignore_index=True)
    return Window(
        tolerance,
        table,
        ranges,
        _openers(situation, x, probability, rng),
        _window_sentence(table, tolerance, situation),
    )


def chance_within(
    situation: Situation, x: Floats, best: Floats, *, tolerance: float, rng: np.random.Generator
) -> Floats:
    """Return for m recipes the chance of working, and within tolerance of the best of them that works, conditions met.

    With several objectives: of the recommended recipe (`best`, 1 x p) in each of them.
    """
    if len(situation.goals.objectives) > 1:
        drawn, held = situation.objectives(np.vstack([x, best]), DRAWS, rng)
        bar = (drawn - tolerance * np.abs(drawn))[:, -1:]
        equal = (drawn[:, :-1] >= bar).all(axis=2) & held[:, :-1]
        return np.asarray(equal.mean(axis=0) * situation.feasibility.chance(x))
    draws, held = situation.drawn(x, DRAWS, rng)
    values = draws[situation.wanted[0]]
    # What fails is no bar for what works. Of its own chance, so that the draws that follow are as without failures.
    met = held & _working(situation, x, rng.spawn(1)[0])
    top = np.where(met, values, -np.inf).max(axis=1, keepdims=True)
    bar = np.where(np.isfinite(top), top - tolerance * np.abs(np.where(np.isfinite(top), top, 0.0)), np.inf)
    return np.asarray(((values >= bar) & met).mean(axis=0))


def _working(situation: Situation, x: Floats, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return for every draw which of m recipes work: what fails at one recipe fails at its like, so in the same draws."""
    return np.asarray(situation.feasibility.chance(x) > rng.random(DRAWS)[:, None])


def ridge(
    situation: Situation, best: Floats, axes: tuple[str, str], *, tolerance: float, n: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return an n x n grid over two parameters: mean, sd and chance of being within tolerance.

    All else is as recommended, or makes up the balance where a sum is to equal something.
    """
    columns = [situation.space.names.index(axis) for axis in axes]
    grid = np.repeat(best, n * n, axis=0)
    first, second = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    grid[:, columns[0]], grid[:, columns[1]] = first.ravel(), second.ravel()
    _make_up(situation.space, best, grid, columns)
    allowed = situation.space.feasible(situation.space.restore(grid))
    context = np.vstack([grid[allowed], _around_best(situation, best, rng)[:300]])
    belief = situation.beliefs[situation.wanted[0]]
    mean, sd, _ = belief.summary(grid, (0.5,))
    probability = np.zeros(len(grid))
    within = chance_within(situation, context, best, tolerance=tolerance, rng=rng)
    probability[allowed] = within[: int(allowed.sum())]
    table = situation.space.restore(grid)[list(axes)]
    sign = situation.goals.sign(situation.wanted[0])
    return table.assign(mean=sign * mean, sd=sd, probability=probability, allowed=allowed)


def _make_up(space: SearchSpace, best: Floats, grid: Floats, columns: list[int]) -> None:
    """Where a sum of parameters is to equal something, let another make up for what n recipes are moved by from the best."""
    if not any(rule.is_balance for rule in space.constraints):
        return
    here, table = space.restore(np.repeat(best, len(grid), axis=0)), space.restore(grid)
    axes = [space.names[j] for j in columns]
    moved = space.displaced(here, {axis: (table[axis] - here[axis]).to_numpy() for axis in axes})
    for j, parameter in enumerate(space.parameters):
        made_up = j not in columns and (moved[parameter.name] != here[parameter.name]).any()
        if made_up and isinstance(parameter, Numeric):
            grid[:, j] = parameter.to_unit(moved[parameter.name].to_numpy())


def stopping(
    situation: Situation, best: Floats, *, smallest_worthwhile: float, bound: float, rng: np.random.Generator
) -> Stopping:
    """Return the chance that going on could still gain more than is worthwhile."""
    if not situation.beliefs[situation.wanted[0]].process.data.n:
        return Stopping(
            float("nan"), float("nan"), False, "There is no result yet that could say what is left to gain: go on."
        )
    x = np.vstack([best, _around_best(situation, best, rng)])
    doubted = replace(situation, beliefs={name: b.widened(STOP_DOUBT) for name, b in situation.beliefs.items()})
    objectives, met = doubted.objectives(x, DRAWS, rng)
    works = _working(situation, x, rng)
    lead = [objective.name for objective in situation.goals.objectives].index(situation.wanted[0])
    here, others = objectives[:, :, lead], np.delete(objectives, lead, axis=2)
    no_worse = (others >= others[:, :1]).all(axis=2)
    values = np.where(met & works & no_worse, here, -np.inf).max(axis=1)
    gain = np.maximum(values - here[:, 0], 0.0)
    # A recommended recipe that breaks a condition is worth nothing: any that meets it is a gain.
    gains = (gain > smallest_worthwhile) | (~met[:, 0] & np.isfinite(values))
    chance = float(gains.mean())
    stop = chance < bound
    words = " without loss in another objective" if others.shape[2] else ""
    sentence = (
        f"The chance that any recipe gains more than {smallest_worthwhile:.4g} over the recommended one{words} is "
        f"{_percent(chance)} ({'under' if stop else 'not under'} the bound of {_percent(bound)}); the median gain is "
        f"{np.median(gain):.3g}: {'stop' if stop else 'go on'}."
    )
    held = float(met[:, 0].mean())
    if held <= LIKELY:
        sentence = (
            f"No recipe is known that is likely to meet the conditions (the recommended one does with a chance of "
            f"{_percent(held)}); the chance that another recipe would do is {_percent(chance)} "
            f"({'under' if stop else 'not under'} the bound of {_percent(bound)}): {'stop' if stop else 'go on'}."
        )
    return Stopping(chance, float(np.median(gain)), stop, sentence)


def _around_best(situation: Situation, best: Floats, rng: np.random.Generator) -> Floats:
    """Recipes that matter for the question what is best: promising ones, the tried, and the recommended one's region."""
    near = [candidates.around(situation.space, best, radius, 120, rng) for radius in (0.05, 0.15, 0.4)]
    tried = candidates.settable(situation.space, best_tried(situation))
    return candidates.unique(np.vstack([best, promising(situation, rng)[:300], tried, *near]))


def _ranges(space: SearchSpace, table: pd.DataFrame, chance: float) -> pd.DataFrame:
    inside = table[table["probability"] >= chance]
    rows = []
    for parameter in space.parameters:
        column = inside[parameter.name]
        if isinstance(parameter, Numeric):
            low, high = (float(column.min()), float(column.max())) if len(inside) else (np.nan, np.nan)
            rows.append({"chance": chance, "parameter": parameter.name, "low": low, "high": high, "names": ""})
        else:
            names = ", ".join(sorted(set(column)))
            rows.append({"chance": chance, "parameter": parameter.name, "low": np.nan, "high": np.nan, "names": names})
    return pd.DataFrame(rows)


def _openers(situation: Situation, x: Floats, probability: Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Up to three recipes nearest to the bar and least known, each by what the trials before it would leave unknown.

    Of those that the chooser itself would try: what would rather fail opens nothing.
    """
    hopeless = situation.feasibility.hopeless(x)
    if not hopeless.all():
        x, probability = x[~hopeless], probability[~hopeless]
    belief = situation.beliefs[situation.wanted[0]]
    _, sd, _ = belief.summary(x, (0.5,))
    doubt = probability * (1.0 - probability) * sd
    draws = belief.draws(x, DRAWS, rng)
    draws = (draws - draws.mean(axis=0)) / (draws.std(axis=0) + 1e-12)
    order: list[int] = []
    for _ in range(min(3, len(x))):
        order.append(int(np.argmax(doubt)))
        alike = draws.T @ draws[:, order[-1]] / DRAWS
        doubt = doubt * np.sqrt(np.clip(1.0 - alike**2, 0.0, 1.0))
        doubt[order] = -1.0
    return situation.space.decode(x[order]).assign(probability=probability[order], sd=sd[order])


def _window_sentence(table: pd.DataFrame, tolerance: float, situation: Situation) -> str:
    several = len(situation.goals.objectives) > 1
    near = f"within {_percent(tolerance)} of {'the recommended one in every objective' if several else 'the best'}"
    counts = {chance: int((table["probability"] >= chance).sum()) for chance in (LIKELY, SURE)}
    top = float(table["probability"].max())
    if not counts[LIKELY]:
        return (
            f"No recipe is yet {near} with a chance of {_percent(LIKELY)} or more; "
            f"the likeliest reaches {_percent(top)}."
        )
    sure = f"{counts[SURE]} with {_percent(SURE)}"
    if not counts[SURE]:
        sure = f"none with {_percent(SURE)} (the likeliest has {_percent(top)})"
    return (
        f"Of {len(table)} recipes looked at, {counts[LIKELY]} {'is' if counts[LIKELY] == 1 else 'are'} {near} with a chance of "
        f"{_percent(LIKELY)} or more, {sure}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
