"""Trials until the best one tried is within 5 % of the lab's best: one at a time, final results only, up to 60.

    python benchmarks/sample_efficiency.py --seeds 100-119
    python benchmarks/sample_efficiency.py --quick

Every method sees the same: the measured objective of each trial (12 % batch, 5 % cell, 5 % failures, 3 % outliers), values
alone. Ours also has the physics' ensemble as prior; BayBE is run once more with 200 points of the simulator as
transfer-learning source. Tuned on seeds 0-99, reported on 100-199. Peers: see _peers.py; their traces are stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import _bench as bench
import numpy as np
import pandas as pd
from _peers import PEERS, Peer, identity

from campaign.errors import Refusal

WITHIN, LIMIT, SIMULATED = 0.05, 60, 200
OURS = ("mixwright", "mixwright, prior off")
ASK_THE_PHYSICS = (OURS[0], "baybe-transfer")
_STAGES: dict[tuple[Any, ...], Any] = {}


def stage_of(campaign: str, level: str, lab: str | None) -> Any:
    """What all labs of a level share, made once a process."""
    from flows.rehearse import Setting, Stage
    from models.virtual_lab_plug import one_thread

    one_thread()
    if (campaign, lab) not in _STAGES:
        _STAGES[campaign, lab] = Stage(Setting(campaign, bench.level_of(level), lab))
    stage = _STAGES[campaign, lab]
    stage.setting = Setting(campaign, bench.level_of(level), lab)
    return stage


def check(campaign: str, lab_file: str | None, *, bounds: bool = False) -> Any:
    """The spec of a campaign that can be played here; `bounds`: one with bounds on outcomes can.

    Raises:
        Refusal: says why not.
    """
    from campaign.spec import load_spec
    from flows import rehearse

    spec, materials, question = rehearse.read_question(campaign)
    rehearse.check(load_spec(campaign), question, materials, own_lab=lab_file is not None)
    if question.bounds and not bounds:
        raise Refusal(
            f"{campaign}: outcome_constraints: methods here are told values of the objective alone and cannot keep to bounds; "
            "leave them out, or take lab_calendar.py --methods mixwright"
        )
    return spec


def prints(seeds: Sequence[int], level: str, campaign: str, lab_file: str | None) -> dict[int, str]:
    """Digest of each lab, for the keys of traces: needs no prior, so no stage."""
    from flows.rehearse import last_cycle, read_question
    from models.virtual_lab_plug import one_thread, open_lab

    one_thread()
    _, materials, question = read_question(campaign)
    cycle = last_cycle(question)
    return {
        seed: print_of(
            open_lab(seed, bench.level_of(level), question=question, materials=materials, file=lab_file), cycle
        )
        for seed in seeds
    }


def simulator_print(stage: Any, *, curves: bool = False) -> str:
    """Digest of what the physics says to a run: its ensemble over the space and, on the clock, its `curves`; "" without it."""
    probes = stage.question.space.sample(bench.PROBES, seed=1)
    says = [prior(probes).ravel() for prior in stage.priors.values()]
    says += [curve.ravel() for curve in stage.curves] if curves else []
    return bench.digest(np.concatenate(says)) if says else ""


def print_of(lab: Any, last_cycle: int) -> str:
    """Digest of a lab."""
    return bench.lab_print(lab, lab.best().value, lambda recipe, number: measured(lab, recipe, number, last_cycle))


def measured(lab: Any, recipe: dict[str, Any], number: int, last_cycle: int) -> float:
    """One trial as a lab reports it; NaN = failed."""
    record = lab.cycle(lab.mix(recipe, day=float(number), label=f"T{number:04d}-M1"), last_cycle)
    return lab.measured(recipe, record) if len(record.discharge_mAh_cm2) >= last_cycle else np.nan


class Ours:
    """Our Optimiser, told values alone."""

    version = "mixwright"

    def __init__(self, stage: Any, seed: int, *, prior: bool) -> None:
        from surrogate import Optimiser

        question = stage.question
        self.optimiser = Optimiser(
            question.space,
            question.objective.goal,
            prior=stage.prior if prior else None,
            descriptors=dict(question.space.descriptors) or None,
            seed=seed,
        )
        self.names = list(question.space.names)
        self.asked: dict[int, pd.DataFrame] = {}

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Return the next recipe under a number."""
        row = self.optimiser.ask(1)[self.names]
        self.asked[len(self.asked)] = row
        return len(self.asked) - 1, {str(name): value for name, value in row.iloc[0].items()}

    def tell(self, number: int, value: float) -> None:
        """Take in what it gave; NaN = failed."""
        self.optimiser.tell(self.asked[number], [value])

    def recommended(self) -> dict[str, Any]:
        """Return the recommended recipe."""
        return {str(name): value for name, value in self.optimiser.recommend()[self.names].iloc[0].items()}

    def close(self) -> None:
        """Nothing to close."""


