"""Peers on our side: each a subprocess of its own Python, so that its pins do not touch ours.

    python -m venv /opt/peers && /opt/peers/bin/pip install torch ax-platform baybe optuna

`MIXWRIGHT_PEERS_PYTHON` names another interpreter (that of `pip install .[peers]` will do).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from campaign.space import SearchSpace
from flows import advice
from flows.early_evidence import Evidence, Seen
from flows.rehearsal_product import Product

WORKER = Path(__file__).with_name("_peer_worker.py")
ASYNC = Path(__file__).with_name("_peer_worker_async.py")
EARLY = Path(__file__).with_name("_peer_worker_early.py")
ON_THE_CLOCK = {"ax": "ax-async"}
"""Methods that need another setting where many trials are under way and none is back."""
PEERS = ("ax", "baybe", "optuna-gp", "sobol", "random")
AHEAD = 1
"""Batches on their way while all channels are taken, as ours; with 3, Optuna GP (a) reached 0 of 6 labs instead of 4."""


def interpreter() -> str:
    """The peers' Python."""
    named = os.environ.get("MIXWRIGHT_PEERS_PYTHON")
    if named:
        return named
    return "/opt/peers/bin/python" if Path("/opt/peers/bin/python").exists() else sys.executable


PACKAGES = {
    "ax": "ax-platform",
    "ax-async": "ax-platform",
    "baybe": "baybe",
    "baybe-transfer": "baybe",
    "optuna-gp": "optuna",
}
RECORDED = Path(__file__).with_name("traces") / "peers.json"
"""Versions that the stored traces were made with: what counts where no peer is installed."""


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Version of each peer's package, as installed, else as the stored traces recorded it."""
    ask = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in %r}))"
    wanted = sorted(set(PACKAGES.values()))
    told = subprocess.run([interpreter(), "-c", ask % wanted], capture_output=True, text=True, check=False)
    if told.returncode == 0:
        found = dict(json.loads(told.stdout))
        RECORDED.parent.mkdir(exist_ok=True)
        RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found
    return dict(json.loads(RECORDED.read_text(encoding="utf-8"))) if RECORDED.exists() else {}


def identity(method: str) -> str:
    """Version and settings of a peer, for the key of its traces."""
    settings = hashlib.sha256(b"".join(path.read_bytes() for path in _workers(method))).hexdigest()[:8]
    package = PACKAGES.get(method.removesuffix("-early"), "optuna")
    return f"{package} {versions().get(package, 'unknown')}, settings {settings}"


def _workers(method: str) -> list[Path]:
    """Files that a method is set up by; the last one is the program."""
    if method.endswith("-early"):
        return [WORKER, EARLY]
    return [WORKER, ASYNC] if method in ON_THE_CLOCK.values() else [WORKER]


class Known(TypedDict):
    """All that a tool is told: recipes with their value (None = failed), and recipes under way."""

    told: list[tuple[dict[str, Any], float | None]]
    pending: list[dict[str, Any]]


