"""Would it have found the published recipe? The published history without it, and the physics recalibrated without it.

    python benchmarks/rediscovery.py

Every published row (powder included) mixed at 2000 rpm for 5 h is left out; the physics is calibrated to the rest; its
ensemble is the prior of an Optimiser that is told the remaining measured capacities at the objective's cycle. Printed,
whatever they are: the first four proposals, and the rank of the published recipe among 10 000 random ones.
"""

from __future__ import annotations

from typing import Any

import _bench as bench
import numpy as np
import pandas as pd

SPEED_RPM, TIME_H = 2000.0, 5.0
RANDOM, DRAWS, STARTS = 10_000, 64, 4
PUBLISHED = {"speed_rpm": SPEED_RPM, "time_h": TIME_H, "active_wt_pct": 22.75, "sse": "LPSCl"}


def main() -> None:
    """Leave out, recalibrate, propose, rank."""
    parser = bench.arguments(__doc__, seeds="0-0")
    parser.add_argument("--starts", type=int, default=STARTS, help="starts of the calibration")
    args = parser.parse_args()
    n_random, starts = (2000, 1) if args.quick else (RANDOM, args.starts)
    from flows.rehearse import read_question
    from models import facts
    from models.calibrate import calibrate
    from models.simulate import ensemble
    from models.virtual_lab_plug import one_thread

    one_thread()
    rows = facts.read()
    left_out = rows["speed_rpm"].eq(SPEED_RPM) & rows["time_h"].eq(TIME_H)
    print(
        f"{int(left_out.sum())} of {len(rows)} published rows are mixed at {SPEED_RPM:g} rpm for {TIME_H:g} h and left out"
    )
    parameters = calibrate(rows[~left_out].reset_index(drop=True), starts=starts).parameters
    _, materials, question = read_question(args.campaign)
    name = question.objective.outcome

    def physics(recipes: pd.DataFrame) -> np.ndarray:
        return ensemble(
            question.designs(recipes), name, draws=DRAWS, seed=7, materials=materials, parameters=parameters
        )

    optimiser = _told(question, physics, rows[~left_out])
    proposals = optimiser.ask(4, explain=True)
    print(f"first four proposals ({len(optimiser.trials)} measured results of this objective were left to learn from):")
    print(proposals.drop(columns=["reason"], errors="ignore").round(3).to_string(index=False))
    random = question.space.sample(n_random, seed=11)
    believed = optimiser.predict(pd.concat([pd.DataFrame([PUBLISHED]), random], ignore_index=True))["mean"].to_numpy()
    prior = physics(pd.concat([pd.DataFrame([PUBLISHED]), random], ignore_index=True)).mean(axis=0)
    ranks = {
        what: int((values[1:] > values[0]).sum()) + 1 for what, values in (("believed", believed), ("prior", prior))
    }
    for what, rank in ranks.items():
        print(
            f"rank of the published recipe by the {what} mean among {n_random} random ones: {rank} (best {rank / n_random:.1%})"
        )
    bench.picture("rediscovery", lambda figure: _draw(figure, believed))
    bench.save(args.json, {"left_out": int(left_out.sum()), "ranks": ranks, "proposals": proposals.to_dict("records")})


def _told(question: Any, physics: Any, rows: pd.DataFrame) -> Any:
    """The chooser, told what the remaining rows measured of the objective within the campaign's space and protocol."""
    from campaign.outcome import composite_mg_cm2, cycle_of
    from surrogate import Optimiser

    optimiser = Optimiser(question.space, "max", prior=physics, seed=7, descriptors=dict(question.space.descriptors))
    same = {"active": "S", "loading_mg_cm2": 4, "current_mA_cm2": 0.67, "stack_pressure_MPa": 70, "anode": "Li-In"}
    kept = rows[
        rows["observable"].eq("discharge_areal_capacity") & (rows["cycle"] == cycle_of(question.objective.outcome))
    ]
    for column, value in same.items():
        kept = kept[kept[column] == value]
    kept = kept[kept["premill_h"].fillna(0).eq(0) & kept["heat_h"].fillna(0).eq(0) & kept["relation"].eq("=")]
    recipes = kept[list(question.space.names)].reset_index(drop=True)
    inside = question.space.feasible(question.space.snap(recipes)) if len(recipes) else np.zeros(0, bool)
    if inside.any():
        designs = question.designs(recipes[inside])
        values = kept["value"].to_numpy()[inside] / composite_mg_cm2(designs).to_numpy() * 1000
        optimiser.tell(recipes[inside], values)
    return optimiser


def _draw(figure: Any, believed: np.ndarray) -> None:
    axes = figure.add_subplot()
    axes.hist(believed[1:], bins=60, color="#0072B2", alpha=0.6, label="random recipes")
    axes.axvline(believed[0], color="#D55E00", label="published recipe (left out)")
    axes.set(xlabel="believed mean, mAh per g of composite", ylabel="recipes")
    axes.legend(frameon=False)


if __name__ == "__main__":
    bench.entry(main)
