"""Accuracy of the full cell, orders of mesh and step, error of quick: ``python benchmarks/cell_accuracy.py [--quick]``.

* Against PyBaMM's own finite volumes on a fine common mesh (two meshes, extrapolated), IDAKLU at rtol 1e-7: capacity
  and voltage curve of both half-cycles, at our default mesh and steps; half of the cells from random recipes, half from
  the box of lumped parameters.
* Orders: error of capacity against the finest, over nodes and over step tolerances.
* Quick against full, mapped over random recipes of the allowed box (at random cycles) and over ``models.cell_box``.
* Cost of gradients: forward and backward against forward alone.

Pictures: ``benchmarks/out/cell_accuracy.png`` and ``benchmarks/out/cell_quick_map.png``.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from models import cell, cell_box, cell_full, cell_mesh, cell_numba, cell_scaled, parameters, physics  # noqa: E402 - after the thread count and the path are set
from models.cell import CellDesign, HalfCycle  # noqa: E402 - after the thread count and the path are set
from models.cell_steps import Tolerances  # noqa: E402 - after the thread count and the path are set
from models.inputs import encode  # noqa: E402 - after the thread count and the path are set
from models.random_recipes import random_recipes  # noqa: E402 - after the thread count and the path are set

OUT = Path(__file__).parent / "out"
DEFAULT = Tolerances()
FINE = Tolerances(lithiation=1.2e-5, voltage_V=5e-5, newton_V=1e-6)


def alive(n: int, *, seed: int, least: float = 0.05) -> CellDesign:
    """Random cells that pass a share of theory both ways, from recipes and from the box in equal parts."""
    drawn = [draw(2 * n + 32, seed=seed) for draw in (cell_box.draw_from_recipes, cell_box.draw)]
    return _join([_some_alive(cells, n - n // 2 if k else n // 2, least=least) for k, cells in enumerate(drawn)])


def _some_alive(drawn: CellDesign, n: int, *, least: float) -> CellDesign:
    down = cell.discharge(drawn)
    up = cell.charge(drawn, start=down)
    share = torch.minimum(down.capacity_mAh_cm2, up.capacity_mAh_cm2) / drawn.capacity_mAh_cm2
    keep = (share > least).nonzero()[:n, 0]
    return CellDesign(*(field[keep] for field in drawn.tensors()))


def _join(parts: list[CellDesign]) -> CellDesign:
    return CellDesign(*(torch.cat(column) for column in zip(*(part.tensors() for part in parts), strict=True)))


def cycle(design: CellDesign, **options: Any) -> tuple[HalfCycle, HalfCycle]:
    """A discharge and the charge after it."""
    down = cell_full.half_cycle(design, start=None, direction=+1, **options)
    return down, cell_full.half_cycle(design, start=down, direction=-1, **options)


def by_pybamm(design: CellDesign, nodes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Capacities (n,) and voltages at 101 shares of them (n, 101), discharge and charge; NaN where PyBaMM failed."""
    import physics_pybamm
    import pybamm

    pybamm.set_logging_level("ERROR")
    edges = physics_pybamm.common_edges(nodes, share=0.25)
    mesh = cell_mesh.build(edges.expand(design.n, -1))
    state = cell_scaled.charged_state(design, nodes=nodes).numpy()
    out = []
    for direction in (+1, -1):
        scaled = cell_scaled.scale(design, direction=direction)
        model = physics_pybamm.plain(edges[0].numpy(), direction)
        solver = pybamm.IDAKLUSolver(
            rtol=1e-7, atol=1e-9, on_failure="ignore",
            options={"compile": True, "num_threads": 1, "silence_sundials_errors": True},
        )  # fmt: skip
        guess = _first_current(scaled, torch.from_numpy(state), mesh, direction)
        solved = physics_pybamm.solve(solver, model, physics_pybamm.inputs_of(scaled, state, guess))
        capacity = np.array([s.t[-1] if s else np.nan for s in solved])
        curve = np.full((design.n, 101), np.nan)
        for i, s in enumerate(solved):
            if s:
                curve[i] = s["voltage"](t=np.linspace(0.0, 1.0, 101) * s.t[-1])
        out.append((capacity * design.capacity_mAh_cm2.numpy(), curve))
        state = np.stack(
            [s.y[: 3 * nodes, -1].reshape(3, nodes) if s else z for s, z in zip(solved, state, strict=True)]
        )
    return out


