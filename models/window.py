"""The best (speed, time) of a recipe, with its band and the ridge of equivalents, wherever the mechanism puts it.

Each posterior draw of the physics, times a smooth random field for what the physics gets wrong over (speed, time), is one
possible world on a grid inside the box; each world has its own best. The band is the spread of those bests; the ridge is,
for each speed, the time that is best there; the window is where P(within the tolerance of the world's best) is high.

    world(speed, time) = f(speed, time; draw) exp(g),  g ~ GP(0, level^2), squared exponential in ln speed and ln time

A best on the edge of the grid is a bound, and is called one. Source: physics.md sections 0.3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.recipe import complete
from models import discrepancy, limits
from models.parameters import Parameters
from models.simulate import ensemble

_LENGTH_LN_SPEED = 0.35
_LENGTH_LN_TIME = 0.7
"""Length scales of the field [est]: a factor of 1.4 in speed or 2 in time is another process."""


@dataclass(frozen=True)
class Window:
    """Where the best recipe is, and how well that is known.

    Attributes:
        speed_rpm: of the best by the median over worlds; `time_h` likewise.
        time_h: see `speed_rpm`.
        value: its median outcome.
        time_band_h: 5 % and 95 % of the best time at the best speed, over worlds.
        speed_band_rpm: 5 % and 95 % of the best speed over worlds.
        bounds: sentences on what stands on a bound.
        ridge: a row a speed: best time, its band, median there, chance to be within the tolerance of the best.
        grid: a row a grid point: median outcome and the same chance.
    """

    speed_rpm: float
    time_h: float
    value: float
    time_band_h: tuple[float, float]
    speed_band_rpm: tuple[float, float]
    bounds: list[str]
    ridge: pd.DataFrame
    grid: pd.DataFrame


def best_window(
    recipe: Mapping[str, object] | None = None,
    *,
    outcome: str = "discharge_capacity_cycle_100_mAh_g_composite",
    speeds_rpm: tuple[float, float, int] = (400.0, 2000.0, 17),
    times_h: tuple[float, float, int] = (0.5, 12.0, 24),
    tolerance: float = 0.05,
    draws: int = 128,
    seed: int = 0,
    materials: Materials | None = None,
    parameters: Parameters | None = None,
) -> Window:
    """Locate the best (speed, time).

    Args:
        recipe: what is held fixed (columns of a design table); the rest takes the published value.
        outcome: maximised.
        speeds_rpm: lowest, highest and number of speeds; times_h likewise (evenly spaced in ln time).
        times_h: see `speeds_rpm`.
        tolerance: share below the best that still counts as best.
        draws: worlds.
        seed: of the worlds.
        materials: our tables and a lab's own rows.
        parameters: None is the calibrated file.

    Raises:
        Refusal: the grid leaves the box of the physics.
    """
    fixed = dict(recipe or {})
    speed, time = np.linspace(*speeds_rpm), np.geomspace(*times_h)
    points = pd.DataFrame(
        [{**fixed, "speed_rpm": s, "time_h": t} for s in speed for t in time],
    )
    for sentence in limits.refusals(points, materials=materials):
        if sentence:
            raise Refusal(f"the window leaves what the physics speaks of: {sentence}")
    model = ensemble(points, outcome, draws=draws, seed=seed, materials=materials, parameters=parameters)
    level = discrepancy.level_sd(complete(points, materials), materials=materials)
    worlds = model * np.exp(level * _field(np.log(speed), np.log(time), draws=draws, seed=seed))
    shape = (draws, len(speed), len(time))
    return _summarise(worlds.reshape(shape), speed, time, tolerance=tolerance)


def _field(ln_speed: np.ndarray, ln_time: np.ndarray, *, draws: int, seed: int) -> np.ndarray:
    """Unit-variance smooth fields over the grid, (draws, speeds * times); the kernel is a product, so is its root."""
    white = np.random.default_rng([seed, 55]).standard_normal((draws, len(ln_speed), len(ln_time)))
    roots = [_root(ln_speed, _LENGTH_LN_SPEED), _root(ln_time, _LENGTH_LN_TIME)]
    return np.asarray(np.einsum("ij,djk,lk->dil", roots[0], white, roots[1])).reshape(draws, -1)


def _root(at: np.ndarray, length: float) -> np.ndarray:
    covariance = np.exp(-0.5 * ((at[:, None] - at[None, :]) / length) ** 2)
    return np.asarray(np.linalg.cholesky(covariance + 1e-8 * np.eye(len(at))))


def _summarise(worlds: np.ndarray, speed: np.ndarray, time: np.ndarray, *, tolerance: float) -> Window:
    best_of_world = worlds.max(axis=(1, 2), keepdims=True)
    chance = (worlds >= (1 - tolerance) * best_of_world).mean(0)
    # The median, not the mean: a field that is wider off the measured line must not make that look better.
    middle = np.median(worlds, axis=0)
    i, j = np.unravel_index(int(middle.argmax()), middle.shape)
    best_time = time[worlds.argmax(axis=2)]
    best_speed = speed[worlds.max(axis=2).argmax(axis=1)]
    at = middle.argmax(axis=1)
    rows = np.arange(len(speed))
    ridge = pd.DataFrame(
        {
            "speed_rpm": speed,
            "time_h": time[at],
            "time_h_p05": np.quantile(best_time, 0.05, axis=0),
            "time_h_p95": np.quantile(best_time, 0.95, axis=0),
            "median": middle[rows, at],
            "chance_within_tolerance": chance[rows, at],
            "on_time_bound": np.isin(at, [0, len(time) - 1]),
        }
    )
    grid = pd.DataFrame(
        {
            "speed_rpm": np.repeat(speed, len(time)),
            "time_h": np.tile(time, len(speed)),
            "median": middle.ravel(),
            "chance_within_tolerance": chance.ravel(),
        }
    )
    low, high = np.quantile(best_time[:, i], [0.05, 0.95])
    slow, fast = np.quantile(best_speed, [0.05, 0.95])
    return Window(
        speed_rpm=float(speed[i]),
        time_h=float(time[j]),
        value=float(middle[i, j]),
        time_band_h=(float(low), float(high)),
        speed_band_rpm=(float(slow), float(fast)),
        bounds=_bounds(int(i), int(j), speed, time),
        ridge=ridge,
        grid=grid,
    )


def _bounds(i: int, j: int, speed: np.ndarray, time: np.ndarray) -> list[str]:
    out = []
    for name, unit, at, axis in (("speed", "rpm", i, speed), ("time", "h", j, time)):
        if at in (0, len(axis) - 1):
            end = "lower" if at == 0 else "upper"
            out.append(
                f"the best {name} stands on the {end} bound, {axis[at]:g} {unit}: it is a bound, no located optimum"
            )
    return out
