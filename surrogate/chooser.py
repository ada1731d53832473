"""Which recipes to try next, given what is believed: candidates, joint draws, one pick after the other."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.exceptions.warnings import BotorchWarning
from botorch.optim.optimize import optimize_acqf_discrete

from campaign.space import SearchSpace
from surrogate import candidates
from surrogate.acquisition import hypervolume_gain
from surrogate.feasibility import same
from surrogate.front import claimed
from surrogate.history import SAME_RECIPE
from surrogate.replicate import NOTHING, worth_for_front, worth_of_knowing, worth_with_pending
from surrogate.situation import Situation, costs

Floats = npt.NDArray[np.float64]

DOUBT = 1.5
"""How much wider beliefs are taken to be in choosing than they are stated [est]: far from all results a process is too sure of
itself, as its kernel, shares and scale are the best of a few shapes and the truth is none of them. With 60 trials each
10 of 10 tune labs were found (`sample_efficiency.py --seeds 0-9 --levels biased --methods mixwright`; 1.25 on all that is
believed: 9; 1: 7); stated so wide, even a well-known space would have no window."""
FEW_NUMBERS = 4
"""With more numeric parameters the doubt falls with the cube of their number [est]: nearly all of a large space is far from
all results and as unsure as before any, so that doubt sends trial after trial into its corners."""
STUCK_DOUBT = 3.5
"""The same where next to nothing seems left to be gained [est]: what is still to be found is then where the belief is wrong, and
a long campaign would go on for a year around the best recipe it knows. What it did on tune labs: docs/virtual_labs.md."""
WORTH_TRYING = 0.06
"""Mean gain, in sd of one measurement, below which that is so [est]: hundreds of trials would not show it."""
FEWEST_BEFORE_STUCK = 60
"""Results before that is asked [est]: from 12 on it gained nothing within 60 trials on tune labs."""
DRAWS = 512
"""Joint draws that finalists are judged by."""
FINALISTS = 300
"""Candidates that joint draws may decide between."""
JUDGED = 128
"""Of these, so many for every recipe asked for with several objectives: those with the highest marginal promise."""
INCUMBENTS = 40
"""Tried recipes that may still be the best: those with the highest means."""
REPLICABLE = 10
"""Tried recipes that may be repeated: the best."""
RIVALS = 120
"""New recipes that a replicate is weighed against."""
FEWEST_BEFORE_REPLICATE = 6
LEAST_WORTH, LEAST_WORTH_OF_COST = 0.01, 0.1
"""Below this worth, in units of the outcomes' sd, nothing is left to learn by repeating [est]; the second where trials have a
cost, as in a lab: its cells run on, so that what is known of a recipe grows without a repetition, which the worth leaves out."""
SMOOTH = 0.01
"""Width of the smooth maximum of batches, in sd of the outcomes."""
REPLICATE_FACTOR = 1.0
"""A replicate must be worth this many times the best new recipe; tuned on benchmarks/optimiser_problems.py."""


@dataclass(frozen=True)
class Pick:
    """A recipe to try, and why."""

    x: Floats
    """p, encoded."""
    kind: Literal["spread", "improve", "replicate", "check"]
    chance: float = np.nan
    """Chance that it is better than the best of all tried and under way; with several objectives, that it adds to the front."""
    gain: float = np.nan
    """Median improvement over that where it is better, in the outcome's unit; for a replicate, what knowing better is worth."""
    expected: float = np.nan
    """Mean improvement over that, 0 where it is worse, on the belief's scale."""
    stuck: bool = False
    """Whether beliefs were doubted more for it, as next to nothing seemed left to be gained."""
    other: float = np.nan
    """For a replicate: what the best new recipe would have been worth in the same coin."""


def choose(situation: Situation, n: int, *, seed: int) -> list[Pick]:
    """Return n recipes to try next, in order of promise (fewer where the space holds no more).

    One pick after the other, each knowing those before as pending; every draw follows from the seed, and torch's global
    chance is left as it was.
    """
    few = FEW_NUMBERS / max(FEW_NUMBERS, len(situation.space.numeric))
    picks = _chosen(_doubted(situation, 1.0 + (DOUBT - 1.0) * few**3), n, seed=seed)
    if not _stuck(situation, picks):
        return picks
    return [replace(pick, stuck=True) for pick in _chosen(_doubted(situation, STUCK_DOUBT), n, seed=seed)]


def _doubted(situation: Situation, factor: float) -> Situation:
    """Return the situation with every belief wider by a factor."""
    return replace(situation, beliefs={name: b.widened(factor) for name, b in situation.beliefs.items()})


