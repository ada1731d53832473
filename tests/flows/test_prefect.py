"""Prefect for real, under the pinned set: the embedded server, and a server, a work pool and a schedule that fires."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
Write = Callable[..., Path]


@contextmanager
def process(command: list[str | Path], log: Path, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [str(word) for word in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(10)


def wait_for(what: str, found: Callable[[], bool], log: Path, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return
        time.sleep(0.5)
    raise AssertionError(f"no {what} within {seconds:.0f} s; the log ends:\n{log.read_text(errors='replace')[-3000:]}")


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def free_port() -> int:
    return _free_ports(1)[0]


def _mixwright(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / "mixwright", *arguments]
    return subprocess.run(
        command, env=dict(os.environ), cwd=REPO, capture_output=True, text=True, check=False, timeout=280
    )


def test_run_is_one_flow_on_the_embedded_server(write_campaign: Write, data_dir: Path) -> None:
    campaign = write_campaign(("trials: 6", "trials: 3"))
    done = _mixwright("run", campaign)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("Recommended: ")
    assert (data_dir / "prefect").is_dir()
    _homes.append(data_dir / "prefect")


def test_a_refusal_in_a_run_is_one_sentence(write_campaign: Write, data_dir: Path, tmp_path: Path) -> None:
    """A lab of one's own that gives what no cell can: known when it has been asked, inside Prefect's task."""
    campaign = write_campaign(("evaluator: physics", "evaluator: virtual-lab"))
    (tmp_path / "own.py").write_text(
        "class Lab:\n"
        "    def mix(self, recipe, context, day):\n        return 1\n"
        "    def powder(self, mix):\n        return {}\n"
        "    def cycle(self, cell, n):\n        return [-1.0] * n, [1.0] * n\n"
        "    def best(self):\n        return 1.0\n"
        "def factory(seed, level):\n    return Lab()\n"
    )
    for home in _homes[:1]:
        shutil.copytree(home, data_dir / "prefect", dirs_exist_ok=True)
    done = _mixwright("run", campaign, "--lab", f"{tmp_path / 'own.py'}:factory")
    assert done.returncode == 1, done.stderr[-3000:]
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("mixwright: ")]
    assert "own.py" in sentence and "Traceback" not in done.stderr and done.stderr.count("Refusal") == 0


_homes: list[Path] = []
"""Homes of Prefect whose database is migrated: ten seconds that the next server need not spend again."""


@pytest.mark.timeout(600)
def test_a_deployed_schedule_really_fires(
    write_campaign: Write, data_dir: Path, tmp_path: Path, free_port: int
) -> None:
    """Our prefect.yaml on a process work pool; only the clocks of schedule and worker are made faster."""
    campaign = write_campaign(("trials: 6", "trials: 3"))
    api = f"http://127.0.0.1:{free_port}/api"
    env = {
        **os.environ,
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(data_dir / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    for home in _homes[:1]:
        for file in home.glob("prefect.db*"):
            (data_dir / "prefect").mkdir(exist_ok=True)
            shutil.copy(file, data_dir / "prefect")
    # Deployed from a folder of its own that holds what a lab would have: our prefect.yaml and our flows.
    text = (REPO / "prefect.yaml").read_text(encoding="utf-8")
    assert 'cron: "0 6 * * *"\n        timezone: UTC' in text
    text = text.replace('cron: "0 6 * * *"\n        timezone: UTC', "interval: 5")
    text = text.replace("campaign: examples/lpscl_sulfur.yaml", f"campaign: {campaign}")
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "prefect.yaml").write_text(text, encoding="utf-8")
    (lab / "flows").symlink_to(REPO / "flows")
    env["PYTHONPATH"] = str(REPO)
    server = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(free_port)]
    with process(server, tmp_path / "server.log", env, tmp_path):
        wait_for("Prefect server", lambda: healthy(f"{api}/health"), tmp_path / "server.log")
        for words in (
            ["work-pool", "create", "mixwright", "--type", "process"],
            ["--no-prompt", "deploy", "--name", "tick"],
        ):
            done = subprocess.run(
                [BIN / "prefect", *words],
                env=env | {"PWD": str(lab)},
                cwd=lab,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        worker = [BIN / "prefect", "worker", "start", "--pool", "mixwright", "--type", "process"]
        with process(worker, tmp_path / "worker.log", env, tmp_path):
            ledger = data_dir / "ledger.db"

            wait_for(
                "tick that a schedule fired", lambda: _completed(ledger) == 3, tmp_path / "worker.log", seconds=240
            )
    shutil.rmtree(data_dir / "prefect", ignore_errors=True)


@pytest.mark.soak  # two minutes of waiting for cron
@pytest.mark.timeout(600)
def test_serve_starts_pages_and_a_schedule_and_stops_them_all(
    write_campaign: Write, data_dir: Path, tmp_path: Path
) -> None:
    campaign = write_campaign(("trials: 6", "trials: 3"))
    ports = [str(port) for port in _free_ports(2)]
    words = ["serve", campaign, "--cron", "* * * * *", "--mlflow-port", ports[0], "--prefect-port", ports[1]]
    log = tmp_path / "serve.log"
    with process([BIN / "mixwright", *words], log, dict(os.environ), tmp_path) as bench:
        wait_for("schedule", lambda: "schedule: runs" in log.read_text(), log)
        assert healthy(f"http://127.0.0.1:{ports[0]}/health") and healthy(f"http://127.0.0.1:{ports[1]}/api/health")
        wait_for("tick of the schedule", lambda: _completed(data_dir / "ledger.db") == 3, log, seconds=120)
        again = subprocess.run([BIN / "mixwright", *map(str, words)], capture_output=True, text=True, check=False)
        assert again.returncode == 1 and f"wants port {ports[0]}, which is taken" in again.stderr
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(60) == 0
    assert not healthy(f"http://127.0.0.1:{ports[0]}/health") and not healthy(f"http://127.0.0.1:{ports[1]}/api/health")


def test_serve_refuses_what_is_no_schedule(write_campaign: Write, run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("serve", write_campaign(), "--cron", "daily at six")
    assert code == 1 and not out
    assert "--cron 'daily at six' is no schedule" in err and "0 6 * * *" in err


def _completed(ledger: Path) -> int:
    import sqlite3

    if not ledger.exists():
        return 0
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10) as connection:
        try:
            query = "SELECT count(*) FROM trial WHERE evaluator = 'physics' AND state = 'completed'"
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the ledger is being made


def test_tick_uses_the_server_only_if_it_answers(
    write_campaign: Write, free_port: int, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    code, out, err = run("tick", write_campaign(("trials: 6", "trials: 3")))
    assert code == 0, err
    assert "does not answer: the same steps without Prefect" in err
    assert "proposed 3, evaluated 3" in out
