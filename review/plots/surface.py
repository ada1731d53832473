"""Objective over speed x time: what the model expects, how sure it is, the ridge of equivalents, and what was tried."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from review.data import PLANNED, CampaignView, is_measured
from review.plots.figure import Plot, empty_plot, look, new_figure, styled
from review.words import shorten

NAME, TITLE = "objective_over_speed_time", "Objective over speed and time"
_DARK_EDGE = [withStroke(linewidth=3, foreground="#333333")]
_WHITE_EDGE = [withStroke(linewidth=3.5, foreground="white")]


@styled
def objective_over_speed_time(view: CampaignView) -> Plot:
    """Draw the model's mean and its standard deviation over speed x time, with ridge, trials and published points."""
    grid = view.surface
    if grid.empty:
        return empty_plot(
            NAME, TITLE, because="The model has no surface over speed and time yet, or the campaign does not vary both."
        )
    figure = new_figure(10.5, 4.9)
    mean_axes, sd_axes = figure.subplots(1, 2, sharey=True, width_ratios=[1.35, 1])
    for axes, column, title in ((mean_axes, "mean", "expected"), (sd_axes, "sd", "uncertainty (1 sd)")):
        table = grid.pivot(index="time_h", columns="speed_rpm", values=column)
        filled = axes.contourf(
            table.columns, table.index, table.to_numpy(), levels=14, cmap="cividis" if column == "mean" else "Greys"
        )
        bar = figure.colorbar(filled, ax=axes, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(shorten(view.objective.unit, 40))
        axes.set_title(
            f"{shorten(view.objective.label, 46)}: {title}" if column == "mean" else title[0].upper() + title[1:]
        )
        axes.set_xlabel("speed (rpm)")
        axes.set_xlim(table.columns.min(), table.columns.max())
        axes.set_ylim(table.index.min(), table.index.max())
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False)
    mean_axes.set_ylabel("net time (h)")
    _draw_window(view, mean_axes)
    for axes in (mean_axes, sd_axes):
        _draw_tried(view, axes)
    _draw_recommended(view, mean_axes)
    handles, labels = mean_axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9.5)
    held = f" Held fixed: {view.surface_at}." if view.surface_at else ""
    caption = (
        f"What the model expects over speed and net mixing time.{held} Recipes on the ridge are expected to do equally well; "
        "trials and published cells with another electrolyte or active material are drawn open, those off the map left out."
    )
    return Plot(NAME, TITLE, caption, figure, _data(view))


def _draw_window(view: CampaignView, axes: Axes) -> None:
    if "probability" in view.surface:
        table = view.surface.pivot(index="time_h", columns="speed_rpm", values="probability")
        inside = table.to_numpy(dtype=float)
        for level, dashes in ((0.5, "--"), (0.9, "-")):
            if np.nanmin(inside) < level < np.nanmax(inside):
                axes.contour(
                    table.columns,
                    table.index,
                    inside,
                    levels=[level],
                    colors="white",
                    linewidths=1.5,
                    linestyles=dashes,
                )
                words = f"within {view.tolerance:.0%} of the best with P {level:g}"
                axes.plot(
                    [],
                    [],
                    color="white",
                    lw=1.5,
                    ls=dashes,
                    label=words,
                    path_effects=[withStroke(linewidth=3, foreground="#777777")],
                )
    if len(view.window) > 1:
        ridge = view.window.sort_values("speed_rpm")
        axes.plot(
            ridge["speed_rpm"],
            ridge["time_h"],
            color="black",
            lw=2,
            path_effects=_WHITE_EDGE,
            label="ridge of equivalents",
        )


def _draw_tried(view: CampaignView, axes: Axes) -> None:
    for table, words in ((view.published, "published"), (view.trials, "tried")):
        if not {"speed_rpm", "time_h"} <= set(table.columns):
            continue
        # Marks may stand on the frame, so they are not clipped: what lies off the map is left out here instead.
        table = table[table["speed_rpm"].between(*axes.get_xlim()) & table["time_h"].between(*axes.get_ylim())]
        planned = table["state"].isin(PLANNED)
        axes.scatter(
            table.loc[planned, "speed_rpm"],
            table.loc[planned, "time_h"],
            s=40,
            marker="x",
            color="white",
            linewidths=1.8,
            zorder=5,
            path_effects=_DARK_EDGE,
            clip_on=False,
            label="planned, not tried yet" if planned.any() else None,
        )
        for evaluator, rows in table[~planned].groupby("evaluator", sort=False):
            style = look(str(evaluator))
            same = _same_elsewhere(view, rows)
            kind = f"{words}, {'measured' if is_measured(str(evaluator)) else 'simulated'}"
            for chosen, filled in ((rows[~same], False), (rows[same], True)):
                axes.scatter(
                    chosen["speed_rpm"],
                    chosen["time_h"],
                    s=36,
                    marker=style["marker"],
                    facecolor=style["color"] if filled else "white",
                    edgecolor="white" if filled else style["color"],
                    linewidths=1.3,
                    zorder=5 + filled,
                    clip_on=False,
                    label=kind if filled or not same.any() else None,
                )


def _same_elsewhere(view: CampaignView, rows: pd.DataFrame) -> pd.Series:
    """Say which rows share the recommended electrolyte and active material (or the one that all trials have)."""
    same = pd.Series(data=True, index=rows.index)
    recommended = view.recommendation.recipe if view.recommendation else {}
    for column in ("sse", "active"):
        tried = list(view.trials[column].unique()) if column in view.trials else []
        wanted = recommended.get(column, tried[0] if len(tried) == 1 else None)
        if wanted is not None and column in rows:
            same &= rows[column].eq(wanted)
    return same


def _draw_recommended(view: CampaignView, axes: Axes) -> None:
    if view.recommendation is None or not {"speed_rpm", "time_h"} <= set(view.recommendation.recipe):
        return
    speed, time = (float(view.recommendation.recipe[name]) for name in ("speed_rpm", "time_h"))
    axes.scatter([speed], [time], marker="*", s=330, color="white", edgecolor="black", linewidths=1.4, zorder=7, clip_on=False,
                 label="recommended")  # fmt: skip


def _data(view: CampaignView) -> pd.DataFrame:
    parts: list[tuple[str, pd.DataFrame]] = [("surface", view.surface), ("ridge", view.window)]
    for kind, table in (("trial", view.trials), ("published", view.published)):
        columns = [
            name
            for name in ("trial_id", "evaluator", "speed_rpm", "time_h", "sse", view.objective.name)
            if name in table
        ]
        parts.append((kind, table[columns]))
    return pd.concat({kind: table for kind, table in parts if not table.empty}, names=["what"]).reset_index("what")
