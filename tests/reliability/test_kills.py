"""Promise 1: kill -9 at random instants; what was printed as done is there, the rest is all or nothing."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import time
from pathlib import Path

import pytest
from checker import verdict
from ledger_kit import WHO, cycles, designs, fast_folder, scalar, small_campaign

from store import Ledger

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
"""From Python 3.12 on a fork beside the idle threads of numpy warns; these children touch neither numpy's threads nor a lock."""


def opened(folder: Path) -> tuple[Path, Ledger]:
    """A ledger that has taken one write of each kind, so that no worker spends its life on compiling statements.

    Between two statements nothing holds the file, so that nothing open is handed to a worker.
    """
    ledger = small_campaign(folder, trials=0)
    assert ledger.path is not None
    names = ledger.add_trials("c", designs(1), evaluator="lab", state="testing", key="trial warm", **WHO)
    ledger.record(results=scalar(names[0]), cycling=cycles(names[0], [3.0, 2.9, 2.8]), key="warm", **WHO)
    return ledger.path, ledger


def worker(ledger: Ledger, told: int, *, early: bool) -> None:
    """Records until it is killed, and tells each key after the ledger has answered (`early`: before, the broken variant)."""
    for number in range(10**6):
        key = f"{os.getpid()}-{number}"
        if early:
            os.write(told, f"{key}\n".encode())
        names = ledger.add_trials("c", designs(1), evaluator="lab", state="testing", key=f"trial {key}", **WHO)
        ledger.record(results=scalar(names[0]), cycling=cycles(names[0], [3.0, 2.9, 2.8]), key=key, **WHO)
        if not early:
            os.write(told, f"{key}\n".encode())


def kill_one(ledger: Ledger, delay_s: float, *, early: bool = False, by: int = signal.SIGKILL) -> list[str]:
    """Start a worker, wait for its first word, end it a random moment later; returns the keys that it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        worker(ledger, writing, early=early)
        os._exit(0)
    os.close(writing)
    select.select([reading], [], [], 30)
    time.sleep(delay_s)
    os.kill(child, by)
    begun = time.monotonic()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == by
    assert time.monotonic() - begun < 5
    words = b""
    while part := os.read(reading, 65536):
        words += part
    os.close(reading)
    return words.decode().split("\n")[:-1]  # what follows the last newline was not told


def kills(count: int, seed: int, *, by: int = signal.SIGKILL) -> tuple[int, list[str]]:
    """Kill workers on one ledger, one after the other. Returns acknowledged writes and the verdicts that are not good."""
    folder = fast_folder()
    chance = random.Random(seed)
    try:
        path, ledger = opened(folder)
        told: list[str] = []
        faults = []
        for number in range(count):
            told += kill_one(ledger, chance.uniform(0, 0.06), by=by)
            if number % 25 == 24 or number == count - 1:
                Ledger.open(path).verify()
            fault = verdict(path, told)
            if fault:
                faults.append(f"kill {number}: {fault}")
        return len(told), faults
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(1200)
def test_200_kills_lose_and_halve_nothing() -> None:
    acknowledged, faults = kills(200, seed=11)
    assert faults == []
    assert acknowledged >= 200, "each worker must have done something"


@pytest.mark.timeout(1200)
def test_200_term_signals_end_the_program_within_5_s_and_lose_nothing() -> None:
    acknowledged, faults = kills(200, seed=13, by=signal.SIGTERM)
    assert faults == []
    assert acknowledged >= 200


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_2000_kills_lose_and_halve_nothing() -> None:
    acknowledged, faults = kills(2000, seed=12)
    assert faults == []
    assert acknowledged >= 2000


def test_control_a_worker_that_tells_before_the_commit_is_caught() -> None:
    folder = fast_folder()
    chance = random.Random(3)
    try:
        path, ledger = opened(folder)
        told: list[str] = []
        for _ in range(60):
            told += kill_one(ledger, chance.uniform(0, 0.01), early=True)
            if verdict(path, told):
                return
        pytest.fail("60 kills did not show a result that was told before it was stored")
    finally:
        shutil.rmtree(folder)
