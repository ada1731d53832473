"""What a caller hands in, read as the list or mapping that it should be; None stands for nothing given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from campaign.errors import Refusal

Item = TypeVar("Item")


def listed(given: Iterable[Item] | None, what: str, right: str) -> tuple[Item, ...]:
    """Return what was handed in as a tuple.

    >>> listed(None, "log", '["time_h"]'), listed(["time_h"], "log", '["time_h"]')
    ((), ('time_h',))

    Raises:
        Refusal: it is no list.
    """
    if given is None:
        return ()
    try:
        return tuple(given)
    except TypeError as error:
        raise Refusal(f"{what}: {_shown(given)} is no list; right would be e.g. {right}") from error


def mapped(given: Any, what: str, right: str) -> dict[Any, Any]:
    """Return what was handed in as a dict of its own.

    >>> mapped(None, "steps", '{"time_h": 0.5}'), mapped({"time_h": 1}, "steps", '{"time_h": 0.5}')
    ({}, {'time_h': 1})

    Raises:
        Refusal: it maps nothing to anything.
    """
    try:
        return dict(given or {})
    except (TypeError, ValueError) as error:
        raise Refusal(f"{what}: {_shown(given)} is no mapping; right would be e.g. {right}") from error


def is_number(given: Any) -> bool:
    """Whether a value is a number; a text or a yes/no, which files and people give, is none."""
    return isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)


def array_of(given: Any) -> npt.NDArray[Any]:
    """Return numbers that were handed in, or that a caller's function gave, as an array; what is masked is NaN.

    >>> array_of(np.ma.array([1, 2], mask=[False, True]))
    array([ 1., nan])

    Raises:
        ValueError: they are no array, or a tensor that still wants its gradient.
    """
    try:
        return np.ma.filled(given.astype(float), np.nan) if isinstance(given, np.ma.MaskedArray) else np.asarray(given)
    except RuntimeError as error:  # torch's
        raise ValueError(" ".join(str(error).split())) from error


def _shown(given: Any) -> str:
    """At most a line of it: a sentence has no room for a table."""
    text = " ".join(repr(given).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
