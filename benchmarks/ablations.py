"""Every part must earn its place: days to within 5 % with one part of the product turned off at a time.

    python benchmarks/ablations.py --seeds 100-119
    python benchmarks/ablations.py --seeds 100-119 --channels 40 --variants "whole,cost-awareness off"
    python benchmarks/ablations.py --quick

On the virtual clock of lab_calendar.py. Off: the prior; the ensemble cut to its mean draw; partial curves (only finished
cells count and none is stopped); powder results; cost-awareness (every trial costs the same); descriptors of the electrolytes.
Days until all later checks hold are nearly a coin's toss a lab; how far the recommended recipe is below the best, averaged over
the first half year, tells parts apart with fewer labs, so both are printed, each with its paired interval.
With the campaign's 8 channels recipes differ in cost by a tenth at most (flows/lab_cost.py); `--channels 40` is a lab that waits
for its mixer.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import _bench as bench
import pandas as pd
from lab_calendar import HORIZON_DAYS, share_within
from sample_efficiency import check, prints, simulator_print, stage_of

from campaign.errors import Refusal

VARIANTS = (
    "whole",
    "prior off",
    "one draw",
    "partial curves off",
    "powder off",
    "cost-awareness off",
    "descriptors off",
)

OF_THE_PRIOR = ("prior off", "one draw")
HALF_YEAR = 26
"""Weekly checks over which what is recommended is averaged."""


def variant(stage: Any, name: str, seed: int) -> Any:
    """The product with one part off."""
    from flows.rehearsal_product import Product, Switches

    priors, curves, descriptors = stage.priors, stage.curves, dict(stage.question.space.descriptors)
    question = stage.question
    if name == "prior off":
        priors, curves = {}, ()
    if name == "one draw":
        priors = {outcome: partial(mean_draw, whole) for outcome, whole in priors.items()}
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
        priors=priors,
        curves=curves,
        descriptors=descriptors,
        seed=seed,
        lab=stage.spec.lab,
        switches=switches,
    )


def mean_draw(whole: Any, recipes: pd.DataFrame) -> Any:
    """The mean draw of an ensemble."""
    return whole(recipes).mean(axis=0)


def run(task: tuple[str, str, int, int, int | None, str, str | None]) -> dict[str, Any]:
    """One campaign."""
    from flows.rehearsal_calendar import play

    name, level, seed, most_tests, channels, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    if channels is not None:
        bench_block = stage.spec.lab.model_copy(update={"channels": channels})
        stage.spec = stage.spec.model_copy(update={"lab": bench_block})
    lab = stage.lab(seed)
    played = play(lab, variant(stage, name, seed), stage.bench(most_tests=most_tests))
    reached = played.within()
    return {
        "days": reached[0] if reached else HORIZON_DAYS,
        "reached": bool(reached),
        "cells": reached[1] if reached else len(played.tests),
        "weeks_within": share_within(played.weeks["regret"]),
        "regret_half_year": half_year(played.weeks["regret"]),
        "regret_end": float(played.weeks["regret"].iloc[-1]),
    }


def half_year(regrets: pd.Series) -> float:
    """Mean regret over the first half year's weekly checks, with what was recommended last standing."""
    return float(regrets.reset_index(drop=True).reindex(range(HALF_YEAR)).ffill().mean())


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.add_argument("--most-tests", type=int, default=60)
    parser.add_argument("--channels", type=int, help="channels of the lab, instead of the campaign's")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="the whole and the parts to turn off")
    args = parser.parse_args()
    variants = args.variants.split(",")
    if unknown := [name for name in variants if name not in VARIANTS]:
        parser.error(f"--variants: {unknown[0]!r} is none of {', '.join(VARIANTS)}")
    seeds, most, levels = bench.span(args.seeds), args.most_tests, args.levels.split(",")
    if args.quick:
        seeds, most, levels = seeds[:1], 9, levels[:1]
    if check(args.campaign, args.lab, bounds=True).prior == "none" and (
        off := [n for n in variants if n in OF_THE_PRIOR]
    ):
        variants = [name for name in variants if name not in off]
        told = f"{args.campaign}: with prior: none there is no prior to turn off or cut"
        if not variants:
            raise Refusal(f"{told}; write prior: physics, or name other --variants")
        print(f"{told}: {' and '.join(off)} left out", file=sys.stderr)
    traces = bench.Traces("ablations", fresh=bench.span(args.fresh), ours=bench.product_hash(), lab=args.lab)
    labs = {level: prints(list(seeds), level, args.campaign, args.lab) for level in levels}
    asked = bench.campaign_hash(args.campaign)
    simulator = simulator_print(stage_of(args.campaign, levels[0], args.lab), curves=True)
    jobs = [(name, level, seed) for level in levels for seed in seeds for name in variants]

    def key_of(name: str, level: str, seed: int) -> dict[str, Any]:
        return {
            "variant": name,
            "level": level,
            "seed": seed,
            "most_tests": most,
            "channels": args.channels,
            "lab": labs[level][seed],
            "campaign": asked,
            "simulator": simulator,
            "code": traces.ours,
        }

    left = [job for job in jobs if traces.get(key_of(*job)) is None]
    if left:
        tasks = [(*job, most, args.channels, args.campaign, args.lab) for job in left]
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            for job, trace in zip(left, pool.map(run, tasks), strict=True):
                traces.put(key_of(*job), trace)
                print(f"{job}: day {trace['days']}, {trace['cells']} cells", file=sys.stderr, flush=True)
    rows = [
        {"variant": name, "level": level, "seed": seed, **traces.of(key_of(name, level, seed))}
        for name, level, seed in jobs
    ]
    bench.save(args.json, {"rows": rows, "goals": report(pd.DataFrame(rows), variants, most)})


