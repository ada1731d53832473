"""How far the model is from measured rows, and how far it may be.

    capacity            t = ln(Q + 0.1)                        Q in mAh cm-2; dead cells count as dead, not as decades
    other positives     t = ln x;   voltages, pressures: t = x
    '=' rows            t_model - t_measured, with the covariance of measurement and discrepancy (`models.discrepancy`)
    bounds, yes / no    censored: sqrt(-2 ln Phi(margin / sd)), the share of the noise that would keep the word of the row

Least squares of these residuals, whitened, is maximum likelihood; the prior adds z. Source: physics.md section 4
(observation model).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models import discrepancy
from models.discrepancy import Sizes, Terms
from models.measured import THRESHOLDS, Rows

OfZ = Callable[[Tensor], Tensor]
"""Residuals as a function of the standardised parameters."""

CAPACITY_OFFSET_mAh_cm2 = 0.1
"""Added inside the logarithm of a capacity: a tenth of a mAh cm-2 is a dead cell, and all dead cells are alike."""

_DEFAULT_RELATIVE = 0.10
_CENSOR_SD = 0.10
_LINEAR_SD = {"voltage": 0.05, "pressure": 0.15}
_TINY = 1e-12
_MOST_SHIFT = 0.7
"""Largest correction of quick by full that a fit believes: beyond it quick says nothing of the slope either."""


def is_capacity(observable: str) -> bool:
    """Whether an observable is an areal capacity."""
    return observable.endswith("areal_capacity")


def is_linear(observable: str) -> bool:
    """Whether an observable is compared by its difference (it may be negative, or zero is arbitrary)."""
    return any(word in observable for word in _LINEAR_SD)


def linear_sd(observable: str) -> float:
    """What the model cannot do of such an observable, in its unit."""
    return next(sd for word, sd in _LINEAR_SD.items() if word in observable)


def transform(value: Tensor, observable: str) -> Tensor:
    """The scale on which a value of an observable is compared."""
    if is_capacity(observable):
        return torch.log(value.clamp(min=0.0) + CAPACITY_OFFSET_mAh_cm2)
    if is_linear(observable):
        return value
    return torch.log(value.clamp(min=1e-6))


def measurement_sd(row: dict[str, object], value: float, observable: str) -> float:
    """Standard deviation of the measurement itself, on the scale of `transform`."""
    relative, absolute = _number(row.get("rel_uncertainty")), _number(row.get("abs_uncertainty"))
    if is_linear(observable):
        return absolute if absolute is not None else (relative or _DEFAULT_RELATIVE) * abs(value)
    if absolute is not None and value > 0:
        relative = absolute / value
    relative = _DEFAULT_RELATIVE if relative is None else relative
    # d ln(Q + 0.1) = relative Q / (Q + 0.1)
    return relative * value / (value + CAPACITY_OFFSET_mAh_cm2) if is_capacity(observable) else relative


def _number(cell: object) -> float | None:
    value = float(cell) if isinstance(cell, int | float) else math.nan
    return None if math.isnan(value) else value


def untransform(t: Tensor, observable: str) -> Tensor:
    """The value at a place on that scale; no capacity is below zero."""
    if is_capacity(observable):
        return (torch.exp(t) - CAPACITY_OFFSET_mAh_cm2).clamp(min=0.0)
    return t if is_linear(observable) else torch.exp(t)


def terms(rows: Rows, some: np.ndarray) -> Terms:
    """What some rows ask of the discrepancy."""
    table = rows.table.iloc[some]
    names = table["observable"].astype(str).tolist()
    capacity = np.array([is_capacity(name) for name in names], dtype=bool)
    retention = np.array(["retention" in name for name in names], dtype=bool)
    linear = np.array([is_linear(name) for name in names], dtype=bool)
    cycle = table["cycle"].to_numpy(dtype=float)
    late = np.log(np.where(np.isnan(cycle), 1.0, np.maximum(cycle, 1.0)))
    records = [{str(key): cell for key, cell in record.items()} for record in table.to_dict("records")]
    error = [_error_sd(record, name) for record, name in zip(records, names, strict=True)]
    return Terms(
        u=discrepancy.inputs(rows.inputs)[torch.as_tensor(rows.design[some])],
        level=_floats(capacity),
        slope=_floats(late * (capacity | retention)),
        measured_sd=_floats(np.array(error)),
        row=_floats(capacity | retention),
        state=_floats(~(capacity | retention | linear)),
    )


def _error_sd(record: dict[str, object], name: str) -> float:
    measured = measurement_sd(record, float(str(record["value"])), name)
    return math.hypot(measured, linear_sd(name)) if is_linear(name) else measured


def _floats(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values.astype(float))


@dataclass(frozen=True)
class Likelihood:
    """Residuals of some rows.

    Attributes:
        rows: what is compared.
        equal: rows compared by their value, in the order of `terms`.
        censored: bounds and yes-or-no rows.
        terms: what the equal rows ask of the discrepancy.
        target: transformed value of each equal row.
        bound: transformed bound of each censored row.
        side: +1 where the model should lie above it, -1 below.
        shift: full less quick of each row of `rows` on the scale of `transform`, where known; 0 before.
    """

    rows: Rows
    equal: np.ndarray
    censored: np.ndarray
    terms: Terms
    target: Tensor
    bound: Tensor
    side: Tensor
    shift: Tensor

    def scaled(self, predicted: Tensor) -> Tensor:
        """Predictions on the scale of comparison, (*draws, r)."""
        names = self.rows.table["observable"].tolist()
        return torch.stack([transform(predicted[..., k], names[k]) for k in range(len(names))], -1)

    def shifted_by(self, full: Tensor, quick: Tensor) -> Likelihood:
        """The same, with quick predictions corrected by what full says at one point: full gives values, quick slopes."""
        shift = torch.nan_to_num(self.scaled(full) - self.scaled(quick)).clamp(-_MOST_SHIFT, _MOST_SHIFT)
        return replace(self, shift=shift)

    def residuals(self, predicted: Tensor) -> Tensor:
        """Residuals of (*draws, r) predictions: equal rows first, then censored, (*draws, equal + censored)."""
        scaled = self.scaled(predicted) + self.shift
        off = scaled[..., self.equal] - self.target
        margin = (scaled[..., self.censored] - self.bound) * self.side / _CENSOR_SD
        return torch.cat([off, torch.sqrt(-2 * torch.special.log_ndtr(margin) + _TINY)], -1)

    @property
    def mix(self) -> np.ndarray:
        """Mix of each residual."""
        return np.asarray(self.rows.mix[np.concatenate([self.equal, self.censored])])

    def root(self, sizes: Sizes, *, keep: np.ndarray | None = None) -> Tensor:
        """Root of the precision of the residuals, (equal + censored,) * 2: zero where `keep` is false."""
        kept = torch.ones(len(self.mix), dtype=torch.bool) if keep is None else torch.as_tensor(keep)
        whole = torch.diag(kept.to(torch.float64))
        seen = torch.nonzero(kept[: len(self.equal)])[:, 0]
        covariance = self.terms.take(seen).covariance(sizes)
        eye = torch.eye(len(seen), dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), eye, upper=False)
        whole[seen[:, None], seen[None, :]] = inverse
        return whole


def build(rows: Rows, use: np.ndarray) -> Likelihood:
    """Likelihood of the rows where `use` is true and which the model knows."""
    table = rows.table
    names, relation = table["observable"].astype(str), table["relation"].astype(str)
    binary = names.isin(list(THRESHOLDS)).to_numpy()
    bounded = relation.isin([">=", "<="]).to_numpy()
    known = use & rows.modelled
    equal = np.flatnonzero(known & ~binary & ~bounded)
    censored = np.flatnonzero(known & (binary | bounded))
    bound, side = [], []
    for row in censored:
        name, value = names[row], float(table["value"][row])
        level = THRESHOLDS[name][1] if binary[row] else value
        bound.append(transform(torch.tensor(level, dtype=torch.float64), name))
        above = value > 0.5 if binary[row] else relation[row] == ">="
        side.append(1.0 if above else -1.0)
    values = [transform(torch.tensor(float(table["value"][k]), dtype=torch.float64), names[k]) for k in equal]
    return Likelihood(
        rows=rows,
        equal=equal,
        censored=censored,
        terms=terms(rows, equal),
        target=_stack(values),
        bound=_stack(bound),
        side=torch.tensor(side, dtype=torch.float64),
        shift=torch.zeros(len(table), dtype=torch.float64),
    )


def _stack(values: list[Tensor]) -> Tensor:
    return torch.stack(values) if values else torch.zeros(0, dtype=torch.float64)
