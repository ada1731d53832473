"""What may be varied: a `Numeric` parameter within bounds (with a step or a log scale), a `Category` of names."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.given import is_number
from campaign.names import nearest

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Numeric:
    """A number between two bounds; on the unit scale `low` is 0 and `high` is 1."""

    name: str
    low: float
    high: float
    step: float | None = None
    """Settings are low, low + step, …; None means continuous."""
    log: bool = False
    """Whether equal ratios, not equal differences, count as equally far apart."""

    def __post_init__(self) -> None:
        for label, value in (("lower", self.low), ("upper", self.high)):
            if not is_number(value) or not math.isfinite(value):
                raise Refusal(f"{self.name}: the {label} bound {value!r} is not a finite number")
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if self.low > self.high:
            raise Refusal(
                f"{self.name}: bounds are reversed: {self.low:g} is above {self.high:g}; "
                f"write ({self.high:g}, {self.low:g})"
            )
        if self.log and self.low <= 0:
            raise Refusal(f"{self.name}: a log scale needs a lower bound above 0, not {self.low:g}")
        if self.step is not None:
            if not is_number(self.step) or not self.step > 0:
                raise Refusal(f"{self.name}: step {self.step!r} is not a number above 0")
            object.__setattr__(self, "step", float(self.step))

    def to_unit(self, values: Floats) -> Floats:
        """Map n values onto the unit scale; values beyond the bounds land beyond 0 and 1."""
        if self.low == self.high:
            return np.asarray(0.5 + (values - self.low) / max(1.0, abs(self.low)))
        if not self.log:
            return np.asarray((values - self.low) / (self.high - self.low))
        floor = self.low * 1e-3  # a told 0 on a log scale stays finite, far below the bounds
        return np.asarray(np.log(np.maximum(values, floor) / self.low) / math.log(self.high / self.low))

    def from_unit(self, units: Floats) -> Floats:
        """Map n unit-scale values back, clipped to the bounds and snapped to the step."""
        return self.snap(self.unscale(np.clip(units, 0.0, 1.0)))

    def unscale(self, units: Floats) -> Floats:
        """Map n unit-scale values back as they are: the inverse of `to_unit`."""
        if self.low == self.high:
            return np.asarray(self.low + (units - 0.5) * max(1.0, abs(self.low)))
        if self.log:
            return np.asarray(self.low * (self.high / self.low) ** units)
        return np.asarray(self.low + units * (self.high - self.low))

    def snap(self, values: Floats) -> Floats:
        """Return the nearest settings within the bounds."""
        clipped = np.clip(values, self.low, self.high)
        if self.step is None:
            return np.asarray(clipped)
        # 1e-9: (2000 - 400) / 0.1 must count its last step although it rounds to just below.
        last = math.floor((self.high - self.low) / self.step + 1e-9)
        steps = np.clip(np.round((clipped - self.low) / self.step), 0, last)
        return without_dust(self.low + steps * self.step, self.step)

    @property
    def n_settings(self) -> float:
        """How many settings there are: infinite without a step."""
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def settings(self) -> Floats:
        """Return all settings of a parameter that has finitely many."""
        return self.snap(self.low + np.arange(self.n_settings) * (self.step or 0.0))

    def read(self, column: pd.Series) -> Floats:
        """Return a told column as n finite numbers, or refuse with row and column."""
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
        width = self.high - self.low
        beyond = np.maximum(self.low - numbers, numbers - self.high)
        # A little outside is what was really mixed; many times outside is a slip of unit or decimal point.
        far = (beyond > width) & (np.abs(numbers) > 5.0 * max(abs(self.low), abs(self.high)))
        for row in np.flatnonzero(~np.isfinite(numbers) | far).tolist():
            self._refuse(column.index[row], column.iloc[row], numbers[row])
        return numbers

    def _refuse(self, label: Any, given: Any, number: float) -> NoReturn:
        where = f"row {label}, column {self.name}"
        if isinstance(given, str) and math.isnan(number):
            comma = f"; write {given.replace(',', '.')}" if given.count(",") == 1 else ""
            raise Refusal(f"{where}: {given!r} is not a number{comma}")
        if not math.isfinite(number):
            raise Refusal(f"{where}: {given!r} is not a finite number")
        raise Refusal(f"{where}: {number:g} lies far outside {self.low:g} to {self.high:g}; is it in another unit?")


@dataclass(frozen=True)
class Category:
    """A choice among names."""

    name: str
    choices: tuple[str, ...]
    known: tuple[str, ...] = ()
    """Further names that results may come from but that are never proposed (they have descriptors)."""

    def __post_init__(self) -> None:
        if not self.choices:
            raise Refusal(f"{self.name}: there is nothing to choose from; give at least one name")
        for choice in self.choices:
            if not isinstance(choice, str) or not choice.strip():
                raise Refusal(f"{self.name}: {choice!r} is not a name")
        twice = [choice for choice in self.choices if self.choices.count(choice) > 1]
        if twice:
            raise Refusal(f"{self.name}: {twice[0]} stands twice among the choices")
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "known", tuple(name for name in self.known if name not in self.choices))

    @property
    def levels(self) -> tuple[str, ...]:
        """Every name that a result may come from, the proposable ones first."""
        return self.choices + self.known

    def read(self, column: pd.Series) -> npt.NDArray[np.int64]:
        """Return a told column as n indices into `levels`, or refuse with row and nearest right name."""
        index: dict[Any, int] = {name: i for i, name in enumerate(self.levels)}
        # A list or the like is no name and cannot be looked up.
        places = [index.get(given, -1) if isinstance(given, Hashable) else -1 for given in column.tolist()]
        found = np.array(places, dtype=np.int64)
        if (found < 0).any():
            row = int(np.argmin(found))
            given = column.iloc[row]
            where = f"row {column.index[row]}, column {self.name}"
            raise Refusal(f"{where}: {given!r} is not known; {nearest(str(given), index)}")
        return found


Parameter = Numeric | Category


def without_dust(values: Floats, scale: float) -> Floats:
    """Return n values rounded to twelve decimals, which hides the binary dust of 0.1 * 3 from sheets and comparisons.

    Values of a scale under 1e-6 (a diffusion coefficient in m2/s) keep nine decimals of that scale instead.
    """
    if scale >= 1e-6 or scale <= 0:
        return np.asarray(np.round(values, 12))
    decimals = 9 - math.floor(math.log10(scale))
    # Python's own round: numpy's divides by powers of ten that are not exact beyond 1e22.
    return np.array([round(value, decimals) for value in np.asarray(values).tolist()], dtype=float)


def parse_parameter(name: str, given: Any, *, step: float | None = None, known: Sequence[str] = ()) -> Parameter:
    """Read one entry of a space: `(low, high)`, a list of names, or a mapping with low, high, step, log / choices.

    Raises:
        Refusal: anything else.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise Refusal(f"parameter name {name!r} is not a plain name such as speed_rpm")
    if isinstance(given, Numeric | Category):
        return given
    if isinstance(given, Mapping):
        return _parse_mapping(name, given, step=step, known=known)
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray | pd.Series | pd.Index):
        raise Refusal(f"{name}: {given!r} is neither bounds (low, high) nor a list of names")
    items = list(given)
    if items and all(isinstance(item, str) for item in items):
        if step is not None:
            raise Refusal(f"{name}: a step ({step!r}) has no meaning for a choice among names")
        return Category(name, tuple(items), tuple(known))
    if len(items) != 2 or any(isinstance(item, str) for item in items):
        hint = "; write numbers to choose among as texts, e.g. ['1', '2', '3']" if all(map(is_number, items)) else ""
        raise Refusal(f"{name}: {items!r} is neither two bounds (low, high) nor a list of names{hint}")
    return Numeric(name, items[0], items[1], step)


def _parse_mapping(name: str, given: Mapping[str, Any], *, step: float | None, known: Sequence[str]) -> Parameter:
    allowed = ("low", "high", "step", "log", "choices", "known")
    for key in given:
        if key not in allowed:
            raise Refusal(f"{name}: {key!r} is not known; {nearest(str(key), allowed)}")
    if "choices" in given:
        return Category(name, tuple(given["choices"]), tuple(given.get("known", known)))
    if "low" not in given or "high" not in given:
        raise Refusal(f"{name}: needs low and high, or choices")
    log, own = given.get("log", False), given.get("step")
    if not isinstance(log, bool | np.bool_):
        raise Refusal(f"{name}: log is {log!r}; right is true or false")
    return Numeric(name, given["low"], given["high"], step if own is None else own, bool(log))
