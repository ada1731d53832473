"""Parity: what was found against what all other results let expect of it, and how many intervals held what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from review.data import CampaignView, is_measured
from review.diagnosis import calibration, held, why_nothing
from review.plots.figure import INK, PALE, Plot, empty_plot, look, new_figure, styled
from review.words import number, shorten

NAME, TITLE = "parity", "Each result predicted from all others"
_MARGIN = 0.3
"""Room beyond the results, in shares of their range: bars that reach further are cut at the frame."""
_NAMED = 8


@styled
def parity(view: CampaignView) -> Plot:
    """Draw predicted against found with 90 % bars, and how many intervals of each level held what was found."""
    nothing = why_nothing(view.diagnosis)
    if nothing:
        return empty_plot(NAME, TITLE, because=nothing)
    table = view.diagnosis.parity
    table = table.assign(held_90=held(table, 0.9))
    counts = calibration(table)
    figure = new_figure(10.5, 4.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_parity(view, left, table)
    _draw_calibration(right, counts)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9.5)
    caption = (
        "Left: each mark is a result, placed by what was found and by what the model expects of it from all others (bar: 90 %, "
        "cut at the frame); on the dashed line both agree. Named: those that the bar misses, or that are flagged. "
        "Right: how many intervals held what was found (mark), and how many right intervals would hold (grey: nine times in ten; "
        "tick: on average). How wide the intervals are was learned from all results, which flatters them a little."
    )
    parts = {"parity": table, "calibration": counts}
    data = pd.concat(parts, names=["what"]).reset_index("what").reset_index(drop=True)
    return Plot(NAME, TITLE, caption, figure, data)


def _draw_parity(view: CampaignView, axes: Axes, table: pd.DataFrame) -> None:
    low, high = _frame(table)
    axes.plot([low, high], [low, high], color=INK, lw=1, ls="--", zorder=1)
    for evaluator, rows in table.groupby("evaluator", sort=False):
        style = look(str(evaluator))
        pale, kind = PALE[style["color"]], "measured" if is_measured(str(evaluator)) else "simulated"
        axes.vlines(rows["found"], rows["p05"], rows["p95"], color=pale, lw=1.5, zorder=2)
        words = f"{shorten(str(evaluator), 30)} ({kind})"
        axes.scatter(rows["found"], rows["predicted"], s=34, zorder=3, edgecolor="white", label=words, **style)
    flagged = table[table["flagged"].astype(bool)]
    if len(flagged):
        axes.scatter(flagged["found"], flagged["predicted"], s=150, facecolor="none", edgecolor=INK, linewidths=1.4,
                     zorder=4, label="contradicts the others (flagged)")  # fmt: skip
    _name_missed(axes, table[~table["held_90"]])
    room = 0.05 * (high - low)
    axes.set_xlim(float(table["found"].min()) - room, float(table["found"].max()) + 2 * room)
    axes.set_ylim(low - 0.3 * room, high + 0.3 * room)
    kinds = {is_measured(str(evaluator)) for evaluator in table["evaluator"]}
    found = "found" if len(kinds) > 1 else "measured" if kinds == {True} else "simulated"
    axes.set_xlabel(f"{found} ({shorten(view.objective.unit, 40)})")
    axes.set_ylabel("expected from all other results")
    axes.set_title(shorten(view.objective.label, 50))


def _frame(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the scale: all bars, but no further than a margin beyond the marks."""
    marks = table[["found", "predicted"]].to_numpy(dtype=float)
    margin = _MARGIN * (float(np.ptp(marks)) or abs(float(marks.max())) or 1.0)
    low, high = float(marks.min()), float(marks.max())
    return max(low - margin, min(low, float(table["p05"].min()))), min(
        high + margin, max(high, float(table["p95"].max()))
    )


def _name_missed(axes: Axes, missed: pd.DataFrame) -> None:
    """Write the trial beside those that strayed most."""
    shown = missed.loc[missed["z"].abs().sort_values(ascending=False).index].head(_NAMED)
    for row in shown.to_dict("records"):
        axes.annotate(shorten(str(row["trial_id"]), 16), (row["found"], row["predicted"]), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8.5, color=INK, zorder=5)  # fmt: skip


def _draw_calibration(axes: Axes, counts: pd.DataFrame) -> None:
    rows = list(range(len(counts) - 1, -1, -1))
    n = int(counts["results"].iloc[0])
    axes.hlines(rows, counts["chance_low"] - 0.3, counts["chance_high"] + 0.3, color="#CFCFCF", lw=13, zorder=1)
    axes.scatter(counts["level"] * n, rows, marker="|", s=260, color="#777777", linewidths=2, zorder=2)
    axes.scatter(counts["held"], rows, s=70, marker="D", color=INK, zorder=3)
    for place, row in zip(rows, counts.to_dict("records"), strict=True):
        words = f"{row['held']} of {n} held; right intervals: {row['chance_low']} to {row['chance_high']}"
        axes.annotate(words, (0.0, place + 0.3), fontsize=9.5, color=INK, va="center")
    axes.set_yticks(rows, [f"{number(100 * level)} % intervals" for level in counts["level"]])
    axes.set_ylim(-0.5, len(counts) - 0.45)
    axes.set_xlim(0, n + 0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"results inside, of {n}")
    axes.set_title("Do the intervals hold what was found?")
