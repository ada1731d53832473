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
    known = [result.regret for result in results if np.isfinite(result.regret)]
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
        "regret_at_end_median": float(np.median(known)) if known else None,
        "labs_cut_off": sum(result.cut_off for result in results),
        "labs_without_recommendation": len(results) - len(known),
        "by_lab": [
            {**row, "cut_off": result.cut_off, "breaks": list(result.breaks)}
            for row, result in zip(table(results).to_dict("records"), results, strict=True)
        ],
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
    told += _ends(results)
    short = [result for result in results if result.out_of_stock is not None]
    if short:
        cells = np.median([result.cells_used for result in short])
        told.append(
            f"in {len(short)} of {n} labs the stock ran out, after {cells:.0f} cells at the median: {short[0].out_of_stock}"
        )
    return told


def _ends(results: Sequence[LabResult]) -> list[str]:
    """How the campaigns ended, and with what."""
    n, told = len(results), []
    cut = [result for result in results if result.cut_off]
    done = [result for result in results if not result.cut_off]
    if done:
        where = f"in {len(done)} of {n} labs the campaign" if cut else "the campaign"
        told.append(
            f"{where} had nothing more to do after {np.median([r.ended_day for r in done]):.0f} days at the median"
        )
    if cut:
        told.append(
            f"in {len(cut)} of {n} labs the campaign was cut off at the horizon, day {cut[0].ended_day:.0f}, "
            "with batches or cells under way (--horizon-days)"
        )
    known = [result.regret for result in results if np.isfinite(result.regret)]
    if known:
        told.append(
            f"the recipe recommended in the end was {worse(float(np.median(known)))} than the best at the median"
        )
    broke = [result for result in results if result.breaks]
    if broke:
        which = "; ".join(dict.fromkeys(name for result in broke for name in result.breaks))
        told.append(
            f"in {len(broke)} of {n} labs that recipe breaks a bound, so that it counts as worth nothing: {which}"
        )
    if len(known) < n:
        told.append(f"in {n - len(known)} of {n} labs no recipe could be recommended, as no cell had completed a cycle")
    return told


def worse(regret: float) -> str:
    """How a recipe stands to the best, more or less of which may be wanted.

    A lab of the user's that has no truth() is scored by medians of noisy mixes, which may lie somewhat beyond its best.

    >>> worse(0.25), worse(-0.013)
    ('25.0% worse', '1.3% better')
    """
    return f"{abs(regret):.1%} {'better' if regret < 0 else 'worse'}"


def of_lab(result: LabResult) -> str:
    """One lab in a line."""
    reached = f"day {result.days:.0f}, {result.cells} cells" if result.days is not None else "not within tolerance"
    if result.breaks:
        ended = f"the recommended recipe breaks {' and '.join(result.breaks)}"
    elif np.isnan(result.regret):
        ended = "no recipe could be recommended, as no cell had completed a cycle"
    else:
        ended = f"recommended recipe {worse(result.regret)} than its best"
    cut = f"; cut off at the horizon, day {result.ended_day:.0f}" if result.cut_off else ""
    return f"lab {result.seed}: {reached}; {ended}{cut}"


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
        axes.set_ylabel("recommended recipe worse than the best (%)")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.legend(loc="upper right")
        caption = "Each grey line is one virtual lab (simulated)."
        return Plot("rehearsal", title, caption, figure, middle)

    return picture().save(path)[0]
