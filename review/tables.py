"""Tables of the report: which columns a reader needs, in which order, and every cell as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from review.data import CampaignView
from review.words import label, number, shorten, text

CAPACITY = "discharge_areal_capacity_mAh_cm2"
ROWS_SHOWN = 200
WINDOW_ROWS = 9
SENTENCE = 160
"""Longest reason or source that is shown whole; the ledger keeps the rest."""
_ALWAYS = ("active", "carbon_wt_pct")
NAME_COLUMNS = ("trial_id", "sse", "active", "carbon", "mixer", "anode")


@dataclass(frozen=True)
class Column:
    """One column: its heading, how a row's cell reads, and how the cell is set (`number`, `name`, `words`, `label`)."""

    heading: str
    cell: Callable[[Mapping[Any, Any]], str]
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """Cells of one row, in the order of the columns."""

    cells: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table ready to be written."""

    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    left_out: int = 0
    evaluators: tuple[str, ...] = ()
    """Who gave the values; where it is one for all rows, the table has no column for it."""


def window_sheet(view: CampaignView) -> Sheet:
    """Return the ridge of equivalents, thinned to a few evenly spaced rows."""
    ridge = view.window.sort_values("speed_rpm").reset_index(drop=True) if len(view.window) else view.window
    chosen = ridge.iloc[np.unique(np.linspace(0, len(ridge) - 1, min(WINDOW_ROWS, len(ridge))).round().astype(int))]
    columns = (
        _plain(chosen, "speed_rpm"),
        _plain(chosen, "time_h"),
        Column(f"expected ({view.objective.unit})", lambda row: number(row["mean"]), "number"),
        Column(
            f"chance of being within {view.tolerance:.0%} of the best",
            lambda row: f"{number(100 * row['probability'], 2)} %",
            "number",
        ),
    )
    return _filled(chosen, columns)


def advice_sheet(view: CampaignView) -> Sheet:
    """Return the cells under test with what is advised: those to stop first."""
    table = view.under_test.sort_values(["stop", "cell"], ascending=[False, True])
    columns = (
        Column("cell", lambda row: str(row["cell"]), "name"),
        Column("channel", _text_of("channel"), ""),
        Column("cycles so far", lambda row: number(row["cycles"]), "number"),
        Column(
            f"expected ({view.objective.unit})",
            lambda row: f"{number(row['expected'], 3)} ± {number(row['sd'], 2)}",
            "number",
        ),
        Column("chance of beating the best tried", lambda row: f"{number(100 * row['chance_best'], 2)} %", "number"),
        Column("advice", lambda row: "stop" if row["stop"] else "run on", ""),
        Column("why", lambda row: str(row["reason"]), "words"),
    )
    return _filled(table, columns)


def trials_sheet(view: CampaignView, table: pd.DataFrame, *, record: pd.DataFrame | None = None) -> Sheet:
    """Return the trials, best first: objective, recipe, and why; columns that say nothing are left out.

    Args:
        view: the campaign.
        table: its trials, or its published ones.
        record: where given, a column tells each trial's cycling record in a few numbers: for sparse, measured ones.
    """
    if table.empty:
        return Sheet()
    varied = {axis.name for axis in view.space}
    evaluators = tuple(str(name) for name in table["evaluator"].unique())
    columns = [_plain(table, "trial_id")]
    if len(evaluators) > 1:
        columns.append(Column("values", lambda row: str(row["evaluator"]), "label"))
    if table["state"].nunique() > 1:
        columns.append(_plain(table, "state"))
    columns += _objective(view, table)
    if "predicted_mean" in table and table["predicted_mean"].notna().any():
        columns.append(Column("predicted before (90 %)", _predicted, "number"))
    differing = [name for name in view.recipe_columns(table) if name in varied or table[name].nunique(dropna=False) > 1]
    shown = [name for name in differing if name in varied or name in _ALWAYS]
    columns += [_plain(table, name) for name in shown]
    if rest := [name for name in differing if name not in shown]:
        columns.append(Column("other conditions, where they differ", _unusual(table, rest), "words"))
    if record is not None:
        told = {trial: _tell(rows) for trial, rows in record.dropna(subset=[CAPACITY]).groupby("trial_id")}
        columns.append(Column("measured: cycle → mAh cm⁻²", lambda row: told.get(row["trial_id"], "–"), "words"))
    for name in ("reason", "source"):
        if name in table and table[name].notna().any():
            columns.append(Column(label(name), _shortened(name), "words"))
    return _filled(_best_first(view, table), tuple(columns), evaluators=evaluators, best=view.best_trial_id)


def outcomes_sheet(view: CampaignView, table: pd.DataFrame) -> Sheet:
    """Return the outcomes beside the objective, best trial first; trials and outcomes without any value are left out."""
    others = [name for name in view.outcome_columns(table) if name != view.objective.name and table[name].notna().any()]
    found = table[table[others].notna().any(axis=1)] if others else table.iloc[:0]
    if found.empty:
        return Sheet()
    columns = (_plain(found, "trial_id"), *_objective(view, found), *(_plain(found, name) for name in others))
    return _filled(_best_first(view, found), columns, best=view.best_trial_id)


def _best_first(view: CampaignView, table: pd.DataFrame) -> pd.DataFrame:
    ranked = view.ranked(table)
    if "meets_bounds" in ranked:
        met = ranked["meets_bounds"].eq(other=True)  # where it is not known, it is not said
        ranked = ranked.loc[met.sort_values(ascending=False, kind="stable").index]
    return table.loc[[*ranked.index, *table.index.difference(ranked.index, sort=False)]]


def _objective(view: CampaignView, table: pd.DataFrame) -> list[Column]:
    name = view.objective.name
    heading = f"{view.objective.label} ({view.objective.unit})"
    return [_plain(table, name, heading=heading)] if name in table and table[name].notna().any() else []


def _tell(rows: pd.DataFrame) -> str:
    """Tell a record by its first, its highest and its last points (all of them where they are few)."""
    points = rows.sort_values("cycle")[["cycle", CAPACITY]].reset_index(drop=True)
    if len(points) > 4:
        points = points.iloc[sorted({0, 1, int(points[CAPACITY].argmax()), len(points) - 1})]
    return ", ".join(f"{cycle:.0f} → {number(value, 3)}" for cycle, value in points.itertuples(index=False))


def _unusual(table: pd.DataFrame, names: list[str]) -> Callable[[Mapping[Any, Any]], str]:
    """Return what tells the conditions of a row that are not those of most rows: one column instead of twelve."""
    usual = {name: text(value.iloc[0]) for name in names if len(value := table[name].mode())}

    def tell(row: Mapping[Any, Any]) -> str:
        odd = {name: text(row[name]) for name in names if text(row[name]) not in (usual.get(name), "–")}
        return "; ".join(f"{label(name)} {words}" for name, words in odd.items()) or "–"

    return tell


def _shortened(name: str) -> Callable[[Mapping[Any, Any]], str]:
    return lambda row: shorten(text(row[name]), SENTENCE)


def _plain(table: pd.DataFrame, name: str, heading: str = "") -> Column:
    kind = "name" if name in NAME_COLUMNS else "number" if is_numeric_dtype(table[name]) else ""
    return Column(heading or label(name), _text_of(name), kind)


def _text_of(name: str) -> Callable[[Mapping[Any, Any]], str]:
    return lambda row: text(row[name])


def _predicted(row: Mapping[Any, Any]) -> str:
    mean, low, high = (number(row[f"predicted_{part}"], 3) for part in ("mean", "p05", "p95"))
    return "–" if mean == "–" else f"{mean} ({low} to {high})"


def _filled(
    table: pd.DataFrame, columns: tuple[Column, ...], *, evaluators: tuple[str, ...] = (), best: str | None = None
) -> Sheet:
    rows = tuple(
        Row(tuple(column.cell(record) for column in columns), best=best is not None and str(record["trial_id"]) == best)
        for record in table.head(ROWS_SHOWN).to_dict("records")
    )
    return Sheet(columns, rows, max(0, len(table) - ROWS_SHOWN), evaluators)
