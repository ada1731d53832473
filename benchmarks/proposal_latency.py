"""Time to a proposal, ours against Ax, BayBE and Optuna, on the same history and in the same run.

    python benchmarks/proposal_latency.py --quick

Peers are optional (`pip install .[peers]`); one that is not installed is left out and named. Each peer runs as its own
documentation says; taking in the history is timed apart. Ours is timed prior off and on (an ensemble of 64 draws), from
told history to recipes: the fit is inside. Beyond 100 trials our fits start from milestones (100, 200, 400, …) of the
same history, which a running campaign has in memory: the last trial is told after they are met.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for everybody: more threads are slower at these sizes
sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402 - after the thread count is set
import pandas as pd  # noqa: E402 - after the thread count is set
from optimiser_problems import Problem, draw_problem, measure  # noqa: E402 - after the thread count is set

SIZES, BATCHES = (10, 50, 200, 1000), (1, 4)
Ask = Callable[[int], Any]


def history(problem: Problem, n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The same n results for everybody."""
    from campaign.space import SearchSpace

    recipes = SearchSpace.of(problem.space).sample(n, seed=seed)
    return recipes, measure(problem.truth(recipes), "quiet", np.random.default_rng(seed))


def ours(problem: Problem, recipes: pd.DataFrame, values: np.ndarray, *, prior: bool) -> Ask:
    """Our chooser; the milestones of a long history are met before the clock starts, as in a running campaign."""
    from surrogate import Optimiser

    opt = Optimiser(problem.space, prior=problem.prior if prior else None, seed=0)
    if len(recipes) > 100:
        opt.tell(recipes.iloc[:-1], values[:-1])
        opt.recommend()
        opt.tell(recipes.iloc[-1:], values[-1:])
    else:
        opt.tell(recipes, values)
    return opt.ask


def optuna_gp(problem: Problem, recipes: pd.DataFrame, values: np.ndarray) -> Ask:
    """Optuna's GPSampler, told that data are noisy."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GPSampler(seed=0, deterministic_objective=False)
    )
    distributions: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(given)
        if isinstance(given, list)
        else optuna.distributions.FloatDistribution(*given)
        for name, given in problem.space.items()
    }
    study.add_trials(
        [
            optuna.trial.create_trial(params=row, distributions=distributions, value=float(value))
            for row, value in zip(recipes.to_dict("records"), values, strict=True)
        ]
    )
    return lambda q: [study.ask(distributions) for _ in range(q)]


def ax(problem: Problem, recipes: pd.DataFrame, values: np.ndarray) -> Ask:
    """Ax's client with its default strategy."""
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    client = Client(random_seed=0)
    client.configure_experiment(
        parameters=[
            ChoiceParameterConfig(name=name, values=given, parameter_type="str", is_ordered=False)
            if isinstance(given, list)
            else RangeParameterConfig(name=name, bounds=tuple(map(float, given)), parameter_type="float")
            for name, given in problem.space.items()
        ]
    )
    client.configure_optimization(objective="value")
    # Ax's first proposal would be the centre of the space, whatever was told: no model, no time.
    client.configure_generation_strategy(initialize_with_center=False)
    for row, value in zip(recipes.to_dict("records"), values, strict=True):
        index = client.attach_trial(parameters=row)
        client.complete_trial(trial_index=index, raw_data={"value": float(value)})
    return lambda q: client.get_next_trials(max_trials=q)


def baybe(problem: Problem, recipes: pd.DataFrame, values: np.ndarray) -> Ask:
    """BayBE's campaign with its default recommender."""
    from baybe import Campaign
    from baybe.parameters import CategoricalParameter, NumericalContinuousParameter
    from baybe.searchspace import SearchSpace as BaybeSpace
    from baybe.targets import NumericalTarget

    parameters = [
        CategoricalParameter(name, given) if isinstance(given, list) else NumericalContinuousParameter(name, given)
        for name, given in problem.space.items()
    ]
    campaign = Campaign(BaybeSpace.from_product(parameters), NumericalTarget("value").to_objective())
    campaign.add_measurements(recipes.assign(value=values))
    ask: Ask = campaign.recommend
    return ask


