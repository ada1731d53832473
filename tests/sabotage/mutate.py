"""Mutation testing of store/ and ingest/ that ends: a random sample, and for each mutant only the tests that run its line.

    python tests/sabotage/mutate.py --folder /tmp/mutation [--minutes 9] [--part 0/2] [--package ingest] [--seed 1]
                                                                                      again until it says that it is done
    python tests/sabotage/mutate.py --folder /tmp/mutation --report [--survivors]

The first call copies the repository, runs the tests of `TESTS` once and notes which lines of the two packages each test
executes, and how long it takes; tests that fail there are left out. Then the mutants of `mutants.py` are drawn in a random
order (seeded), so that those done at any moment are a fair sample. For each, a fork of a process that has imported all
libraries runs the tests that execute the line, the fastest first, up to `BUDGET_S` seconds of them, until one fails. A
mutant that ends the process or takes far longer than its tests do is noticed too. All is kept in the folder, line by line.
Files are parsed in a fork of the test process, as the reading process would do it, except for mutants of that process
itself. Leaving tests out can only lower the score.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import io
import json
import math
import os
import py_compile
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from mutants import Mutant, compiles, mutants
from run import scratch_copy

PACKAGES = ("store", "ingest")
LEFT_OUT = ("store/migrations/",)
FLOWS = tuple(
    f"tests/flows/test_{name}.py" for name in ("lab_files", "lab_sheets", "inbox", "lab_loop", "ledger_commands")
)
RELIABILITY = tuple(f"tests/reliability/test_{name}.py" for name in ("disasters", "writers", "orders"))
TESTS = {
    "store": ("tests/store", *RELIABILITY, *FLOWS),
    "ingest": ("tests/ingest", "tests/hostile/test_hostile_files.py", "tests/hostile/test_guard.py", FLOWS[2]),
}
OWN_PROCESS = ("ingest/child.py", "ingest/sandbox.py")
UNTRACED = {"ingest/guard.py": ("planted_code", "closes_its_doors"), "ingest/child.py": ("closes_its_doors",)}
"""Tests that look at these files from a process of their own, where no tracer sees the lines: chosen by name."""
SLOW_S = 10.0
"""Tests slower than this are left out: the state machine, the sweeps."""
BUDGET_S = 12.0
PRELOADED = (
    "numpy", "pandas", "pyarrow.compute", "scipy.optimize", "sqlalchemy", "alembic.command", "pytest", "hypothesis.stateful",
    "pint", "openpyxl", "xlsxwriter", "python_calamine", "apsw", "fastnda", "torch", "botorch.models", "click", "rich.console",
    "pydantic", "yaml",
)  # fmt: skip


# ---- which test runs which line ------------------------------------------------------------------------------------
class Tracer:
    """Notes executed lines of the two packages, also those that forks of this process execute."""

    def __init__(self, root: Path) -> None:
        self.prefixes = tuple(f"{root}/{package}/" for package in PACKAGES)
        self.cut = len(str(root)) + 1
        self.lines: set[tuple[str, int]] = set()

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        return self.local if frame.f_code.co_filename.startswith(self.prefixes) else None

    def local(self, frame: Any, event: str, argument: Any) -> Any:
        self.lines.add((frame.f_code.co_filename[self.cut :], frame.f_lineno))
        return self.local

    def taken(self) -> list[str]:
        found, self.lines = [f"{file}:{line}" for file, line in sorted(self.lines)], set()
        return found


class Parsing:
    """Stands in for `ingest.sandbox._ask`: the fork that parses is one of this process, so that no server has to start."""

    def __init__(self, tracer: Tracer | None) -> None:
        self.tracer = tracer

    def __call__(self, request: dict[str, Any], limits: Any, name: str) -> dict[str, Any]:
        from ingest import child

        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                child._work(request)
                code = 0
            except BaseException:  # noqa: BLE001 - as in the reading process: whatever it dies of is its last word
                os.write(2, traceback.format_exc().encode())
            finally:
                if self.tracer is not None:
                    lines = json.dumps(self.tracer.taken()).encode()
                    while lines:
                        lines = lines[os.write(writing, lines) :]
                os._exit(code)
        os.close(writing)
        noted = b""
        while part := os.read(reading, 1 << 16):
            noted += part
        os.close(reading)
        _, status, usage = os.wait4(worker, 0)
        if self.tracer is not None and noted:
            self.tracer.lines |= {(line.rpartition(":")[0], int(line.rpartition(":")[2])) for line in json.loads(noted)}
        used = {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_MiB": usage.ru_maxrss / 1024}
        return {"exit": os.waitstatus_to_exitcode(status), **used}


class Notes:
    """pytest plugin: what each test executed (with a tracer) or how long it took (without), and whether it passed."""

    def __init__(self, tracer: Tracer | None, out: Path) -> None:
        self.tracer, self.out = tracer, out

    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> None:
        self.begun, self.passed = time.monotonic(), False
        if self.tracer is not None:
            self.tracer.lines = set()
            sys.settrace(self.tracer)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self.passed = report.passed
        if report.when == "teardown":
            sys.settrace(None)
            note = {"test": report.nodeid, "seconds": time.monotonic() - self.begun, "passed": self.passed}
            note |= {} if self.tracer is None else {"lines": self.tracer.taken()}
            with self.out.open("a") as file:
                file.write(json.dumps(note) + "\n")


def trace_tests(copy: Path, out: Path, packages: tuple[str, ...], *, traced: bool) -> None:
    """Run every test file once in a fork of its own; what was noted in an earlier call is kept."""
    done = {json.loads(line)["test"].split("::")[0] for line in out.open()} if out.exists() else set()
    folders = [copy / name for package in packages for name in TESTS[package]]
    files = [path for place in folders for path in ([place] if place.is_file() else sorted(place.glob("test_*.py")))]
    for name in sorted({str(path.relative_to(copy)) for path in files} - done):
        worker = os.fork()
        if worker == 0:
            enter(copy)
            tracer = Tracer(copy) if traced else None
            from ingest import sandbox

            sandbox._ask = Parsing(tracer)
            code, said = run_pytest([name], [Notes(tracer, out)], stop=False)
            print(f"{name}: {said.strip().splitlines()[-1] if said.strip() else code}", flush=True)
            os._exit(0)
        os.waitpid(worker, 0)


def enter(copy: Path) -> None:
    """Make this process work in the copy."""
    os.setsid()
    os.chdir(copy)
    sys.path[:] = [
        str(copy),
        *(entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parents[2]),
    ]
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()


def run_pytest(tests: list[str], plugins: list[Any], *, stop: bool) -> tuple[int, str]:
    """Exit code and output of pytest in this process."""
    import pytest

    early = "ignore::pytest.PytestAssertRewriteWarning"  # hypothesis is imported before pytest could rewrite it
    words = [
        "--assert=plain",
        "-W",
        early,
        "-q",
        "-m",
        "not soak",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--no-header",
        "--tb=line",
        *tests,
    ]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = int(pytest.main([*(["-x"] if stop else []), *words], plugins=plugins))
    return code, said.getvalue()


# ---- one mutant ----------------------------------------------------------------------------------------------------
class Chosen:
    """For each line the tests that execute it, the fastest first."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self.of_line: dict[str, set[str]] = {}
        self.of_file: dict[str, set[str]] = {}
        timed = [json.loads(line) for line in (folder / "timed.jsonl").open()]
        self.seconds = {one["test"]: one["seconds"] for one in timed if one["passed"] and one["seconds"] <= SLOW_S}
        for note in map(json.loads, (folder / "traced.jsonl").open()):
            if note["passed"] and note["test"] in self.seconds:
                for place in note["lines"]:
                    self.of_line.setdefault(place, set()).add(note["test"])
                    self.of_file.setdefault(place.rpartition(":")[0], set()).add(note["test"])
        self.sources = {
            str(path.relative_to(copy)): path.read_text().splitlines()
            for package in PACKAGES
            for path in sorted((copy / package).rglob("*.py"))
        }

    def tests(self, mutant: Mutant) -> list[str]:
        """Tests of the lines of a mutant; for a constant of the module, of the lines that name it."""
        places = [f"{mutant.file}:{line}" for line in range(mutant.line, mutant.end_line + 1)]
        if mutant.names:
            word = re.compile(rf"\b({'|'.join(map(re.escape, mutant.names))})\b")
            places += [
                f"{file}:{number}"
                for file, lines in self.sources.items()
                for number, line in enumerate(lines, 1)
                if word.search(line)
            ]
        found = set().union(*(self.of_line.get(place, set()) for place in places))
        words = UNTRACED.get(mutant.file, ())
        found |= {test for test in self.seconds if any(word in test for word in words)}
        ordered = sorted(found or self.of_file.get(mutant.file, set()), key=self.seconds.__getitem__)
        total, kept = 0.0, []
        for test in ordered:
            total += self.seconds[test]
            if total > BUDGET_S and kept:
                break
            kept.append(test)
        return kept


