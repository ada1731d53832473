"""Why a recipe was chosen: one sentence made of numbers."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from campaign.parameter import Category, Numeric
from surrogate.chooser import DOUBT, STUCK_DOUBT, Pick, best_tried
from surrogate.situation import Situation

TELLING = 1.0
"""Views with and without the prior that lie this many sd apart are worth naming as a test."""


def reason(pick: Pick, situation: Situation, sign: float) -> str:
    """Return the sentence."""
    name = situation.wanted[0]
    belief = situation.beliefs[name]
    x = pick.x[None, :]
    mean, sd = (float(value[0]) for value in belief.summary(x, (0.5,))[:2])
    predicted = f"predicted {_short(sign * mean, 4)} ± {_short(sd, 2)}"
    if pick.kind == "spread":
        alike = len(situation.tried) > 1 and bool(np.ptp(belief.process.data.y) < 1e-9)
        so_far = f"{len(situation.tried)} results so far{', all the same' if alike else ''}"
        return f"Spread over the space before a model chooses ({so_far}){_place(situation, x)}."
    if pick.kind == "replicate":
        times = int((np.abs(situation.tried - x).max(axis=1) < 1e-6).sum()) if len(situation.tried) else 0
        worth = f"; knowing it better is worth {_short(pick.gain, 2)}, the best new recipe {_short(pick.other, 2)}"
        if len(situation.goals.objectives) > 1:
            predicted = f"predicted {_each(situation, x)}"
            worth += " (by how far the front moves out, in sd of the outcomes)"
        return f"Replicate of a recipe measured {times} time{'s' * (times != 1)}: {predicted}" + (
            worth + "." if np.isfinite(pick.gain) else "; every other recipe is tried."
        )
    if pick.kind == "check":
        return _doubted(situation, x)
    tried = best_tried(situation)
    if not len(tried):
        if not belief.process.data.n:
            return "The most promising recipe by the prior, before any result."
        return f"{predicted[0].upper()}{predicted[1:]}, the most promising recipe before any that may be best."
    if len(situation.goals.objectives) > 1:
        return _balance(pick, situation) + _test(situation, x, sign) + "."
    sentence = f"{predicted[0].upper()}{predicted[1:]}"
    if situation.slips is not None:
        comma = "" if situation.goals.outcome_constraints else ","
        sentence += f", {_short(sign * _held(situation, x), 4)} where settings slip{comma}"
    if situation.goals.outcome_constraints:
        sentence += f" (meets the conditions with a chance of {_chance_met(situation, x):.0%})"
        tried = tried[situation.likely_admissible(tried)]
        if not len(tried):
            return f"{sentence}, as no recipe so far is likely to meet them" + _test(situation, x, sign) + "."
    holder = tried[[int(np.argmax(_believed(situation, tried)))]]
    sentence += f" against {_short(sign * _held(situation, holder), 4)} believed of the best so far"
    if situation.goals.outcome_constraints:
        sentence += f" (which does with {_chance_met(situation, holder):.0%})"
    rivals = "tried, under way or asked before it" if len(situation.pending) else "tried"
    doubt = STUCK_DOUBT if pick.stuck else DOUBT
    why = ", as by it next to nothing is left to gain" if pick.stuck else ""
    sentence += (
        f": better than that with a chance of {_chance_better(situation, x, holder):.0%}; better than all {rivals} with "
        f"{pick.chance:.0%}, then by {_short(pick.gain, 3)} (doubting the belief {doubt:.2g} times as much as stated{why})"
    )
    return sentence + _test(situation, x, sign) + "."


def _doubted(situation: Situation, x: np.ndarray) -> str:
    """What was measured once, is not believed, and would count if it were true."""
    several = len(situation.goals.objectives) > 1
    for name in situation.wanted:
        belief, sign = situation.beliefs[name], situation.goals.sign(name)
        data = belief.process.data
        here = np.abs(data.x[:, : x.shape[1]] - x).max(axis=1) < 1e-6
        if (here & belief.flagged).any():
            break
    read = sign * float(belief.warp.back(data.y[here])[0])
    mean, sd = (float(value[0]) for value in belief.summary(x, (0.5,))[:2])
    measured = f"{f'{name} ' * several}{_short(read, 4)} measured, predicted {_short(sign * mean, 4)} ± {_short(sd, 2)}"
    counts = "an addition to the front" if several else "the best so far"
    return f"Repeats a result that contradicts the others ({measured}): an error, or {counts}."


def _short(value: float, digits: int) -> str:
    """A number to so many digits, written out: 1500 and not 1.5e+03."""
    return f"{float(f'{value:.{digits}g}'):.12g}"


def _held(situation: Situation, x: np.ndarray) -> float:
    """What is predicted of one recipe, larger is better; where settings slip, less what they cost."""
    name = situation.wanted[0]
    belief = situation.beliefs[name]
    mean = belief.mean(x)
    cost = belief.warp.back(mean) - belief.warp.back(mean - situation.loss(name, x))
    return float(belief.summary(x, (0.5,))[0][0] - cost[0])


def _believed(situation: Situation, x: np.ndarray) -> np.ndarray:
    name = situation.wanted[0]
    return np.asarray(situation.beliefs[name].mean_sd(x)[0] - situation.loss(name, x))


def _chance_better(situation: Situation, x: np.ndarray, other: np.ndarray) -> float:
    """The stated chance that one recipe is better than another, slips allowed for."""
    name = situation.wanted[0]
    belief, both = situation.beliefs[name], np.vstack([x, other])
    means, covariances = belief.joint(both)
    ahead = (means - situation.loss(name, both)) @ [1.0, -1.0]
    spread = covariances[:, 0, 0] + covariances[:, 1, 1] - 2.0 * covariances[:, 0, 1]
    return float(belief.weights @ ndtr(ahead / np.sqrt(np.maximum(spread, 1e-12))))


def _chance_met(situation: Situation, x: np.ndarray) -> float:
    """The chance that one recipe meets the conditions on outcomes."""
    return float(np.exp(situation.log_chance_admissible(x)[0]))


def _balance(pick: Pick, situation: Situation) -> str:
    """What a recipe promises for each of several objectives, and for the front."""
    x = pick.x[None, :]
    sentence = (
        f"Predicted {_each(situation, x)}: beaten in everything by none so far with a chance of {pick.chance:.0%}"
    )
    if situation.goals.outcome_constraints:
        sentence += f" (meets the conditions with a chance of {_chance_met(situation, x):.0%})"
    return sentence


def _each(situation: Situation, x: np.ndarray) -> str:
    """What is predicted of one recipe for each of several objectives."""
    said = []
    for objective in situation.goals.objectives:
        if objective.known:
            said.append(f"{objective.name} {_short(objective.sign * situation.known(x)[objective.name][0], 4)}")
            continue
        mean, sd = (float(value[0]) for value in situation.beliefs[objective.name].summary(x, (0.5,))[:2])
        said.append(f"{objective.name} {_short(objective.sign * mean, 4)} ± {_short(sd, 2)}")
    return ", ".join(said)


def _test(situation: Situation, x: np.ndarray, sign: float) -> str:
    """What the trial tests: the prior, where the views with and without it differ, else a name or numbers not yet tried."""
    belief = situation.beliefs[situation.wanted[0]]
    means, sds = belief.by_part(x)
    shares = belief.shares
    if len(shares) > 1 and shares.min() == 0.0 < shares.max():
        without = float(means[shares == 0.0, 0][0])
        trusting = float(means[int(np.argmax(shares)), 0])
        if abs(trusting - without) > TELLING * float(sds[:, 0].min()):
            views = [sign * float(belief.warp.back(np.array(view))) for view in (trusting, without)]
            return f"; tests the prior (trust {belief.trust:.0%}): with it {_short(views[0], 4)}, without {_short(views[1], 4)}"
    return _place(situation, x)


def _place(situation: Situation, x: np.ndarray) -> str:
    """Where the trial lies: names never tried, else the numbers that depart most from the nearest recipe tried."""
    space, tried = situation.space, situation.tried
    known = np.vstack([tried, situation.pending, situation.feasibility.x])
    untried = [
        f"{parameter.name} {parameter.levels[int(x[0, j])]}"
        for j, parameter in enumerate(space.parameters)
        if isinstance(parameter, Category) and len(parameter.choices) > 1 and x[0, j] not in known[:, j]
    ]
    if untried:
        return f"; first trial of {', '.join(untried)}"
    numeric = [j for j, parameter in enumerate(space.parameters) if isinstance(parameter, Numeric)]
    if not len(tried) or not numeric:
        return ""
    gaps = np.where([isinstance(p, Numeric) for p in space.parameters], np.abs(tried - x), 1.0 * (tried != x))
    nearest = int(np.argmin(gaps.sum(axis=1)))
    here, there = space.restore(x).iloc[0], space.restore(tried[[nearest]]).iloc[0]
    moved = sorted((j for j in numeric if gaps[nearest, j] > 0.01), key=lambda j: -gaps[nearest, j])[:2]
    if not moved:
        return "; tests the neighbourhood of a recipe already tried"
    names = [space.parameters[j].name for j in moved]
    return "; tests " + ", ".join(
        f"{name} {_short(here[name], 4)} ({_short(there[name], 4)} in the nearest recipe tried)" for name in names
    )
