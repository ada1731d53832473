"""The lab loop: a sheet goes out, comes back partly filled, files come in, and the next proposals have learned from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from tests_flows_shared import LAB, fill

from campaign.errors import Refusal
from flows import choose, evidence, history, lab_sheet, take_in
from flows.session import Session, now, open_session

Write = Callable[..., Path]
OBJECTIVE = "discharge_capacity_cycle_100_mAh_g_composite"


@pytest.fixture
def session(write_campaign: Write) -> Session:
    opened = open_session(write_campaign(*LAB, published=None))
    history.import_history(opened)
    return opened


def test_the_first_choice_is_made_from_the_published_rows_that_fit(session: Session) -> None:
    known = evidence.learnable(session.reader, session)
    got = known.recipes.join(known.values).sort_values(["speed_rpm", "time_h"]).reset_index(drop=True)
    # Cycle-100 rows of the paper within speed 1000-2000 rpm: F053, F048, F057; in mAh per g of composite.
    expected = [1000 * q / 4 * 0.2275 for q in (0.55, 6.21, 2.3)]
    assert got["time_h"].to_list() == [1, 5, 10]
    assert got[OBJECTIVE].to_list() == pytest.approx(expected)


def test_asking_again_gives_the_same_open_trials(session: Session) -> None:
    first = choose.next_trials(session, 3)
    second = choose.next_trials(session, 3)
    assert list(first.index) == list(second.index)
    assert first["reason"].str.len().gt(20).all()


def test_a_partly_filled_sheet_is_taken_in_again_and_again(session: Session, tmp_path: Path) -> None:
    trials = list(choose.next_trials(session, 3).index)
    sheet = tmp_path / "next.xlsx"
    lab_sheet.write(session, sheet)
    fill(sheet, {trials[0]: {"state": "mixing"}})
    take_in.take_in(session, sheet, by="Ada")
    assert session.ledger.trial(trials[0]).state == "mixing"
    cell = {"cell id": "A1", "area (cm2)": 0.785, "active mass (mg)": 3.1}
    typed = {f"discharge areal capacity cycle {n} (mAh/cm2)": q for n, q in ((1, 6.0), (2, 5.5), (100, 5.0))}
    fill(
        sheet,
        {trials[0]: {"state": "completed", "done speed (rpm)": 1550, **cell, **typed}, trials[1]: {"state": "failed"}},
    )
    take_in.take_in(session, sheet, by="Ada")
    assert session.ledger.trial(trials[0]).state == "completed"
    assert session.ledger.trial(trials[1]).state == "failed"
    known = evidence.learnable(session.reader, session)
    row = known.trials.index(trials[0])
    share = session.ledger.trial(trials[0]).recipe["active_wt_pct"] / 100
    assert known.values[OBJECTIVE][row] == pytest.approx(5.0 / (3.1 / 0.785) * share * 1000)
    assert known.recipes["speed_rpm"][row] == 1550
    assert pd.isna(known.values[OBJECTIVE][known.trials.index(trials[1])])
    seq = session.ledger.seq
    assert "nothing has changed" in take_in.take_in(session, sheet, by="Ada").sentence
    assert session.ledger.seq == seq


def test_a_retyped_value_supersedes_and_keeps_its_history(session: Session, tmp_path: Path) -> None:
    trial = choose.next_trials(session, 1).index[0]
    sheet = tmp_path / "next.xlsx"
    lab_sheet.write(session, sheet)
    for q in (5.0, 4.0):
        column = {"cell id": "A1", "discharge areal capacity cycle 100 (mAh/cm2)": q}
        fill(sheet, {trial: {"state": "testing", **column}})
        take_in.take_in(session, sheet, by="Ada")
    rows = session.ledger.cycling(session.name, superseded=True)
    assert rows["discharge_areal_capacity_mAh_cm2"].to_list() == [5.0, 4.0]
    assert session.ledger.cycling(session.name)["discharge_areal_capacity_mAh_cm2"].to_list() == [4.0]


def capacity_csv(path: Path, cycles: int, q: float = 4.9) -> Path:
    rows = [f"{n},{q * 0.999**n:.5f},{q * 0.998**n:.5f}" for n in range(1, cycles + 1)]
    path.write_text("cycle,discharge capacity (mAh/cm2),charge capacity (mAh/cm2)\n" + "\n".join(rows) + "\n")
    return path


def test_a_growing_csv_completes_its_trial_and_the_next_proposals_know_it(session: Session, tmp_path: Path) -> None:
    trial = choose.next_trials(session, 1).index[0]
    file = capacity_csv(tmp_path / f"{trial}-M1-C1.csv", 40)
    take_in.take_in(session, file, by="Ada", area_cm2=0.785)
    assert session.ledger.trial(trial).state != "completed"
    assert trial not in evidence.learnable(session.reader, session).trials
    capacity_csv(file, 100)
    take_in.take_in(session, file, by="Ada")
    assert session.ledger.trial(trial).state == "completed"
    assert trial in evidence.learnable(session.reader, session).trials
    seq = session.ledger.seq
    take_in.take_in(session, shutil.copy(file, tmp_path / "copy.csv"), by="Ada", cell=f"{trial}-M1-C1")
    assert session.ledger.seq == seq
    decision_before = session.ledger.decisions(session.name)["details"].iloc[-1]
    new = choose.next_trials(session, 2)
    assert trial not in new.index
    details = session.ledger.decisions(session.name).set_index("trial").loc[new.index[-1], "details"]
    assert trial in details and trial not in decision_before


def test_a_changed_past_is_refused(session: Session, tmp_path: Path) -> None:
    trial = choose.next_trials(session, 1).index[0]
    take_in.take_in(session, capacity_csv(tmp_path / f"{trial}-M1-C1.csv", 40), by="Ada", area_cm2=0.785)
    with pytest.raises(Refusal, match=r"data row 1, discharge capacity.*--amend"):
        take_in.take_in(session, capacity_csv(tmp_path / f"{trial}-M1-C1.csv", 60, q=4.0), by="Ada")
    assert session.ledger.cycling(session.name)["cycle"].max() == 40


def test_a_file_of_nobody_waits_unassigned(session: Session, tmp_path: Path) -> None:
    choose.next_trials(session, 1)
    said = take_in.take_in(session, capacity_csv(tmp_path / "monday.csv", 10), by="Ada").sentence
    assert "unassigned" in said and "--cell" in said
    assert session.ledger.cycling(session.name).empty


def test_a_sheet_sorted_in_one_column_is_refused_whole(session: Session, tmp_path: Path) -> None:
    choose.next_trials(session, 3)
    sheet = tmp_path / "next.xlsx"
    lab_sheet.write(session, sheet)
    book = openpyxl.load_workbook(sheet)
    page = book.worksheets[0]
    for row, name in enumerate(sorted((page.cell(r, 1).value for r in range(2, 5)), reverse=True), start=2):
        page.cell(row, 1).value = name
    book.save(sheet)
    seq = session.ledger.seq
    with pytest.raises(Refusal, match="row"):
        take_in.take_in(session, sheet, by="Ada")
    assert session.ledger.seq == seq


def test_capacity_per_gram_counts_the_cell_s_own_mass(session: Session, tmp_path: Path) -> None:
    """Two cells with the same curve per area: the heavier one has less per gram."""
    first, second = choose.next_trials(session, 2).index
    for trial, mass in ((first, 3.14), (second, 6.28)):
        file = capacity_csv(tmp_path / f"{trial}-M1-C1.csv", 100, q=4.9 + 0.01 * mass)
        take_in.take_in(session, file, by="Ada", area_cm2=0.785, active_mass_mg=mass)
    table = evidence.outcomes(session.reader, session)
    got = table.loc[[f"{first}-M1-C1", f"{second}-M1-C1"], "discharge_capacity_cycle_100_mAh_g_active"]
    assert got.iloc[0] / got.iloc[1] == pytest.approx(2, rel=0.02)


def test_a_weighing_off_by_more_than_the_tolerance_is_still_learned_from(session: Session, tmp_path: Path) -> None:
    trial = choose.next_trials(session, 1).index[0]
    take_in.take_in(session, capacity_csv(tmp_path / f"{trial}-M1-C1.csv", 100), by="Ada", area_cm2=0.785)
    session.ledger.amend(
        why="weighed",
        subjects={trial: {"recipe_done": {"active_wt_pct": 24.5, "carbon_wt_pct": 25.5}}},
        key="k",
        at=now(),
        by="Ada",
    )
    assert trial in evidence.learnable(session.reader, session).trials
