"""What is known of every trial: cycling records and outcomes from the ledger, and what the chooser may learn from.

Outcomes are derived by `campaign.outcome` from whatever record a trial has, whoever answered it; a published trial with a
capacity at cycles 1 and 100 has a record of two cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome, quantity, recipe
from campaign.spec import CampaignSpec, Range
from campaign.trial import MEASURED, SIMULATED
from flows import batches
from flows.session import Session
from store import Reader

CAPACITY = "discharge_areal_capacity"
LOADING = "loading_mg_cm2"
PREDICTED = "predicted"
"""Provenance of what the model foresaw of a running cell: shown beside the curve, never learned from."""
SETTLED_SD = 0.13
"""Relative sd under which what is missing of a curve no longer matters: that of the noise of batches and cells [est]."""
_NOT_DONE = {"premill_h": 0.0, "premill_speed_rpm": 0.0, "heat_h": 0.0}
_CLOSE = 1e-6


@dataclass(frozen=True)
class Evidence:
    """What the chooser is told: n results and the recipes that gave them.

    Attributes:
        recipes: n x varied columns, as really mixed.
        values: n x objectives (and outcomes that are bounded); NaN = the trial failed.
        trials: id of the trial of each row.
        data_seq: sequence number of the ledger that it was read at.
        se: n x outcomes, standard errors of what is foreseen of cells under way; NaN = measured, with noise to be inferred.
        settled: trials about which the cycles still missing leave less doubt than the noise; the others stay pending.
        common: by outcome, n x n covariance of the errors that rows foreseen by the same laws have in common.
    """

    recipes: pd.DataFrame
    values: pd.DataFrame
    trials: list[str]
    data_seq: int
    se: pd.DataFrame
    settled: frozenset[str]
    common: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def means(self) -> pd.DataFrame:
        """One row a trial: the mean of its cells in every outcome, and its recipe (loading as theirs is in the mean)."""
        numbers = self.recipes.select_dtypes("number")
        both = pd.concat([self.recipes.drop(columns=numbers.columns), numbers.astype(float), self.values], axis=1)
        kinds = {name: "mean" if name in numbers or name in self.values else "first" for name in both}
        return both.groupby(pd.Series(self.trials, name="trial", dtype=object), sort=False).agg(kinds)

    def tried_in(self, cycled: set[str]) -> pd.DataFrame:
        """Recipes of the rows that were measured, or are of trials whose cells have cycled: not of powder alone."""
        given = self.values.notna().all(axis=1) & (self.se.isna().all(axis=1) | pd.Series(self.trials).isin(cycled))
        return self.recipes[given]

    def joined(self, partial: pd.DataFrame, common: Mapping[str, npt.NDArray[np.float64]]) -> Evidence:
        """With what cells under way say, and the errors that they have in common (`flows.under_test.partial`)."""
        names = list(self.values)
        values = pd.concat([self.values, partial[names]], ignore_index=True).astype(float)
        se = pd.concat(
            [self.se, partial[[f"{name}_se" for name in names]].set_axis(names, axis=1)], ignore_index=True
        ).astype(float)
        recipes = pd.concat([self.recipes, partial[list(self.recipes)]], ignore_index=True)
        sure = partial.loc[partial["early_sd"] < SETTLED_SD, "trial"]
        trials = [*self.trials, *partial["trial"]]
        measured = len(self.trials)
        wider = {name: np.pad(square, (measured, 0)) for name, square in common.items() if name in names}
        return Evidence(recipes, values, trials, self.data_seq, se, self.settled | frozenset(sure), wider)


def record(reader: Reader, campaign: str) -> pd.DataFrame:
    """Every measured or simulated cycle: `trial`, `subject`, `evaluator`, `cycle`, capacities and voltages.

    Capacities that came as single values (published points) stand beside whole records; bounds (>=, <=) do not.
    """
    cycles = reader.cycling(campaign)
    cycles = cycles[cycles["discharge_areal_capacity_mAh_cm2"].notna()]
    scalars = reader.results(campaign)
    points = scalars[scalars["observable"].eq(CAPACITY) & scalars["relation"].eq("=") & scalars["cycle"].notna()]
    points = points.assign(discharge_areal_capacity_mAh_cm2=points["value"], cycle=points["cycle"].astype(int))
    columns = ["trial", "subject", "evaluator", "cycle", "discharge_areal_capacity_mAh_cm2"]
    whole = [*columns, "charge_areal_capacity_mAh_cm2", "coulombic_efficiency", "mean_discharge_voltage_V"]
    parts = [cycles[whole], points[columns]]
    return pd.concat([part for part in parts if len(part)] or [cycles[whole]], ignore_index=True)


def outcomes(reader: Reader, session: Session) -> pd.DataFrame:
    """Outcomes of every subject (cell, or trial where nothing finer is known) of a campaign.

    Returns:
        One row a subject: `trial`, `evaluator`, `state`, and the outcomes that its record and its scalar results allow.
    """
    trials = reader.trials(session.name)
    rows = record(reader, session.name)
    scalars = _scalar_outcomes(reader.results(session.name))
    subjects = pd.concat([rows[["subject", "trial"]], scalars[["subject", "trial"]]]).drop_duplicates("subject")
    owner = subjects.set_index("subject")["trial"]
    designs = complete_designs(batches.as_mixed(reader, session.name, trials, owner))
    designs[LOADING] = own_loading(reader.cells(session.name), designs)
    cycles = sorted({*outcome.STANDARD_CYCLES, *_cycles_wanted(session.spec)})
    derived = outcome.derive(rows.rename(columns={"subject": "design"}), designs, session.materials, cycles=cycles)
    wide = scalars.pivot_table(index="subject", columns="column", values="value", aggfunc="last")
    table = derived.join(wide[[name for name in wide if name not in derived]])
    return table.assign(
        trial=owner, evaluator=owner.map(trials["evaluator"]), state=owner.map(trials["state"])
    ).rename_axis("subject")


def by_trial(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of each outcome over the subjects of a trial, indexed by trial."""
    numbers = table.drop(columns=["evaluator", "state"]).groupby("trial", sort=False)
    return numbers.mean(numeric_only=True)


