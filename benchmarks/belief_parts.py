"""What each part of the belief is worth on the same results: prior, its ensemble, descriptors of the electrolytes.

    python benchmarks/belief_parts.py --seeds 100-119
    python benchmarks/belief_parts.py --quick

Our Optimiser, whole, chooses trials in each lab (final results, lab noise). After 10, 20 and 40 the same results are told to
it with one part off: the prior; the ensemble cut to its mean draw; descriptors; prior and descriptors. Each is judged on 200
recipes that were not tried (half anywhere, half around the recommended one) and, with all results of one electrolyte withheld
at a time, on recipes of that electrolyte: by the interval score of its 90 % intervals (Gneiting & Raftery 2007, eq. 43, doi
10.1198/016214506000001437: width plus 20 times what lies outside, as share of the lab's best; less is better, and neither a wide
nor a daring belief can cheat it), by coverage, and by how far the recipe that it recommends is below the best.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import _bench as bench
import numpy as np
import numpy.typing as npt
import pandas as pd
from ablations import mean_draw
from calibration import held_out
from sample_efficiency import Ours, check, measured, stage_of

from campaign.errors import Refusal

Floats = npt.NDArray[np.float64]
WHOLE, STAGES, ALPHA = "whole", (10, 20, 40), 0.1
VARIANTS = (WHOLE, "prior off", "one draw", "descriptors off", "prior and descriptors off")
PARTS = {
    "the prior": (WHOLE, "prior off"),
    "its ensemble": (WHOLE, "one draw"),
    "descriptors": (WHOLE, "descriptors off"),
    "descriptors where there is no prior": ("prior off", "prior and descriptors off"),
}
"""Each part: a variant with it, and the same without."""
FEWEST_LEFT, OF_A_NAME = 5, 60
"""Results that must be left when an electrolyte's are withheld, and recipes of it that are predicted."""


def optimiser(stage: Any, variant: str, seed: int) -> Any:
    """Our chooser with a part off, told nothing."""
    from surrogate import Optimiser

    question, prior, descriptors = stage.question, stage.prior, dict(stage.question.space.descriptors)
    if variant.startswith("prior"):
        prior = None
    if variant == "one draw":
        prior = partial(mean_draw, prior)
    space = question.space
    if "descriptors" in variant:
        space, descriptors = replace(space, descriptors={}), {}
    return Optimiser(space, question.objective.goal, prior=prior, descriptors=descriptors or None, seed=seed)


def run(task: tuple[str, int, tuple[int, ...], str, str | None]) -> list[dict[str, Any]]:
    """One lab: a row for each stage, variant and kind of recipes."""
    level, seed, stages, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    lab, chooser = stage.lab(seed), Ours(stage, seed, prior=True)
    recipes: list[dict[str, Any]] = []
    values: list[float] = []
    rows = []
    for number in range(max(stages)):
        key, recipe = chooser.ask()
        recipes.append(recipe)
        values.append(measured(lab, recipe, number, stage.last_cycle))
        chooser.tell(key, values[-1])
        if number + 1 in stages:
            told, held = pd.DataFrame(recipes), held_out(stage.question.space, chooser.recommended())
            for variant in VARIANTS:
                about = {"level": level, "seed": seed, "trials": number + 1, "variant": variant}
                made = optimiser(stage, variant, seed)
                made.tell(told, np.array(values))
                rows.append(about | {"of": "any recipe"} | judged(lab, made, held) | {"below": below(stage, lab, made)})
                rows += [about | found for found in withheld(stage, lab, variant, seed, told, np.array(values))]
    return rows


