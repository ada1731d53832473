"""A cell's files: archived first, placed without guessing, growing, in parts, corrected, late; never counted twice."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from lab_kit import AREA, MASS, capacity_csv, content, cycler_csv, fill, lab, sheet_of

from campaign.errors import Refusal
from campaign.trial import read_id
from flows import corrections, people, take_in
from flows.session import Session, now
from flows.take_in import take_in as take

CELL = "T0001-M1-C1"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def capacities(session: Session, cell: str = CELL) -> dict[int, float]:
    table = session.ledger.cycling(session.name)
    mine = table[table["subject"].eq(cell)]
    return dict(zip(mine["cycle"], mine["discharge_capacity_mAh"].round(6), strict=True))


def state(session: Session, name: str) -> str:
    cells = session.ledger.cells(session.name)
    return str(cells.loc[name, "state"]) if name in cells.index else session.ledger.trial(name).state


def test_a_file_is_in_the_archive_under_its_hash(session: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9])
    take(session, file, by="Ada", area_cm2=AREA)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (session.settings.archive / digest[:2] / digest).read_bytes() == file.read_bytes()
    assert session.ledger.files(session.name)["sha256"].to_list() == [digest]


def test_a_file_that_grows_every_week_adds_cycles_and_changes_none(session: Session, tmp_path: Path) -> None:
    q = [3.0 * 0.98**n for n in range(20)]
    for weeks, share in ((5, 0.4), (5, 0.7), (9, 1.0), (20, 1.0)):
        said = take(session, cycler_csv(tmp_path / f"{CELL}.csv", q[:weeks], last_share=share), by="Ada", area_cm2=AREA)
        assert capacities(session) == pytest.approx({n + 1: q[n] for n in range(weeks)}, abs=1e-3)
    assert "complete" in said.sentence
    assert state(session, "T0001") == "completed" and state(session, CELL) == "completed"
    table = session.ledger.cycling(session.name, superseded=True)
    assert table.loc[~table["partial"].astype(bool), "cycle"].is_unique
    assert len(session.ledger.files(session.name)) == 4


def test_the_same_file_twice_in_any_coat_is_a_no_op(session: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9])
    take(session, file, by="Ada", area_cm2=AREA)
    before, seq = content(session), session.ledger.seq
    other = tmp_path / "other"
    other.mkdir()
    for copy in (file, shutil.copy(file, other / "renamed t1_m1_c1.csv")):
        os.utime(copy)
        assert "nothing has changed" in take(session, copy, by="Bo").sentence
    assert session.ledger.seq == seq and content(session) == before
    text = file.read_text().replace("\n", "\r\n")
    exported = other / f"{CELL} exported again.csv"
    exported.write_bytes(text.encode())
    assert "the same" in take(session, exported, by="Ada").sentence
    assert content(session)["cycling"] == before["cycling"]


def test_an_earlier_version_that_comes_late_takes_nothing_away(session: Session, tmp_path: Path) -> None:
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9, 2.8]), by="Ada", area_cm2=AREA)
    before = content(session)["cycling"]
    said = take(session, cycler_csv(tmp_path / f"{CELL}_old.csv", [3.0, 2.9], last_share=0.5), by="Ada")
    assert "earlier version" in said.sentence
    assert content(session)["cycling"] == before


def test_a_changed_past_is_refused_with_the_difference_and_taken_with_a_reason(
    session: Session, tmp_path: Path
) -> None:
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9, 2.8])
    take(session, file, by="Ada", area_cm2=AREA)
    changed = file.read_text().replace("-1.000000", "-1.100000", 4)
    file.write_text(changed)
    seq = session.ledger.seq
    with pytest.raises(Refusal, match=r"data row 1, current.*was -1, is -1.1.*--amend"):
        take(session, file, by="Ada")
    with pytest.raises(Refusal, match="--why"):
        take(session, file, by="Ada", amend=True)
    assert session.ledger.seq == seq
    take(session, file, by="Ada", amend=True, why="wrong shunt factor")
    assert capacities(session)[1] > 3.01 and capacities(session)[2] == pytest.approx(2.9, abs=1e-3)
    history = session.ledger.cycling(session.name, superseded=True)
    first = history[history["cycle"].eq(1)]
    assert len(first) == 2 and first["why"].to_list()[1] == "wrong shunt factor"


def test_several_files_make_one_cell(session: Session, tmp_path: Path) -> None:
    take(session, cycler_csv(tmp_path / f"{CELL}_part1.csv", [3.0, 2.9, 2.8]), by="Ada", area_cm2=AREA)
    said = take(session, cycler_csv(tmp_path / f"{CELL}_part2.csv", [2.5, 2.4], last_share=0.3), by="Ada")
    assert "its cycle 1 is cycle 4" in said.sentence
    take(session, cycler_csv(tmp_path / f"{CELL}_part2.csv", [2.5, 2.4, 2.3]), by="Ada")
    assert capacities(session) == pytest.approx({1: 3.0, 2: 2.9, 3: 2.8, 4: 2.5, 5: 2.4, 6: 2.3}, abs=1e-3)


def test_the_same_test_exported_another_way_is_not_counted_again(session: Session, tmp_path: Path) -> None:
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9, 2.8]), by="Ada", area_cm2=AREA)
    before = content(session)
    again = cycler_csv(tmp_path / f"{CELL}_export.csv", [3.0001, 2.9001, 2.8001])
    again.write_text(again.read_text().replace("2.20000", "2.20010").replace("0.000,-1.000000", "0.000,-1.000100", 1))
    with pytest.raises(Refusal, match=r"looks like the same test exported another way.*--continues"):
        take(session, again, by="Ada")
    assert content(session) == before
    take(session, again, by="Ada", continues=True)
    assert sorted(capacities(session)) == [1, 2, 3, 4, 5, 6]


def test_a_file_of_nobody_waits_and_is_assigned_later(session: Session, tmp_path: Path) -> None:
    files = {
        name: cycler_csv(tmp_path / f"{name}.csv", [q, q])
        for name, q in (("monday", 3.0), ("tuesday", 2.0), ("friday", 1.5))
    }
    for file in files.values():
        said = take(session, file, by="Ada")
        assert said.unassigned and "--cell" in said.sentence
    assert session.ledger.cycling(session.name).empty
    assert session.ledger.files(session.name)["subject"].isna().all()
    take(session, files["monday"], by="Ada", cell="t1m1c1", area_cm2=AREA)
    take_in.assign(session, "tuesday.csv", "T2-M1-C1", by="Ada", area_cm2=AREA)
    sheet = fill(
        sheet_of(session, tmp_path / "s.xlsx"),
        {"trial": "T0003", "state": "testing", "cell id": "K7", "area (cm2)": AREA, "file": "Friday"},
    )
    said = take(session, sheet, by="Bo")
    assert any("T0003-M1-C1" in text for text in said.findings)
    assert {cell: capacities(session, cell)[1] for cell in (CELL, "T0002-M1-C1", "T0003-M1-C1")} == pytest.approx(
        {CELL: 3.0, "T0002-M1-C1": 2.0, "T0003-M1-C1": 1.5}
    )
    waiting = session.ledger.files(session.name)
    assert waiting.loc[waiting["subject"].isna(), "name"].to_list() == ["s.xlsx"]


def test_an_id_in_the_metadata_is_found_and_two_ids_in_a_name_are_not_guessed(session: Session, tmp_path: Path) -> None:
    told = cycler_csv(tmp_path / "export.csv", [3.0, 2.9], head="Cell ID: T0002-M1-C1\n")
    looked = take(session, told, by="Ada", area_cm2=AREA)
    if not looked.unassigned:
        assert capacities(session, "T0002-M1-C1")[1] == pytest.approx(3.0)
    both = cycler_csv(tmp_path / "T0001-M1-C1 and T0002-M1-C1.csv", [3.1, 2.9])
    said = take(session, both, by="Ada")
    assert said.unassigned and "could belong to" in said.sentence
    foreign = cycler_csv(tmp_path / "T0999-M1-C1.csv", [3.2, 2.9])
    assert take(session, foreign, by="Ada").unassigned
    with pytest.raises(Refusal, match="has no trial T0999"):
        take(session, foreign, by="Ada", cell="T999-M1-C1")
    trial_only = cycler_csv(tmp_path / "T0001 week 3.csv", [3.3, 2.9])
    assert "names trial T0001 but no cell" in take(session, trial_only, by="Ada").sentence


def test_a_test_is_complete_by_its_planned_cycles_or_a_persons_word(session: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9], last_share=0.5)
    take(session, file, by="Ada", area_cm2=AREA)
    assert state(session, CELL) == "running" and state(session, "T0001") == "testing"
    take(session, file, by="Ada", finished=True)
    assert state(session, CELL) == "completed" and state(session, "T0001") == "completed"
    table = session.ledger.cycling(session.name)
    assert not table["partial"].any()
    seq = session.ledger.seq
    take(session, file, by="Ada")
    assert session.ledger.seq == seq


def test_a_trial_waits_for_its_other_cells(session: Session, tmp_path: Path) -> None:
    q = [3.0 * 0.98**n for n in range(20)]
    other = "T0001-M1-C2"
    slower = [0.9 * amount for amount in q]
    take(session, cycler_csv(tmp_path / f"{other}.csv", slower[:3]), by="Ada", area_cm2=AREA)
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", q), by="Ada", area_cm2=AREA)
    assert state(session, CELL) == "completed" and state(session, "T0001") == "testing"
    take(session, cycler_csv(tmp_path / f"{other}.csv", slower), by="Ada")
    assert state(session, "T0001") == "completed"


@pytest.mark.parametrize(("verb", "words"), [("abandon", "counts all the same"), ("exclude", "excluded")])
def test_news_that_comes_late_is_stored_and_marked(session: Session, tmp_path: Path, verb: str, words: str) -> None:
    from flows.session import now

    getattr(session.ledger, verb)("T0001", key="1", at=now(), by="Ada", why="no time")
    said = take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), by="Ada", area_cm2=AREA)
    assert words in said.sentence
    stored = session.ledger.cycling(session.name, with_excluded=True)
    assert len(stored) == 2
    assert not session.ledger.cells(session.name).loc[CELL, "planned"]


def test_a_trial_that_starts_with_a_charge_counts_from_it(session: Session, tmp_path: Path) -> None:
    from flows.session import now

    new = {"T0001": {"provenance": {"cycle_start": "charge"}}}
    session.ledger.amend(subjects=new, why="Li2S cathode", key="1", at=now(), by="Ada")
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9], first="charge"), by="Ada", area_cm2=AREA)
    assert capacities(session) == pytest.approx({1: 3.0, 2: 2.9}, abs=1e-3)
    other = take(
        session, cycler_csv(tmp_path / "T0002-M1-C1.csv", [3.0, 2.9, 2.8], first="charge"), by="Ada", area_cm2=AREA
    )
    assert any("starts with discharge but the file begins with a charge" in text for text in other.findings)
    assert capacities(session, "T0002-M1-C1")[1] == pytest.approx(3.0, abs=1e-3)


def test_a_file_in_mAh_waits_for_its_area_and_a_corrected_area_is_followed(session: Session, tmp_path: Path) -> None:
    said = take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), by="Ada")
    assert "as soon as the area" in said.sentence
    assert session.ledger.cycling(session.name)["discharge_areal_capacity_mAh_cm2"].isna().all()
    sheet = sheet_of(session, tmp_path / "s.xlsx")
    for area in (AREA, 2 * AREA):
        take(
            session, fill(sheet, {"trial": "T0001", "state": "testing", "cell id": CELL, "area (cm2)": area}), by="Ada"
        )
        per_cm2 = session.ledger.cycling(session.name)["discharge_areal_capacity_mAh_cm2"]
        assert per_cm2.to_list() == pytest.approx([3.0 / area, 2.9 / area], abs=1e-3)


@pytest.mark.parametrize(
    ("unit", "per_mAh"),
    [("mAh", 1.0), ("mAh/g", 1000 / MASS), ("mAh/g_composite", 250 / MASS), ("mAh/cm2", 1 / AREA)],
)
def test_what_a_table_gave_stands_when_mass_and_area_are_corrected(
    session: Session, tmp_path: Path, unit: str, per_mAh: float
) -> None:
    def table(count: int) -> Path:
        rows = [f"{n},{(3 - 0.1 * n) * per_mAh},{(2.9 - 0.1 * n) * per_mAh}" for n in range(1, count + 1)]
        path = tmp_path / f"{CELL}.csv"
        path.write_text("\n".join([f"cycle,discharge capacity ({unit}),charge capacity ({unit})", *rows, ""]))
        return path

    take(session, table(2), by="Ada", active_mass_mg=MASS, area_cm2=AREA)
    act = people.Act("Bo", now(), "weighed again")
    corrections.amend(session, read_id(CELL), {"active_mass_mg": 1.25 * MASS, "area_cm2": 1.1 * AREA}, act)
    corrections.amend(session, read_id(CELL), {"active_mass_mg": 1.5 * MASS}, act)
    said = take(session, table(4), by="Ada")
    assert "2 new rows" in said.sentence
    grown = {"mAh": 1.0, "mAh/g": 1.5, "mAh/g_composite": 1.5, "mAh/cm2": 1.1}[unit]
    record = session.ledger.cycling(session.name)
    for kind, first in (("discharge", 2.9), ("charge", 2.8)):
        expected = [grown * (first - 0.1 * n) for n in range(4)]
        assert record[f"{kind}_capacity_mAh"].to_list() == pytest.approx(expected)
        per_area = [value / (1.1 * AREA) for value in expected]
        assert record[f"{kind}_areal_capacity_mAh_cm2"].to_list() == pytest.approx(per_area)


def test_what_was_given_per_gram_of_composite_follows_the_share_that_was_weighed(
    session: Session, tmp_path: Path
) -> None:
    path = tmp_path / f"{CELL}.csv"
    path.write_text("cycle,discharge capacity (mAh/g_composite)\n1,200\n2,190\n")
    take(session, path, by="Ada", active_mass_mg=MASS, area_cm2=AREA)
    assert capacities(session) == pytest.approx({1: 0.2 * MASS / 0.25, 2: 0.19 * MASS / 0.25})
    act = people.Act("Bo", now(), "weighed")
    weighed = {"weighed_active_g": 0.5, "weighed_sse_g": 1.0, "weighed_carbon_g": 1.0}
    people.mixed(session.ledger, "T0001", act, done={}, weighed=weighed, details={})
    assert capacities(session) == pytest.approx({1: 0.2 * MASS / 0.2, 2: 0.19 * MASS / 0.2})
    path.write_text(path.read_text() + "3,180\n")
    take(session, path, by="Ada")
    amended = people.Act("Bo", now(), "a typing error")
    with pytest.raises(Refusal, match=r"T0001: active 30 \+ .* sum to 110, not 100; correct the shares together"):
        corrections.amend(session, read_id("T0001"), {"active_wt_pct": 30.0}, amended)
    shares = {"active_wt_pct": 30.0, "sse_wt_pct": 40.0, "carbon_wt_pct": 30.0}
    corrections.amend(session, read_id("T0001"), shares, amended)
    assert capacities(session) == pytest.approx({n: (0.21 - 0.01 * n) * MASS / 0.3 for n in (1, 2, 3)})


def test_a_mass_with_which_the_record_could_not_be_is_refused(session: Session, tmp_path: Path) -> None:
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), by="Ada", area_cm2=AREA, active_mass_mg=MASS)
    seq, act = session.ledger.seq, people.Act("Bo", now(), "typo")
    with pytest.raises(Refusal, match=r"T0001-M1-C1: cycle 1, discharge of 3.75 mAh/cm2 is 56\.\d times"):
        corrections.amend(session, read_id(CELL), {"active_mass_mg": MASS / 100}, act)
    assert session.ledger.seq == seq
    assert "is the mass right?" in corrections.amend(session, read_id(CELL), {"active_mass_mg": MASS / 3}, act)


def test_a_table_per_cm2_needs_no_area(session: Session, tmp_path: Path) -> None:
    take(session, capacity_csv(tmp_path / f"{CELL}.csv", range(1, 6)), by="Ada")
    table = session.ledger.cycling(session.name)
    assert table["discharge_areal_capacity_mAh_cm2"].iloc[0] == pytest.approx(4.9 * 0.999, rel=1e-5)
    take(session, capacity_csv(tmp_path / f"{CELL}.csv", range(1, 21)), by="Ada")
    assert state(session, "T0001") == "completed"


def test_what_cannot_be_is_refused_and_what_hardly_can_be_is_flagged_on_its_row(
    session: Session, tmp_path: Path
) -> None:
    seq = session.ledger.seq
    with pytest.raises(Refusal, match="times"):
        take(session, capacity_csv(tmp_path / f"{CELL}.csv", range(1, 4), q=90.0), by="Ada")
    assert session.ledger.seq == seq
    said = take(session, cycler_csv(tmp_path / f"{CELL}.csv", [9.0, 8.0]), by="Ada", area_cm2=AREA, active_mass_mg=MASS)
    assert said.flagged and any("theory" in text for text in said.findings)
    flags = session.ledger.cycling(session.name)["flags"]
    assert "theory" in flags[0]


def test_a_persons_correction_stays_when_the_file_grows(session: Session, tmp_path: Path) -> None:
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), by="Ada", area_cm2=AREA)
    new = pd.DataFrame([{"subject": CELL, "cycle": 1, "discharge_capacity_mAh": 2.95}])
    session.ledger.amend(cycling=new, why="leak current", key="1", at=now(), by="Ada")
    take(session, cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9, 2.8]), by="Ada")
    assert capacities(session) == pytest.approx({1: 2.95, 2: 2.9, 3: 2.8}, abs=1e-3)


def test_a_file_taken_for_the_wrong_cell_is_moved_with_its_rows_and_back(session: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9])
    take(session, file, by="Ada", area_cm2=AREA)
    with pytest.raises(Refusal, match=r"was taken in for T0001-M1-C1.*assign"):
        take(session, file, by="Ada", cell="T0002-M1-C1")
    with pytest.raises(Refusal, match="--why"):
        take_in.assign(session, file.name, "T0002-M1-C1", by="Ada")
    take_in.assign(session, file.name, "T0002-M1-C1", by="Ada", why="mislabelled", area_cm2=AREA)
    assert capacities(session) == {} and len(capacities(session, "T0002-M1-C1")) == 2
    take_in.assign(session, file.name, CELL, by="Ada", why="was right before")
    assert len(capacities(session)) == 2 and capacities(session, "T0002-M1-C1") == {}