def complete_designs(trials: pd.DataFrame) -> pd.DataFrame:
    """Design table of trials; steps that a record does not mention were not done, an unknown protocol is the published one.

    The protocol is only filled in where a trial has none (powders): no outcome is derived from it there.
    """
    designs = trials[list(recipe.DESIGN_COLUMNS)].astype({name: object for name in recipe.TEXT_COLUMNS})
    defaults = {**recipe.PUBLISHED_RECIPE, **recipe.PUBLISHED_PROTOCOL, **_NOT_DONE}
    return recipe.complete(
        designs.fillna({k: v for k, v in defaults.items() if v == v}).reset_index(drop=True)
    ).set_axis(trials.index)


def learnable(reader: Reader, session: Session) -> Evidence:
    """Gather what the chooser learns from: trials of this campaign's evaluator, and measured history where the spec says so.

    History counts where it lies in the space and under the protocol of the campaign and has measured what is wanted;
    the campaign's own trials count as they were really mixed and loaded, each cell as its own batch was, also outside the bounds.
    """
    usable = _usable(reader, session)
    wanted = wanted_outcomes(session.spec)
    found = _measured(reader, session, usable).dropna(subset=wanted, how="any")
    failed = usable.index[usable["state"].eq("failed") & ~usable.index.isin(found["trial"])]
    found = pd.concat([found, pd.DataFrame({"trial": failed}).reindex(columns=found.columns)]) if len(failed) else found
    names = [str(name) for name in found["trial"]]
    values = found[wanted].astype(float).reset_index(drop=True)
    usable.loc[failed, LOADING] = as_tested(usable.loc[failed], reader, session)[LOADING]
    recipes = batches.as_mixed(reader, session.name, usable, found["trial"])[list(session.spec.space)]
    if LOADING in recipes:
        recipes[LOADING] = own_loading(reader.cells(session.name), recipes)
    return Evidence(
        recipes=recipes.reset_index(drop=True),
        values=values,
        trials=names,
        data_seq=reader.seq,
        se=pd.DataFrame(np.nan, index=values.index, columns=wanted),
        settled=frozenset(names),
    )


def half_known(reader: Reader, session: Session) -> pd.DataFrame:
    """Cells and trials of the campaign's own of which trials have taught some wanted outcomes, and not all: `trial`, outcomes."""
    usable = _usable(reader, session)
    usable = usable[usable["evaluator"].eq(session.spec.evaluator) & ~usable["state"].isin(["failed", "excluded"])]
    found = _measured(reader, session, usable)
    wanted = wanted_outcomes(session.spec)
    taught = [name for name in wanted if name not in outcome.RECIPE_OUTCOMES]
    return found[found[taught].notna().any(axis=1) & found[wanted].isna().any(axis=1)]


def _usable(reader: Reader, session: Session) -> pd.DataFrame:
    """Trials that may be learned from once something is measured of them."""
    trials = reader.trials(session.name)
    own = trials["evaluator"].eq(session.spec.evaluator)
    history = trials["evaluator"].isin(session.spec.learn_from) & _in_space(trials, session.spec)
    # A trial that this campaign asked for answers its question however it was weighed; one from elsewhere must match.
    asked = own & trials["planned"].astype(bool)
    return trials[asked | ((own | history) & _same_conditions(trials, session.spec))].copy()


