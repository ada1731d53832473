"""What is looked at: one frozen view of a campaign, made of plain tables.

The flows fill a `CampaignView` from the ledger and the surrogate; plots, report and projection read nothing else.
Every trial carries its evaluator, because what was simulated and what was measured must never look alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pandas as pd

from campaign.recipe import DESIGN_COLUMNS

MEASURED = frozenset({"lab", "published", "earlier"})
"""Evaluators whose values come from a real cell; every other evaluator computes them."""

BOOK_COLUMNS = (
    "trial_id",
    "sequence",
    "revision",
    "evaluator",
    "state",
    "best",
    "reason",
    "source",
    "predicted_mean",
    "predicted_p05",
    "predicted_p95",
    "proposed_at",
    "finished_at",
)
"""Columns of a trials table that are neither recipe nor outcome. Only the first, `evaluator` and `state` must be there."""

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "trials": ("trial_id", "evaluator", "state"),
    "cycling": ("trial_id", "cycle", "discharge_areal_capacity_mAh_cm2"),
    "published": ("trial_id", "evaluator", "state"),
    "published_cycling": ("trial_id", "cycle", "discharge_areal_capacity_mAh_cm2"),
    "window": ("speed_rpm", "time_h", "mean", "probability"),
    "surface": ("speed_rpm", "time_h", "mean", "sd"),
    "electrolytes": ("sse", "mean", "p05", "p95", "best_tried"),
    "under_test": ("cell", "channel", "cycles", "expected", "sd", "chance_best", "stop", "reason"),
}

_OF_DIAGNOSIS: Mapping[str, tuple[str, ...]] = {
    "parity": ("trial_id", "evaluator", "found", "predicted", "p05", "p95", "z", "flagged", "repeated"),
    "sensitivity": ("parameter", "first", "total"),
}


def _empty(table: str) -> Callable[[], pd.DataFrame]:
    return lambda: pd.DataFrame(columns=list({**_REQUIRED, **_OF_DIAGNOSIS}[table]))


def _check_tables(held: object, required: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse tables that lack a column; number the rows of the others from 0.

    Rows are found by their place: a table glued from others may say 0, 1, 0, 1.
    """
    for table, columns in required.items():
        missing = [name for name in columns if name not in getattr(held, table).columns]
        if missing:
            raise ValueError(f"table {table!r} lacks column {missing[0]!r}; it needs {', '.join(columns)}")
        object.__setattr__(held, table, getattr(held, table).reset_index(drop=True))


PLANNED = frozenset({"proposed", "issued"})
"""States of a trial that nobody has begun to mix."""


def is_measured(evaluator: str) -> bool:
    """Say whether values of this evaluator come from a real cell.

    >>> is_measured("published"), is_measured("virtual-lab")
    (True, False)
    """
    return evaluator in MEASURED


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is wanted: the outcome column that is made as large or as small as can be."""

    name: str
    """Outcome column, unit at its end: `discharge_capacity_cycle_100_mAh_g_composite`."""
    label: str
    """For people, without unit: "Discharge capacity at cycle 100"."""
    unit: str
    """For people: "mAh per g of composite"."""
    goal: Literal["max", "min"] = "max"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of the search space: an interval, or a list of names."""

    name: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer, and how far to believe it."""

    recipe: Mapping[str, Any]
    """Column of the design table -> value; only what the campaign varies."""
    mean: float
    p05: float
    p95: float
    """Predicted objective with its 90 % interval, in the objective's unit."""
    trust: float | None = None
    """Share of the prior in the answer, 0 to 1; None where the campaign has no prior."""
    sentences: tuple[str, ...] = ()
    """Plain words, the first one the recommendation itself."""
    notes: tuple[str, ...] = ()
    """What stands on a bound, and what the evidence does not identify."""


