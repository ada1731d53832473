"""How often a gross error is flagged, and how often a true result is, on functions that the chooser does not know.

    python benchmarks/outliers.py --seeds 0-5

Results at scattered recipes over two numbers and a name, noise sd 3, one of them 60 too low, 60 too high, or none. Functions: a
parabola, a bell, a narrow peak on a plain, a cliff. On the last two a true result may look like an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _bench as bench
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SPACE = {"speed_rpm": (400, 2000), "time_h": (0.5, 12), "sse": ["A", "B", "C"]}
SIZES = (12, 20, 40, 80)
NOISE_SD, ERROR = 3.0, 60.0


def parabola(d: pd.DataFrame) -> Floats:
    """Falls off evenly."""
    rpm, h = _axes(d)
    return 100 - 60 * ((rpm - 1500) / 800) ** 2 - 30 * ((h - 5) / 4) ** 2 - _names(d, 15, 5)


def bell(d: pd.DataFrame) -> Floats:
    """Falls off to a plain."""
    rpm, h = _axes(d)
    return 20 + 120 * np.exp(-(((rpm - 1500) / 600) ** 2) - ((h - 5) / 5) ** 2) * (1 - _names(d, 0.15, 0.05))


def peak(d: pd.DataFrame) -> Floats:
    """Narrow, on a plain that rises slowly."""
    rpm, h = _axes(d)
    return (
        20 + 10 * h / 12 + 100 * np.exp(-(((rpm - 1500) / 150) ** 2) - ((h - 5) / 1.2) ** 2) * (1 - _names(d, 0.3, 0.5))
    )


def cliff(d: pd.DataFrame) -> Floats:
    """Nothing from 1300 rpm on."""
    rpm, h = _axes(d)
    return 3 + (100 - 20 * ((h - 5) / 4) ** 2) * (rpm < 1300) * (1 - _names(d, 0.15, 0.0))


def _axes(d: pd.DataFrame) -> tuple[Floats, Floats]:
    return np.asarray(d["speed_rpm"], dtype=np.float64), np.asarray(d["time_h"], dtype=np.float64)


def _names(d: pd.DataFrame, b: float, c: float) -> Floats:
    return np.asarray(d["sse"].map({"A": 0.0, "B": b, "C": c}), dtype=np.float64)


def run(function: Callable[[pd.DataFrame], Floats], n: int, error: float, seed: int) -> tuple[int, int]:
    """Return whether the error is flagged, and how many true results are."""
    from surrogate import Optimiser

    rng = np.random.default_rng(seed)
    opt = Optimiser(SPACE, seed=seed)
    recipes = opt.space.sample(n, seed=seed)
    values = function(recipes) + rng.normal(0, NOISE_SD, n)
    wrong = int(rng.integers(n))
    values[wrong] += error
    opt.tell(recipes, values)
    hit = int(opt.flagged[wrong]) if error else 0
    return hit, int(opt.flagged.sum()) - hit


def main() -> None:
    """Run and print."""
    parser = bench.arguments(__doc__, seeds="0-5")
    args = parser.parse_args()
    seeds = list(bench.span(args.seeds))[: 1 if args.quick else None]
    rows: list[dict[str, Any]] = []
    for function in (parabola, bell, peak, cliff):
        for n in SIZES[:2] if args.quick else SIZES:
            row: dict[str, Any] = {"function": function.__name__, "results": n, "draws": len(seeds)}
            for told, error in (("too low", -ERROR), ("too high", ERROR), ("none", 0.0)):
                found = np.array([run(function, n, error, seed) for seed in seeds])
                hit, false = found.sum(axis=0)
                row |= ({f"{told}: flagged": hit} if error else {}) | {f"{told}: true ones flagged": false}
            rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))
    bench.save(args.json, {"rows": [{name: str(value) for name, value in row.items()} for row in rows]})


if __name__ == "__main__":
    bench.entry(main)
