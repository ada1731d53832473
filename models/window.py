"""The best (speed, time) of a recipe, with its band and the ridge of equivalents, wherever the mechanism puts it.

Each posterior draw of the physics with its draw of the discrepancy (`models.discrepancy`) is one possible world on a grid
inside the box; each world has its own best. The band is the spread of those bests; the ridge is, for each speed, the time
that is best there; the window is where P(within the tolerance of the world's best) is high.

A best on the edge of the grid is a bound, and is called one. Source: physics.md sections 0.3 and 4.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign.errors import Refusal
from campaign.materials import Materials
from models import limits
from models.parameters import Parameters
from models.simulate import ensemble


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

    def sentences(self) -> list[str]:
        """The finding in words, a bound called a bound; all of it simulated."""
        (early, late), (slow, fast) = self.time_band_h, self.speed_band_rpm
        good = self.ridge[self.ridge["median"] >= 0.95 * self.value]
        first, last = good.iloc[0], good.iloc[-1]
        return [
            f"best by the physics (simulated): {self.speed_rpm:.0f} rpm, {self.time_h:.1f} h; median {self.value:.0f}",
            f"best time at that speed: 90 % of the worlds between {early:.1f} and {late:.1f} h; "
            f"best speed over all times: between {slow:.0f} and {fast:.0f} rpm",
            f"ridge of equivalents (median within 5 % of the best): from {first['speed_rpm']:.0f} rpm x "
            f"{first['time_h']:.1f} h to {last['speed_rpm']:.0f} rpm x {last['time_h']:.1f} h",
            *self.bounds,
        ]


def best_window(
    recipe: Mapping[str, object] | None = None,
    *,
    outcome: str = "discharge_capacity_cycle_100_mAh_g_composite",
    speeds_rpm: tuple[float, float, int] = (400.0, limits.BOX["speed_rpm"].high, 17),
    times_h: tuple[float, float, int] = (0.5, limits.BOX["time_h"].high, 24),
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
    worlds = ensemble(points, outcome, draws=draws, seed=seed, materials=materials, parameters=parameters)
    shape = (draws, len(speed), len(time))
    return _summarise(worlds.reshape(shape), speed, time, tolerance=tolerance)


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
        bounds=_bounds(
            int(i),
            int(j),
            speed,
            time,
            [("time", "h", float(low), time), ("time", "h", float(high), time), ("speed", "rpm", float(slow), speed)],
        ),
        ridge=ridge,
        grid=grid,
    )


def _bounds(
    i: int, j: int, speed: np.ndarray, time: np.ndarray, band: list[tuple[str, str, float, np.ndarray]]
) -> list[str]:
    out = []
    for name, unit, at, axis in (("speed", "rpm", i, speed), ("time", "h", j, time)):
        if at in (0, len(axis) - 1):
            end = "lower" if at == 0 else "upper"
            out.append(f"the best {name} stands on the {end} bound, {axis[at]:g} {unit}: a bound, no located optimum")
    for name, unit, value, axis in band:
        if value in (axis[0], axis[-1]):
            end = "lower" if value == axis[0] else "upper"
            out.append(f"the band of the {name} ends on the {end} bound, {value:g} {unit}: it may reach beyond")
    return out


def main() -> int:
    """Print the window of the published composition and protocol."""
    found = best_window(draws=200)
    sys.stdout.write("\n".join([*found.sentences(), "", found.ridge.round(2).to_string(index=False)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
