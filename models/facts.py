"""Score measured rows against the model: value, 90 % band, residual and verdict of each. It never refits.

    band     draws of the posterior, of the discrepancy (`models.discrepancy`) and of the error of the measurement
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
from models import limits
from models.cell import Fidelity
from models.discrepancy import Discrepancy, worlds
from models.inputs import take
from models.likelihood import CAPACITY_OFFSET_mAh_cm2, is_capacity, is_linear, terms, transform, untransform
from models.measured import THRESHOLDS, Rows, read_rows
from models.parameters import Parameters, load
from models.tidy import REQUIRED

PAPER = Path(__file__).parent / "paper_facts.csv"
DRAWS = 200
_CALIBRATED_CYCLES = 100
"""Beyond them one recipe was measured."""


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
        The rows with `model`, `p05`, `p95` (in the row's unit), `residual` and `verdict`: `within band`, `outside band`,
        `right`, `wrong` or `not modelled`; `note_of_model` says why a row is not modelled, or what it extrapolates.

    Raises:
        Refusal: a column is missing, or a row is no recipe.
    """
    known = parameters or load()
    ready = read_rows(rows, materials=materials)
    z = torch.as_tensor(known.z)
    drawn = known.draw(draws, seed=seed)
    sample = known.values(torch.cat([z[None], drawn]))
    with torch.no_grad():
        centre = ready.predict(known.values(), fidelity=fidelity)
        quick = ready.predict(sample)
        left = noise(
            ready,
            np.arange(len(ready.table)),
            known.discrepancy,
            moved=drawn - z,
            seed=seed,
            materials=materials,
        )
    return verdicts(rows, ready, predictive(ready, centre, quick, noise=left))


def predictive(rows: Rows, centre: Tensor, quick: Tensor, *, noise: Tensor) -> Predictive:
    """Join draws and noise on the scale on which each row is compared.

    Args:
        rows: r rows.
        centre: model at the mode, (r,).
        quick: quick at the mode, then at each draw, (1 + draws, r).
        noise: discrepancy and error of measurement, (draws, r).
    """
    low, high = np.full(len(centre), np.nan), np.full(len(centre), np.nan)
    for k, name in enumerate(rows.table["observable"].astype(str)):
        if not rows.modelled[k]:
            continue
        middle, sample = transform(centre[k], name), transform(quick[:, k], name)
        world = untransform(middle + sample[1:] - sample[0] + noise[:, k], name)
        low[k], high[k] = np.quantile(world.numpy(), [0.05, 0.95])
    return Predictive(centre.numpy(), low, high)


def noise(
    rows: Rows,
    some: np.ndarray,
    known: Discrepancy,
    *,
    moved: Tensor,
    seed: int,
    materials: Materials | None = None,
) -> Tensor:
    """Draws of what lies between the model and some rows, on their scale of comparison, (draws, rows).

    Args:
        rows: all rows.
        some: which of them.
        known: discrepancy of the fit.
        moved: z of each draw less its mode, (draws, p).
        seed: of the noise.
        materials: our tables and a lab's own rows.
    """
    asked = terms(rows, some)
    design = rows.design[some]
    designs, place = np.unique(design, return_inverse=True)
    widening = limits.widening(rows.designs.iloc[designs], materials=materials)
    drawn = worlds(known, moved, seed=seed, quantities=widening.shape[1])
    gap = drawn.at(take(rows.inputs, torch.as_tensor(designs)), widening)
    shared = asked.level * gap.level[:, place] + asked.slope * gap.slope[:, place]
    rng, shape = np.random.default_rng([seed, 99]), (len(moved), len(rows.table))
    error = torch.as_tensor(rng.standard_normal(shape)[:, some])
    scatter = torch.as_tensor(rng.standard_normal(shape)[:, some])
    own = asked.row * known.sizes.row + asked.state * known.sizes.state
    return shared + asked.measured_sd * error + own * scatter


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
    # As the row was written: in its own unit.
    scale, offset = rows.table["scale"].to_numpy(), rows.table["offset"].to_numpy()
    model, low, high = ((column - offset) / scale for column in (model, low, high))
    out["observable"], out["relation"] = names, relation
    return out.assign(model=model, p05=low, p95=high, residual=residual, verdict=verdict, note_of_model=_notes(rows))


def _notes(rows: Rows) -> list[str]:
    """Why a row is not modelled, or in what it leaves the calibrated range and the box."""
    refused = limits.refusals(rows.designs, materials=rows.materials)
    left = limits.departures(rows.designs, materials=rows.materials)
    notes = []
    for why, k, cycle in zip(rows.reasons, rows.design, rows.table["cycle"], strict=True):
        names = [*left[k], *(["cycles"] if cycle > _CALIBRATED_CYCLES and "cycles" not in left[k] else [])]
        told = [f"outside what the physics speaks of: {refused[k]}"] if refused[k] else []
        told += [f"extrapolation: {', '.join(names)}"] if names else []
        notes.append(why or "; ".join(told))
    return notes


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
        f"{f['worst_abs_residual']:.2f}, rms {f['rms_residual']:.2f}",
        f"90 % bands hold {f['coverage_pct']:.0f} % of the values; their median width is a factor "
        f"{f['median_band_factor']:.2f}",
        f"{f['words']:.0f} bounds and words: {f['words'] - f['words_wrong']:.0f} right, {f['words_wrong']:.0f} wrong",
    ]
