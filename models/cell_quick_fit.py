"""Fits the quick cell to the full one: ``python -m models.cell_quick_fit`` writes ``models/cell_quick.safetensors``.

Draws cells from ``models.cell_box``, solves a discharge and the charge after it, and fits by Adam. The loss of a
utilisation z is that of ln(z + 0.01): a relative error, an absolute one below 1 % of theory. A tenth of the cells is
kept out; their errors are printed and, by utilisation, written beside the weights.
"""

import argparse
import math
import sys

import torch
from safetensors.torch import save_file
from torch import Tensor

from models import cell_box, cell_full
from models.cell import CellDesign
from models.cell_quick import ERROR_BINS, KNOTS, WEIGHTS, monotone, perceptron, with_depth
from models.cell_quick_features import features
from models.cell_scaled import GAS_OVER_FARADAY_V_K
from models.cell_steps import Tolerances

_HIDDEN = 40
_BATCH = 2048
_FLOOR = 0.01  # share of theory below which an error counts as absolute
_LOOSE = Tolerances(lithiation=1e-3, voltage_V=4e-3)  # errors of 0.2 %, far below those of the fit


def main(arguments: list[str]) -> None:
    """Solve, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=80000)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.manual_seed(given.seed)
    design = cell_box.draw(given.designs, seed=given.seed)
    down = cell_full.half_cycle(design, start=None, direction=+1, tolerances=_LOOSE)
    up = cell_full.half_cycle(design, start=down, direction=-1, tolerances=_LOOSE)
    z = down.capacity_mAh_cm2 / design.capacity_mAh_cm2
    back = up.capacity_mAh_cm2 / design.capacity_mAh_cm2
    weights: dict[str, Tensor] = {}
    x_down, x_up = features(design, direction=+1), features(design, direction=-1)
    weights |= _fit_depth("discharge", x_down, z, torch.ones_like(z), steps=given.steps)
    some = z > _FLOOR
    weights |= _fit_depth("charge", with_depth(x_up, z)[some], back[some], z[some], steps=given.steps)
    for side, x, share, half in (("discharge", x_down, z, down), ("charge", x_up, back, up)):
        some = share > _FLOOR
        curve = _at_knots(half.charge_grid, half.voltage_V)
        target = (curve - design.ocv_start_V[:, None]) / _volt(design)[:, None]
        weights |= _fit_curve(f"{side}_curve", with_depth(x, share)[some], target[some], steps=given.steps)
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, WEIGHTS)


def _volt(design: CellDesign) -> Tensor:
    return 2.0 * GAS_OVER_FARADAY_V_K * design.temperature_K


def _at_knots(grid: Tensor, voltage: Tensor) -> Tensor:
    at = torch.tensor(KNOTS, dtype=grid.dtype) * (len(grid) - 1)
    return voltage[:, at.round().long()]


def _fit_depth(side: str, x: Tensor, passed: Tensor, available: Tensor, *, steps: int) -> dict[str, Tensor]:
    """Fit ``passed = available sigmoid(-m(x))`` with a monotone m."""

    def positive(rows: int, *columns: int) -> Tensor:
        return (torch.randn(rows, *columns, dtype=x.dtype) * 0.5 - 1.0 - 0.5 * math.log(rows)).requires_grad_()

    w = {
        f"{side}_w1": positive(x.shape[1], _HIDDEN),
        f"{side}_b1": (2.0 * torch.randn(_HIDDEN, dtype=x.dtype)).requires_grad_(),
        f"{side}_w2": positive(_HIDDEN, _HIDDEN),
        f"{side}_b2": torch.randn(_HIDDEN, dtype=x.dtype).requires_grad_(),
        f"{side}_w3": positive(_HIDDEN),
        f"{side}_w0": positive(x.shape[1]),
        f"{side}_b3": torch.zeros((), dtype=x.dtype).requires_grad_(),
    }

    def predicted(rows: Tensor) -> Tensor:
        return available[rows] * torch.sigmoid(-monotone(x[rows], w, side))

    def loss(rows: Tensor) -> Tensor:
        error = torch.log((predicted(rows) + _FLOOR) / (passed[rows] + _FLOOR))
        return torch.nn.functional.smooth_l1_loss(20.0 * error, torch.zeros_like(error), beta=0.5)

    held_out = _minimise(loss, list(w.values()), rows=len(x), steps=steps)
    with torch.no_grad():
        error = (predicted(held_out) - passed[held_out]) / (passed[held_out] + _FLOOR)
    _report(side, error, "relative error of capacity")
    return w | {f"{side}_error": _by_utilisation(error, passed[held_out])}


def _fit_curve(side: str, x: Tensor, target: Tensor, *, steps: int) -> dict[str, Tensor]:
    """Fit voltages at the knots, in 2RT/F below the plateau's start."""
    k, outputs = x.shape[1], target.shape[1]

    def free(rows: int, columns: int) -> Tensor:
        return (torch.randn(rows, columns, dtype=x.dtype) / math.sqrt(rows)).requires_grad_()

    w = {
        f"{side}_w1": free(k, _HIDDEN),
        f"{side}_b1": torch.zeros(_HIDDEN, dtype=x.dtype).requires_grad_(),
        f"{side}_w2": free(_HIDDEN, _HIDDEN),
        f"{side}_b2": torch.zeros(_HIDDEN, dtype=x.dtype).requires_grad_(),
        f"{side}_w3": free(_HIDDEN, outputs),
        f"{side}_b3": target.mean(0).clone().requires_grad_(),
    }

    def loss(rows: Tensor) -> Tensor:
        return torch.nn.functional.smooth_l1_loss(perceptron(x[rows], w, side), target[rows])

    held_out = _minimise(loss, list(w.values()), rows=len(x), steps=steps)
    with torch.no_grad():
        error = 0.05 * (perceptron(x[held_out], w, side) - target[held_out]).square().mean(1).sqrt()
    _report(side, error, "rms error of the curve (V)")
    return w


def _minimise(loss, parameters: list[Tensor], *, rows: int, steps: int) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Adam with a cosine schedule on nine tenths of the rows; returns the rest."""
    fitted = rows - rows // 10
    optimiser = torch.optim.Adam(parameters, 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-5)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(torch.randint(0, fitted, (_BATCH,))).backward()
        optimiser.step()
        schedule.step()
    return torch.arange(fitted, rows)


def _by_utilisation(error: Tensor, passed: Tensor) -> Tensor:
    """Rms error around each of the tabulated utilisations."""
    bins = torch.tensor(ERROR_BINS, dtype=passed.dtype)
    nearest = (passed[:, None] - bins).abs().argmin(1)
    return torch.stack([error[nearest == i].square().mean().sqrt() for i in range(len(ERROR_BINS))])


def _report(name: str, error: Tensor, what: str) -> None:
    shares = torch.tensor([0.5, 0.9, 0.95, 0.99], dtype=error.dtype)
    values = ", ".join(f"{float(v):.4f}" for v in error.abs().quantile(shares))
    sys.stdout.write(f"{name}: {what} on cells kept out, 50/90/95/99th percentile {values}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
