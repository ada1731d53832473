"""Cells under test: the curve so far over the model's band, and what it promises at the cycle that counts."""

from __future__ import annotations

import math

import pandas as pd

from review.plots.figure import Plot, empty_plot, new_figure, styled
from review.words import shorten

NAME, TITLE = "running_cells", "Cells under test"
CAPACITY = "discharge_areal_capacity_mAh_cm2"
_MEASURED, _MODEL = "#D55E00", "#0072B2"
_SHOWN = 12


@styled
def running_cells(record: pd.DataFrame, band: pd.DataFrame, promised: pd.DataFrame) -> Plot:
    """Draw each running cell by itself.

    Args:
        record: measured cycles: `cell`, `cycle`, the discharge capacity per cm2.
        band: the model's 90 % band of the cell's recipe: `cell`, `cycle`, `p05`, `p95`; may be empty.
        promised: `cell`, `cycle`, `mean`, `p05`, `p95`: what the curve so far promises; may be empty.
    """
    cells = list(dict.fromkeys(record["cell"]))
    if not cells:
        return empty_plot(NAME, TITLE, because="No cell is under test.")
    shown = cells[:_SHOWN]
    across = min(3, len(shown))
    down = math.ceil(len(shown) / across)
    figure = new_figure(3.6 * across + 0.6, 2.7 * down + 0.6)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for place, cell in enumerate(shown):
        panel = axes[place // across][place % across]
        mine, model, end = (table[table["cell"].eq(cell)] for table in (record, band, promised))
        panel.fill_between(model["cycle"], model["p05"], model["p95"], color=_MODEL, alpha=0.18, lw=0)
        panel.plot(mine["cycle"], mine[CAPACITY], color=_MEASURED, lw=1.8, marker="o", markersize=3)
        for row in end.to_dict("records"):
            panel.plot([row["cycle"]] * 2, [row["p05"], row["p95"]], color=_MEASURED, lw=1.5)
            panel.plot([row["cycle"]], [row["mean"]], color=_MEASURED, marker="D", markersize=5, mfc="white")
        panel.set_title(shorten(str(cell), 30), fontsize=10)
        panel.set_ylim(bottom=0)
    for place in range(len(shown), across * down):
        axes[place // across][place % across].set_visible(False)
    figure.supxlabel("cycle")
    figure.supylabel("discharge capacity (mAh cm⁻²)")
    left_out = f" {len(cells) - _SHOWN} further cells are in the table only." if len(cells) > _SHOWN else ""
    caption = (
        "Orange: measured. Blue: what the physics expects of the recipe (90 %). Open diamond with its bar: what the curve so "
        f"far promises (90 %).{left_out}"
    )
    parts = {"measured": record, "model": band, "promised": promised}
    data = pd.concat({name: table for name, table in parts.items() if len(table)}, names=["what"]).reset_index("what")
    return Plot(NAME, TITLE, caption, figure, data)
