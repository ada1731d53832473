"""Whole outcomes: recipe to 100 cycles with cycle jumping, timed cold and warm; used by ``benchmarks/physics.py``."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from models import inputs, parameters, physics

CYCLES = 100
ROOT = Path(__file__).parents[1]
ONE = "from models.simulate import simulate; import pandas as pd; simulate(pd.DataFrame({'time_h': [4.0]}))"


def recipes(n: int, *, seed: int) -> pd.DataFrame:
    """Random recipes of the published family."""
    r = np.random.default_rng(seed)
    active = r.uniform(15.0, 40.0, n)
    return pd.DataFrame(
        {
            "speed_rpm": r.uniform(1000.0, 2000.0, n),
            "time_h": r.uniform(0.5, 12.0, n),
            "active_wt_pct": active,
            "sse_wt_pct": 50.0,
            "carbon_wt_pct": 50.0 - active,
            "sse": r.choice(["LPSCl", "LPSBr", "LPSClI", "SS7", "LGPS"], n),
            "loading_mg_cm2": r.uniform(1.5, 5.0, n),
            "current_mA_cm2": r.uniform(0.2, 2.0, n),
        }
    )


def outcomes(*, quick: bool, pybamm_ms: float) -> dict[str, Any]:
    """Seconds of outcomes by size and fidelity, the error of jumping, and goals (name, value, relation, goal)."""
    p = parameters.load().values()
    goals: list[tuple[str, float, str, float]] = []

    def follow(table: pd.DataFrame, *, fidelity: Any = "full", **rest: Any) -> physics.Run:
        with torch.no_grad():
            return physics.run(inputs.encode(table), p, last=CYCLES, fidelity=fidelity, **rest)

    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", ONE], cwd=ROOT, check=True)
    goals.append(("one recipe, 100 cycles, cold process (s)", time.perf_counter() - begun, "<=", 5.0))
    sizes = (1, 256) if quick else (1, 256, 1024)
    seconds = {}
    for n in sizes:
        table = recipes(n, seed=n)
        follow(table)
        begun = time.perf_counter()
        solved = follow(table)
        seconds[n] = time.perf_counter() - begun
        print(f"{n:6d} recipes, 100 cycles, full with jumping: {seconds[n]:.3f} s")
    goals.append(("one recipe, 100 cycles, warm (s)", seconds[1], "<=", 1.0))
    if 1024 in seconds:
        goals.append(("1024 recipes, 100 cycles (s)", seconds[1024], "<=", 5.0))
    peer = 256 * CYCLES * pybamm_ms * 1e-3
    goals.append(("outcomes against PyBaMM solving every cycle, 256", peer / seconds[256], ">=", 100.0))
    jumped = 256 * len(solved.cycles) * pybamm_ms * 1e-3
    print(f"against PyBaMM jumping over the same anchors: {jumped / seconds[256]:.1f}x")

    few = recipes(16, seed=3)
    every = follow(few, also=range(1, CYCLES + 1))
    some = follow(few)
    errors = (some.discharge_at(CYCLES) / every.discharge_at(CYCLES) - 1).abs()
    goals.append(("capacity at cycle 100, jumping against every cycle (worst of 16)", float(errors.max()), "<=", 5e-3))

    table = recipes(4096, seed=4)
    x = inputs.encode(table)
    with torch.no_grad():
        physics.run(x, p, last=CYCLES, fidelity="quick")
        begun, busy = time.perf_counter(), time.process_time()
        physics.run(x, p, last=CYCLES, fidelity="quick")
        rate = 4096 / (time.perf_counter() - begun)
    print(f"quick, one thread: {4096 / (time.process_time() - busy):.0f} outcomes a second of its own CPU time")
    goals.append(("quick outcomes a second at 4096", rate, ">=", 20000.0))
    return {"seconds": seconds, "goals": goals}
