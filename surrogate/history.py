"""What has been told: recipes, their measured outcomes with standard errors, and what is still under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.given import array_of
from campaign.names import nearest
from campaign.space import SearchSpace

Floats = npt.NDArray[np.float64]
LARGEST = 1e100
"""Results beyond this size are no measurements, and their squares would overflow."""
SAME_RECIPE = 1e-6
"""Encoded recipes closer than this in every parameter are one recipe."""
ROUNDING = 1.0 + 1e-6
"""What a covariance may be off by, as a factor."""
MEANT_RECIPE = 0.05
"""A told recipe this close to a pending one (share of each range) is taken as what became of it."""


@dataclass(frozen=True)
class Common:
    """Errors that results told together have in common."""

    first: int
    """Row of the first of them."""
    covariance: Floats
    """outcomes x n x n."""


@dataclass(frozen=True)
class History:
    """All results so far, one row each; a repeated recipe is a replicate."""

    x: Floats
    """n x p encoded recipes."""
    values: Floats
    """n x outcomes; NaN = failed (or, with several outcomes, not measured)."""
    se: Floats
    """n x outcomes; NaN = not given."""
    pending: Floats
    """m x p encoded recipes that are under way."""
    common: tuple[Common, ...] = ()
    """Errors that results have in common, one entry a telling that had any."""

    @classmethod
    def empty(cls, n_parameters: int, n_outcomes: int) -> Self:
        """Return a history without results."""
        return cls(
            np.zeros((0, n_parameters)),
            np.zeros((0, n_outcomes)),
            np.zeros((0, n_outcomes)),
            np.zeros((0, n_parameters)),
        )

    def told(self, x: Floats, values: Floats, se: Floats, common: Floats | None = None) -> Self:
        """Return the history with further results; what they answer is no longer pending.

        Args:
            x: n x p encoded recipes.
            values: n x outcomes.
            se: n x outcomes.
            common: outcomes x n x n covariances of the errors that these results have in common, if any.
        """
        left = self.pending
        for recipe in x:
            left = _without(left, recipe)
        shared = self.common if common is None else (*self.common, Common(len(self.x), common))
        return replace(
            self,
            x=np.vstack([self.x, x]),
            values=np.vstack([self.values, values]),
            se=np.vstack([self.se, se]),
            pending=left,
            common=shared,
        )

    def covariance(self, rows: npt.NDArray[np.intp], outcome: int) -> Floats | None:
        """Return the covariance of the errors that some results of an outcome have in common; None where none have."""
        if not self.common:
            return None
        whole = np.zeros((len(self.x), len(self.x)))
        for told in self.common:
            last = told.first + told.covariance.shape[1]
            whole[told.first : last, told.first : last] = told.covariance[outcome]
        return whole[np.ix_(rows, rows)]

    def waiting(self, x: Floats) -> Self:
        """Return the history with further pending recipes; one that already is pending counts once."""
        new = [row for row in x if not _is_in(row, self.pending)]
        pending = np.vstack([self.pending, *new]) if new else self.pending
        return replace(self, pending=pending)

    def withdrawn(self, x: Floats) -> Self:
        """Return the history without these pending recipes."""
        keep = [row for row in self.pending if not _is_in(row, x)]
        pending = np.stack(keep) if keep else self.pending[:0]
        return replace(self, pending=pending)

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Which results are failures: nothing measured at all."""
        return np.asarray(np.isnan(self.values).all(axis=1), dtype=bool)


def _is_in(row: Floats, rows: Floats) -> bool:
    return bool(len(rows) and (np.abs(rows - row).max(axis=1) < SAME_RECIPE).any())


def _without(pending: Floats, recipe: Floats) -> Floats:
    if not len(pending):
        return pending
    distance = np.abs(pending - recipe).max(axis=1)
    nearest_row = int(distance.argmin())
    return np.delete(pending, nearest_row, axis=0) if distance[nearest_row] <= MEANT_RECIPE else pending


def read_values(values: Any, outcomes: Sequence[str], index: pd.Index) -> tuple[Floats, Floats]:
    """Read told values into n x outcomes values and standard errors.

    Args:
        values: a Series or sequence of n numbers, or a DataFrame with `value` and `se` (one outcome), or with one
            column an outcome and optionally `<outcome>_se`.
        outcomes: names of the outcomes that are modelled.
        index: row labels of the recipes; values with the same labels in another order are put in order.

    Raises:
        Refusal: wrong length, text, infinite or huge values, negative standard errors, missing columns.
    """
    n = len(index)
    table = _as_table(values, outcomes, n)
    if len(table) != n:
        raise Refusal(f"{n} recipes but {len(table)} values: there must be one value a recipe")
    same_labels = table.index.is_unique and index.is_unique and set(table.index) == set(index)
    table = table.loc[index] if same_labels else table.set_axis(index)
    read = np.column_stack([_numbers(table[name], name) for name in outcomes]) if outcomes else np.zeros((n, 0))
    errors = np.full((n, len(outcomes)), np.nan)
    for j, name in enumerate(outcomes):
        column = f"{name}_se"
        if column in table:
            errors[:, j] = _numbers(table[column], column)
    if (errors < 0).any():
        row = index[int(np.argwhere(errors < 0)[0, 0])]
        raise Refusal(f"row {row}: a standard error is negative; it must be 0 or more")
    return read, errors


