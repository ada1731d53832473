"""A lab campaign that begins with the physics as prior: numbers from the first proposal on, asked once, never told twice."""

import json

import numpy as np
import pandas as pd
import pytest
from tests_flows_shared import fill

from flows.prior import before_results

PRIOR = (
    ("evaluator: physics", "evaluator: lab\nprior: physics"),
    ("  sse: [LPSCl, LGPS]\n", ""),
    ("active_wt_pct: 22.75", "active_wt_pct: 22.75, sse: LPSCl"),
)
SECOND = "goal: max}\n  - {outcome: retention_cycle_100_pct, goal: max}\n  - {outcome: mixing_clock_h, goal: min}\n"


def test_the_first_proposals_come_with_what_the_physics_expects_and_the_physics_is_asked_once(
    run, data_dir, write_campaign
):
    path = write_campaign(*PRIOR)
    code, out, err = run("propose", path, "-q", 2, "--json")
    assert code == 0, err
    for row in json.loads(out):
        assert row["predicted_p05"] < row["predicted_mean"] < row["predicted_p95"]
        assert f"expects {row['predicted_mean']:.4g}" in row["reason"] and "No result yet" in row["reason"]
    assert "are those of most promise by the physics" in err
    (grid,) = (data_dir / "prior").rglob("*.safetensors")
    made = grid.stat().st_mtime_ns
    code, _, err = run("propose", path, "-q", 3, "--json")
    assert code == 0, err
    assert grid.stat().st_mtime_ns == made


def test_a_name_is_called_the_first_once_also_when_it_was_proposed_before():
    recipes = pd.DataFrame({"time_h": [1.0, 2.0, 3.0], "sse": ["LPSCl", "LPSBr", "LPSBr"]})
    told = before_results(recipes, lambda r: np.ones((5, len(r))), names=["sse"], earlier=recipes.head(1))
    assert told["reason"].str.contains("first of sse").tolist() == [False, True, False]
    fresh = before_results(recipes, lambda r: np.ones((5, len(r))), names=["sse"], earlier=recipes.head(0))
    assert fresh["reason"].str.contains("first of sse").tolist() == [True, True, False]


def test_the_reason_expects_no_more_than_a_cell_can_hold():
    recipes = pd.DataFrame({"time_h": [1.0, 2.0]})
    told = before_results(
        recipes, lambda r: np.full((5, len(r)), 900.0), names=[], earlier=recipes[:0], most=[650, 1000]
    )
    assert told["p95"].tolist() == [650, 900]
    assert "(650 to 650)" in told["reason"].iloc[0]


