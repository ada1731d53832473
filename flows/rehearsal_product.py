"""This product as a chooser on the virtual clock: the Optimiser, told of every cell what its curve says so far.

A cell counts as evidence from its first cycle on, with the doubt that its stage leaves (surrogate.early) and the noise of
batches and cells. At each readout of any cell the running ones are judged: one is stopped when it can hardly be the best
any more, or when running on would add less to what is known, a channel-day, than a fresh cell would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome
from campaign.parameter import Category
from flows.rehearsal_calendar import Seen
from models.virtual_lab import Cycles, Question
from models.virtual_lab_plug import OpenLab
from surrogate import Optimiser
from surrogate.early import Curve, Foresight, readout

Floats = npt.NDArray[np.float64]

NOISE_SD = 0.13
"""Relative sd of one cell of one batch [est]: 5 % a cell and 12 % a batch (physics.md section 4)."""
HOPELESS = 0.02
"""Chance of being the best under which a running cell is stopped."""
START_DAYS = 2.5
"""Channel-days that go by before a fresh cell runs: mixing, powder, hands."""
READ = (2, 10, 25, 50, 75, 150, 300)


@dataclass(frozen=True)
class Switches:
    """Parts of the product that a benchmark can turn off to see what each earns."""

    partial_curves: bool = True
    cost_aware: bool = True


@dataclass(frozen=True)
class Advice:
    """What is said about one running cell."""

    number: int
    stop: bool
    chance_best: float
    expected: float
    sd: float
    reason: str


class Product:
    """A chooser for `rehearsal_calendar.play`; everything is decided by what was seen and the seed."""

    def __init__(
        self,
        question: Question,
        *,
        lab: OpenLab,
        last_cycle: int,
        prior: Callable[[pd.DataFrame], Floats] | None = None,
        curves: Sequence[Floats] = (),
        descriptors: Mapping[str, pd.DataFrame] | None = None,
        seed: int = 0,
        switches: Switches = Switches(),
        stop_when: Callable[[Optimiser], bool] | None = None,
    ) -> None:
        """Set up.

        Args:
            question: what is asked.
            lab: for deriving the objective from a record; never asked for its truth.
            last_cycle: cycles that the objective needs.
            prior: the physics' ensemble.
            curves: the physics' joint draws of early and late capacities.
            descriptors: of the names.
            seed: of the choices.
            switches: parts to turn off.
            stop_when: says of the Optimiser that the campaign may end.
        """
        self.question, self.last_cycle = question, last_cycle
        self.readouts: Sequence[int] = READ
        self._lab, self._prior, self._curves, self._seed = lab, prior, curves, seed
        self._descriptors, self._switches, self._stop_when = descriptors or {}, switches, stop_when
        self._sign = 1.0 if question.objective.goal == "max" else -1.0
        self._known: tuple[Any, Optimiser] | None = None
        self._proportional = "peak" not in question.objective.outcome
        self._recommended: tuple[Any, pd.DataFrame] | None = None
        self._queue: list[Mapping[str, Any]] = []
        self._queue_of: Any = None
        self._slopes: dict[tuple[int, int], float] = {}

    # ---- the chooser's three answers -----------------------------------------------------------------------------

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        """Return the next recipe; those for the other free channels are chosen with it and kept until news comes in."""
        key = _news(tests)
        if self._queue_of != key or not self._queue:
            optimiser = self._optimiser(tests)
            if self._stop_when is not None and len(optimiser.trials) and self._stop_when(optimiser):
                return None
            asked = optimiser.ask(max(1, free))[list(self.question.space.names)]
            self._queue = [{str(name): value for name, value in row.items()} for row in asked.to_dict("records")]
            self._queue_of = key
        return self._queue.pop(0)

    def stop(self, tests: Sequence[Seen]) -> list[int]:
        """Return the running cells to stop."""
        return [advice.number for advice in self.advise(tests) if advice.stop]

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Return the recipe with the best believed outcome."""
        if not any(len(test.discharge) for test in tests):
            return None
        return _row(self._top(tests)[list(self.question.space.names)])

    def _top(self, tests: Sequence[Seen]) -> pd.DataFrame:
        """The recommendation, with its mean and interval, as of what is known now."""
        key = _news(tests)
        if self._recommended is None or self._recommended[0] != key:
            self._recommended = (key, self._optimiser(tests).recommend())
        return self._recommended[1]

    # ---- evidence ------------------------------------------------------------------------------------------------

    def foresight(self, tests: Sequence[Seen]) -> Foresight:
        """Learn the law from early to late out of the cells that reached the end."""
        whole = [self._curve(test) for test in tests if len(test.discharge) >= self.last_cycle]
        return Foresight(self.last_cycle, self._curves, whole)

    def evidence(self, tests: Sequence[Seen]) -> pd.DataFrame:
        """Return one row a test that says something: recipe, `value`, `se`, `number`, `early_sd`; NaN = it gave nothing."""
        foresight = self.foresight(tests)
        rows = []
        for test in tests:
            finished = len(test.discharge) >= self.last_cycle
            if not finished and (
                test.state == "mixing" or (not self._switches.partial_curves and test.state == "running")
            ):
                continue
            outlook = foresight.outlook(self._curve(test))
            if outlook is None:
                if test.state == "died":
                    rows.append(
                        {**test.recipe, "value": np.nan, "se": np.nan, "number": test.number, "early_sd": np.nan}
                    )
                continue
            value = self._value(test, math.exp(outlook.mean))
            se = abs(value) * math.hypot(NOISE_SD, outlook.sd)
            rows.append({**test.recipe, "value": value, "se": se, "number": test.number, "early_sd": outlook.sd})
        columns = [*self.question.space.names, "value", "se", "number", "early_sd"]
        return pd.DataFrame(rows, columns=columns)

    def _curve(self, test: Seen) -> Curve:
        space = self.question.space
        x = space.encode(pd.DataFrame([dict(test.recipe)]))[0]
        numeric = np.array([not isinstance(parameter, Category) for parameter in space.parameters])
        names = tuple(str(test.recipe[category.name]) for category in space.categories)
        return Curve(x[numeric], names, test.discharge)

    def _value(self, test: Seen, at_target_mAh_cm2: float) -> float:
        """The objective of a record that ends in the capacity expected at the target."""
        if not self._proportional:
            return self._derived(test, at_target_mAh_cm2)
        # Capacities and retentions are in proportion to the last one: derived once a readout.
        key = (test.number, readout(len(test.discharge), self.last_cycle))
        if key not in self._slopes:
            self._slopes[key] = self._derived(test, 1.0)
        return self._slopes[key] * at_target_mAh_cm2

    def _derived(self, test: Seen, at_target_mAh_cm2: float) -> float:
        curve = np.full(self.last_cycle, np.nan)
        curve[: len(test.discharge)] = test.discharge[: self.last_cycle]
        curve[self.last_cycle - 1] = at_target_mAh_cm2
        filled = pd.Series(curve).interpolate(limit_direction="both").to_numpy()
        return self._lab.measured(test.recipe, Cycles(filled, filled, filled))

    def _optimiser(self, tests: Sequence[Seen]) -> Optimiser:
        """The Optimiser as of now: told what is known, with what is under way pending."""
        key = _key(tests)
        if self._known is not None and self._known[0] == key:
            return self._known[1]
        optimiser = Optimiser(
            self.question.space,
            self.question.objective.goal,
            prior=self._prior,
            seed=self._seed,
            descriptors=self._descriptors or None,
            cost=self._cost if self._switches.cost_aware else None,
        )
        known = self.evidence(tests)
        names = list(self.question.space.names)
        if len(known):
            optimiser.tell(known[names], known[["value", "se"]])
        told = set(known.loc[known["early_sd"].isna() | (known["early_sd"] < NOISE_SD), "number"])
        open_tests = [t for t in tests if t.state in ("mixing", "running") and t.number not in told]
        if open_tests:
            optimiser.pending(pd.DataFrame([dict(test.recipe) for test in open_tests])[names])
        self._known = (key, optimiser)
        return optimiser

    def _cost(self, recipes: pd.DataFrame) -> Floats:
        """Channel-days that a trial takes: hands and mixing, then cycles as long as the prior expects them."""
        hours = recipes["time_h"].to_numpy(float) if "time_h" in recipes else np.full(len(recipes), 5.0)
        mixing = hours / float(self.question.conditions.get("duty", 0.5)) / 24
        return np.asarray(START_DAYS + mixing + self._cycling_days(recipes))

    def _cycling_days(self, recipes: pd.DataFrame) -> Floats:
        if self._prior is None:
            return np.full(len(recipes), 20.0)
        value = self._prior(recipes).mean(axis=0)
        share = np.clip(value / max(float(np.max(value)), 1e-9), 0.05, 1.0)
        return np.asarray(20.0 * share)

    # ---- advice on running cells ---------------------------------------------------------------------------------

    def advise(self, tests: Sequence[Seen]) -> list[Advice]:
        """Return advice for every running cell that has shown something."""
        running = {test.number: test for test in tests if test.state == "running" and len(test.discharge) >= 2}
        if not running or not self._switches.partial_curves:
            return []
        known = self.evidence(tests).set_index("number")
        rows = known.loc[[number for number in running if number in known.index]]
        if rows.empty:
            return []
        # The recommendation of the last time that anything was chosen or checked: a readout alone is no cause to refit.
        top = (self._recommended[1] if self._recommended is not None else self._top(tests)).iloc[0]
        top_sd = (float(top["p95"]) - float(top["p05"])) / 3.29
        gap = self._sign * (rows["value"].to_numpy(float) - float(top["mean"]))
        chance = _normal_cdf(gap / np.hypot(rows["se"].to_numpy(float), top_sd + 1e-12))
        learned = self.foresight(tests).learned_from
        return [
            self._judge(running[int(str(number))], row, float(c), learned=learned)
            for (number, row), c in zip(rows.to_dict("index").items(), chance, strict=True)
        ]

    def _judge(self, test: Seen, row: Mapping[Any, Any], chance: float, *, learned: int) -> Advice:
        n, sd = len(test.discharge), float(row["early_sd"])
        number, value = test.number, float(row["value"])
        if chance < HOPELESS:
            reason = f"after {n} cycles its chance of being the best is {chance:.0%}, under {HOPELESS:.0%}"
            return Advice(number, True, chance, value, sd, reason)
        on, fresh = self._worth_of_running_on(test, sd)
        if learned >= MOST_TAUGHT and on < fresh:
            more = fresh / max(on, 1e-9)
            reason = (
                f"after {n} cycles its outcome is known to {sd:.0%}: a fresh cell tells {more:.1f} times more a day"
            )
            return Advice(number, True, chance, value, sd, reason)
        return Advice(number, False, chance, value, sd, f"its chance of being the best is {chance:.0%}")

    def _worth_of_running_on(self, test: Seen, sd: float) -> tuple[float, float]:
        """Knowledge gained a channel-day by running this cell to the end, and by a fresh cell run as far as this one."""
        n = len(test.discharge)
        day = float(np.mean(test.discharge)) * 2 / float(self.question.conditions.get("current_mA_cm2", 0.67)) / 24
        now, then = 1 / (NOISE_SD**2 + sd**2), 1 / NOISE_SD**2
        left = max(self.last_cycle - n, 1) * day
        return (then - now) / left, now / (START_DAYS + n * day)


MOST_TAUGHT = 4
"""Cells that run to the end, so that the law from early to late is learned and not assumed [est]."""


def _key(tests: Sequence[Seen]) -> tuple[Any, ...]:
    return tuple((test.number, test.state, readout(len(test.discharge), 10_000)) for test in tests)


def _news(tests: Sequence[Seen]) -> tuple[Any, ...]:
    """What a choice depends on beyond the recipes that it made itself: what has been measured."""
    return tuple((test.number, readout(len(test.discharge), 10_000)) for test in tests if len(test.discharge))


def _row(table: pd.DataFrame) -> dict[str, Any]:
    return {str(name): value for name, value in table.iloc[0].items()}


def _normal_cdf(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def needed_cycle(question: Question) -> int:
    """Return the cycle that a record must reach for the objective."""
    cycle = outcome.cycle_of(question.objective.outcome)
    if cycle is not None:
        return cycle
    return 2 if question.objective.outcome == "q2_over_q1" else int(question.conditions.get("cycles", 100))