def read_common(given: Any, outcomes: Sequence[str], se: Floats) -> Floats | None:
    """Read the covariance of errors that n results have in common into outcomes x n x n.

    Args:
        given: n x n for one outcome, or a mapping of outcome to it (others have none); None for none at all.
        outcomes: names of the outcomes that are modelled.
        se: n x outcomes standard errors, which these errors are part of.

    Raises:
        Refusal: another shape, no covariance, or more of it than the standard errors hold.
    """
    if given is None or (isinstance(given, Mapping) and not given):
        return None
    by_name = given if isinstance(given, Mapping) else {outcomes[0]: given}
    if not isinstance(given, Mapping) and len(outcomes) > 1:
        raise Refusal(
            f"several outcomes are modelled: hand common errors as a mapping, e.g. {{{outcomes[0]!r}: matrix}}"
        )
    n = len(se)
    read = np.zeros((len(outcomes), n, n))
    for name, matrix in by_name.items():
        if name not in outcomes:
            raise Refusal(f"common errors: {name!r} is no outcome that is modelled; {nearest(str(name), outcomes)}")
        j = list(outcomes).index(name)
        try:
            square = array_of(matrix).astype(float)
        except (ValueError, TypeError) as error:
            raise Refusal(f"common errors of {name}: {n} x {n} numbers are wanted, not {str(matrix)[:40]!r}") from error
        if square.shape != (n, n):
            raise Refusal(f"common errors of {name}: shape {square.shape} for {n} results; right is ({n}, {n})")
        slight = (ROUNDING - 1.0) * np.abs(square).max(initial=0.0)
        if not np.isfinite(square).all() or (np.abs(square - square.T) > slight).any():
            raise Refusal(f"common errors of {name}: a covariance is symmetric and finite, this matrix is not")
        square = 0.5 * (square + square.T)
        if n and np.linalg.eigvalsh(square)[0] < -n * slight:
            raise Refusal(
                f"common errors of {name}: no errors have this covariance, as some sum of them would vary by less than 0"
            )
        share = np.diagonal(square)
        beyond = (share < 0) | (share > ROUNDING * se[:, j] ** 2) | (np.isnan(se[:, j]) & (share > 0))
        if beyond.any():
            row = int(np.argmax(beyond))
            raise Refusal(
                f"common errors of {name}: result {row + 1} has a common variance of {share[row]:.3g} and a standard error of "
                f"{se[row, j]:.3g}; the standard error must be given and hold the common error"
            )
        read[j] = square
    return read


def _as_table(values: Any, outcomes: Sequence[str], n: int) -> pd.DataFrame:
    if isinstance(values, dict):
        try:
            values = pd.DataFrame(values)
        except (ValueError, TypeError) as error:
            raise Refusal(f"values: each column must be a list of {n} numbers, one a recipe ({error})") from error
    if isinstance(values, pd.DataFrame):
        return _named(values, outcomes)
    if len(outcomes) != 1:
        raise Refusal(f"several outcomes are modelled: tell a DataFrame with columns {', '.join(outcomes)}")
    if isinstance(values, pd.Series):
        return values.to_frame(outcomes[0])
    try:
        values = array_of(values) if hasattr(values, "__array__") else values
        depth = np.ndim(values)
    except (ValueError, RuntimeError):  # lists of several lengths, tensors that want their gradient
        depth = 2
    if depth == 0:
        values = [values]
    if depth > 1:
        raise Refusal(f"values must be one number a recipe ({n} of them), or a DataFrame with columns value and se")
    return pd.DataFrame({outcomes[0]: list(values)})


def _named(table: pd.DataFrame, outcomes: Sequence[str]) -> pd.DataFrame:
    if len(outcomes) == 1:
        plain = {"value": outcomes[0], "se": f"{outcomes[0]}_se"}
        renamed = {old: new for old, new in plain.items() if new not in table and old != outcomes[0]}
        table = table.rename(columns=renamed)
    for name in outcomes:
        if name not in table:
            raise Refusal(f"column {name} is missing from the values; {nearest(name, map(str, table.columns))}")
    for name in (*outcomes, *(f"{name}_se" for name in outcomes)):
        if name in table and isinstance(table[name], pd.DataFrame):
            raise Refusal(f"column {name} stands {table[name].shape[1]} times among the values; keep one of them")
    return table


def _numbers(column: pd.Series, name: str) -> Floats:
    try:
        read = pd.to_numeric(column, errors="coerce")
    except TypeError as error:  # tensors or arrays of one number each
        raise Refusal(f"{name}: {column.iloc[0]!r} is not a plain number; tell such") from error
    if column.dtype.kind in "mM":
        raise Refusal(f"{name}: {column.iloc[0]!r} is a time; tell numbers")
    if read.dtype.kind == "c":
        raise Refusal(f"{name}: {read.iloc[0]!r} is a complex number; tell real ones")
    numbers = read.to_numpy(dtype=float)
    for label, given, number in zip(column.index, column.to_numpy(dtype=object), numbers, strict=True):
        if isinstance(given, str) and np.isnan(number):
            hint = f"; write {given.replace(',', '.')}" if given.count(",") == 1 else ""
            raise Refusal(f"row {label}, {name}: {given!r} is not a number{hint}")
        if np.isnan(number) and not (given is None or given is pd.NA or given is pd.NaT or given != given):
            raise Refusal(f"row {label}, {name}: {given!r} is not a number; tell NaN for a failed trial")
        if np.isinf(number):
            raise Refusal(f"row {label}, {name}: the value is infinite; tell NaN for a failed trial")
        if abs(number) > LARGEST:
            raise Refusal(f"row {label}, {name}: {number:.3g} is beyond {LARGEST:.0e}; tell it in a larger unit")
    return numbers


def parse_cells(table: pd.DataFrame, space: SearchSpace) -> Floats:
    """Return n encoded recipes; refuses what cannot have been mixed."""
    return space.encode(table.reset_index(drop=True) if not table.index.is_unique else table)
