"""Every part must earn its place: days to within 5 % with one part of the product turned off at a time.

    python benchmarks/ablations.py --seeds 100-119
    python benchmarks/ablations.py --quick

On the virtual clock of lab_calendar.py. Off: the prior; the ensemble cut to its mean draw; partial curves (only finished
cells count and none is stopped); powder results; cost-awareness; descriptors of the electrolytes.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import _bench as bench
import pandas as pd
from lab_calendar import HORIZON_DAYS
from sample_efficiency import stage_of

VARIANTS = (
    "whole",
    "prior off",
    "one draw",
    "partial curves off",
    "powder off",
    "cost-awareness off",
    "descriptors off",
)


def variant(stage: Any, name: str, seed: int) -> Any:
    """The product with one part off."""
    from flows.rehearsal_product import Product, Switches

    prior, curves, descriptors = stage.prior, stage.curves, dict(stage.question.space.descriptors)
    question = stage.question
    if name == "prior off":
        prior, curves = None, ()
    if name == "one draw":
        whole = stage.prior
        prior = lambda recipes: whole(recipes).mean(axis=0)  # noqa: E731 - one use
    if name == "descriptors off":
        question, descriptors = replace(question, space=replace(question.space, descriptors={})), {}
    switches = Switches(
        partial_curves=name != "partial curves off",
        cost_aware=name != "cost-awareness off",
        powder=name != "powder off",
    )
    return Product(
        question,
        materials=stage.materials,
        prior=prior,
        curves=curves,
        descriptors=descriptors,
        seed=seed,
        lab=stage.spec.lab,
        switches=switches,
    )


def run(task: tuple[str, str, int, int, str, str | None]) -> dict[str, Any]:
    """One campaign."""
    from flows.rehearsal_calendar import play

    name, level, seed, most_tests, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    lab = stage.lab(seed)
    played = play(lab, variant(stage, name, seed), stage.bench(most_tests=most_tests))
    reached = played.within()
    return {
        "variant": name,
        "level": level,
        "seed": seed,
        "days": reached[0] if reached else HORIZON_DAYS,
        "reached": bool(reached),
        "cells": reached[1] if reached else len(played.tests),
        "regret_end": float(played.weeks["regret"].iloc[-1]),
    }


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.add_argument("--most-tests", type=int, default=60)
    args = parser.parse_args()
    seeds, most, levels = bench.span(args.seeds), args.most_tests, args.levels.split(",")
    if args.quick:
        seeds, most, levels = seeds[:1], 9, levels[:1]
    tasks = [
        (name, level, seed, most, args.campaign, args.lab) for level in levels for seed in seeds for name in VARIANTS
    ]
    rows = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(run, tasks):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(
        f"days until the recommended recipe stays within 5 %, one part off; censored at 730 days, {most} cells at most"
    )
    shown = table.groupby(["level", "variant"], sort=False)[["days", "cells", "reached", "regret_end"]].mean()
    print(shown.round(2).to_string())
    bench.picture("ablations", lambda figure: _draw(figure, table))
    goals = []
    for level, part in table.groupby("level", sort=False):
        days = part.pivot(index="seed", columns="variant", values="days")
        for name in VARIANTS[1:]:
            if min(days["whole"].min(), days[name].min()) >= HORIZON_DAYS:
                print(f"{level}: neither the whole nor {name} got there in any lab: no verdict")
                continue
            centre, _, _ = bench.ratio(days["whole"], days[name])
            goals.append(bench.goal(f"{level}: days of the whole over {name}", centre, 1.0))
    bench.save(args.json, {"rows": rows, "goals": goals})


def _draw(figure: Any, table: pd.DataFrame) -> None:
    axes = figure.add_subplot()
    wide = table.pivot_table(index="variant", columns="level", values="days", aggfunc="mean").loc[list(VARIANTS)]
    wide.plot.barh(ax=axes)
    axes.set(xlabel="days to within 5 % (mean, censored at 730)", ylabel="")
    axes.invert_yaxis()


if __name__ == "__main__":
    main()
