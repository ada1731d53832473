"""Nothing in the ledger is SQLite's alone: the same story, told to PostgreSQL, reads the same.

Runs where PostgreSQL's `initdb` and the driver psycopg are installed; a throw-away server is made on a socket in a folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from ledger_kit import DECISION, NOW, WHO, begin, designs, fast_folder, scalar, tell, told_campaign

from campaign.errors import Refusal
from store import Ledger, Stale

INITDB = shutil.which("initdb")
pytestmark = pytest.mark.skipif(
    INITDB is None or importlib.util.find_spec("psycopg") is None,
    reason="PostgreSQL (initdb) or its driver psycopg is not installed here",
)
DOORS = ("campaigns", "trials", "mixes", "cells", "results", "cycling", "decisions", "files", "events")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    assert INITDB is not None
    folder = fast_folder()
    folder.chmod(0o777)
    user = 65534 if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    programs = Path(INITDB).resolve().parent

    def run(*command: str) -> None:
        subprocess.run([str(programs / command[0]), *command[1:]], user=user, check=True, capture_output=True, cwd="/")

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "mixwright", "--auth=trust", "-E", "UTF8", "--locale=C")
    options = f"-c unix_socket_directories={folder} -c listen_addresses= -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://mixwright@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def place(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    yield server.replace("/postgres?", f"/{name}?")


def test_the_same_story_reads_the_same(place: str, tmp_path: Path) -> None:
    there, here = tell(Ledger.open(place, create=True)), told_campaign(tmp_path)
    there.verify()
    for door in DOORS:
        pd.testing.assert_frame_equal(getattr(there, door)(), getattr(here, door)(), check_dtype=False)
        then = there.as_of(6), here.as_of(6)
        pd.testing.assert_frame_equal(getattr(then[0], door)(), getattr(then[1], door)(), check_dtype=False)
    assert Ledger.open(place).seq == here.seq
    again = tell(Ledger.open(place))  # every write of the story is repeated: nothing happens
    assert again.seq == here.seq
    assert there.claim("tick c", by="host 2", at=NOW, ttl_s=60) is None
    assert there.pending_projection("c").equals(here.pending_projection("c"))
    there.export(tmp_path / "out")
    with pytest.raises(Refusal, match="pg_dump"):
        there.backup(tmp_path / "copy.db")


def test_an_empty_database_is_made_a_ledger_only_when_asked(place: str) -> None:
    with pytest.raises(Refusal, match="empty database, not a ledger"):
        Ledger.open(place)
    Ledger.open(place, create=True)
    assert Ledger.open(place).trials().empty


def test_writers_queue_and_one_proposer_wins(place: str) -> None:
    begin(Ledger.open(place, create=True), trials=4, evaluator="physics")
    gate, answers = threading.Barrier(8), []

    def work(number: int) -> None:
        ledger = Ledger.open(place)
        gate.wait()
        try:
            ledger.propose("c", designs(2), DECISION, evaluator="physics", trials_seen=4, key=f"p{number}", **WHO)
            answers.append("won")
        except Stale:
            answers.append("late")
        for step in range(20):
            ledger.record(results=scalar("T1", number), key=f"{number} {step}", **WHO)
        while (lease := ledger.claim_next("c", by=f"{number} {len(answers)}", at=NOW, ttl_s=60)) is not None:
            ledger.record(complete=[lease.name], key=f"done {lease.name}", lease=lease, **WHO)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = Ledger.open(place)
    ledger.verify()
    assert sorted(answers) == ["late"] * 7 + ["won"]
    assert set(ledger.trials("c")["state"]) == {"completed"} and len(ledger.trials("c")) == 6
    assert sorted(ledger.results("c")["result"]) == list(range(1, 161))
    assert ledger.seq == 2 + 1 + 160 + 6
