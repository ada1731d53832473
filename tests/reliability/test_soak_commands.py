"""Whole commands killed at random instants, several at once, on bad disks: nothing lost, nothing twice, a sentence each."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from flows.session import Session, open_session

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/flows"))

from lab_kit import AREA, capacity_csv, content, cycler_csv, fill, lab, sheet_of  # noqa: E402 - the path is set above

BROKEN = """
from flows.intake import cell_file
def forgetful(session, file, found, cell, related, new, said, *more, real=cell_file._write):
    cell_file._register(session, file, found, cell.id, related, said.by, cut=new.cut)
    time.sleep(1.0)
    return real(session, file, found, cell, related, new, said, *more)
cell_file._write = forgetful
"""
"""The positive control: a file is noted as taken before its cycles are written."""

IMPORTS = """
import contextlib, os, sys, time, traceback
sys.path.insert(0, sys.argv[1])
import campaign, store, ingest, flows.cli, flows.take_in, flows.inbox, flows.tick, flows.session, flows.cli.lab, flows.cli.run
import flows.cli.people, flows.cli.corrections, flows.choose, flows.answer
exec(sys.argv[2])  # BROKEN above or nothing: the sabotage must stand in the forking process, whose children are the commands
"""
FORKED = """
for line in sys.stdin:
    words = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        os.setsid(); os.chdir(words.pop(0))
        out = os.open(words[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.dup2(out, 1); os.dup2(out, 2)
        sys.argv = ["mixwright", *words[1:]]
        code = 0
        try:
            flows.cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc(); code = 99
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
WITHIN = """
for line in sys.stdin:
    cwd, out, *words = line.rstrip("\\n").split("\\t")
    os.chdir(cwd)
    sys.argv, code = ["mixwright", *words], 0
    with open(out, "x") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            flows.cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc(); code = 99
    print(os.getpid(), code, sep="\\n", flush=True)
"""


class Commands:
    """Runs whole commands in one warm process: in forks of it, so that a kill falls into the work, or within it."""

    def __init__(self, cwd: Path, broken: str = "", *, program: str = FORKED) -> None:
        self.cwd = cwd
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        }
        self.out = cwd / ".command-output"
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPORTS + program, str(ROOT), broken],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd, env=environment,
        )  # fmt: skip

    def run(self, *words: object, kill_after_s: float | None = None) -> tuple[int, str]:
        """Exit code and what was printed; a killed command has the code -9."""
        assert self.process.stdin and self.process.stdout
        self.out.unlink(missing_ok=True)  # a reader whose command was killed still holds the old one
        self.process.stdin.write("\t".join([str(self.cwd), str(self.out), *map(str, words)]) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        code = int(self.process.stdout.readline())
        return code, self.out.read_text(errors="replace")

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def prepared(folder: Path) -> tuple[list[Path], Path]:
    """Files of three cells in three weekly versions each, and a filled sheet."""
    patch = pytest.MonkeyPatch()
    session = lab(folder / "bench", patch)
    patch.undo()
    files = []
    for week, count in enumerate((4, 9, 20)):
        for trial in (1, 2, 3):
            place = folder / f"week{week}"
            place.mkdir(exist_ok=True)
            q = [(3.0 - 0.1 * trial) * 0.98**n for n in range(count)]
            files.append(cycler_csv(place / f"T000{trial}-M1-C1.csv", q, last_share=1.0 if count == 20 else 0.5))
    rows = [
        {
            "trial": f"T000{n}",
            "state": "testing",
            "cell id": f"K{n}",
            "area (cm2)": AREA,
            "channel": str(n),
            "done speed (rpm)": 1500 + n,
        }
        for n in (1, 2, 3)
    ]
    return files, fill(sheet_of(session, folder / "next.xlsx"), *rows)


def final(session: Session) -> dict[str, str]:
    """What must not depend on kills; when a tick came, and so what it foresaw and proposed, does."""
    found = content(session)
    return {name: found[name] for name in ("mixes", "cells", "cycling")}


def kills(folder: Path, count: int, seed: int, *, steps_used: int = 10, broken: str = "") -> tuple[int, int]:
    """See `_kills`; the warm process ends with it."""
    commands = Commands(folder, broken)
    try:
        return _kills(commands, folder, count, seed, steps_used)
    finally:
        commands.close()


def _kills(commands: Commands, folder: Path, count: int, seed: int, steps_used: int) -> tuple[int, int]:
    """Ingest, propose and tick, killed at random and repeated; returns how many were killed inside, and how many were run."""
    files, sheet = prepared(folder)
    shutil.copytree(folder / "bench", folder / "calm")
    campaign = "campaign.yaml"
    commands.cwd = folder / "calm"  # nobody kills here, so a forgetful order of writes does not show
    lasts: list[float] = []
    steps: list[tuple[object, ...]] = [("ingest", campaign, sheet)]
    steps += [("ingest", campaign, file, "--by", "Ada") for file in files]
    del steps[steps_used:]
    for step in steps:
        begun = time.monotonic()
        code, out = commands.run(*step)
        lasts.append(time.monotonic() - begun)
        assert code == 0, out
    expected = final(open_session(folder / "calm" / campaign))
    chance, killed, ran = random.Random(seed), 0, 0
    turn = 0
    while ran < count:
        turn += 1
        place = folder / f"stormy{turn}"
        shutil.copytree(folder / "bench", place)
        inbox = place / "data/inbox/bench"
        inbox.mkdir(parents=True)
        commands.cwd = place
        for number, step in enumerate(steps):
            if number % 3 == 2:  # every third file comes by the inbox, its tick is killed
                brought = Path(str(step[2]))
                shutil.copy(brought, inbox / brought.name)
                os.utime(inbox / brought.name, (1_700_000_000, 1_700_000_000))
                step = ("tick", campaign)
            elif number % 5 == 4:
                ran += 1
                killed += commands.run("propose", campaign, "-q", 1, kill_after_s=chance.uniform(0, 0.5))[0] == -9
            for _ in range(2):
                code, out = commands.run(*step, kill_after_s=chance.uniform(0, 1.1 * lasts[number]))
                ran += 1
                killed += code == -9
                assert code in (0, -9), out
                assert code == -9 or "Traceback" not in out, out  # a killed command's reader may note the broken pipe
            code, out = commands.run(*step)
            assert code == 0, out
        session = open_session(place / campaign)
        session.ledger.verify()
        assert final(session) == expected, f"turn {turn}, seed {seed}"
        assert not list(inbox.glob("*.csv")) and not list(inbox.glob("refused/*"))
        assert session.ledger.trials("bench").index.is_unique
        assert not session.ledger.results("bench").duplicated(["subject", "observable", "note"]).any()
        shutil.rmtree(place)
    return killed, ran


@pytest.mark.timeout(280)
def test_commands_killed_at_random_are_finished_by_repeating_them(tmp_path: Path) -> None:
    killed, ran = kills(tmp_path, 5, seed=1, steps_used=5)
    assert ran >= 5 and killed >= 2


@pytest.mark.timeout(280)
def test_control_a_file_noted_before_its_cycles_are_written_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="seed 5"):
        kills(tmp_path, 40, seed=5, steps_used=2, broken=BROKEN)


