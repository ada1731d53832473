"""The plots of a campaign: each takes a `CampaignView` and returns a `Plot`, a figure with the table behind it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from campaign.errors import Refusal
from campaign.names import nearest
from review.data import CampaignView
from review.plots import best_so_far as _best
from review.plots import cycling as _cycling
from review.plots import electrolytes as _electrolytes
from review.plots import parity as _parity
from review.plots import sensitivity as _sensitivity
from review.plots import surface as _surface
from review.plots.figure import Plot
from review.plots.simulation import draw_simulation

PLOTS: Mapping[str, Callable[[CampaignView], Plot]] = MappingProxyType(
    {
        _best.NAME: _best.best_so_far,
        _cycling.NAME: _cycling.capacity_against_cycle,
        _surface.NAME: _surface.objective_over_speed_time,
        _electrolytes.NAME: _electrolytes.sse_comparison,
        _parity.NAME: _parity.parity,
        _sensitivity.NAME: _sensitivity.sensitivity,
    }
)
"""Name as in `mixwright plot CAMPAIGN NAME` -> function."""


def draw(view: CampaignView, name: str) -> Plot:
    """Draw one plot by its name.

    Raises:
        Refusal: no plot has this name.
    """
    refuse_unknown(name)
    return PLOTS[name](view)


def refuse_unknown(name: str) -> None:
    """Refuse a plot that there is not: before a view is made, which may take long.

    Raises:
        Refusal: no plot has this name.
    """
    if name not in PLOTS:
        raise Refusal(f"no plot is called {name!r}: {nearest(name, PLOTS)}")


__all__ = ["PLOTS", "Plot", "draw", "draw_simulation", "refuse_unknown"]
