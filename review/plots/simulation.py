"""Simulated cells: capacity against cycle, and the voltage profile at a few cycles. No campaign, no measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from review.plots.figure import Plot, new_figure, styled
from review.words import short_recipe, shorten

NAME, TITLE = "simulation", "Simulated cell"
CAPACITY = "discharge_areal_capacity_mAh_cm2"
_LINES = ("-", "--", "-.", ":")
_PROFILES = 4


class Simulated(Protocol):
    """What a simulation must tell to be drawn."""

    @property
    def designs(self) -> pd.DataFrame:
        """Recipes and protocols; the row label is the design."""

    @property
    def cycling(self) -> pd.DataFrame:
        """Long table: `design`, `cycle`, discharge areal capacity."""

    @property
    def curves(self) -> pd.DataFrame:
        """Long table: `design`, `cycle`, `half`, `areal_capacity_mAh_cm2`, `voltage_V`."""


@styled
def simulation_plot(simulation: Simulated) -> Plot:
    """Draw capacity against cycle, one line a design, and the first design's voltage against capacity."""
    record = simulation.cycling[["design", "cycle", CAPACITY]].reset_index(drop=True)
    figure = new_figure(10.5, 4.4)
    left, right = figure.subplots(1, 2)
    for place, (design, rows) in enumerate(record.groupby("design", sort=False)):
        words = shorten(short_recipe(simulation.designs.loc[design].to_dict()), 70)
        left.plot(rows["cycle"], rows[CAPACITY], color="#0072B2", ls=_LINES[place % len(_LINES)], lw=2, label=words)
    left.set_xlabel("cycle")
    left.set_ylabel("discharge capacity (mAh cm⁻²)")
    left.set_ylim(bottom=0)
    profiles = _draw_profiles(right, simulation.curves)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", fontsize=9.5)
    data = pd.concat({"cycling": record, "profile": profiles}, names=["what"]).reset_index("what")
    caption = (
        "Simulated by the physics model; nothing here was measured. Right: the voltage profile of the first recipe."
    )
    return Plot(NAME, TITLE, caption, figure, data)


def _draw_profiles(axes: Axes, curves: pd.DataFrame) -> pd.DataFrame:
    """Draw discharge and charge at a few cycles, from the first (dark) to the last (light); return what was drawn."""
    own = curves[curves["design"].eq(curves["design"].iloc[0])] if len(curves) else curves
    solved = own["cycle"].unique()
    chosen = solved[np.unique(np.linspace(0, len(solved) - 1, min(_PROFILES, len(solved))).round().astype(int))]
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.8, max(1, len(chosen))))
    for cycle, colour in zip(chosen, colours, strict=False):
        for place, (_, half) in enumerate(own[own["cycle"].eq(cycle)].groupby("half", sort=False)):
            words = f"cycle {cycle}" if place == 0 else None
            axes.plot(half["areal_capacity_mAh_cm2"], half["voltage_V"], color=colour, lw=1.8, label=words)
    axes.set_xlabel("capacity (mAh cm⁻²)")
    axes.set_ylabel("voltage against the anode (V)")
    if len(chosen):
        axes.legend(fontsize=9.5)
    return own[own["cycle"].isin(chosen)]


def draw_simulation(simulation: Simulated, path: Path) -> Path:
    """Draw a simulation into a file (PNG, SVG or HTML), its data as CSV beside it; return the picture's path.

    Raises:
        Refusal: another ending.
    """
    return simulation_plot(simulation).save(path)[0]
