"""Score measured rows against the model: value, 90 % band, residual and verdict of each. It never refits.

    band     draws of the posterior x discrepancy of the design x error of the measurement
    residual ln((Q + 0.1) / (Q_measured + 0.1)) of a capacity; difference of a voltage or pressure; ln of the ratio else

The centre is the posterior mode with the full cell; draws run quick and enter relative to quick at the mode. Rows of an
observable without a state are printed `not modelled` and counted. Source: issue 4, points 7 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaign.errors import Refusal
from campaign.materials import Materials
from models.cell import Fidelity
from models.discrepancy import level_sd, size
from models.likelihood import CAPACITY_OFFSET_mAh_cm2, is_capacity, is_linear, linear_sd, measurement_sd
from models.measured import REQUIRED, THRESHOLDS, Rows, read_rows
from models.parameters import Parameters, load

PAPER = Path(__file__).parent / "paper_facts.csv"
DRAWS = 200


@dataclass(frozen=True)
class Predictive:
    """Centre and 90 % band of every row, each (r,); NaN where not modelled."""

    centre: np.ndarray
    p05: np.ndarray
    p95: np.ndarray


def read(path: Path | None = None) -> pd.DataFrame:
    """Rows of a file with the columns of `paper_facts.csv`; None is the published measurements.

    Raises:
        Refusal: the file is no CSV, or lacks a column.
    """
    try:
        table = pd.read_csv(path or PAPER)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as why:
        raise Refusal(
            f"{path}: not a CSV file of measured rows ({why}); the columns are those of {PAPER.name}"
        ) from why
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise Refusal(f"{path}, row 1: the column {missing[0]} is missing; the columns are those of {PAPER.name}")
    return table


def score(
    rows: pd.DataFrame,
    *,
    parameters: Parameters | None = None,
    materials: Materials | None = None,
    fidelity: Fidelity = "full",
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Score a table of measured rows.

    Args:
        rows: the columns of `paper_facts.csv`, any number of rows, outside the box too.
        parameters: None is the calibrated file.
        materials: our tables and a lab's own rows.
        fidelity: of the centre.
        draws: posterior samples behind the band.
        seed: of the draws.

    Returns:
        The rows with `model`, `p05`, `p95`, `residual` and `verdict`: `within band`, `outside band`, `right`, `wrong` or
        `not modelled`.

    Raises:
        Refusal: a column is missing, or a row is no recipe.
    """
    known = parameters or load()
    ready = read_rows(rows, materials=materials)
    z = torch.as_tensor(known.z)
    sample = known.values(torch.cat([z[None], known.draw(draws, seed=seed)]))
    with torch.no_grad():
        centre = ready.predict(known.values(), fidelity=fidelity)
        relative = ready.predict(sample)
    return verdicts(rows, ready, predictive(ready, centre, relative, materials=materials, seed=seed))


def predictive(
    rows: Rows, centre: Tensor, quick: Tensor, *, materials: Materials | None = None, seed: int = 0
) -> Predictive:
    """Join draws, discrepancy and error of measurement.

    Args:
        rows: r rows.
        centre: model at the mode, (r,).
        quick: quick at the mode, then at each draw, (1 + draws, r).
        materials: our tables and a lab's own rows.
        seed: of the noise.
    """
    rng = np.random.default_rng([seed, 99])
    draws = len(quick) - 1
    level = level_sd(rows.designs, materials=materials)[rows.design]
    middle = centre.numpy()
    low, high = np.full(len(middle), np.nan), np.full(len(middle), np.nan)
    for k, name in enumerate(rows.table["observable"].astype(str)):
        if not rows.modelled[k]:
            continue
        noise = _noise_sd(rows, k, level=float(level[k])) * rng.standard_normal(draws)
        sample = quick[:, k].numpy()
        if is_linear(name):
            world = middle[k] + (sample[1:] - sample[0]) + noise
        else:
            world = middle[k] * sample[1:] / (sample[0] if sample[0] != 0 else 1.0) * np.exp(noise)
        low[k], high[k] = np.quantile(world, [0.05, 0.95])
    return Predictive(middle, low, high)


