"""Whole commands on a machine without enough memory: one sentence, the ledger as it was, and the same command ends it."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flows import cli as command_line
from flows.session import Session

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/flows"))

from lab_kit import AREA, capacity_csv, lab  # noqa: E402 - the path is set above

from flows.take_in import take_in as take  # noqa: E402 - the path is set above

MIB = 1 << 20
WARM = """
import os, resource, sys
sys.path.insert(0, sys.argv.pop(1))
room = int(sys.argv.pop(1)) << 20
import botorch.acquisition, botorch.models, botorch.optim, scipy.optimize, sqlalchemy, surrogate, flows.choose, flows.tick
import flows.cli.run
from flows.cli import main
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + room, mapped + room))
sys.argv[0] = "mixwright"
main()
"""
"""A command whose libraries are loaded and that may then map so many MiB more."""
COLD = "import sys; sys.path.insert(0, sys.argv.pop(1)); from flows.cli import main; sys.argv[0] = 'mixwright'; main()"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Four measured cells, so that the next proposal fits a model."""
    session = lab(tmp_path / "bench", monkeypatch)
    for trial in range(1, 5):
        file = capacity_csv(tmp_path / f"T000{trial}-M1-C1.csv", range(1, 21), q=4.0 + 0.2 * trial)
        take(session, file, by="Ada", area_cm2=AREA, active_mass_mg=3.2)
    return session


def ended(session: Session, program: str, *words: object, limit_MiB: int | None = None) -> tuple[int, str, str]:
    """Exit code (negative: died of a signal), stdout and stderr of a command in a process of its own."""

    def lower() -> None:
        if limit_MiB is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit_MiB * MIB, limit_MiB * MIB))

    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), *map(str, words)],
        cwd=session.loaded.path.parent, capture_output=True, text=True, timeout=200, preexec_fn=lower,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
             "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


LAST_WORDS = ("mixwright: memory ran out", "OpenBLAS error: Memory allocation still failed")


def in_one_sentence(code: int, err: str) -> bool:
    """Whether a command ended with our sentence; a death by a signal is as `kill -9`.

    OpenBLAS ends the process by itself, with its own sentence; what scipy's compiled code says ("Exception ignored in")
    cannot be kept from standard error.
    """
    last = err.strip().splitlines()[-1] if err.strip() else ""
    return code < 0 or (code == 1 and last.startswith(LAST_WORDS))


def test_too_little_memory_to_load_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = lab(tmp_path / "bench", monkeypatch)
    seq = session.ledger.seq
    code, out, err = ended(session, COLD, "propose", "campaign.yaml", "-q", 6, limit_MiB=700)
    assert code == 1 and in_one_sentence(code, err) and "Traceback" not in err and not out, err
    assert "this process may use 700 MiB" in err and "the same command continues" in err
    assert session.ledger.seq == seq


@pytest.mark.parametrize(
    ("error", "memory_ran_out"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (ImportError("No module named 'x'"), False),
    ],
)
def test_what_says_that_memory_ran_out(
    error: Exception, memory_ran_out: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(**words: object) -> None:
        raise RuntimeError("the fit failed") from error

    monkeypatch.setattr(command_line, "cli", failing)
    with pytest.raises(SystemExit if memory_ran_out else RuntimeError):
        command_line.main()
    assert ("memory ran out" in capsys.readouterr().err) == memory_ran_out


@pytest.mark.soak
@pytest.mark.timeout(280)
@pytest.mark.parametrize("command", [("propose", "campaign.yaml", "-q", 1), ("tick", "campaign.yaml")])
def test_too_little_memory_to_fit_is_a_sentence_and_the_same_command_ends_it(
    bench: Session, command: tuple[object, ...]
) -> None:
    before = bench.ledger.trials("bench")
    code, _, err = ended(bench, WARM, 4, *command)
    assert code == 1 and in_one_sentence(code, err), err
    assert bench.ledger.trials("bench").equals(before)
    code, _, err = ended(bench, COLD, *command)
    assert code == 0 and len(bench.ledger.trials("bench")) > len(before), err


@pytest.mark.soak
@pytest.mark.timeout(7000)
def test_any_size_of_memory_ends_in_a_sentence_or_in_the_proposal(bench: Session) -> None:
    chance, ends, faults = random.Random(5), Counter(), []
    for turn in range(60):
        before = bench.ledger.trials("bench")
        command = [("propose", "campaign.yaml", "-q", 1), ("tick", "campaign.yaml")][turn % 2]
        if turn % 3:
            code, _, err = ended(bench, WARM, int(2 ** chance.uniform(0, 11)), *command)
        else:
            code, _, err = ended(bench, COLD, *command, limit_MiB=chance.randrange(60, 2600))
        ends[
            "to its end" if code == 0 else "by a signal" if code < 0 else (err.strip().splitlines() or [""])[-1][:20]
        ] += 1
        if code != 0 and not (in_one_sentence(code, err) and bench.ledger.trials("bench").equals(before)):
            faults.append((turn, code, err[-500:]))
        bench.ledger.verify()
    print(dict(ends))
    assert not faults and ends["mixwright: memory ra"] >= 10