def withheld(stage: Any, lab: Any, variant: str, seed: int, told: pd.DataFrame, values: Floats) -> list[dict[str, Any]]:
    """Rows for the names of the categories that have descriptors, each predicted without any result of it."""
    space, rows = stage.question.space, []
    for category in space.categories:
        if category.name not in space.descriptors:
            continue
        for name in category.choices:
            left = (told[category.name] != name).to_numpy()
            if left.all() or np.isfinite(values[left]).sum() < FEWEST_LEFT:
                continue
            held = space.sample(OF_A_NAME, seed=54321).assign(**{category.name: name})
            held = held[space.feasible(held)]
            made = optimiser(stage, variant, seed)
            made.tell(told[left], values[left])
            rows.append({"of": f"{category.name} without a trial", **judged(lab, made, held)})
    return rows


def judged(lab: Any, made: Any, held: pd.DataFrame) -> dict[str, float]:
    """Interval score and coverage of 90 % intervals of n recipes' noise-free outcomes."""
    truth, known, best = lab.truth(held), made.predict(held), abs(lab.best().value)
    low, high = known["p05"].to_numpy(), known["p95"].to_numpy()
    outside = np.maximum(low - truth, 0.0) + np.maximum(truth - high, 0.0)
    return {
        "score": float((high - low + 2.0 / ALPHA * outside).mean() / best),
        "covered": float((outside == 0.0).mean()),
        "width": float(np.median(high - low) / best),
    }


def below(stage: Any, lab: Any, made: Any) -> float:
    """How far the recommended recipe is below the lab's best, as share of it."""
    best, sign = lab.best().value, 1.0 if stage.question.objective.goal == "max" else -1.0
    return float(sign * (best - lab.truth(made.recommend()[list(stage.question.space.names)])[0]) / abs(best))


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    args = parser.parse_args()
    stages: tuple[int, ...] = STAGES
    seeds, levels = bench.span(args.seeds), args.levels.split(",")
    if args.quick:
        seeds, stages, levels = seeds[:1], (10,), levels[:1]
    if check(args.campaign, args.lab).prior == "none":
        raise Refusal(f"{args.campaign}: with prior: none there is no prior to turn off; write prior: physics")
    tasks = [(level, seed, stages, args.campaign, args.lab) for level in levels for seed in seeds]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(run, tasks):
            rows += found
            print(f"{found[0]['level']} lab {found[0]['seed']}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(
        f"labs {args.seeds}; score: of 90 % intervals, share of the best, less is better; below: of the recommended recipe"
    )
    columns = ["score", "covered", "width", "below"]
    print(table.groupby(["level", "of", "trials", "variant"], sort=False)[columns].mean().round(3).to_string())
    bench.picture("belief_parts", lambda figure: _draw(figure, table), width=10)
    bench.save(args.json, {"rows": rows, "parts": verdicts(table)})


def verdicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """With each part over without it, labs paired, over all stages; printed and returned."""
    found = []
    for (level, of), rows in table.groupby(["level", "of"], sort=False):
        for column in ("score", "below"):
            wide = rows.pivot_table(index="seed", columns="variant", values=column)
            for part, (with_it, without) in PARTS.items():
                if without not in wide:  # of an electrolyte without a trial nothing is recommended
                    continue
                centre, low, high = bench.ratio(wide[with_it], wide[without])
                print(
                    f"{level}, {of}: {column} {centre:.2f} ({low:.2f} to {high:.2f}) of that without {part}, {len(wide)} labs"
                )
                found.append({"level": level, "of": of, "column": column, "part": part, "ratio": [centre, low, high]})
    return found


def _draw(figure: Any, table: pd.DataFrame) -> None:
    kinds = list(dict.fromkeys(table["of"]))
    for axis, of in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        part = table[table["of"] == of]
        wide = part.pivot_table(index="variant", columns="level", values="score").loc[list(VARIANTS)]
        wide.plot.barh(ax=axis, legend=of == kinds[0])
        axis.set(title=of, xlabel="score of 90 % intervals, share of the best (less is better)", ylabel="")
        axis.invert_yaxis()
        if of != kinds[0]:
            axis.set_yticklabels([])


if __name__ == "__main__":
    bench.entry(main)