def _first_current(scaled: torch.Tensor, state: torch.Tensor, mesh: cell_mesh.Mesh, direction: int) -> np.ndarray:
    """Consistent currents at the start, by the torch march (any number of nodes), as PyBaMM's guess."""
    from models import cell_pieces, cell_torch

    lanes = cell_torch._start(scaled, state, mesh, float(direction))
    c = cell_pieces.coefficients(lanes.h, lanes.h1, lanes.p[8])
    base, x = cell_pieces.base(lanes.now, lanes.before, c), lanes.x
    x = cell_torch._into_bounds(x, base, c.slope, lanes.s[0])
    r = lanes.p[0] + lanes.p[1]
    for _ in range(60):
        s = base + c.slope * x
        at = cell_pieces.potential(s, x, lanes.p)
        d = 1.0 / torch.minimum(c.slope * at.g_s + at.g_w, 0.25 * at.g_w)
        right = cell_pieces.apply_transfer(r * (x - at.g * d), lanes.bands)
        right[0] -= direction * lanes.p[0]
        right[-1] -= direction * lanes.p[1]
        psi = cell_pieces.solve_tridiagonal(*cell_pieces.system(-r * d, lanes.bands), right)
        x = cell_torch._update(x, psi - at.g, d, at.root, base, c.slope, s)
    return x.T.numpy()


def against_pybamm(n: int, *, seed: int, nodes: int) -> dict[str, float]:
    """Worst and median errors of capacity and curve against the extrapolated fine solution."""
    design = alive(n, seed=seed)
    ours = cycle(design)
    coarse, fine = by_pybamm(design, nodes), by_pybamm(design, 2 * nodes)
    out: dict[str, float] = {}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, half, (q1, v1), (q2, v2) in zip(("discharge", "charge"), ours, coarse, fine, strict=True):
        exact, curve = q2 + (q2 - q1) / 3, v2 + (v2 - v1) / 3
        capacity = np.abs(half.capacity_mAh_cm2.numpy() / exact - 1)
        inside = slice(1, -1)  # the ends are cut-offs, or the pole of the start
        rms = np.sqrt(np.mean((half.voltage_V.numpy() - curve)[:, inside] ** 2, axis=1))
        solved = np.isfinite(exact)
        found[name] = 1e2 * capacity[solved], 1e3 * rms[solved]
        for what, e, unit in (("capacity", 1e2 * capacity, "%"), ("voltage rms", 1e3 * rms, "mV")):
            q = np.quantile(e[solved], [0.5, 0.9, 0.95, 1.0])
            print(
                f"{name} {what} ({unit}), {solved.sum()} cells: "
                f"median {q[0]:.4f}, 90 % {q[1]:.4f}, 95 % {q[2]:.4f}, worst {q[3]:.4f}"
            )
            out[f"{name} {what} worst"], out[f"{name} {what} 95"] = q[3], q[2]
        reference = np.nanmax(np.abs(q2 / exact - 1))
        print(f"{name}: largest correction of the reference by its own extrapolation {100 * reference:.4f} %")
    _draw_errors(found)
    return out


