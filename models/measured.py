"""Measured rows (the columns of `paper_facts.csv`) and what the model says of each, differentiably.

A row is one observable of one mix, perhaps at one cycle. `Rows` groups them by design, follows each design once, and gives
the model's value of every row, with shape (*draws, rows); rows of an observable without a state are `not modelled`.
Definitions fixed before any fit: segregation is seen where surface X/P >= 1.3, a crystal has collapsed where half of it
has, crystalline active is seen above 5 %; a plateau starts after 5 % of a half-cycle's charge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaign import materials as campaign_materials
from campaign.materials import Materials
from models import observables
from models.cell import Fidelity
from models.electrode import strain_per_mAh_cm2
from models.inputs import Inputs, encode, take
from models.parameters import Values
from models.physics import Run, prepare, run
from models.pressure import residual_after_first_charge_MPa, swing_first_discharge_MPa
from models.record import discharge_at, every_cycle
from models.tidy import LAST_CYCLE, mix_columns, tidy
from models.voltage import gap_at_V, plateau_start_V

_CHALCOGENS = ("sulfur", "selenium", "tellurium", "active")
THRESHOLDS: Mapping[str, tuple[str, float]] = {
    "segregation_seen": ("surface_halide_to_P", 1.3),
    "crystal_collapse_seen": ("crystal_collapse", 0.5),
    **{f"crystalline_{name}_seen": ("crystalline_active_fraction", 0.05) for name in _CHALCOGENS},
}
"""A yes-or-no observable -> the state it is read from and the value from which it is seen."""

_STATES: Mapping[str, str] = {
    "surface_halide_to_P": "surface_halide_to_P",
    "bulk_halide_to_P": "bulk_halide_to_P",
    "area_halide_to_P": "area_halide_to_P",
    "liX_layer_thickness": "liX_layer_thickness_nm",
    "liX_coverage": "liX_coverage",
    "crystallite_size": "crystallite_size_um",
    "active_particle_size": "active_particle_size_um",
    "ionic_conductivity": "ionic_conductivity_mS_cm",
    "electronic_conductivity": "electronic_conductivity_mS_cm",
    "porosity": "porosity",
    "sse_pellet_conductivity": "sse_pellet_conductivity_mS_cm",
    "randles_sevcik_slope": "randles_sevcik_slope",
    "vessel_temperature": "vessel_temperature_C",
    "specific_energy": "specific_energy_kJ_g",
    "specific_power": "specific_power_W_g",
    **{name: state for name, (state, _) in THRESHOLDS.items()},
}
_RATIO = re.compile(r"li_diffusivity_ratio_to_([\d.]+)rpm_([\d.]+)h")
_GAP = re.compile(r"voltage_gap_at_([\d.]+)mAh_cm2")
_REACHES = (100, 450, LAST_CYCLE)
"""Designs are followed to one of these cycles: few groups, few anchors."""

_RATE_TEST_CYCLE = 5.0
"""A rate test gives no cycle: it is read after the first few."""

Reader = Callable[[Inputs, Run, Values, Tensor], Tensor]
"""(designs, run, parameters, cycles) -> value of one row a design."""


@dataclass(frozen=True)
class Rows:
    """Measured rows ready to be compared.

    Attributes:
        table: the rows, index 0..r-1.
        designs: unique designs under their protocol.
        design: which design each row speaks of, (r,).
        mix: which mix each row belongs to, (r,); equal numbers are left out together.
        inputs: the designs as tensors.
        modelled: rows of which the model has a state, (r,).
        reasons: why a row is not modelled, None where it is.
        materials: the tables that the designs were looked up in.
        plan: how far each design is followed and what is read from it.
    """

    table: pd.DataFrame
    designs: pd.DataFrame
    design: np.ndarray
    mix: np.ndarray
    inputs: Inputs
    modelled: np.ndarray
    reasons: list[str | None]
    materials: Materials
    plan: tuple[_Group, ...]

    def predict(self, p: Values, *, fidelity: Fidelity = "quick", by_design: bool = False) -> Tensor:
        """The model's value of every row, (*draws, r), NaN where not modelled.

        Args:
            p: parameter values, () or (draws, 1); with `by_design`, (*draws, designs): each under its own.
            fidelity: of the cell.
            by_design: whether parameters run over designs.
        """
        columns: dict[int, Tensor] = {}
        for group in self.plan:
            own = {k: v[..., group.designs] if by_design and v.ndim else v for k, v in p.items()}
            columns |= _read(group, own, fidelity)
        missing = torch.full(next(iter(columns.values())).shape, torch.nan, dtype=torch.float64)
        return torch.stack([columns.get(row, missing) for row in range(len(self.table))], dim=-1)


@dataclass(frozen=True)
class _Reading:
    """One observable at one cycle, wanted by some rows, each of a design at `place` in its group."""

    reader: Reader
    cycle: Tensor
    rows: list[int]
    place: list[int]


@dataclass(frozen=True)
class _Group:
    """Designs that are followed to the same cycle, 0 for powders, and all need a charge or none of them."""

    designs: np.ndarray
    inputs: Inputs
    last: int
    readings: tuple[_Reading, ...]


def read_rows(table: pd.DataFrame, *, materials: Materials | None = None) -> Rows:
    """Make rows of the columns of `paper_facts.csv` comparable.

    Raises:
        Refusal: a column is missing, or a row is no recipe.
    """
    stock = materials or campaign_materials.load()
    neat = tidy(table, stock)
    rows, designs = neat.rows, neat.designs
    design, unique = _unique(designs)
    mix, _ = _unique(mix_columns(designs))
    known = [_reader(name) is not None for name in rows["observable"]]
    reasons = [
        why or (None if state else "the model has no state for it")
        for why, state in zip(neat.reasons, known, strict=True)
    ]
    modelled = np.array([why is None for why in reasons])
    inputs = encode(unique, stock)
    return Rows(rows, unique, design, mix, inputs, modelled, reasons, stock, _plan(rows, design, modelled, inputs))


def _unique(designs: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    number = designs.groupby(list(designs.columns), dropna=False, sort=False).ngroup().to_numpy()
    return number, designs.drop_duplicates().reset_index(drop=True)


def _plan(table: pd.DataFrame, design: np.ndarray, modelled: np.ndarray, inputs: Inputs) -> tuple[_Group, ...]:
    """Group designs by how far they must be followed, and say what is read from each group."""
    reach = np.zeros(inputs.n, dtype=int)
    charges = np.zeros(inputs.n, dtype=bool)
    names, cycles = table["observable"].astype(str).tolist(), table["cycle"].to_numpy(dtype=float)
    for number, name, cycle in zip(design, names, cycles, strict=True):
        if name in _CURVES or _GAP.fullmatch(name):
            last = _REACHES[np.searchsorted(_REACHES, min(2.0 if np.isnan(cycle) else cycle, _REACHES[-1]))]
            reach[number] = max(reach[number], last)
            charges[number] |= "voltage" in name or name.startswith(("charge", "coulombic", "mean"))
    groups = []
    for last, charged in sorted({(int(a), bool(b)) for a, b in zip(reach, charges, strict=True)}):
        members = np.flatnonzero((reach == last) & (charges == charged))
        place = {int(number): k for k, number in enumerate(members)}
        wanted: dict[tuple[str, float], list[int]] = {}
        for row in np.flatnonzero(np.isin(design, members) & modelled):
            wanted.setdefault((names[row], _RATE_TEST_CYCLE if np.isnan(cycles[row]) else cycles[row]), []).append(
                int(row)
            )
        readings = []
        for (name, cycle), some in wanted.items():
            reader = _reader(name)
            if reader is not None:
                at = torch.tensor([cycle], dtype=torch.float64)
                readings.append(_Reading(reader, at, some, [place[int(design[row])] for row in some]))
        part = take(inputs, torch.as_tensor(members))
        groups.append(_Group(members, part, last, tuple(readings)))
    return tuple(groups)


def _read(group: _Group, p: Values, fidelity: Fidelity) -> dict[int, Tensor]:
    if group.last:
        followed = run(group.inputs, p, last=group.last, fidelity=fidelity)
    else:
        followed = Run(prepare(group.inputs, p), None, None)  # type: ignore[arg-type]  # nobody reads a cycle of these
    out: dict[int, Tensor] = {}
    for reading in group.readings:
        values = reading.reader(group.inputs, followed, p, reading.cycle)
        out |= {row: values[..., place] for row, place in zip(reading.rows, reading.place, strict=True)}
    return out


def _reader(name: str) -> Reader | None:
    """How an observable is read from a run; None where the model has no state for it."""
    if name in _STATES:
        return lambda x, r, p, n: observables.states(r.powder, p)[_STATES[name]]
    ratio, gap = _RATIO.fullmatch(name), _GAP.fullmatch(name)
    if ratio:
        speed, time = float(ratio.group(1)), float(ratio.group(2))
        return lambda x, r, p, n: _diffusivity_ratio(x, r, p, speed_rpm=speed, time_h=time)
    if gap:
        return lambda x, r, p, n: gap_at_V(r, int(n), charge_mAh_cm2=float(gap.group(1)))
    return _CURVES.get(name) or _POWDER.get(name)


def _diffusivity_ratio(x: Inputs, r: Run, p: Values, *, speed_rpm: float, time_h: float) -> Tensor:
    """Squared slope over that of the same composite mixed otherwise: area changes are in it, as in the paper."""
    from dataclasses import replace

    other = replace(x, speed_rpm=torch.full_like(x.speed_rpm, speed_rpm), time_h=torch.full_like(x.time_h, time_h))
    slopes = [observables.states(powder, p)["randles_sevcik_slope"] for powder in (r.powder, prepare(other, p))]
    return (slopes[0] / slopes[1]) ** 2


def _capacity(x: Inputs, r: Run, p: Values, n: Tensor) -> Tensor:
    return discharge_at(x, r, n, p)[..., 0]


def _retention(x: Inputs, r: Run, p: Values, n: Tensor) -> Tensor:
    return 100 * _capacity(x, r, p, n) / _capacity(x, r, p, torch.ones_like(n)).clamp(min=1e-12)


def _retention_vs_peak(x: Inputs, r: Run, p: Values, n: Tensor) -> Tensor:
    until = torch.arange(1, int(n) + 1, dtype=torch.float64)
    return 100 * _capacity(x, r, p, n) / discharge_at(x, r, until, p).amax(-1).clamp(min=1e-12)


def _recorded(x: Inputs, r: Run, p: Values, n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Charge, mean discharge voltage and mean charge voltage at a cycle, the voltages against Li-In."""
    record, at = every_cycle(x, r, p), round(float(n)) - 1
    against = x.anode_V_vs_Li - p["li_in_potential_V"]
    return (
        record.charge_mAh_cm2[..., at],
        record.mean_discharge_V[..., at] + against,
        record.mean_charge_V[..., at] + against,
    )


