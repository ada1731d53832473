"""The stack of a lab bench in one place: MLflow's pages, a Prefect server, and a schedule that ticks the campaigns.

Each part is a process of its own with its log under `data_dir/logs`. All listen on this machine only. What the settings
already name (a tracking server, a Prefect server that answers) is used, not started a second time. When one part ends, all
are stopped: a bench that half works is worse than one that says so.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from campaign.errors import Refusal
from flows import prefect_call, quiet
from flows.settings import Settings

HOST = "127.0.0.1"
_START_LIMIT_S = 180.0
_STOP_LIMIT_S = 15.0


@dataclass(frozen=True)
class Part:
    """One process of the stack."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    page: str | None = None
    """What people open."""
    health: str | None = None
    """Answers 200 when the part is ready; without one the part is ready when it runs."""


def parts(
    settings: Settings, campaigns: Sequence[Path], *, cron: str, mlflow_port: int, prefect_port: int
) -> list[Part]:
    """Say what has to be started, in order.

    Args:
        settings: where ledger, MLflow and Prefect live.
        campaigns: campaign files that the schedule ticks; none means no schedule.
        cron: when, as cron writes it.
        mlflow_port: of MLflow's pages.
        prefect_port: of Prefect's server and pages.

    Raises:
        Refusal: a port is taken.
    """
    logs = settings.data_dir / "logs"
    chosen: list[Part] = []
    api = settings.prefect_api_url
    if not settings.mlflow_tracking_uri.startswith(("http://", "https://")):
        page = f"http://{HOST}:{_free(mlflow_port, 'MLflow', '--mlflow-port')}"
        words = ["-m", "mlflow", "server", "--backend-store-uri", settings.mlflow_tracking_uri]
        words += ["--default-artifact-root", str(settings.data_dir / "mlartifacts")]
        words += ["--host", HOST, "--port", str(mlflow_port), "--workers", "1"]
        chosen.append(Part("MLflow", _python(*words), {}, logs / "mlflow.log", page, f"{page}/health"))
    if not prefect_call.server_answers(settings):
        page = f"http://{HOST}:{_free(prefect_port, 'Prefect', '--prefect-port')}"
        api = f"{page}/api"
        words = ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)]
        chosen.append(Part("Prefect", _python(*words), {}, logs / "prefect.log", page, f"{api}/health"))
    if campaigns:
        words = ["-m", "flows.prefect_schedule", cron, *(str(path.resolve()) for path in campaigns)]
        chosen.append(Part("schedule", _python(*words), {}, logs / "schedule.log"))
    environment = quiet.variables(replace(settings, prefect_api_url=api))
    return [replace(part, environment=environment) for part in chosen]


def serve(stack: Sequence[Part], *, tell: Callable[[str], None], views: Sequence[str] = ()) -> None:
    """Start the parts one after the other, then wait; SIGINT and SIGTERM stop them all.

    Args:
        stack: what to start.
        tell: gets a line when a part is ready.
        views: addresses to tell when all is ready; MLflow's own first page shows next to nothing.

    Raises:
        Refusal: a part did not start, or ended by itself; the others are stopped first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is a person's Ctrl-C
    with ExitStack() as running:
        children: list[tuple[Part, subprocess.Popen[bytes]]] = []
        try:
            for part in stack:
                children.append((part, _start(part, running)))
                _wait_until_ready(part, children)
                tell(f"{part.name}: {part.page or 'runs'} (log: {part.log})")
            for line in (*views, "stop with Ctrl-C"):
                tell(line)
            while True:
                _refuse_if_ended(children)
                time.sleep(1)
        except KeyboardInterrupt:
            tell("stopping …")


def _python(*words: str) -> tuple[str, ...]:
    return (sys.executable, *words)


def _free(port: int, name: str, flag: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise Refusal(f"{name} wants port {port}, which is taken on this machine; give another: {flag}") from None
    return port


def _start(part: Part, running: ExitStack) -> subprocess.Popen[bytes]:
    part.log.parent.mkdir(parents=True, exist_ok=True)
    log = running.enter_context(part.log.open("ab"))
    child = subprocess.Popen(
        part.command, env={**os.environ, **part.environment}, stdout=log, stderr=log, start_new_session=True
    )
    running.callback(_stop, child)
    return child


def _stop(child: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(_STOP_LIMIT_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait_until_ready(part: Part, children: Sequence[tuple[Part, subprocess.Popen[bytes]]]) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while part.health is not None and not _answers(part.health):
        _refuse_if_ended(children)
        if time.monotonic() > end:
            raise Refusal(f"{part.name} did not answer within {_START_LIMIT_S:.0f} s; see {part.log}")
        time.sleep(0.3)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own loopback address)
            return bool(answer.status == 200)
    except OSError:
        return False


def _refuse_if_ended(children: Sequence[tuple[Part, subprocess.Popen[bytes]]]) -> None:
    for part, child in children:
        code = child.poll()
        if code is not None:
            raise Refusal(f"{part.name} ended by itself (exit {code}), so all was stopped; why stands in {part.log}")
