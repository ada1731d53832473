"""What every cell says so far about the outcomes that count: values with their own doubt, from its first cycle on.

The same for cells of a real lab and of a virtual one: a cell is what can be seen of it (`Seen`), its curve is carried on to
the cycles that the outcomes speak of by the laws of `surrogate.readouts`, and `campaign.outcome` derives the outcomes from the
curve so completed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome
from campaign.materials import Materials
from campaign.parameter import Category
from campaign.recipe import complete
from campaign.space import SearchSpace
from surrogate.powder import first_discharge
from surrogate.readouts import Curve, Outlook, outlook

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int_]

NOISE_SD = 0.13
"""Relative sd of one cell of one batch [est]: 5 % a cell and 12 % a batch (physics.md section 4)."""
TO_COME = ("mixing", "running")
"""States of a cell whose first cycle is yet to come."""
NEAR = 0.3
"""Distance (share of every range) under which recipes with the same names stand for one region [est]."""


@dataclass(frozen=True)
class Seen:
    """A cell as it looks now; `number` is whatever names it."""

    number: Any
    recipe: Mapping[str, Any]
    powder: Mapping[str, float]
    discharge: Floats
    """Discharges of its complete cycles from cycle 1 on, mAh cm-2."""
    state: str
    """mixing, running, ended (it ran as far as was wanted), stopped or died."""
    design: Mapping[str, Any] = field(default_factory=dict)
    """Where its protocol differs from the campaign's: its own loading."""


@dataclass(frozen=True)
class Lacking:
    """What n cells still lack of the cycles that count, in logs of capacity."""

    numbers: tuple[Any, ...]
    """Which cells; those that lack nothing have rows of 0."""
    covariance: Floats
    """n x n: cells alike lack alike, so that one that runs to its end tells of the others."""
    near: npt.NDArray[np.bool_]
    """n x n: whether two recipes are so close, under the same names, that they stand for one region."""


@dataclass(frozen=True)
class Evidence:
    """What cells say at one moment, worked out from the same cells throughout."""

    table: pd.DataFrame
    """One row a cell: its recipe, each outcome and `<outcome>_se`, `number`, and `early_sd`: the relative sd that the cycles
    still missing leave in its order among the others. All NaN = the cell died without a single cycle. Last come the batches
    of which nothing but powder is known."""
    common: Mapping[str, Floats]
    """For each outcome the covariance, in its unit, of what the rows of `table` owe to the laws of ageing: part of their `_se`
    squared; the rest is the noise of batch and cell, each cell's own."""
    lacking: Lacking

    def only(self, rows: npt.NDArray[np.bool_]) -> tuple[pd.DataFrame, dict[str, Floats]]:
        """Return the table and the common errors of some of its rows."""
        kept = {name: square[np.ix_(rows, rows)] for name, square in self.common.items()}
        return self.table[rows].reset_index(drop=True), kept