def _draw_errors(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    figure, axis = _figure()
    for (name, (capacity, rms)), marker in zip(found.items(), "os", strict=True):
        axis.loglog(np.maximum(capacity, 1e-5), rms, marker, alpha=0.6, label=name)
    axis.axvline(0.1, color="grey", lw=0.8)
    axis.axhline(2.0, color="grey", lw=0.8)
    axis.set(xlabel="error of capacity against PyBaMM (%)", ylabel="voltage rms (mV)")
    axis.legend()
    figure.savefig(OUT / "cell_accuracy.png", dpi=150)


def _figure(columns: int = 1) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    OUT.mkdir(exist_ok=True)
    return plt.subplots(1, columns, figsize=(4.5 * columns, 3.5), layout="constrained")


def orders(n: int, *, seed: int) -> None:
    """Observed orders: error of the discharge's capacity over nodes and over mean number of steps."""
    design = alive(n, seed=seed)
    finest = cycle(design, nodes=62, tolerances=FINE)[0].capacity_mAh_cm2
    last: tuple[float, float] | None = None
    for nodes in (12, 16, 24, 32, 40, 48):
        error = _rms(cycle(design, nodes=nodes, tolerances=FINE)[0].capacity_mAh_cm2 / finest - 1)
        order = "" if last is None else f", order {np.log(last[1] / error) / np.log(nodes / last[0]):.2f}"
        print(f"{nodes:3d} nodes: rms error of capacity {error:.2e} (90th percentile of cells and below){order}")
        last = (nodes, error)
    edges = cell_mesh.lay_edges(design)
    mesh = cell_mesh.build(edges)
    scaled = cell_scaled.scale(design, direction=1)
    start = cell_scaled.charged_state(design, nodes=cell_mesh.NODES)
    exact = cell_numba.march(scaled, start, mesh, direction=1, tolerances=replace(FINE, lithiation=2e-6), record=False)
    last = None
    for factor in (16.0, 8.0, 4.0, 2.0, 1.0, 0.5):
        limits = Tolerances(lithiation=DEFAULT.lithiation * factor, voltage_V=DEFAULT.voltage_V * factor, newton_V=1e-6)
        done = cell_numba.march(scaled, start, mesh, direction=1, tolerances=limits, record=False)
        error = _rms(done.charge[:, -1] / exact.charge[:, -1] - 1)
        steps = float(done.steps.double().mean())
        order = "" if last is None else f", order {np.log(last[1] / error) / np.log(steps / last[0]):.2f}"
        print(f"tolerance x {factor:4g}: {steps:5.1f} steps, rms error of capacity {error:.2e}{order}")
        last = (steps, error)


def _rms(error: torch.Tensor) -> float:
    kept = error.abs().sort().values[: int(0.9 * len(error))]
    return float(kept.square().mean().sqrt())


def recipe_cells(n: int, *, seed: int) -> tuple[pd.DataFrame, CellDesign]:
    """Random recipes of the allowed box and the cell of each at one of its anchor cycles, by the calibrated parameters."""
    table = random_recipes(n, seed)
    run = physics.run(encode(table), parameters.load().values(), last=450)
    anchor = np.random.default_rng(seed).integers(0, len(run.cycles), n)
    cells = run.cells.designs
    return table, CellDesign(*(field[torch.from_numpy(anchor * n + np.arange(n))] for field in cells.tensors()))


def quick_errors(design: CellDesign, where: str) -> dict[str, np.ndarray]:
    """Error of quick against full over (capacity + 1 % of theory), by half-cycle; printed by utilisation."""
    out = {}
    halves = {f: _halves(design, f) for f in ("full", "quick")}
    for name, full, quick in zip(("discharge", "charge"), halves["full"], halves["quick"], strict=True):
        z = full.capacity_mAh_cm2 / design.capacity_mAh_cm2
        error = ((quick.capacity_mAh_cm2 - full.capacity_mAh_cm2) / design.capacity_mAh_cm2 / (z + 0.01)).abs()
        volts = (quick.mean_voltage_V - full.mean_voltage_V).abs()[z > 0.02]
        for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01), (0.0, 1.01)):
            some = (z >= low) & (z < high)
            q = np.quantile(error[some], [0.5, 0.95])
            print(
                f"quick {name}, {where}, utilisation {low:.1f}-{min(high, 1):.1f} ({int(some.sum())} cells): "
                f"median {q[0]:.4f}, 95 % {q[1]:.4f}"
            )
        out[name] = error.numpy()
        print(f"quick {name}, {where}: mean voltage off by {1e3 * float(volts.median()):.1f} mV (median), "
              f"{1e3 * float(volts.quantile(0.95)):.1f} mV (95 %)")  # fmt: skip
    return out


