"""Virtual labs: a world to rehearse a campaign against, drawn from a seed, with noise, failures and a physics of its own.

    Q(n) = Q_physics(n; drawn parameters, recipe as this world takes it) exp[sd f(recipe)] x batch x cell,   n = 1, 2
    Q(n) = Q(2) x its own fade law (models.virtual_lab_fade),   n > 2, at every level but `faithful`
    levelling off at what active and electrolyte hold together, whatever the field says

| level | parameters | field sd | fade law | turned round |
|---|---|---|---|---|
| faithful | draw from the posterior | 5 % | ours | - |
| biased | draw from the priors | 20 % | its own | - |
| wrong | draw from the priors | 40 % | its own | the time dependence, or the ranking of electrolytes |

Noise is fixed and never tuned: 12 % a batch, 5 % a cell, 5 % of cells fail early, 3 % give an outlier. Anyone can plug in a
lab of their own: what it must do is `Lab` (see models.virtual_lab_plug). Built on the quick fidelity of the cell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from campaign import materials as campaign_materials
from campaign import outcome, recipe
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.parameter import Numeric
from campaign.space import SearchSpace
from campaign.spec import Objective, OutcomeBound
from models import observables
from models.ageing import protection
from models.electrode import active_charge_share, sse_capacity_mAh_cm2, theoretical_capacity_mAh_cm2
from models.inputs import Inputs, encode, with_cycle_axis
from models.limits import BOX
from models.parameters import Parameters, Values, load
from models.physics import Run, run
from models.record import discharge_at
from models.virtual_lab_fade import draw_fade
from models.virtual_lab_field import Field
from models.virtual_lab_search import densest

Floats = npt.NDArray[np.float64]
Level = Literal["faithful", "biased", "wrong"]
LEVELS: tuple[Level, ...] = ("faithful", "biased", "wrong")

CELL_NOISE, BATCH_NOISE = 0.05, 0.12
"""Relative sd of a cell and of a batch (issue 5, point 1; Puls et al. 2024 for the size)."""
FAILED_SHARE, OUTLIER_SHARE = 0.05, 0.03
FIELD_SD: Mapping[str, float] = {"faithful": 0.05, "biased": 0.20, "wrong": 0.40}
_CEILING = 8.0
"""How sharply a capacity levels off at what active and electrolyte hold together."""
LAST_CYCLE_OF_A_FAILURE = 60.0
"""A failing cell dies somewhere between cycle 1 and here, early deaths being likelier (log-uniform) [est]."""

POWDER = (
    "surface_halide_to_P",
    "crystallite_size_um",
    "sse_pellet_conductivity_mS_cm",
)
"""What a powder test measures: EDS, XRD, a pellet."""


@dataclass(frozen=True)
class Cell:
    """One cell of a mix; the caller makes it, `number` tells the cells of a mix apart."""

    mix: Any
    number: int = 1


@dataclass(frozen=True)
class Cycles:
    """Cycles 1 to n of a cell, or fewer where it died: discharge and charge (mAh cm-2) and hours of each."""

    discharge_mAh_cm2: Floats
    charge_mAh_cm2: Floats
    hours: Floats


@dataclass(frozen=True)
class Best:
    """The noise-free maximum of a lab over the campaign's space."""

    value: float
    recipe: Mapping[str, Any] = field(default_factory=dict)


class Lab(Protocol):
    """What a campaign can be rehearsed against; `factory(seed, level)` in a file of your own makes one.

    A lab may also have `truth(recipes: DataFrame) -> n values`, the noise-free objective of n recipes, to be scored by;
    without it the median of repeated mixes stands in.
    """

    def mix(self, recipe: Mapping[str, Any], context: Mapping[str, Any], day: float) -> Any:
        """Make one batch. `recipe` and `context` together are one row of a design table (docs/architecture.md)."""

    def powder(self, mix: Any) -> Mapping[str, float]:
        """Return what a day of powder tests tells, by `name_unit`; may be empty."""

    def cycle(self, cell: Cell, n: int) -> Any:
        """Return `Cycles` 1 to n, the same ones again when asked again; shorter than n where the cell died.

        Also taken: a DataFrame or mapping with `discharge_areal_capacity_mAh_cm2` and `hours`, or a pair (discharge
        capacities in mAh cm-2, hours a cycle).
        """

    def best(self) -> Any:
        """Return the noise-free maximum of the objective: `Best`, or its value alone."""


