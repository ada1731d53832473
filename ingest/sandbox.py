"""Run one parse in a child process with limits, and turn every way in which it can end into a result or one sentence."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from campaign.errors import Refusal
from ingest.limits import Limits

INPUT = "input"
STDOUT = "stdout"
CONVERTED = ".converted"
_ROOT = Path(__file__).resolve().parent.parent
_START = "import sys; sys.path.insert(0, sys.argv[1]); from ingest.child import main; main()"
_BLOCK = 1 << 20
_lock = threading.Lock()
_servers: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Snapshot:
    """A private copy of a file, taken and hashed in one pass, so that what is parsed is what is archived."""

    name: str
    sha256: str
    size: int


def take(path: Path, target: Path, *, limits: Limits) -> Snapshot:
    """Copy a regular file to `target` and hash it.

    Raises:
        Refusal: the path is no regular file, is empty, too large, unreadable, or changed while it was copied.
    """
    name = shown(path.name)
    try:
        found = path.lstat()
    except (OSError, ValueError) as error:
        raise Refusal(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISLNK(found.st_mode):
        raise Refusal(f"{name}: is a symbolic link; give the file itself")
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket"
        raise Refusal(f"{name}: is {kind}, not a file")
    if found.st_size == 0:
        raise Refusal(f"{name}: is empty (0 bytes); was the export finished?")
    if found.st_size > limits.file_MiB * 1024 * 1024:
        raise Refusal(
            f"{name}: has {found.st_size / 2**20:.0f} MiB; the limit is {limits.file_MiB} MiB (setting file_MiB)"
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refusal(f"{name}: cannot be opened ({error.strerror})") from None
    digest = hashlib.sha256()
    copied = 0
    with os.fdopen(descriptor, "rb") as source, target.open("xb") as copy:
        while block := source.read(_BLOCK):
            digest.update(block)
            copy.write(block)
            copied += len(block)
            if copied > found.st_size:
                break
        after = os.fstat(source.fileno())
    if (after.st_size, after.st_mtime_ns, after.st_ino) != (
        found.st_size,
        found.st_mtime_ns,
        found.st_ino,
    ) or copied != found.st_size:
        raise Refusal(
            f"{name}: changed while it was read; it is still being written, so it is left alone until it rests"
        )
    return Snapshot(name=name, sha256=digest.hexdigest(), size=copied)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a private folder for one file, gone afterwards.

    Raises:
        Refusal: the temporary folder of this machine is full or cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mixwright-") as folder:
            yield Path(folder)
    except OSError as error:
        raise Refusal(
            f"the temporary folder {tempfile.gettempdir()} cannot be used ({error.strerror}); free some room there and "
            "try again, nothing was taken"
        ) from None


def shown(name: str) -> str:
    """Return a file name fit for a sentence: printable, on one line, at most 120 characters."""
    safe = "".join(
        ch if ch.isprintable() and ch not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" else "?"
        for ch in name
    )
    return safe if len(safe) <= 120 else safe[:80] + "…" + safe[-39:]


def run(task: str, folder: Path, name: str, arguments: Mapping[str, Any], *, limits: Limits) -> Any:
    """Run a task of `ingest.tasks` on what lies in `folder`, in a limited child process.

    Returns:
        What the task returned (plain JSON data).

    Raises:
        Refusal: the task refused, or its process ended in any other way.
    """
    answer = _ask(
        {"task": task, "folder": str(folder), "arguments": dict(arguments), "limits": asdict(limits)}, limits, name
    )
    result = folder / "result.json"
    if answer["exit"] == 0 and task == "program":
        return answer
    if answer["exit"] == 0 and result.exists():
        content = json.loads(result.read_text(encoding="utf-8"))
        if "refused" in content:
            raise Refusal(_one_sentence(content["refused"]))
        return content["result"]
    raise Refusal(f"{name}: {_ending(answer, folder / 'stderr', limits)}")


def _one_sentence(text: str) -> str:
    """Keep a sentence to one line of a length that people read, whatever a damaged file put into it."""
    line = " ".join("".join(ch if ch.isprintable() else "?" for ch in text).split(" "))
    return line if len(line) <= 800 else line[:500] + " … " + line[-280:]


def _ending(answer: dict[str, Any], stderr: Path, limits: Limits) -> str:
    words = stderr.read_text(encoding="utf-8", errors="replace")[-4000:] if stderr.exists() else ""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    last = shown(lines[-1]) if lines else "no message"
    if answer["exit"] == -signal.SIGXCPU or (answer["exit"] == -signal.SIGKILL and answer["cpu_s"] >= limits.cpu_s):
        return (
            f"needed more than {limits.cpu_s} s of computing to read (setting cpu_s); it is damaged, hostile or far "
            "too large"
        )
    if answer["exit"] == -signal.SIGALRM:
        return f"took longer than {limits.wall_s} s to read (setting wall_s); it is damaged, hostile or far too large"
    if (
        "MemoryError" in last
        or "memory allocation" in words
        or "Cannot allocate" in words
        or answer["exit"] == -signal.SIGKILL
    ):
        return (
            f"needed more than {limits.memory_MiB} MiB of memory to read (setting memory_MiB); it is damaged, "
            "hostile or far too large"
        )
    return (
        f"the reader gave up ({last}); the file is damaged or of a version we do not know: export it again, as CSV "
        "if that stays so"
    )


def _ask(request: dict[str, Any], limits: Limits, name: str) -> dict[str, Any]:
    line = json.dumps(request).encode() + b"\n"
    with _lock:
        for attempt in (1, 2):
            server = _server()
            requests, answers = _pipes(server)
            try:
                requests.write(line)
                requests.flush()
            except BrokenPipeError:
                _stop(server)
                continue
            ready, _, _ = select.select([answers], [], [], limits.wall_s + 30)
            reply = answers.readline() if ready else b""
            if reply:
                answer: dict[str, Any] = json.loads(reply)
                return answer
            _stop(server)
            if attempt == 2 or not ready:
                break
    raise Refusal(
        f"{name}: the reading process ended without an answer; try again, and if it stays so the file is hostile or "
        "damaged"
    )


def _server() -> subprocess.Popen[bytes]:
    server = _servers.get(os.getpid())
    if server is not None and server.poll() is not None:
        _stop(server)
        server = None
    if server is None:
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "TZ")
        }
        environment |= {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "2",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        server = subprocess.Popen(
            [sys.executable, "-c", _START, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        if not _servers:
            atexit.register(close)
        _servers[os.getpid()] = server
    return server


def _pipes(server: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert server.stdin is not None and server.stdout is not None
    return server.stdin, server.stdout


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    for pipe in _pipes(server):
        pipe.close()
    _servers.pop(os.getpid(), None)


def close() -> None:
    """End the idle reading process of this process, if there is one."""
    server = _servers.pop(os.getpid(), None)
    if server is not None:
        for pipe in _pipes(server):
            pipe.close()
        server.wait(timeout=30)
