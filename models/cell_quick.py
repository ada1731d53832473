"""Quick fidelity: the half-cycle in closed form, smooth in every parameter.

The electrode is reduced to its end: how much of it has reacted when the cut-off comes. That share is a smooth function
of the dimensionless drops of ``models.cell_quick_features``,

    z = sigmoid(-m(features)),     m = a x + w3 tanh(w2 tanh(w1 x + b1) + b2) + b3 with all weights a, w positive,

fitted to the full solution over ``models.cell_box`` (``python -m models.cell_quick_fit``). Positive weights make z fall
with every drop by construction: no fitted wiggle can make a worse cell better. A discharge that starts from a partly
charged cathode ends at the same z; a charge gives back the share zeta(features, z) of what is stored. The voltage curve
is a second fitted function at fixed shares of the capacity, closed by the cut-off. Errors: docs/cell_solver.md.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.cell import CellDesign, HalfCycle, Status
from models.cell_quick_features import features
from models.cell_scaled import GAS_OVER_FARADAY_V_K

WEIGHTS: Final = Path(__file__).with_name("cell_quick.safetensors")
KNOTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Shares of the capacity at which the curve is fitted; the last, 1, is the cut-off."""
ERROR_BINS: Final = (0.0, 0.1, 0.3, 0.6, 0.9, 1.0)
"""Utilisations at which the fit's relative error (rms against full) is tabulated."""
_NOTHING: Final = 1e-3  # share of theory below which a cell is said to have no capacity
_ROUNDING: Final = 1e-4  # width over which a capacity goes to zero smoothly


def half_cycle(design: CellDesign, *, start: HalfCycle | None, direction: int) -> HalfCycle:
    """One discharge (+1) or charge (-1) of n designs; see ``models.cell`` for arguments and result."""
    w = _weights(str(design.current_mA_cm2.device))
    side = "discharge" if direction > 0 else "charge"
    x = features(design, direction=direction)
    if start is None:
        passed = torch.sigmoid(-monotone(x, w, side))
        held, end = torch.zeros_like(passed), passed
    elif direction > 0:
        held = start.state[:, 0, 0]
        rest = torch.sigmoid(-monotone(x, w, side)) - held
        passed = 0.5 * (rest + torch.sqrt(rest * rest + _ROUNDING**2))
        end = held + passed
    else:
        held = start.state[:, 0, 0]
        passed = held * torch.sigmoid(-monotone(with_depth(x, held), w, side))
        end = held - passed
    volt = 2.0 * GAS_OVER_FARADAY_V_K * design.temperature_K
    curve = design.ocv_start_V[:, None] + volt[:, None] * perceptron(with_depth(x, passed), w, f"{side}_curve")
    cutoff = design.cutoff_discharge_V if direction > 0 else design.cutoff_charge_V
    curve = torch.cat([curve, cutoff[:, None]], dim=1)
    grid = torch.tensor((*KNOTS, 1.0), dtype=x.dtype, device=x.device)
    return HalfCycle(
        capacity_mAh_cm2=passed * design.capacity_mAh_cm2,
        mean_voltage_V=torch.trapezoid(curve, grid, dim=1),
        charge_grid=grid,
        voltage_V=curve,
        state=end[:, None, None],
        edges=torch.tensor([[0.0, 1.0]], dtype=x.dtype, device=x.device).expand(design.n, 2),
        status=torch.where(passed > _NOTHING, int(Status.CUTOFF), int(Status.NO_CAPACITY)),
        relative_error=_error(passed.detach(), w[f"{side}_error"]),
    )


def monotone(x: Tensor, w: dict[str, Tensor], side: str) -> Tensor:
    """The fitted m of n designs, (n,): rises with every feature; weights are kept as logarithms."""
    hidden = torch.tanh(x @ w[f"{side}_w1"].exp() + w[f"{side}_b1"])
    hidden = torch.tanh(hidden @ w[f"{side}_w2"].exp() + w[f"{side}_b2"])
    return hidden @ w[f"{side}_w3"].exp() + x @ w[f"{side}_w0"].exp() + w[f"{side}_b3"]


def perceptron(x: Tensor, w: dict[str, Tensor], side: str) -> Tensor:
    """Two hidden layers without a constraint, (n, outputs)."""
    hidden = torch.tanh(x @ w[f"{side}_w1"] + w[f"{side}_b1"])
    hidden = torch.tanh(hidden @ w[f"{side}_w2"] + w[f"{side}_b2"])
    return hidden @ w[f"{side}_w3"] + w[f"{side}_b3"]


def with_depth(x: Tensor, lithiation: Tensor) -> Tensor:
    """Features and the log-odds of a mean lithiation, with both signs: no order is imposed on it."""
    inside = 1e-4 + (1.0 - 2e-4) * lithiation
    depth = torch.log(inside / (1.0 - inside))[:, None] / 5.0
    return torch.cat([x, depth, -depth], dim=1)


@lru_cache(maxsize=4)
def _weights(device: str) -> dict[str, Tensor]:
    return load_file(WEIGHTS, device=device)


def _error(passed: Tensor, table: Tensor) -> Tensor:
    bins = torch.tensor(ERROR_BINS, dtype=passed.dtype, device=passed.device)
    right = torch.searchsorted(bins, passed.contiguous()).clamp(1, len(ERROR_BINS) - 1)
    share = (passed - bins[right - 1]) / (bins[right] - bins[right - 1])
    return table[right - 1] + share * (table[right] - table[right - 1])
