"""Capacity against cycle: the best trials beside the published cells.

Measured points are drawn where they were measured and nowhere else; the dotted line between them guides the eye.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from review.data import CampaignView, is_measured
from review.plots.figure import INK, MONO, PALE, Plot, empty_plot, look, new_figure, spread, styled
from review.words import number, short_recipe, shorten

NAME, TITLE = "capacity_against_cycle", "Capacity against cycle"
CAPACITY = "discharge_areal_capacity_mAh_cm2"


def curves(view: CampaignView, *, best: int = 4, published: int = 5) -> pd.DataFrame:
    """Return the records of the best trials and of the published cells with most cycles.

    Returns:
        Long table: `trial_id`, `evaluator`, `rank` (1 = best of its table), `recipe`, `cycle`, the areal capacity.
    """
    chosen = view.ranked(view.trials).head(best)
    if chosen.empty:
        chosen = view.trials[view.trials["trial_id"].isin(view.cycling["trial_id"])].head(best)
    parts = [_records(chosen, view.cycling)]
    points = view.published_cycling.dropna(subset=[CAPACITY]).groupby("trial_id")["cycle"].agg(["size", "max"])
    known = points[(points["size"] > 1) & points.index.isin(view.published["trial_id"])]
    ranked = list(view.ranked(view.published)["trial_id"])
    by_rank = sorted(known.index, key=lambda trial: (ranked.index(trial) if trial in ranked else len(ranked), -known.loc[trial, "max"]))
    rows = view.published.set_index("trial_id", drop=False).loc[by_rank[:published]]
    parts.append(_records(rows, view.published_cycling))
    return pd.concat(parts, ignore_index=True)


def _records(trials: pd.DataFrame, cycling: pd.DataFrame) -> pd.DataFrame:
    heads = pd.DataFrame(
        {
            "trial_id": trials["trial_id"].to_numpy(),
            "evaluator": trials["evaluator"].to_numpy(),
            "rank": range(1, len(trials) + 1),
            "recipe": [short_recipe(row) for row in trials.to_dict("records")],
        }
    )
    records = cycling[["trial_id", "cycle", CAPACITY]].dropna()
    return heads.merge(records, on="trial_id").sort_values(["rank", "cycle"], kind="stable")


@styled
def capacity_against_cycle(view: CampaignView, *, best: int = 4, published: int = 5) -> Plot:
    """Draw discharge areal capacity against cycle, each curve named at its end."""
    table = curves(view, best=best, published=published)
    if table.empty:
        return empty_plot(NAME, TITLE, because="No cycling record yet.")
    figure = new_figure(10.5, 5.2)
    axes = figure.add_subplot()
    ends: list[tuple[float, float, str, str, str]] = []
    for trial_id, rows in table.groupby("trial_id", sort=False):
        first = rows.iloc[0]
        style, leads = look(str(first["evaluator"])), first["rank"] == 1
        measured = is_measured(str(first["evaluator"]))
        colour = style["color"] if leads else PALE[style["color"]]
        axes.plot(rows["cycle"], rows[CAPACITY], color=colour, lw=2.4 if leads and not measured else 1.4,
                  ls=":" if measured else "-", marker="D" if measured else None, ms=6 if leads else 5, zorder=4 if leads else 3, clip_on=False)  # fmt: skip
        last = rows.iloc[-1]
        ends.append((float(last["cycle"]), float(last[CAPACITY]), f"{shorten(str(trial_id), 24)}: {shorten(first['recipe'], 60)}", style["color"],
                     "bold" if leads else "normal"))  # fmt: skip
    axes.set_xlabel("cycle")
    axes.set_ylabel("discharge capacity (mAh cm⁻²)")
    axes.set_ylim(0, float(table[CAPACITY].max()) * 1.08)
    axes.set_xlim(0, float(table["cycle"].max()))
    _name_ends(axes, ends)
    axes.plot([], [], color=look("physics")["color"], lw=2.4, label="simulated")
    axes.plot([], [], color=look("lab")["color"], ls=":", marker="D", label="measured")
    axes.legend(loc="upper right", ncols=2, fontsize=10)
    caption = (
        f"The {number(table.loc[~table['evaluator'].map(is_measured), 'trial_id'].nunique())} best trials beside published cells. "
        if not table["evaluator"].map(is_measured).all()
        else ""
    ) + f"Diamonds are measured points; the dotted line between them only guides the eye. Bold: the best by the objective, {view.objective.label.lower()}, simulated and published."
    return Plot(NAME, TITLE, caption, figure, table)


def _name_ends(axes: Axes, ends: list[tuple[float, float, str, str, str]]) -> None:
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    places = spread([y for _, y, *_ in ends], 0.052 * (high - low))
    for (x, y, words, colour, weight), place in zip(ends, places, strict=True):
        axes.annotate(words, (x, y), xytext=(right * 1.03, place), textcoords="data", color=colour, fontsize=8, weight=weight, family=MONO,
                      va="center", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "lw": 0.7, "shrinkA": 0, "shrinkB": 4, "relpos": (0.0, 0.5)})  # fmt: skip
    axes.tick_params(colors=INK)
