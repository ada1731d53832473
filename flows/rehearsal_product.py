"""This product as a chooser on the virtual clock: the Optimiser, told of every cell what its curve says so far.

A cell counts as evidence from its first cycle on (flows.early_evidence); running cells are judged at each readout and whenever
a batch waits for a channel (flows.advice). Nothing is decided here that a real campaign would decide otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import materials as tables
from campaign.materials import Materials
from campaign.recipe import PUBLISHED_PROTOCOL
from campaign.space import SearchSpace
from campaign.spec import Lab
from flows import advice, goals, lab_cost
from flows.advice import Advice, Best
from flows.early_evidence import NOISE_SD, EarlyEvidence, Evidence, Seen
from flows.stock import OutOfStock, Stock, ask_within
from models.virtual_lab import Question
from surrogate import Optimiser
from surrogate.readouts import readout

Floats = npt.NDArray[np.float64]

AHEAD = 1
"""Batches on their way while all channels are taken: more were chosen by what was known weeks before a channel is free."""
LOOKS = (2, 5, 10, 25, 50, 75, 150, 300)
"""Cycles after which a running cell is judged."""


@dataclass(frozen=True)
class Switches:
    """Parts of the product that a benchmark can turn off to see what each earns."""

    partial_curves: bool = True
    cost_aware: bool = True
    powder: bool = True


@dataclass(frozen=True)
class _Told:
    """An Optimiser as `ask_within` wants it."""

    optimiser: Optimiser


class Product:
    """A chooser for `rehearsal_calendar.play`; everything is decided by what was seen and the seed."""

    def __init__(
        self,
        question: Question,
        *,
        materials: Materials | None = None,
        priors: Mapping[str, Callable[[pd.DataFrame], Floats]] = MappingProxyType({}),
        curves: Sequence[Floats] = (),
        descriptors: Mapping[str, pd.DataFrame] | None = None,
        seed: int = 0,
        lab: Lab | None = None,
        risk: Mapping[str, float | str] | None = None,
        switches: Switches = Switches(),
        stop_when: Callable[[Optimiser], bool] | None = None,
    ) -> None:
        """Set up.

        Args:
            question: what is asked.
            materials: for deriving outcomes.
            priors: the physics' ensemble of each outcome that trials teach; of those without nothing is known before.
            curves: the physics' draws of whole curves.
            descriptors: of the names.
            seed: of the choices.
            lab: the campaign's block: prices and stock of its materials.
            risk: how far off recipes may be mixed, as the Optimiser takes it.
            switches: parts to turn off.
            stop_when: says of the Optimiser that the campaign may end.
        """
        self.question = question
        self.readouts: Sequence[int] = LOOKS
        self.ahead = AHEAD
        self._goal = question.objective
        self._sign = 1.0 if self._goal.goal == "max" else -1.0
        materials = materials or tables.load()
        self.early = EarlyEvidence(
            question.space, question.conditions, question.outcomes, materials=materials, curves=curves
        )
        self.last_cycle = self.early.last_cycle
        self._priors, self._seed, self._descriptors = priors, seed, descriptors or {}
        self._switches, self._stop_when, self._risk = switches, stop_when, risk
        self.recommended: Mapping[str, Any] | None = None
        """What it recommended last."""
        self.out_of_stock: str | None = None
        """Why nothing more could be mixed, once it was asked for."""
        self._stock = Stock(lab.stock_g, lab.batch_mass_g) if lab is not None and lab.stock_g else None
        held, cycles = question.conditions, self.last_cycle
        self._cost: Callable[[pd.DataFrame], Floats] = lab_cost.all_alike
        if switches.cost_aware:
            self._cost = lab_cost.of_lab(question.space, held, lab or Lab(), materials, cycles=cycles)
        self._bounds = goals.conditions_on(question.bounds, question.space.names, held)
        self._learned = goals.learned(self.early.outcomes, question.space.names, held)
        self._blank: Optimiser | None = None
        self._known: tuple[Any, Optimiser] | None = None
        self._top_of: tuple[Optimiser, pd.DataFrame] | None = None
        self._best_tried: Best | None = None

    # ---- the chooser's answers -----------------------------------------------------------------------------------

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        """Return the next recipe, None where the campaign may end."""
        del free
        optimiser = self._optimiser(tests)
        if self._stop_when is not None and len(optimiser.trials) and self._stop_when(optimiser):
            return None
        names = list(self.question.space.names)
        if self._stock is None:
            return _row(optimiser.ask(1)[names])
        try:
            return _row(self._ask_within(self._stock, tests)[names])
        except OutOfStock as spent:
            self.out_of_stock = str(spent)
            return None

    def _ask_within(self, stock: Stock, tests: Sequence[Seen]) -> pd.DataFrame:
        """One recipe that can be mixed from what the batches so far have left."""
        space, held = self.question.space, self.question.conditions
        if tests:
            stock = stock.after(pd.DataFrame([dict(test.recipe) for test in tests])[list(space.names)], held)
        told = self.evidence(tests)
        return ask_within(stock, 1, space, held, lambda narrowed: _Told(self._told(tests, narrowed, told)))[1]

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[Any]:
        """Return the running cells to stop; `wanted` batches wait for a channel."""
        return [found.number for found in self.advise(tests, wanted=wanted) if found.stop]

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return the recipe with the best believed outcome."""
        if not any(len(test.discharge) for test in tests):
            return None
        self.recommended = _row(self._top(tests)[list(self.question.space.names)])
        return self.recommended

    def advise(self, tests: Sequence[Seen], *, wanted: int = 0) -> list[Advice]:
        """Return advice for every running cell that has shown something."""
        if not self._switches.partial_curves or not any(t.state == "running" and len(t.discharge) > 1 for t in tests):
            return []
        return advice.advise(
            tests,
            self.evidence(tests),
            self._bars(tests),
            objective=self._goal.outcome,
            sign=self._sign,
            last_cycle=self.last_cycle,
            cycle_days=self.cycle_days(tests),
            wanted=wanted,
        )

    def cycle_days(self, tests: Sequence[Seen]) -> dict[Any, float]:
        """Days that a cycle of each cell takes at its own current."""
        held = self.question.conditions.get("current_mA_cm2", PUBLISHED_PROTOCOL["current_mA_cm2"])
        currents = {test.number: float(test.recipe.get("current_mA_cm2", held)) for test in tests}
        return {test.number: advice.days_of_a_cycle(test.discharge, currents[test.number]) for test in tests}

    def evidence(self, tests: Sequence[Seen]) -> Evidence:
        """Return what the cells say, as far as the switches let them be seen."""
        if not self._switches.partial_curves:
            tests = [test for test in tests if test.state in ("ended", "died")]
        if not self._switches.powder:
            tests = [replace(test, powder={}) for test in tests]
        return self.early.of(tests)

    # ---- what is believed ----------------------------------------------------------------------------------------

    def _top(self, tests: Sequence[Seen]) -> pd.DataFrame:
        """The recommendation, with its mean and interval."""
        optimiser = self._optimiser(tests)
        if self._top_of is None or self._top_of[0] is not optimiser:
            self._top_of = (optimiser, optimiser.recommend())
        return self._top_of[1]

    def _bars(self, tests: Sequence[Seen]) -> dict[Any, Best]:
        """What each cell must beat, as last believed: a readout alone is no cause to refit."""
        if self._best_tried is None or self._bounds:
            optimiser = self._known[1] if self._known is not None else self._optimiser(tests)
            if optimiser.trials.dropna().empty:  # believed before anything had come in
                self._known = None
                optimiser = self._optimiser(tests)
            # A batch of which only the powder is known was not tried yet.
            cycled = {test.number: dict(test.recipe) for test in tests if len(test.discharge)}
            tried = pd.DataFrame(list(cycled.values()))[list(self.question.space.names)]
            if self._bounds:
                bounds, held = self.question.bounds, self.question.conditions
                return advice.bars(
                    optimiser, tried, cycled, sign=self._sign, keeps=lambda recipes: goals.keeps(recipes, bounds, held)
                )
            self._best_tried = Best.of(optimiser.predict(tried), sign=self._sign)
        return dict.fromkeys((test.number for test in tests), self._best_tried)

    def _optimiser(self, tests: Sequence[Seen]) -> Optimiser:
        """The Optimiser told what is known, with what is under way pending."""
        told = self.evidence(tests)
        spoken = set(told.table["number"])
        # Of a batch that waits for its first cycle, whether its powder tells anything; of a cell, how far it is.
        key = tuple((test.number, readout(len(test.discharge), 10_000)) for test in tests if test.number in spoken)
        if self._known is not None and self._known[0] == key:
            return self._known[1]
        optimiser = self._told(tests, self.question.space, told)
        self._known, self._best_tried = (key, optimiser), None
        return optimiser

    def _told(self, tests: Sequence[Seen], space: SearchSpace, told: Evidence) -> Optimiser:
        """A new Optimiser over a space, told what is known."""
        names, bounds = list(self.question.space.names), self._bounds
        if space is not self.question.space:
            optimiser = self._made(space)
        else:
            self._blank = self._blank or self._made(space)
            optimiser = self._blank.untold()
        known = told.table
        if len(known):
            columns = [n for name in self._learned for n in (name, f"{name}_se")]
            values = known[columns] if bounds else known[columns[:2]].set_axis(["value", "se"], axis=1)
            common = {name: told.common[name] for name in self._learned}
            optimiser.tell(known[names], values, common=common if bounds else common[self._goal.outcome])
        sure = set(known.loc[known["early_sd"].isna() | (known["early_sd"] < NOISE_SD), "number"])
        under_way = [t for t in tests if t.state in ("mixing", "running") and t.number not in sure]
        if under_way:
            optimiser.pending(pd.DataFrame([dict(test.recipe) for test in under_way])[names])
        return optimiser

    def _made(self, space: SearchSpace) -> Optimiser:
        """An Optimiser over a space, told nothing."""
        return Optimiser(
            space,
            {self._goal.outcome: self._goal.goal} if self._bounds else self._goal.goal,
            constraints=self._bounds,
            prior=(self._priors or None) if self._bounds else self._priors.get(self._goal.outcome),
            seed=self._seed,
            descriptors=self._descriptors or None,
            cost=self._cost,
            risk=self._risk,
        )


def _row(table: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in table.iloc[0].items()}
