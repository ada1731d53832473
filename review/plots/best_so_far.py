"""Best so far: every finished trial in order, and the best value reached up to it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from review.data import CampaignView, is_measured
from review.plots.figure import INK, PALE, Plot, empty_plot, look, new_figure, objective_label, spread, styled
from review.words import number, short_recipe, shorten

NAME, TITLE = "best_so_far", "Best so far"


def history(view: CampaignView) -> pd.DataFrame:
    """Return the trials that have the objective, in the order they were proposed, with the best value up to each.

    Returns:
        `trial`: 1, 2, ...; `trial_id`, `evaluator`, `value`, `best_so_far`, and the prediction made before, where known.
    """
    name = view.objective.name
    if name not in view.trials:
        return pd.DataFrame(columns=["trial", "trial_id", "evaluator", "value", "best_so_far"])
    trials = view.trials.sort_values("sequence", kind="stable") if "sequence" in view.trials else view.trials
    trials = trials[trials[name].notna() & ~trials["state"].eq("excluded")].reset_index(drop=True)
    best = trials[name].cummax() if view.objective.goal == "max" else trials[name].cummin()
    table = pd.DataFrame(
        {
            "trial": range(1, len(trials) + 1),
            "trial_id": trials["trial_id"],
            "evaluator": trials["evaluator"],
            "value": trials[name].astype(float),
            "best_so_far": best.astype(float),
        }
    )
    for column in ("predicted_p05", "predicted_p95"):
        if column in trials:
            table[column] = trials[column].astype(float)
    return table


@styled
def best_so_far(view: CampaignView) -> Plot:
    """Draw value against trial number, the best so far as a step, and the best published value as a line."""
    table = history(view)
    if table.empty:
        return empty_plot(NAME, TITLE, because="No trial has a result yet.")
    figure = new_figure(9.0, 4.4)
    axes = figure.add_subplot()
    axes.step(table["trial"], table["best_so_far"], where="post", color=INK, lw=1.8, zorder=2)
    if "predicted_p05" in table:
        axes.vlines(table["trial"], table["predicted_p05"], table["predicted_p95"], color="#D0D0D0", lw=5, zorder=1)
    for evaluator, rows in table.groupby("evaluator", sort=False):
        style = look(str(evaluator))
        colour, kind = style["color"], "measured" if is_measured(str(evaluator)) else "simulated"
        axes.scatter(
            rows["trial"],
            rows["value"],
            s=42,
            marker=style["marker"],
            facecolor=PALE[colour],
            edgecolor=colour,
            zorder=3,
            label=f"{shorten(str(evaluator), 30)} ({kind})",
        )
    _name_levels(view, axes, best=float(table["best_so_far"].iloc[-1]))
    axes.set_xlim(0.3, len(table) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial, in the order proposed")
    axes.set_ylabel(objective_label(view, lines=True))
    figure.legend(loc="outside upper left", ncols=2, fontsize=9.5)
    caption = "Each mark is one finished trial; the black step is the best value reached so far."
    if "predicted_p05" in table:
        caption += " Grey bars: what was predicted before the trial was run (90 % interval)."
    ranked = view.ranked(view.published)
    if not ranked.empty:
        caption += (
            f" Dashed: the best published measurement of the same quantity ({short_recipe(ranked.iloc[0].to_dict())})."
        )
    return Plot(NAME, TITLE, caption, figure, table)


def _name_levels(view: CampaignView, axes: Axes, *, best: float) -> None:
    """Write the best reached, and the best published where there is one, at the right end of their lines."""
    levels, words, colours = [best], [f"best {number(best)}"], [INK]
    ranked = view.ranked(view.published)
    if not ranked.empty:
        row = ranked.iloc[0]
        style = look(str(row["evaluator"]))
        value = float(row[view.objective.name])
        axes.axhline(value, color=style["color"], ls="--", lw=1.4, zorder=1,
                     label="best published, measured")  # fmt: skip
        levels, words, colours = [*levels, value], [*words, f"published {number(value)}"], [*colours, style["color"]]
    low, high = axes.get_ylim()
    for place, line, colour in zip(spread(levels, 0.06 * (high - low)), words, colours, strict=True):
        axes.annotate(line, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=colour, weight="bold",
                      fontsize=10, annotation_clip=False)  # fmt: skip