class Peer:
    """One run of one tool."""

    def __init__(
        self, method: str, space: SearchSpace, seed: int, simulated: Sequence[tuple[Mapping[str, Any], float]] = ()
    ) -> None:
        self.space = space
        self.process = subprocess.Popen(
            [interpreter(), str(_workers(method)[-1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        )
        plain = {p.name: list(p.choices) if hasattr(p, "choices") else [p.low, p.high] for p in space.parameters}
        data = [[dict(recipe), float(value)] for recipe, value in simulated]
        self.version = self._say(op="open", method=method, space=plain, seed=seed, simulated=data)["version"]

    def _say(self, **message: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer's process ended with {self.process.wait()} on {message['op']}")
        return dict(json.loads(line))

    def ask(self) -> tuple[int, dict[str, Any]]:
        """The next recipe, on the steps that a mixer can set."""
        answer = self._say(op="ask")
        return int(answer["id"]), self._snapped(answer["recipe"])

    def recommend(self) -> dict[str, Any] | None:
        """What the tool names the best; None where that is the recipe of the best value it was told."""
        recipe = self._say(op="recommend")["recipe"]
        return None if recipe is None else self._snapped(recipe)

    def _snapped(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        snapped = self.space.snap(pd.DataFrame([recipe]))
        return {str(name): value for name, value in snapped.iloc[0].items()}

    def tell(self, number: int, value: float) -> None:
        """What it gave; NaN = failed."""
        self._say(op="tell", id=number, value=None if np.isnan(value) else float(value))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class EarlyPeer(Peer):
    """One run of a tool that is told everything with every question (methods that end in `-early`)."""

    def ask_anew(self, known: Known) -> dict[str, Any]:
        """The next recipe."""
        return self._snapped(self._say(op="ask", **known)["recipe"])

    def recommend_anew(self, known: Known) -> dict[str, Any] | None:
        """What the tool names the best; None where that is the recipe of the best value it was told."""
        recipe = self._say(op="recommend", **known)["recipe"]
        return None if recipe is None else self._snapped(recipe)


class PeerChooser:
    """A peer on the virtual clock: asynchronous, told of a cell when it ends; recommends what it names the best."""

    readouts: Sequence[int] = ()
    ahead = AHEAD

    def __init__(self, peer: Peer, *, last_cycle: int, value: Any, goal: float = 1.0) -> None:
        self.peer, self.last_cycle, self.value, self.goal = peer, last_cycle, value, goal
        self.open: list[int] = []
        self.ids: dict[int, int] = {}
        self.told: dict[int, float] = {}

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any]:
        """Return the next recipe."""
        del free
        self._tell(tests)
        number, recipe = self.peer.ask()
        self.ids[len(tests) + 1] = number
        return recipe

    def _tell(self, tests: Sequence[Seen]) -> None:
        for test in tests:
            if test.state in ("ended", "died") and test.number not in self.told:
                self.told[test.number] = self.value(test, tests)
                self.peer.tell(self.ids[test.number], self.goal * self.told[test.number])

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[int]:
        """Peers stop nothing."""
        return []

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return what the tool names the best, or the recipe of the best result."""
        self._tell(tests)
        good = {number: value for number, value in self.told.items() if not np.isnan(value)}
        if not good:
            return None
        named = self.peer.recommend()
        if named is not None:
            return named
        best = max(good, key=lambda number: self.goal * good[number])
        return next(test.recipe for test in tests if test.number == best)


class EarlyPeerChooser:
    """A peer with our early evidence: of every cell it is told the outcome that its curve so far lets expect.

    What it is told changes as cells run on. Cells are stopped by our advice too, where the best tried is the best value
    told of a cell: a peer has no belief to ask. It recommends what it names the best, else that one.
    """

    ahead = AHEAD

    def __init__(self, peer: EarlyPeer, product: Product, *, goal: float = 1.0) -> None:
        self.peer, self.product, self.goal = peer, product, goal
        self.readouts, self.last_cycle = product.readouts, product.last_cycle
        self.outcome = product.question.objective.outcome
        self.last: tuple[Any, Evidence] | None = None

    def _evidence(self, tests: Sequence[Seen]) -> Evidence:
        """What the cells say; the same cells are asked about several times in a row."""
        key = tuple((test.number, len(test.discharge), test.state, bool(test.powder)) for test in tests)
        if self.last is None or self.last[0] != key:
            self.last = (key, self.product.early.of(tests))
        return self.last[1]

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any]:
        """Return the next recipe."""
        del free
        return self.peer.ask_anew(self._known(tests))

    def _known(self, tests: Sequence[Seen]) -> Known:
        table = self._evidence(tests).table
        values = dict(zip(table["number"], self.goal * table[self.outcome].astype(float), strict=True))
        said = [(dict(test.recipe), values[test.number]) for test in tests if test.number in values]
        return {
            "told": [(recipe, None if np.isnan(value) else value) for recipe, value in said],
            "pending": [dict(test.recipe) for test in tests if test.number not in values],
        }

    def _best(self, table: pd.DataFrame, tests: Sequence[Seen]) -> Any:
        """Row of the best value told of a cell, None where there is none."""
        table = table[table["number"].isin([test.number for test in tests if len(test.discharge)])]
        values = self.goal * table[self.outcome].astype(float)
        return None if values.isna().all() else table.iloc[int(np.nanargmax(values))]

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[int]:
        """Return the running cells to stop, by our advice."""
        if not any(test.state == "running" and len(test.discharge) > 1 for test in tests):
            return []
        told = self._evidence(tests)
        best = self._best(told.table, tests)
        advised = advice.advise(
            tests,
            told,
            dict.fromkeys(
                (test.number for test in tests),
                advice.Best(float(best[self.outcome]), float(best[f"{self.outcome}_se"])),
            ),
            objective=self.outcome,
            sign=self.goal,
            last_cycle=self.last_cycle,
            cycle_days=self.product.cycle_days(tests),
            wanted=wanted,
        )
        return [one.number for one in advised if one.stop]

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return what the tool names the best, or the recipe of the best value told of a cell."""
        if not any(len(test.discharge) for test in tests):
            return None
        named = self.peer.recommend_anew(self._known(tests))
        if named is not None:
            return named
        best = self._best(self._evidence(tests).table, tests)
        return None if best is None else {name: best[name] for name in self.product.question.space.names}


class OneFactorAtATime:
    """What labs do: from the middle of the space, vary one factor over its levels, keep the best, go on to the next.

    The levels of one factor are mixed side by side; the next factor waits for all of them. After a round through all
    factors the levels of numbers close in to half their span around the best.
    """

    readouts: Sequence[int] = ()
    ahead = AHEAD

    def __init__(self, space: SearchSpace, *, last_cycle: int, value: Any, goal: float = 1.0, levels: int = 5) -> None:
        self.space, self.last_cycle, self.value, self.goal, self.levels = space, last_cycle, value, goal, levels
        middle = {p.name: p.choices[0] if hasattr(p, "choices") else (p.low + p.high) / 2 for p in space.parameters}
        self.base = dict(space.snap(pd.DataFrame([middle])).iloc[0])
        self.step = 0
        self.queue: list[dict[str, Any]] = []
        self.waiting: list[int] = []
        self.results: dict[int, float] = {}
        self._plan()

    def _plan(self) -> None:
        parameter = self.space.parameters[self.step % len(self.space.parameters)]
        if hasattr(parameter, "choices"):
            values: list[Any] = list(parameter.choices)
        else:
            half = (parameter.high - parameter.low) / 2 ** (1 + self.step // len(self.space.parameters))
            centre = float(self.base[parameter.name])
            values = list(
                np.clip(np.linspace(centre - half, centre + half, self.levels), parameter.low, parameter.high)
            )
        table = self.space.snap(pd.DataFrame([self.base | {parameter.name: value} for value in values]))
        self.queue = [
            {str(name): value for name, value in row.items()} for row in table.drop_duplicates().to_dict("records")
        ]

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        """Return the next recipe."""
        del free
        self._read(tests)
        if not self.queue:
            if any(number not in self.results for number in self.waiting):
                return None
            self._keep_best(tests)
            self.step += 1
            self.waiting = []
            self._plan()
        self.waiting.append(len(tests) + 1)
        return self.queue.pop(0)

    def _read(self, tests: Sequence[Seen]) -> None:
        for test in tests:
            if test.state in ("ended", "died") and test.number not in self.results:
                self.results[test.number] = self.value(test, tests)

    def _keep_best(self, tests: Sequence[Seen]) -> None:
        good = [n for n in self.waiting if not np.isnan(self.results[n])]
        if good:
            best = max(good, key=lambda n: self.goal * self.results[n])
            self.base = dict(next(test.recipe for test in tests if test.number == best))

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[int]:
        """Peers stop nothing."""
        return []

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return the recipe of the best result."""
        self._read(tests)
        good = {n: v for n, v in self.results.items() if not np.isnan(v)}
        if not good:
            return None
        best = max(good, key=lambda n: self.goal * good[n])
        return next(test.recipe for test in tests if test.number == best)
