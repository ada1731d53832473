"""The benchmarks on virtual labs: which stored run answers which question, and what is refused."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from campaign import materials
from campaign.space import SearchSpace
from campaign.spec import Objective
from flows.early_evidence import EarlyEvidence, Seen
from models.virtual_lab import Question
from models.virtual_lab_plug import OpenLab

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import _bench as bench  # noqa: E402 - found by the path above
import ablations  # noqa: E402 - found by the path above
import bounds  # noqa: E402 - found by the path above
import calibration  # noqa: E402 - found by the path above
import early_curves  # noqa: E402 - found by the path above
import lab_calendar  # noqa: E402 - found by the path above
import sample_efficiency  # noqa: E402 - found by the path above

CAMPAIGN = (ROOT / "benchmarks" / "_campaign.yaml").read_text()


def copy(folder: Path, *changes: tuple[str, str]) -> str:
    """A campaign of the same file name in a folder of its own, with lines changed or put before the budget."""
    text = CAMPAIGN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    path = folder / "_campaign.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "change",
    [
        ("channels: 8", "channels: 9"),
        ("goal: max", "goal: min"),
        ("prior: physics", "prior: none"),
        ("budget:", "outcome_constraints:\n  - {outcome: mixing_time_h, at_most: 5}\nbudget:"),
        ("budget:", "fixed: {duty: 0.4}\nbudget:"),
    ],
)
def test_a_stored_run_is_no_answer_to_another_campaign_of_the_same_file_name(tmp_path: Path, change: tuple[str, str]):
    asked = bench.campaign_hash(copy(tmp_path / "a", change))
    assert asked != bench.campaign_hash(copy(tmp_path / "b"))


def test_a_stored_run_answers_a_campaign_with_another_name_title_and_budget(tmp_path: Path):
    other = copy(
        tmp_path, ("campaign: benchmark_sulfur", "campaign: other"), ("title: Sulfur", "title: S"), ("60", "40")
    )
    assert bench.campaign_hash(other) == bench.campaign_hash(str(bench.CAMPAIGN))


def test_the_runs_that_are_stored_on_the_calendar_are_found():
    traces = bench.Traces("lab_calendar", fresh=range(0), ours="")
    assert any(bench.campaign_hash(str(bench.CAMPAIGN)) in key for key in traces.known)


# ---- what a script is given --------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, script: ModuleType, *arguments: str) -> str:
    """What a script that is refused says."""
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        bench.entry(script.main)
    assert "\n" not in str(ended.value.code)
    return str(ended.value.code)


@pytest.mark.parametrize("script", [sample_efficiency, calibration, bounds, lab_calendar])
def test_a_campaign_with_bounds_is_refused_where_methods_see_the_objective_alone(tmp_path, monkeypatch, script):
    bounded = ("budget:", "outcome_constraints:\n  - {outcome: mixing_time_h, at_most: 5}\nbudget:")
    said = run(monkeypatch, script, "--campaign", copy(tmp_path, bounded))
    assert said.startswith(f"{script.__name__}.py: ") and "outcome_constraints" in said


def test_methods_that_ask_the_physics_are_refused_where_there_is_none(tmp_path, monkeypatch):
    without = copy(tmp_path, ("prior: physics", "prior: none"))
    said = run(monkeypatch, sample_efficiency, "--campaign", without, "--methods", "mixwright,baybe-transfer")
    assert "prior: none" in said
    assert "prior: none" in run(monkeypatch, ablations, "--campaign", without, "--variants", "one draw")


def test_a_lab_of_ones_own_is_not_measured_by_our_generator(monkeypatch):
    said = run(monkeypatch, bounds, "--kinds", "generator", "--lab", "own.py:factory")
    assert "--lab own.py:factory" in said


def test_what_a_faulty_lab_raises_is_said_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text("def factory(seed, level):\n    raise ValueError('channel burnt')")
    own = ["--lab", f"{tmp_path / 'own.py'}:factory", "--seeds", "100-100", "--levels", "biased"]
    assert "channel burnt (line 2)" in run(monkeypatch, lab_calendar, *own)


def test_runs_against_a_lab_of_ones_own_are_kept_apart_from_the_stored_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "OUT", tmp_path)
    traces = bench.Traces("lab_calendar", fresh=range(0), ours="", lab="own.py:factory")
    assert not traces.known
    traces.put({"seed": 1}, {"days": 3})
    assert traces.path.is_relative_to(tmp_path) and str(traces.path) in capsys.readouterr().err
    assert bench.Traces("lab_calendar", fresh=range(0), ours="", lab="own.py:factory").get({"seed": 1}) == {"days": 3}


# ---- a lab of one's own ------------------------------------------------------------------------------------------------


class Flat:
    """Capacity is the mixing time in mAh cm-2, and a cell gives half of it; those of less than an hour die."""

    def mix(self, recipe, context, day):
        return recipe["time_h"]

    def powder(self, mix):
        return {}

    def cycle(self, cell, n):
        n = n if cell.mix >= 1 else 0
        return [cell.mix / 2] * n, [2.0] * n

    def best(self):
        return 1.0

    def truth(self, recipes):
        return recipes["time_h"].to_numpy(float)


def stage(goal: str = "max") -> SimpleNamespace:
    outcome = "discharge_areal_capacity_cycle_10_mAh_cm2"
    question = Question(SearchSpace.of({"time_h": (0.5, 12.0)}), {"cycles": 10}, Objective(outcome=outcome, goal=goal))
    own = OpenLab(Flat(), question, file="own.py:factory")
    return SimpleNamespace(question=question, last_cycle=10, prior=None, lab=lambda seed: own)


def test_the_next_measurement_of_a_lab_of_ones_own_is_its_own():
    of, held = stage(), pd.DataFrame({"time_h": [4.0, 0.5, 8.0]})
    found = calibration._measurements(of, of.lab(1), held, held["time_h"].to_numpy())
    assert found == pytest.approx([2.0, np.nan, 4.0], nan_ok=True)


def test_where_the_least_is_wanted_more_is_not_within_reach(monkeypatch):
    """The first recipe asked for gives more than the best of 1: without a sign that counted as better."""
    monkeypatch.setattr(bounds, "worlds", lambda stage, level: None)
    asked = iter([12.0, 6.0, 1.02])

    class Asked:
        def __init__(self, *given, **more):
            pass

        def ask(self):
            return 0, {"time_h": next(asked)}

        def tell(self, number, value):
            pass

    monkeypatch.setattr(bounds, "Ours", Asked)
    assert bounds.trials_with_generator(stage("min"), "biased", 1) == {"trials": 3, "reached": True}


def test_what_is_recommended_last_stands_for_the_rest_of_the_half_year():
    ended = ablations.half_year(pd.Series([1.0, 0.5, 0.1], index=[3, 4, 5]))
    assert ended == pytest.approx((1.0 + 0.5 + 0.1 * (ablations.HALF_YEAR - 2)) / ablations.HALF_YEAR)
    assert ablations.half_year(pd.Series([0.2] * ablations.HALF_YEAR + [9.0] * 50)) == pytest.approx(0.2)


def test_cells_under_way_are_foretold_and_held_against_their_own_end():
    """Twelve cells lose 1 % a cycle: nine have ended, one is half way, one will die, one has not begun."""
    whole = 4.0 * np.exp(-0.01 * np.arange(10))

    def seen(number: int, cycles: int) -> Seen:
        state = "ended" if cycles == 10 else "running"
        return Seen(number, {"time_h": 1.0 + number}, {"surface_halide_to_P": 2.0}, whole[:cycles], state)

    cells = [*(seen(number, 10) for number in range(9)), seen(9, 5), seen(10, 5), replace(seen(11, 0), state="mixing")]
    of = stage()
    early = EarlyEvidence(of.question.space, of.question.conditions, of.question.outcomes, materials=materials.load())
    ends = dict.fromkeys([*range(10), 11], float(np.log(whole[-1])))
    rows = early_curves.scored(pd.DataFrame(early_curves.foretold(early, cells, ends, 10)))
    assert list(rows["kind"]) == [early_curves.WHOLE, early_curves.NO_POWDER, early_curves.CARRIED]
    assert rows["promising"].all() and (rows["seen"] == 5).all()
    told, blind, carried = rows["off"]
    assert told == pytest.approx(blind, abs=1e-9)
    assert abs(told) < 0.01 and carried == pytest.approx(0.05)
    assert rows["score"].isna().tolist() == [False, False, True]