def _stuck(situation: Situation, picks: list[Pick]) -> bool:
    """Return whether the best of the picks promises next to nothing, though much was tried."""
    if len(situation.goals.objectives) > 1 or situation.only or len(situation.tried) < FEWEST_BEFORE_STUCK:
        return False
    noise_sd = situation.beliefs[situation.wanted[0]].noise_sd
    return bool(picks) and picks[0].kind == "improve" and picks[0].expected < WORTH_TRYING * noise_sd


def _chosen(situation: Situation, n: int, *, seed: int) -> list[Pick]:
    """Return n recipes, beliefs being taken as wide as the situation has them."""
    rng = np.random.default_rng(seed)
    finalists = promising(situation, rng, at_least=2 * n)
    if not len(finalists):
        return []
    again = None if situation.only else disputed(situation) or replicate(situation, finalists)
    picks = [again] if again is not None else []
    if len(picks) == n:
        return picks
    if len(situation.goals.objectives) > 1:
        return picks + _balanced(situation, finalists, n - len(picks), rng, seed=seed)
    return picks + _improving(situation, finalists, n - len(picks), rng)


def _balanced(situation: Situation, finalists: Floats, n: int, rng: np.random.Generator, *, seed: int) -> list[Pick]:
    """Return n of the finalists by the hypervolume that they promise to add for several objectives (BoTorch's qLogNEHVI)."""
    picks: list[Pick] = []
    incumbents = best_tried(situation)
    pending = situation.pending[_allowed(situation.space, situation.pending)]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # That no tried recipe meets the conditions yet is a situation, not a mistake.
        warnings.simplefilter("ignore", BotorchWarning)
        torch.manual_seed(seed)
        acquisition = hypervolume_gain(situation, incumbents, seed=seed)
        while len(picks) < n and len(finalists):
            found, _ = optimize_acqf_discrete(acquisition, q=1, choices=torch.from_numpy(finalists[: JUDGED * n]))
            x = found[0].numpy()
            picks.append(_with_chance(situation, x, np.vstack([incumbents, pending]), rng))
            pending = np.vstack([pending, x])
            finalists = finalists[~candidates.member(finalists, x[None])]
            acquisition.set_X_pending(torch.from_numpy(pending))
    return picks


def _improving(situation: Situation, finalists: Floats, n: int, rng: np.random.Generator) -> list[Pick]:
    """Return n of the finalists, each promising beyond those tried, under way and picked before.

    Noisy log expected improvement (Ament et al. 2023, doi 10.48550/arXiv.2310.20708) over one set of joint draws that all
    finalists share: BoTorch's draws anew for each finalist, at a cost that grows with the cube of what is under way.
    """
    under_way = situation.pending[_allowed(situation.space, situation.pending)]
    taken = np.vstack([best_tried(situation), under_way])
    name, m = situation.wanted[0], len(finalists)
    belief, x = situation.beliefs[name], np.vstack([finalists, taken])
    draws = belief.draws(x, DRAWS, rng) - situation.loss(name, x)
    if situation.goals.outcome_constraints:
        draws = np.where(situation.drawn(x, DRAWS, rng)[1], draws, -np.inf)
    best, penalty = draws[:, m:].max(axis=1, initial=-np.inf), situation.log_penalty(finalists)
    floor = draws[np.isfinite(draws)].min(initial=0.0)
    picks: list[Pick] = []
    left = np.ones(m, dtype=bool)
    for _ in range(min(n, m)):
        gain = np.logaddexp(0.0, (draws[:, :m] - np.maximum(best, floor)[:, None]) / SMOOTH).mean(axis=0)
        # Where no draw of any meets the conditions, what is nearest to them.
        merit = np.log(gain + 1e-300) if gain[left].any() else situation.log_chance_admissible(finalists)
        j = int(np.argmax(np.where(left, merit + penalty, -np.inf)))
        margin = belief.warp.back(np.maximum(draws[:, j], floor)) - belief.warp.back(np.maximum(best, floor))
        expected = float(np.maximum(draws[:, j] - np.maximum(best, floor), 0.0).mean())
        picks.append(replace(_promise(finalists[j], margin), expected=expected))
        best, left[j] = np.maximum(best, draws[:, j]), False
    return picks


def _with_chance(situation: Situation, x: Floats, rivals: Floats, rng: np.random.Generator) -> Pick:
    """Return the pick with its chance of adding to the front: meeting all conditions, and no rival better in everything."""
    if not len(rivals):
        return Pick(x, "improve")
    recipes = np.vstack([x, rivals])
    values, met = situation.objectives(recipes, DRAWS, rng)
    beaten = ((values[:, 1:] >= values[:, :1]).all(axis=2) & met[:, 1:]).any(axis=1)
    return Pick(x, "improve", float((met[:, 0] & ~beaten).mean()))