def report(table: pd.DataFrame, variants: list[str], most: int) -> list[dict[str, Any]]:
    """Table, picture, goals."""
    print(
        f"days until the recommended recipe stays within 5 %, one part off; censored at 730 days, {most} cells at most; "
        "weeks_within: share of the weekly checks of 730 days that find it so, the last one standing; regret_half_year: share "
        f"that the recommended recipe is below the best, mean over the first {HALF_YEAR} weekly checks"
    )
    columns = ["days", "cells", "reached", "weeks_within", "regret_half_year", "regret_end"]
    print(table.groupby(["level", "variant"], sort=False)[columns].mean().round(3).to_string())
    bench.picture("ablations", lambda figure: _draw(figure, table, variants))
    goals = []
    for level, part in table.groupby("level", sort=False):
        days = part.pivot(index="seed", columns="variant", values="days")
        regrets = part.pivot(index="seed", columns="variant", values="regret_half_year")
        for name in variants:
            if name == "whole" or "whole" not in days:
                continue
            centre, low, high = bench.ratio(regrets["whole"], regrets[name])
            print(
                f"{level}: regret_half_year of the whole over {name}: {centre:.2f} ({low:.2f} to {high:.2f}), {len(days)} labs"
            )
            if min(days["whole"].min(), days[name].min()) >= HORIZON_DAYS:
                print(f"{level}: neither the whole nor {name} got there in any lab: no verdict")
                continue
            centre, low, high = bench.ratio(days["whole"], days[name])
            print(f"{level}: days of the whole over {name}: 90 % interval {low:.2f} to {high:.2f}, {len(days)} labs")
            goals.append(bench.goal(f"{level}: days of the whole over {name}", centre, 1.0))
    return goals


def _draw(figure: Any, table: pd.DataFrame, variants: list[str]) -> None:
    axes = figure.add_subplot()
    wide = table.pivot_table(index="variant", columns="level", values="days", aggfunc="mean").loc[variants]
    wide.plot.barh(ax=axes)
    axes.set(xlabel="days to within 5 % (mean, censored at 730)", ylabel="")
    axes.invert_yaxis()


if __name__ == "__main__":
    bench.entry(main)
