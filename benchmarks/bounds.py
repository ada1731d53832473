"""How far is there to go? Our chooser on the report labs with knowledge that no lab has, beside what it needs without.

    python benchmarks/bounds.py --seeds 100-119
    python benchmarks/bounds.py --quick

`generator`: the prior is not our physics but `WORLDS` virtual labs drawn as those of the benchmark are (other seeds): trials
until the best one tried is within 5 %, as in sample_efficiency.py. `foresight`: on the clock of lab_calendar.py, every cell
tells from its second cycle on what it would give in the end, with the noise of batch and cell but without any of ageing's
doubt, and makes room after `SHORT` cycles: days until the recommended recipe stays within 5 %. Neither is a limit of what is
possible, both are more than a chooser can know. Printed beside the stored runs of ours on the same labs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import _bench as bench
import numpy as np
import pandas as pd
from lab_calendar import HORIZON_DAYS, OURS, run_key
from sample_efficiency import LIMIT, WITHIN, Ours, check, keys_of, measured, prints, simulator_print, stage_of

from campaign.errors import Refusal
from flows.rehearsal_calendar import regret

WORLDS, FIRST_WORLD = 256, 5000
SHORT = 5
_WORLDS: dict[str, Any] = {}


def worlds(stage: Any, level: str) -> Any:
    """The labs' own generator as a prior: noise-free truths of labs with other seeds, draws x n."""
    from models.prior_grid import on_grid
    from models.virtual_lab import VirtualLab

    if level not in _WORLDS:
        question = stage.question
        labs = [
            VirtualLab(seed, bench.level_of(level), question=question, materials=stage.materials)
            for seed in range(FIRST_WORLD, FIRST_WORLD + WORLDS)
        ]
        _WORLDS[level] = on_grid(question.space, lambda recipes: np.stack([lab.truth(recipes) for lab in labs]))
    return _WORLDS[level]


def trials_with_generator(stage: Any, level: str, seed: int) -> dict[str, Any]:
    """Trials of our chooser whose prior is the generator."""
    lab = stage.lab(seed)
    knowing = SimpleNamespace(question=stage.question, prior=worlds(stage, level))
    made, best = Ours(knowing, seed, prior=True), lab.best().value
    sign = 1.0 if stage.question.objective.goal == "max" else -1.0
    for number in range(LIMIT):
        key, recipe = made.ask()
        made.tell(key, measured(lab, recipe, number, stage.last_cycle))
        if regret(float(lab.admitted(pd.DataFrame([recipe]))[0]), best, sign=sign) <= WITHIN:
            return {"trials": number + 1, "reached": True}
    return {"trials": LIMIT, "reached": False}


def days_with_foresight(stage: Any, seed: int, most_tests: int) -> dict[str, Any]:
    """Days on the clock of our product whose cells tell their end from the second cycle on."""
    from flows.early_evidence import NOISE_SD
    from flows.rehearsal_calendar import play

    lab, product = stage.lab(seed), stage.product(seed=seed)
    outcome, names, early = stage.question.objective.outcome, list(stage.question.space.names), product.evidence

    def evidence(tests: Sequence[Any]) -> Any:
        known = early(tests)
        table = known.table.copy()
        cycles = {test.number: len(test.discharge) for test in tests}
        rows = [i for i in table.index if cycles[table.at[i, "number"]] >= 2 and np.isfinite(table.at[i, outcome])]
        if rows:
            noise = [np.random.default_rng([seed, int(table.at[i, "number"])]).standard_normal() for i in rows]
            told = lab.truth(table.loc[rows, names]) * np.exp(NOISE_SD * np.array(noise))
            table.loc[rows, outcome], table.loc[rows, f"{outcome}_se"] = told, NOISE_SD * told
            table.loc[rows, "early_sd"] = 0.0
        return replace(known, table=table, common={name: np.zeros_like(c) for name, c in known.common.items()})

    def stop(tests: Sequence[Any], *, wanted: int = 0) -> list[Any]:
        return [test.number for test in tests if test.state == "running" and len(test.discharge) >= SHORT][:wanted]

    product.evidence, product.stop = evidence, stop
    played = play(lab, product, stage.bench(most_tests=most_tests))
    reached = played.within()
    return {
        "days": reached[0] if reached else HORIZON_DAYS,
        "reached": bool(reached),
        "cells": reached[1] if reached else len(played.tests),
    }


def run(task: tuple[str, str, int, int, str, str | None]) -> dict[str, Any]:
    """One lab with one kind of knowledge."""
    kind, level, seed, most_tests, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    found = (
        trials_with_generator(stage, level, seed)
        if kind == "generator"
        else days_with_foresight(stage, seed, most_tests)
    )
    return {"kind": kind, "level": level, "seed": seed, **found}


def stored(kind: str, level: str, seeds: Sequence[int], most: int, campaign: str, lab: str | None) -> list[Any]:
    """Stored runs of ours on these labs, under the same limit and with the code as it is."""
    if kind == "generator":
        traces = bench.Traces("sample_efficiency", fresh=range(0), ours=bench.code_hash())
        keys = keys_of([(OURS, level, seed) for seed in seeds], LIMIT, campaign, lab, ours=traces.ours)
    else:
        traces = bench.Traces("lab_calendar", fresh=range(0), ours=bench.product_hash(), lab=lab)
        labs, asked = prints(seeds, level, campaign, lab), bench.campaign_hash(campaign)
        simulator = simulator_print(stage_of(campaign, level, lab), curves=True)
        keys = [
            run_key(OURS, level, seed, most_tests=most, lab=labs[seed], campaign=asked, simulator=simulator)
            for seed in seeds
        ]
    return [trace for trace in map(traces.get, keys) if trace is not None]


def main() -> None:
    """Run and print."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.set_defaults(levels="biased")
    parser.add_argument("--kinds", default="generator,foresight")
    parser.add_argument("--most-tests", type=int, default=120)
    args = parser.parse_args()
    seeds, kinds, most = list(bench.span(args.seeds)), args.kinds.split(","), args.most_tests
    if args.quick:
        seeds, kinds, most = seeds[:1], kinds[-1:], 10
    spec = check(args.campaign, args.lab, bounds="generator" not in kinds)
    if "generator" in kinds and args.lab:
        raise Refusal(
            f"--kinds generator with --lab {args.lab}: only the built-in labs' generator is known; --kinds foresight"
        )
    tasks = [
        (kind, level, seed, most, args.campaign, args.lab)
        for kind in kinds
        for level in args.levels.split(",")
        for seed in seeds
    ]
    rows = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(run, tasks):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    for (kind, level), part in table.groupby(["kind", "level"], sort=False):
        unit = "trials" if kind == "generator" else "days"
        # Without the physics ours in sample_efficiency.py is not run.
        known = unit == "days" or spec.prior == "physics"
        ours = stored(str(kind), str(level), part["seed"].tolist(), most, args.campaign, args.lab) if known else []
        if unit == "trials":
            without: list[float] = [len(run["tried"]) if run["tried"][-1] <= WITHIN else LIMIT for run in ours]
        else:
            without = [HORIZON_DAYS if run["days"] is None else run["days"] for run in ours]
        print(
            f"{level}, {kind}: {part[unit].mean():.1f} {unit} ({int(part['reached'].sum())} of {len(part)} labs reached); "
            f"without that knowledge {np.mean(without) if without else np.nan:.1f} ({len(without)} stored runs on these labs)"
        )
    bench.save(args.json, {"rows": rows})


if __name__ == "__main__":
    bench.entry(main)
