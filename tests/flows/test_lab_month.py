"""A lab's month through the command line: what one command says, another says too, and nothing that came in is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from lab_kit import AREA, CAMPAIGN, DECISION, MASS, VARIED_LOADING, capacity_csv, changed_lab, cycler_csv, lab

from campaign.errors import Refusal
from flows import calibration, choose, evidence, people, under_test
from flows.answer import answer
from flows.people import Act
from flows.session import Session, now, open_session
from flows.take_in import take_in
from flows.today import today
from flows.view import campaign_view, trials_table
from review.report import render

Run = Callable[..., tuple[int, str, str]]
CELL = "T0001-M1-C1"
BOUND = "outcome_constraints: [{outcome: retention_cycle_20_pct, at_least: 99.9}]\nbudget:"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    opened = lab(tmp_path / "bench", monkeypatch)
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "bench" / "data"))  # `start` names no campaign
    return opened


def changed(session: Session, *changes: tuple[str, str]) -> Session:
    text = session.loaded.path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    session.loaded.path.write_text(text)
    return open_session(session.loaded.path)


def cell(session: Session, folder: Path, name: str, q: float, cycles: int = 20) -> None:
    people.start(session.ledger, name, Act("Ada", now()), channel=None, facts={"area_cm2": AREA})
    take_in(session, capacity_csv(folder / f"{name}.csv", range(1, cycles + 1), q), by="Ada")


# ---- what comes in ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("whole", [True, False])
def test_a_corrected_current_under_another_name_is_not_the_next_part_of_the_test(
    session: Session, tmp_path: Path, whole: bool
) -> None:
    """The voltages are those of the test that is here already; it was counted again as cycles 4 to 6."""
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9, 2.8])
    take_in(session, file, by="Ada", area_cm2=AREA)
    corrected = tmp_path / f"{CELL}_corrected.csv"
    corrected.write_text(file.read_text().replace("1.000000", "1.100000", -1 if whole else 26))
    with pytest.raises(Refusal, match=r"data row 1, current.*was -1, is -1.1.*--amend.*--continues"):
        take_in(session, corrected, by="Ada")
    take_in(session, corrected, by="Ada", amend=True, why="wrong shunt factor")
    found = session.ledger.cycling("bench").set_index("cycle")["discharge_capacity_mAh"]
    last = 3.08 if whole else 2.8
    assert found.round(2).to_dict() == {1: 3.3, 2: pytest.approx(3.19 if whole else 2.9), 3: last}


def test_a_mass_told_after_the_start_is_doubted_as_at_the_start(session: Session, run: Run, tmp_path: Path) -> None:
    run("start", CELL)
    _, said, _ = run("start", CELL, "--active-mass-mg", "31", "--area-cm2", str(AREA))
    assert "noted active_mass_mg 31.0" in said and "is it the mass of active, in mg?" in said
    other = "T0002-M1-C1"
    run("start", other)
    take_in(session, cycler_csv(tmp_path / f"{other}.csv", [3.0, 2.9]), by="Ada")
    code, _, refused = run("start", other, "--area-cm2", "0.008")
    assert code == 1 and "times what the active of this cell can hold" in refused
    assert pd.isna(session.ledger.cells("bench").loc[other, "area_cm2"])


def test_a_channel_that_the_lab_does_not_have_is_asked_about(session: Session, run: Run) -> None:
    _, said, _ = run("start", CELL, "--channel", "9")
    assert "counts 8 channels: is it channel 9?" in said
    for number, named in ((2, "8"), (3, "B12")):
        assert "is it channel" not in run("start", f"T000{number}-M1-C1", "--channel", named)[1]


def test_a_file_that_waits_for_its_cell_is_in_the_status_too(session: Session, run: Run, tmp_path: Path) -> None:
    take_in(session, cycler_csv(tmp_path / "monday.csv", [1.0, 0.9]), by="Ada")
    path = session.loaded.path
    (waits,) = today(session).unassigned
    assert waits in run("status", path)[1]
    assert json.loads(run("status", path, "--json")[1])["unassigned"] == [waits]


# ---- what is said ----------------------------------------------------------------------------------------------------
def test_the_best_so_far_is_one_trial_whatever_its_single_cells_gave(
    session: Session, run: Run, tmp_path: Path
) -> None:
    """One cell of T0001 is the best of all, the other the worst: in the mean T0002 is ahead, in the report as in the status."""
    for name, q in ((CELL, 4.9), ("T0001-M1-C2", 2.0), ("T0002-M1-C1", 4.0)):
        cell(session, tmp_path, name, q)
    best = json.loads(run("status", session.loaded.path, "--json")[1])["best"]
    table = trials_table(session, session.reader).set_index("trial_id")
    assert list(table.index[table["best"]]) == [best["trial"]] == ["T0002"]
    name = "discharge_capacity_cycle_20_mAh_g_composite"
    assert best[name] == pytest.approx(table.loc["T0002", name])


def test_why_there_is_no_best_is_in_the_json(session: Session, run: Run, tmp_path: Path) -> None:
    path = session.loaded.path
    assert json.loads(run("status", path, "--json")[1])["why_none"] == "no result yet"
    changed(session, ("budget:", BOUND))
    cell(session, tmp_path, CELL, 4.0)
    found = json.loads(run("status", path, "--json")[1])
    assert found["best"] is None and found["why_none"].startswith("none of the 1 results meets retention_cycle_20_pct")


def test_what_the_numbers_of_a_cell_are_is_said(session: Session, run: Run, tmp_path: Path) -> None:
    for trial, q in ((1, 4.6), (2, 4.5)):
        cell(session, tmp_path, f"T000{trial}-M1-C1", q, cycles=8)
    said = run("today", session.loaded.path)[1]
    assert "Under test (expected: discharge capacity at cycle 20, mAh g⁻¹ of composite)" in said
    assert json.loads(run("today", session.loaded.path, "--json")[1])["judged_by"].endswith("of composite")


def test_a_trial_that_failed_is_no_measured_result(session: Session, run: Run, tmp_path: Path) -> None:
    cell(session, tmp_path, CELL, 4.0)
    session.ledger.fail("T0002", key="f", at=now(), by="Ada", why="leaked")
    _, _, err = run("propose", session.loaded.path, "-q", "1")
    assert "chosen from 1 measured result and 1 trial that failed in this space and protocol" in err


def test_of_a_trial_without_result_nobody_says_that_it_breaks_a_bound(session: Session, tmp_path: Path) -> None:
    assert "meets_bounds" not in trials_table(session, session.reader)  # nothing is bounded
    session = changed(session, ("budget:", BOUND))
    cell(session, tmp_path, CELL, 4.0)
    met = trials_table(session, session.reader).set_index("trial_id")["meets_bounds"]
    assert met["T0001"] is False and met["T0002"] is None
    view, found = campaign_view(session)
    assert found is not None and render(view).count(">no<") == 1
    assert found.chance_met is not None and found.chance_met < 0.5
    assert "retention_cycle_20_pct at least 99.9 with a chance of " in found.sentences[0]
    assert "from 1 measured result." in found.sentences[0]


def test_every_objective_is_in_the_answer_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    two = (
        "goal: max}\n  - {outcome: discharge_areal_capacity_cycle_1_mAh_cm2, goal: max}\n"
        "  - {outcome: mixing_clock_h, goal: min}"
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("goal: max}", two))
    session = open_session(path)
    recipes = pd.DataFrame({"speed_rpm": [1500.0, 1800.0, 1200.0], "time_h": [3.0, 4.0, 2.0]})
    designs = session.spec.designs(recipes)
    session.ledger.propose("bench", designs, DECISION, evaluator="lab", trials_seen=0, key="plan", at=now(), by="Ada")
    for number, q in enumerate((4.0, 4.4, 3.0), start=1):
        cell(session, tmp_path, f"T000{number}-M1-C1", q)
    found = answer(session, choose.chooser(session, session.reader))
    assert found is not None
    first, clock = found.others
    assert first["outcome"].endswith("cycle_1_mAh_cm2") and 2.5 < first["p05"] < first["mean"] < first["p95"] < 6.7
    assert clock["mean"] == pytest.approx(2 * found.recipe["time_h"]) == clock["p95"]
    assert f"discharge capacity at cycle 1 {first['mean']:.4g} mAh cm⁻² (90 %: " in found.sentences[0]
    assert f", mixing time on the clock {clock['mean']:.4g} h, from 3 measured results." in found.sentences[0]
    assert found.chance_met is None
    view, _ = campaign_view(session)
    assert "mixing time on the clock (h), as small as possible" in render(view)
    best = json.loads(run("status", path, "--json")[1])["best"]
    assert {"discharge_areal_capacity_cycle_1_mAh_cm2", "mixing_clock_h"} < set(best)


def test_a_trial_is_shown_with_the_loading_that_its_cells_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Asked for 6 mg/cm2, loaded with 4: the report said 6 where the status said 4."""
    asked = {"speed_rpm": [1500.0], "time_h": [3.0], "loading_mg_cm2": [6.0]}
    session = changed_lab(tmp_path, monkeypatch, *VARIED_LOADING, **asked)
    facts = {"area_cm2": AREA, "active_mass_mg": 4.0 * AREA}
    people.start(session.ledger, CELL, Act("Ada", now()), channel=None, facts=facts)
    take_in(session, capacity_csv(tmp_path / f"{CELL}.csv", range(1, 21), 4.0), by="Ada")
    best = json.loads(run("status", session.loaded.path, "--json")[1])["best"]
    shown = trials_table(session, session.reader).set_index("trial_id")
    assert shown.loc["T0001", "loading_mg_cm2"] == pytest.approx(best["loading_mg_cm2"]) == pytest.approx(4.0)