def _promise(x: Floats, margin: Floats) -> Pick:
    """Return a pick from draws of its margin: a median, as the mean of a bent scale's draws is ruled by its tail."""
    ahead = margin[margin > 0]
    return Pick(x, "improve", len(ahead) / len(margin), float(np.median(ahead)) if len(ahead) else 0.0)


def disputed(situation: Situation) -> Pick | None:
    """Return the recipe of a flagged result, measured once, that is the best so far if the result is true.

    With several objectives: that adds most to the front. Doubted, it teaches next to nothing, so that nothing else would ever
    come back to it: a discovery would be lost.
    """
    if not len(situation.tried):
        return None
    claims = [_claims(situation, name) for name in situation.wanted]
    x, worth = np.vstack([each for each, _ in claims]), np.concatenate([each for _, each in claims])
    if not len(x):
        return None
    open_ = (
        ~same(x, situation.pending).any(axis=1) & ~situation.feasibility.hopeless(x) & situation.likely_admissible(x)
    )
    open_ &= situation.space.feasible(situation.space.restore(x))
    return Pick(x[open_][int(np.argmax(worth[open_]))], "check") if open_.any() else None


def _claims(situation: Situation, name: str) -> tuple[Floats, Floats]:
    """Return recipes of flagged results of one objective that would count if true, measured once, and for how much."""
    belief, p = situation.beliefs[name], situation.base.shape[1]
    x, y, flagged = belief.process.data.x[:, :p], belief.process.data.y, belief.flagged
    if not flagged.any():
        return x[:0], y[:0]
    once = same(x[flagged], x).sum(axis=1) == 1
    if len(situation.goals.objectives) > 1:
        worth = claimed(situation, best_tried(situation), x[flagged], {name: y[flagged]})
        counts = worth > 0.0
    else:
        worth = y[flagged]
        counts = (y - situation.loss(name, x) > (belief.mean(x) - situation.loss(name, x)).max())[flagged]
    return x[flagged][once & counts], worth[once & counts]


def replicate(situation: Situation, finalists: Floats) -> Pick | None:
    """Return a tried recipe whose repetition is worth more than any new recipe, if there is one."""
    tried = best_tried(situation)[:REPLICABLE]
    if len(situation.tried) < FEWEST_BEFORE_REPLICATE:
        return None
    under_way = candidates.member(tried, situation.pending) if len(situation.pending) else np.zeros(len(tried), bool)
    again = tried[~under_way & situation.space.feasible(situation.space.restore(tried))]
    if not len(again):
        return None
    x = np.vstack([again, finalists[:RIVALS]])
    worth = _worth_of_knowing(situation, x) * np.exp(situation.log_penalty(x))
    if situation.cost is not None:  # at what they cost on average, so that the coin of the cost is none of worth's
        worth = worth * costs(situation.cost, situation.space.restore(x)).mean()
    best, new = int(np.argmax(worth[: len(again)])), float(worth[len(again) :].max())
    least = LEAST_WORTH if situation.cost is None else LEAST_WORTH_OF_COST
    if worth[best] <= max(REPLICATE_FACTOR * new, least):
        return None
    unit = 1.0  # of several objectives, their sd
    if len(situation.goals.objectives) == 1:
        belief = situation.beliefs[situation.wanted[0]]
        here = belief.warp.back(belief.mean_sd(again[[best]])[0])
        unit = 1.0 / float(belief.warp.slope(here)[0])
    return Pick(again[best], "replicate", gain=unit * float(worth[best]), other=unit * new)


def _worth_of_knowing(situation: Situation, x: Floats) -> Floats:
    """Return for m recipes what measuring each would add to the best believed, or to the front of several objectives."""
    objectives = situation.goals.objectives
    if len(objectives) == 1:
        return worth_of_knowing(situation.beliefs[situation.wanted[0]], x)
    here, everywhere = situation.known(x), situation.known(situation.base)
    sides = [
        here[o.name] / (everywhere[o.name].std() + 1e-12) if o.known else situation.beliefs[o.name] for o in objectives
    ]
    losses = [np.zeros(len(x)) if o.known else situation.loss(o.name, x) for o in objectives]
    may_count = situation.likely_admissible(x)
    return worth_for_front(sides, losses, x, may_count) if may_count.any() else np.zeros(len(x))