def fate(mutant: Mutant, copy: Path, tests: list[str], limit_s: float) -> tuple[str, str]:
    """What became of one mutant: `killed`, `survived` or `not run`, and by which test."""
    if not tests:
        return "not run", ""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    report, begun = copy / ".mutant-report", time.monotonic()
    path.write_text(mutant.applied(source), encoding="utf-8")
    try:
        worker = os.fork()
        if worker == 0:
            enter(copy)
            os.environ["TMPDIR"] = tempfile.tempdir = str(copy / ".tmp")
            try:
                if mutant.file not in OWN_PROCESS:
                    from ingest import sandbox

                    sandbox._ask = Parsing(None)
                code, said = run_pytest(tests, [], stop=True)
            except BaseException:  # noqa: BLE001 - the mutated package cannot even be imported
                code, said = 1, traceback.format_exc()
            report.write_text(said, encoding="utf-8", errors="replace")
            os._exit(code if code < 128 else 1)
        while (ended := os.waitpid(worker, os.WNOHANG)) == (0, 0) and time.monotonic() - begun < limit_s:
            time.sleep(0.02)
        try:
            os.killpg(worker, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if ended == (0, 0):
            os.waitpid(worker, 0)
            return "killed", f"no end within {limit_s:.0f} s"
        code = os.waitstatus_to_exitcode(ended[1])
        said = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
        if code == 0:
            return "survived", ""
        noticed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, flags=re.MULTILINE)
        return "killed", noticed.group(1) if noticed else f"ended with {code}: {said.strip()[-120:]}"
    finally:
        path.write_text(source, encoding="utf-8")
        report.unlink(missing_ok=True)
        shutil.rmtree(copy / ".tmp", ignore_errors=True)
        (copy / ".tmp").mkdir(exist_ok=True)


