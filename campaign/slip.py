"""How far off a parameter may be set or weighed: `0.5` in its unit, or `2%` of its value."""

from __future__ import annotations

import math

from campaign.errors import Refusal


def read_slip(given: float | str) -> tuple[float, bool]:
    """Return the size of a slip, and whether it is a share of the value instead of in the parameter's unit.

    >>> read_slip(0.5), read_slip("2%")
    ((0.5, False), (0.02, True))

    Raises:
        Refusal: neither a number of 0 or more nor such a percentage.
    """
    text = str(given).strip()
    try:
        size = float(text.removesuffix("%"))
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise Refusal(
            f"{given!r} must read as 0.5, a number of 0 or more in the parameter's unit, or as 2%, a percentage of its value"
        )
    return (size / 100.0, True) if text.endswith("%") else (size, False)
