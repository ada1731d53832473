"""Advice on the cells under test: which to stop, with the chance that it could still be the best, and which run on.

The same for the virtual clock and for a real lab. A cell is stopped for one of three reasons: it has told all that counts (a
lab's protocol may go on beyond the last cycle that is asked of; the virtual clock's does not); its chance of beating the best
tried is gone; or a fresh batch waits for a channel, all are taken, and that chance is small, or its running on would tell less
of its region of recipes, a channel-day, than a fresh cell beside it would. What a cell lacks its neighbours lack too (a knee
that none of them has come to yet), and no number of fresh cells makes up for that: one that runs to its end tells it for all.
That a fresh cell would tell more of another region is no cause to stop this one: what is promising but hardly known would be
given up after a few cycles each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

from flows.early_evidence import NOISE_SD, Evidence, Floats, Lacking, Seen

if TYPE_CHECKING:
    from surrogate import Optimiser

Z95 = 1.645
ALIKE = 0.01
"""Share of a value by which a recipe tried may fall short in another objective and still be as good in it."""
RATHER = 0.5
"""Chance of meeting the conditions on outcomes above which a recipe tried counts as one to be beaten."""
HOPELESS = 0.02
"""Chance of beating the best tried under which a running cell is stopped."""
WEAK = 0.1
"""Chance of beating the best tried under which a running cell gives its channel to a batch that waits [est]."""
START_DAYS = 2.5
"""Channel-days that go by before a fresh cell runs: mixing, powder, hands [est]."""
SHORTEST_DAYS = 1.0
"""A channel that is free sooner than this is not used sooner."""
FRESH_CYCLES = 25
"""Cycles after which a fresh cell is taken to have told most [est]."""


@dataclass(frozen=True)
class Advice:
    """What is said about one running cell."""

    number: Any
    cycles: int
    stop: bool
    chance_best: float
    """Chance that its recipe beats the best one tried so far (of that one's own cells: about one half)."""
    expected: float
    """The objective, as its curve so far lets expect."""
    sd: float
    """Of `expected`, with the noise of batches and cells."""
    reason: str


@dataclass(frozen=True)
class Best:
    """What a cell must beat: what the best recipe tried gives, as is believed; `sd` on the side on which it could be beaten."""

    mean: float
    """Infinitely bad where no recipe tried stands in its way."""
    sd: float
    met: float = 1.0
    """Chance that the cell's own recipe meets the conditions on outcomes."""
    likeliest: float | None = None
    """Where no recipe tried is likely to meet the conditions: the chance of that cell's which is likeliest to; each is judged by
    its share of it."""

    @property
    def share(self) -> float:
        """What a chance of beating the best tried is multiplied by where it is asked whether to stop."""
        return self.met if self.likeliest is None else self.met / max(self.likeliest, 1e-12)

    @classmethod
    def of(cls, predicted: pd.DataFrame, *, sign: float) -> Best:
        """Read it from `Optimiser.predict` of what was tried; intervals may be lopsided (a capacity does not fall below 0)."""
        row = predicted.iloc[int((sign * predicted["mean"]).to_numpy().argmax())]
        end = float(row["p05"] if sign > 0 else row["p95"])
        return cls(float(row["mean"]), abs(float(row["mean"]) - end) / Z95)


def bars(
    optimiser: Optimiser,
    tried: pd.DataFrame,
    cells: Mapping[Any, Mapping[str, Any]],
    *,
    sign: float,
    keeps: Callable[[pd.DataFrame], npt.NDArray[np.bool_]],
) -> dict[Any, Best]:
    """Return what each cell must beat to be the best.

    Of the recipes tried only those count that rather meet the conditions on outcomes than not, and with several objectives those
    that are as good as the cell's own in every other: of two that are good at different things neither stops the other.

    Args:
        optimiser: told what is known.
        tried: n recipes.
        cells: number -> recipe.
        sign: 1 where more of the first measured objective is better, -1 where less is.
        keeps: of n recipes, whether they keep to the bounds that are known without a trial.
    """
    mine = pd.DataFrame([dict(recipe) for recipe in cells.values()], index=list(cells))[list(tried.columns)]
    predicted = optimiser.predict(tried)
    met, met_tried = (optimiser.chance_met(recipes).to_numpy() * keeps(recipes) for recipes in (mine, tried))
    stands = np.tile(met_tried > RATHER, (len(mine), 1))
    for name, goal in list(optimiser.objectives.items())[1:]:
        theirs, own = (
            (1.0 if goal == "max" else -1.0)
            * (recipes[name] if name in recipes else optimiser.predict(recipes, outcome=name)["mean"]).to_numpy(float)
            for recipes in (tried, mine)
        )
        stands &= theirs >= (own - ALIKE * np.abs(own))[:, None]
    # Where nobody knows yet how to meet the conditions, the likeliest to do so must be seen to its end.
    likeliest = None if (met_tried > RATHER).any() else float(met.max(initial=0.0))
    return {
        number: replace(
            Best.of(predicted[rivals], sign=sign) if rivals.any() else Best(-sign * math.inf, 0.0),
            met=chance,
            likeliest=likeliest,
        )
        for number, rivals, chance in zip(cells, stands, met.tolist(), strict=True)
    }


def advise(
    cells: Sequence[Seen],
    told: Evidence,
    best: Mapping[Any, Best],
    *,
    objective: str,
    sign: float,
    last_cycle: int,
    cycle_days: Mapping[Any, float],
    wanted: int = 0,
) -> list[Advice]:
    """Judge every running cell that has shown two cycles, or all that count.

    Args:
        cells: all there are.
        told: what they say.
        best: what each cell must beat, by its number.
        objective: column of `known` that is wanted.
        sign: 1 where more is better, -1 where less is.
        last_cycle: the last that counts; what comes after it tells nothing.
        cycle_days: how long a cycle of each running cell takes.
        wanted: batches that wait for a channel while all are taken.

    Returns:
        One advice a cell, in the order of the cells; `wanted` of them are stopped at most for want of a channel.
    """
    said = told.table.drop_duplicates("number", keep="last").set_index("number")
    running = [c for c in cells if may_be_judged(c, last_cycle) and c.number in said.index]
    found, shares = {}, {}
    for cell in running:
        row = said.loc[cell.number]
        value, se = float(row[objective]), float(row[f"{objective}_se"])
        if math.isfinite(value):
            bar = best[cell.number]
            beats = float(ndtr(sign * (value - bar.mean) / math.hypot(se, bar.sd, 1e-12)))
            shares[cell.number] = bar.share * beats
            found[cell.number] = _judged(cell, value, se, beats, float(row["early_sd"]), last_cycle, bar)
    spared = [cell for cell in running if cell.number in found and not found[cell.number].stop]
    if wanted > sum(advice.stop for advice in found.values()):
        room = wanted - sum(advice.stop for advice in found.values())
        found |= _make_room(spared, found, shares, best, told.lacking, last_cycle, cycle_days, room)
    return [found[cell.number] for cell in running if cell.number in found]


def may_be_judged(cell: Seen, last_cycle: int) -> bool:
    """Say whether a cell runs and has shown enough to be judged."""
    return cell.state == "running" and len(cell.discharge) >= min(2, last_cycle)


def _judged(cell: Seen, value: float, se: float, beats: float, early: float, last_cycle: int, best: Best) -> Advice:
    n, chance, share = len(cell.discharge), best.met * beats, best.share * beats
    told_all = n >= last_cycle
    if told_all:
        known = f"{n} are known" if n > 1 else "it is known"
        reason = f"it has told all that counts: cycle {last_cycle} is the last that counts, and {known}; {value:.4g} ± {se:.2g}"
    else:
        to_come = f"those to come leave ±{early:.0%} against the other cells"
        reason = f"expected {value:.4g} ± {se:.2g} after {n} of {last_cycle} cycles ({to_come})"
    reason += f", {_against(best)}"
    if best.likeliest is None:
        of = "beating that" if best.met == 1.0 else "doing both"
        reason += f": its chance of {of if math.isfinite(best.mean) else 'being the best'} is {_likely(chance)}"
    hopeless = share < HOPELESS
    if hopeless and not told_all:
        reason += f", less than {_of(HOPELESS, best)}"
    return Advice(cell.number, n, told_all or hopeless, chance, value, se, reason)


def _likely(chance: float) -> str:
    return f"{chance:.0%}" if chance >= HOPELESS else f"{chance:.1%}" if chance >= 0.001 else "under 0.1%"


def _of(bound: float, best: Best) -> str:
    """A bound on a chance, said of what it is held against."""
    return f"{bound:.0%}" if best.likeliest is None else f"{bound:.0%} of the likeliest one's"


def _against(best: Best) -> str:
    if best.likeliest is not None:
        return (
            "and no recipe tried is likely to meet the conditions, so none is the best yet: this one meets them with a chance of "
            f"{_likely(best.met)}"
        )
    bar = (
        f"{best.mean:.4g} of the best tried"
        if math.isfinite(best.mean)
        else "and no recipe tried is known to be better"
    )
    return bar if best.met == 1.0 else f"{bar}, meets the conditions with a chance of {best.met:.0%}"


def _make_room(
    cells: Sequence[Seen],
    found: Mapping[Any, Advice],
    shares: Mapping[Any, float],
    best: Mapping[Any, Best],
    lacking: Lacking,
    last_cycle: int,
    cycle_days: Mapping[Any, float],
    room: int,
) -> dict[Any, Advice]:
    """Stop the weakest cells, then those beside which a fresh cell tells more a channel-day than their running on."""
    weak = {c.number: why for c in cells if (why := _weak(shares[c.number], best[c.number]))}
    stopped = {
        number: _stopped(found[number], f"{weak[number]}, and a batch waits for a channel")
        for number in sorted(weak, key=lambda number: shares[number])[:room]
    }
    cells = [cell for cell in cells if cell.number not in stopped]
    top = max((shares[cell.number] for cell in cells), default=0.0)
    worth = []
    for cell in cells:
        days, said = cycle_days[cell.number], found[cell.number]
        # Doubt in logs is doubt in the outcome's unit by the value squared: of what hardly works little can be lost.
        bar = best[cell.number].mean
        size = min(abs(said.expected / bar), 1.0) if bar and math.isfinite(bar) else 1.0
        matters = shares[cell.number] / max(top, 1e-9) * size**2
        now, run_on, beside = _doubt_of_region(lacking, cell.number)
        left = max((last_cycle - len(cell.discharge)) * days, SHORTEST_DAYS)
        on = matters * (now - run_on) / left
        worth.append((on, matters * (now - beside) / (START_DAYS + FRESH_CYCLES * days), cell.number))
    beaten = sorted((told for told in worth if told[0] < told[1]), key=lambda told: told[0])
    for on, fresh, number in beaten[: room - len(stopped)]:
        times = fresh / max(on, 1e-12)
        more = f"{times:.1f} times more a day" if times < 1000 else "far more a day"
        why = f"a batch waits for a channel, and a fresh cell of such a recipe tells {more}"
        stopped[number] = _stopped(found[number], why)
    return stopped


def _weak(share: float, best: Best) -> str:
    """Say why a cell gives its channel to a batch that waits, nothing if it does not for that."""
    if share < WEAK:
        return f"less than {_of(WEAK, best)}"
    # The likeliest to meet the conditions is seen to its end; of others that hardly can a fresh recipe is worth more.
    if best.likeliest is not None and best.met < best.likeliest < HOPELESS:
        return f"less than {HOPELESS:.0%}, as of all that run"
    return ""


def _stopped(said: Advice, why: str) -> Advice:
    return replace(said, stop=True, reason=f"{said.reason}; {why}")


def _doubt_of_region(lacking: Lacking, number: Any) -> tuple[float, float, float]:
    """Return the variance of what is known, in logs, of the value of a cell's region of recipes.

    As it is, once the cell has run to its end, and with a fresh cell beside it that has come as far: the best weighted mean of
    the cells there, each with the noise of its own batch and with what it lacks, which they have in common.
    """
    i = lacking.numbers.index(number)
    region = np.flatnonzero(lacking.near[i])
    lack = lacking.covariance[np.ix_(region, region)]
    mine = lacking.covariance[i, region]
    own = float(lacking.covariance[i, i])
    noise = NOISE_SD**2 * np.eye(len(region))
    ended = lack - np.outer(mine, mine) / own if own > 0 else lack
    fresh = np.block([[lack + noise, mine[:, None]], [mine[None, :], np.array([[NOISE_SD**2 + own]])]])
    return _variance_of_mean(lack + noise), _variance_of_mean(ended + noise), _variance_of_mean(fresh)


def _variance_of_mean(covariance: Floats) -> float:
    """Variance of the best weighted mean of readings with these errors."""
    ones = np.ones(len(covariance))
    return float(1.0 / (ones @ np.linalg.solve(covariance, ones)))


def days_of_a_cycle(discharge_mAh_cm2: Floats, current_mA_cm2: float) -> float:
    """Days that a cycle of a cell takes: twice its capacity over the current, as over its last ten cycles."""
    last = discharge_mAh_cm2[-10:]
    return max(2.0 * float(last.mean()) / current_mA_cm2 / 24.0, 1e-3) if len(last) else 0.8
