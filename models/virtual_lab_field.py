"""A smooth random field over recipes: what a virtual lab's world does that no parameter of the physics explains.

    f(u, names) = sqrt(1/2) sum_k a_k cos(w_k u + phi_k) + sqrt(1/2) mean of one shift a name,   sd 1

with waves of a Gaussian covariance of length `LENGTH` on axes scaled to the box of `models.limits` (random Fourier
features: Rahimi & Recht, 2007). Drawn from its seed alone, so the same recipe has the same value in any table.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.limits import BOX

Floats = npt.NDArray[np.float64]
AXES = (
    "speed_rpm",
    "time_h",
    "active_wt_pct",
    "loading_mg_cm2",
    "current_mA_cm2",
    "stack_pressure_MPa",
    "ball_ratio",
    "duty",
    "heat_C",
    "heat_h",
)
NAMES = ("active", "sse", "carbon")
LENGTH = 0.4
"""Correlation length as a share of each axis' box [est]: one or two bends over a campaign's range."""
_WAVES = 128


class Field:
    """One drawn field; `purpose` tells several fields of one seed apart."""

    def __init__(self, seed: int, purpose: int) -> None:
        rng = np.random.default_rng([seed, purpose, 3])
        self._seed, self._purpose = seed, purpose
        self._waves = rng.standard_normal((len(AXES), _WAVES)) / LENGTH
        self._phases = rng.uniform(0, 2 * np.pi, _WAVES)
        self._amplitudes = rng.standard_normal(_WAVES) * np.sqrt(2 / _WAVES)

    def __call__(self, designs: pd.DataFrame) -> Floats:
        """Return the value at n complete designs, (n,)."""
        scaled = [(designs[axis].fillna(0.0).to_numpy(float) - BOX[axis].low) / _width(axis) for axis in AXES]
        smooth = np.cos(np.column_stack(scaled) @ self._waves + self._phases) @ self._amplitudes
        shifts = np.column_stack([self._shifts(column, designs[column].tolist()) for column in NAMES])
        varied: Floats = (smooth + shifts.sum(axis=1) / np.sqrt(len(NAMES))) / np.sqrt(2.0)
        return varied

    def _shifts(self, column: str, names: Sequence[str]) -> Floats:
        known = {name: self._shift(f"{column}={name}") for name in set(names)}
        return np.array([known[name] for name in names])

    def _shift(self, label: str) -> float:
        rng = np.random.default_rng([self._seed, self._purpose, zlib.crc32(label.encode())])
        return float(rng.standard_normal())


def _width(axis: str) -> float:
    return BOX[axis].high - BOX[axis].low