@pytest.mark.soak
@pytest.mark.timeout(7000)
@pytest.mark.parametrize("shard", range(4))
def test_200_commands_killed_at_random_in_four_shards(tmp_path: Path, shard: int) -> None:
    killed, ran = kills(tmp_path, 80, seed=2 + shard)
    print(f"{killed} of {ran} commands killed inside, all made good by repeating them")
    assert killed >= 50


def eight_writers(folder: Path, each: int) -> tuple[int, list[str]]:
    """Eight processes, each with commands of its own cells and all with one shared file; returns operations and faults."""
    prepared(folder)
    place = folder / "bench"
    shared = capacity_csv(folder / "T0004-M1-C1.csv", range(1, 8))
    faults: list[str] = []

    def work(worker: int) -> int:
        commands = Commands(place, program=WITHIN)
        commands.out = place / f".out{worker}"
        done = 0
        try:
            for turn in range(each):
                cell = f"T000{1 + worker % 4}-M{2 + worker // 4}-C{1 + turn}"
                for words in (
                    ("start", cell, "--channel", f"{worker}-{turn}", "--area-cm2", AREA, "--by", f"W{worker}"),
                    ("amend", "campaign.yaml", cell, "--set", f"active_mass_mg={1.5 + turn}", "--why", "weighed"),
                    ("ingest", "campaign.yaml", shared, "--area-cm2", AREA),
                    ("stop", cell, "--by", f"W{worker}"),
                ):
                    code, out = commands.run(*words)
                    done += 1
                    if code != 0:
                        faults.append(out)
        finally:
            commands.close()
        return done

    with ThreadPoolExecutor(8) as pool:
        total = sum(pool.map(work, range(8)))
    session = open_session(place / "campaign.yaml")
    session.ledger.verify()
    cells = session.ledger.cells("bench")
    stopped = cells[cells["state"].eq("stopped")]
    if len(stopped) != 8 * each:
        faults.append(f"{len(stopped)} of {8 * each} cells were stopped")
    lost = [name for name, row in stopped.iterrows() if pd.isna(row["active_mass_mg"]) or pd.isna(row["area_cm2"])]
    if lost:
        faults.append(f"lost updates: {lost[:3]}")
    record = session.ledger.cycling("bench", superseded=True)
    if len(record) != 7 or len(session.ledger.files("bench")) != 1:
        faults.append(f"the shared file was counted {len(record)} times 1/7")
    return total, faults


