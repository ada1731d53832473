"""Quick fidelity: the half-cycle in closed form, smooth in every parameter.

The voltage is balanced against the drops of a reaction front at depth z (the share of the active that has reacted):

    V = U(z) - I [R_sep + R_int + R_front(z)] - (2RT/F) asinh(I / 2 i0),
    R_front(z) = R_par + (R_max - R_par) z

R_par (ions and electrons in parallel) is what the first charge meets, R_max the longer of both ways at the far end.
The utilisation that reaches the cut-off is joined to the one at which the particles are full by a smooth minimum.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.cell import CellDesign, HalfCycle, Status
from models.cell_ocv import END_V
from models.cell_scaled import plateau_fall_V

GAS_OVER_FARADAY = 8.617333262e-5  # V/K
GRID_POINTS = 33
_SHARPNESS = 8.0  # of the smooth minimum: its error where both limits meet is 1 - 2^(-1/8) = 8 %
_PARTICLE_LAG = 1.0 / 15.0  # surface minus mean lithiation of a sphere filling at a steady rate, in I tau / Q


def half_cycle(design: CellDesign, *, start: HalfCycle | None, direction: int) -> HalfCycle:
    """One discharge (+1) or charge (-1) of n designs; see ``models.cell`` for arguments and result."""
    d = design
    current_A = d.current_mA_cm2 * 1e-3
    held = torch.zeros_like(d.capacity_mAh_cm2) if start is None else start.state[:, 0, 0]
    slope = plateau_fall_V(d)
    parallel, longest = _front_resistances(d.ionic_resistance_ohm_cm2, d.electronic_resistance_ohm_cm2)
    thermal = GAS_OVER_FARADAY * d.temperature_K
    kinetic = 2 * thermal * torch.asinh(d.current_mA_cm2 / (2 * d.exchange_current_mA_cm2))
    fixed = current_A * (d.separator_resistance_ohm_cm2 + d.interface_resistance_ohm_cm2 + parallel) + kinetic
    if direction > 0:
        room = 1.0 - held
        window = d.ocv_start_V - slope * held - d.cutoff_discharge_V
    else:
        room = held
        window = d.cutoff_charge_V - d.ocv_start_V + slope * held
    lag = _PARTICLE_LAG * d.current_mA_cm2 * d.diffusion_time_h / d.capacity_mAh_cm2
    budget = softplus(window - fixed, beta=100.0)
    by_voltage = budget / (slope + current_A * (longest - parallel))
    by_particle = room * torch.exp(-lag / (room + 1e-3)) + 1e-9
    utilisation = (by_voltage**-_SHARPNESS + by_particle**-_SHARPNESS) ** (-1.0 / _SHARPNESS)

    grid = torch.linspace(0.0, 1.0, GRID_POINTS, dtype=torch.float64, device=utilisation.device)
    passed = grid * utilisation[:, None]
    lithiation = held[:, None] + direction * passed
    ends = END_V * (1 / (lithiation + 1e-3) - 1 / (1 + 1e-3 - lithiation))
    drop = fixed[:, None] + (current_A * (longest - parallel))[:, None] * passed
    voltage = d.ocv_start_V[:, None] - slope[:, None] * lithiation + ends - direction * drop
    return HalfCycle(
        capacity_mAh_cm2=utilisation * d.capacity_mAh_cm2,
        mean_voltage_V=torch.trapezoid(voltage, grid, dim=1),
        charge_grid=grid,
        voltage_V=voltage,
        state=lithiation[:, -1:, None],
        edges=torch.tensor([[0.0, 1.0]], dtype=utilisation.dtype, device=utilisation.device).expand(d.n, 2),
        status=torch.where(window > fixed, int(Status.CUTOFF), int(Status.NO_CAPACITY)),
        relative_error=torch.full_like(utilisation, 0.1),
    )


def _front_resistances(ionic: Tensor, electronic: Tensor) -> tuple[Tensor, Tensor]:
    """What a front meets at first (both ways in parallel) and at the far end (the longer way, smooth maximum)."""
    total = ionic + electronic
    parallel = ionic * electronic / total
    longest = 0.5 * (total + torch.sqrt((ionic - electronic) ** 2 + 1e-2 * total**2))
    return parallel, longest
