"""Promises 1 and 2: every n-th file operation fails in turn (error, disk full, death); nothing is lost or counted twice.

A caller who saw an error cannot know whether the commit happened. So each write is repeated with its key until it
answers, and must then stand exactly once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from checker import verdict
from disk import Disk
from ledger_kit import DECISION, WHO, cycles, designs, fast_folder, rows, scalar, small_campaign

from store import Ledger, Unavailable

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
"""From Python 3.12 on a fork beside the idle threads of numpy warns; these children touch neither numpy's threads nor a lock."""

Act = Callable[[Ledger, str], object]
VERBS: dict[str, Act] = {
    "propose": lambda ledger, key: ledger.propose(
        "c", designs(2), DECISION, evaluator="physics", trials_seen=3, key=key, **WHO
    ),
    "record": lambda ledger, key: ledger.record(
        results=scalar("T1"), cycling=cycles("T1", [3.0, 2.9, 2.8]), complete=["T1"], key=key, **WHO
    ),
    "amend": lambda ledger, key: ledger.amend(
        why="typo", subjects={"T2": {"recipe_done": {"speed_rpm": 1234.0}}}, key=key, **WHO
    ),
    "start": lambda ledger, key: ledger.start("T3", channel="1", key=key, **WHO),
    "register_file": lambda ledger, key: ledger.register_file("c", key * 2, name=key, size=1, **WHO),
}


def fail_at(point: int, error: Callable[[], BaseException]) -> Callable[[int], None]:
    def trap(count: int) -> None:
        if count == point:
            raise error()

    return trap


def put_back(path: Path, copy: Path) -> None:
    """The file as it was; nothing holds it open between two statements."""
    shutil.copyfile(path, copy)
    Path(f"{copy}-journal").unlink(missing_ok=True)


def counted(act: Act, path: Path, copy: Path, *, reads_too: bool = False) -> tuple[Disk, Ledger, int]:
    """A ledger at `copy` through a disk that counts, and how many file operations a write makes.

    One ledger serves every point, its file put back for each, so that a statement is compiled once and not at each point.
    """
    put_back(path, copy)
    disk = Disk(reads_too=reads_too)
    ledger = Ledger.open(copy, connect=disk.connect)
    disk.count = 0
    act(ledger, "the write")
    return disk, ledger, disk.count


def attempt(act: Act, ledger: Ledger) -> bool:
    """One try; False where the caller saw an error."""
    try:
        act(ledger, "the write")
    except Unavailable as refusal:
        assert "ledger.db" in str(refusal) or "copy.db" in str(refusal), refusal
        return False
    return True


def sweep(verb: str, error: Callable[[], BaseException]) -> tuple[int, int]:
    """Fail each file operation of a write in turn, and repeat it one to five times after.

    Returns:
        How many points there were and how many callers saw an error.
    """
    folder, act = fast_folder(), VERBS[verb]
    try:
        path = small_campaign(folder, evaluator="physics").path
        assert path is not None
        expected_path = folder / "expected.db"
        shutil.copyfile(path, expected_path)
        act(Ledger.open(expected_path), "the write")
        expected, before = rows(expected_path), rows(path)
        reads_too = error is apsw.IOError and verb == "record"  # a read cannot find the disk full
        copy, seen = folder / "copy.db", 0
        disk, ledger, points = counted(act, path, copy, reads_too=reads_too)
        for point in range(1, points + 1):
            put_back(path, copy)
            disk.count, disk.trap = 0, fail_at(point, error)
            answered = attempt(act, ledger)
            disk.trap = None
            seen += not answered
            assert verdict(copy, []) is None, f"{verb}, operation {point}"
            assert rows(copy) in ([expected] if answered else [before, expected])
            for _ in range(1 + point % 5):
                assert attempt(act, ledger)
            assert rows(copy) == expected, f"{verb}, operation {point}: not exactly once"
        return points, seen
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError], ids=["io-error", "disk-full"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_file_operation_fails_in_turn_and_a_retry_makes_it_exactly_once(
    verb: str, error: type[Exception]
) -> None:
    points, seen = sweep(verb, error)
    assert points >= 20
    assert seen >= points // 2, "the failures must have reached the caller"


@pytest.mark.parametrize("verb", VERBS)
def test_death_at_every_file_operation_leaves_all_or_nothing_and_a_retry_completes_it(verb: str) -> None:
    folder, act = fast_folder(), VERBS[verb]
    try:
        path = small_campaign(folder, evaluator="physics").path
        assert path is not None
        expected_path = folder / "expected.db"
        shutil.copyfile(path, expected_path)
        act(Ledger.open(expected_path), "the write")
        expected, before = rows(expected_path), rows(path)
        copy = folder / "copy.db"
        disk, mortal, points = counted(act, path, copy)
        ledger = Ledger.open(copy)
        for point in range(1, points + 1):
            put_back(path, copy)
            child = os.fork()
            if child == 0:
                disk.count, disk.trap = 0, lambda count, point=point: os._exit(9) if count == point else None
                act(mortal, "the write")
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
            Ledger.open(copy)  # what the dead left behind is rolled back by a program that starts
            assert rows(copy) in (before, expected), f"{verb}, operation {point}: half a write"
            assert attempt(act, ledger)
            assert rows(copy) == expected, f"{verb}, operation {point}: not exactly once"
    finally:
        shutil.rmtree(folder)


def test_control_a_retry_with_a_new_key_is_caught() -> None:
    """Without keys, a caller that repeats after an error counts twice at some operation."""
    folder = fast_folder()
    tries = iter(range(10**6))

    def keyless(ledger: Ledger, _key: str) -> object:
        return ledger.add_trials("c", designs(1), evaluator="published", key=f"try {next(tries)}", **WHO)

    try:
        path = small_campaign(folder, evaluator="physics").path
        assert path is not None
        doubled = 0
        copy = folder / "copy.db"
        disk, ledger, points = counted(keyless, path, copy)
        for point in range(1, points + 1):
            put_back(path, copy)
            disk.count, disk.trap = 0, fail_at(point, apsw.IOError)
            if not attempt(keyless, ledger):
                disk.trap = None
                attempt(keyless, ledger)
            disk.trap = None
            doubled += len(ledger.trials("c")) > 4
        assert doubled > 0
    finally:
        shutil.rmtree(folder)