def test_a_plot_that_there_is_not_is_refused_before_anything_is_reckoned(
    session: Session, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.view.campaign_view", lambda _: pytest.fail("the whole campaign was looked at first"))
    code, _, refused = run("plot", session.loaded.path, "best_so_fat")
    assert code == 1 and "did you mean best_so_far" in refused


# ---- batches of one trial --------------------------------------------------------------------------------------------
def test_each_cell_is_learned_from_as_its_own_batch_was_mixed(session: Session, run: Run, tmp_path: Path) -> None:
    """The second batch's recipe was taken for that of the first batch's cells too."""
    assert "time_h 4.5" in run("mixed", "T0001", "--time-h", "4.5")[1]
    run("mixed", "T0001-M2", "--time-h", "4.75")
    run("mixed", "T0001-M3")
    for name, q in ((CELL, 4.0), ("T0001-M2-C1", 4.1), ("T0001-M3-C1", 4.2)):
        cell(session, tmp_path, name, q)
    mixed = {4.0: 4.5, 4.1: 4.75, 4.2: 3.0}
    known = evidence.learnable(session.reader, session)
    gave = known.values["discharge_capacity_cycle_20_mAh_g_composite"]
    assert known.recipes["time_h"].iloc[gave.argsort()].to_list() == list(mixed.values())
    seen = {str(cell.number): cell.recipe["time_h"] for cell in under_test.cells(session, session.reader)}
    assert seen == {CELL: 4.5, "T0001-M2-C1": 4.75, "T0001-M3-C1": 3.0}
    mean = sum(mixed.values()) / 3
    assert trials_table(session, session.reader).set_index("trial_id").loc["T0001", "time_h"] == pytest.approx(mean)
    assert json.loads(run("status", session.loaded.path, "--json")[1])["best"]["time_h"] == pytest.approx(mean)
    # The physics is refitted to the same recipes; without a powder result it crashed.
    fitted = calibration.measured_rows(session.reader, session)
    assert sorted(set(fitted["time_h"])) == [3.0, 4.5, 4.75] and set(fitted["use"]) == {"fit"}
    # What is said of the whole trial is said of all its batches; of one batch, of that one.
    run("amend", session.loaded.path, "T0001", "--set", "speed_rpm=1450", "--why", "dial")
    run("amend", session.loaded.path, "T0001-M1", "--set", "time_h=4.25", "--why", "typo")
    again = evidence.learnable(session.reader, session).recipes
    assert set(again["speed_rpm"]) == {1450.0} and sorted(again["time_h"]) == [3.0, 4.25, 4.75]


def test_a_capacity_per_gram_of_composite_is_that_of_its_own_batch(session: Session, run: Run, tmp_path: Path) -> None:
    """Another share of active in the second batch made all capacities per area of the first batch others."""
    run("mixed", "T0001")
    people.start(
        session.ledger, CELL, Act("Ada", now()), channel=None, facts={"area_cm2": AREA, "active_mass_mg": MASS}
    )
    file = tmp_path / f"{CELL}.csv"
    file.write_text("cycle,discharge capacity (mAh/g composite)\n" + "\n".join(f"{n},200" for n in range(1, 21)))
    take_in(session, file, by="Ada")
    before = session.ledger.cycling("bench")["discharge_areal_capacity_mAh_cm2"].to_list()
    weighed = {"active": 0.6, "sse": 1.0, "carbon": 0.4}
    _, said, _ = run("mixed", "T0001-M2", *(f"--weighed-{part}-g={mass}" for part, mass in weighed.items()))
    assert "active_wt_pct 30" in said
    assert before == session.ledger.cycling("bench")["discharge_areal_capacity_mAh_cm2"].to_list()
    table = evidence.outcomes(session.reader, session)
    assert table.loc[CELL, "discharge_capacity_cycle_20_mAh_g_composite"] == pytest.approx(200.0)


# ---- what is measured and teaches nothing ----------------------------------------------------------------------------
def unlearned_of(session: Session, run: Run) -> list[str]:
    found = json.loads(run("status", session.loaded.path, "--json")[1])["look"]
    said = [text for text in found if "nothing is learned from it, as" in text]
    text = run("status", session.loaded.path)[1]
    assert all(sentence in text for sentence in said)
    assert said == [text for text in today(session).look if "nothing is learned from it, as" in text]
    return said


def test_a_cell_that_teaches_nothing_for_want_of_one_outcome_is_named(
    session: Session, run: Run, tmp_path: Path
) -> None:
    """Its capacity was measured, its retention was not, and it was left out without a word."""
    session = changed(session, ("budget:", BOUND))
    people.start(session.ledger, CELL, Act("Ada", now()), channel=None, facts={"area_cm2": AREA})
    take_in(session, capacity_csv(tmp_path / "late.csv", range(2, 21)), cell=CELL, by="Ada")
    running = "T0002-M1-C1"
    cell(session, tmp_path, running, 4.0, cycles=8)  # its early curve speaks for it
    cell(session, tmp_path, "T0003-M1-C1", 4.0)  # all is known of it
    (said,) = unlearned_of(session, run)
    assert said == (
        f"{CELL}: nothing is learned from it, as retention_cycle_20_pct is not known; hand in its record with cycle 1"
    )
    assert choose.chooser(session, session.reader).evidence.trials == ["T0003", "T0002"]
    whole = capacity_csv(tmp_path / "whole.csv", range(1, 21))
    take_in(session, whole, cell=CELL, by="Ada", amend=True, why="cycle 1 was in another file")
    assert unlearned_of(session, run) == []
    assert "T0001" in choose.chooser(session, session.reader).evidence.trials


def test_a_bounded_outcome_that_takes_voltages_is_asked_for(session: Session, run: Run, tmp_path: Path) -> None:
    energy = "discharge_energy_cycle_20_Wh_kg_composite"
    session = changed(session, ("budget:", f"outcome_constraints: [{{outcome: {energy}, at_least: 10}}]\nbudget:"))
    cell(session, tmp_path, CELL, 4.0)
    (said,) = unlearned_of(session, run)
    assert f"{CELL}: " in said and energy in said and "with the voltages of cycle 20" in said
