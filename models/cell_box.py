"""The cells that both fidelities answer for: where quick is fitted and mapped, and where tests draw from.

Two populations: a box of lumped parameters, wider than what sensible recipes lead to, and the cells of random recipes of
``models.limits`` under parameters from their prior, so that calibration and posterior samples stay inside.
"""

import math
from typing import Final

import torch

from models import parameters, physics
from models.cell import CellDesign
from models.electrode import lump
from models.inputs import encode
from models.random_recipes import random_recipes

BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "current_mA_cm2": (0.02, 2.0),
    "capacity_mAh_cm2": (0.01, 12.0),
    "ionic_resistance_ohm_cm2": (3.0, 10000.0),
    "electronic_resistance_ohm_cm2": (0.005, 50.0),
    "separator_resistance_ohm_cm2": (20.0, 400.0),
    "interface_resistance_ohm_cm2": (5.0, 1000.0),
    "exchange_current_mA_cm2": (0.03, 30.0),
    "diffusion_time_h": (0.01, 3.0),
}
"""Lowest and highest value of the fields that are drawn log-uniformly."""

PLATEAU_START_V: Final = (1.15, 1.7)
PLATEAU_FALL_V: Final = (0.01, 0.5)
CUTOFFS_V: Final = (0.38, 2.38)
CUTOFF_SPREAD_V: Final = 0.15
TEMPERATURE_K: Final = (293.0, 303.0)

MOST_RESISTANCE_OHM_CM2: Final = 1e9  # beyond it nothing reacts at any current of the box
_CROWDING: Final = 4  # contact fades towards zero: half of the cells of a long test have less than a tenth
_LAST_CYCLE: Final = 450.0


def draw(n: int, *, seed: int, corners: bool = False) -> CellDesign:
    """N random cells of the box (voltages against Li-In), or n random corners of it."""
    generator = torch.Generator().manual_seed(seed)

    def share() -> torch.Tensor:
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        return u.round() if corners else u

    fields = {
        name: torch.exp(math.log(low) + (math.log(high) - math.log(low)) * share())
        for name, (low, high) in BOUNDS.items()
    }
    start = PLATEAU_START_V[0] + (PLATEAU_START_V[1] - PLATEAU_START_V[0]) * share()
    fall = PLATEAU_FALL_V[0] + (PLATEAU_FALL_V[1] - PLATEAU_FALL_V[0]) * share()
    low, high = (cutoff + CUTOFF_SPREAD_V * (2.0 * share() - 1.0) for cutoff in CUTOFFS_V)
    kelvin = TEMPERATURE_K[0] + (TEMPERATURE_K[1] - TEMPERATURE_K[0]) * share()
    return CellDesign(
        **fields,
        ocv_start_V=start,
        ocv_end_V=start - fall,
        cutoff_discharge_V=low,
        cutoff_charge_V=high,
        temperature_K=kelvin,
    )


def draw_from_recipes(n: int, *, seed: int) -> CellDesign:
    """Cells that random recipes lead to, at random cycles and contact, with parameters from their prior; about n.

    The prior, not the posterior: quick stays valid when the physics is calibrated again. A recipe whose electrolyte the
    drawn parameters leave without any conductivity makes no cell and is left out.
    """
    x = encode(random_recipes(n, seed))
    known = parameters.load()
    p = known.values(known.draw(n, seed=seed, prior=True), by_design=True)
    generator = torch.Generator().manual_seed(seed)
    share, place = torch.rand((2, n), generator=generator, dtype=torch.float64)
    design = lump(x, physics.prepare(x, p), contact=share**_CROWDING, cycle=_LAST_CYCLE**place, p=p)
    sound = design.ionic_resistance_ohm_cm2 < MOST_RESISTANCE_OHM_CM2
    return CellDesign(*(field[sound] for field in design.tensors()))