class EarlyEvidence:
    """Turns cells into what a chooser is told of them."""

    def __init__(
        self,
        space: SearchSpace,
        conditions: Mapping[str, Any],
        outcomes: Sequence[str],
        *,
        materials: Materials,
        curves: Sequence[Floats] = (),
    ) -> None:
        """Set up.

        Args:
            space: what is varied.
            conditions: what is held, recipe and protocol.
            outcomes: that are wanted or bounded, by name.
            materials: for deriving them.
            curves: whole curves that the physics draws over the space.
        """
        self._space, self._conditions, self._materials, self._curves = space, conditions, materials, curves
        self.outcomes = tuple(outcomes)
        self._cycle = {name: needed_cycle(name, conditions) for name in outcomes}
        self.last_cycle = max(self._cycle.values())
        self._targets = sorted(set(self._cycle.values()))
        self._derived: dict[tuple[Any, int, int], dict[str, float]] = {}
        self._encoded: dict[Any, tuple[Floats, tuple[str, ...]]] = {}

    def outlook(self, cells: Sequence[Seen], target: int) -> Outlook:
        """Capacities of these cells, each with a cycle at least, at a target cycle."""
        return self._outlook([self._curve(cell) for cell in cells], target)

    def _outlook(self, curves: Sequence[Curve], target: int) -> Outlook:
        return outlook(curves, target, [curve[:target] for curve in self._curves])

    def of(self, cells: Sequence[Seen]) -> Evidence:
        """Say what each cell says, and what they have in common.

        Args:
            cells: all there are. One without a whole cycle so far says what its powder tells, once a batch, if anything.
        """
        said = [cell for cell in cells if len(cell.discharge) or cell.state == "died"]
        cycled = [cell for cell in said if len(cell.discharge)]
        waiting = self._by_powder(cycled, cells)
        alive, said = [*cycled, *(cell for cell, _ in waiting)], [*said, *(cell for cell, _ in waiting)]
        curves = [*map(self._curve, cycled), *(curve for _, curve in waiting)]
        looks = {n: self._outlook(curves, n) for n in self._targets} if curves else {}
        place = {id(cell): i for i, cell in enumerate(alive)}
        first = {id(cell): curve.first for cell, curve in waiting}
        rows = [self._row(cell, place.get(id(cell)), looks, first.get(id(cell))) for cell in said]
        columns = [n for name in self.outcomes for n in (name, f"{name}_se")]
        table = pd.DataFrame(rows, columns=[*self._space.names, *columns, "number", "early_sd"])
        places = np.array([i for i, cell in enumerate(said) if id(cell) in place], dtype=int)
        common = {name: self._common(name, table, places, looks) for name in self.outcomes}
        return Evidence(table, common, self._lacking(cycled, looks))

    def _by_powder(self, cycled: Sequence[Seen], cells: Sequence[Seen]) -> list[tuple[Seen, Curve]]:
        """Cells yet to cycle of whose first discharge their powder tells something, one a batch."""
        spoken = [(cell.recipe, cell.powder) for cell in cycled]
        asked = []
        for cell in cells:
            batch = (cell.recipe, cell.powder)
            if cell.powder and not len(cell.discharge) and cell.state in TO_COME and batch not in spoken:
                spoken.append(batch)
                asked.append(cell)
        if not asked:
            return []
        curves = [self._curve(cell) for cell in (*cycled, *asked)]
        told = list(zip(asked, curves[len(cycled) :], first_discharge(curves)[len(cycled) :], strict=True))
        return [(cell, replace(curve, first=first)) for cell, curve, first in told if first is not None]

    def _common(self, name: str, table: pd.DataFrame, alive: Places, looks: Mapping[int, Outlook]) -> Floats:
        found = np.zeros((len(table), len(table)))
        if len(alive) and _of_the_cell(name):
            values = table[name].fillna(0.0).to_numpy(dtype=float)[alive]
            found[np.ix_(alive, alive)] = values[:, None] * looks[self._cycle[name]].covariance * values
        return found

    def _lacking(self, alive: Sequence[Seen], looks: Mapping[int, Outlook]) -> Lacking:
        if not alive:
            return Lacking((), np.zeros((0, 0)), np.zeros((0, 0), dtype=bool))
        curves = [self._curve(cell) for cell in alive]
        x = np.array([curve.recipe for curve in curves])
        close = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1)) < NEAR
        same = np.array([[a.names == b.names for b in curves] for a in curves])
        lack = looks[self.last_cycle].covariance[: len(alive), : len(alive)]
        return Lacking(tuple(cell.number for cell in alive), lack, close & same)

    def _row(
        self, cell: Seen, place: int | None, looks: Mapping[int, Outlook], first: tuple[float, float] | None
    ) -> dict[str, Any]:
        row = {**cell.recipe, "number": cell.number}
        if place is None:
            return row
        ahead = {n: float(look.mean[place]) for n, look in looks.items()}
        missing = {n: float(look.sd[place]) for n, look in looks.items()}
        own = float(looks[self.last_cycle].own_sd[place]) if len(cell.discharge) < self.last_cycle else 0.0
        for name, value in self._values(cell, ahead, first).items():
            doubt = math.hypot(NOISE_SD, missing[self._cycle[name]]) if _of_the_cell(name) else 0.0
            row |= {name: value, f"{name}_se": abs(value) * doubt}
        return row | {"early_sd": own}

    def _values(self, cell: Seen, ahead: Mapping[int, float], first: tuple[float, float] | None) -> dict[str, float]:
        """Outcomes of a record that is carried on to what is expected (ln of capacity at each cycle that counts)."""
        discharge = cell.discharge if first is None else np.array([math.exp(first[0])])
        found = {}
        for name in self.outcomes:
            target = self._cycle[name]
            at = math.exp(ahead[target])
            if "peak" in name or not _of_the_cell(name):
                found[name] = self._derive(cell, discharge, target, at)[name]
                continue
            # All others are in proportion to the capacity at their own cycle, by the first cycles at most: derived once.
            key = (cell.number, min(len(cell.discharge), 2), target)
            if key not in self._derived or first is not None:
                self._derived[key] = self._derive(cell, discharge, target, 1.0)
            found[name] = self._derived[key][name] * at
        return found

    def _derive(self, cell: Seen, discharge: Floats, target: int, at_target_mAh_cm2: float) -> dict[str, float]:
        curve = np.full(target, np.nan)
        curve[: len(discharge)] = discharge[:target]
        curve[target - 1] = at_target_mAh_cm2
        whole = pd.Series(curve).interpolate(limit_direction="both").to_numpy()
        given = {name: value for name, value in self._conditions.items() if name != "carbon_wt_pct"}
        designs = complete(pd.DataFrame([{**given, **cell.recipe, **cell.design}]), self._materials)
        record = pd.DataFrame(
            {"design": 0, "cycle": np.arange(1, target + 1), "discharge_areal_capacity_mAh_cm2": whole}
        )
        derived = outcome.derive(record, designs, self._materials, cycles=self._targets)
        return {name: float(derived[name].iloc[0]) if name in derived else math.nan for name in self.outcomes}

    def _curve(self, cell: Seen) -> Curve:
        if cell.number not in self._encoded:
            space = self._space
            x = space.encode(pd.DataFrame([dict(cell.recipe)], index=[str(cell.number)]))[0]
            numeric = np.array([not isinstance(parameter, Category) for parameter in space.parameters])
            names = tuple(str(cell.recipe[category.name]) for category in space.categories)
            self._encoded[cell.number] = (x[numeric], names)
        return Curve(*self._encoded[cell.number], cell.discharge, cell.powder)


def needed_cycle(name: str, conditions: Mapping[str, Any]) -> int:
    """Return the cycle that a record must reach for an outcome."""
    cycle = outcome.cycle_of(name)
    if cycle is not None:
        return cycle
    if name in outcome.RECIPE_OUTCOMES:
        return 1
    return 2 if name == "q2_over_q1" else int(conditions.get("cycles", 100))


def _of_the_cell(name: str) -> bool:
    """Whether an outcome is measured in a cell; the time and energy of mixing follow from the recipe."""
    return not name.startswith(("mixing_", "specific_energy"))
