"""Fits the quick cell to the full one: ``python -m models.cell_quick_fit`` writes ``models/cell_quick.safetensors``.

Draws cells from both populations of ``models.cell_box``, solves a discharge and the charge after it, and fits by Adam. The
loss of a share z is that of ln(z + 0.01): a relative error, an absolute one below 1 % of theory. A rise of z with a larger
drop is punished on pairs of cells that differ in one. A tenth of the cells is kept out; their errors are printed and, by
utilisation, written beside the weights. About seven minutes on one core.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from models import cell_box, cell_full
from models.cell import CellDesign, HalfCycle
from models.cell_quick import ERROR_BINS, KNOTS, WEIGHTS, Side, Weights, inputs, network, thermal_V
from models.cell_steps import Tolerances

DROPS: Final = (
    "current_mA_cm2",
    "ionic_resistance_ohm_cm2",
    "electronic_resistance_ohm_cm2",
    "separator_resistance_ohm_cm2",
    "interface_resistance_ohm_cm2",
    "diffusion_time_h",
)
"""Fields of a design that can only cost capacity."""

_HIDDEN: Final = 48
_BATCH: Final = 1024
_BLOCK: Final = 10000
_FLOOR: Final = 0.01  # share of theory below which an error counts as absolute
_SHARPNESS: Final = 20.0  # a relative error of 1/20 is where the loss of a share turns from square to linear
_LARGEST_FACTOR: Final = 3.0  # between the cells of a pair
_RISE: Final = 100.0  # weight of a rise against an error of the same size
_LOOSE: Final = Tolerances(lithiation=1e-3, voltage_V=4e-3)  # errors of 0.2 %, far below those of the fit


@dataclass(frozen=True)
class Solved:
    """Half-cycles of n cells that full has solved, all as shares of theory: what was held, what passed, the curve."""

    design: CellDesign
    held: Tensor
    passed: Tensor
    curve: Tensor

    def take(self, rows: Tensor) -> "Solved":
        """Some of the cells."""
        design = CellDesign(*(field[rows] for field in self.design.tensors()))
        return Solved(design, self.held[rows], self.passed[rows], self.curve[rows])


def main(arguments: list[str]) -> None:
    """Solve, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=300000)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.manual_seed(given.seed)
    blocks = [_solve(design) for design in _cells(given.designs, seed=given.seed)]
    discharges, charges = (_join(list(parts)) for parts in zip(*blocks, strict=True))
    found = _fit("discharge", discharges, steps=given.steps) | _fit("charge", charges, steps=given.steps)
    save_file({name: value.detach().contiguous() for name, value in found.items()}, WEIGHTS)


def _cells(n: int, *, seed: int) -> Iterator[CellDesign]:
    """About n cells in blocks, from both populations in turn."""
    for block in range(math.ceil(n / (2 * _BLOCK))):
        yield cell_box.draw(_BLOCK, seed=1000 * seed + block)
        yield cell_box.draw_from_recipes(_BLOCK, seed=1000 * seed + block)


def _solve(design: CellDesign) -> tuple[Solved, Solved]:
    """Discharge and charge by full."""
    down = cell_full.half_cycle(design, start=None, direction=+1, tolerances=_LOOSE)
    up = cell_full.half_cycle(design, start=down, direction=-1, tolerances=_LOOSE)
    z = down.capacity_mAh_cm2 / design.capacity_mAh_cm2
    returned = up.capacity_mAh_cm2 / design.capacity_mAh_cm2
    return (
        Solved(design, torch.zeros_like(z), z, _at_knots(design, down)),
        Solved(design, z, returned, _at_knots(design, up)),
    )


def _at_knots(design: CellDesign, half: HalfCycle) -> Tensor:
    at = torch.tensor(KNOTS, dtype=torch.float64) * (len(half.charge_grid) - 1)
    return (half.voltage_V[:, at.round().long()] - design.ocv_start_V[:, None]) / thermal_V(design)


def _join(parts: list[Solved]) -> Solved:
    design = CellDesign(*(torch.cat(c) for c in zip(*(part.design.tensors() for part in parts), strict=True)))
    columns = zip(*((part.held, part.passed, part.curve) for part in parts), strict=True)
    return Solved(design, *(torch.cat(column) for column in columns))