def _noise_sd(rows: Rows, k: int, *, level: float) -> float:
    """Discrepancy and error of measurement of one row, on the scale on which the draws are spread."""
    record = {str(name): cell for name, cell in rows.table.iloc[k].items()}
    name, value = str(record["observable"]), float(rows.table["value"][k])
    measured = measurement_sd(record, value, name)
    if name in THRESHOLDS:
        return size("state")
    if is_linear(name):
        return float(np.hypot(measured, linear_sd(name)))
    if not (is_capacity(name) or "capacity" in name):
        return float(np.hypot(measured, size("state")))
    if is_capacity(name):
        measured *= (value + CAPACITY_OFFSET_mAh_cm2) / max(value, 1e-9)
    cycle = rows.table["cycle"][k]
    slope = size("per_log_cycle") * np.log(1.0 if np.isnan(cycle) else cycle)
    return float(np.sqrt(measured**2 + slope**2 + (0.0 if "retention" in name else level) ** 2))


def verdicts(table: pd.DataFrame, rows: Rows, told: Predictive) -> pd.DataFrame:
    """Put model, band, residual and verdict beside the rows."""
    out = table.copy()
    names = rows.table["observable"].astype(str).tolist()
    measured = rows.table["value"].to_numpy(dtype=float)
    relation = rows.table["relation"].astype(str).tolist()
    model, low, high = told.centre.copy(), told.p05.copy(), told.p95.copy()
    residual = np.full(len(model), np.nan)
    verdict = []
    for k, name in enumerate(names):
        if not rows.modelled[k]:
            verdict.append("not modelled")
            continue
        if name in THRESHOLDS:
            level = THRESHOLDS[name][1]
            model[k], low[k], high[k] = (float(v >= level) for v in (model[k], low[k], high[k]))
            verdict.append("right" if model[k] == measured[k] else "wrong")
            continue
        residual[k] = row_residual(name, model[k], measured[k])
        if relation[k] in (">=", "<="):
            right = model[k] >= measured[k] if relation[k] == ">=" else model[k] <= measured[k]
            verdict.append("right" if right else "wrong")
        else:
            verdict.append("within band" if low[k] <= measured[k] <= high[k] else "outside band")
    return out.assign(model=model, p05=low, p95=high, residual=residual, verdict=verdict)


def row_residual(observable: str, model: float, measured: float) -> float:
    """Residual of one row on the scale on which the goals are stated."""
    if is_linear(observable):
        return model - measured
    if is_capacity(observable):
        return float(np.log((model + CAPACITY_OFFSET_mAh_cm2) / (measured + CAPACITY_OFFSET_mAh_cm2)))
    return float(np.log(max(model, 1e-9) / measured)) if measured > 0 else model


def figures(scored: pd.DataFrame) -> dict[str, float]:
    """Figures of a scored table: capacities compared by value, coverage and width of bands, words that are right."""
    value = scored[(scored["relation"] == "=") & scored["verdict"].isin(["within band", "outside band"])]
    capacity = value[value["observable"].map(lambda name: is_capacity(str(name)))]
    words = scored[scored["verdict"].isin(["right", "wrong"])]
    width = (value["p95"] / value["p05"]).where((value["p05"] > 0) & (value["p95"] > 0))
    return {
        "rows": float(len(scored)),
        "not_modelled": float((scored["verdict"] == "not modelled").sum()),
        "capacities": float(len(capacity)),
        "median_abs_residual": float(capacity["residual"].abs().median()),
        "worst_abs_residual": float(capacity["residual"].abs().max()),
        "rms_residual": float(np.sqrt((capacity["residual"] ** 2).mean())),
        "coverage_pct": float(100 * (value["verdict"] == "within band").mean()),
        "median_band_factor": float(width.median()),
        "words": float(len(words)),
        "words_wrong": float((words["verdict"] == "wrong").sum()),
    }


def summary(scored: pd.DataFrame) -> list[str]:
    """The figures of a scored table in sentences."""
    f = figures(scored)
    return [
        f"{f['rows']:.0f} rows, {f['not_modelled']:.0f} not modelled",
        f"{f['capacities']:.0f} capacities: |residual| median {f['median_abs_residual']:.2f}, worst "
        f"{f['worst_abs_residual']:.2f}, rms {f['rms_residual']:.2f} (of a fit that has seen them, where they were fitted)",
        f"90 % bands hold {f['coverage_pct']:.0f} % of the values; their median width is a factor "
        f"{f['median_band_factor']:.2f}",
        f"{f['words']:.0f} bounds and words: {f['words'] - f['words_wrong']:.0f} right, {f['words_wrong']:.0f} wrong",
    ]