def chooser(method: str, stage: Any, seed: int) -> Any:
    """Open one method."""
    if method in OURS:
        return Ours(stage, seed, prior=method == OURS[0])
    simulated = []
    if method == "baybe-transfer":
        recipes = stage.question.space.sample(SIMULATED, seed=seed)
        values = stage.prior(recipes).mean(axis=0)
        simulated = list(zip(recipes.to_dict("records"), values, strict=True))
    return Peer(method, stage.question.space, seed, simulated)


def run(task: tuple[str, str, int, str, int, str, str | None]) -> dict[str, Any]:
    """One campaign of one method on one lab: regret of the best tried after each trial, of the recommended at the end."""
    method, level, seed, expected, limit, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    lab = stage.lab(seed)
    if print_of(lab, stage.last_cycle) != expected:
        if lab_file is not None:
            raise Refusal(
                f"--lab {lab_file}: {level} lab {seed} answers otherwise when asked again; right is the same answer to the same "
                "recipe and batch, or no stored run would be of this lab"
            )
        raise RuntimeError(f"{level} lab {seed} is no longer the one that was asked for: models/ changed meanwhile")
    sign = 1.0 if stage.question.objective.goal == "max" else -1.0
    best = lab.best().value
    made = chooser(method, stage, seed)
    tried: list[float] = []
    told: list[tuple[float, dict[str, Any]]] = []
    for number in range(limit):
        key, recipe = made.ask()
        value = measured(lab, recipe, number, stage.last_cycle)
        made.tell(key, sign * value if method not in OURS else value)
        truth = float(lab.admitted(pd.DataFrame([recipe]))[0])
        regret = sign * (best - truth) / abs(best)
        tried.append(min(tried[-1], regret) if tried else regret)
        if not np.isnan(value):
            told.append((sign * value, recipe))
        if tried[-1] <= WITHIN:
            break
    recipe = made.recommended() if method in OURS else max(told, key=lambda pair: pair[0])[1] if told else None
    last = np.nan if recipe is None else sign * (best - float(lab.admitted(pd.DataFrame([recipe]))[0])) / abs(best)
    made.close()
    return {"tried": tried, "recommended": last, "version": made.version}


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.add_argument("--methods", default=",".join((*OURS, *PEERS, "baybe-transfer")).replace(", ", "; "))
    parser.add_argument("--limit", type=int, default=LIMIT)
    args = parser.parse_args()
    methods = [name.replace("; ", ", ") for name in args.methods.split(",")]
    seeds, limit = list(bench.span(args.seeds)), args.limit
    if args.quick:
        seeds, limit = seeds[:1], 12
        methods = [name for name in methods if name in (*OURS, "optuna-gp", "random")]
    if check(args.campaign, args.lab).prior == "none":
        asking = [name for name in methods if name in ASK_THE_PHYSICS]
        methods = [name for name in methods if name not in asking]
        told = f"{args.campaign}: with prior: none there is no physics to give to {' and '.join(asking)}"
        if not methods:
            raise Refusal(f"{told}; write prior: physics, or name other --methods")
        if asking:
            print(f"{told}: left out", file=sys.stderr)
    traces = bench.Traces("sample_efficiency", fresh=bench.span(args.fresh), ours=bench.code_hash(), lab=args.lab)
    tasks = [(m, level, seed) for level in args.levels.split(",") for seed in seeds for m in methods]
    keys = keys_of(tasks, limit, args.campaign, args.lab, ours=traces.ours)
    left = [(task, key) for task, key in zip(tasks, keys, strict=True) if traces.get(key) is None]
    if left:
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            runs = pool.map(run, [(*task, key["lab"], limit, args.campaign, args.lab) for task, key in left])
            for (_, key), trace in zip(left, runs, strict=True):
                traces.put(key, trace)
                told = f"{len(trace['tried'])} trials, regret {trace['tried'][-1]:.3f}"
                print(f"{key['level']} lab {key['seed']} {key['method']}: {told}", file=sys.stderr, flush=True)
    rows = []
    for (method, level, seed), key in zip(tasks, keys, strict=True):
        trace = traces.known[json.dumps(key, sort_keys=True)]
        reached = trace["tried"][-1] <= WITHIN
        rows.append(
            {"level": level, "seed": seed, "method": method, "trials": len(trace["tried"]) if reached else limit,
             "reached": reached, "regret": trace["tried"][-1], "recommended": trace["recommended"],
             "tried": trace["tried"]}
        )  # fmt: skip
    goals = report(pd.DataFrame(rows), limit)
    bench.save(args.json, {"rows": rows, "goals": goals, "seeds": args.seeds})