@dataclass(frozen=True, kw_only=True)
class PriorInfluence:
    """How much of what is believed is the prior's: now, and before any result."""

    trust: float
    """Share of the variance that the prior is believed to explain, 0 to 1."""
    trust_before: float
    log_odds: float
    """log of the odds that the prior has any part; NaN where it says the same of every recipe, and so has none."""
    log_odds_before: float
    likeness: float = math.nan
    """Rank correlation over the space of what the prior says with what is believed; NaN where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What speaks for or against the model.

    `parity` has one row a result: what was `found`, and what all others let expect of it (`predicted`, `p05`, `p95`; `z`
    in standard deviations of that expectation), whether it contradicts them (`flagged`) and whether its recipe was also
    that of another result (`repeated`). `sensitivity` has the share of the variance of the expected objective over the
    whole space that is of each parameter alone (`first`) and with all its interplay (`total`).
    """

    parity: pd.DataFrame = field(default_factory=_empty("parity"))
    sensitivity: pd.DataFrame = field(default_factory=_empty("sensitivity"))
    prior: PriorInfluence | None = None
    """None where the campaign has no prior."""

    def __post_init__(self) -> None:
        _check_tables(self, _OF_DIAGNOSIS)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the view was made, so that it can be made again."""

    made_at: datetime
    """UTC, with zone. From the ledger: the time of its last entry, not of the drawing."""
    seed: int | None = None
    ledger: str = ""
    data_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        if self.made_at.tzinfo is None:
            raise ValueError("made_at carries no time zone; give UTC")


@dataclass(frozen=True, kw_only=True)
class CampaignView:
    """All that plots, report and projection may know of a campaign.

    `trials` and `published` have one row a trial: the columns of `BOOK_COLUMNS`, recipe columns, and every other column
    is an outcome. `cycling` and `published_cycling` are long tables (`trial_id`, `cycle`, one column an observable; where
    a trial has several cells, `cell_id` too).
    `window` is the ridge of equivalents, one row a point, with the probability of being within `tolerance` of the best;
    `surface` the model's mean and sd on a full grid of speed x time (a `probability` column is drawn where given);
    `under_test` the advice on each cell that runs (`expected` and `sd` of the objective, `chance_best`, `stop`);
    `electrolytes` the best that the model expects of each SSE (90 % interval) and the best one tried (NaN = none).
    """

    name: str
    objective: Objective
    """The one that trials are ranked by."""
    evaluator: str
    provenance: Provenance
    also: tuple[Objective, ...] = ()
    """What else is wanted, where there are several objectives."""
    space: tuple[Axis, ...] = ()
    trials: pd.DataFrame = field(default_factory=_empty("trials"))
    cycling: pd.DataFrame = field(default_factory=_empty("cycling"))
    published: pd.DataFrame = field(default_factory=_empty("published"))
    published_cycling: pd.DataFrame = field(default_factory=_empty("published_cycling"))
    recommendation: Recommendation | None = None
    window: pd.DataFrame = field(default_factory=_empty("window"))
    tolerance: float = 0.05
    surface: pd.DataFrame = field(default_factory=_empty("surface"))
    surface_at: str = ""
    """What is held fixed on the surface, in words: "S 27.5 wt%, LPSClI"."""
    electrolytes: pd.DataFrame = field(default_factory=_empty("electrolytes"))
    under_test: pd.DataFrame = field(default_factory=_empty("under_test"))
    diagnosis: Diagnosis = field(default_factory=Diagnosis)

    def __post_init__(self) -> None:
        _check_tables(self, _REQUIRED)

    @property
    def best_trial_id(self) -> str | None:
        """The trial flagged `best`; where nobody has flagged any, the one with the best value; None where there is none."""
        flags = "best" in self.trials
        chosen = self.trials[self.trials["best"].eq(other=True)] if flags else self.ranked(self.trials)
        return str(chosen["trial_id"].iloc[0]) if len(chosen) else None

    def recipe_columns(self, table: pd.DataFrame) -> list[str]:
        """Return the columns of `table` that state a recipe or protocol: those the campaign varies come first."""
        varied = [axis.name for axis in self.space]
        fixed = [name for name in DESIGN_COLUMNS if name not in varied]
        return [name for name in (*varied, *fixed) if name in table]

    def outcome_columns(self, table: pd.DataFrame) -> list[str]:
        """Return the columns of `table` that are outcomes, the objective first."""
        known = {*BOOK_COLUMNS, *self.recipe_columns(table)}
        rest = [name for name in table.columns if name not in known and name != self.objective.name]
        return [name for name in (self.objective.name, *rest) if name in table]

    @property
    def beside(self) -> pd.DataFrame:
        """The published rows that a trial may stand beside: those with an active material that the campaign tries."""
        if "active" not in self.trials or "active" not in self.published:
            return self.published
        return self.published[self.published["active"].isin(self.trials["active"])]

    def ranked(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `table` that have a value of the objective and count, best first."""
        if self.objective.name not in table:
            return table.iloc[:0]
        counted = table[table[self.objective.name].notna() & ~table["state"].eq("excluded")]
        return counted.sort_values(self.objective.name, ascending=self.objective.goal == "min", kind="stable")