def _fit(side: Side, cells: Solved, *, steps: int) -> Weights:
    """Adam with a cosine schedule on nine tenths of the cells, drawn at random; errors on the rest."""
    order = torch.randperm(cells.design.n)
    known, kept_out = cells.take(order[cells.design.n // 10 :]), cells.take(order[: cells.design.n // 10])
    w = _first_weights(side, known)
    optimiser = torch.optim.Adam(w.values(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-5)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = _loss(side, known.take(torch.randint(0, known.design.n, (_BATCH,))), w)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return w | {f"{side}_error": _report(side, kept_out, w)}


def _first_weights(side: Side, cells: Solved) -> Weights:
    columns = inputs(cells.design, side, held=cells.held).shape[1]
    sizes = (columns, _HIDDEN, _HIDDEN, 1 + len(KNOTS))
    w: Weights = {}
    for layer, (rows, outputs) in enumerate(pairwise(sizes), start=1):
        w[f"{side}_w{layer}"] = torch.randn(rows, outputs) / math.sqrt(rows)
        w[f"{side}_b{layer}"] = torch.zeros(outputs)
    w[f"{side}_b3"][1:] = cells.curve[cells.passed > _FLOOR].mean(0)
    return {name: value.requires_grad_() for name, value in w.items()}


def _loss(side: Side, cells: Solved, w: Weights) -> Tensor:
    out = network(inputs(cells.design, side, held=cells.held).float(), w, side)
    share = torch.sigmoid(out[:, 0])
    available = cells.held if side == "charge" else torch.ones_like(cells.held)
    off = _SHARPNESS * torch.log((available * share + _FLOOR) / (cells.passed + _FLOOR))
    curves = smooth_l1_loss(out[:, 1:], cells.curve.float(), reduction="none").mean(1)
    some = (cells.passed > _FLOOR).float()
    loss = smooth_l1_loss(off, torch.zeros_like(off), beta=0.5) + (some * curves).sum() / some.sum()
    if side == "charge":  # what is held has a say there, which no order is known of
        return loss
    worse = inputs(_with_a_larger_drop(cells.design), side, held=None).float()
    rise = torch.log((torch.sigmoid(network(worse, w, side, outputs=1)[:, 0]) + _FLOOR) / (share + _FLOOR))
    return loss + _SHARPNESS * _RISE * torch.relu(rise).mean()


def _with_a_larger_drop(design: CellDesign) -> CellDesign:
    """The same cells, each with one of its drops multiplied."""
    which = torch.randint(0, len(DROPS), (design.n,))
    factor = torch.exp(torch.rand(design.n, dtype=torch.float64) * math.log(_LARGEST_FACTOR))
    changed = {
        name: getattr(design, name) * torch.where(which == field, factor, 1.0) for field, name in enumerate(DROPS)
    }
    return replace(design, **changed)


def _report(side: Side, cells: Solved, w: Weights) -> Tensor:
    """Print the errors of cells that the fit has not seen; one sigma of the share by utilisation, (bins,)."""
    out = network(inputs(cells.design, side, held=cells.held), {name: v.double() for name, v in w.items()}, side)
    share = torch.sigmoid(out[:, 0]) * (cells.held if side == "charge" else 1.0)
    error = ((share - cells.passed) / (cells.passed + _FLOOR)).abs()
    some = cells.passed > _FLOOR
    volts = ((out[:, 1:] - cells.curve) * thermal_V(cells.design))[some].square().mean(1).sqrt()
    for what, values in (("relative error of capacity", error), ("rms error of the curve (V)", volts)):
        shares = torch.tensor([0.5, 0.9, 0.95, 0.99], dtype=values.dtype)
        told = ", ".join(f"{float(v):.4f}" for v in values.quantile(shares))
        sys.stdout.write(f"{side}: {what} on cells kept out, 50/90/95/99th percentile {told}\n")
    bins = torch.tensor(ERROR_BINS, dtype=share.dtype)
    nearest = (share[:, None] - bins).abs().argmin(1)
    # Half of what nineteen of twenty cells stay within: a few cells on the verge of giving nothing would rule an rms.
    return torch.stack([error[nearest == bin_].quantile(0.95) / 1.96 for bin_ in range(len(ERROR_BINS))])


if __name__ == "__main__":
    main(sys.argv[1:])