def keys_of(
    tasks: Sequence[tuple[str, str, int]], limit: int, campaign: str, lab_file: str | None, *, ours: str
) -> list[dict[str, Any]]:
    """All that each run depends on: the lab by what it answers, and where the simulator is used, it by what it says."""
    from flows.rehearse import read_question

    goal = read_question(campaign)[2].objective.goal
    simulator = ""
    if set(ASK_THE_PHYSICS) & {method for method, *_ in tasks}:
        simulator = simulator_print(stage_of(campaign, tasks[0][1], lab_file))
    labs = {
        level: prints(sorted({seed for _, one, seed in tasks if one == level}), level, campaign, lab_file)
        for level in dict.fromkeys(level for _, level, _ in tasks)
    }
    keys = []
    for method, level, seed in tasks:
        key = {"method": method, "level": level, "seed": seed, "limit": limit, "lab": labs[level][seed]}
        key["code"] = ours if method in OURS else identity(method)
        if method in ASK_THE_PHYSICS:
            key["simulator"] = simulator
        if goal != "max":  # a lab of one's own may tell the same best for both
            key["goal"] = goal
        keys.append(key)
    return keys


def report(rows: pd.DataFrame, limit: int) -> list[dict[str, Any]]:
    """Table, picture, goals."""
    print(
        f"trials until the best one tried is within 5 % (true value), censored at {limit}; labs {sorted(set(rows.seed))}"
    )
    shown = rows.groupby(["level", "method"], sort=False)[["trials", "reached", "regret", "recommended"]].mean()
    print(shown.round(3).to_string())
    bench.picture("sample_efficiency", lambda figure: _draw(figure, rows, limit))
    goals = []
    wide = {
        str(level): part.pivot(index="seed", columns="method", values="trials") for level, part in rows.groupby("level")
    }
    for level, table in wide.items():
        if OURS[0] not in table:
            continue
        alone = [str(name) for name in table if name in PEERS]
        if alone:
            best = min(alone, key=lambda name: table[name].mean())
            centre, _, high = bench.ratio(table[OURS[0]], table[best])
            bound = {"faithful": 1 / 3, "biased": 1 / 3, "wrong": 1.0}[level]
            goals.append(
                bench.goal(
                    f"{level}: trials over the best peer without side information ({best})", centre, bound, high=high
                )
            )
        if "baybe-transfer" in table and level != "wrong":
            centre, _, high = bench.ratio(table[OURS[0]], table["baybe-transfer"])
            goals.append(bench.goal(f"{level}: trials over BayBE given the simulator", centre, 2 / 3, high=high))
        if OURS[1] in table and level == "wrong":
            centre, _, high = bench.ratio(table[OURS[0]], table[OURS[1]])
            goals.append(bench.goal("wrong: trials over our own with the prior off", centre, 1.1, high=high))
    return goals


def _draw(figure: Any, rows: pd.DataFrame, limit: int) -> None:
    levels = list(dict.fromkeys(rows["level"]))
    for i, level in enumerate(levels):
        axes = figure.add_subplot(1, len(levels), i + 1)
        for method, part in rows[rows["level"].eq(level)].groupby("method", sort=False):
            curves = np.array([[*tried, *[tried[-1]] * (limit - len(tried))] for tried in part["tried"]])
            wide = 2.4 if method in OURS else 1.2
            axes.step(range(1, limit + 1), 100 * np.median(curves, axis=0), where="post", label=method, lw=wide)
        axes.axhline(100 * WITHIN, color="#888888", lw=0.8)
        axes.set(
            title=f"{level} labs (simulated)",
            xlabel="trials",
            ylabel="best tried worse than the best (%), median",
            ylim=(0, 100),
        )
        axes.legend(fontsize=7, frameon=False)


if __name__ == "__main__":
    bench.entry(main)
