"""A lab campaign that begins with the physics as prior: numbers from the first proposal on, asked once, never told twice."""

import json
from pathlib import Path

import pytest
from tests_flows_shared import fill

CAMPAIGN = """\
campaign: with_prior
evaluator: lab
seed: 3
space:
  speed_rpm: {low: 1000, high: 2000, step: 25}
  time_h: {low: 0.5, high: 12, step: 0.25}
fixed: {active: S, active_wt_pct: 22.75, sse: LPSCl}
protocol: {loading_mg_cm2: 4, current_mA_cm2: 0.67, cycles: 100}
objectives:
  - {outcome: discharge_capacity_cycle_100_mAh_g_composite, goal: max}
budget: {trials: 6, batch: 3}
prior: physics
"""
SECOND = "objectives:\n  - {outcome: mixing_clock_h, goal: min}\n"


@pytest.fixture
def campaign(tmp_path):
    def write(*changes: tuple[str, str]) -> Path:
        text = CAMPAIGN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "campaign.yaml"
        path.write_text(text)
        return path

    return write


def test_the_first_proposals_come_with_what_the_physics_expects_and_the_physics_is_asked_once(run, data_dir, campaign):
    path = campaign()
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


def test_results_are_learned_from_beside_the_prior(run, data_dir, campaign, tmp_path):
    del data_dir
    path, sheet = campaign(), tmp_path / "next.xlsx"
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


def test_a_prior_for_each_of_several_objectives(run, data_dir, campaign):
    del data_dir
    code, out, err = run("propose", campaign(("objectives:\n", SECOND)), "-q", 1, "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("prior: physics", "prior: physics\nlearn_from: [published]"), "would count twice; leave one of the two out"),
        (("loading_mg_cm2: 4", "loading_mg_cm2: 9"), "write prior: none, to go without the physics"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_proposed(run, data_dir, campaign, change, sentence):
    code, out, err = run("propose", campaign(change), "-q", 1)
    assert code == 1 and sentence in err and "campaign.yaml" in err and not out
    assert not list(data_dir.rglob("*.safetensors"))
