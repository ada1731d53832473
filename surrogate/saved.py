"""The file of a saved Optimiser: JSON with the version of its form, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from campaign.errors import Refusal
from campaign.parameter import Category
from campaign.space import SearchSpace
from surrogate.history import LARGEST, Common, History, read_common

FORMAT: Final = 1
"""Version of the saved file."""
NEEDED: Final = ("space", "goal", "outcome_constraints", "seed", "risk", "needs", "x", "values", "se", "pending")
"""What every file of that version holds."""
KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "space": (dict,),
    "goal": (str, dict),
    "outcome_constraints": (list,),
    "risk": (dict,),
    "needs": (list,),
    "x": (list,),
    "values": (list,),
    "se": (list,),
    "pending": (list,),
    "common": (list,),
}
"""What each entry must be; the seed is looked at by Optimiser."""
SPACE: Final[Mapping[str, type]] = {"parameters": dict, "constraints": list, "forbidden": list, "descriptors": dict}
"""What a space must hold."""


_WORDS: Final[Mapping[type, str]] = {str: "text", dict: "mapping", list: "list"}


def path_of(given: Any) -> Path:
    """Return the path of a file.

    Raises:
        Refusal: it names none.
    """
    try:
        path = Path(given)
    except TypeError as error:
        raise Refusal(f"{given!r} is no path of a file; right would be e.g. 'optimiser.json'") from error
    if not path.name or "\0" in str(path):
        raise Refusal(f"{str(given)!r} names no file; right would be e.g. 'optimiser.json'")
    return path


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; a file of that name is replaced only when the new one is whole.

    Raises:
        Refusal: the place cannot be written.
    """
    if path.is_dir():
        raise Refusal(f"{path}: is a folder; give a file in it")
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
    raise Refusal(f"{value!r} in the set-up cannot be saved as JSON; give numbers, texts and lists of them")


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
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path}: is not a file that Optimiser.save wrote") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise Refusal(f"{path}: is not a file that this version's Optimiser.save wrote")
    lacking = [name for name in NEEDED if name not in state]
    if lacking:
        raise Refusal(f"{path}: lacks {', '.join(lacking)}; it is not whole as Optimiser.save wrote it")
    _check_kinds(path, state)
    if not len(state["x"]) == len(state["values"]) == len(state["se"]):
        raise Refusal(
            f"{path}: holds {len(state['x'])} recipes, {len(state['values'])} values and {len(state['se'])} errors"
        )
    return state


def _check_kinds(path: Path, state: Mapping[str, Any]) -> None:
    for name, kinds in KINDS.items():
        if name in state and not isinstance(state[name], kinds):
            raise Refusal(
                f"{path}: {name} is no {' or '.join(_WORDS[kind] for kind in kinds)}; it is not as Optimiser.save wrote it"
            )
    for name, kind in SPACE.items():
        if not isinstance(state["space"].get(name), kind):
            raise Refusal(f"{path}: space holds no {_WORDS[kind]} of {name}; it is not as Optimiser.save wrote it")


def read_history(path: Path, state: Mapping[str, Any], space: SearchSpace, outcomes: Sequence[str]) -> History:
    """Return the history in a state.

    Args:
        path: of the file, to name it.
        state: what `read_state` read.
        space: of the recipes.
        outcomes: names of those that are modelled.

    Raises:
        Refusal: rows of another shape, or cells that nobody can have told.
    """
    shape = len(state["x"]), len(outcomes)
    x = _recipes(path, "x", state["x"], space)
    values = _rows(path, "values", state["values"], shape, gaps=True)
    se = _rows(path, "se", state["se"], shape, gaps=True)
    if (se < 0).any():
        raise Refusal(f"{path}: se holds {se[se < 0][0]:g}; a standard error is 0 or more")
    return History(
        x, values, se, _recipes(path, "pending", state["pending"], space), _common(path, state, outcomes, se)
    )


def _recipes(path: Path, name: str, given: list[Any], space: SearchSpace) -> npt.NDArray[np.float64]:
    x = _rows(path, name, given, (len(given), len(space.parameters)))
    for parameter, column in zip(space.parameters, x.T, strict=True):
        if isinstance(parameter, Category) and not np.isin(np.round(column), np.arange(len(parameter.levels))).all():
            raise Refusal(f"{path}: {name} holds a name of {parameter.name} that the space has not")
    return x


def _common(
    path: Path, state: Mapping[str, Any], outcomes: Sequence[str], se: npt.NDArray[np.float64]
) -> tuple[Common, ...]:
    read = []
    for entry in state.get("common", []):
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list) or not entry[1]:
            raise Refusal(f"{path}: common holds {str(entry)[:40]}, which is no pair of a first row and matrices")
        first, matrices = entry
        size = len(matrices[0]) if isinstance(matrices[0], list) else 0
        if type(first) is not int or not 0 <= first <= len(se) - size:
            raise Refusal(f"{path}: common errors of {size} results from row {first!r} on; there are {len(se)} results")
        checked = _rows(path, "common", matrices, (len(outcomes), size, size), most=LARGEST**2)
        try:
            read_common(dict(zip(outcomes, checked, strict=True)), outcomes, se[first : first + size])
        except Refusal as refusal:
            raise Refusal(f"{path}: {refusal}") from None
        read.append(Common(first, checked))
    return tuple(read)


def _rows(
    path: Path, name: str, given: Any, shape: tuple[int, ...], *, gaps: bool = False, most: float = LARGEST
) -> npt.NDArray[np.float64]:
    """Return saved rows as an array of a shape.

    Args:
        path: of the file, to name it.
        name: of the entry.
        given: what the file holds.
        shape: that it must have.
        gaps: whether null stands for NaN.
        most: size that no number exceeds.

    Raises:
        Refusal: another shape, a text, a number that is not finite or beyond what may be told.
    """
    try:
        cells = np.array(given, dtype=object)
    except ValueError as error:
        raise Refusal(f"{path}: the rows of {name} are not equally long") from error
    if not cells.size and not np.prod(shape):
        return np.zeros(shape)
    if cells.shape != shape:
        raise Refusal(f"{path}: {name} has shape {cells.shape}; right is {shape}")
    for cell in cells.ravel():
        if not (gaps and cell is None) and not _is_number(cell, most):
            raise Refusal(f"{path}: {name} holds {cell!r}, which is no number within ±{most:.0e}")
    return cells.astype(float)


def _is_number(cell: Any, most: float) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) <= most


def without_nan(values: npt.NDArray[np.float64]) -> list[list[float | None]]:
    """Return the rows of an array with None for NaN, which JSON does not know."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