def _measured(reader: Reader, session: Session, usable: pd.DataFrame) -> pd.DataFrame:
    """What is known of each subject of some trials: `trial`, and the wanted outcomes."""
    table = outcomes(reader, session)
    return table[table["trial"].isin(usable.index)].reindex(columns=["trial", *wanted_outcomes(session.spec)])


def wanted_outcomes(spec: CampaignSpec) -> list[str]:
    """Outcomes that the chooser must be told: objectives first, then bounded ones."""
    names = [objective.outcome for objective in spec.objectives] + [bound.outcome for bound in spec.outcome_constraints]
    return list(dict.fromkeys(names))


def meets_bounds(spec: CampaignSpec, table: pd.DataFrame) -> pd.Series:
    """Whether each row of outcomes meets all of the campaign's bounds; an outcome that is not known meets none."""
    met = pd.Series(True, index=table.index)
    for bound in spec.outcome_constraints:
        met &= bound.met(table[bound.outcome]) if bound.outcome in table else False
    return met


def breaks_bounds(spec: CampaignSpec, table: pd.DataFrame) -> pd.Series:
    """Whether each row of outcomes breaks one of the campaign's bounds; an outcome that is not known breaks none."""
    broken = pd.Series(False, index=table.index)
    for bound in spec.outcome_constraints:
        broken |= table[bound.outcome].notna() & ~bound.met(table[bound.outcome]) if bound.outcome in table else False
    return broken


def is_measured(evaluator: str) -> bool:
    """Say whether an evaluator's numbers are measured."""
    return evaluator in MEASURED


def is_simulated(evaluator: str) -> bool:
    """Say whether an evaluator's numbers are simulated."""
    return evaluator in SIMULATED


def _scalar_outcomes(results: pd.DataFrame) -> pd.DataFrame:
    """Scalar results that stand for themselves (powders, simulated extras), under their column names."""
    kept = results[results["relation"].eq("=") & results["cycle"].isna() & ~results["provenance"].eq(PREDICTED)].copy()
    kept["column"] = [quantity.column(o, u) for o, u in zip(kept["observable"], kept["unit"], strict=True)]
    return kept[["subject", "trial", "column", "value"]]


def as_tested(trials: pd.DataFrame, reader: Reader, session: Session) -> pd.DataFrame:
    """Trials with the settings that their cells really have, in the mean: as their batches were mixed, and as they are loaded."""
    cells = reader.cells(session.name)
    cells = cells[~cells["state"].eq("excluded") & cells["trial"].isin(trials.index)]
    if cells.empty:
        return trials
    known = batches.as_mixed(reader, session.name, trials, cells["trial"])
    known[LOADING] = own_loading(cells, known)
    varied = [name for name, item in session.spec.space.items() if isinstance(item, Range)]
    mean = known[varied].astype(float).groupby(cells["trial"]).mean().reindex(trials.index)
    return trials.assign(**{name: mean[name].fillna(trials[name]) for name in varied})


def own_loading(cells: pd.DataFrame, designs: pd.DataFrame) -> pd.Series:
    """Loading of each subject: the cell's own mass over its area where both are known, else what the trial asked for."""
    known = (cells["active_mass_mg"].astype(float) / cells["area_cm2"].astype(float)).reindex(designs.index)
    return known.where(known > 0).fillna(designs[LOADING])


def _cycles_wanted(spec: CampaignSpec) -> Iterable[int]:
    cycles = (outcome.cycle_of(name) for name in wanted_outcomes(spec))
    return [cycle for cycle in cycles if cycle is not None]


def _same_conditions(trials: pd.DataFrame, spec: CampaignSpec) -> pd.Series:
    """Whether each trial shares what the campaign holds fixed; a step that is not mentioned was not done."""
    same = pd.Series(True, index=trials.index)
    for name, value in spec.conditions().items():
        if name == "cycles":
            continue  # a test that ran on has the wanted cycle too
        column = trials[name].fillna(_NOT_DONE[name]) if name in _NOT_DONE else trials[name]
        if isinstance(value, str):
            same &= column.eq(value)
        elif value == value:  # heat_C without a heating step is NaN: heat_h speaks for both
            same &= np.isclose(column.astype(float), float(value), rtol=0.02, atol=_CLOSE)
    return same


def _in_space(trials: pd.DataFrame, spec: CampaignSpec) -> pd.Series:
    inside = pd.Series(True, index=trials.index)
    for name, item in spec.space.items():
        if isinstance(item, Range):
            inside &= trials[name].astype(float).between(item.low - _CLOSE, item.high + _CLOSE)
        else:
            inside &= trials[name].isin(item)
    return inside
