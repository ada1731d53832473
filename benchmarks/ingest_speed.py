"""How fast and how small the reading of large files is, beside pandas and fastnda alone, in the same run.

`python benchmarks/ingest_speed.py [--quick] [--json FILE]` makes a CSV and a Neware .ndax of 2,000,000 rows (`--quick`: 400,000),
reads each by its plain reader in a process of its own and by `ingest.inspect` (a limited child process, all checks, the
integration), draws benchmarks/out/ingest.png and ends with a line a goal.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ingest
from ingest import sandbox
from ingest.limits import Limits

OUT = Path(__file__).parent / "out"
CURRENT_MA = 0.67
HALF_CYCLE_ROWS = 18_000
PAGE, PAGE_START, PAGE_ROWS = 4096, 132, 45
RECORD = np.dtype(
    [
        ("mark", "u1"),
        ("index", "<u4"),
        ("cycle", "<u4"),
        ("step", "u1"),
        ("kind", "u1"),
        ("gap1", "V5"),
        ("step_ms", "<u8"),
        ("voltage", "<i4"),
        ("current", "<i4"),
        ("gap2", "V4"),
        ("charge", "<i8"),
        ("discharge", "<i8"),
        ("charge_energy", "<i8"),
        ("discharge_energy", "<i8"),
        ("year", "<u2"),
        ("date", "u1", 5),
        ("range", "<i4"),
        ("gap3", "V8"),
    ]
)
"""A record of an .ndc main file of version 5, as fastnda 1.3 reads it."""


def cycling(rows: int) -> dict[str, np.ndarray]:
    """Return a cell that cycles at one current, 2 s a row: index, step row, sign, voltage with noise."""
    index = np.arange(rows)
    step = index // HALF_CYCLE_ROWS
    within = index % HALF_CYCLE_ROWS
    sign = np.where(step % 2 == 0, -1, 1)
    share = within / HALF_CYCLE_ROWS
    noise = np.random.default_rng(0).normal(0, 2e-4, rows)
    voltage = np.where(sign < 0, 2.0 - 0.9 * share, 1.2 + 0.9 * share) + noise
    return {"index": index, "step": step, "within": within, "sign": sign, "voltage": voltage}


def write_csv(path: Path, cell: dict[str, np.ndarray]) -> None:
    """Write test time, current and voltage with their units in the header."""
    table = {
        "time_s": cell["index"] * 2.0,
        "current_mA": CURRENT_MA * cell["sign"],
        "voltage_V": cell["voltage"].round(5),
    }
    pd.DataFrame(table).to_csv(path, index=False)


def write_ndax(path: Path, cell: dict[str, np.ndarray]) -> None:
    """Write a Neware .ndax with one main file of version 5."""
    rows = len(cell["index"])
    pages = -(-rows // PAGE_ROWS)
    records = np.zeros(pages * PAGE_ROWS, dtype=RECORD)
    used = records[:rows]
    used["mark"], used["index"] = 0x55, cell["index"] + 1
    used["step"], used["kind"] = cell["step"] % 250 + 1, np.where(cell["sign"] < 0, 2, 1)
    used["step_ms"] = cell["within"] * 2000
    used["voltage"] = (cell["voltage"] * 1e4).astype(int)
    used["current"], used["range"] = (CURRENT_MA * 100 * cell["sign"]).astype(int), 100
    moved = (CURRENT_MA * 100 * cell["within"] * 2).astype(int)
    used["charge"], used["discharge"] = np.where(cell["sign"] > 0, moved, 0), np.where(cell["sign"] < 0, moved, 0)
    used["year"], used["date"] = 2026, (3, 4, 10, 30, 0)
    body = np.zeros((pages, PAGE), dtype=np.uint8)
    present = np.zeros((pages, 48), dtype=np.uint8)
    present[:, :PAGE_ROWS] = (np.arange(pages * PAGE_ROWS) < rows).reshape(pages, PAGE_ROWS)
    body[:, 4:10] = np.packbits(present, axis=1, bitorder="little")
    body[:, PAGE_START : PAGE_START + PAGE_ROWS * RECORD.itemsize] = records.view(np.uint8).reshape(pages, -1)
    head = np.zeros(PAGE, dtype=np.uint8)
    head[[0, 2, 4]] = (1, 5, 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as container:
        container.writestr(
            "VersionInfo.xml", '<?xml version="1.0"?><root><config type="Version Info File" version="1"/></root>'
        )
        container.writestr("data.ndc", head.tobytes() + body.tobytes())


ALONE = {
    "csv": "import pandas as pd; f = lambda p: pd.read_csv(p, engine='c')",
    "ndax": "import fastnda, polars, fastnda.ndax, fastnda.utils; f = fastnda.read",
}
_TIMED = """{setup}
import json, resource, sys, time
begun, used = time.perf_counter(), time.process_time()
f(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - begun, time.process_time() - used, peak]))
"""


def alone(kind: str, path: Path) -> list[float]:
    """Return wall seconds, CPU seconds and peak MiB of the plain reader in a process of its own, imports not counted."""
    ended = subprocess.run(
        [sys.executable, "-c", _TIMED.format(setup=ALONE[kind]), str(path)], capture_output=True, text=True, check=True
    )
    figures: list[float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def ours(path: Path) -> tuple[list[float], float]:
    """Return wall seconds, CPU seconds and peak MiB of `ingest.inspect` (child included), and the worst error of a capacity."""
    answers: list[dict[str, Any]] = []
    asked = sandbox._ask

    def ask(request: dict[str, Any], limits: Limits, name: str) -> dict[str, Any]:
        answers.append(asked(request, limits, name))
        return answers[-1]

    sandbox._ask = ask
    begun = time.perf_counter()
    found = ingest.inspect(path)
    wall = time.perf_counter() - begun
    sandbox._ask = asked
    true = CURRENT_MA * HALF_CYCLE_ROWS * 2 / 3600
    whole = found.cycles.loc[found.cycles["discharge_state"].eq("complete"), "discharge_capacity_mAh"]
    return [wall, answers[-1]["cpu_s"], answers[-1]["memory_MiB"]], float((whole / true - 1).abs().max())


def small_files(count: int) -> float:
    """Return files a second over `count` small files, the reading process already running."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        rng = random.Random(0)
        path.write_text(
            "cycle,discharge_capacity_mAh\n" + "".join(f"{n},{6 - rng.random():.3f}\n" for n in range(1, 101))
        )
        ingest.inspect(path)
        begun = time.perf_counter()
        for _ in range(count):
            ingest.inspect(path)
        return count / (time.perf_counter() - begun)


