"""Are intervals and chances honest? Held-out outcomes of biased labs, and the stopping rule's stated chance.

    python benchmarks/calibration.py --seeds 100-119
    python benchmarks/calibration.py --quick

Our Optimiser, with the physics as prior, chooses trials in each lab (final results, lab noise). After 10, 20, 30 and 40: how
many of 200 held-out recipes (half anywhere, half around the recommended one) have their noise-free outcome within the 90 %
interval, and their next measurement within the noisy one; how wide the intervals are; and whether some recipe really gains
more than 2 % over the recommended one, beside the chance that the stopping rule stated.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import _bench as bench
import numpy as np
import numpy.typing as npt
import pandas as pd
from sample_efficiency import Ours, check, measured, stage_of

Floats = npt.NDArray[np.float64]
STAGES, HELD_OUT, WORTHWHILE = (10, 20, 30, 40), 200, 0.02
HELD_FROM = 5000
"""Number of the first held-out batch, beyond those of the trials."""


def run(task: tuple[str, int, tuple[int, ...], str, str | None]) -> list[dict[str, Any]]:
    """One lab: a row for each stage."""
    level, seed, stages, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    lab, made = stage.lab(seed), Ours(stage, seed, prior=True)
    best, sign = lab.best().value, 1.0 if stage.question.objective.goal == "max" else -1.0
    rows = []
    for number in range(max(stages)):
        key, recipe = made.ask()
        made.tell(key, measured(lab, recipe, number, stage.last_cycle))
        if number + 1 in stages:
            rows.append({"level": level, "seed": seed, "trials": number + 1, **_look(stage, lab, made, best, sign)})
    return rows


def _look(stage: Any, lab: Any, made: Ours, best: float, sign: float) -> dict[str, float]:
    optimiser, space = made.optimiser, stage.question.space
    recommended = made.recommended()
    held = held_out(space, recommended)
    truth = lab.truth(held)
    known, noisy = optimiser.predict(held), optimiser.predict(held, noisy=True)
    measurement = _measurements(stage, lab, held, truth)
    came = ~np.isnan(measurement)  # a cell may die
    here = float(lab.truth(pd.DataFrame([recommended]))[0])
    gain = WORTHWHILE * abs(float(optimiser.recommend()["mean"].iloc[0]))
    return {
        "covered": float(((truth >= known["p05"]) & (truth <= known["p95"])).mean()),
        "covered_noisy": float(((measurement >= noisy["p05"]) & (measurement <= noisy["p95"]))[came].mean()),
        "width": float(np.median((known["p95"] - known["p05"]) / abs(best))),
        "stated": float(optimiser.stopping(gain).chance),
        "happened": float(sign * (best - here) > gain),
    }


def _measurements(stage: Any, lab: Any, held: pd.DataFrame, truth: Floats) -> Floats:
    """The next measurement of n recipes, (n,): by the noise that our labs have, or by a lab of the user's own; NaN = it died."""
    if lab.file is not None:
        rows = held[list(stage.question.space.names)].to_dict("records")
        recipes = [{str(name): value for name, value in row.items()} for row in rows]
        return np.array([measured(lab, row, HELD_FROM + i, stage.last_cycle) for i, row in enumerate(recipes)])
    rng = np.random.default_rng(1)
    return truth * np.exp(0.12 * rng.standard_normal(len(held)) + 0.05 * rng.standard_normal(len(held)))


def held_out(space: Any, recommended: dict[str, Any]) -> pd.DataFrame:
    """Recipes to be judged by: half anywhere, half around the recommended one."""
    anywhere = space.sample(HELD_OUT // 2, seed=12345)
    centre = np.repeat(space.encode(pd.DataFrame([recommended])), 4 * HELD_OUT, axis=0)
    numeric = np.array([not hasattr(p, "choices") for p in space.parameters])
    moved = np.clip(centre + 0.1 * numeric * np.random.default_rng(2).standard_normal(centre.shape), 0, None)
    near = space.decode(np.where(numeric, np.minimum(moved, 1.0), moved))
    near = near[space.feasible(near)].drop_duplicates().head(HELD_OUT // 2)
    held: pd.DataFrame = pd.concat([anywhere, near], ignore_index=True)
    return held


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.set_defaults(levels="biased")
    args = parser.parse_args()
    seeds = bench.span(args.seeds)
    stages: tuple[int, ...] = STAGES
    if args.quick:
        seeds, stages = seeds[:2], (10, 20)
    check(args.campaign, args.lab)
    tasks = [(level, seed, stages, args.campaign, args.lab) for level in args.levels.split(",") for seed in seeds]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(run, tasks):
            rows += found
            print(found[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(f"90 % intervals of held-out outcomes and the stopping rule's chance; labs {args.seeds}")
    shown = table.groupby(["level", "trials"])[["covered", "covered_noisy", "width", "stated", "happened"]].mean()
    print(shown.round(3).to_string())
    print("\nthe stopping rule's chance, by what it stated: mean stated, how often it happened, looks")
    print(_by_stated(table).round(3).to_string())
    bench.picture("calibration", lambda figure: _draw(figure, shown.reset_index()))
    goals = []
    for (level, trials), row in zip(shown.index.tolist(), shown.to_dict("records"), strict=True):
        goals.append(bench.goal(f"{level}: coverage after {trials} trials", row["covered"], 0.80, sense=">="))
        goals.append(bench.goal(f"{level}: coverage after {trials} trials, not too wide", row["covered"], 0.97))
    off = float(abs(table["stated"].mean() - table["happened"].mean()))
    goals.append(bench.goal("chance stated by the stopping rule against what happened (points / 100)", off, 0.10))
    bench.save(args.json, {"rows": rows, "goals": goals})


def _by_stated(table: pd.DataFrame) -> pd.DataFrame:
    """What happened where the rule said so much: means that agree can hide a rule that always states the same."""
    stated = pd.cut(table["stated"], [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0], include_lowest=True)
    return table.groupby(["level", stated], observed=True).agg(
        chance=("stated", "mean"), happened=("happened", "mean"), looks=("happened", "size")
    )


def _draw(figure: Any, shown: pd.DataFrame) -> None:
    axes = figure.add_subplot()
    for level, part in shown.groupby("level"):
        axes.plot(part["trials"], 100 * part["covered"], "o-", label=f"{level}: noise-free outcome")
        axes.plot(part["trials"], 100 * part["covered_noisy"], "s--", label=f"{level}: next measurement")
    axes.axhspan(80, 97, color="#0072B2", alpha=0.12)
    axes.set(xlabel="trials", ylabel="within the 90 % interval (%)", ylim=(0, 100))
    axes.legend(frameon=False)


if __name__ == "__main__":
    bench.entry(main)
