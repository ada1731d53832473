"""Commands for what people did, corrections and keeping: each says what it wrote; wrong input is one sentence, never more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_kit import AREA, capacity_csv, content, cycler_csv, lab

from flows import people
from flows.people import Act
from flows.session import Session, now, open_session
from flows.take_in import take_in
from flows.view import trials_table

Run = Callable[..., tuple[int, str, str]]
CELL = "T0001-M1-C1"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    opened = lab(tmp_path / "bench", monkeypatch)
    monkeypatch.chdir(tmp_path / "bench")
    return opened


def state(session: Session, name: str) -> str:
    cells = session.ledger.cells(session.name)
    return str(cells.loc[name, "state"]) if name in cells.index else session.ledger.trial(name).state


def test_a_day_at_the_bench(session: Session, run: Run) -> None:
    weighed = ("--weighed-active-g", 0.26, "--weighed-sse-g", 0.5, "--weighed-carbon-g", 0.25)
    code, out, _ = run("mixed", "t1", "--by", "Ada", "--at", "2026-03-04 10:30", "--speed-rpm", 1490, *weighed)
    assert code == 0 and "T0001-M1 is mixed" in out
    assert session.ledger.trial("T1").recipe["speed_rpm"] == 1490
    assert session.ledger.trial("T1").recipe["active_wt_pct"] == pytest.approx(100 * 0.26 / 1.01)
    code, out, _ = run("start", "t1m1c1", "--channel", 3, "--by", "Ada")
    assert code == 0 and "runs on channel 3" in out and "area_cm2" in out
    assert state(session, "T0001") == "testing"
    code, _, err = run("start", "T2", "--channel", 3)
    assert code == 1 and f"channel 3 is taken by {CELL}" in err
    code, out, _ = run("start", CELL, "--area-cm2", AREA)
    assert code == 0 and "noted area_cm2" in out
    code, out, _ = run("stop", "t1", "--by", "Bo", "--why", "power cut")
    assert code == 0 and f"{CELL} is stopped" in out
    assert run("start", "T2", "--channel", 3)[0] == 0
    code, out, _ = run("history", "campaign.yaml", "t1", "--json")
    rows = json.loads(out)
    assert [row["by"] for row in rows if row["subject"] == CELL][-1] == "Bo"
    assert any("power cut" == row["why"] for row in rows)
    code, out, _ = run("history", "campaign.yaml", "T1")
    assert code == 0 and "power cut" in out and "1490" in out


@pytest.mark.parametrize(
    "words",
    [
        ("mixed", "T1", "--speed-rpm", 1490),
        ("start", CELL, "--channel", 3),
        ("stop", CELL),
        ("fail", "campaign.yaml", "T1", "--why", "x"),
    ],
)
def test_said_twice_is_written_once(session: Session, run: Run, words: tuple[object, ...]) -> None:
    run("start", CELL) if words[0] == "stop" else None
    assert run(*words)[0] == 0
    before = content(session)
    code, out, _ = run(*words)
    assert code == 0 and "nothing has changed" in out
    assert content(session) == before


def test_the_best_so_far_meets_the_bounds_on_outcomes(session: Session, run: Run, tmp_path: Path) -> None:
    path = session.loaded.path
    for cell, q in (("T0002-M1-C1", 4.9), ("T0003-M1-C1", 3.0)):  # mixed for 4 h and for 2 h
        people.start(session.ledger, cell, Act("Ada", now()), channel=None, facts={"area_cm2": AREA})
        take_in(session, capacity_csv(tmp_path / f"{cell}.csv", range(1, 21), q), by="Ada")
    text = path.read_text()

    def best(bound: str) -> str:
        path.write_text(
            text.replace("budget:", f"outcome_constraints:\n  - {{outcome: mixing_time_h, {bound}}}\nbudget:")
        )
        (line,) = (line for line in run("status", path)[1].splitlines() if line.startswith("best so far"))
        shown = json.loads(run("status", path, "--json")[1])["best"]
        flagged = trials_table(open_session(path), session.reader).set_index("trial_id")["best"]
        assert list(flagged.index[flagged]) == ([] if shown is None else [shown["trial"]])
        return line

    assert best("at_most: 5").startswith("best so far: trial T0002")
    assert best("at_most: 3").startswith("best so far: trial T0003")
    assert best("at_most: 1") == "best so far: none of the 2 results meets mixing_time_h at most 1"


def test_a_correction_keeps_what_it_replaces(session: Session, run: Run, tmp_path: Path) -> None:
    run(
        "ingest",
        "campaign.yaml",
        cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]),
        "--area-cm2",
        AREA,
        "--active-mass-mg",
        3.2,
    )
    assert run("amend", "campaign.yaml", CELL, "--set", "area_cm2=0.4", "--why", "wrong die")[0] == 0
    table = session.ledger.cycling("bench")
    assert table["discharge_areal_capacity_mAh_cm2"].to_list() == pytest.approx([7.5, 7.25], rel=1e-3)
    assert (
        run("amend", "campaign.yaml", CELL, "--cycle", 2, "--set", "discharge_capacity_mAh=2.8", "--why", "leak")[0]
        == 0
    )
    table = session.ledger.cycling("bench").set_index("cycle")
    assert table.loc[2, "discharge_areal_capacity_mAh_cm2"] == pytest.approx(7.0)
    assert table.loc[2, "discharge_capacity_mAh"] == 2.8
    assert (
        run("amend", "campaign.yaml", "T1", "--set", "speed_rpm=1600", "--set", "cycles=30", "--why", "log book")[0]
        == 0
    )
    trial = session.ledger.trial("T1")
    assert (
        trial.recipe["speed_rpm"] == 1600 and trial.recipe_asked["speed_rpm"] == 1500 and trial.protocol["cycles"] == 30
    )
    all_rows = session.ledger.cycling("bench", superseded=True)
    assert len(all_rows[all_rows["cycle"].eq(2)]) == 3
    _, out, _ = run("history", "campaign.yaml", "T1")
    assert "wrong die" in out and "leak" in out and "log book" in out


def test_states_are_changed_with_a_reason_and_taken_back(session: Session, run: Run) -> None:
    for verb, after in (("fail", "failed"), ("abandon", "abandoned"), ("exclude", "excluded")):
        code, _, err = run(verb, "campaign.yaml", "T2")
        assert code == 1 and "--why" in err
        assert run(verb, "campaign.yaml", "T2", "--why", "jar opened")[0] == 0
        assert state(session, "T2") == after
        assert run("undo", "campaign.yaml", "T2", "--why", "was T3")[0] == 0
        assert state(session, "T2") == "proposed"


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_export_comes_back_whole(
    session: Session, run: Run, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("ingest", "campaign.yaml", cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), "--area-cm2", AREA)
    before = content(session)
    code, out, _ = run("export", "--format", format_, tmp_path / "out")
    assert code == 0 and "1 raw files" in out
    other = lab(tmp_path / "other", monkeypatch)
    monkeypatch.chdir(tmp_path / "other")
    code, _, err = run("restore", tmp_path / "out")
    assert code == 1 and "a ledger stands there" in err
    assert other.ledger.path is not None
    other.ledger.path.unlink()
    assert run("restore", tmp_path / "out")[0] == 0
    assert content(other) == before
    code, out, _ = run("verify")
    assert code == 0 and "sound" in out and "missing" not in out


def test_backup_restore_and_one_flipped_bit(session: Session, run: Run, tmp_path: Path) -> None:
    run("ingest", "campaign.yaml", cycler_csv(tmp_path / f"{CELL}.csv", [3.0, 2.9]), "--area-cm2", AREA)
    before = content(session)
    assert run("backup", tmp_path / "copy.db")[0] == 0
    assert run("fail", "campaign.yaml", "T2", "--why", "x")[0] == 0
    assert session.ledger.path is not None
    session.ledger.path.unlink()
    assert run("restore", tmp_path / "copy.db")[0] == 0
    assert content(session) == before
    file = next(path for path in session.settings.archive.rglob("*") if path.is_file())
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-2] + b"9\n")
    code, _, err = run("verify")
    assert code == 1 and f"a changed copy of {CELL}.csv" in err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["mixed", "T99"], 1, "there is no trial T0099"),
        (["mixed", "banana"], 1, "no id of a trial"),
        (["mixed", CELL], 1, "is a cell"),
        (["mixed", "T1", "--weighed-active-g", "0.2"], 1, "mass of the sse is missing"),
        (["mixed", "T1", "--speed-rpm", "fast"], 2, "not a valid float"),
        (["mixed", "T1", "--at", "04/03/2026"], 1, "day/month or month/day"),
        (["mixed", "T1", "--by", " "], 1, "--by is empty"),
        (["start", "T99-M1-C1"], 1, "there is no trial"),
        (["start", "T1", "--area-cm2", "-1"], 2, "area"),
        (["stop", CELL], 1, "no such cell"),
        (["stop", "T0"], 1, "no id"),
        (["amend", "campaign.yaml", "T1", "--set", "speed_rpm=1600"], 1, "--why"),
        (["amend", "campaign.yaml", "T1", "--why", "x"], 1, "--set NAME=VALUE"),
        (["amend", "campaign.yaml", "T1", "--set", "sped_rpm=1600", "--why", "x"], 1, "did you mean speed_rpm"),
        (["amend", "campaign.yaml", "T1", "--set", "speed_rpm=fast", "--why", "x"], 1, "not a number"),
        (["amend", "campaign.yaml", "T1", "--set", "speed_rpm=-5", "--why", "x"], 1, "negative"),
        (["amend", "campaign.yaml", "T1", "--set", "start=sideways", "--why", "x"], 1, "discharge or charge"),
        (["amend", "campaign.yaml", CELL, "--set", "area_cm2=1", "--why", "x"], 1, "no cell"),
        (
            ["amend", "campaign.yaml", CELL, "--cycle", "3", "--set", "discharge_capacity_mAh=1", "--why", "x"],
            1,
            "not recorded",
        ),
        (["exclude", "campaign.yaml", "T77", "--why", "x"], 1, "there is no trial"),
        (["abandon", "campaign.yaml", CELL, "--why", "x"], 1, "whole trial"),
        (["undo", "campaign.yaml", "T1", "--why", "x"], 1, "cannot undo|nothing to undo"),
        (["history", "campaign.yaml", "T77"], 1, "there is no trial"),
        (["history", "nowhere.yaml", "T1"], 1, "there is no file"),
        (["assign", "campaign.yaml", "nothing.csv", CELL], 1, "no such file"),
        (["ingest", "campaign.yaml", "nothing.csv"], 1, "there is no file"),
        (["ingest", "campaign.yaml", "."], 1, "is a folder"),
        (["ingest", "campaign.yaml", "campaign.yaml", "--cell", "T77-M1-C1"], 1, "T0077|campaign.yaml"),
        (["ingest", "campaign.yaml", "mixwright.toml", "--amend"], 1, "--why"),
        (["export", "--format", "xml", "out"], 2, "xml"),
        (["export", "."], 1, "exists already"),
        (["backup", "campaign.yaml"], 1, "exists already"),
        (["backup", "no/such/folder/copy.db"], 1, "copy.db"),
        (["restore", "nowhere.db"], 1, "nowhere.db|stands there"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    session: Session, run: Run, words: list[str], code: int, sentence: str
) -> None:
    import re

    before = content(session)
    got, out, err = run(*words)
    assert got == code, err
    assert re.search(sentence, err) and "Traceback" not in err and out == ""
    assert content(session) == before
