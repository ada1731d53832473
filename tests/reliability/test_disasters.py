"""Promise 17: ordinary disasters end in one clear sentence, quickly, and what was acknowledged is untouched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from disk import Disk
from ledger_kit import WHO, cycles, fast_folder, later, rows, scalar, small_campaign, told_campaign

from campaign.errors import Refusal
from store import Ledger, Unavailable, connection

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
"""From Python 3.12 on a fork beside the idle threads of numpy warns; these children touch neither numpy's threads nor a lock."""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return small_campaign(tmp_path)


def path_of(ledger: Ledger) -> Path:
    assert ledger.path is not None
    return ledger.path


def test_the_database_runs_as_promised(ledger: Ledger) -> None:
    """What no behaviour on a healthy machine would show; the power-cut harness shows why it matters."""
    expected = {"journal_mode": "truncate", "synchronous": 3, "foreign_keys": 1}
    with connection.transaction(ledger._engine, write=False) as now:
        assert {name: now.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected} == expected
    raw = connection.connect(path_of(ledger))
    assert raw.execute("PRAGMA busy_timeout").fetchone()[0] == 30_000
    raw.close()


@pytest.mark.parametrize("pages_left", range(0, 12))
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, pages_left: int) -> None:
    ledger = small_campaign(tmp_path)
    path, before = path_of(ledger), rows(path_of(ledger))
    pages = path.stat().st_size // 4096 + pages_left

    def small_disk(place: Path) -> sqlite3.Connection:
        database = connection.connect(place)
        database.execute(f"PRAGMA max_page_count={pages}")
        return database

    full = Ledger.open(path, connect=small_disk)
    big = cycles("T1", [float(n) for n in range(1, 1500)], flags="x" * 50)
    with pytest.raises(Unavailable, match=r"disk is full.*free some space, then repeat"):
        full.record(cycling=big, key="k", **WHO)
    assert rows(path) == before
    ledger.record(cycling=big, key="k", **WHO)  # space was freed: the same command works
    assert len(ledger.cycling("c")) == 1499
    ledger.verify()


