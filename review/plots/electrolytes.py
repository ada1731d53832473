"""SSE comparison: the best that the model expects of each electrolyte, and the best that was tried with it."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from review.data import CampaignView
from review.plots.figure import INK, MONO, Plot, empty_plot, look, new_figure, objective_label, styled
from review.words import number, shorten

NAME, TITLE = "sse_comparison", "Comparison of electrolytes"


def comparison(view: CampaignView) -> pd.DataFrame:
    """Return one row an SSE, best first: `sse`, `mean`, `p05`, `p95`, `best_tried`, `best_published` (NaN = none)."""
    table = view.electrolytes.copy()
    name, goal = view.objective.name, view.objective.goal
    if name in view.beside and "sse" in view.beside:
        table["best_published"] = table["sse"].map(view.ranked(view.beside).groupby("sse")[name].agg(goal))
    else:
        table["best_published"] = float("nan")
    return table.sort_values("mean", ascending=goal == "min", kind="stable").reset_index(drop=True)


@styled
def sse_comparison(view: CampaignView) -> Plot:
    """Draw one line an SSE: predicted best with its 90 % interval, the best tried, the best published."""
    table = comparison(view)
    if table.empty:
        return empty_plot(
            NAME, TITLE, because="The campaign compares no electrolytes, or the model has no prediction yet."
        )
    figure = new_figure(9.0, 1.7 + 0.48 * len(table))
    axes = figure.add_subplot()
    rows = range(len(table) - 1, -1, -1)
    axes.hlines(rows, table["p05"], table["p95"], color="#B9B9B9", lw=7, zorder=1)
    axes.scatter(
        table["mean"],
        rows,
        marker="|",
        s=190,
        color=INK,
        linewidths=2.2,
        zorder=2,
        label="expected of its best recipe (bar: 90 %)",
    )
    tried, published = look(view.evaluator), look("published")
    words = f"best tried ({shorten(view.evaluator, 30)})"
    axes.scatter(table["best_tried"], rows, s=60, edgecolor="white", zorder=4, label=words, **tried)
    if table["best_published"].notna().any():
        open_mark = {
            "facecolor": "none",
            "edgecolor": published["color"],
            "marker": published["marker"],
            "linewidths": 1.8,
        }
        axes.scatter(table["best_published"], rows, s=60, zorder=3, label="best published (measured)", **open_mark)
    _write_values(axes, table)
    axes.set_yticks(list(rows), [shorten(str(sse), 24) for sse in table["sse"]], family=MONO)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(objective_label(view))
    figure.legend(loc="outside upper left", ncols=3, fontsize=9.5)
    caption = (
        "Each electrolyte at the best recipe that the model knows for it. "
        "An electrolyte without a filled mark was never tried: its line is a prediction only."
    )
    return Plot(NAME, TITLE, caption, figure, table)


def _write_values(axes: Axes, table: pd.DataFrame) -> None:
    for place, row in zip(range(len(table) - 1, -1, -1), table.to_dict("records"), strict=True):
        mean, low, high = (number(row[name], 3) for name in ("mean", "p05", "p95"))
        never = "" if math.isfinite(row["best_tried"]) else "  never tried"
        axes.annotate(
            f"{mean}  ({low} to {high}){never}",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9.5,
            color=INK,
            annotation_clip=False,
        )