def repeated(situation: Situation, used: Floats) -> Pick:
    """Return the recipe to repeat where all that may be chosen was tried or is under way.

    The one that is best worth knowing better; where no repetition is worth anything, and with several objectives, the least
    tried.

    Args:
        situation: what is believed, with what is under way.
        used: n x p encoded, one row for each trial made or under way.
    """
    x = candidates.unique(np.vstack([situation.base, candidates.settable(situation.space, situation.tried)]))
    hopeless = situation.feasibility.hopeless(x)
    x = x if hopeless.all() else x[~hopeless]
    if len(situation.goals.objectives) == 1:
        belief = situation.beliefs[situation.wanted[0]]
        merit = np.exp(situation.log_penalty(x) + situation.log_chance_admissible(x))
        worth = merit * worth_with_pending(belief, x, situation.pending)
        if worth.max() > NOTHING:
            return Pick(x[int(np.argmax(worth))], "replicate")
    times = [(np.abs(used - row).max(axis=1) < SAME_RECIPE).sum() for row in x]
    return Pick(x[int(np.argmin(times))], "replicate")


def promising(situation: Situation, rng: np.random.Generator, *, at_least: int = 0) -> Floats:
    """Return the candidates among which joint draws decide: high in marginal promise, neither tried nor pending.

    What would rather fail is left out as long as anything has worked: it may then be repeated.
    """
    most = max(FINALISTS, at_least)
    several = len(situation.goals.objectives) > 1
    score = _scalarised(situation, rng) if several else _marginal(situation)
    base, anchors = (situation.admitted(x) for x in (situation.base, best_tried(situation)[:8]))
    found = candidates.search(situation.space, base, anchors, score, size=2 * most, rng=rng)
    used = np.vstack([situation.tried, situation.pending])
    found = found[~candidates.member(found, used)]
    works = ~situation.feasibility.hopeless(found)
    return (found[works] if works.any() or len(situation.tried) else found)[:most]


def best_tried(situation: Situation) -> Floats:
    """Return the tried recipes, each once, that may be the best: highest mean first.

    What the recipe's own constraints forbid, settings being what can be set, is learned from and no bar to be beaten.
    """
    tried = candidates.unique(situation.tried)
    if not len(tried):
        return tried
    allowed = _allowed(situation.space, tried)
    tried = tried[allowed] if allowed.any() else tried
    if len(situation.goals.objectives) > 1:
        score = _scalarised(situation, np.random.default_rng(0))(tried)
    else:
        name = situation.wanted[0]
        belief = situation.beliefs[name]
        score = belief.mean_sd(tried)[0] - situation.loss(name, tried)
        score = score + situation.log_chance_admissible(tried)
    return np.asarray(tried[np.argsort(-score, kind="stable")[:INCUMBENTS]])


def _allowed(space: SearchSpace, x: Floats) -> npt.NDArray[np.bool_]:
    """Return which of n recipes the space allows, their settings being what can be set."""
    return space.feasible(space.decode(x)) if len(x) else np.zeros(0, dtype=bool)


def _marginal(situation: Situation) -> candidates.Score:
    """BoTorch's log-EI over the best believed, times the chance that conditions on outcomes hold."""
    name = situation.wanted[0]
    belief = situation.beliefs[name]
    incumbents = best_tried(situation)
    held = belief.mean_sd(incumbents)[0] - situation.loss(name, incumbents)
    held = held[situation.likely_admissible(incumbents)]
    best = held.max() if len(held) else 0.0

    def score(x: Floats) -> Floats:
        bar = torch.from_numpy(best + situation.loss(name, x))
        value = LogExpectedImprovement(belief, best_f=bar[..., None])(torch.from_numpy(x)[:, None, :])
        return np.asarray(value.numpy() + situation.log_penalty(x) + situation.log_chance_admissible(x))

    return score


def _scalarised(situation: Situation, rng: np.random.Generator) -> candidates.Score:
    """Optimistic value under the weight of the objectives that suits each recipe best, ranked within each weight."""
    objectives = situation.goals.objectives
    weights = rng.dirichlet(np.ones(len(objectives)), size=16)

    def score(x: Floats) -> Floats:
        columns = []
        known = situation.known(x)
        for objective in objectives:
            if objective.known:
                value = known[objective.name]
            else:
                mean, sd = situation.beliefs[objective.name].mean_sd(x)
                value = mean + sd
            columns.append((value - value.min()) / (np.ptp(value) + 1e-12))
        least = np.min(np.stack(columns, axis=1)[None] / (weights[:, None, :] + 0.05), axis=2)
        rank = least.argsort(axis=1).argsort(axis=1).max(axis=0)
        share = (
            np.log((1.0 + rank) / len(x)) if len(x) else rank
        )  # of the others that it is ahead of, in logs as all else
        return np.asarray(share + situation.log_penalty(x) + situation.log_chance_admissible(x))

    return score
