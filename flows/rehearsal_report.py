"""What a rehearsal says: a table, a few sentences, a picture of regret against days, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flows.rehearse import LabResult

Floats = npt.NDArray[np.float64]
Z90 = 1.645


def table(results: Sequence[LabResult]) -> pd.DataFrame:
    """One row a lab; NaN days and cells where the campaign never got there."""
    return pd.DataFrame(
        {
            "lab": [result.seed for result in results],
            "within": ["yes" if result.within else "no" for result in results],
            "days": [np.nan if result.days is None else result.days for result in results],
            "cells": [np.nan if result.cells is None else float(result.cells) for result in results],
            "ended_day": [result.ended_day for result in results],
            "cells_used": [result.cells_used for result in results],
            "regret_pct": [round(100 * result.regret, 4) + 0.0 for result in results],  # no 1e-14, no -0
            "lab_best": [result.best for result in results],
        }
    )


def chance(successes: int, n: int) -> tuple[float, float, float]:
    """Share of successes with its 90 % interval (Wilson): a share of 20 labs is no exact chance.

    >>> [round(x, 2) for x in chance(10, 20)]
    [0.5, 0.33, 0.67]
    """
    share = successes / n
    middle = (share + Z90**2 / (2 * n)) / (1 + Z90**2 / n)
    half = Z90 / (1 + Z90**2 / n) * np.sqrt(share * (1 - share) / n + Z90**2 / (4 * n**2))
    return share, float(max(0.0, middle - half)), float(min(1.0, middle + half))


def curve(results: Sequence[LabResult]) -> pd.DataFrame:
    """Regret of the recommended recipe against days over labs: `day`, `p10`, `median`, `p90`, `share_within`."""
    days = np.arange(7.0, max(float(r.weeks["day"].max()) for r in results) + 1.0, 7.0)
    rows = np.array([_held(result.weeks, days) for result in results])
    spread = np.nanquantile(np.where(np.isnan(rows), 1.0, rows), [0.1, 0.5, 0.9], axis=0)
    return pd.DataFrame({"day": days, "p10": spread[0], "median": spread[1], "p90": spread[2]})


def _held(weeks: pd.DataFrame, days: Floats) -> Floats:
    """A lab's regret at each day; what was recommended last stands."""
    at = np.searchsorted(weeks["day"].to_numpy(float), days, side="right") - 1
    return np.where(at < 0, np.nan, weeks["regret"].to_numpy(float)[np.maximum(at, 0)])


def document(results: Sequence[LabResult], *, campaign: str, level: str, tolerance_pct: float) -> dict[str, Any]:
    """Everything as plain data for JSON."""
    share, low, high = chance(sum(result.within for result in results), len(results))
    reached = [result for result in results if result.days is not None]
    return {
        "campaign": campaign,
        "labs": len(results),
        "level": level,
        "tolerance_pct": tolerance_pct,
        "chance_of_success": {"value": share, "p05": low, "p95": high},
        "days_median_of_successes": float(np.median([r.days for r in reached])) if reached else None,
        "cells_median_of_successes": float(np.median([r.cells for r in reached])) if reached else None,
        "ended_day_median": float(np.median([result.ended_day for result in results])),
        "labs_out_of_stock": sum(result.out_of_stock is not None for result in results),
        "regret_at_end_median": float(np.median([result.regret for result in results])),
        "by_lab": table(results).to_dict("records"),
        "regret_against_days": curve(results).to_dict("records"),
    }


def sentences(results: Sequence[LabResult], *, level: str, tolerance_pct: float) -> list[str]:
    """What the rehearsal comes to."""
    n = len(results)
    good = [result for result in results if result.days is not None]
    share, low, high = chance(len(good), n)
    told = [
        f"{len(good)} of {n} virtual labs ({level}) ended with a recommended recipe within {tolerance_pct:g} % of their best: "
        f"chance of success {share:.0%} (90 % interval {low:.0%} to {high:.0%})"
    ]
    if good:
        days, cells = np.median([r.days for r in good]), np.median([r.cells for r in good])
        told.append(f"those needed {days:.0f} days and {cells:.0f} cells at the median")
    # A lab of the user's that has no truth() is scored by medians of noisy mixes, which may lie somewhat above its best.
    off = np.median([r.regret for r in results])
    told.append(
        f"the campaign had nothing more to do after {np.median([r.ended_day for r in results]):.0f} days at the median; the "
        f"recipe it recommended then was {abs(off):.1%} {'above' if off < 0 else 'below'} the best"
    )
    short = [result for result in results if result.out_of_stock is not None]
    if short:
        cells = np.median([result.cells_used for result in short])
        told.append(
            f"in {len(short)} of {n} labs the stock ran out, after {cells:.0f} cells at the median: {short[0].out_of_stock}"
        )
    return told


def draw(results: Sequence[LabResult], path: Path, *, title: str, tolerance_pct: float) -> Path:
    """Draw regret against days: every lab, their median, and the band that counts as success."""
    from review.plots.figure import GREY, SIMULATED_COLOUR, Plot, new_figure, styled

    @styled
    def picture() -> Plot:
        figure = new_figure(8.0, 4.5)
        axes = figure.add_subplot()
        for result in results:
            axes.step(result.weeks["day"], 100 * result.weeks["regret"], where="post", color=GREY, alpha=0.35, lw=0.8)
        middle = curve(results)
        axes.step(middle["day"], 100 * middle["median"], where="post", color=SIMULATED_COLOUR, lw=2.2, label="median")
        axes.axhspan(0, tolerance_pct, color=SIMULATED_COLOUR, alpha=0.12, label=f"within {tolerance_pct:g} % of best")
        axes.set_xlabel("days since the first mix")
        axes.set_ylabel("recommended recipe below the best (%)")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.legend(loc="upper right")
        caption = "Each grey line is one virtual lab (simulated)."
        return Plot("rehearsal", title, caption, figure, middle)

    return picture().save(path)[0]