METHODS: dict[str, tuple[str, Callable[..., Ask]]] = {
    "ours, no prior": ("numpy", lambda *given: ours(*given, prior=False)),
    "ours, prior": ("numpy", lambda *given: ours(*given, prior=True)),
    "Optuna GP": ("optuna", optuna_gp),
    "Ax": ("ax", ax),
    "BayBE": ("baybe", baybe),
}


def main() -> None:
    """Time everybody."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 and 50 trials only")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated, by start of name")
    parser.add_argument("--seeds", default="100-100")
    parser.add_argument("--json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sizes = [10, 50] if args.quick else [int(size) for size in args.sizes.split(",")]
    first, last = (int(part) for part in args.seeds.split("-"))
    rows = []
    for name, (module, make) in METHODS.items():
        if not name.startswith(tuple(args.methods.split(","))):
            continue
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed, left out")
            continue
        print(name, file=sys.stderr, flush=True)
        warm_up(make)
        for seed in range(first, last + 1):
            rows += [row | {"method": name, "seed": seed} for row in timings(make, sizes, seed)]
    table = pd.DataFrame(rows)
    print("seconds to a proposal (wall); `cpu` is the processor time of the same call, free of what else ran")
    print(table.pivot_table(index="method", columns=["n", "q"], values="wall_s", sort=False).round(2).to_string())
    print(table.pivot_table(index="method", columns=["n", "q"], values="cpu_s", sort=False).round(2).to_string())
    goals(table)
    draw(table)
    if args.json:
        Path(args.json).write_text(json.dumps(rows), encoding="utf-8")


def warm_up(make: Callable[..., Ask]) -> None:
    """Imports and first-call set-up are no part of a proposal."""
    problem = draw_problem("dose ridge", "biased", 0)
    make(problem, *history(problem, 8, 0))(1)


def timings(make: Callable[..., Ask], sizes: list[int], seed: int) -> list[dict[str, Any]]:
    """Time q = 1 and q = 4, each on a history of its own taking in."""
    problem = draw_problem("dose ridge", "biased", seed)
    rows = []
    for n in sizes:
        for q in BATCHES:
            ask = make(problem, *history(problem, n, seed))
            wall, cpu = time.perf_counter(), time.process_time()
            ask(q)
            rows.append({"n": n, "q": q, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu})
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def goals(table: pd.DataFrame) -> None:
    """Compare with the faster of Ax and BayBE."""
    mean = table.groupby(["method", "n", "q"])["wall_s"].mean()
    for n in sorted(set(table.n)):
        for q in BATCHES:
            peers = [mean[m, n, q] for m in ("Ax", "BayBE") if (m, n, q) in mean]
            for name in ("ours, no prior", "ours, prior"):
                if not peers or (name, n, q) not in mean:
                    continue
                goal = 0.2 if n >= 1000 else 0.5
                ratio = mean[name, n, q] / min(peers)
                word = "met" if ratio <= goal else "short"
                what = f"latency {name}, n={n} q={q}, of the faster of Ax and BayBE"
                print(f"GOAL {what}: measured {ratio:.2f}, goal <= {goal:.2f}: {word}")


def draw(table: pd.DataFrame) -> None:
    """Draw seconds against results."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, q in zip(axes, BATCHES, strict=True):
        for name, rows in table[table.q == q].groupby("method", sort=False):
            mean = rows.groupby("n")["wall_s"].mean()
            axis.loglog(mean.index, mean, marker="o", label=str(name))
        axis.set(xlabel="results told", title=f"q = {q}")
    axes[0].set_ylabel("seconds to a proposal")
    axes[0].legend(frameon=False, fontsize=8)
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    figure.savefig(out / "proposal_latency.png", dpi=130)


if __name__ == "__main__":
    main()
