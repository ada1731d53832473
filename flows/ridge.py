"""The speed x time plane of an answer: what is expected over it, and the ridge of settings as good as the recommended recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.parameter import Numeric
from campaign.spec import CampaignSpec, Range

if TYPE_CHECKING:
    from surrogate import Optimiser
    from surrogate.answer import Window

LIKELY = 0.5
"""Chance of meeting the conditions on outcomes above which a recipe may be named."""
GRID = 31
"""Points along each axis of the drawn surface."""


def speed_time_surface(spec: CampaignSpec, optimiser: Optimiser) -> pd.DataFrame:
    """Predict the objective over speed x time, the other axes held at the recommendation; empty where one is not varied.

    Returns:
        `speed_rpm`, `time_h`, `mean`, `sd`, `probability` of being within the tolerance of the best, and whether it is `allowed`.
    """
    columns = ["speed_rpm", "time_h", "mean", "sd", "probability", "allowed"]
    if not all(isinstance(spec.space.get(name), Range) for name in columns[:2]):
        return pd.DataFrame(columns=columns)
    grid = optimiser.ridge("speed_rpm", "time_h", tolerance=spec.tolerance_pct / 100.0, n=GRID)
    if spec.outcome_constraints:
        best = optimiser.recommend().iloc[0]
        recipes = grid.assign(**{name: best[name] for name in spec.space if name not in grid})
        grid["allowed"] &= optimiser.chance_met(recipes) > LIKELY
    return grid[columns]


def settable(spec: CampaignSpec, optimiser: Optimiser, surface: pd.DataFrame, best: Mapping[str, Any]) -> pd.DataFrame:
    """The surface at speeds and times that the mixer can be set to, the recommended ones among them.

    Its own points are evenly spaced for drawing. The mean is asked anew; the chance, which is smooth, is interpolated between
    points that are allowed.

    Args:
        spec: the campaign.
        optimiser: of the campaign.
        surface: as `speed_time_surface` gives it.
        best: the recommended value of each varied column.

    Returns:
        `speed_rpm`, `time_h`, `mean`, `probability`, `allowed`; the surface itself where the mixer has no steps.
    """
    axes = [optimiser.space[name] for name in ("speed_rpm", "time_h")] if len(surface) else []
    speed, time = (axis for axis in axes if isinstance(axis, Numeric)) if axes else (None, None)
    if speed is None or time is None or not (speed.step or time.step):
        return surface
    settings = [
        np.unique(np.append(axis.snap(surface[axis.name].unique()), axis.snap(np.array([float(best[axis.name])]))))
        for axis in (speed, time)
    ]
    points = pd.MultiIndex.from_product(settings, names=["speed_rpm", "time_h"]).to_frame(index=False)
    recipes = points.assign(**{name: best[name] for name in spec.space if name not in points})[list(spec.space)]
    drawn = surface.assign(counted=surface["allowed"].astype(float))
    drawn["probability"] *= drawn["counted"]
    share, chance = (_between(drawn, name, points) for name in ("counted", "probability"))
    allowed = optimiser.space.feasible(recipes) & (share > 0)
    if spec.outcome_constraints:
        allowed &= (optimiser.chance_met(recipes) > LIKELY).to_numpy()
    points = points.assign(mean=optimiser.predict(recipes)["mean"], allowed=allowed)
    return points.assign(probability=np.divide(chance, share, out=np.zeros(len(points)), where=share > 0))


def on_plane(spec: CampaignSpec, optimiser: Optimiser, window: Window, best: pd.Series) -> pd.DataFrame:
    """The recommended recipe, and with several objectives those of the window that differ from it in speed and time alone.

    A grid over the plane passes by some times that a mixer can be set to.
    """
    names = list(spec.space)
    same = window.table[names].eq(best[names])
    own = same.all(axis=1)
    beside = same.drop(columns=["speed_rpm", "time_h"], errors="ignore").all(axis=1)
    kept = window.table[own | (beside & (len(spec.objectives) > 1))]
    return kept.assign(mean=optimiser.predict(kept[names])["mean"], recommended=own)


def ridge_of(surface: pd.DataFrame, looked_at: pd.DataFrame, best: pd.Series, spec: CampaignSpec) -> pd.DataFrame:
    """For each speed the best time there, where it counts as equivalent to the recommended recipe, which belongs to it.

    Equivalent is what is expected within the tolerance of it; with several objectives what is likely to be so in each of them,
    as in the process window.

    Args:
        surface: speed x time grid, at values that can be set (`settable`).
        looked_at: further recipes on that plane, the recommended one among them (`on_plane`).
        best: the recommended recipe, with its `mean`.
        spec: the campaign.

    Returns:
        `speed_rpm`, `time_h`, `mean`, and the shortest and longest time that are equivalent (`time_low_h`, `time_high_h`).
    """
    columns = ["speed_rpm", "time_h", "mean", "probability", "time_low_h", "time_high_h"]
    if surface.empty:
        return pd.DataFrame(columns=columns)
    sign, several = 1.0 if spec.objective.goal == "max" else -1.0, len(spec.objectives) > 1
    points = pd.concat([surface[surface["allowed"]], looked_at], ignore_index=True)
    equal = points["probability"] >= LIKELY
    if not several:
        equal = sign * points["mean"] >= sign * _threshold(spec, float(best["mean"]))
    rows = []
    for speed, group in points[equal | points["recommended"].eq(True)].groupby("speed_rpm"):
        by = group["probability"] if several else sign * group["mean"]
        top = group.iloc[int(np.argmax(by.to_numpy()))]
        time = group["time_h"]
        rows.append((speed, top["time_h"], top["mean"], top["probability"], time.min(), time.max()))
    return pd.DataFrame(rows, columns=columns)


def _threshold(spec: CampaignSpec, best: float) -> float:
    """The value that counts as equivalent to the best: within the campaign's tolerance of it."""
    sign = 1.0 if spec.objective.goal == "max" else -1.0
    return best - sign * abs(best) * spec.tolerance_pct / 100.0


def _between(surface: pd.DataFrame, column: str, points: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Interpolate a column of the speed x time grid linearly."""
    from scipy.interpolate import RegularGridInterpolator

    grid = surface.pivot(index="speed_rpm", columns="time_h", values=column)
    inside = RegularGridInterpolator(
        (grid.index.to_numpy(), grid.columns.to_numpy()), grid.to_numpy(), bounds_error=False, fill_value=None
    )
    return np.asarray(inside(points[["speed_rpm", "time_h"]].to_numpy()), dtype=float)
