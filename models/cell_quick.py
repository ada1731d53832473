"""Quick fidelity: the half-cycle in closed form, smooth in every parameter.

The electrode is reduced to its end: how much of it has reacted when the cut-off comes, and the voltages on the way. Both
come from one small network of the dimensionless drops of ``models.cell_quick_features``, one for each direction,

    (m, v) = w3 tanh(w2 tanh(w1 x + b1) + b2) + b3,      share z = sigmoid(m),      V = U_start + (2RT/F) v at fixed z

fitted to the full solution over the two populations of ``models.cell_box`` (``python -m models.cell_quick_fit``), with a
penalty where a larger drop would raise z. A discharge that starts from a partly charged cathode ends at the same z; a
charge also sees what is stored and gives a share of it back. The curve is closed by the cut-off. Errors:
docs/cell_solver.md.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.cell import CellDesign, HalfCycle, Status
from models.cell_quick_features import features
from models.cell_scaled import GAS_OVER_FARADAY_V_K

Side = Literal["discharge", "charge"]
Weights = dict[str, Tensor]

WEIGHTS: Final = Path(__file__).with_name("cell_quick.safetensors")
KNOTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Shares of the capacity at which the curve is fitted; the last, 1, is the cut-off."""
ERROR_BINS: Final = (0.0, 0.1, 0.3, 0.6, 0.9, 1.0)
"""Utilisations at which the fit's relative error (one sigma, against full) is tabulated."""
_NOTHING: Final = 1e-3  # share of theory below which a cell is said to have no capacity
_ROUNDING: Final = 1e-4  # width over which a capacity goes to zero smoothly


def half_cycle(design: CellDesign, *, start: HalfCycle | None, direction: int) -> HalfCycle:
    """One discharge (+1) or charge (-1) of n designs; see ``models.cell`` for arguments and result."""
    side: Side = "discharge" if direction > 0 else "charge"
    held = torch.zeros_like(design.current_mA_cm2) if start is None else start.state[:, 0, 0]
    out = network(inputs(design, side, held=held), weights(held.device), side)
    share, curve = torch.sigmoid(out[:, 0]), out[:, 1:]
    if side == "charge":
        passed, cutoff = held * share, design.cutoff_charge_V
    else:
        rest, cutoff = share - held, design.cutoff_discharge_V
        passed = share if start is None else 0.5 * (rest + torch.sqrt(rest * rest + _ROUNDING**2))
    volts = torch.cat([design.ocv_start_V[:, None] + thermal_V(design) * curve, cutoff[:, None]], dim=1)
    grid = torch.tensor((*KNOTS, 1.0), dtype=held.dtype, device=held.device)
    return HalfCycle(
        capacity_mAh_cm2=passed * design.capacity_mAh_cm2,
        mean_voltage_V=torch.trapezoid(volts, grid, dim=1),
        charge_grid=grid,
        voltage_V=volts,
        state=(held + direction * passed)[:, None, None],
        edges=torch.tensor([[0.0, 1.0]], dtype=held.dtype, device=held.device).expand(design.n, 2),
        status=torch.where(passed > _NOTHING, int(Status.CUTOFF), int(Status.NO_CAPACITY)),
        relative_error=relative_error(passed, side),
    )


def capacity_mAh_cm2(design: CellDesign) -> Tensor:
    """Capacity of a discharge of the charged cathode, (n,): what ``half_cycle`` gives, without the curve."""
    x = inputs(design, "discharge", held=None)
    return torch.sigmoid(network(x, weights(x.device), "discharge", outputs=1)[:, 0]) * design.capacity_mAh_cm2


def inputs(design: CellDesign, side: Side, *, held: Tensor | None) -> Tensor:
    """What the network of a side sees: the drops, and in charge the log-odds of the mean lithiation at its start."""
    if side == "discharge":
        return features(design, direction=+1)
    assert held is not None
    odds = torch.logit(1e-4 + (1.0 - 2e-4) * held)[:, None] / 5.0
    return torch.cat([features(design, direction=-1), odds], dim=1)


def network(x: Tensor, w: Weights, side: Side, *, outputs: int = 1 + len(KNOTS)) -> Tensor:
    """Log-odds of the share and voltages at the knots in 2RT/F over the plateau's start, (n, outputs)."""
    hidden = torch.tanh(torch.addmm(w[f"{side}_b1"], x, w[f"{side}_w1"]))
    hidden = torch.tanh(torch.addmm(w[f"{side}_b2"], hidden, w[f"{side}_w2"]))
    return torch.addmm(w[f"{side}_b3"][:outputs], hidden, w[f"{side}_w3"][:, :outputs])


def thermal_V(design: CellDesign) -> Tensor:
    """2RT/F, (n, 1)."""
    return 2.0 * GAS_OVER_FARADAY_V_K * design.temperature_K[:, None]


def relative_error(share: Tensor, side: Side) -> Tensor:
    """One sigma of a capacity against full, relative, by the share of theory that is passed; carries no gradient."""
    at, bins = share.detach().contiguous(), torch.tensor(ERROR_BINS, dtype=share.dtype, device=share.device)
    table = weights(share.device)[f"{side}_error"]
    right = torch.searchsorted(bins, at).clamp(1, len(ERROR_BINS) - 1)
    return torch.lerp(table[right - 1], table[right], (at - bins[right - 1]) / (bins[right] - bins[right - 1]))


@lru_cache(maxsize=4)
def weights(device: torch.device) -> Weights:
    """The fitted weights."""
    return {name: value.double() for name, value in load_file(WEIGHTS, device=str(device)).items()}
