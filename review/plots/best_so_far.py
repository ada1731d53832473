"""Plot of the results in the order they came in, and the best value reached up to each."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from review.data import CampaignView, is_measured
from review.history import history
from review.plots.figure import INK, PALE, Plot, empty_plot, look, new_figure, objective_label, spread, styled
from review.words import number, short_recipe, shorten

NAME, TITLE = "best_so_far", "Best so far"


@styled
def best_so_far(view: CampaignView) -> Plot:
    """Draw value against trial number, the best so far as a step, and the best published value as a line."""
    table = history(view)
    if table.empty:
        return empty_plot(NAME, TITLE, because="No trial has a result yet.")
    figure = new_figure(9.0, 4.4)
    axes = figure.add_subplot()
    axes.step(table["result"], table["best_so_far"], where="post", color=INK, lw=1.8, zorder=2)
    if "predicted_p05" in table:
        axes.vlines(table["result"], table["predicted_p05"], table["predicted_p95"], color="#D0D0D0", lw=5, zorder=1)
    for evaluator, rows in table.groupby("evaluator", sort=False):
        style = look(str(evaluator))
        colour, kind = style["color"], "measured" if is_measured(str(evaluator)) else "simulated"
        axes.scatter(
            rows["result"],
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
    axes.set_xlabel("result, in the order they came in")
    axes.set_ylabel(objective_label(view, lines=True))
    figure.legend(loc="outside upper left", ncols=2, fontsize=9.5)
    caption = "Each mark is the result of one trial; the black step is the best value reached so far."
    if "predicted_p05" in table:
        caption += " Grey bars: what was predicted before the trial was run (90 % interval)."
    ranked = view.ranked(view.beside)
    if not ranked.empty:
        caption += (
            f" Dashed: the best published measurement of the same quantity ({short_recipe(ranked.iloc[0].to_dict())})."
        )
    return Plot(NAME, TITLE, caption, figure, table)


def _name_levels(view: CampaignView, axes: Axes, *, best: float) -> None:
    """Write the best reached, and the best published where there is one, at the right end of their lines."""
    levels, words, colours = [best], [f"best {number(best)}"], [INK]
    ranked = view.ranked(view.beside)
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