def test_results_are_learned_from_beside_the_prior(run, data_dir, write_campaign, tmp_path):
    del data_dir
    path, sheet = write_campaign(*PRIOR), tmp_path / "next.xlsx"
    code, out, err = run("propose", path, "-q", 3, "--sheet", sheet, "--json")
    assert code == 0, err
    cell = {"area (cm2)": 0.785, "active mass (mg)": 3.14, "state": "completed"}
    typed = {f"discharge areal capacity cycle {n} (mAh/cm2)": 6.0 for n in (1, 2, 100)}
    fill(sheet, {row["trial"]: {**cell, "cell id": f"A{i}", **typed} for i, row in enumerate(json.loads(out))})
    code, _, err = run("ingest", path, sheet, "--by", "Ada")
    assert code == 0, err
    code, out, err = run("propose", path, "-q", 1, "--json")
    assert code == 0 and "chosen from 3 measured results" in err
    (row,) = json.loads(out)
    assert row["predicted_p05"] < 341 < row["predicted_p95"]  # 6.0 mAh cm-2 of 4 mg cm-2, 22.75 wt%
    assert "No result yet" not in row["reason"]
    code, out, err = run("diagnostics", path, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["sentences"][0].startswith("Each of the 3 measured results was predicted from all others")
    assert told["sentences"][-1].startswith("The prior is trusted to explain ") and 0 < told["prior"]["trust"] < 1
    assert told["prior"]["trust_before"] == pytest.approx(0.73)


def test_a_prior_for_each_of_several_objectives(run, data_dir, write_campaign):
    del data_dir
    code, out, err = run("propose", write_campaign(*PRIOR, ("goal: max}\n", SECOND)), "-q", 1, "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("prior: physics", "prior: physics\nlearn_from: [published]"), "would count twice; leave one of the two out"),
        (("loading_mg_cm2: 4", "loading_mg_cm2: 9"), "write prior: none, to go without the physics"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_proposed(
    run, data_dir, write_campaign, change, sentence
):
    code, out, err = run("propose", write_campaign(*PRIOR, change), "-q", 1)
    assert code == 1 and sentence in err and "campaign.yaml" in err and not out
    assert not list(data_dir.rglob("*.safetensors"))


MANY_AXES = (
    *PRIOR,
    ("  time_h: {low: 0.5", "  current_mA_cm2: {low: 0.3, high: 1.5, step: 0.1}\n  time_h: {low: 0.5"),
    ("current_mA_cm2: 0.67, ", ""),
    ("  time_h: {low: 0.5", "  loading_mg_cm2: {low: 2, high: 5, step: 0.5}\n  time_h: {low: 0.5"),
    ("loading_mg_cm2: 4, ", ""),
    ("  time_h: {low: 0.5", "  active_wt_pct: {low: 15, high: 40, step: 0.5}\n  time_h: {low: 0.5"),
    (", active_wt_pct: 22.75", ""),
)
HELD = ("goal: max}\n", "goal: max}\noutcome_constraints:\n  - {outcome: retention_cycle_100_pct, at_least: 70}\n")


@pytest.fixture
def asked(monkeypatch):
    """Recipes that the physics was asked about, a number a call."""
    import models.physics_prior as physics

    counts, simulators = [], physics.simulators

    def counted(designs, outcomes, **rest):
        if rest["prior"]:  # each question is put to both halves of the simulators
            counts.append(len(designs))
        return simulators(designs, outcomes, **rest)

    monkeypatch.setattr(physics, "DRAWS", 8)
    monkeypatch.setattr(physics, "simulators", counted)
    return counts


def test_with_five_numbers_open_and_a_condition_the_physics_is_asked_as_with_three_and_once(
    run, data_dir, write_campaign, asked
):
    path = write_campaign(*MANY_AXES, HELD)
    code, _, err = run("propose", path, "-q", 1, "--json")
    assert code == 0, err
    assert sum(asked) < 1728 + 50
    assert "asking the physics about 1728 recipes" in err
    assert "retention_cycle_100_pct is interpolated, off by " in err
    kept = sorted(path.parent.name for path in (data_dir / "prior").rglob("*.safetensors"))
    assert kept == ["discharge_capacity_cycle_100_mAh_g_composite", "retention_cycle_100_pct"]
    before = len(asked)
    code, out, err = run("propose", path, "-q", 2, "--json")
    assert code == 0 and len(json.loads(out)) == 2 and "asking the physics" not in err
    assert sum(asked[before:]) < 50


def test_a_condition_on_an_outcome_is_judged_by_what_the_physics_says_of_it(
    run, data_dir, write_campaign, asked, tmp_path
):
    del data_dir
    from flows.choose import chooser
    from flows.session import open_session

    path, sheet = write_campaign(*PRIOR, HELD), tmp_path / "next.xlsx"
    code, out, err = run("propose", path, "-q", 3, "--sheet", sheet, "--json")
    assert code == 0, err
    assert sum(asked) < 625 + 50  # one pass for both outcomes
    session = open_session(path)
    recipes = session.space.sample(200, seed=2)
    cells = {"area (cm2)": 0.785, "active mass (mg)": 3.14, "state": "completed"}
    # As the physics says of these recipes, so that there is nothing against it.
    trials = json.loads(out)
    told = models_say(session, pd.DataFrame(trials)[list(session.space.names)])
    typed = {
        row["trial"]: {
            **cells,
            "cell id": f"A{i}",
            **{f"discharge areal capacity cycle {n} (mAh/cm2)": float(told[n][i]) for n in (1, 2, 100)},
        }
        for i, row in enumerate(trials)
    }
    fill(sheet, typed)
    code, _, err = run("ingest", path, sheet, "--by", "Ada")
    assert code == 0, err
    optimiser = chooser(session, session.reader).optimiser
    believed = optimiser.predict(recipes, outcome="retention_cycle_100_pct")["mean"]
    physics = models_say(session, recipes)
    retention = pd.Series(physics[100] / physics[1])
    assert believed.corr(retention, method="spearman") > 0.8


def models_say(session, recipes):
    """Discharge areal capacities at cycles 1, 2 and 100 by the physics' own middle, mAh cm-2."""
    from models import simulate

    cycling = simulate(session.spec.designs(recipes.reset_index(drop=True)), fidelity="quick").cycling
    areal = cycling.pivot_table(index="design", columns="cycle", values="discharge_areal_capacity_mAh_cm2")
    return {n: areal[n].to_numpy() for n in (1, 2, 100)}