def drawn(copy: Path, seed: int, packages: tuple[str, ...]) -> list[Mutant]:
    """All mutants of the packages in a random order, those of two packages taking turns."""
    orders = []
    for package in packages:
        found = [
            mutant
            for path in sorted((copy / package).rglob("*.py"))
            if not (name := str(path.relative_to(copy))).startswith(LEFT_OUT)
            for mutant in mutants(name, path.read_text(encoding="utf-8"))
        ]
        random.Random(seed).shuffle(found)
        orders.append(found)
    return [mutant for pair in zip_longest(*orders) for mutant in pair if mutant is not None]


# ---- the command ---------------------------------------------------------------------------------------------------
def interval(killed: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.96, killed / total
    middle, half = p + z * z / (2 * total), z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)


def report(folder: Path, *, survivors: bool) -> int:
    """Print the score of each package with its interval, and a goal line."""
    fates = [json.loads(line) for path in sorted(folder.glob("fates*.jsonl")) for line in path.open()]
    met = True
    for package in PACKAGES:
        mine = [one for one in fates if one["file"].startswith(package)]
        counts = Counter(one["fate"] for one in mine)
        if mine:
            low, high = interval(counts["killed"], len(mine))
            share = counts["killed"] / len(mine)
            met &= share >= 0.8
            print(
                f"GOAL mutation score of {package}: measured {share:.1%} (95 %: {low:.1%} to {high:.1%}; {len(mine)} drawn of "
                f"{mine[0]['of']}, {counts['survived']} survived, {counts['not run']} run by no test), goal >= 80 %: "
                f"{'met' if share >= 0.8 else 'short'}"
            )
    for one in fates if survivors else ():
        if one["fate"] != "killed":
            print(f"{one['fate']:<9} {one['shown']}  [{one['tests']} tests]")
    return 0 if met else 1