@dataclass(frozen=True)
class Question:
    """What is asked of a lab: where one may look, what is held, and what is wanted."""

    space: SearchSpace
    conditions: Mapping[str, Any]
    objective: Objective
    bounds: tuple[OutcomeBound, ...] = ()

    @property
    def outcomes(self) -> list[str]:
        """Outcomes that are asked for: the objective, and what is bounded."""
        return list(dict.fromkeys([self.objective.outcome, *(bound.outcome for bound in self.bounds)]))

    def kept(self, outcomes: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Say of n rows of outcomes whether they keep every bound; one that is not known does not."""
        kept = np.ones(len(outcomes), dtype=bool)
        for bound in self.bounds:
            kept &= bound.met(outcomes[bound.outcome]).to_numpy()
        return kept

    def designs(self, recipes: pd.DataFrame) -> pd.DataFrame:
        """Complete n recipes to a design table."""
        given = {
            name: value for name, value in self.conditions.items() if name not in recipes and name != "carbon_wt_pct"
        }
        return recipe.complete(recipes[list(self.space.names)].assign(**given))


def published_question(materials: Materials | None = None) -> Question:
    """The question of the published work: speed, time, share of sulfur and every electrolyte that the cell allows."""
    stock = materials or campaign_materials.load()
    usable = [
        name for name, sse in stock.electrolytes.items() if sse.window_low_V_vs_Li <= 2.2 and sse.conductivity_mS_cm
    ]
    space = SearchSpace.of(
        {
            "speed_rpm": (400, BOX["speed_rpm"].high),
            "time_h": (0.5, BOX["time_h"].high),
            "active_wt_pct": (BOX["active_wt_pct"].low, BOX["active_wt_pct"].high),
            "sse": usable,
        },
        steps={"speed_rpm": 25, "time_h": 0.25, "active_wt_pct": 0.25},
    )
    shared = {**recipe.PUBLISHED_RECIPE, **recipe.PUBLISHED_PROTOCOL}
    held = {name: value for name, value in shared.items() if name not in space.names}
    return Question(space, held, Objective(outcome="discharge_capacity_cycle_100_mAh_g_composite"))


@dataclass(frozen=True)
class Mix:
    """One batch of a virtual lab: its design and what chance made of it."""

    design: Mapping[str, Any]
    key: int
    batch_factor: float


class VirtualLab:
    """A world drawn from a seed; asked the same twice it answers the same."""

    def __init__(
        self,
        seed: int,
        level: Level,
        *,
        question: Question | None = None,
        materials: Materials | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        """Draw a lab.

        Args:
            seed: of everything in it.
            level: how far its physics is from ours.
            question: where the best is sought; None is the published work's.
            materials: our tables and a lab's own rows.
            parameters: None is the calibrated file.

        Raises:
            Refusal: a level that nobody defined; `wrong` where neither time nor electrolyte is varied.
        """
        if level not in LEVELS:
            raise Refusal(f"{level!r} is no level of a virtual lab; it must be one of {', '.join(LEVELS)}")
        self.seed, self.level = int(seed), level
        self._stock = materials or campaign_materials.load()
        self.question = question or published_question(self._stock)
        known = parameters or load()
        # Roots of its own, so that no draw of a prior's ensemble is this very world.
        self._root = 7_919 * (3 * self.seed + LEVELS.index(level)) + 1_000_003
        self._values: Values = known.values(known.draw(1, seed=self._root, prior=level != "faithful")[0])
        self._field = Field(self._root, 1)
        self._sd = FIELD_SD[level]
        self._remembered: dict[str, Floats] = {}
        space = self.question.space
        levels = {category.name: category.levels for category in space.categories}
        names = levels["sse"] if "sse" in levels else (str(self.question.conditions["sse"]),)
        self._fade = None if level == "faithful" else draw_fade(self._root, names)
        self.turned = self._what_is_turned(names) if level == "wrong" else "nothing"

    # ---- the Lab protocol ----------------------------------------------------------------------------------------

    def mix(self, recipe: Mapping[str, Any], context: Mapping[str, Any], day: float) -> Mix:
        """Make one batch; `context["mix"]`, where given, tells batches of one recipe and day apart."""
        design = {name: value for name, value in {**context, **recipe}.items() if name in _DESIGN}
        text = json.dumps([_plain({**context, **recipe}), round(float(day), 6)], sort_keys=True)
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        rng = np.random.default_rng([self._root, key])
        return Mix(design, key, float(np.exp(BATCH_NOISE * rng.standard_normal())))

    def powder(self, mix: Mix) -> dict[str, float]:
        """Return the powder tests of a batch, each with the cell's relative noise."""
        designs = self._turn(recipe.complete(pd.DataFrame([mix.design])))
        x = encode(designs, self._stock)
        with torch.no_grad():
            states = observables.states(run(x, self._values, last=1).powder, self._values)
        rng = np.random.default_rng([self._root, mix.key, 2])
        noise = np.exp(CELL_NOISE * rng.standard_normal(len(POWDER)))
        return {name: float(states[name][0]) * factor for name, factor in zip(POWDER, noise, strict=True)}

    def cycle(self, cell: Cell, n: int) -> Cycles:
        """Return cycles 1 to n of a cell, or fewer where it dies before."""
        mix: Mix = cell.mix
        fate = self._fate(mix, cell.number)
        last = min(int(n), fate.last_cycle)
        ahead = self._noise_free(mix.design, last + 1) * mix.batch_factor * fate.factor
        discharge, charge = ahead[:-1], np.minimum(ahead[:-1], ahead[1:])
        current = float(mix.design.get("current_mA_cm2", recipe.PUBLISHED_PROTOCOL["current_mA_cm2"]))
        return Cycles(discharge, charge, (discharge + charge) / current)

    def _noise_free(self, design: Mapping[str, Any], n: int) -> Floats:
        """Discharges 1 to n of one design, remembered: its cells differ by factors alone."""
        key = json.dumps(_plain(design), sort_keys=True)
        if len(self._remembered.get(key, ())) < n:
            designs = recipe.complete(pd.DataFrame([design]))
            self._remembered[key] = self._discharge(designs, np.arange(1.0, n + 1.0)).discharge[0]
        return self._remembered[key][:n]

    @cached_property
    def _best(self) -> Best:
        sign = 1.0 if self.question.objective.goal == "max" else -1.0
        found, value = densest(self.question.space, lambda table: sign * self.admitted(table))
        return Best(sign * value, {str(name): item for name, item in found.iloc[0].items()})

    def best(self) -> Best:
        """Return the noise-free best of the question, by dense search over its space."""
        return self._best

    # ---- the truth -----------------------------------------------------------------------------------------------

    def truth(self, recipes: pd.DataFrame) -> Floats:
        """Return the noise-free objective of n recipes of the space, (n,)."""
        return self.outcomes(recipes, [self.question.objective.outcome])[self.question.objective.outcome].to_numpy(
            float
        )

    def outcomes(self, recipes: pd.DataFrame, names: list[str]) -> pd.DataFrame:
        """Return noise-free outcomes of n recipes, one column each."""
        designs = self.question.designs(recipes.reset_index(drop=True))
        wanted = [outcome.cycle_of(name) for name in names]
        reach = max([n for n in wanted if n] + [2])
        if any("peak" in name for name in names):
            reach = max(reach, int(designs["cycles"].max()) if any(name.startswith("peak") for name in names) else 2)
            cycles = np.arange(1.0, reach + 1.0)
        else:
            cycles = np.array(sorted({1.0, 2.0, *(float(n) for n in wanted if n)}))
        seen = self._discharge(designs, cycles, volts=any("energy" in name for name in names))
        long = pd.DataFrame(
            {
                "design": np.repeat(designs.index, len(cycles)),
                "cycle": np.tile(cycles.astype(int), len(designs)),
                "discharge_areal_capacity_mAh_cm2": seen.discharge.ravel(),
                "sse_areal_capacity_mAh_cm2": (seen.discharge * seen.sse_share).ravel(),
                "mean_discharge_voltage_V": seen.voltage_V.ravel(),
            }
        )
        asked = [n for n in wanted if n] or [1]
        return outcome.derive(long, designs, self._stock, cycles=asked).reindex(columns=names).set_index(recipes.index)

    def admitted(self, recipes: pd.DataFrame) -> Floats:
        """Return the noise-free objective of n recipes, NaN where a bound on an outcome is not kept."""
        table = self.outcomes(recipes, self.question.outcomes)
        return np.where(self.question.kept(table), table[self.question.objective.outcome].to_numpy(float), np.nan)

    def _discharge(self, designs: pd.DataFrame, cycles: Floats, *, volts: bool = False) -> _Seen:
        """Noise-free discharge of n designs at m cycles, the electrolyte's share of it, and mean voltages (else NaN)."""
        x, p = encode(self._turn(designs), self._stock), self._values
        at = torch.as_tensor(cycles)
        # A lab with a fade law of its own takes two cycles from the physics; voltages need them all.
        reached = max(int(cycles.max()), 2) if volts or self._fade is None else 2
        with torch.no_grad():
            followed = run(x, p, last=reached)
            share = 1 - active_charge_share(with_cycle_axis(x), at, p)
            if self._fade is None:
                discharge = discharge_at(x, followed, at, p).numpy()
            else:
                discharge = self._faded(designs, x, followed, cycles)
            theory = theoretical_capacity_mAh_cm2(x) + sse_capacity_mAh_cm2(x, 1.0, p)
        discharge = discharge * np.exp(self._sd * self._field(designs))[:, None]
        discharge = discharge / (1 + (discharge / theory.numpy()[:, None]) ** _CEILING) ** (1 / _CEILING)
        voltage = _voltages(followed, cycles) if volts else np.full(discharge.shape, np.nan)
        return _Seen(discharge, np.broadcast_to(share.numpy(), discharge.shape), voltage)

    def _faded(self, designs: pd.DataFrame, x: Inputs, followed: Run, cycles: Floats) -> Floats:
        """Discharge with the first two cycles from the physics and the rest from the lab's own law."""
        assert self._fade is not None
        both = discharge_at(x, followed, torch.tensor([1.0, 2.0], dtype=torch.float64), self._values).numpy()
        theory = theoretical_capacity_mAh_cm2(x).clamp(min=1e-9).numpy()
        later = both[:, 1:] * np.exp(
            self._fade.log_factor(
                np.maximum(cycles, 2.0),
                designs,
                protection=np.broadcast_to(protection(followed.powder, self._values).numpy(), theory.shape),
                collapse=np.broadcast_to(followed.powder.composite.collapse.numpy(), theory.shape),
                utilisation=both[:, 1] / theory,
            )
        )
        return np.where(cycles[None] < 2, both[:, :1], later)

    # ---- what is drawn -------------------------------------------------------------------------------------------

    def _fate(self, mix: Mix, number: int) -> _Fate:
        rng = np.random.default_rng([self._root, mix.key, 1, number])
        chance, size, when = rng.random(), rng.uniform(0.3, 1.0), rng.random()
        factor = np.exp(CELL_NOISE * rng.standard_normal())
        if chance < FAILED_SHARE:
            return _Fate(int(LAST_CYCLE_OF_A_FAILURE**when), float(factor))
        if chance < FAILED_SHARE + OUTLIER_SHARE:
            # a wrong mass or a bad contact: mostly too little, sometimes too much
            factor *= np.exp(-size if when < 0.7 else size)
        return _Fate(10**9, float(factor))

    def _turn(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Take a recipe as this world does."""
        if self.turned == "nothing":
            return designs
        if self.turned == "time_h":
            low, high = _range(self.question.space, "time_h")
            mirrored = (low + high - designs["time_h"]).clip(lower=0.0)
            return designs.assign(time_h=np.where(designs["time_h"] > 0, mirrored, 0.0))
        return designs.assign(sse=designs["sse"].map(lambda name: self._swap.get(name, name)))

    def _what_is_turned(self, names: tuple[str, ...]) -> str:
        space = self.question.space
        can = [axis for axis in ("time_h", "sse") if axis in space.names and (axis != "sse" or len(names) > 1)]
        if not can:
            raise Refusal("a virtual lab of level wrong turns time_h or sse round, and the space varies neither")
        chosen = can[int(np.random.default_rng([self._root, 21]).integers(len(can)))]
        if chosen == "sse":
            self.turned = "nothing"  # the ranking that is turned is that of the same physics before
            order = self._ranking(names)
            self._swap = dict(zip(order, reversed(order), strict=True))
        return chosen

    def _ranking(self, names: tuple[str, ...]) -> list[str]:
        """Electrolytes by the best that each can reach."""
        sample = self.question.space.sample(128, seed=0).drop(columns="sse")
        tables = pd.concat([sample.assign(sse=name) for name in names], ignore_index=True)
        values = self.truth(tables).reshape(len(names), len(sample))
        sign = 1.0 if self.question.objective.goal == "max" else -1.0
        return [names[i] for i in np.argsort(-(sign * values).max(axis=1), kind="stable")]


@dataclass(frozen=True)
class _Seen:
    discharge: Floats
    sse_share: Floats
    voltage_V: Floats


@dataclass(frozen=True)
class _Fate:
    last_cycle: int
    factor: float


def _voltages(followed: Run, cycles: Floats) -> Floats:
    """Mean discharge voltages at m cycles, linear in ln(cycle) between the anchors, (n, m)."""
    anchors = np.log(np.array(followed.cycles, dtype=float))
    solved = followed.at_anchors(followed.discharges.mean_voltage_V).numpy()
    return np.stack([np.interp(np.log(cycles), anchors, column) for column in solved.T])


_DESIGN = frozenset(recipe.DESIGN_COLUMNS)


def _range(space: SearchSpace, name: str) -> tuple[float, float]:
    parameter = space[name]
    assert isinstance(parameter, Numeric)
    return parameter.low, parameter.high


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON that does not depend on the type of a number."""
    return {name: value if isinstance(value, str) else round(float(value), 9) for name, value in values.items()}
