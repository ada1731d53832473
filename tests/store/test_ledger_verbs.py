"""What each verb of the ledger does, refuses and says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ledger_kit import DECISION, NOW, WHO, cycles, designs, later, new_ledger, scalar, small_campaign

from campaign.errors import Refusal
from campaign.trial import Decision
from store import Ledger, Stale


@pytest.fixture
def lab(tmp_path: Path) -> Ledger:
    return small_campaign(tmp_path)


# ---- campaigns -----------------------------------------------------------------------------------------------------------
def test_an_edited_spec_is_a_new_version_and_the_same_spec_is_none(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    assert ledger.spec("c") is None
    specs = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}, {"a": 1, "b": 2})
    assert [ledger.put_campaign("c", spec, **WHO) for spec in specs] == [1, 1, 2, 3]
    assert ledger.spec("c") == (3, {"a": 1, "b": 2})
    assert ledger.spec("c", 2) == (2, {"a": 2})
    assert ledger.spec("c", 9) is None
    versions = ledger.campaigns()
    assert list(versions["version"]) == [1, 2, 3]
    assert versions["sha256"][0] == versions["sha256"][2] != versions["sha256"][1]


def test_a_trial_keeps_the_version_that_it_was_proposed_under(lab: Ledger) -> None:
    lab.put_campaign("c", {"name": "c", "budget": 40}, **WHO)
    lab.propose("c", designs(1), DECISION, evaluator="lab", trials_seen=3, key="later", **WHO)
    assert list(lab.trials("c")["campaign_version"]) == [1, 1, 1, 2]


def test_an_unknown_campaign_is_refused_with_the_nearest(lab: Ledger) -> None:
    lab.put_campaign("lpscl_sulfur", {}, **WHO)
    with pytest.raises(Refusal, match="no campaign 'lpscl_sulphur': did you mean lpscl_sulfur"):
        lab.propose("lpscl_sulphur", designs(1), DECISION, evaluator="lab", trials_seen=0, key="k", **WHO)


# ---- proposals -----------------------------------------------------------------------------------------------------------
def test_a_proposal_keeps_its_reasons(tmp_path: Path) -> None:
    ledger = small_campaign(tmp_path, trials=0)
    table = designs(2).assign(acquisition=[0.5, np.nan], reason=["unsure here", None], predicted_mean=[400.0, 410.0])
    table["predicted_p05"], table["predicted_p95"] = 380.0, 430.0
    why = Decision(
        model_version="gp-2",
        seed=2**40,
        data_seq=1,
        data_sha256="ab",
        outcome="q",
        trust_in_prior=0.25,
        details={"fit": 1.5},
    )
    assert ledger.propose("c", table, why, evaluator="physics", trials_seen=0, key="k", **WHO) == ["T0001", "T0002"]
    first, second = ledger.decisions("c").to_dict("records")
    assert (first["acquisition"], first["reason"], first["predicted_mean"]) == (0.5, "unsure here", 400.0)
    assert (first["seed"], first["trust_in_prior"], json.loads(first["details"])) == (2**40, 0.25, {"fit": 1.5})
    assert np.isnan(second["acquisition"]) and pd.isna(second["reason"])
    assert (second["predicted_p05"], second["predicted_p95"], second["model_version"]) == (380.0, 430.0, "gp-2")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sped_rpm", 1.0, "did you mean speed_rpm"),
        ("speed_rpm", np.inf, "not a finite number"),
        ("speed_rpm", "fast", "not a finite number"),
        ("predicted_mean", np.inf, "not a finite number"),
    ],
)
def test_a_design_that_cannot_be_stored_is_refused_whole(tmp_path: Path, column: str, value: Any, words: str) -> None:
    ledger = small_campaign(tmp_path, trials=0)
    table = designs(2).astype(object)
    table[column] = [1.0, value]
    with pytest.raises(Refusal, match=words):
        ledger.propose("c", table, DECISION, evaluator="lab", trials_seen=0, key="k", **WHO)
    assert ledger.trials("c").empty and ledger.seq == 1


def test_trust_and_evaluator_are_checked(tmp_path: Path) -> None:
    ledger = small_campaign(tmp_path, trials=0)
    wrong = Decision(model_version="m", seed=1, data_seq=1, data_sha256="", outcome="q", trust_in_prior=1.5)
    with pytest.raises(Refusal, match="between 0 and 1"):
        ledger.propose("c", designs(1), wrong, evaluator="lab", trials_seen=0, key="k", **WHO)
    with pytest.raises(Refusal, match="no evaluator"):
        ledger.propose("c", designs(1), DECISION, evaluator="laboratory x", trials_seen=0, key="k", **WHO)


def test_published_trials_come_in_with_just_what_was_measured(lab: Ledger) -> None:
    table = pd.DataFrame({"speed_rpm": [2000.0, np.nan], "sse": ["LPSCl", None]}, index=["F001", "F002"])
    found = pd.DataFrame(
        {
            "design": ["F001", "F001", "F002"],
            "observable": "surface_halide_to_P",
            "unit": "1",
            "value": [2.0, 3.0, 1.0],
            "relation": [">=", "<=", "="],
            "rel_uncertainty": [np.nan, np.nan, 0.05],
        }
    )
    record = cycles("x", [5.0, 4.5]).drop(columns="subject").assign(design="F002")
    doi = {"F001": {"doi": "10.1126/science.adt1882", "facts": ["F001"]}}
    for _ in range(2):  # the same import twice is one
        ids = lab.add_trials(
            "c", table, evaluator="published", key="facts", results=found, cycling=record, provenance=doi, **WHO
        )
    assert ids == ["T0004", "T0005"]
    trials = lab.trials("c").loc[ids]
    assert list(trials["state"]) == ["completed"] * 2 and list(trials["evaluator"]) == ["published"] * 2
    assert not trials["planned"].any()
    assert trials["speed_rpm"].isna().tolist() == [False, True] and pd.isna(trials["sse"].iloc[1])
    assert json.loads(trials["provenance"].iloc[0])["doi"] == "10.1126/science.adt1882"
    assert list(lab.results("c")["relation"]) == [">=", "<=", "="]
    assert list(lab.cycling("c")["subject"]) == ["T0005", "T0005"]
    with pytest.raises(Refusal, match="design 'F009', which is no row"):
        lab.add_trials("c", table, evaluator="published", key="k", results=found.assign(design="F009"), **WHO)
    with pytest.raises(Refusal, match="completed or testing"):
        lab.add_trials("c", table, evaluator="published", key="k", state="proposed", **WHO)
    with pytest.raises(Refusal, match="same row label"):
        lab.add_trials("c", table.set_axis(["a", "a"]), evaluator="published", key="k", **WHO)


# ---- mixing and testing --------------------------------------------------------------------------------------------------
def test_a_lab_trial_from_sheet_to_completion(lab: Ledger) -> None:
    lab.issue(["t1"], key="1", **WHO)
    assert lab.trial("T1").state == "issued"
    assert lab.mixed("T1", key="2", details={"lot": "A"}, **WHO) == "T0001-M1"
    assert lab.trial("T1").state == "mixing"
    ids = [lab.start("T1-M1", key=f"s{n}", channel=str(n), active_mass_mg=3.1, area_cm2=0.785, **WHO) for n in (1, 2)]
    assert ids == ["T0001-M1-C1", "T0001-M1-C2"]
    assert lab.trial("T1").state == "testing"
    assert lab.stop(ids[0], key="5", why="shorted", **WHO) == "stopped"
    assert lab.complete(ids[1], key="6", **WHO) == "completed"
    assert lab.complete("T1", key="7", **WHO) == "completed"
    assert list(lab.cells("c")["state"]) == ["stopped", "completed"]
    assert list(lab.cells("c")["channel"]) == ["1", "2"]
    story = lab.history("T1")
    assert [tuple(row) for row in story[["verb", "subject"]].to_numpy()][:4] == [
        ("propose", "T0001"),
        ("issue", "T0001"),
        ("plan", "T0001-M1"),
        ("mix", "T0001-M1"),
    ]
    assert "shorted" in set(story["why"].dropna())
    assert (story["by"] == "Ada").all() and (story["at"] == NOW).all()


def test_a_cell_that_starts_before_its_mix_was_told_says_so_for_both(lab: Ledger) -> None:
    assert lab.start("T2", key="1", **WHO) == "T0002-M1-C1"
    assert lab.mixes("c").loc["T0002-M1", "state"] == "mixed"
    assert lab.trial("T2").state == "testing"
    assert lab.start("T2-M3-C4", key="2", **WHO) == "T0002-M3-C4"
    assert lab.start("T2-M3", key="3", **WHO) == "T0002-M3-C5"
    assert lab.mixed("T2", key="4", **WHO) == "T0002-M4"


def test_what_was_mixed_may_differ_and_both_stand(lab: Ledger) -> None:
    lab.mixed("T1", key="1", recipe_done={"speed_rpm": 2600.0, "active_wt_pct": 22.1}, **WHO)
    done, asked = lab.trials("c").loc["T0001"], lab.trials("c", recipe="asked").loc["T0001"]
    assert (done["speed_rpm"], asked["speed_rpm"]) == (2600.0, 1000.0)
    assert (done["active_wt_pct"], done["time_h"]) == (22.1, 3.0)
    assert done["recipe_differs"] and not lab.trials("c").loc["T0002", "recipe_differs"]
    trial = lab.trial("T1")
    assert trial.recipe_asked["speed_rpm"] == 1000.0 and trial.recipe["speed_rpm"] == 2600.0
    lab.amend(why="misread", subjects={"T1": {"recipe_done": {"speed_rpm": 1060.0}}}, key="2", **WHO)
    assert lab.trials("c").loc["T0001", "speed_rpm"] == 1060.0
    assert lab.as_of(lab.seq - 1).trials("c").loc["T0001", "speed_rpm"] == 2600.0


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda led: led.mixed("T9", key="k", **WHO), "no trial T0009 in the ledger: did you mean T0003|known are"),
        (lambda led: led.stop("T1-M1-C1", key="k", **WHO), "no cell T0001-M1-C1 in the ledger: T0001 has none yet"),
        (lambda led: led.mixed("T1-M1-C1", key="k", **WHO), "is a cell; what is mixed is a mix: T0001-M1"),
        (lambda led: led.issue(["T1-M1"], key="k", **WHO), "is a mix; this is done to a whole trial: T0001"),
        (lambda led: led.mixed("T1", key="k", recipe_done={"rpm": 1}, **WHO), "column 'rpm' is not known"),
        (lambda led: led.start("T1", key="k", active_mass_mg=-1.0, **WHO), "must be more than 0"),
        (lambda led: led.start("T1", key="k", area_cm2=0.0, **WHO), "must be more than 0"),
        (lambda led: led.start("T1", key="k", protocol={"speed_rpm": 1}, **WHO), "column 'speed_rpm' is not known"),
        (lambda led: led.amend(why="w", subjects={"T1": {"state": "failed"}}, key="k", **WHO), "cannot be amended"),
        (lambda led: led.amend(why=" ", subjects={"T1": {"protocol": {}}}, key="k", **WHO), "needs a reason"),
        (lambda led: led.fail("T1", why="w", key="", **WHO), "needs a key"),
        (lambda led: led.fail("T1", why="w", key="k", at=NOW, by=" "), "a name of who did it"),
        (
            lambda led: led.fail("T1", why="w", key="k", at=datetime(2026, 3, 1, 9), by="Ada"),
            r"no zone; write it like .*\+00:00",
        ),
        (lambda led: led.undo("T1", key="k", **WHO), "cannot undo a trial that is proposed"),
    ],
)
def test_a_wrong_word_from_the_lab_is_refused_and_changes_nothing(lab: Ledger, act: Any, words: str) -> None:
    before = lab.seq
    with pytest.raises(Refusal, match=words):
        act(lab)
    assert lab.seq == before and lab.mixes("c").empty


def test_an_imported_trial_can_be_excluded_and_taken_back_but_not_unmade(lab: Ledger) -> None:
    lab.add_trials("c", designs(1), evaluator="earlier", key="old", **WHO)
    assert lab.exclude("T4", why="wrong mass", key="1", **WHO) == "excluded"
    assert lab.undo("T4", key="2", **WHO) == "completed"
    with pytest.raises(Refusal, match="as it was first recorded"):
        lab.undo("T4", key="3", **WHO)


# ---- results ---------------------------------------------------------------------------------------------------------------
def test_results_of_trial_mix_and_cell_stand_with_all_that_was_given(lab: Ledger) -> None:
    lab.start("T1", key="s", **WHO)
    table = pd.concat(
        [
            scalar("T1", 1.0),
            scalar("t1-m1", 2.0, rel_uncertainty=0.05, provenance="XRD", note="two regions"),
            scalar("T1-M1-C1", 3.0, cycle=100, relation=">=", abs_uncertainty=0.1, file="ab"),
        ]
    )
    assert lab.record(results=table, key="r", **WHO) == {"results": [1, 2, 3], "cycles": 0}
    found = lab.results("c")
    assert list(found["subject"]) == ["T0001", "T0001-M1", "T0001-M1-C1"]
    assert list(found["relation"]) == ["=", "=", ">="]
    assert found["cycle"].tolist()[2] == 100 and found["cycle"].isna().tolist() == [True, True, False]
    assert (found["note"][1], found["provenance"][1], found["rel_uncertainty"][1]) == ("two regions", "XRD", 0.05)
    assert (found["file"][2], found["abs_uncertainty"][2]) == ("ab", 0.1)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"results": scalar("T9")}, "no trial T0009"),
        ({"results": scalar("T1-M1")}, "no mix T0001-M1"),
        ({"results": scalar("T1", np.inf)}, "not a finite number"),
        ({"results": scalar("T1", np.nan)}, "column value: is empty"),
        ({"results": scalar("T1", colour="red")}, "'colour' is no part of a result"),
        ({"results": scalar("T1").drop(columns="unit")}, "needs the column 'unit'"),
        ({"results": scalar("T1", relation="~")}, "must be =, >= or <="),
        ({"results": scalar("T1", cycle=0)}, "no number from 1 on"),
        ({"cycling": cycles("T1", [1.0, 1.0]).assign(cycle=1)}, "cycle 1 stands twice"),
        ({"cycling": cycles("T1", [1.0]).assign(cycle=1.5)}, "no number from 1 on"),
        ({"cycling": cycles("T1", [1.0], ended_at="yesterday")}, "no time; write it like"),
        ({"results": scalar("T1"), "cycling": cycles("T2-M1-C1", [1.0])}, "no cell T0002-M1-C1"),
        ({"results": scalar("T1"), "complete": ["T9"]}, "no trial T0009"),
    ],
)
def test_a_table_with_one_fault_is_refused_whole(lab: Ledger, tables: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        lab.record(key="k", **tables, **WHO)
    assert lab.results("c").empty and lab.cycling("c").empty


@pytest.mark.parametrize("state", ["proposed", "issued", "completed", "failed", "abandoned", "excluded"])
def test_late_results_are_never_refused(lab: Ledger, state: str) -> None:
    verb = {
        "issued": "issue",
        "completed": "complete",
        "failed": "fail",
        "abandoned": "abandon",
        "excluded": "exclude",
    }.get(state)
    if verb == "issue":
        lab.issue(["T1"], key="1", **WHO)
    elif verb:
        getattr(lab, verb)("T1", key="1", why="w", **WHO)
    lab.record(results=scalar("T1"), key="2", **WHO)
    assert len(lab.results("c", with_excluded=True)) == 1
    assert len(lab.results("c")) == (state != "excluded")


def test_an_unplanned_cell_is_taken_and_marked(lab: Ledger) -> None:
    lab.record(cycling=cycles("T1-M2-C3", [1.0]), unplanned=True, key="k", **WHO)
    assert not lab.cells("c").loc["T0001-M2-C3", "planned"] and not lab.mixes("c").loc["T0001-M2", "planned"]
    assert len(lab.cycling("c")) == 1


def test_excluding_a_mix_or_cell_hides_what_hangs_on_it_and_no_more(lab: Ledger) -> None:
    for name in ("T1-M1-C1", "T1-M1-C2", "T1-M10-C1"):
        lab.record(results=scalar(name), cycling=cycles(name, [1.0]), unplanned=True, key=name, **WHO)
    lab.exclude("T1-M1-C2", why="short", key="1", **WHO)
    assert list(lab.results("c")["subject"]) == ["T0001-M1-C1", "T0001-M10-C1"]
    lab.exclude("T1-M1", why="wet", key="2", **WHO)
    assert list(lab.cycling("c")["subject"]) == ["T0001-M10-C1"]
    assert len(lab.cycling("c", with_excluded=True)) == 3
    lab.undo("T1-M1", key="3", **WHO)
    assert len(lab.results("c")) == 2


def test_a_file_that_grows_adds_cycles_and_a_repeated_one_adds_nothing(lab: Ledger) -> None:
    first = cycles("T1", [3.0, 2.9, 2.8], partial=[False, False, True])
    assert lab.record(cycling=first, key="week 1", **WHO)["cycles"] == 3
    assert lab.record(cycling=first, key="week 1 again", **WHO)["cycles"] == 0
    grown = cycles("T1", [3.0, 2.9, 2.85, 2.7], partial=False)
    assert lab.record(cycling=grown, key="week 2", **WHO)["cycles"] == 2
    found = lab.cycling("c")
    assert list(found["discharge_areal_capacity_mAh_cm2"]) == [3.0, 2.9, 2.85, 2.7] and not found["partial"].any()
    with pytest.raises(
        Refusal, match=r"T0001: cycle 2 is recorded with discharge_areal_capacity_mAh_cm2 = 2\.9, this says 2\.5"
    ):
        lab.record(cycling=cycles("T1", [3.0, 2.5]), key="week 3", **WHO)
    lab.amend(cycling=cycles("T1", [2.5], first=2), why="wrong unit", key="fix", **WHO)
    assert list(lab.cycling("c")["discharge_areal_capacity_mAh_cm2"]) == [3.0, 2.5, 2.85, 2.7]
    assert len(lab.cycling("c", superseded=True)) == 6


def test_an_amended_cycle_keeps_the_columns_that_were_not_amended(lab: Ledger) -> None:
    lab.record(
        cycling=cycles("T1", [3.0], coulombic_efficiency=0.99, ended_at="2026-03-02T10:00+02:00"), key="1", **WHO
    )
    lab.amend(cycling=cycles("T1", [2.5]), why="w", key="2", **WHO)
    (row,) = lab.cycling("c").to_dict("records")
    assert (row["discharge_areal_capacity_mAh_cm2"], row["coulombic_efficiency"]) == (2.5, 0.99)
    (old,) = lab.as_of(lab.seq - 1).cycling("c").to_dict("records")
    assert old["ended_at"] == pd.Timestamp("2026-03-02T08:00", tz="UTC")


def test_a_withdrawn_cycle_stays_so_when_its_file_comes_again(lab: Ledger) -> None:
    lab.record(cycling=cycles("T1", [3.0, 9.0]), key="1", **WHO)
    gone = pd.DataFrame({"subject": ["T1"], "cycle": [2]})
    lab.amend(withdraw_cycles=gone, why="power cut in the lab", key="2", **WHO)
    assert list(lab.cycling("c")["cycle"]) == [1]
    assert lab.record(cycling=cycles("T1", [3.0, 9.0, 2.9]), key="3", **WHO)["cycles"] == 1
    assert list(lab.cycling("c")["cycle"]) == [1, 3]
    with pytest.raises(Refusal, match="cycle 2 is not recorded"):
        lab.amend(withdraw_cycles=gone, why="again", key="4", **WHO)
    lab.amend(cycling=cycles("T1", [2.95], first=2), why="found the true file", key="5", **WHO)
    assert list(lab.cycling("c")["cycle"]) == [1, 2, 3]


def test_an_amendment_supersedes_and_the_old_value_stays_in_the_history(lab: Ledger) -> None:
    lab.record(results=scalar("T1", 62.8), key="1", **WHO)
    change = pd.DataFrame({"result": [1], "value": [6.28]})
    assert lab.amend(results=change, why="decimal point", key="2", **WHO)["results"] == [2]
    assert lab.results("c")["value"].tolist() == [6.28]
    both = lab.results("c", superseded=True)
    assert both["value"].tolist() == [62.8, 6.28] and both["supersedes"].tolist()[1] == 1
    assert (both["why"][1], both["unit"][1], both["observable"][1]) == ("decimal point", "um", "crystallite_size_um")
    with pytest.raises(Stale, match="superseded by result 2 already"):
        lab.amend(results=change, why="again", key="3", **WHO)
    with pytest.raises(Refusal, match="no result 99"):
        lab.amend(withdraw=[99], why="w", key="4", **WHO)
    lab.amend(withdraw=[2], why="wrong powder", key="5", **WHO)
    assert lab.results("c").empty
    with pytest.raises(Refusal, match="withdrawn already"):
        lab.amend(withdraw=[3], why="w", key="6", **WHO)
    assert lab.as_of(3).results("c")["value"].tolist() == [62.8]
    assert lab.as_of(4).results("c")["value"].tolist() == [6.28]


def test_several_results_are_corrected_in_one_word_each_with_all_that_was_known_of_it(lab: Ledger) -> None:
    both = pd.concat(
        [scalar("T1", 1.0, rel_uncertainty=0.1), scalar("T2", 2.0, abs_uncertainty=0.3)], ignore_index=True
    )
    first = lab.record(results=both, key="r", why="late from the other lab", **WHO)["results"]
    assert lab.results("c")["why"].to_list() == ["late from the other lab"] * 2
    new = lab.amend(results=pd.DataFrame({"result": first, "value": [1.5, 2.5]}), why="typo", key="a", **WHO)["results"]
    assert len(new) == 2 and set(new).isdisjoint(first)
    found = lab.results("c").set_index("result").loc[new]
    assert found["value"].to_list() == [1.5, 2.5] and found["why"].to_list() == ["typo"] * 2
    assert found["rel_uncertainty"].iloc[0] == 0.1 and found["abs_uncertainty"].iloc[1] == 0.3
    better = pd.DataFrame({"result": new[:1], "rel_uncertainty": [0.05]})
    mixed = lab.amend(results=better, withdraw=new[1:], why="measured again", key="b", **WHO)["results"]
    found = lab.results("c").set_index("result")
    assert found.index.to_list() == mixed[:1] and found["value"].to_list() == [1.5]
    assert found["rel_uncertainty"].to_list() == [0.05]


@pytest.mark.parametrize("column", ["value", "rel_uncertainty", "abs_uncertainty"])
def test_no_number_of_a_result_may_be_infinite_or_text(lab: Ledger, column: str) -> None:
    for wrong in (float("inf"), "much"):
        with pytest.raises(Refusal, match=f"column {column}: .* is not a finite number"):
            lab.record(
                results=scalar("T1", **({"value": wrong} if column == "value" else {column: wrong})), key="r", **WHO
            )
    assert lab.results("c").empty


def test_numbers_of_numpy_are_kept_as_the_numbers_that_they_are(lab: Ledger) -> None:
    details = {"mass_g": np.float64(2.5), "balls": np.int64(3), "dry": np.bool_(True), "lots": [np.float32(0.5)]}
    lab.mixed("T1", key="m", details=details, **WHO)
    assert json.loads(lab.mixes("c").loc["T0001-M1", "details"]) == {
        "mass_g": 2.5,
        "balls": 3,
        "dry": True,
        "lots": [0.5],
    }
    assert (
        lab.mixed("T1", key="m", details={"mass_g": 2.5, "balls": 3, "dry": True, "lots": [0.5]}, **WHO) == "T0001-M1"
    )


def test_what_the_lab_starts_by_itself_counts_as_planned(lab: Ledger) -> None:
    lab.start("T1-M1-C1", key="s", **WHO)
    lab.record(results=scalar("T2-M3"), unplanned=True, key="r", **WHO)
    planned = {**lab.mixes("c")["planned"], **lab.cells("c")["planned"]}
    assert {name: bool(value) for name, value in planned.items()} == {
        "T0001-M1": True,
        "T0001-M1-C1": True,
        "T0002-M3": False,
    }


def test_a_year_of_cycles_goes_in_quickly_and_whole(lab: Ledger) -> None:
    record = cycles("T1", list(np.linspace(5, 3, 450)), coulombic_efficiency=0.999)
    assert lab.record(cycling=record, key="k", **WHO)["cycles"] == 450
    found = lab.cycling("c")
    assert np.array_equal(found["discharge_areal_capacity_mAh_cm2"], np.linspace(5, 3, 450))
    assert list(found["cycle"]) == list(range(1, 451))


# ---- keys ------------------------------------------------------------------------------------------------------------------
def test_a_repeated_write_answers_the_same_at_any_later_time(lab: Ledger) -> None:
    answer = lab.mixed("T1", key="m", **WHO)
    lab.mixed("T1", key="m2", **WHO)
    assert lab.mixed("T1", key="m", at=later(days=9), by="Bob") == answer
    assert len(lab.mixes("c")) == 2
    with pytest.raises(
        Refusal, match=r"the key 'm' was used for another write \(mixed, 2026-03-01 09:30 UTC, by Ada\)"
    ):
        lab.mixed("T2", key="m", **WHO)
    with pytest.raises(Refusal, match="a new write needs a new key"):
        lab.fail("T1", why="w", key="m", **WHO)