def _q2_over_q1(x: Inputs, r: Run, p: Values, n: Tensor) -> Tensor:
    return _capacity(x, r, p, torch.full_like(n, 2)) / _capacity(x, r, p, torch.ones_like(n)).clamp(min=1e-9)


_CURVES: Mapping[str, Reader] = {
    "discharge_areal_capacity": _capacity,
    "q2_over_q1": _q2_over_q1,
    "discharge_specific_capacity": lambda x, r, p, n: _capacity(x, r, p, n) / x.loading_mg_cm2 * 1000,
    "capacity_retention_vs_first": _retention,
    "capacity_retention_vs_peak": _retention_vs_peak,
    "charge_areal_capacity": lambda x, r, p, n: _recorded(x, r, p, n)[0],
    "coulombic_efficiency": lambda x, r, p, n: 100 * _recorded(x, r, p, n)[0] / _capacity(x, r, p, n).clamp(min=1e-9),
    "mean_discharge_voltage": lambda x, r, p, n: _recorded(x, r, p, n)[1],
    "mean_charge_voltage": lambda x, r, p, n: _recorded(x, r, p, n)[2],
    "utilisation": lambda x, r, p, n: (
        _capacity(x, r, p, n) / (x.loading_mg_cm2 * x.active_capacity_mAh_g).clamp(min=1e-9) * 1e5
    ),
    "stack_pressure_swing_first_discharge": lambda x, r, p, n: swing_first_discharge_MPa(x, r, p),
    "stack_pressure_residual_after_first_charge": lambda x, r, p, n: residual_after_first_charge_MPa(x, r, p),
    "discharge_plateau_start_voltage": lambda x, r, p, n: plateau_start_V(x, r, p, int(n), half="discharge"),
    "charge_plateau_start_voltage": lambda x, r, p, n: plateau_start_V(x, r, p, int(n), half="charge"),
}
_POWDER: Mapping[str, Reader] = {
    "volume_change_on_full_lithiation": lambda x, r, p, n: (
        strain_per_mAh_cm2(x) * x.active_capacity_mAh_g * x.active_density_g_cm3 * 1e-2 + 0 * r.powder.mixing.contact
    ),
}
