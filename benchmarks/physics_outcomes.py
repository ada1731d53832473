"""Whole outcomes: recipe to 100 cycles with cycle jumping, timed cold and warm; used by ``benchmarks/physics.py``.

Ours runs on as many threads as PyBaMM has processes. A cold process is timed with the kernel compiled before, and as on
a machine where it never was.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from models import inputs, parameters, physics
from models.observables import outcome
from models.simulate import simulate

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


def outcomes(*, quick: bool, pybamm_ms: float, threads: int) -> dict[str, Any]:
    """Seconds of outcomes by size and fidelity, the error of jumping, and goals (name, value, relation, goal)."""
    torch.set_num_threads(threads)
    p = parameters.load().values()
    goals: list[tuple[str, float, str, float]] = []

    def follow(table: pd.DataFrame, *, fidelity: Any = "full", **rest: Any) -> physics.Run:
        with torch.no_grad():
            return physics.run(inputs.encode(table), p, last=CYCLES, fidelity=fidelity, **rest)

    def seconds_of(work: Callable[[], object], *, times: int = 3) -> float:
        work()
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begun)
        return min(taken)

    goals.append(("one recipe, 100 cycles, cold process (s)", _cold(), "<=", 5.0))
    with tempfile.TemporaryDirectory() as nothing_compiled:
        seconds = _cold(XDG_CACHE_HOME=nothing_compiled)
    goals.append(("one recipe, 100 cycles, cold process, kernel never compiled (s)", seconds, "<=", 5.0))

    one = pd.DataFrame({"time_h": [4.0]})
    goals.append(("one recipe, 100 cycles, warm (s)", seconds_of(lambda: simulate(one)), "<=", 1.0))
    took = {}
    for n in (256,) if quick else (256, 1024, 4096):
        table = recipes(n, seed=n)
        took[n] = seconds_of(partial(follow, table), times=3 if n == 256 else 1)
        print(f"{n:6d} recipes, 100 cycles, full with jumping: {took[n]:.3f} s")
    if 1024 in took:
        goals.append(("1024 recipes, 100 cycles (s)", took[1024], "<=", 5.0))
    solved = follow(recipes(256, seed=256))
    peer = 256 * CYCLES * pybamm_ms * 1e-3
    goals.append(("outcomes against PyBaMM solving every cycle, 256", peer / took[256], ">=", 100.0))
    jumped = 256 * len(solved.cycles) * pybamm_ms * 1e-3
    print(f"against PyBaMM jumping over the same anchors: {jumped / took[256]:.1f}x")

    few = recipes(16, seed=3)
    every = follow(few, also=range(1, CYCLES + 1))
    some = follow(few)
    # A cell that gives nothing either way is no error.
    whole = every.discharge_at(CYCLES)
    errors = (some.discharge_at(CYCLES) - whole).abs() / whole.clamp(min=1e-6)
    goals.append(("capacity at cycle 100, jumping against every cycle (worst of 16)", float(errors.max()), "<=", 5e-3))

    x = inputs.encode(recipes(4096, seed=4))

    def quick_outcome(name: str) -> object:
        return outcome(name, x, physics.run(x, p, last=CYCLES), p)

    for name in ("discharge_capacity_cycle_100_mAh_g_composite", "discharge_energy_cycle_100_Wh_kg_composite"):
        with torch.no_grad():
            took_quick = seconds_of(partial(quick_outcome, name), times=5)
        print(f"quick, 4096 recipes to {name}: {4096 / took_quick:.0f} outcomes a second")
        if "capacity" in name:
            goals.append(("quick outcomes a second at 4096", 4096 / took_quick, ">=", 20000.0))
    peak_GB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    goals.append((f"peak memory with {max(took)} recipes at once (GB)", peak_GB, "<=", 2.0))
    return {"seconds": took, "goals": goals}


def _cold(**environment: str) -> float:
    """Seconds of a process that answers one recipe, the best of two."""
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", ONE], cwd=ROOT, check=True, env=os.environ | environment)
        taken.append(time.perf_counter() - begun)
    return min(taken)
