"""A fade law that is not ours: how capacity goes from cycle 2 on in a virtual lab whose ageing the physics does not know.

    ln Q(n)/Q(2) = rise (1 - e^{-m/n_a})  -  k (m/100)^b  -  rate w ln[(1 + e^{(n - n_k)/w}) / (1 + e^{(2 - n_k)/w})],  m = n - 2
    rise = g P (1 - d),   k = k_0 + k_1 (1 - P) + k_2 d,   n_k = n_0 exp(s f(recipe) - h (Q(2)/theory - 0.6))

P is the protected and d the collapsed share that the physics gives. The knee is late and comes the sooner the more a cell
gives, so that curves cross and early cycles mislead. One electrolyte, drawn by the seed, peaks near cycle 25 and collapses
to two thirds by cycle 50, as F094 to F096 did. Sizes are [est], chosen to span the published curves; fixed, never tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.virtual_lab_field import Field

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fade:
    """One drawn law."""

    rise: float
    rise_cycles: float
    loss: tuple[float, float, float]
    """ln loss over 100 cycles of a protected cell, more where unprotected, more where collapsed."""
    exponent: float
    knee_cycle: float
    knee_spread: Field
    haste: float
    knee_rate: float
    collapsing_sse: str

    def log_factor(
        self,
        cycles: Floats,
        designs: pd.DataFrame,
        *,
        protection: Floats,
        collapse: Floats,
        utilisation: Floats,
    ) -> Floats:
        """Return ln Q(n)/Q(2) of n designs at m cycles >= 2, (n, m).

        Args:
            cycles: m cycle numbers.
            designs: n complete designs.
            protection: protected share of the interface, (n,).
            collapse: collapsed share of the electrolyte, (n,).
            utilisation: second discharge over the theory, (n,).
        """
        gone = np.maximum(cycles[None] - 2.0, 0.0)
        rise = (self.rise * protection * (1 - collapse))[:, None] * -np.expm1(-gone / self.rise_cycles)
        sound, bare, broken = self.loss
        loss = (sound + bare * (1 - protection) + broken * collapse)[:, None] * (gone / 100.0) ** self.exponent
        knee = self.knee_cycle * np.exp(
            KNEE_SPREAD * self.knee_spread(designs) - self.haste * (utilisation - TYPICAL_USE)
        )
        late = self.knee_rate * KNEE_WIDTH * (_soft(cycles[None], knee[:, None]) - _soft(2.0, knee[:, None]))
        falls = designs["sse"].eq(self.collapsing_sse).to_numpy()[:, None]
        return np.asarray(rise - loss - late + falls * _peak_and_collapse(cycles[None]))


KNEE_WIDTH = 5.0
"""Cycles over which a knee bends [est]."""
KNEE_SPREAD = 0.4
"""Spread of ln(knee cycle) over recipes [est]."""
TYPICAL_USE = 0.6
"""Utilisation at which the knee cycle is given."""
PEAK_GAIN, PEAK_CYCLES, PEAK_AT = 0.16, 8.0, 25.0
"""ln 7.8/6.7 between cycles 1 and 25 [fit: F094, F095]."""
COLLAPSE_RATE, COLLAPSE_DEPTH = 0.020, 1.2
"""ln 7.8/5.1 between cycles 25 and 50 [fit: F095, F096], levelling off at e^-1.2 [est]."""


def draw_fade(seed: int, electrolytes: Sequence[str]) -> Fade:
    """Draw a law; the electrolyte that collapses is one of those given."""
    rng = np.random.default_rng([seed, 11])

    def about(middle: float, spread: float) -> float:
        return float(middle * np.exp(spread * rng.standard_normal()))

    return Fade(
        rise=about(0.25, 0.3),
        rise_cycles=about(10.0, 0.3),
        loss=(about(0.10, 0.4), about(1.0, 0.4), about(0.8, 0.4)),
        exponent=float(rng.uniform(0.5, 1.0)),
        knee_cycle=about(80.0, 0.3),
        knee_spread=Field(seed, 12),
        haste=float(rng.uniform(0.5, 1.5)),
        knee_rate=about(0.012, 0.4),
        collapsing_sse=str(rng.choice(sorted(electrolytes))),
    )


def _soft(cycle: Floats | float, knee: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, (cycle - knee) / KNEE_WIDTH))


def _peak_and_collapse(cycles: Floats) -> Floats:
    """The published electrolyte's departure from the others, as ln of a factor."""
    up = -PEAK_GAIN * np.expm1(-(cycles - 1.0) / PEAK_CYCLES)
    after = np.maximum(cycles - PEAK_AT, 0.0)
    return np.asarray(up + COLLAPSE_DEPTH * np.expm1(-COLLAPSE_RATE / COLLAPSE_DEPTH * after))
