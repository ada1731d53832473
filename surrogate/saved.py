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
NEEDED: Final = ("space", "goal", "outcome_constraints", "seed", "risk", "needs", "x", "values", "se", "pending")
"""What every file of that version holds."""


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; a file of that name is replaced only when the new one is whole.

    Raises:
        Refusal: the place cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    text = json.dumps({"format": FORMAT, **state}, allow_nan=False, default=_plain)
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise Refusal(f"{path}: cannot be written ({error.strerror}); give a file in a folder that exists") from error


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own: bounds and forbidden combinations may hold such."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be saved as JSON")


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        Refusal: no such file, or none that this version wrote.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refusal(f"{path}: no such file") from error
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: is not a file that Optimiser.save wrote") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise Refusal(f"{path}: is not a file that this version's Optimiser.save wrote")
    lacking = [name for name in NEEDED if name not in state]
    if lacking:
        raise Refusal(f"{path}: lacks {', '.join(lacking)}; it is not whole as Optimiser.save wrote it")
    if not len(state["x"]) == len(state["values"]) == len(state["se"]):
        raise Refusal(
            f"{path}: holds {len(state['x'])} recipes, {len(state['values'])} values and {len(state['se'])} errors"
        )
    return state


def without_nan(values: npt.NDArray[np.float64]) -> list[list[float | None]]:
    """Return the rows of an array with None for NaN, which JSON does not know."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
