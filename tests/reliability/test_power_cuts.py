"""Promise 1: no acknowledged result is lost in a power cut. 10 000 simulated cuts; broken variants must be caught."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from checker import verdict
from disk import Disk, Operation, PowerCuts
from ledger_kit import DECISION, WHO, cycles, designs, fast_folder, new_ledger, scalar

from store import Ledger

CUTS = 10_000
CUTS_OF_A_CONTROL = 1_500


def recorded_campaign(folder: Path, disk: Disk, *, early: bool = False) -> tuple[dict[str, bytes], Path]:
    """Work on a ledger through the recording disk. Returns the files as they were before, and the ledger's path.

    `early` is the broken variant that tells the caller before the commit has returned.
    """
    path = new_ledger(folder).path
    assert path is not None
    start = {str(path): path.read_bytes()}
    ledger = Ledger.open(path, connect=disk.connect)

    def told(key: str) -> None:
        disk.log.append(Operation("ack", key))

    ledger.put_campaign("c", {}, **WHO)
    told("campaign c version 1")
    seen = 0
    for batch in range(4):
        if early:
            told(f"p{batch}")
        ids = ledger.propose("c", designs(3), DECISION, evaluator="physics", trials_seen=seen, key=f"p{batch}", **WHO)
        seen += len(ids)
        told(f"p{batch}")
        for name in ids:
            key = f"r{name}"
            if early:
                told(key)
            ledger.record(key=key, results=scalar(name), cycling=cycles(name, [3.0, 2.9, 2.8]), complete=[name], **WHO)
            told(key)
    return start, path


def cut_and_judge(folder: Path, disk: Disk, start: dict[str, bytes], path: Path, *, cuts: int, seed: int) -> list[str]:
    """Verdict of the first cut that was not survived, if there is one."""
    chance = random.Random(seed)
    wreck = folder / "wreck"
    cuts_of = PowerCuts(start, disk.log)
    acknowledged_by = [[one.file for one in disk.log[:cut] if one.kind == "ack"] for cut in range(len(disk.log) + 1)]
    for _ in range(cuts):
        cut = chance.randint(1, len(disk.log))
        files = cuts_of.after(cut, chance)
        shutil.rmtree(wreck, ignore_errors=True)
        wreck.mkdir()
        for name, content in files.items():
            (wreck / Path(name).name).write_bytes(content)
        fault = verdict(wreck / path.name, acknowledged_by[cut])
        if fault:
            return [f"cut after {cut} of {len(disk.log)} operations: {fault}"]
    return []


def trial_of_the_disk(*, cuts: int, seed: int, instead: dict[str, str] | None = None, early: bool = False) -> list[str]:
    folder = fast_folder()
    try:
        disk = Disk(instead=instead or {})
        start, path = recorded_campaign(folder, disk, early=early)
        assert sum(operation.kind == "ack" for operation in disk.log) >= 17
        return cut_and_judge(folder, disk, start, path, cuts=cuts, seed=seed)
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(1200)
def test_10000_power_cuts_lose_nothing_that_was_acknowledged() -> None:
    assert trial_of_the_disk(cuts=CUTS, seed=20260301) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_100000_power_cuts_lose_nothing_that_was_acknowledged() -> None:
    assert trial_of_the_disk(cuts=100_000, seed=7) == []


TRUNCATE, EXTRA = "PRAGMA journal_mode=TRUNCATE", "PRAGMA synchronous=EXTRA"


@pytest.mark.parametrize(
    "instead",
    [
        {TRUNCATE: "PRAGMA journal_mode=DELETE", EXTRA: "PRAGMA synchronous=FULL"},
        {TRUNCATE: "PRAGMA journal_mode=DELETE", EXTRA: "PRAGMA synchronous=NORMAL"},
        {TRUNCATE: "PRAGMA journal_mode=MEMORY"},
        {TRUNCATE: "PRAGMA journal_mode=OFF"},
        {EXTRA: "PRAGMA synchronous=OFF"},
    ],
    ids=["delete-full", "delete-normal", "journal-in-memory", "journal-off", "never-synced"],
)
def test_control_a_weaker_mode_is_caught(instead: dict[str, str]) -> None:
    assert trial_of_the_disk(cuts=CUTS_OF_A_CONTROL, seed=1, instead=instead)


def test_control_an_ack_before_the_commit_is_caught() -> None:
    faults = trial_of_the_disk(cuts=CUTS_OF_A_CONTROL, seed=1, early=True)
    assert any("lost" in fault for fault in faults)
