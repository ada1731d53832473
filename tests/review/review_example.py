"""A realistic campaign view: 24 simulated trials of 100 cycles beside 15 published cells. Values are made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from review import Axis, CampaignView, Diagnosis, Objective, PriorInfluence, Provenance, Recommendation

OBJECTIVE = "discharge_capacity_cycle_100_mAh_g_composite"
SSES = ("LPSCl", "LPSBr", "LPSClBr", "LPSClI", "SS7", "LGPS")
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
_HALIDE = {"LPSCl": 1.0, "LPSBr": 0.97, "LPSClBr": 0.99, "LPSClI": 1.03, "SS7": 0.42, "LGPS": 0.3}
_PUBLISHED = (  # trial, evaluator, speed, time, wt%, sse, {cycle: mAh cm-2}
    ("paper-2000rpm-5h", 2000, 5, 22.75, "LPSCl", {1: 6.28, 35: 7.85, 100: 6.21}),
    ("paper-2000rpm-1h", 2000, 1, 22.75, "LPSCl", {1: 4.65, 2: 2.4, 16: 3.05, 100: 0.55}),
    ("paper-2000rpm-10h", 2000, 10, 22.75, "LPSCl", {1: 6.1, 2: 4.4, 16: 5.75, 100: 2.3}),
    ("paper-400rpm-5h", 400, 5, 22.75, "LPSCl", {1: 1.07, 2: 0.2, 100: 0.08}),
    ("paper-1500rpm-5h", 1500, 5, 22.75, "LPSCl", {1: 6.8, 2: 4.4, 25: 4.16}),
    ("paper-premill", 400, 5, 22.75, "LPSCl", {1: 0.108, 2: 0.02, 25: 0.004}),
    ("paper-heat-100C", 2000, 1, 22.75, "LPSCl", {1: 4.84, 2: 2.56, 50: 2.08}),
    ("paper-heat-145C", 2000, 1, 22.75, "LPSCl", {1: 5.4, 2: 3.84, 50: 3.2}),
    ("paper-LPSClI", 2000, 5, 22.75, "LPSClI", {1: 6.6, 25: 7.3, 50: 4.75}),
    ("paper-LPSBr", 2000, 5, 22.75, "LPSBr", {1: 6.2, 25: 6.9, 50: 5.5}),
    ("paper-LGPS", 2000, 5, 22.75, "LGPS", {1: 4.9, 2: 2.0, 50: 1.1}),
    ("paper-SS7", 2000, 5, 22.75, "SS7", {1: 4.3, 50: 1.9}),
    ("paper-LPSClBr", 2000, 5, 22.75, "LPSClBr", {50: 6.5}),
    ("paper-S32.5", 2000, 5, 32.5, "LPSCl", {50: 5.9}),
    ("paper-Se", 2000, 5, 22.75, "LPSCl", {1: 3.9, 20: 4.4, 100: 4.2}),
)


def truth(speed_rpm: Any, time_h: Any, wt_pct: Any, sse: str) -> Any:
    """A made-up ridge: mAh per g of composite at cycle 100."""
    dose = np.asarray(time_h) * (np.asarray(speed_rpm) / 2000.0) ** 3.0
    gain = np.exp(-0.5 * (np.log(np.maximum(dose, 1e-3) / 4.4) / 0.55) ** 2)
    load = np.exp(-0.5 * ((np.asarray(wt_pct) - 27.0) / 8.0) ** 2)
    return 385.0 * gain * load * _HALIDE[sse] + 4.0


def example_trials(n: int = 24, *, seed: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    rows, cycles = [], []
    for i in range(n):
        focus = i / n
        speed = float(np.round(rng.uniform(400 + 1100 * focus, 2000) / 25) * 25)
        time = float(np.round(rng.uniform(0.5, 12) * (1 - focus) * 4 + focus * 4.4 * (2000 / speed) ** 3 * 4) / 4)
        time = float(np.clip(time, 0.5, 12))
        wt_pct = round(float(rng.uniform(15, 40) * (1 - focus) + 27 * focus), 2)
        sse = str(rng.choice(SSES[:4] if i > 8 else SSES))
        value = float(truth(speed, time, wt_pct, sse)) * float(rng.normal(1, 0.02))
        areal = value * 4.0 / (wt_pct / 100) / 1000
        cycle = np.arange(1, 101)
        shape = 1 + 0.24 * (1 - np.exp(-cycle / 8)) * np.exp(-((cycle - 30) ** 2) / 4000) - 0.0011 * cycle
        capacity = areal * shape / shape[-1]
        trial_id = f"T{i + 1:03d}"
        cycles.append(
            pd.DataFrame(
                {
                    "trial_id": trial_id,
                    "cycle": cycle,
                    "discharge_areal_capacity_mAh_cm2": capacity,
                    "charge_areal_capacity_mAh_cm2": capacity * 0.998,
                    "coulombic_efficiency": 0.998,
                    "mean_discharge_voltage_V": 1.25 - 0.0004 * cycle,
                }
            )
        )
        rows.append(
            {
                "trial_id": trial_id,
                "sequence": i + 1,
                "revision": 1,
                "evaluator": "physics",
                "state": "completed",
                "speed_rpm": speed,
                "time_h": time,
                "active": "S",
                "active_wt_pct": wt_pct,
                "sse": sse,
                "sse_wt_pct": 50.0,
                "carbon": "KB+C45",
                "carbon_wt_pct": 50 - wt_pct,
                OBJECTIVE: value,
                "discharge_areal_capacity_cycle_100_mAh_cm2": areal,
                "discharge_areal_capacity_cycle_1_mAh_cm2": float(capacity[0]),
                "capacity_retention_cycle_100_pct": float(100 * capacity[-1] / capacity[0]),
                "mixing_energy_kJ_g": float(12 * time * (speed / 2000) ** 3),
                "predicted_mean": value * float(rng.normal(1, 0.08)),
                "predicted_p05": value * 0.82,
                "predicted_p95": value * 1.17,
                "reason": (
                    "first design: spread over the space"
                    if i < 8
                    else f"expected {value:.0f} ± {value * 0.08:.0f}; tests the ridge at {speed:.0f} rpm"
                ),
                "proposed_at": START + timedelta(minutes=i),
                "finished_at": START + timedelta(minutes=i, seconds=40),
            }
        )
    trials = pd.DataFrame(rows)
    trials["best"] = trials[OBJECTIVE].eq(trials[OBJECTIVE].max())
    return trials, pd.concat(cycles, ignore_index=True)


def example_published() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, cycles = [], []
    for i, (trial_id, speed, time, wt_pct, sse, points) in enumerate(_PUBLISHED):
        rows.append(
            {
                "trial_id": trial_id,
                "sequence": i + 1,
                "revision": 1,
                "evaluator": "published",
                "state": "completed",
                "speed_rpm": float(speed),
                "time_h": float(time),
                "active": "Se" if trial_id == "paper-Se" else "S",
                "active_wt_pct": wt_pct,
                "sse": sse,
                OBJECTIVE: points[100] / (4.0 / (wt_pct / 100)) * 1000 if 100 in points else np.nan,
                "source": "doi 10.1126/science.adt1882, Fig 3",
                "finished_at": START,
            }
        )
        cycles.append(
            pd.DataFrame(
                {"trial_id": trial_id, "cycle": list(points), "discharge_areal_capacity_mAh_cm2": list(points.values())}
            )
        )
    return pd.DataFrame(rows), pd.concat(cycles, ignore_index=True)


def example_diagnosis(trials: pd.DataFrame, *, seed: int = 3) -> Diagnosis:
    """A model whose intervals are right, but for one result that contradicts the others."""
    rng = np.random.default_rng(seed)
    z = np.clip(rng.standard_normal(len(trials)), -1.6, 1.6)
    flagged = np.arange(len(trials)) == 2
    z[flagged] = -1.2
    sd = 20.0
    predicted = trials[OBJECTIVE].to_numpy() - sd * z
    parity = trials[["trial_id", "evaluator", "speed_rpm", "time_h", "active_wt_pct", "sse"]].assign(
        found=trials[OBJECTIVE], predicted=predicted, p05=predicted - 1.645 * sd, p95=predicted + 1.645 * sd, z=z,
        flagged=flagged, repeated=False,
    )  # fmt: skip
    sensitivity = pd.DataFrame(
        {"parameter": ["speed_rpm", "time_h", "active_wt_pct", "sse"], "first": [0.3, 0.2, 0.01, 0.1]}
    ).assign(total=[0.6, 0.45, 0.02, 0.2])
    prior = PriorInfluence(trust=0.55, trust_before=0.73, log_odds=np.log(30.0), log_odds_before=np.log(9.0))
    return Diagnosis(parity=parity, sensitivity=sensitivity, prior=prior)


def example_view(n: int = 24, **changes: Any) -> CampaignView:
    trials, cycling = example_trials(n)
    published, published_cycling = example_published()
    speeds, times = np.linspace(400, 2000, 33), np.linspace(0.5, 12, 24)
    speed, time = (axis.ravel() for axis in np.meshgrid(speeds, times))
    mean = truth(speed, time, 27.5, "LPSClI")
    surface = pd.DataFrame(
        {"speed_rpm": speed, "time_h": time, "mean": mean, "sd": 8 + 30 * (1 - speed / 2000) + 2 * time}
    )
    surface["probability"] = np.clip(1 - (1 - mean / mean.max()) / 0.1, 0, 1)
    ridge_speed = np.arange(1500.0, 2001.0, 50.0)
    ridge = pd.DataFrame({"speed_rpm": ridge_speed, "time_h": np.round(4.4 * (2000 / ridge_speed) ** 3, 2)})
    ridge["mean"] = truth(ridge.speed_rpm, ridge.time_h, 27.5, "LPSClI")
    ridge["probability"] = np.linspace(0.55, 0.93, len(ridge))
    best = trials.groupby("sse")[OBJECTIVE].max()
    sses = pd.DataFrame({"sse": SSES, "mean": [385 * _HALIDE[sse] for sse in SSES]})
    sses["p05"], sses["p95"], sses["best_tried"] = sses["mean"] * 0.9, sses["mean"] * 1.08, sses["sse"].map(best)
    sses.loc[sses["sse"].eq("SS7"), ["p05", "p95", "best_tried"]] = [90.0, 260.0, np.nan]
    view = CampaignView(
        name="lpscl_sulfur",
        objective=Objective(name=OBJECTIVE, label="Discharge capacity at cycle 100", unit="mAh per g of composite"),
        evaluator="physics",
        provenance=Provenance(
            made_at=START + timedelta(hours=1),
            seed=7,
            ledger="/home/lab/mixwright-data/ledger.db",
            data_hash="sha256:9f2c1b7e",
            versions={"mixwright": "0.1.0", "torch": "2.13.0", "botorch": "0.16.1", "campaign file": "version 1"},
            command="mixwright run examples/lpscl_sulfur.yaml",
        ),
        space=(
            Axis(name="speed_rpm", low=400, high=2000),
            Axis(name="time_h", low=0.5, high=12),
            Axis(name="active_wt_pct", low=15, high=40),
            Axis(name="sse", choices=SSES),
        ),
        trials=trials,
        cycling=cycling,
        published=published,
        published_cycling=published_cycling,
        recommendation=Recommendation(
            recipe={"speed_rpm": 1950.0, "time_h": 4.75, "active": "S", "active_wt_pct": 27.5, "sse": "LPSClI"},
            mean=391.2,
            p05=362.0,
            p95=418.5,
            trust=None,
            sentences=(
                "Mix at 1950 rpm for 4.75 h net, 27.5 wt% S in LPSClI: expected 391 mAh per g of composite at cycle 100 "
                "(90 % interval 362 to 419).",
                "Any speed from 1650 to 2000 rpm does as well if the time follows: 7.8 h at 1650 rpm, 4.4 h at 2000 rpm.",
                "Next, look at 1700 rpm and 7 h: the model is least sure there.",
            ),
            notes=(
                "The best speed stands near its upper bound (2000 rpm): a faster mixer may do better.",
                "S wt% is not identified apart from carbon wt%: the published rule ties them (carbon = 50 − S).",
            ),
        ),
        window=ridge,
        surface=surface,
        surface_at="S 27.5 wt%, LPSClI",
        electrolytes=sses,
        diagnosis=example_diagnosis(trials),
    )
    return replace(view, **changes)
