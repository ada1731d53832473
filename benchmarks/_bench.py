"""What the benchmarks on virtual labs share: arguments, stored traces, ratios with their bootstrap, goal lines.

Importing it puts the repo's root on the path and everybody, the worker processes too, on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from models.virtual_lab import Level

HERE = Path(__file__).resolve().parent
CAMPAIGN = HERE / "_campaign.yaml"
OUT, TRACES = HERE / "out", HERE / "traces"
PROBES, NOISY_PROBES = 48, 8
"""Recipes by whose outcomes a lab is told from another."""
os.environ["OMP_NUM_THREADS"] = "1"
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))


def arguments(text: str | None, *, seeds: str) -> argparse.ArgumentParser:
    """A parser with what every script takes."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most two minutes: few labs, short campaigns")
    parser.add_argument("--seeds", default=seeds, help="labs A-B; 0-99 are for tuning, 100-199 for reporting")
    parser.add_argument("--levels", default="biased,wrong")
    parser.add_argument("--lab", help="FILE.py:factory, labs of your own")
    parser.add_argument("--campaign", default=str(CAMPAIGN), help="campaign file whose question is asked")
    parser.add_argument("--fresh", default="", help="seeds A-B whose stored traces are not used")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser


def entry(main: Callable[[], None]) -> None:
    """Run a script; a refusal is one sentence on stderr and exit 1."""
    from campaign.errors import Refusal

    try:
        main()
    except Refusal as refusal:
        sys.exit(f"{Path(sys.argv[0]).name}: {refusal}")


def level_of(text: str) -> Level:
    """The level of that name."""
    from models.virtual_lab import LEVELS

    for level in LEVELS:
        if text == level:
            return level
    sys.exit(f"no level of virtual labs is called {text!r}: there are {', '.join(LEVELS)}")


def span(text: str) -> range:
    """Read `A-B`, both ends in; empty text is nothing."""
    if not text:
        return range(0)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def lab_hash(lab_file: str | None = None) -> str:
    """Hash of all that a virtual lab is drawn from: a trace of another lab code is no trace of this one."""
    digest = hashlib.sha256()
    root = HERE.parent / "models"
    files = sorted(path for path in root.iterdir() if path.suffix in (".py", ".csv", ".yaml", ".safetensors"))
    if lab_file:
        files = [Path(lab_file.rpartition(":")[0])]
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def lab_print(lab: Any, best: float, measured: Callable[[dict[str, Any], int], float]) -> str:
    """Digest of one lab by what it answers: noise-free outcomes of recipes all over its space, its best, measurements.

    A trace belongs to a lab that answers so, to five digits; text that changes nothing of it leaves the traces good.
    """
    recipes = lab.question.space.sample(PROBES, seed=1)
    noisy = [measured(dict(row), number) for number, row in enumerate(recipes.head(NOISY_PROBES).to_dict("records"))]
    told = [best, *lab.truth(recipes), *noisy]
    return digest(told, about=json.dumps(lab.question.space.to_dict(), sort_keys=True, default=str))


COUNTS = (
    "space", "constraints", "forbidden", "fixed", "protocol", "objectives", "outcome_constraints", "seed", "prior", "stopping",
    "risk", "lab",
)  # fmt: skip
"""Blocks of a campaign file that a run depends on; `materials` by what the files hold. Its name and title change nothing."""


def campaign_hash(path: str) -> str:
    """Hash of what a campaign asks and of the lab that it has; what is left out of the file, or says nothing, does not count."""
    from campaign.spec import load_spec

    loaded = load_spec(path)
    said = loaded.spec.model_dump(mode="json")
    asked = {name: said[name] for name in COUNTS} | {
        kind: hashlib.sha256(loaded.file(name).read_bytes()).hexdigest() for kind, name in said["materials"].items()
    }
    asked["lab"] = {name: value for name, value in said["lab"].items() if value not in (None, {}, [])}
    told = {name: value for name, value in asked.items() if value not in (None, {}, [])}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def digest(values: Iterable[float], *, about: str = "") -> str:
    """Hash of numbers to five digits."""
    return hashlib.sha256("|".join([about, *(f"{value:.4e}" for value in values)]).encode()).hexdigest()[:16]


