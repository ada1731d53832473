"""Sensitivity: which settings the model's expectation changes with over the whole space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from review.data import CampaignView
from review.diagnosis import setting, why_nothing
from review.plots.figure import INK, Plot, empty_plot, new_figure, styled
from review.words import shorten

NAME, TITLE = "sensitivity", "Which settings matter"
_ALONE, _TOTAL = "#555555", "#C9C9C9"


@styled
def sensitivity(view: CampaignView) -> Plot:
    """Draw for each setting the share of the variance that it makes alone, and with all its interplay."""
    nothing = why_nothing(view.diagnosis)
    if nothing or view.diagnosis.sensitivity.empty:
        return empty_plot(NAME, TITLE, because=nothing or "The model tells no settings apart yet.")
    table = view.diagnosis.sensitivity.sort_values("total", ascending=False, kind="stable").reset_index(drop=True)
    figure = new_figure(9.0, 1.6 + 0.48 * len(table))
    axes = figure.add_subplot()
    rows = list(range(len(table) - 1, -1, -1))
    axes.barh(
        rows, 100 * table["total"], height=0.62, color=_TOTAL, label="with its interplay with other settings (total)"
    )
    axes.barh(rows, 100 * table["first"], height=0.34, color=_ALONE, label="alone (first order)")
    _write_values(axes, 100 * table[["first", "total"]].to_numpy(dtype=float), rows)
    axes.set_yticks(rows, [shorten(setting(str(name)), 30) for name in table["parameter"]])
    axes.set_xlim(0, max(100.0, 100 * float(table["total"].max())))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of the variance of what the model expects over the whole space (%)")
    figure.legend(loc="outside upper left", ncols=2, fontsize=9.5)
    caption = (
        "Sobol indices of what the model expects, every setting drawn evenly over the whole space. A pale bar much longer than "
        "the dark one: the setting matters mostly together with others. This is what the model believes, not what was measured."
    )
    return Plot(NAME, TITLE, caption, figure, table)


def _write_values(axes: Axes, percents: npt.NDArray[np.float64], rows: list[int]) -> None:
    for place, (alone, total) in zip(rows, percents, strict=True):
        words = f"{alone:.0f} % alone, {total:.0f} % in all"
        axes.text(1.01, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9.5, color=INK)
