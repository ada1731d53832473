"""Slips of tired people that would be found out much later: units, dates, second thoughts; each is a sentence at the door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from lab_kit import AREA, content, cycler_csv, fill, sheet_of

from flows.session import Session, now, open_session
from flows.take_in import take_in as take
from flows.today import today

Run = Callable[..., tuple[int, str, str]]
FILE = "campaign.yaml"
WHY = ("--why", "a slip")


def told(run: Run, *words: object, code: int = 0) -> str:
    found, out, err = run(*words)
    assert found == code and "Traceback" not in err, out + err
    return out + err


def day(days: float) -> str:
    return f"{now() + timedelta(days=days):%Y-%m-%d}"


def sheet(session: Session, path: Path, *rows: dict[str, Any]) -> Path:
    return fill(sheet_of(session, path), *rows)


# ---- units ---------------------------------------------------------------------------------------------------------
def test_minutes_in_a_column_of_hours_are_refused_at_every_door(bench: Session, run: Run, tmp_path: Path) -> None:
    right = r"column time_h: 150 lies far outside 0.5 to 12; is it in another unit than h (2 h was asked)?"
    filled = sheet(bench, tmp_path / "s.xlsx", {"trial": "T0003", "state": "mixing", "done net mixing time (h)": 150})
    before = content(bench)
    assert f"T0003, {right}" in told(run, "mixed", "T0003", "--time-h", 150, code=1)
    assert f"s.xlsx, row 4: T0003, {right}" in told(run, "ingest", FILE, filled, code=1)
    assert f"T0003, {right}" in told(run, "amend", FILE, "T0003", "--set", "time_h=150", *WHY, code=1)
    assert "lies far outside" in told(run, "mixed", "T0003", "--speed-rpm", 99999, code=1)
    assert content(bench) == before
    told(run, "mixed", "T0003")
    assert f"T0003-M1, {right}" in told(run, "amend", FILE, "T0003-M1", "--set", "time_h=150", *WHY, code=1)
    assert "lies far outside" in told(run, "mixed", "T0003", "--time-h", 600, code=1)
    assert bench.ledger.trial("T0003").recipe["time_h"] == 2


def test_what_lies_outside_the_space_and_may_be_is_noted_and_counts(bench: Session, run: Run, tmp_path: Path) -> None:
    said = told(run, "mixed", "T0003", "--time-h", 20)
    assert "learned from as done: time_h 20; note: time_h 20 lies outside 0.5 to 12; it counts as it was done" in said
    assert "time_h 22 lies outside" in told(run, "amend", FILE, "T0003", "--set", "time_h=22", *WHY)
    filled = sheet(bench, tmp_path / "s.xlsx", {"trial": "T0004", "state": "mixing", "done speed (rpm)": 2150})
    assert "row 5: speed_rpm 2150 lies outside 1000 to 2000" in told(run, "ingest", FILE, filled)
    assert bench.ledger.trial("T0003").recipe["time_h"] == 22


def test_milligrams_in_columns_of_grams_are_asked_about(bench: Session, run: Run, tmp_path: Path) -> None:
    weighed = ("--weighed-active-g", 250, "--weighed-sse-g", 500, "--weighed-carbon-g", 250)
    asked = "1000 g were weighed, 1000 times the campaign's batch of 1 g; are the masses in g?"
    assert f"note: T0001: {asked}" in told(run, "mixed", "T0001", *weighed)
    grams = {"weighed active (g)": 250, "weighed SSE (g)": 500, "weighed carbon (g)": 250}
    filled = sheet(bench, tmp_path / "s.xlsx", {"trial": "T0002", **grams})
    assert f"T0002-M1: {asked}" in told(run, "ingest", FILE, filled)


# ---- times ---------------------------------------------------------------------------------------------------------
def test_times_that_cannot_be_are_refused(bench: Session, run: Run, tmp_path: Path) -> None:
    assert f"--at: {day(400)} lies in the future" in told(run, "mixed", "T0001", "--at", day(400), code=1)
    told(run, "mixed", "T0001", "--at", day(-2))
    said = told(run, "start", "T0001", "--at", day(-9), code=1)
    assert f"T0001-M1-C1: a start on {day(-9)} lies before its batch was mixed on {day(-2)}" in said
    told(run, "start", "T0001", "--at", day(-2))
    assert "lies before its start" in told(run, "stop", "T0001", "--at", "2019-01-01", code=1)
    amend = ("amend", FILE, "T0001-M1-C1", *WHY, "--set")
    assert "lies before its batch was mixed" in told(run, *amend, f"started_at={day(-9)}", code=1)
    assert "lies in the future" in told(run, *amend, f"started_at={day(9)}", code=1)
    told(run, "amend", FILE, "T0001-M1", "--set", f"mixed_at={day(-9)}", *WHY)  # the way out that the refusal names
    told(run, *amend, f"started_at={day(-9)}")
    told(run, "stop", "T0001", "--at", day(-8))
    told(run, "ingest", FILE, cycler_csv(tmp_path / "T0002-M1-C1.csv", [3.0, 2.9]))  # it came today, and says no start
    told(run, "stop", "T0002", "--at", day(-3))


def test_times_that_cannot_be_are_refused_on_the_sheet(bench: Session, run: Run, tmp_path: Path) -> None:
    late = sheet(bench, tmp_path / "a.xlsx", {"trial": "T0001", "mixed at": day(400)})
    assert f"row 2: column 'mixed at': {day(400)} lies in the future" in told(run, "ingest", FILE, late, code=1)
    row = {"trial": "T0001", "state": "testing", "cell id": "A1", "mixed at": day(-2), "started at": day(-9)}
    early = sheet(bench, tmp_path / "b.xlsx", row)
    assert "row 2: T0001-M1-C1: a start on" in told(run, "ingest", FILE, early, code=1)
    assert bench.ledger.mixes("bench").empty
    # a batch that nobody gave a time was mixed before its cell started, whenever the sheet came in
    told(run, "ingest", FILE, sheet(bench, tmp_path / "c.xlsx", {"trial": "T0001", "state": "mixing"}))
    told(run, "ingest", FILE, sheet(bench, tmp_path / "d.xlsx", {k: v for k, v in row.items() if k != "mixed at"}))


# ---- second batches ------------------------------------------------------------------------------------------------
def test_a_corrected_date_is_no_second_batch(bench: Session, run: Run, tmp_path: Path) -> None:
    def row(at: str, **more: Any) -> dict[str, Any]:
        return {"trial": "T0001", "state": "mixing", "mixed at": at, **more}

    told(run, "ingest", FILE, sheet(bench, tmp_path / "a.xlsx", row(day(-3))))
    said = told(run, "ingest", FILE, sheet(bench, tmp_path / "b.xlsx", row(day(-2))))
    assert "T0001-M1 was mixed at" in said and "corrected" in said
    assert list(bench.ledger.mixes("bench").index) == ["T0001-M1"]
    assert "mixed_at" in told(run, "history", FILE, "T0001-M1")
    told(run, "start", "T0001-M1-C1")
    book = sheet(bench, tmp_path / "c.xlsx", row(day(-2)), row(day(-1), **{"cell id": "A2"}))
    told(run, "amend", FILE, "T0001-M1-C1", "--set", "label=A1", *WHY)
    assert "counted as a second batch T0001-M2" in told(run, "ingest", FILE, book)


# ---- second thoughts -----------------------------------------------------------------------------------------------
def start_list(session: Session) -> str:
    return " ".join(today(session).start)


def test_after_undo_the_trial_stands_where_its_batch_does(bench: Session, run: Run) -> None:
    told(run, "fail", FILE, "T0001", *WHY)
    told(run, "mixed", "T0001", "--time-h", 3.5)
    assert "T0001 is mixing again" in told(run, "undo", FILE, "T0001", *WHY)
    assert "T0001-M1: build a cell" in start_list(bench)
    said = told(run, "undo", FILE, "T0001", *WHY, code=1)
    assert (
        "T0001 is mixing because T0001-M1 is mixed; to take that back first: mixwright undo CAMPAIGN T0001-M1" in said
    )
    assert "T0001-M1 is planned again, and T0001 proposed" in told(run, "undo", FILE, "T0001-M1", *WHY)
    assert bench.ledger.trial("T0001").recipe["time_h"] == 3  # what is asked for, and not what was taken back
    assert "T0001" in [batch.trial for batch in today(bench).mix] and "T0001" not in start_list(bench)
    assert "T0001-M1 is mixed, as asked" in told(run, "mixed", "T0001")
    bench.ledger.verify()


def test_after_undo_the_trial_stands_where_its_cell_does(bench: Session, run: Run) -> None:
    told(run, "fail", FILE, "T0001", *WHY)
    told(run, "start", "T0001", "--channel", 2, "--area-cm2", AREA)
    assert "T0001 is testing again" in told(run, "undo", FILE, "T0001", *WHY)
    cell = bench.ledger.cells("bench").loc["T0001-M1-C1"]
    assert (cell["state"], cell["channel"], cell["area_cm2"]) == ("running", "2", AREA)
    assert "because T0001-M1-C1 is running" in told(run, "undo", FILE, "T0001", *WHY, code=1)
    assert "because T0001-M1-C1 is running" in told(run, "undo", FILE, "T0001-M1", *WHY, code=1)
    assert "T0001-M1-C1 is planned again, and T0001 mixing" in told(run, "undo", FILE, "T0001-M1-C1", *WHY)
    assert "mixwright start T0001-M1-C1" in start_list(bench)
    assert "T0001-M1-C1 runs" in told(run, "start", "T0001-M1-C1")


def test_a_dead_end_of_earlier_days_opens_when_the_batch_is_told_of_again(bench: Session, run: Run) -> None:
    ledger = bench.ledger
    ledger.fail("T0001", key="1", at=now(), by="Ada", why="x")
    ledger.mixed("T0001-M1", key="2", at=now(), by="Ada")
    ledger.undo("T0001", key="3", at=now(), by="Ada", why="x")
    assert "T0001 is mixing again" in told(run, "mixed", "T0001")
    assert "nothing has changed" in told(run, "mixed", "T0001")


# ---- the campaign file and the command line ------------------------------------------------------------------------
def test_a_recipe_that_the_edited_space_would_not_ask_for_is_marked(bench: Session) -> None:
    path = bench.loaded.path
    path.write_text(path.read_text().replace("low: 0.5, high: 12", "low: 2.5, high: 6"))
    marked = {
        batch.trial: batch.warnings[0] for batch in today(open_session(path)).mix if "abandon" in batch.warnings[0]
    }
    assert sorted(marked) == ["T0003", "T0004"]
    assert "time_h 2 lies outside 2.5 to 6 in the campaign file as it is now" in marked["T0003"]
    assert f"mixwright abandon {path} T0003 --why" in marked["T0003"]


def test_a_folder_is_named_as_one(bench: Session, run: Run) -> None:
    assert "mixwright: . is a folder" in told(run, "ingest", FILE, ".", code=1)


def test_a_sheet_with_a_slip_is_taken_after_it_was_put_right(bench: Session, tmp_path: Path, run: Run) -> None:
    row = {"trial": "T0003", "state": "mixing", "done net mixing time (h)": 150}
    told(run, "ingest", FILE, sheet(bench, tmp_path / "s.xlsx", row), code=1)
    take(bench, sheet(bench, tmp_path / "t.xlsx", row | {"done net mixing time (h)": 2.5}), by="Ada")
    assert bench.ledger.trial("T0003").recipe["time_h"] == 2.5
