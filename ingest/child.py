"""The process that parses: one idle parent process that has imported the readers, and one fork of it per file.

The idle process reads one request a line (JSON) and answers with one line: how the fork ended and what it cost. The fork
lowers its limits, closes its doors (`ingest.guard`), parses, and leaves `result.json` in its folder. Nothing is caught
here but a `Refusal`: whatever else a reader dies of (also what is no `Exception`) ends the fork, and its last words are
in `stderr`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from campaign.errors import Refusal
from ingest import guard, tasks
from ingest.limits import Limits

MIB = 1024 * 1024
RESULT = "result.json"
STDERR = "stderr"
STDOUT = "stdout"


def main() -> None:
    """Serve requests until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks.rehearse()
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        worker = os.fork()
        if worker == 0:
            _work(request)
            os._exit(0)
        _, status, usage = os.wait4(worker, 0)
        answer = {
            "exit": os.waitstatus_to_exitcode(status),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "memory_MiB": usage.ru_maxrss / 1024,
        }
        try:
            os.write(1, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:  # who asked has been killed, so nobody waits for this answer or asks again
            os._exit(0)


def _work(request: dict[str, Any]) -> None:
    folder = Path(request["folder"])
    limits = Limits(**request["limits"])
    _redirect(folder)
    _lower(limits)
    os.chdir(folder)
    if request["task"] == "program":
        os.execv(request["arguments"]["argv"][0], request["arguments"]["argv"])  # noqa: S606 - a fixed list, no shell
    tasks.warm_up(request["task"], folder)
    guard.install(folder)
    try:
        result = {"result": tasks.TASKS[request["task"]](folder, limits, request["arguments"])}
    except Refusal as refusal:
        result = {"refused": str(refusal)}
    (folder / RESULT).write_text(json.dumps(result, allow_nan=False), encoding="utf-8")


def _redirect(folder: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, name in ((1, STDOUT), (2, STDERR)):
        target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, descriptor)


def _lower(limits: Limits) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limits.wall_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.unpacked_MiB * MIB, limits.unpacked_MiB * MIB))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_AS, (_mapped_bytes() + limits.memory_MiB * MIB,) * 2)


def _mapped_bytes() -> int:
    """Address space of this process as it starts (Linux); elsewhere a generous constant."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[0]) * resource.getpagesize()
    return 2048 * MIB
