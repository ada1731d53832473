"""The inbox: what a tick takes, what it refuses and says, what it leaves alone; a kill or a bad disk loses nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from lab_kit import cycler_csv, fill, lab, sheet_of

from campaign.errors import Refusal
from flows import inbox, take_in
from flows.session import Session

CELL = "T0001-M1-C1"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def folder_of(session: Session) -> Path:
    inbox.empty(session)
    return session.settings.inbox(session.name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def old(path: Path) -> Path:
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def test_files_go_to_done_or_to_refused_with_the_reason(session: Session, tmp_path: Path) -> None:
    folder = folder_of(session)
    old(cycler_csv(folder / f"{CELL}.csv", [3.0, 2.9]))
    old(cycler_csv(folder / "monday.csv", [2.0, 1.9]))
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20)
    (folder / "empty.csv").touch()
    for name in ("holiday.jpg", "empty.csv"):
        old(folder / name)
    sheet = fill(sheet_of(session, tmp_path / "next.xlsx"), {"trial": "T0001", "state": "testing", "area (cm2)": 0.8})
    old(Path(shutil.copy(sheet, folder / "next.xlsx")))
    got = inbox.empty(session)
    assert sorted(got.taken) == [f"{CELL}.csv", "monday.csv", "next.xlsx"]
    assert names(folder) == ["done", "refused"]
    assert names(folder / "done") == [f"{CELL}.csv", "monday.csv", "monday.csv.txt", "next.xlsx"]
    assert names(folder / "refused") == ["empty.csv", "empty.csv.txt", "holiday.jpg", "holiday.jpg.txt"]
    assert "unassigned" in (folder / "done/monday.csv.txt").read_text()
    reason = (folder / "refused/empty.csv.txt").read_text()
    assert reason.startswith("empty.csv: is empty (0 bytes)") and "mixwright ingest" in reason
    assert session.ledger.cycling(session.name)["discharge_areal_capacity_mAh_cm2"].notna().all()
    seq = session.ledger.seq
    assert inbox.empty(session) == inbox.Emptied()
    assert session.ledger.seq == seq


def test_a_file_still_written_or_open_is_left_alone(session: Session) -> None:
    folder = folder_of(session)
    cycler_csv(folder / f"{CELL}.csv", [3.0])
    for name in ("half.csv.part", ".hidden.csv", "~$next.xlsx"):
        (folder / name).write_bytes(b"x")
        old(folder / name)
    (folder / "next.xlsx").write_bytes(b"PK open in a spreadsheet")
    old(folder / "next.xlsx")
    before = names(folder)
    got = inbox.empty(session)
    assert got.taken == () and len(got.sentences) == 3
    assert all("still being written or open" in sentence for sentence in got.sentences)
    assert names(folder) == before
    old(folder / f"{CELL}.csv")
    assert inbox.empty(session).taken == (f"{CELL}.csv",)


@pytest.mark.parametrize("where", ["before the intake", "after the intake", "before the note", "before the move"])
def test_a_kill_at_any_instant_is_made_good_by_the_next_tick(
    session: Session, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = folder_of(session)
    old(cycler_csv(folder / f"{CELL}.csv", [3.0, 2.9]))
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    old(folder / "bad.csv")

    def die(*args: object, **words: object) -> None:
        raise KeyboardInterrupt

    def die_after(*args: object, **words: object) -> None:
        take_once(*args, **words)  # type: ignore[arg-type]  # handed on as it came  # passed on as it came
        raise KeyboardInterrupt

    take_once = take_in.take_in
    with monkeypatch.context() as patch:
        if where.endswith("intake"):
            patch.setattr(take_in, "take_in", die if where.startswith("before") else die_after)
        else:
            patch.setattr(os, "replace" if where.endswith("note") else "rename", die)
        with pytest.raises(KeyboardInterrupt):
            inbox.empty(session)
    inbox.empty(session)
    assert names(folder) == ["done", "refused"]
    assert names(folder / "done") == [f"{CELL}.csv"]
    assert names(folder / "refused") == ["bad.csv", "bad.csv.txt"]
    assert session.ledger.cycling(session.name)["cycle"].to_list() == [1, 2]


def test_a_fault_of_ours_is_no_fault_of_the_file(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from store import Unavailable

    folder = folder_of(session)
    old(cycler_csv(folder / f"{CELL}.csv", [3.0, 2.9]))

    def full(*args: object, **words: object) -> None:
        raise Unavailable("the disk is full; free some space, then repeat the command")

    with monkeypatch.context() as patch:
        patch.setattr(take_in, "take_in", full)
        got = inbox.empty(session)
    assert "disk is full" in got.sentences[0] and "stays in the inbox" in got.sentences[0]
    shutil.rmtree(session.settings.archive, ignore_errors=True)
    session.settings.archive.write_text("a file where the archive should be")
    assert "stays in the inbox" in inbox.empty(session).sentences[0]
    session.settings.archive.unlink()
    assert inbox.empty(session).taken == (f"{CELL}.csv",)


def test_names_never_become_paths(session: Session, tmp_path: Path) -> None:
    folder = folder_of(session)
    odd = ["-rf.csv", "a" * 240 + ".csv", "\u202egpj.csv", "'; drop table.csv", "con\nsole.csv", "CELL.csv", "cell.csv"]
    for name in odd:
        old(cycler_csv(folder / name, [2.0 + len(name) / 1000, 1.9]))
    outside = tmp_path / "secret.csv"
    outside.write_text("a,b\n1,2\n")
    (folder / "link.csv").symlink_to(outside)
    (folder / "folder").mkdir()
    got = inbox.empty(session)
    assert names(folder) == ["done", "folder", "refused"]
    assert any("is a folder" in sentence for sentence in got.sentences)
    assert "symbolic link" in (folder / "refused/link.csv.txt").read_text()
    assert outside.read_text() == "a,b\n1,2\n"
    assert all("\n" not in sentence and "\u202e" not in sentence for sentence in got.sentences)
    archived = {path.name for path in session.settings.archive.rglob("*") if path.is_file()}
    assert all(len(name) == 64 for name in archived)


def test_a_second_file_of_a_name_does_not_push_out_the_first(session: Session) -> None:
    folder = folder_of(session)
    for q in (3.0, 2.0):
        old(cycler_csv(folder / "export.csv", [q, q]))
        inbox.empty(session)
    assert names(folder / "done") == ["export (2).csv", "export (2).csv.txt", "export.csv", "export.csv.txt"]
    assert len(session.ledger.files(session.name)) == 2


def test_a_file_named_for_a_cell_is_taken_by_hand_after_its_refusal(session: Session) -> None:
    folder = folder_of(session)
    file = old(cycler_csv(folder / f"{CELL}.csv", [3.0, 2.9]))
    inbox.empty(session)
    file = old(cycler_csv(folder / f"{CELL}.csv", [3.3, 2.9]))
    inbox.empty(session)
    assert "--amend" in (folder / "refused" / f"{CELL}.csv.txt").read_text()
    with pytest.raises(Refusal):
        take_in.take_in(session, folder / "refused" / file.name, by="Ada")
    take_in.take_in(session, folder / "refused" / file.name, by="Ada", amend=True, why="recalibrated")
    assert session.ledger.cycling(session.name)["discharge_capacity_mAh"].iloc[0] == pytest.approx(3.3, rel=1e-3)
