"""A plot and the data behind it, and the looks that all plots share.

Simulated is blue and round, measured is vermilion and has corners (Okabe and Ito's colours, told apart by every common
kind of colour blindness, and by the shape in print). Maps are cividis. No pyplot: figures are plain objects, so that
plots can be drawn from any thread and nothing stays open.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from campaign.errors import Refusal
from campaign.names import nearest
from review.data import CampaignView, is_measured
from review.words import shorten

SIMULATED_COLOUR, MEASURED_COLOUR, GREY, INK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
PALE = {SIMULATED_COLOUR: "#8FBEDD", MEASURED_COLOUR: "#EDB48F"}
MONO = "DejaVu Sans Mono"
"""For names of materials: in the sans face LPSClI and LPSCl with a capital i cannot be told apart."""
SUFFIXES = (".png", ".svg", ".html")

_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    # Names are typed by people: a dollar sign is a dollar sign, not a formula.
    "text.parse_math": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    # Text as outlines: the picture looks the same on a machine without our font.
    "svg.fonttype": "path",
    "svg.hashsalt": "mixwright",
}

P = ParamSpec("P")


@contextmanager
def _looks() -> Iterator[None]:
    """Draw under the shared looks. A letter that the font lacks becomes a box: not worth a warning to the user."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@dataclass(frozen=True)
class Plot:
    """One figure with the table it was drawn from."""

    name: str
    """File stem: `best_so_far`."""
    title: str
    caption: str
    """What the reader sees, and what the symbols mean."""
    figure: Figure
    data: pd.DataFrame
    """Every number in the figure, one row a mark."""

    def svg(self) -> str:
        """Return the figure as SVG, the same text for the same data."""
        out = io.StringIO()
        with _looks():
            self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()

    def data_uri(self) -> str:
        """Return the SVG as a `data:` address, for a page that stands alone."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg().encode()).decode()

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the picture (PNG, SVG or HTML by the ending of `path`) and its data as CSV beside it.

        Returns:
            The two files written.

        Raises:
            Refusal: another ending.
        """
        if path.suffix.lower() not in SUFFIXES:
            raise Refusal(f"{path.name}: {nearest(path.suffix, SUFFIXES)} (a plot is written as PNG, SVG or HTML)")
        path.parent.mkdir(parents=True, exist_ok=True)
        match path.suffix.lower():
            case ".png":
                with _looks():
                    self.figure.savefig(path, format="png", dpi=160, metadata={"Software": None})
            case ".svg":
                path.write_text(self.svg(), encoding="utf-8")
            case _:
                path.write_text(self._page(), encoding="utf-8")
        table = path.with_suffix(".csv")
        self.data.to_csv(table, index=False)
        return path, table

    def _page(self) -> str:
        title, caption = html.escape(self.title), html.escape(self.caption)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
            f'<body style="font:16px sans-serif;max-width:60rem;margin:2rem auto"><h1>{title}</h1>'
            f'<img style="max-width:100%" alt="{caption}" src="{self.data_uri()}"><p>{caption}</p>'
            f"{self.data.to_html(index=False, border=0, na_rep='–')}</body></html>"
        )


def styled(draw: Callable[P, Plot]) -> Callable[P, Plot]:
    """Draw under the shared looks, leaving matplotlib's own settings as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Plot:
        with _looks():
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width_in: float = 9.0, height_in: float = 4.8) -> Figure:
    """Return an empty figure that can be saved without pyplot."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def empty_plot(name: str, title: str, *, because: str) -> Plot:
    """Return a plot that says in words why there is nothing to draw."""
    figure = new_figure(9.0, 1.6)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, because, ha="center", va="center", color="#555555", transform=axes.transAxes)
    return Plot(name, title, because, figure, pd.DataFrame())


def look(evaluator: str) -> dict[str, Any]:
    """Return marker and colour: simulated a blue disc; measured vermilion, a square of this lab, a diamond of others."""
    if not is_measured(evaluator):
        return {"marker": "o", "color": SIMULATED_COLOUR}
    return {"marker": "s" if evaluator == "lab" else "D", "color": MEASURED_COLOUR}


def objective_label(view: CampaignView, *, lines: bool = False) -> str:
    """Return the objective with its unit, short enough for an axis."""
    return f"{shorten(view.objective.label, 60)}{chr(10) if lines else ' '}({shorten(view.objective.unit, 40)})"


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move labels apart: the nearest places, in the same order, at least `gap` from each other.

    >>> spread([1.0, 1.1, 5.0], 1.0)
    [0.55, 1.55, 5.0]
    """
    order = np.argsort(positions, kind="stable")
    # Pool neighbours that collide and centre each pool on its mean (isotonic regression of position - rank * gap).
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        pools.append((positions[index] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (right, n_right), (left, n_left) = pools.pop(), pools.pop()
            pools.append(((right * n_right + left * n_left) / (n_right + n_left), n_right + n_left))
    starts = np.repeat([value for value, _ in pools], [count for _, count in pools]) + gap * np.arange(len(order))
    placed = np.empty(len(order))
    placed[order] = starts
    return [float(round(value, 9)) for value in placed]
