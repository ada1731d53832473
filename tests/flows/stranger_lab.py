"""A lab of a stranger's making: rows of a table as its answers, cells that never start, results without any noise, odd lengths.

It knows nothing of ours: a step in speed, a valley in time, no electrolyte matters but one, and some cells give one cycle, or 37.
"""

from __future__ import annotations

import math
import zlib


class StepLab:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def mix(self, recipe, context, day):
        return {**context, **recipe}

    def powder(self, mix):
        return {"colour_index": 1.0} if self.seed % 2 else {}

    def plateau(self, mix) -> float:
        fast = 1.0 if mix["speed_rpm"] >= 1400 else 0.4
        valley = 0.3 + 0.7 * math.cos(math.pi * (mix["time_h"] - 3) / 9) ** 2
        return 5.0 * fast * valley * (1.3 if mix["sse"] == "LGPS" else 1.0)

    def cycle(self, cell, n):
        luck = zlib.crc32(f"{self.seed} {cell.mix.get('mix')} {cell.number}".encode()) % 10
        n = {0: 0, 1: 1, 2: min(n, 37)}.get(luck, n)
        q = [self.plateau(cell.mix)] * n  # no fade and no noise at all
        return {"discharge_areal_capacity_mAh_cm2": q, "hours": [24.0] * n}

    def best(self):
        return {"value": 5.0 * 1.3, "recipe": {"speed_rpm": 2000.0, "time_h": 3.0, "sse": "LGPS"}}


class ConstantLab(StepLab):
    """Nothing that is mixed makes a difference."""

    def plateau(self, mix) -> float:
        return 2.5

    def best(self):
        return 2.5


class CliffLab(StepLab):
    """More with every hour up to the eighth, and hardly anything beyond; every cell runs to its end."""

    def plateau(self, mix) -> float:
        return 0.5 + mix["time_h"] / 2 if mix["time_h"] <= 8 else 0.5

    def cycle(self, cell, n):
        return [self.plateau(cell.mix)] * n, [24.0] * n

    def best(self):
        return 4.5


class DeadLab(StepLab):
    """Every cell dies before it has cycled."""

    def cycle(self, cell, n):
        return [], []

    def best(self):
        return 1.0


def steps(seed, level):
    return StepLab(seed)


def constant(seed, level):
    return ConstantLab(seed)


def dead(seed, level):
    return DeadLab(seed)


def cliff(seed, level):
    return CliffLab(seed)
