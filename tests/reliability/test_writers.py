"""Promises 3 and 16: processes on one ledger queue, agree, and never get the same trial twice."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ledger_kit import DECISION, NOW, WHO, designs, fast_folder, later, new_ledger, scalar, small_campaign

from campaign.errors import Refusal
from store import Lease, Ledger, Stale

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
"""From Python 3.12 on a fork beside the idle threads of numpy warns; these children touch neither numpy's threads nor a lock."""


def in_processes(count: int, folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(number)` in forked processes that start at one instant; returns their answers."""
    gate_in, gate_out = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(gate_out)
            os.read(gate_in, 1)  # returns when the parent closes the gate
            try:
                answer: Any = work(number)
            except Refusal as refusal:
                answer = {"refusal": str(refusal)}
            (folder / f"answer {number}.json").write_text(json.dumps(answer))
            os._exit(0)
        children.append(child)
    os.close(gate_in)
    os.close(gate_out)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count
    return [json.loads((folder / f"answer {number}.json").read_text()) for number in range(count)]


@pytest.fixture
def folder() -> Any:
    path = fast_folder()
    yield path
    shutil.rmtree(path)


@pytest.mark.timeout(1200)
def test_8_writers_of_2000_operations_lose_no_update_and_see_no_lock(folder: Path) -> None:
    path = small_campaign(folder, trials=8).path
    assert path is not None

    def work(number: int) -> dict[str, Any]:
        ledger = Ledger.open(path)
        waits, answers = [], []
        for step in range(250):
            key, trial = f"w{number} s{step}", f"T{step % 8 + 1}"
            begun = time.perf_counter()
            if step % 5 < 3:
                answers += ledger.record(results=scalar(trial, number + step / 1000), key=key, **WHO)["results"]
            elif step % 5 == 3:
                ledger.add_trials("c", designs(1), evaluator="earlier", key=key, **WHO)
            else:
                ledger.mixed(trial, key=key, **WHO)
            waits.append(time.perf_counter() - begun)
        return {"ids": answers, "waits": waits}

    answers = in_processes(8, folder, work)
    assert not [answer for answer in answers if "refusal" in answer]
    ledger = Ledger.open(path)
    ledger.verify()
    assert ledger.seq == 2 + 2000
    ids = [number for answer in answers for number in answer["ids"]]
    assert len(ids) == len(set(ids)) == 1200
    found = ledger.results("c").set_index("result")["value"]
    for number, answer in enumerate(answers):
        assert {round(found[name] - number, 3) for name in answer["ids"]} == {s / 1000 for s in range(250) if s % 5 < 3}
    assert len(ledger.trials("c")) == 8 + 400
    assert len(ledger.mixes("c")) == 400  # two writers that mixed the same trial got two mixes, not one
    assert all(name.split("-M")[1].isdigit() for name in ledger.mixes("c").index)
    waits = sorted(wait for answer in answers for wait in answer["waits"])
    assert waits[-1] < 30
    assert waits[int(0.95 * len(waits))] < 1


def test_16_proposers_at_one_instant_issue_nothing_twice(folder: Path) -> None:
    """All have read the same ledger; one batch is taken, and the others are told that they were late."""
    path = small_campaign(folder, trials=0).path
    assert path is not None
    for round_number in range(5):
        seen = len(Ledger.open(path).trials("c"))

        def work(number: int, seen: int = seen, round_number: int = round_number) -> Any:
            ledger = Ledger.open(path)
            key = f"round {round_number} process {number}"
            try:
                return ledger.propose("c", designs(4), DECISION, evaluator="lab", trials_seen=seen, key=key, **WHO)
            except Stale:
                return "late"

        answers = in_processes(16, folder, work)
        assert answers.count("late") == 15, "the collision must have happened"
        assert len(Ledger.open(path).trials("c")) == seen + 4


@pytest.mark.timeout(1200)
def test_16_workers_claim_500_simulated_trials_each_once_while_holders_die(folder: Path) -> None:
    path = small_campaign(folder, trials=500, evaluator="physics").path
    assert path is not None

    def work(number: int) -> list[str]:
        ledger = Ledger.open(path)
        mine = []
        for turn in range(10**6):
            me = f"worker {number} life {turn}"
            lease = ledger.claim_next("c", by=me, at=NOW, ttl_s=3600)
            if lease is None:
                return mine
            if turn % 4 == 3:  # this life dies holding its lease; see below
                continue
            ledger.record(
                results=scalar(lease.name), complete=[lease.name], key=f"answer {lease.name}", lease=lease, **WHO
            )
            mine.append(lease.name)
        return mine

    answers = in_processes(16, folder, work)
    done = [name for answer in answers for name in answer]
    ledger = Ledger.open(path)
    assert len(done) == len(set(done))
    states = ledger.trials("c")["state"]
    assert set(states[states == "completed"].index) == set(done)
    dead = 500 - len(done)
    assert dead >= 100, "holders must have died"
    after = later(hours=2)  # their leases have ended: each trial is given out again, once
    again = []
    while (lease := ledger.claim_next("c", by=f"heir {len(again)}", at=after, ttl_s=3600)) is not None:
        assert lease.fence == 2
        again.append(lease.name)
    assert sorted(again + done) == sorted(states.index)


def test_a_worker_that_slept_through_its_lease_cannot_record(folder: Path) -> None:
    ledger = small_campaign(folder, trials=1, evaluator="physics")
    slept = ledger.claim_next("c", by="first", at=NOW, ttl_s=60)
    heir = ledger.claim_next("c", by="second", at=later(seconds=61), ttl_s=60)
    assert slept is not None and heir is not None and heir.fence == slept.fence + 1
    with pytest.raises(Stale, match="went from first to second"):
        ledger.record(results=scalar("T1"), complete=["T1"], key="late", lease=slept, **WHO)
    assert ledger.results("c").empty
    ledger.record(results=scalar("T1"), complete=["T1"], key="heir", lease=heir, **WHO)
    assert len(ledger.results("c")) == 1


def test_an_expired_lease_that_nobody_took_still_records(folder: Path) -> None:
    ledger = small_campaign(folder, trials=1, evaluator="virtual-lab")
    lease = ledger.claim_next("c", by="slow", at=NOW, ttl_s=1)
    assert lease is not None
    ledger.record(results=scalar("T1"), key="k", lease=lease, at=later(days=3), by="slow")
    assert len(ledger.results("c")) == 1


def test_no_clock_gives_lab_work_to_anybody(folder: Path) -> None:
    ledger = small_campaign(folder, trials=2, evaluator="lab")
    for days in (0, 365, -365, 36500):
        assert ledger.claim_next("c", by=f"robot {days}", at=later(days=days), ttl_s=1) is None
    assert set(ledger.trials("c")["state"]) == {"proposed"}


def test_a_lease_is_renewed_released_and_asked_for_again(folder: Path) -> None:
    ledger = new_ledger(folder)
    lease = ledger.claim("tick c", by="one", at=NOW, ttl_s=60)
    assert lease == Lease("tick c", "one", 1, later(seconds=60))
    assert ledger.holder("tick c") == lease and ledger.holder("tick d") is None
    assert ledger.claim("tick c", by="one", at=NOW, ttl_s=60) == lease  # the holder asks again: the same answer
    assert ledger.claim("tick c", by="two", at=later(seconds=59), ttl_s=60) is None
    lease = ledger.renew(lease, at=later(seconds=59), ttl_s=60)
    assert ledger.claim("tick c", by="two", at=later(seconds=61), ttl_s=60) is None
    ledger.release(lease, at=later(seconds=62))
    heir = ledger.claim("tick c", by="two", at=later(seconds=62), ttl_s=60)
    assert heir is not None and heir.fence == 2
    ledger.release(lease, at=later(seconds=63))  # gone by: nothing happens
    assert ledger.claim("tick c", by="three", at=later(seconds=63), ttl_s=60) is None
    with pytest.raises(Stale):
        ledger.renew(lease, at=later(seconds=64), ttl_s=60)


def test_a_file_that_8_processes_bring_at_once_is_one_file(folder: Path) -> None:
    path = small_campaign(folder, trials=0).path
    assert path is not None

    def work(number: int) -> int:
        ledger = Ledger.open(path)
        names = [f"{i:02x}" * 32 for i in range(25)]
        return sum(ledger.register_file("c", name, name=f"copy {number}.csv", size=5, **WHO) for name in names)

    assert sum(in_processes(8, folder, work)) == 25
    ledger = Ledger.open(path)
    assert len(ledger.files("c")) == 25
    assert ledger.seq == 1 + 25


def test_control_without_the_immediate_lock_writers_collide(folder: Path) -> None:
    """The broken variant BEGIN DEFERRED: SQLite then refuses some of the writers half-way, which callers would see."""
    import sqlite3

    path = new_ledger(folder).path
    assert path is not None

    def work(number: int) -> str:
        database = sqlite3.connect(path, isolation_level=None, timeout=30)
        for _ in range(40):
            try:
                database.execute("BEGIN DEFERRED")
                seq = database.execute("SELECT seq FROM ledger").fetchone()[0]
                time.sleep(0.001)
                database.execute("UPDATE ledger SET seq = ?", (seq + 1,))
                database.execute("COMMIT")
            except sqlite3.OperationalError:
                return "locked"
        return "fine"

    assert "locked" in in_processes(8, folder, work)
