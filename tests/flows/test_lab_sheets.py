"""Lab sheets and tables that people bring: understood whole or refused whole, finished when interrupted anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_kit import AREA, content, cycler_csv, fill, lab, sheet_of

from campaign.errors import Refusal
from flows import evidence
from flows.session import Session, now, open_session
from flows.take_in import take_in as take
from store import Ledger

Q20 = "discharge areal capacity cycle 20 (mAh/cm2)"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def busy_sheet(session: Session, path: Path) -> Path:
    """A sheet with a bit of everything."""
    mixed = {
        "mixed at": "2026-03-04 10:30",
        "mixed by": "Bo",
        "weighed active (g)": 0.2525,
        "weighed SSE (g)": 0.5,
        "weighed carbon (g)": 0.25,
    }
    return fill(
        sheet_of(session, path),
        {
            "trial": "T0001",
            "state": "completed",
            **mixed,
            "cell id": "A1",
            "channel": "3",
            "area (cm2)": AREA,
            "active mass (mg)": 3.2,
            Q20: 5.0,
        },
        {
            "trial": "T0001",
            "state": "completed",
            **mixed,
            "cell id": "A2",
            "channel": "4",
            "area (cm2)": AREA,
            Q20: 4.8,
        },
        {
            "trial": "T0002",
            "state": "testing",
            "done speed (rpm)": 2150,
            "crystallite size, XRD (um)": 0.4,
            "cell id": "B1",
            "note": "sparked",
        },
        {"trial": "T0003", "state": "failed", "note": "jar opened"},
        {"trial": "T0004", "note": "waits for LPSCl lot 7"},
    )


def test_what_was_really_done_is_learned_from_also_outside_the_bounds(session: Session, tmp_path: Path) -> None:
    take(session, busy_sheet(session, tmp_path / "s.xlsx"), by="Ada")
    ledger = session.ledger
    assert [ledger.trial(f"T000{n}").state for n in (1, 2, 3)] == ["completed", "testing", "failed"]
    assert ledger.trial("T0001").recipe["active_wt_pct"] == pytest.approx(100 * 0.2525 / 1.0025)
    assert ledger.trial("T0001").recipe_asked["active_wt_pct"] == 25
    assert ledger.trial("T0002").recipe["speed_rpm"] == 2150
    mixes, cells = ledger.mixes("bench"), ledger.cells("bench")
    assert json.loads(mixes.loc["T0001-M1", "details"])["weighed_active_g"] == 0.2525
    labels = {cell: json.loads(text)["label"] for cell, text in cells["details"].items()}
    assert labels == {"T0001-M1-C1": "A1", "T0001-M1-C2": "A2", "T0002-M1-C1": "B1"}
    assert json.loads(cells.loc["T0002-M1-C1", "details"])["note"] == "sparked"
    assert "lot 7" in ledger.trial("T0004").provenance["note"]
    history = ledger.history("T0001")
    assert history.loc[history["verb"].eq("mixed"), "by"].to_list()[:1] in ([], ["Bo"])
    assert ledger.results("bench")["value"].to_list() == [0.4]
    known = evidence.learnable(session.reader, session)
    assert known.trials.count("T0001") == 2 and "T0003" in known.trials


def test_a_sheet_with_one_impossible_change_is_refused_whole(session: Session, tmp_path: Path) -> None:
    sheet = busy_sheet(session, tmp_path / "s.xlsx")
    session.ledger.exclude("T0003", key="1", at=now(), by="Ada", why="wrong powder")
    before = content(session)
    with pytest.raises(Refusal, match=r"s\.xlsx, row 4: T0003: cannot fail a trial that is excluded"):
        take(session, sheet, by="Ada")
    assert content(session) == before


class Killed(BaseException):
    """As if the process had ended here."""


def dying(real: Any, deadly: Iterator[bool]) -> Any:
    """A write of the ledger after which the process ends, when its turn comes."""

    def write(*args: Any, **words: Any) -> Any:
        answer = real(*args, **words)
        if next(deadly):
            raise Killed
        return answer

    return write


def test_a_sheet_interrupted_between_any_two_writes_is_finished_by_repeating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab(tmp_path / "whole", monkeypatch)
    sheet = busy_sheet(whole, tmp_path / "s.xlsx")
    for name, q in (("A1", [3.0, 2.9]), ("late", [2.0, 1.9])):
        cycler_csv(tmp_path / f"{name}.csv", q)
    take(whole, tmp_path / "late.csv", by="Ada")
    take(whole, sheet, by="Ada")
    expected = content(whole)
    writes = 0
    for deadly in range(1, 40):
        session = lab(tmp_path / f"lab{deadly}", monkeypatch)
        session.ledger.issue(["T0001", "T0002", "T0003", "T0004"], key="issue", at=now(), by="Ada")
        take(session, tmp_path / "late.csv", by="Ada")
        with monkeypatch.context() as patch:
            left = iter([*[False] * (deadly - 1), True, *[False] * 99])
            for name in ("_write", "register_file"):
                patch.setattr(Ledger, name, dying(getattr(Ledger, name), left))
            try:
                take(session, sheet, by="Ada")
            except Killed:
                pass
            else:
                break
        writes += 1
        take(open_session(tmp_path / f"lab{deadly}/campaign.yaml"), sheet, by="Ada")
        assert content(session) == expected, f"killed after write {deadly}"
    assert writes >= 8


def test_a_second_batch_and_a_second_sheet_find_their_mix(session: Session, tmp_path: Path) -> None:
    first = {"mixed at": "2026-03-04 10:30", "cell id": "A1", "area (cm2)": AREA}
    second = {"mixed at": "2026-03-06 09:00", "cell id": "A2", "area (cm2)": AREA}
    sheet = sheet_of(session, tmp_path / "s.xlsx")
    take(
        session,
        fill(sheet, {"trial": "T0001", "state": "testing", **first}, {"trial": "T0001", "state": "testing", **second}),
        by="Ada",
    )
    assert list(session.ledger.cells("bench").index) == ["T0001-M1-C1", "T0001-M2-C1"]
    book = sheet_of(session, tmp_path / "again.xlsx")
    take(
        session, fill(book, {"trial": "T0001", "state": "testing", "cell id": "A2", "active mass (mg)": 3.1}), by="Ada"
    )
    assert session.ledger.cells("bench").loc["T0001-M2-C1", "active_mass_mg"] == 3.1
    assert len(session.ledger.mixes("bench")) == 2


def test_a_typed_value_gives_way_to_the_cyclers_file_and_not_the_other_way(session: Session, tmp_path: Path) -> None:
    sheet = sheet_of(session, tmp_path / "s.xlsx")
    row = {"trial": "T0001", "state": "testing", "cell id": "A1", "area (cm2)": AREA}
    take(session, fill(sheet, {**row, "discharge areal capacity cycle 1 (mAh/cm2)": 3.6}), by="Ada")
    take(session, cycler_csv(tmp_path / "T0001-M1-C1.csv", [3.0, 2.9]), by="Ada")
    table = session.ledger.cycling("bench").set_index("cycle")["discharge_areal_capacity_mAh_cm2"]
    assert table[1] == pytest.approx(3.0 / AREA, rel=1e-3)
    said = take(session, fill(sheet, {**row, "discharge areal capacity cycle 1 (mAh/cm2)": 3.5}), by="Ada")
    assert any("the file stands" in text for text in said.findings)
    assert session.ledger.cycling("bench").set_index("cycle")["discharge_areal_capacity_mAh_cm2"][1] == table[1]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({Q20: 90.0, "cell id": "A1"}, r"row 2.*times what the active"),
        ({Q20: -1.0, "cell id": "A1"}, "row 2.*negative"),
        ({"cell id": "T0002-M1-C1"}, "row 2.*no cell of trial T0001"),
        ({"state": "finished"}, "row 2.*state"),
        ({"area (cm2)": "0,8 cm"}, "row 2.*area"),
    ],
)
def test_a_slip_is_a_sentence_with_row_and_value(
    session: Session, tmp_path: Path, cells: dict[str, Any], words: str
) -> None:
    before = content(session)
    sheet = fill(sheet_of(session, tmp_path / "s.xlsx"), {"trial": "T0001", **cells})
    issued = content(session)
    with pytest.raises(Refusal, match=words):
        take(session, sheet, by="Ada")
    assert content(session) == issued != before


def test_powder_results_are_results_too(session: Session, tmp_path: Path) -> None:
    table = tmp_path / "xrd.csv"
    table.write_text("trial,halide to P,crystallite size (nm)\nt1,0.31,420\nT0002-M1,0.2,\n")
    take(session, table, by="Ada")
    results = session.ledger.results("bench").set_index(["subject", "observable"])["value"]
    assert results["T0001-M1", "crystallite_size"] == pytest.approx(0.42)
    assert results["T0002-M1", "surface_halide_to_P"] == 0.2
    before = content(session)
    table.write_text(table.read_text() + "T0999,0.2,\n")
    with pytest.raises(Refusal, match=r"row 4.*T0999"):
        take(session, table, by="Ada")
    assert content(session) == before


def test_earlier_work_without_trial_ids_comes_in_whole_or_not_at_all(session: Session, tmp_path: Path) -> None:
    table = tmp_path / "notebook.csv"
    head = "speed_rpm,time_h,active_wt_pct,loading_mg_cm2,discharge_capacity_cycle_20_mAh_g_composite,source\n"
    table.write_text(head + "1500,2,25,4,300,book 3\n1800,-4,25,4,310,book 3\n")
    before = content(session)
    with pytest.raises(Refusal, match=r"notebook\.csv, row 3.*negative"):
        take(session, table, by="Ada")
    assert content(session) == before
    table.write_text(head + "1500,2,25,4,300,book 3\n1800,4,25,4,310,book 3\n")
    said = take(session, table, by="Ada")
    assert len(said.trials) == 2
    trials = session.ledger.trials("bench").loc[list(said.trials)]
    assert trials["evaluator"].eq("earlier").all() and trials["state"].eq("completed").all()
    outcomes = evidence.outcomes(session.reader, session)
    assert outcomes.loc[list(said.trials), "discharge_capacity_cycle_20_mAh_g_composite"].to_list() == pytest.approx(
        [300, 310]
    )
    seq = session.ledger.seq
    take(session, table, by="Ada")
    assert session.ledger.seq == seq


def test_a_trial_whose_other_cell_still_runs_is_not_complete(session: Session, tmp_path: Path) -> None:
    sheet = sheet_of(session, tmp_path / "s.xlsx")
    done = {"trial": "T0001", "state": "completed", "cell id": "A1", "area (cm2)": AREA, Q20: 5.0}
    take(session, fill(sheet, done, {"trial": "T0001", "state": "testing", "cell id": "A2"}), by="Ada")
    assert session.ledger.trial("T0001").state == "testing"
    take(session, fill(sheet, done, {"trial": "T0001", "state": "failed", "cell id": "A2", "note": "short"}), by="Ada")
    cells = session.ledger.cells("bench")["state"]
    assert cells.to_dict() == {"T0001-M1-C1": "completed", "T0001-M1-C2": "failed"}
    assert session.ledger.trial("T0001").state == "completed"
