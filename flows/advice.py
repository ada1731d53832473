"""Advice on the cells under test: which to stop, with the chance that it could still be the best, and which run on.

The same for the virtual clock and for a real lab. A cell is stopped for one of two reasons: its chance of being the best is
gone; or a fresh batch waits for a channel, all are taken, and it has told most of what it can: the cycles that it still lacks
leave less doubt than another batch of the same recipe would. Of such cells that one goes whose running on would tell least, a
channel-day, in proportion to its chance of being the best, unless even that tells more than a fresh cell would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.special import ndtr

from flows.early_evidence import NOISE_SD, Floats, Seen

Z95 = 1.645
HOPELESS = 0.02
"""Chance of being the best under which a running cell is stopped."""
START_DAYS = 2.5
"""Channel-days that go by before a fresh cell runs: mixing, powder, hands [est]."""
FRESH_CYCLES = 25
"""Cycles after which a fresh cell is taken to have told most [est]."""
TOLD_MOST = NOISE_SD
"""A cell may be stopped to make room when the cycles that it lacks leave less doubt than this, the noise of a batch. Stopped
after five cycles, cells were too many that told too little: their laws' errors are common to all of one electrolyte."""


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
    """What the best recipe tried so far is believed to give; `sd` on the side on which another could beat it."""

    mean: float
    sd: float

    @classmethod
    def of(cls, predicted: pd.DataFrame, *, sign: float) -> Best:
        """Read it from `Optimiser.predict` of what was tried; intervals may be lopsided (a capacity does not fall below 0)."""
        row = predicted.iloc[int((sign * predicted["mean"]).to_numpy().argmax())]
        end = float(row["p05"] if sign > 0 else row["p95"])
        return cls(float(row["mean"]), abs(float(row["mean"]) - end) / Z95)


def advise(
    cells: Sequence[Seen],
    known: pd.DataFrame,
    best: Best,
    *,
    objective: str,
    sign: float,
    last_cycle: int,
    cycle_days: Mapping[Any, float],
    wanted: int = 0,
) -> list[Advice]:
    """Judge every running cell that has shown two cycles.

    Args:
        cells: all there are.
        known: what they say (`EarlyEvidence.table`).
        best: what the best recipe tried is believed to give.
        objective: column of `known` that is wanted.
        sign: 1 where more is better, -1 where less is.
        last_cycle: to which a cell would run.
        cycle_days: how long a cycle of each running cell takes.
        wanted: batches that wait for a channel while all are taken.

    Returns:
        One advice a cell, in the order of the cells; `wanted` of them are stopped at most for want of a channel.
    """
    said = known.drop_duplicates("number", keep="last").set_index("number")
    running = [c for c in cells if c.state == "running" and len(c.discharge) >= 2 and c.number in said.index]
    found = {}
    for cell in running:
        row = said.loc[cell.number]
        value, se = float(row[objective]), float(row[f"{objective}_se"])
        if math.isfinite(value):
            chance = float(ndtr(sign * (value - best.mean) / math.hypot(se, best.sd, 1e-12)))
            found[cell.number] = _judged(cell, value, se, chance, float(row["early_sd"]), last_cycle, best)
    spared = [cell for cell in running if cell.number in found and not found[cell.number].stop]
    if wanted > sum(advice.stop for advice in found.values()):
        room = wanted - sum(advice.stop for advice in found.values())
        early = {number: float(said.loc[number, "early_sd"]) for number in found}
        found |= _make_room(spared, found, early, last_cycle, cycle_days, room)
    return [found[cell.number] for cell in running if cell.number in found]


def _judged(cell: Seen, value: float, se: float, chance: float, early: float, last_cycle: int, best: Best) -> Advice:
    n = len(cell.discharge)
    likely = f"{chance:.0%}" if chance >= HOPELESS else f"{chance:.1%}" if chance >= 0.001 else "under 0.1%"
    reason = (
        f"expected {value:.4g} ± {se:.2g} after {n} of {last_cycle} cycles (those to come leave ±{early:.0%}), "
        f"{best.mean:.4g} of the best tried: its chance of being the best is {likely}"
    )
    hopeless = chance < HOPELESS
    if hopeless:
        reason += f", less than {HOPELESS:.0%}"
    return Advice(cell.number, n, hopeless, chance, value, se, reason)


def _make_room(
    cells: Sequence[Seen],
    found: Mapping[Any, Advice],
    early: Mapping[Any, float],
    last_cycle: int,
    cycle_days: Mapping[Any, float],
    room: int,
) -> dict[Any, Advice]:
    """Stop those cells that have told most whose running on tells least a channel-day, where a fresh cell tells more."""
    top = max((found[cell.number].chance_best for cell in cells), default=0.0)
    worth = []
    for cell in cells:
        days = cycle_days[cell.number]
        if early[cell.number] >= TOLD_MOST:
            continue
        likely = found[cell.number].chance_best / max(top, 1e-9)
        on = likely * _gain_of_running_on(early[cell.number]) / (max(last_cycle - len(cell.discharge), 1) * days)
        fresh = 1.0 / (NOISE_SD**2 + early[cell.number] ** 2) / (START_DAYS + FRESH_CYCLES * days)
        worth.append((on, fresh, cell.number))
    stopped = {}
    for on, fresh, number in sorted(worth, key=lambda item: item[0])[:room]:
        if on < fresh:
            before = found[number]
            times = fresh / max(on, 1e-12)
            told = f"{times:.1f} times more a day" if times < 1000 else "far more a day"
            reason = f"{before.reason}; a batch waits for a channel, and a fresh cell tells {told}"
            stopped[number] = Advice(
                number, before.cycles, True, before.chance_best, before.expected, before.sd, reason
            )
    return stopped


def _gain_of_running_on(early_sd: float) -> float:
    """Precision (1 over relative variance) that is gained when the doubt of the missing cycles is gone."""
    return 1.0 / NOISE_SD**2 - 1.0 / (NOISE_SD**2 + early_sd**2)


def days_of_a_cycle(discharge_mAh_cm2: Floats, current_mA_cm2: float) -> float:
    """Days that a cycle of a cell takes: twice its capacity over the current, as over its last ten cycles."""
    last = discharge_mAh_cm2[-10:]
    return max(2.0 * float(last.mean()) / current_mA_cm2 / 24.0, 1e-3) if len(last) else 0.8