@pytest.mark.timeout(280)
def test_eight_writers_at_once_smoke(tmp_path: Path) -> None:
    total, faults = eight_writers(tmp_path, 1)
    assert total == 32 and faults == []


@pytest.mark.soak
@pytest.mark.timeout(7000)
def test_eight_writers_2000_operations(tmp_path: Path) -> None:
    total, faults = eight_writers(tmp_path, 63)
    assert total >= 2000 and faults == []


# ---- disasters -----------------------------------------------------------------------------------------------------
@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    session = lab(tmp_path / "bench", monkeypatch)
    monkeypatch.chdir(tmp_path / "bench")
    return session


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    from flows.cli import main

    monkeypatch.setattr(sys, "argv", ["mixwright", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_locked_ledger_is_a_sentence(
    bench: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from store import connection

    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.2)
    file = cycler_csv(tmp_path / "T0001-M1-C1.csv", [3.0, 2.9])
    assert bench.ledger.path is not None
    other = sqlite3.connect(bench.ledger.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for words in (
        ("ingest", "campaign.yaml", file),
        ("mixed", "T1"),
        ("start", "T1"),
        ("amend", "campaign.yaml", "T1", "--set", "speed_rpm=1600", "--why", "x"),
        ("today", "campaign.yaml"),
        ("verify",),
    ):
        code, said = call(capsys, monkeypatch, *words)
        assert code == 1 and "another program has held it" in said and "Traceback" not in said, said
    other.execute("ROLLBACK")
    other.close()
    assert call(capsys, monkeypatch, "ingest", "campaign.yaml", file, "--area-cm2", AREA)[0] == 0


@pytest.mark.parametrize("pages_left", [0, 1, 2, 3, 5, 8])
def test_a_full_disk_is_a_sentence_and_the_same_command_ends_it(
    bench: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pages_left: int
) -> None:
    from store import Ledger, connection

    assert bench.ledger.path is not None
    pages = bench.ledger.path.stat().st_size // 4096 + pages_left

    def small(path: Path) -> sqlite3.Connection:
        database = connection.connect(path)
        database.execute(f"PRAGMA max_page_count={pages}")
        return database

    file = capacity_csv(tmp_path / "T0001-M1-C1.csv", range(1, 900))
    real = Ledger.open.__func__  # type: ignore[attr-defined]  # mypy takes a class method for a plain function
    before = final(bench)
    with monkeypatch.context() as patch:
        patch.setattr(
            Ledger, "open", classmethod(lambda cls, place, create=False: real(cls, place, create=create, connect=small))
        )
        code, said = call(capsys, monkeypatch, "ingest", "campaign.yaml", file, "--area-cm2", AREA)
    assert code == 1 and "disk is full" in said and "Traceback" not in said, said
    assert final(bench)["cycling"] == before["cycling"]
    code, said = call(capsys, monkeypatch, "ingest", "campaign.yaml", file, "--area-cm2", AREA)
    assert code == 0, said
    assert len(bench.ledger.cycling("bench")) == 899
    bench.ledger.verify()


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anywhere, and setpriv is missing"
)
def test_a_read_only_folder_is_a_sentence(bench: Session, tmp_path: Path) -> None:
    file = cycler_csv(tmp_path / "T0001-M1-C1.csv", [3.0, 2.9])
    place = Path(os.path.realpath("/dev/shm")) / f"mw-readonly-{os.getpid()}"
    shutil.copytree(tmp_path / "bench", place)
    shutil.copy(file, place / file.name)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from flows.cli import main; sys.argv[0] = 'mixwright'; main()"
    )
    try:
        for words in (
            ("ingest", "campaign.yaml", file.name),
            ("mixed", "T1"),
            ("fail", "campaign.yaml", "T1", "--why", "x"),
            ("backup", "b.db"),
        ):
            done = subprocess.run(
                [*user, sys.executable, "-c", code, *words],
                cwd=place, capture_output=True, text=True, timeout=120,
                env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            assert done.returncode == 1, done.stderr
            assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(place)


def test_a_clock_set_back_changes_no_order(
    bench: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [
        datetime(2027, 3, 4, 10, 30, tzinfo=UTC),
        datetime(2025, 3, 4, tzinfo=UTC),
        datetime(2026, 3, 29, tzinfo=UTC),
    ]
    for day, words in zip(days, (("mixed", "T1"), ("start", "T1-M1-C1"), ("stop", "T1-M1-C1")), strict=True):
        for place in ("flows.session.now", "flows.intake.times.now"):
            monkeypatch.setattr(place, lambda day=day: day)
        code, said = call(capsys, monkeypatch, *words)
        assert code == 0, said
    code, said = call(capsys, monkeypatch, "history", "campaign.yaml", "T1", "--json")
    rows = json.loads(said)
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert bench.ledger.cells("bench").loc["T0001-M1-C1", "state"] == "stopped"
