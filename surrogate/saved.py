"""The file of a saved Optimiser: JSON with the version of its form, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from campaign.errors import Refusal

FORMAT: Final = 1
"""Version of the saved file."""


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; a file of that name is replaced only when the new one is whole."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps({"format": FORMAT, **state}, allow_nan=False), encoding="utf-8")
    draft.replace(path)


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        Refusal: no such file, or none that this version wrote.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refusal(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: is not a file that Optimiser.save wrote") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise Refusal(f"{path}: is not a file that this version's Optimiser.save wrote")
    return state


def without_nan(values: npt.NDArray[np.float64]) -> list[list[float | None]]:
    """Return the rows of an array with None for NaN, which JSON does not know."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
