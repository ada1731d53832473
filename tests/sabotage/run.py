"""Do the tests notice? Applies each sabotage to a scratch copy and runs the tests of the package it touches, which must fail.

    python tests/sabotage/run.py [NAME ...] [--jobs 2] [--json FILE]

A sabotage is a patch in this folder (`git diff` format) under a few comment lines:

    # What: one sentence: what is broken, and what a lab would lose by it
    # First: tests that should notice, tried first to save time (pytest arguments, optional)
    # Goal: name of the goal that it counts for (optional; default is the package: store, ingest, …)

The tests named under `First` must pass on an untouched copy, or the run is void. If they do not notice the sabotage, all
tests of the package are run. A patch that does not apply any more is a failure: mend it together with the code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TESTS_OF = {
    "campaign": ("tests/campaign", "tests/store"),
    "store": ("tests/store", "tests/reliability"),
    "ingest": ("tests/ingest", "tests/hostile"),
    "review": ("tests/review",),
    "flows": ("tests/flows",),
}
LIMIT_S = 1200


@dataclass(frozen=True)
class Sabotage:
    """One patch and what stands in its comment lines."""

    name: str
    patch: Path
    what: str
    first: tuple[str, ...]
    packages: tuple[str, ...]
    goal: str


def read(patch: Path) -> Sabotage:
    """Parse a patch file; raises ValueError where `# What:` is missing."""
    text = patch.read_text(encoding="utf-8")
    head = dict(re.findall(r"^# (\w+): (.+)$", text, flags=re.MULTILINE))
    if "What" not in head:
        raise ValueError(f"{patch}: the line '# What: …' is missing")
    packages = tuple(sorted(set(re.findall(r"^\+\+\+ b/(\w+)/", text, flags=re.MULTILINE))))
    goal = head.get("Goal", next((name for name in packages if name != "campaign"), packages[0]))
    return Sabotage(patch.stem, patch, head["What"], tuple(head.get("First", "").split()), packages, goal)


def scratch_copy(folder: Path) -> None:
    """Copy what git knows or would know of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/sabotage/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def run_tests(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy; stops at the first failure."""
    there = [test for test in tests if (folder / test.split("::")[0]).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not soak", "-p", "no:cacheprovider", *there]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def noticed_by(out: str) -> str:
    """The first test that failed, from pytest's summary."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", out, flags=re.MULTILINE)
    return found.group(1).split("/")[-1] if found else ""


def try_one(sabotage: Sabotage) -> dict[str, object]:
    """Apply one sabotage to a fresh copy and see whether any test fails."""
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"sabotage-{sabotage.name}-"))
    answer: dict[str, object] = {"name": sabotage.name, "goal": sabotage.goal, "what": sabotage.what, "caught": False}
    try:
        scratch_copy(folder)
        applied = subprocess.run(
            ["git", "apply", "--recount", "-C1", str(sabotage.patch)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if applied.returncode:
            return {**answer, "by": f"does not apply: {applied.stderr.strip().splitlines()[0]}"}
        whole = tuple(test for package in sabotage.packages for test in TESTS_OF.get(package, (f"tests/{package}",)))
        for tests in filter(None, (sabotage.first, whole)):
            try:
                done = run_tests(folder, tests)
            except subprocess.TimeoutExpired:
                return {**answer, "caught": True, "by": f"no end within {LIMIT_S} s"}
            if done.returncode == 1:  # 2 and above: pytest itself did not get to run tests
                return {**answer, "caught": True, "by": noticed_by(done.stdout), "seconds": time.monotonic() - begun}
            if done.returncode not in (0, 1):
                return {**answer, "by": f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}"}
        return {**answer, "by": "nobody"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def control(sabotages: list[Sabotage]) -> str | None:
    """The tests named under `First` must pass where nothing is sabotaged; returns what failed."""
    folder = Path(tempfile.mkdtemp(prefix="sabotage-control-"))
    try:
        scratch_copy(folder)
        tests = tuple(sorted({test for sabotage in sabotages for test in sabotage.first}))
        done = run_tests(folder, tests) if tests else None
        return (
            None
            if done is None or done.returncode == 0
            else noticed_by(done.stdout) or done.stdout[-500:] + done.stderr
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run what was asked for and print a table and the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="sabotages to try (default: all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sabotages = [read(patch) for patch in sorted(HERE.glob("*.patch"))]
    if asked.names:
        unknown = set(asked.names) - {sabotage.name for sabotage in sabotages}
        if unknown:
            parser.error(f"no sabotage is called {sorted(unknown)[0]}")
        sabotages = [sabotage for sabotage in sabotages if sabotage.name in asked.names]
    failed = control(sabotages)
    if failed is not None:
        print(f"void: on an untouched copy this fails already: {failed}")
        return 1
    with ThreadPoolExecutor(asked.jobs) as pool:
        answers = []
        for answer in pool.map(try_one, sabotages):
            answers.append(answer)
            print(f"{'caught' if answer['caught'] else 'MISSED'}  {answer['name']:<34} {answer['by']}", flush=True)
    goals: dict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        goals[str(answer["goal"])].append(bool(answer["caught"]))
    for goal, caught in sorted(goals.items()):
        met = "met" if all(caught) else "short"
        print(f"GOAL sabotages of {goal} caught: measured {sum(caught)} of {len(caught)}, goal all: {met}")
    count, total = sum(map(sum, goals.values())), len(answers)
    if not asked.names:
        met = "met" if count == total >= 15 else "short"
        print(f"GOAL sabotages caught: measured {count} of {total}, goal all of >= 15: {met}")
    if asked.json:
        asked.json.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    return 0 if count == total else 1


if __name__ == "__main__":
    sys.exit(main())
