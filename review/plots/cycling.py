"""Capacity against cycle: the best trials beside the published cells.

Measured points are drawn where they were measured and nowhere else; the dotted line between them guides the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from review.data import CampaignView, is_measured
from review.plots.figure import MONO, PALE, Plot, empty_plot, look, new_figure, spread, styled
from review.words import short_recipe, shorten

NAME, TITLE = "capacity_against_cycle", "Capacity against cycle"
CAPACITY = "discharge_areal_capacity_mAh_cm2"


def curves(view: CampaignView, *, best: int = 4, published: int = 5) -> pd.DataFrame:
    """Return the records of the best trials, of as many cells that are still testing, and of published cells.

    Returns:
        Long table: `trial_id`, `evaluator`, `rank` (1 = best of its table), `recipe`, `state`, `cell_id` (empty where
        the record names no cell), `cycle`, the areal capacity.
    """
    ranked = view.ranked(view.trials)
    begun = view.trials["trial_id"].isin(view.cycling["trial_id"]) & view.trials["state"].eq("testing")
    running = view.trials[begun & ~view.trials["trial_id"].isin(ranked["trial_id"])]
    chosen = view.trials.loc[[*ranked.index[:best], *running.index[:best]]]
    parts = [_records(chosen, view.cycling), _records(_most_telling(view).head(published), view.published_cycling)]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _most_telling(view: CampaignView) -> pd.DataFrame:
    """Return the published cells with more than one point: the best by the objective first, then the longest tested."""
    points = view.published_cycling.dropna(subset=[CAPACITY]).groupby("trial_id")["cycle"].agg(["size", "max"])
    known = view.beside[view.beside["trial_id"].isin(points.index[points["size"] > 1])]
    ranked = view.ranked(known)
    rest = known.drop(index=ranked.index)
    longest = rest["trial_id"].map(points["max"]).sort_values(ascending=False, kind="stable")
    return known.loc[[*ranked.index, *longest.index]]


def _records(trials: pd.DataFrame, cycling: pd.DataFrame) -> pd.DataFrame:
    heads = pd.DataFrame(
        {
            "trial_id": trials["trial_id"].to_numpy(),
            "evaluator": trials["evaluator"].to_numpy(),
            "rank": range(1, len(trials) + 1),
            "recipe": [short_recipe(row) for row in trials.to_dict("records")],
            "state": trials["state"].to_numpy(),
        }
    )
    cells = cycling if "cell_id" in cycling else cycling.assign(cell_id="")
    records = cells[["trial_id", "cell_id", "cycle", CAPACITY]].dropna()
    return heads.merge(records, on="trial_id").sort_values(["rank", "cell_id", "cycle"], kind="stable")


@dataclass(frozen=True)
class _End:
    """Where a curve ends, and what is written there."""

    cycle: float
    capacity: float
    words: str
    colour: str
    weight: str


@styled
def capacity_against_cycle(view: CampaignView, *, best: int = 4, published: int = 5) -> Plot:
    """Draw discharge areal capacity against cycle, each curve named at its end."""
    table = curves(view, best=best, published=published)
    if table.empty:
        return empty_plot(NAME, TITLE, because="No cycling record yet.")
    figure = new_figure(10.5, 5.2)
    axes = figure.add_subplot()
    # Measured records of a whole test have a hundred points: a mark on each would hide the line.
    apart = max(1, int(table["cycle"].max()) // 12)
    ends = [
        _draw_curve(axes, rows, cycles_apart=apart) for _, rows in table.groupby(["trial_id", "cell_id"], sort=False)
    ]
    axes.set_xlabel("cycle")
    axes.set_ylabel("discharge capacity (mAh cm⁻²)")
    axes.set_ylim(0, float(table[CAPACITY].max()) * 1.08)
    axes.set_xlim(0, float(table["cycle"].max()))
    _name_ends(axes, ends)
    for evaluator in table["evaluator"].unique():
        words = f"{shorten(evaluator, 30)} ({'measured' if is_measured(evaluator) else 'simulated'})"
        axes.plot([], [], lw=2, label=words, **_mark(evaluator))
    axes.legend(loc="upper right", ncols=2, fontsize=10)
    objective = shorten(view.objective.label, 60)
    caption = (
        f"The best trials by the objective ({objective[:1].lower()}{objective[1:]}) beside published cells; "
        "bold: the best of each. "
        "Cells still testing are drawn as far as they are. "
        "A dotted line joins points between which nothing was measured: it only guides the eye."
    )
    return Plot(NAME, TITLE, caption, figure, table)


def _draw_curve(axes: Axes, rows: pd.DataFrame, *, cycles_apart: int) -> _End:
    first, last = rows.iloc[0], rows.iloc[-1]
    evaluator, leads = str(first["evaluator"]), first["rank"] == 1
    style = _mark(evaluator)
    strong = style["color"]
    sparse = len(rows) < 0.5 * (last["cycle"] - first["cycle"])
    axes.plot(
        rows["cycle"],
        rows[CAPACITY],
        color=strong if leads else PALE[strong],
        marker=style["marker"],
        markevery=1 if sparse else cycles_apart,
        markersize=6 if leads else 5,
        ls=":" if sparse else "-",
        lw=2.4 if leads and not is_measured(evaluator) else 1.5,
        zorder=4 if leads else 3,
        clip_on=False,
    )
    trial, cell = str(first["trial_id"]), str(first["cell_id"])
    name = cell if cell.startswith(trial) else f"{trial} {cell}".strip()  # the ledger names a cell after its trial
    words = f"{shorten(name, 24)}: {shorten(first['recipe'], 60)}"
    words += ", testing" if first["state"] == "testing" else ""
    return _End(float(last["cycle"]), float(last[CAPACITY]), words, strong, "bold" if leads else "normal")


def _mark(evaluator: str) -> dict[str, Any]:
    """Return the evaluator's looks; a simulated curve is a bare line."""
    style = look(evaluator)
    return style if is_measured(evaluator) else {**style, "marker": None}


def _name_ends(axes: Axes, ends: list[_End]) -> None:
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    leader = {"arrowstyle": "-", "color": "#BBBBBB", "lw": 0.7, "shrinkA": 0, "shrinkB": 4, "relpos": (0.0, 0.5)}
    for end, place in zip(ends, spread([end.capacity for end in ends], 0.052 * (high - low)), strict=True):
        axes.annotate(
            end.words,
            (end.cycle, end.capacity),
            xytext=(right * 1.03, place),
            color=end.colour,
            weight=end.weight,
            fontsize=8,
            family=MONO,
            va="center",
            annotation_clip=False,
            arrowprops=leader,
        )