def main() -> None:
    """Run, print the table and the goals, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="400,000 rows instead of 2,000,000")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = 400_000 if options.quick else 2_000_000
    cell = cycling(rows)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, writer in (("csv", write_csv), ("ndax", write_ndax)):
            path = Path(folder) / f"cell.{kind}"
            writer(path, cell)
            small_files(1)
            plain = [alone(kind, path) for _ in range(3)]
            mine = [ours(path) for _ in range(3)]
            figures[kind] = {
                "file_MiB": path.stat().st_size / 2**20,
                "alone_s": statistics.median(run[0] for run in plain),
                "alone_cpu_s": statistics.median(run[1] for run in plain),
                "alone_MiB": max(run[2] for run in plain),
                "ours_s": statistics.median(run[0][0] for run in mine),
                "ours_cpu_s": statistics.median(run[0][1] for run in mine),
                "ours_MiB": max(run[0][2] for run in mine),
                "worst_error": max(run[1] for run in mine),
            }
    figures["small"] = {"files_per_s": small_files(100)}
    report(figures, rows)
    draw(figures, rows)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, **figures}, indent=1))


def report(figures: dict[str, dict[str, float]], rows: int) -> None:
    """Print the table and the goals."""
    names = {"csv": "pandas C engine", "ndax": "fastnda"}
    print(f"{rows:,} rows; median of 3 runs; peak of the reading process")
    print(
        f"{'file':6} {'MiB':>6} | {'alone':16} {'s':>6} {'CPU s':>6} {'MiB':>6} | "
        f"{'ingest s':>8} {'CPU s':>6} {'MiB':>6} | {'worst capacity':>14}"
    )
    for kind, name in names.items():
        f = figures[kind]
        print(
            f"{kind:6} {f['file_MiB']:6.0f} | {name:16} {f['alone_s']:6.2f} {f['alone_cpu_s']:6.2f} {f['alone_MiB']:6.0f} | "
            f"{f['ours_s']:8.2f} {f['ours_cpu_s']:6.2f} {f['ours_MiB']:6.0f} | {f['worst_error']:14.4%}"
        )
    print(f"small capacity tables: {figures['small']['files_per_s']:.0f} files a second")
    limits = ingest.Limits()
    for kind in names:
        f = figures[kind]
        goal(f"{kind} time over {names[kind]} alone", f["ours_s"] / f["alone_s"], 20, "x")
        goal(f"{kind} peak memory", f["ours_MiB"], 1024, " MiB")
        goal(f"{kind} share of the child's CPU limit", f["ours_cpu_s"] / limits.cpu_s, 0.5, "")
        goal(f"{kind} share of the child's memory limit", f["ours_MiB"] / limits.memory_MiB, 0.5, "")
        goal(f"{kind} worst capacity error", f["worst_error"] * 100, 0.5, " %")


def goal(name: str, measured: float, limit: float, unit: str) -> None:
    """Print one goal line."""
    print(
        f"GOAL {name}: measured {measured:.3g}{unit}, goal <= {limit:g}{unit}: {'met' if measured <= limit else 'short'}"
    )


def draw(figures: dict[str, dict[str, float]], rows: int) -> None:
    """Draw time and memory of both readers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for axis, key, title in ((axes[0], "_s", "time, s"), (axes[1], "_MiB", "peak memory, MiB")):
        for offset, (who, colour) in enumerate((("alone", "#9aa5b1"), ("ours", "#2b6cb0"))):
            values = [figures[kind][f"{who}{key}"] for kind in ("csv", "ndax")]
            bars = axis.bar(
                np.arange(2) + 0.38 * offset,
                values,
                0.36,
                color=colour,
                label={"alone": "plain reader", "ours": "ingest"}[who],
            )
            axis.bar_label(bars, fmt="%.3g", fontsize=8)
        axis.set_xticks(np.arange(2) + 0.19, ["CSV (pandas)", ".ndax (fastnda)"])
        axis.set_title(f"{title} ({rows:,} rows)", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "ingest.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
