"""Generate `published_trials.csv` from `models/paper_facts.csv`: one row a measurement, grouped into trials.

A published trial is one recipe under one protocol; powder rows have no protocol and make trials of their own, because the
paper does not say that they are of the same batch. Run from the repo root: `python examples/make_published_trials.py`.
"""

from pathlib import Path

import pandas as pd

DOI = "10.1126/science.adt1882"
RECIPE = [
    "active", "sse", "speed_rpm", "time_h", "premill_h", "premill_speed_rpm", "heat_C", "heat_h",
    "active_wt_pct", "sse_wt_pct", "carbon_wt_pct", "carbon",
]  # fmt: skip
# What the paper states once for all of its mixing (mixer class, ZrO2 balls 5:1, 30 min on / 30 min rest) and cycling.
CONTEXT = {"mixer": "AR-100", "ball_ratio": "5", "duty": "0.5"}
TEMPERATURE = {"temperature_C": "25"}
PROTOCOL = ["loading_mg_cm2", "current_mA_cm2", "stack_pressure_MPa", "anode"]
MEASUREMENT = [
    "observable", "cycle", "relation", "value", "unit", "rel_uncertainty", "abs_uncertainty", "provenance", "use",
    "id", "where", "note",
]  # fmt: skip


def published_trials(facts: pd.DataFrame) -> pd.DataFrame:
    """Group the facts into trials `P01`, `P02`, …; every row keeps its fact id, provenance and the DOI."""
    key = facts[RECIPE + PROTOCOL].astype(str).agg("|".join, axis=1)
    numbers = {text: f"P{number:02d}" for number, text in enumerate(dict.fromkeys(key), start=1)}
    cells = facts["loading_mg_cm2"].ne("")
    mixed = facts["speed_rpm"].astype(float).gt(0)
    out = facts[RECIPE].assign(**{name: mixed.map({True: value, False: ""}) for name, value in CONTEXT.items()})
    out = out.join(facts[PROTOCOL].assign(**{name: cells.map({True: v, False: ""}) for name, v in TEMPERATURE.items()}))
    out = out.join(facts[MEASUREMENT].rename(columns={"id": "fact"}))
    out.insert(0, "trial", key.map(numbers))
    out["doi"] = DOI
    return out.sort_values(["trial", "fact"], kind="stable")


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    facts = pd.read_csv(root / "models/paper_facts.csv", dtype=str, keep_default_na=False)
    published_trials(facts).to_csv(root / "examples/published_trials.csv", index=False, lineterminator="\n")