class Traces:
    """Runs that were stored, keyed by method, version, settings, level, seed and the digest of the lab (`lab_print`)."""

    def __init__(self, name: str, *, fresh: range, ours: str, lab: str | None = None) -> None:
        self.path, self.fresh, self.ours = TRACES / f"{name}.jsonl", fresh, ours
        if lab is not None:  # nobody else has that lab
            self.path = OUT / "traces" / f"{name}.jsonl"
            print(f"runs against {lab} are kept in {self.path}", file=sys.stderr)
        self.known: dict[str, Any] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):  # a run that was cut off while writing left half a line
                    row = json.loads(line)
                    self.known[json.dumps(row["key"], sort_keys=True)] = row["trace"]

    def get(self, key: Mapping[str, Any]) -> Any:
        """A stored trace, or None."""
        return None if key["seed"] in self.fresh else self.known.get(json.dumps(key, sort_keys=True))

    def of(self, key: Mapping[str, Any]) -> Any:
        """The trace of a key that was stored or put."""
        return self.known[json.dumps(key, sort_keys=True)]

    def put(self, key: Mapping[str, Any], trace: Any) -> None:
        """Store a trace; the last one of a key counts."""
        self.known[json.dumps(key, sort_keys=True)] = trace
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": dict(key), "trace": trace}) + "\n")


NO_PART = ("acquisition.py", "powder.py", "readouts.py")
"""Files of the chooser's folder that a benchmark of values alone never comes to: several objectives, curves, powder."""


def code_hash() -> str:
    """Hash of our own chooser, as far as values alone reach: its traces hold as long as it stays."""
    digest = hashlib.sha256()
    for folder in ("surrogate", "campaign"):
        for path in sorted((HERE.parent / folder).glob("*.py")):
            if path.name in NO_PART:
                continue
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def hash_of(*names: str) -> str:
    """Hash of some files of the repo."""
    return hashlib.sha256(b"".join((HERE.parent / name).read_bytes() for name in names)).hexdigest()[:16]


CLOCK = ("flows/rehearsal_calendar.py",)
EARLY = ("flows/early_evidence.py", "surrogate/powder.py", "surrogate/readouts.py")
CHOSEN = tuple(f"flows/{name}.py" for name in ("advice", "goals", "lab_cost", "mixer", "rehearsal_product", "stock"))


def product_hash() -> str:
    """Hash of all that decides what this product does on the virtual clock: its traces there hold as long as it stays."""
    return f"{code_hash()} {hash_of(*CLOCK)} {hash_of(*EARLY)} {hash_of(*CHOSEN)}"


def ratio(ours: ArrayLike, theirs: ArrayLike, *, draws: int = 4000) -> tuple[float, float, float]:
    """Ratio of means with its paired bootstrap 90 % interval."""
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    rows = np.random.default_rng(0).integers(len(a), size=(draws, len(a)))
    drawn = a[rows].mean(axis=1) / np.maximum(b[rows].mean(axis=1), 1e-12)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(a.mean() / max(b.mean(), 1e-12)), float(low), float(high)


def goal(name: str, measured: float, bound: float, *, high: float | None = None, sense: str = "<=") -> dict[str, Any]:
    """Print a goal's line; with `high`, the upper end of the interval must be within 1.25 times the bound too."""
    met = measured <= bound if sense == "<=" else measured >= bound
    if high is not None:
        met = met and high <= 1.25 * bound
    shown = f"{measured:.2f}" + (f" (upper end {high:.2f})" if high is not None else "")
    print(f"GOAL {name}: measured {shown}, goal {sense} {bound:.2f}: {'met' if met else 'short'}")
    return {"goal": name, "measured": measured, "high": high, "bound": bound, "met": bool(met)}


def save(path: Path | None, document: Any) -> None:
    """Write the JSON that was asked for."""
    if path is not None:
        path.write_text(json.dumps(document, indent=1, default=float), encoding="utf-8")


def picture(name: str, draw: Callable[[Any], None], *, width: float = 8.0, height: float = 4.5) -> None:
    """Draw into benchmarks/out/NAME.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / f"{name}.png", dpi=150)
    print(f"picture: {OUT / f'{name}.png'}")
