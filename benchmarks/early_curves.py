"""How early a curve tells its end, and what powder readings add: predictions of running cells against what they gave.

    python benchmarks/early_curves.py --seeds 100-107 --levels biased
    python benchmarks/early_curves.py --quick

Plays whole campaigns on the virtual clock. At every third weekly check each cell that has begun and not ended is foretold from
what has been seen by then of all cells (`surrogate.readouts`), and held against the capacity that this same cell has at the last
cycle that counts: the virtual lab knows it, of cells that were stopped too. Cells that die before are left out. Three predictions
of the same cells: the product's; the same without powder readings; its last capacity carried on. By the mean log score (of a
normal in ln capacity; more is better, and neither a wide nor a daring prediction can cheat it), by the error of ln capacity, and
by how many ends lie inside 90 % intervals. What is promising (foretold to be within 40 % of the third best cell) is told from
what is not: the choice of the next trial hangs on the promising ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import _bench as bench
import numpy as np
import pandas as pd
from ablations import variant
from sample_efficiency import check, stage_of

from campaign.errors import Refusal
from surrogate.readouts import log_capacity

EVERY = 3
"""Weekly checks from one look to the next."""
FEWEST = 4
"""Cells that have begun before anything is foretold."""
PROMISING = 0.6
"""Share of the third best cell."""
SEEN = (2, 5, 10, 25, 50)
"""Cycles at which the bands of what was seen begin."""
WHOLE, NO_POWDER, CARRIED = "whole", "powder off", "last capacity carried on"


class Watched:
    """The product, with what it was shown at each weekly check kept."""

    def __init__(self, product: Any) -> None:
        self.product = product
        self.views: list[list[Any]] = []
        self.last_cycle, self.readouts, self.ahead = product.last_cycle, product.readouts, product.ahead

    def next(self, tests: Sequence[Any], *, free: int) -> Mapping[str, Any] | None:
        """As the product."""
        found: Mapping[str, Any] | None = self.product.next(tests, free=free)
        return found

    def stop(self, tests: Sequence[Any], *, wanted: int = 0) -> Sequence[int]:
        """As the product."""
        found: Sequence[int] = self.product.stop(tests, wanted=wanted)
        return found

    def recommend(self, tests: Sequence[Any]) -> Mapping[str, Any] | None:
        """As the product."""
        self.views.append(list(tests))
        found: Mapping[str, Any] | None = self.product.recommend(tests)
        return found


def run(task: tuple[str, int, int, str, str | None]) -> list[dict[str, Any]]:
    """One campaign: a row for each look, cell and kind of prediction."""
    from flows.rehearsal_calendar import play

    level, seed, most, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    product = variant(stage, "whole", seed)
    watched = Watched(product)
    played = play(stage.lab(seed), watched, stage.bench(most_tests=most))
    target = product.last_cycle
    ends = {t.number: float(log_capacity(t.discharge[target - 1])) for t in played.tests if len(t.discharge) >= target}
    rows = []
    for number, view in enumerate(watched.views[::EVERY]):
        rows += [
            {"level": level, "seed": seed, "look": number} | row for row in foretold(product.early, view, ends, target)
        ]
    return rows


def foretold(early: Any, view: Sequence[Any], ends: Mapping[int, float], target: int) -> list[dict[str, Any]]:
    """Rows of one look: what is foretold of each cell under way, and how it ended."""
    cells = [cell for cell in view if len(cell.discharge)]
    asked = [i for i, c in enumerate(cells) if SEEN[0] <= len(c.discharge) < target and c.number in ends]
    if len(cells) < FEWEST or not asked:
        return []
    told = early.outlook(cells, target)
    blind = early.outlook([replace(cell, powder={}) for cell in cells], target)
    carried = log_capacity(np.array([cell.discharge[-1] for cell in cells]))
    third = np.sort(told.mean)[-3]
    known = {WHOLE: (told.mean, told.sd), NO_POWDER: (blind.mean, blind.sd)}
    known[CARRIED] = (carried, np.full(len(cells), math.nan))  # states none
    return [
        {
            "kind": kind,
            "seen": max(n for n in SEEN if n <= len(cells[i].discharge)),
            "promising": bool(told.mean[i] >= third + math.log(PROMISING)),
            "off": float(mean[i] - ends[cells[i].number]),
            "sd": float(sd[i]),
        }
        for kind, (mean, sd) in known.items()
        for i in asked
    ]


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-107")
    parser.add_argument("--most-tests", type=int, default=60)
    args = parser.parse_args()
    seeds, levels, most = bench.span(args.seeds), args.levels.split(","), args.most_tests
    if args.quick:
        seeds, levels, most = seeds[:1], levels[:1], 16
    check(args.campaign, args.lab, bounds=True)
    tasks = [(level, seed, most, args.campaign, args.lab) for level in levels for seed in seeds]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for task, found in zip(tasks, pool.map(run, tasks), strict=True):
            rows += found
            print(f"{task[0]} lab {task[1]}: {len(found)} rows", file=sys.stderr, flush=True)
    if not rows:
        raise Refusal(
            f"{args.campaign}: no look found a cell of {SEEN[0]} cycles that had some to go; foretelling needs longer runs"
        )
    table = scored(pd.DataFrame(rows))
    print(
        f"labs {args.seeds}; rms_off: error of ln capacity; half: half of all are nearer; sd: as stated; covered: ends within "
        "90 % intervals; score: mean log score; by the number of cycles seen"
    )
    promising = table[table["promising"]]
    for title, part in (("promising cells", promising), ("the others", table[~table["promising"]])):
        print(f"\n{title}\n{summary(part, ['level', 'kind', 'seen']).to_string()}")
    bench.picture("early_curves", lambda figure: _draw(figure, promising, levels))
    bench.save(
        args.json,
        {
            "rows": summary(table, ["level", "kind", "promising", "seen"]).reset_index().to_dict("records"),
            "powder": verdicts(table),
        },
    )


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """With the log score of each prediction, down to -20, as one cell that collapsed would outweigh all others."""
    z = table["off"] / table["sd"]
    score = (-0.5 * z**2 - np.log(table["sd"] * math.sqrt(2 * math.pi))).clip(-20)
    return table.assign(covered=(z.abs() < 1.645).astype(float).where(z.notna()), score=score)


def summary(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means by group."""
    groups = table.groupby(by)
    return pd.DataFrame(
        {
            "rms_off": groups["off"].apply(lambda off: float(np.sqrt((off**2).mean()))),
            "half": groups["off"].apply(lambda off: float(off.abs().median())),
            "sd": groups["sd"].mean(),
            "covered": groups["covered"].mean(),
            "score": groups["score"].mean(),
            "cells": groups.size(),
        }
    ).round(3)


def verdicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What powder adds to the score, labs paired; printed and returned."""
    found = []
    for (level, promising), part in table.groupby(["level", "promising"], sort=False):
        wide = part.pivot_table(index="seed", columns="kind", values="score")
        gain = (wide[WHOLE] - wide[NO_POWDER]).to_numpy()
        drawn = gain[np.random.default_rng(0).integers(len(gain), size=(4000, len(gain)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.05, 0.95])
        of = "promising cells" if promising else "the others"
        print(
            f"{level}, {of}: powder adds {gain.mean():.3f} ({low:.3f} to {high:.3f}) to the log score, {len(gain)} labs"
        )
        found.append({"level": level, "of": of, "gain": [float(gain.mean()), float(low), float(high)]})
    return found


def _draw(figure: Any, table: pd.DataFrame, levels: Sequence[str]) -> None:
    for axis, level in zip(np.atleast_1d(figure.subplots(1, len(levels), sharey=True)), levels, strict=True):
        off = table[table["level"] == level].assign(off=lambda part: 100 * part["off"].abs())
        half = off.pivot_table(index="seen", columns="kind", values="off", aggfunc="median")
        half[[CARRIED, WHOLE, NO_POWDER]].plot(ax=axis, style=["o-", "o-", "x--"], legend=level == levels[0])
        axis.set(title=f"{level} labs, promising cells", xlabel="cycles seen, at least", ylim=(0, None))
        axis.set_ylabel("error of half of them is less than, % of capacity")


if __name__ == "__main__":
    bench.entry(main)