def said_by_nobody(acts: list[Any]) -> list[str]:
    """What each act prints or refuses, done by a user who owns nothing (root may write anywhere)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        for act in acts:
            try:
                word = str(act())
            except Refusal as refusal:
                word = str(refusal)
            os.write(writing, f"{word}\n".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as words:
        said = words.read().splitlines()
    os.waitpid(child, 0)
    return said


def test_a_read_only_folder_is_said_and_reading_goes_on() -> None:
    folder = fast_folder()
    path = path_of(small_campaign(folder))
    Ledger.open(path).export(folder / "warm up")
    folder.chmod(0o555)
    path.chmod(0o444)
    try:
        said = said_by_nobody(
            [
                lambda: len(Ledger.open(path).trials("c")),
                lambda: Ledger.open(path).fail("T1", why="w", key="k", **WHO),
                lambda: Ledger.open(folder / "new.db", create=True),
                lambda: Ledger.open(path).backup(folder / "copy.db"),
                lambda: Ledger.open(path).export(folder / "out"),
            ]
        )
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert said[0] == "3"
    assert "read-only; give the user who runs Mixwright the right to write both" in said[1]
    assert "cannot be made" in said[2] and "cannot be" in said[3] and "cannot be written" in said[4]
    assert len(said) == 5


def test_a_lock_that_does_not_go_away_is_said_after_the_wait(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.3)
    other = sqlite3.connect(path_of(ledger), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    with pytest.raises(
        Unavailable, match=r"another program has held it .* close that program, then repeat the command"
    ):
        ledger.fail("T1", why="w", key="k", **WHO)
    with pytest.raises(Unavailable, match="another program has held it"):
        ledger.trials("c")
    assert 0.5 < time.monotonic() - begun < 10
    other.execute("ROLLBACK")
    other.close()
    assert ledger.fail("T1", why="w", key="k", **WHO) == "failed"


def test_a_lock_that_goes_away_is_only_waited_for(ledger: Ledger) -> None:
    other = sqlite3.connect(path_of(ledger), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    import threading

    threading.Timer(0.5, lambda: other.execute("ROLLBACK")).start()
    assert ledger.fail("T1", why="w", key="k", **WHO) == "failed"


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def missing(path: Path) -> None:
    path.unlink()


def another_database(path: Path) -> None:
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE shopping (item)")
    database.commit()
    database.close()


def empty_database(path: Path) -> None:
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("VACUUM")
    database.close()


def folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


DISASTERS = {
    garbage: "no ledger, or its beginning is destroyed",
    empty: "the file is empty, so what it held is gone",
    half: "damaged|refers to nothing|is not what its history says|malformed",
    missing: "there is no ledger|it is missing",
    another_database: r"no ledger",
    empty_database: "not a ledger|no ledger|the file is empty",
    folder_there: "missing or may not be opened|cannot be",
}


@pytest.mark.parametrize("disaster", DISASTERS)
def test_what_is_no_ledger_is_refused_within_a_second_and_left_as_it_is(ledger: Ledger, disaster: Any) -> None:
    path = path_of(ledger)
    disaster(path)
    content = path.read_bytes() if path.is_file() else None
    begun = time.monotonic()
    with pytest.raises(Refusal, match=DISASTERS[disaster]) as refused:
        Ledger.open(path).verify()
    assert time.monotonic() - begun < 5
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("disaster", [garbage, missing, another_database, folder_there])
def test_a_ledger_that_is_destroyed_while_open_is_noticed_by_the_next_write(ledger: Ledger, disaster: Any) -> None:
    path = path_of(ledger)
    disaster(path)
    with pytest.raises(Unavailable, match=r"ledger\.db"):
        ledger.fail("T1", why="w", key="k", **WHO)
    assert path.exists() != (disaster is missing), "a lost ledger is not silently made anew"


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="its folder does not exist; make the folder first"):
        Ledger.open(tmp_path / "no" / "ledger.db", create=True)
    with pytest.raises(Refusal, match="there is no ledger; check the path"):
        Ledger.open(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("days", [-365, 365, -1 / 24])
def test_a_clock_set_wrong_changes_no_order_and_loses_nothing(ledger: Ledger, days: float) -> None:
    wrong = {"at": later(days=days), "by": "Ada"}
    ledger.record(results=scalar("T1", 1.0), key="1", **WHO)
    ledger.record(results=scalar("T1", 2.0), key="2", **wrong)
    ledger.mixed("T1", key="m", **wrong)
    ledger.fail("T1", why="w", key="3", **WHO)
    assert ledger.results("c")["value"].tolist() == [1.0, 2.0]
    assert ledger.history("T1")["seq"].is_monotonic_increasing
    assert ledger.results("c")["at"].tolist()[1] == later(days=days)
    ledger.verify()


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    lines = [
        "/dev/vda / ext4 rw 0 0",
        f"server:/lab {tmp_path}/share nfs4 rw 0 0",
        f"//nas/x {tmp_path}/my\\040nas cifs rw 0 0",
    ]
    mounts.write_text("\n".join(lines) + "\n")
    for folder, kind in (("share/deep", "nfs4"), ("my nas", "cifs")):
        with pytest.raises(Refusal, match=f"network file system \\({kind}\\).*local disk"):
            connection.refuse_network_file_system(tmp_path / folder / "ledger.db", mounts)
    connection.refuse_network_file_system(tmp_path / "shared" / "ledger.db", mounts)
    connection.refuse_network_file_system(tmp_path / "share" / "ledger.db", tmp_path / "no mounts here")


def test_a_ledger_is_opened_only_after_its_place_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import store.ledger

    def refuse(path: Path) -> None:
        raise Refusal(f"{path}: on a network")

    monkeypatch.setattr(store.ledger, "refuse_network_file_system", refuse)
    with pytest.raises(Refusal, match="on a network"):
        Ledger.open(tmp_path / "ledger.db", create=True)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_mode_that_cannot_be_set_is_refused(ledger: Ledger) -> None:
    class Stubborn(sqlite3.Connection):
        def cursor(self, *args: Any) -> Any:
            return super().cursor(StubbornCursor)

    class StubbornCursor(sqlite3.Cursor):
        def execute(self, statement: str, *args: Any) -> Any:
            return super().execute(statement.replace("journal_mode=TRUNCATE", "journal_mode=MEMORY"), *args)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, factory=Stubborn)

    with pytest.raises(Unavailable, match="runs in journal mode memory"):
        Ledger.open(path_of(ledger), connect=connect)


def test_the_sentences_of_a_failing_disk(tmp_path: Path) -> None:
    import apsw

    ledger = told_campaign(tmp_path)
    disk = Disk()
    broken = Ledger.open(path_of(ledger), connect=disk.connect)

    def trap(_count: int) -> None:
        raise apsw.IOError("disk I/O error")

    disk.trap = trap
    with pytest.raises(Unavailable, match="the disk refused to read or write; check it, then repeat the command"):
        broken.fail("T1", why="w", key="k", **WHO)
