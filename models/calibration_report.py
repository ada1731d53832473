"""What a calibration prints: residuals, parameters, identifiability, leave-one-out errors and the goals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models import facts
from models.calibrate import Calibration

GOALS: tuple[tuple[str, str, str, float], ...] = (
    ("median |residual| of left-out capacities", "median_abs_residual", "<=", 0.20),
    ("worst |residual| of left-out capacities", "worst_abs_residual", "<=", 1.0),
    ("coverage of 90 % bands, left out [%]", "coverage_pct", ">=", 80.0),
    ("coverage of 90 % bands, left out [%] (not too wide)", "coverage_pct", "<=", 97.0),
    ("median width of bands, left out [factor]", "median_band_factor", "<=", 2.0),
    ("ordinal rows wrong, left out", "words_wrong", "<=", 0.0),
)
"""Goals of issue 4, point 8: name, figure of `facts.figures`, relation, bound."""

_SHOWN = ["id", "active", "sse", "speed_rpm", "time_h", "observable", "cycle", "relation", "value"]
_SCORED = ["model", "p05", "p95", "residual", "verdict"]


def calibration_lines(found: Calibration) -> Iterator[str]:
    """Fit, parameters and identifiability."""
    table = found.table()
    yield f"objective {found.objectives[0]:.2f}; {found.same_minimum} of {len(found.objectives)} starts ended there"
    shown = table.assign(**{name: table[name].map("{:.4g}".format) for name in ("prior", "posterior")}).round(2)
    yield shown.assign(identified=np.where(table["identified"], "yes", "at its prior")).to_string(index=False)
    known = int(table["identified"].sum())
    yield f"{known} of {len(table)} parameters identified; the others stay near their prior, with its width"
    sizes = found.parameters.discrepancy.sizes
    yield (
        f"gap between model and world, from these rows: {100 * sizes.level:.0f} % in capacity, {100 * sizes.per_log_cycle:.1f} % "
        f"more for each factor of e in cycle number, {100 * sizes.row:.0f} % from reading to reading, "
        f"{100 * sizes.state:.0f} % in a state of the powder"
    )
    above = int((found.eigenvalues > 1).sum())
    yield f"{above} directions in which the data say more than the prior; eigenvalues of the information:"
    yield " ".join(f"{value:.3g}" for value in found.eigenvalues)


def row_lines(scored: pd.DataFrame) -> Iterator[str]:
    """Every row beside the model."""
    yield scored[[*_SHOWN, *_SCORED]].round(3).to_string(index=False)


def summary_lines(title: str, scored: pd.DataFrame) -> Iterator[str]:
    """Figures of a scored table."""
    yield title + ": " + ", ".join(f"{name} {value:.3g}" for name, value in facts.figures(scored).items())


def figure_lines(title: str, scored: pd.DataFrame) -> Iterator[str]:
    """The same in sentences, for people."""
    yield f"{title}:"
    yield from facts.summary(scored)


def goal_lines(left_out: pd.DataFrame) -> Iterator[str]:
    """One line a goal, from fitted rows that were left out with their mix."""
    figures = facts.figures(left_out[left_out["use"].isin(["fit", "range"])])
    for name, key, relation, bound in GOALS:
        value = figures[key]
        met = value <= bound if relation == "<=" else value >= bound
        yield f"GOAL {name}: measured {value:.3g}, goal {relation} {bound:g}: {'met' if met else 'short'}"
