"""Simulate a table of designs: composite, cycling record, outcomes with bands, warnings.

The centre is the posterior mode at the asked fidelity. Bands come from posterior draws at quick fidelity, taken relative to
quick at the mode, times draws of the discrepancy between model and world (`models.discrepancy`) and of the scatter of
single readings. The centre is pure physics: where the discrepancy has learned of a gap, the band leans to one side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaign import materials as campaign_materials
from campaign import outcome as campaign_outcome
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.recipe import complete
from models import discrepancy_file, limits, observables
from models.cell import Fidelity, HalfCycle
from models.discrepancy import Gap, Worlds, worlds
from models.inputs import Inputs, encode, encode_complete, take
from models.parameters import Parameters, Values, load
from models.physics import Run, run
from models.record import Record, every_cycle, spacing

CHUNK = 1024
"""Designs (times draws) that are solved at once: bounds the memory."""


@dataclass(frozen=True)
class Simulation:
    """What n designs would do; every table keeps the index of the designs.

    Attributes:
        designs: completed designs.
        composite: states after mixing and pressing, one column a state with its unit.
        cycling: long table of docs/architecture.md, one row a design and cycle.
        outcome: one row a design; with draws, each column `x` has `x_p05` and `x_p95` beside it.
        warnings: sentences of each design.
        curves: long table of voltage against capacity at the anchor cycles that were solved.
        jump_error_pct: estimated error of cycle jumping, in % of each design's peak capacity.
    """

    designs: pd.DataFrame
    composite: pd.DataFrame
    cycling: pd.DataFrame
    outcome: pd.DataFrame
    warnings: list[list[str]]
    curves: pd.DataFrame
    jump_error_pct: pd.Series


def simulate(
    designs: pd.DataFrame,
    *,
    fidelity: Fidelity = "full",
    draws: int = 0,
    seed: int = 0,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
    allow_refused: bool = False,
) -> Simulation:
    """Simulate n designs, from mixing to the last cycle of their protocol.

    Args:
        designs: any subset of the columns of a design table; the rest takes the published value.
        fidelity: `full` resolves the porous electrode, `quick` has it in closed form.
        draws: posterior samples behind the 5 % and 95 % columns; 0 gives none.
        seed: of the draws.
        materials: our tables and a lab's own rows; None is ours.
        parameters: None is the calibrated file.
        allow_refused: predict outside the box too (for scoring measured rows, never for a user).

    Raises:
        Refusal: the first design that the model refuses, with the bound and its reason.
    """
    stock = materials or campaign_materials.load()
    full = complete(designs, stock)
    if not allow_refused:
        for label, sentence in zip(full.index, limits.refusals(full, materials=stock), strict=True):
            if sentence:
                raise Refusal(f"row {label}: {sentence}" if len(full) > 1 else sentence)
    known = parameters or load()
    told = limits.warnings(full, materials=stock)
    parts = [
        _follow(some, stock, known, ratio=ratio, fidelity=fidelity, draws=draws, seed=seed)
        for group in _same_length(full)
        for ratio, some in _same_spacing(group, stock, known)
    ]
    return Simulation(
        designs=full,
        composite=pd.concat([part.composite for part in parts]).loc[full.index],
        cycling=_in_order(pd.concat([part.cycling for part in parts], ignore_index=True), full.index),
        outcome=pd.concat([part.outcome for part in parts]).loc[full.index],
        warnings=told,
        curves=_in_order(pd.concat([part.curves for part in parts], ignore_index=True), full.index),
        jump_error_pct=pd.concat([part.jump_error_pct for part in parts]).loc[full.index],
    )


@dataclass(frozen=True)
class _Part:
    composite: pd.DataFrame
    cycling: pd.DataFrame
    outcome: pd.DataFrame
    curves: pd.DataFrame
    jump_error_pct: pd.Series


def _same_length(full: pd.DataFrame) -> list[pd.DataFrame]:
    """Designs of one number of cycles, in chunks of bounded memory."""
    groups = [group for _, group in full.groupby("cycles", sort=False)]
    return [group.iloc[at : at + CHUNK] for group in groups for at in range(0, len(group), CHUNK)]


def _reported(group: pd.DataFrame) -> tuple[int, ...]:
    last = int(group["cycles"].iloc[0])
    return (*(n for n in campaign_outcome.STANDARD_CYCLES if n <= last), last)


def _same_spacing(
    group: pd.DataFrame, stock: Materials, known: Parameters
) -> Iterator[tuple[tuple[float, Tensor], pd.DataFrame]]:
    """Split designs by the spacing of anchors that each needs; what a design gets does not depend on its neighbours."""
    with torch.no_grad():
        ratio, error = spacing(
            encode(group, stock), known.values(), last=int(group["cycles"].iloc[0]), also=_reported(group)
        )
    for one in torch.unique(ratio):
        mine = torch.nonzero(ratio == one)[:, 0]
        yield (float(one), error[mine]), group.iloc[mine.numpy()]


def _in_order(table: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Rows by the order of their designs."""
    place = pd.Series(np.arange(len(index)), index=index)
    order = np.argsort(place.loc[table["design"]].to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _follow(
    group: pd.DataFrame,
    stock: Materials,
    known: Parameters,
    *,
    ratio: tuple[float, Tensor],
    fidelity: Fidelity,
    draws: int,
    seed: int,
) -> _Part:
    last, reported = int(group["cycles"].iloc[0]), _reported(group)
    x, p = encode(group, stock), known.values()
    with torch.no_grad():
        followed = run(x, p, last=last, also=reported, fidelity=fidelity, ratio=ratio[0])
        composite = _composite(x, followed, p, group.index)
        cycling = _cycling(every_cycle(x, followed, p), group.index)
        outcome = campaign_outcome.derive(cycling, group, stock, cycles=reported).join(composite)
        if draws:
            z = known.draw(draws, seed=seed)
            relative = _relative_draws(list(outcome.columns), x, known, z=z, last=last, also=reported, seed=seed)
            gap = _gap(x, group, known, z=z, seed=seed, materials=stock)
            outcome = outcome.join(_bands(outcome, relative, gap, row_sd=known.discrepancy.sizes.row, seed=seed))
            outcome = outcome[_beside(list(outcome.columns))]
    jumped = pd.Series(100 * ratio[1].numpy(), index=group.index, name="jump_error_pct")
    return _Part(composite, cycling, outcome, _curves(followed, group.index), jumped)


def _composite(x: Inputs, followed: Run, p: Values, index: pd.Index) -> pd.DataFrame:
    table = pd.DataFrame(
        {name: value.numpy() for name, value in observables.states(followed.powder, p).items()}, index=index
    )
    halide = followed.powder.segregation
    for column, name in enumerate(x.halide_names):
        if bool((x.halide_per_P[:, column] > 0).any()):
            table[f"segregated_{name}_per_P"] = halide.segregated_per_P[:, column].numpy()
            table[f"remaining_{name}_per_P"] = halide.remaining_per_P[:, column].numpy()
    return table


def _cycling(record: Record, index: pd.Index) -> pd.DataFrame:
    n, cycles = record.discharge_mAh_cm2.shape
    discharge, charge = record.discharge_mAh_cm2.numpy(), record.charge_mAh_cm2.numpy()
    return pd.DataFrame(
        {
            "design": np.repeat(index.to_numpy(), cycles),
            "cycle": np.tile(record.cycles.numpy().astype(int), n),
            "discharge_areal_capacity_mAh_cm2": discharge.ravel(),
            "charge_areal_capacity_mAh_cm2": charge.ravel(),
            "coulombic_efficiency": (charge / np.maximum(discharge, 1e-12)).ravel(),
            "mean_discharge_voltage_V": record.mean_discharge_V.numpy().ravel(),
            "mean_charge_voltage_V": record.mean_charge_V.numpy().ravel(),
            "sse_areal_capacity_mAh_cm2": record.sse_mAh_cm2.numpy().ravel(),
        }
    )


def _relative_draws(
    names: Sequence[str],
    x: Inputs,
    known: Parameters,
    *,
    z: Tensor,
    last: int,
    also: Sequence[int],
    seed: int,
) -> dict[str, np.ndarray]:
    """Each outcome at posterior draws z over its value at the mode, both by quick and in doubt of it, (draws, n)."""
    draws = len(z)
    z = torch.cat([torch.as_tensor(known.z)[None], z])
    p = known.values(z)
    rows = {name: np.empty((draws, x.n)) for name in names if not name.startswith(("segregated_", "remaining_"))}
    doubt = _doubt(draws, seed=seed)
    pieces = x.n * (draws + 1) // (8 * CHUNK) + 1
    for part in np.array_split(np.arange(x.n), pieces):
        some = take(x, torch.as_tensor(part))
        followed = run(some, p, last=last, also=also)
        for name, row in rows.items():
            value = observables.outcome(name, some, followed, p).expand(len(z), len(part))
            centre = torch.where(value[:1] != 0, value[:1], 1.0)
            off = observables.quick_error(name, some, followed, p).expand_as(value)[1:].numpy()
            row[:, part] = (value[1:] / centre).numpy() * np.exp(off * doubt)
    return rows


def _gap(
    x: Inputs, group: pd.DataFrame, known: Parameters, *, z: Tensor, seed: int, materials: Materials | None
) -> Gap:
    """Draws of the discrepancy of n designs that go with posterior draws z."""
    return _worlds(known, z, seed=seed).at(x, limits.widening(group, materials=materials))


def _worlds(known: Parameters, z: Tensor, *, seed: int) -> Worlds:
    moved = z - torch.as_tensor(known.z)
    return worlds(known.discrepancy, moved, seed=seed, quantities=limits.n_quantities())


def _doubt(draws: int, *, seed: int) -> np.ndarray:
    """How many sigmas quick is off in each draw, (draws, 1): the same at every cycle and recipe."""
    return np.random.default_rng([seed, 78]).standard_normal((draws, 1))


def _bands(
    outcome: pd.DataFrame, relative: dict[str, np.ndarray], gap: Gap, *, row_sd: float, seed: int
) -> pd.DataFrame:
    bands: dict[str, np.ndarray] = {}
    for name, row in relative.items():
        factor = gap.log_factor(name).numpy()
        # A reading of a real cell scatters about any smooth gap; what is known without cycling does not.
        if name not in observables.STATES and not name.startswith("mixing_"):
            reading = np.random.default_rng([seed, 77, campaign_outcome.cycle_of(name) or 0])
            factor = factor + row_sd * reading.standard_normal((len(factor), 1))
        spread = outcome[name].to_numpy() * row * np.exp(factor)
        bands[f"{name}_p05"], bands[f"{name}_p95"] = np.quantile(spread, [0.05, 0.95], axis=0)
    return pd.DataFrame(bands, index=outcome.index)


def _beside(columns: list[str]) -> list[str]:
    """Each outcome with its band to the right of it."""
    plain = [name for name in columns if not name.endswith(("_p05", "_p95"))]
    return [c for name in plain for c in (name, f"{name}_p05", f"{name}_p95") if c in columns]


def _curves(followed: Run, index: pd.Index) -> pd.DataFrame:
    halves = {"discharge": followed.discharges, "charge": followed.charges}
    tables = [_curve(half, solved, followed, index) for half, solved in halves.items() if solved is not None]
    return pd.concat(tables, ignore_index=True)


def _curve(half: str, solved: HalfCycle, followed: Run, index: pd.Index) -> pd.DataFrame:
    volts = followed.at_anchors(solved.voltage_V).numpy()
    passed = followed.at_anchors(solved.capacity_mAh_cm2).numpy()
    anchors, n, m = volts.shape
    return pd.DataFrame(
        {
            "design": np.tile(np.repeat(index.to_numpy(), m), anchors),
            "cycle": np.repeat(followed.cycles, n * m),
            "half": half,
            "areal_capacity_mAh_cm2": (passed[..., None] * solved.charge_grid.numpy()).ravel(),
            "voltage_V": volts.ravel(),
        }
    )


def ensemble(
    designs: pd.DataFrame,
    outcome: str,
    *,
    draws: int,
    seed: int,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
    prior: bool = False,
    world: bool = True,
) -> np.ndarray:
    """Draw an outcome of n designs from the posterior of parameters and discrepancy at quick fidelity, (draws, n).

    The same seed gives the same parameters and the same gap for any designs: draws are whole worlds, smooth in the recipe.

    Args:
        designs: any subset of the columns of a design table.
        outcome: a name of `campaign.outcome` or of `models.observables.STATES`.
        draws: how many simulators.
        seed: of the draws.
        materials: our tables and a lab's own rows; None is ours.
        parameters: None is the calibrated file.
        prior: draw from the prior instead: what is known without the published measurements.
        world: add quick's error and the discrepancy between model and world; without them the draws are simulators.
    """
    drawn = simulators(
        designs, [outcome], draws=draws, seed=seed, materials=materials, parameters=parameters, prior=prior, world=world
    )[outcome]
    if not world:
        return drawn
    own = draw_worlds(draws=draws, seed=seed, parameters=parameters, prior=prior)
    (gap,) = gaps(complete(designs, materials), [own], materials=materials)
    return np.asarray(drawn * np.exp(gap.log_factor(outcome).numpy()))


def simulators(
    designs: pd.DataFrame,
    outcomes: Sequence[str],
    *,
    draws: int,
    seed: int,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
    prior: bool = False,
    world: bool = True,
) -> dict[str, np.ndarray]:
    """Draw outcomes of n designs, (draws, n) each, as `ensemble` does but for the discrepancy.

    Outcomes that need the same cycles are read off one run. Those that need others have their own, so that what is drawn of
    an outcome does not depend on what else is asked for.
    """
    full = complete(designs, materials)
    x = encode(full, materials)
    known = parameters or load()
    z = known.draw(draws, seed=seed, prior=prior)
    out = {outcome: np.empty((draws, x.n)) for outcome in outcomes}
    doubt = _doubt(draws, seed=seed)
    step = max(1, 8 * CHUNK // max(x.n, 1))
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for outcome in out:
        needed = observables.cycles_of([outcome])
        last = int(full["cycles"].max()) if outcome.startswith("peak") else max(needed)
        groups.setdefault((last, needed), []).append(outcome)
    with torch.no_grad():
        for (last, needed), names in groups.items():
            for begin in range(0, draws, step):
                some = z[begin : begin + step]
                p = known.values(some)
                followed = run(x, p, last=last, also=needed)
                for outcome in names:
                    rows = observables.outcome(outcome, x, followed, p).expand(len(some), x.n).numpy()
                    if world:
                        off = observables.quick_error(outcome, x, followed, p).expand(len(some), x.n).numpy()
                        rows = rows * np.exp(off * doubt[begin : begin + step])
                    out[outcome][begin : begin + step] = rows
    return out


def draw_worlds(*, draws: int, seed: int, parameters: Parameters | None = None, prior: bool = False) -> Worlds:
    """Return the discrepancies that go with the draws of `simulators`: functions of the recipe, cheap beside the physics."""
    known = parameters or load()
    z = known.draw(draws, seed=seed, prior=prior)
    if prior:
        known = replace(known, discrepancy=discrepancy_file.prior(), z=np.zeros_like(known.z))
    return _worlds(known, z, seed=seed)


def gaps(designs: pd.DataFrame, drawn: Sequence[Worlds], *, materials: Materials | None = None) -> list[Gap]:
    """Return the discrepancies of n complete designs (`campaign.recipe.complete`) in each of some sets of worlds."""
    stock = materials or campaign_materials.load()
    x, widening = encode_complete(designs, stock), limits.widening_complete(designs, stock)
    return [worlds.at(x, widening) for worlds in drawn]