def quick_map(n: int, *, seed: int) -> dict[str, float]:
    """95th percentiles of quick's error over recipes and over the box, and the picture over recipes."""
    table, cells = recipe_cells(n, seed=seed)
    over_recipes = quick_errors(cells, "recipes")
    in_box = quick_errors(cell_box.draw(n, seed=seed), "box")
    _draw_map(table, over_recipes["discharge"])
    return {
        f"{name}, {where}": float(np.quantile(error, 0.95))
        for where, errors in (("recipes", over_recipes), ("box", in_box))
        for name, error in errors.items()
    }


def _draw_map(table: pd.DataFrame, error: np.ndarray) -> None:
    figure, axes = _figure(2)
    pairs = (("speed_rpm", "time_h"), ("current_mA_cm2", "loading_mg_cm2"))
    for axis, (x, y) in zip(axes, pairs, strict=True):
        drawn = axis.hexbin(
            table[x], table[y], C=100 * error, gridsize=10, vmin=0, vmax=5,
            reduce_C_function=lambda inside: np.quantile(inside, 0.95),
        )  # fmt: skip
        axis.set(xlabel=x, ylabel=y)
    figure.colorbar(drawn, ax=axes, label="quick against full, discharge, 95th percentile (%)")
    figure.savefig(OUT / "cell_quick_map.png", dpi=150)


def _halves(design: CellDesign, fidelity: cell.Fidelity) -> tuple[HalfCycle, HalfCycle]:
    down = cell.discharge(design, fidelity=fidelity)
    return down, cell.charge(design, start=down, fidelity=fidelity)


def gradient_cost(n: int, *, seed: int) -> float:
    """Extra time of value and gradient over the value, in forward runs."""
    design = cell_box.draw(n, seed=seed)

    def value(cells: CellDesign) -> torch.Tensor:
        down, up = cycle(cells)
        return down.mean_voltage_V.sum() + up.capacity_mAh_cm2.sum()

    def both() -> None:
        leaves = [f.clone().requires_grad_() for f in design.tensors()]
        torch.autograd.grad(value(CellDesign(*leaves)), leaves)

    seconds = []
    for run in (lambda: value(design), both):
        run()
        times = []
        for _ in range(5):
            begun = time.process_time()
            run()
            times.append(time.process_time() - begun)
        seconds.append(min(times))
    print(f"gradient: {1e3 * seconds[0] / n:.3f} ms a cycle without, {1e3 * seconds[1] / n:.3f} ms with")
    return seconds[1] / seconds[0] - 1.0


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", default="1-1", help="seed of the cells (the first of A-B)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seed = int(given.seeds.split("-")[0])
    cell_full.half_cycle(cell_box.draw(64, seed=0), start=None, direction=1)  # compiled before anything is timed
    found = against_pybamm(12 if given.quick else 60, seed=seed, nodes=100 if given.quick else 160)
    orders(100 if given.quick else 400, seed=seed)
    quick = quick_map(1000 if given.quick else 10000, seed=seed + 1000)
    extra = gradient_cost(256, seed=seed)
    goals = [
        (f"{side} {what}, worst", found[f"{side} {what} worst"], goal)
        for side in ("discharge", "charge")
        for what, goal in (("capacity", 0.1), ("voltage rms", 2.0))
    ]
    goals += [(f"quick {where}, 95 % (relative)", value, 0.05) for where, value in quick.items()]
    goals.append(("gradient, extra forward runs", extra, 1.0))
    for name, value, goal in goals:
        print(f"GOAL {name}: measured {value:.3g}, goal <= {goal:g}: {'met' if value <= goal else 'short'}")
    if given.json:
        given.json.write_text(json.dumps({"pybamm": found, "quick": quick, "gradient_extra": extra}, indent=1))


if __name__ == "__main__":
    main()