def main() -> int:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where copy, notes and fates are kept")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument(
        "--sample", type=int, default=10**6, help="how many mutants in all (default: until told to stop)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--package", choices=PACKAGES, help="only this one (a folder of its own for each choice)")
    parser.add_argument(
        "--part", default="0/1", help="this process takes every n-th mutant: 0/2 and 1/2 run side by side"
    )
    parser.add_argument("--again", type=Path, help="only the mutants that survived in this folder")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--survivors", action="store_true")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if asked.report:
        return report(folder, survivors=asked.survivors)
    stop_at = time.monotonic() + 60 * asked.minutes
    packages = (asked.package,) if asked.package else PACKAGES
    part, parts = map(int, asked.part.split("/"))
    copy = folder / f"copy{part}"
    if not copy.exists():
        if part and (folder / "copy0").exists():  # both take their mutants from one state of the code
            shutil.copytree(folder / "copy0", copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(parents=True)
            scratch_copy(copy)
            (copy / ".tmp").mkdir()
        compileall.compile_dir(copy, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    for name in PRELOADED:
        importlib.import_module(name)
    if part == 0:
        for name in ("timed", "traced"):
            trace_tests(copy, folder / f"{name}.jsonl", packages, traced=name == "traced")
    if asked.minutes == 0:
        return 0
    chosen, fates = Chosen(folder, copy), folder / f"fates{part}.jsonl"
    done = {json.loads(line)["number"] for line in fates.open()} if fates.exists() else set()
    order = drawn(copy, asked.seed, packages)
    of = Counter(mutant.file.split("/")[0] for mutant in order)
    wanted = None
    if asked.again:
        old = [json.loads(line) for path in asked.again.glob("fates*.jsonl") for line in path.open()]
        wanted = {one["shown"].split(" ", 1)[1] for one in old if one["fate"] != "killed"}
    for number, mutant in enumerate(order[: asked.sample]):
        if number % parts != part or number in done:
            continue
        source = (copy / mutant.file).read_text(encoding="utf-8")
        shown = mutant.shown(source)
        if not compiles(mutant.applied(source)) or (wanted is not None and shown.split(" ", 1)[1] not in wanted):
            continue
        if time.monotonic() > stop_at:
            print(f"stopped at mutant {number} of {len(order)}; call again to go on")
            return 0
        tests = chosen.tests(mutant)
        end, by = fate(mutant, copy, tests, 20 + 4 * sum(map(chosen.seconds.__getitem__, tests)))
        row = {"number": number, "file": mutant.file, "of": of[mutant.file.split("/")[0]], "fate": end, "by": by}
        with fates.open("a") as file:
            file.write(json.dumps({**row, "shown": shown, "tests": len(tests)}) + "\n")
    return report(folder, survivors=False)


if __name__ == "__main__":
    sys.exit(main())
