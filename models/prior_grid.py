"""An ensemble of simulators asked once all over a space, and interpolated from then on.

A chooser asks its prior about thousands of recipes a proposal, a rehearsal about hundreds of thousands; ln of each draw is
smooth in the recipe, so it is solved once on a grid (every combination of names by itself) and interpolated by cubic splines:
between the nodes a linear one is 4.5 % low where the outcome is high, and proposals then gather on the nodes (splines: 1.2 %).
With more numeric parameters than a grid has axes the recipes asked are scattered (`models.prior_scatter`).
What was asked can be kept in a file, so that the next command need not ask again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.interpolate import NdBSpline, make_interp_spline

from campaign.errors import Refusal
from campaign.parameter import Category
from campaign.space import SearchSpace
from models.prior_scatter import SMALLEST, Scatter

Floats = npt.NDArray[np.float64]
PriorFunction = Callable[[pd.DataFrame], Floats]
Table = dict[str, Floats]
"""Outcome to draws x n values."""
NODES = {1: 65, 2: 25, 3: 12}
"""Nodes an axis, by the number of axes."""
MOST_COMBINATIONS = 24
PROBES = 24
"""Recipes by whose values what is kept is told to be of this very ensemble."""
_SAME = 1e-6


class Asked(Protocol):
    """Some outcomes of n recipes, draws x n each; the same draws for any recipes and outcomes."""

    def __call__(self, recipes: pd.DataFrame, outcomes: Sequence[str], /) -> Table:
        """Ask."""


@dataclass(frozen=True)
class Ensemble:
    """Simulators as the product of what costs and is smooth in the recipe with what is cheap, and may be rough."""

    smooth: Asked
    factor: Asked | None = None

    def __call__(self, recipes: pd.DataFrame, outcomes: Sequence[str]) -> Table:
        """Return the ensemble itself."""
        found = self.smooth(recipes, outcomes)
        if self.factor is None:
            return found
        factors = self.factor(recipes, outcomes)
        return {name: found[name] * factors[name] for name in outcomes}


class _Kind(Protocol):
    """A way to put an ensemble into arrays (a tuple of recipes for each combination of names) and to read it off them."""

    @property
    def name(self) -> str: ...
    @property
    def nodes(self) -> Sequence[pd.DataFrame]: ...
    def asked(self, ensemble: Ensemble) -> Asked: ...
    def fit(self, values: Sequence[Floats]) -> dict[str, Floats]: ...
    def holds(self, arrays: Mapping[str, Floats]) -> bool: ...
    def function(self, arrays: Mapping[str, Floats], ensemble: Ensemble, outcome: str) -> PriorFunction: ...
    def error(self, arrays: Mapping[str, Floats]) -> float | None: ...


def on_grid(
    space: SearchSpace,
    exact: PriorFunction,
    *,
    keep: Path | None = None,
    before: Callable[[int], None] = lambda recipes: None,
) -> PriorFunction:
    """Return an ensemble as an interpolated function of recipes (draws x n); arguments as of `tabulated`."""

    def asked(recipes: pd.DataFrame, outcomes: Sequence[str]) -> Table:
        return {name: exact(recipes) for name in outcomes}

    return tabulated(space, Ensemble(asked), [""], keep=keep, before=before)[""]


def tabulated(
    space: SearchSpace,
    ensemble: Ensemble,
    outcomes: Sequence[str],
    *,
    keep: Path | None = None,
    before: Callable[[int], None] = lambda recipes: None,
    after: Callable[[str, float], None] = lambda outcome, error: None,
) -> dict[str, PriorFunction]:
    """Return outcomes of an ensemble as interpolated functions of recipes (draws x n); itself where names are too many.

    Args:
        space: whose recipes will be asked for; outside its bounds the value at the bound is given.
        ensemble: values above 0.
        outcomes: which; they are asked for together.
        keep: folder for what was asked, with a folder for each outcome. What is found there is used where the ensemble
            still answers `PROBES` recipes as it did when it was made; what is damaged or of another ensemble is made anew.
        before: called with the number of recipes that will be asked for, before they are.
        after: called with each outcome that was made and, where it was scattered, the error of what lies between: root mean
            square over recipes and draws, as a share of the spread over draws.

    Raises:
        Refusal: the folder cannot be written.
    """
    kind = _kind_of(space)
    if kind is None:
        return {name: partial(_one, ensemble, name) for name in outcomes}
    files = {name: None if keep is None else keep / name for name in outcomes}
    arrays: dict[str, Mapping[str, Floats]] = {}
    probes: Table = {}
    if keep is not None:
        probes = ensemble(space.sample(PROBES, seed=1), outcomes)
        for name, folder in files.items():
            assert folder is not None
            found = _read(_path(folder, space, kind, probes[name]))
            if _is_of(found, kind, probes[name]):
                arrays[name] = found
    missing = [name for name in outcomes if name not in arrays]
    if missing:
        arrays |= _make(space, kind, ensemble, missing, {name: files[name] for name in missing}, probes, before, after)
    return {name: kind.function(arrays[name], ensemble, name) for name in outcomes}


def _one(ensemble: Ensemble, outcome: str, recipes: pd.DataFrame) -> Floats:
    return ensemble(recipes, [outcome])[outcome]


def _kind_of(space: SearchSpace) -> _Kind | None:
    if len(space.numeric) in NODES:
        return _Grid(space) if space.n_combinations <= MOST_COMBINATIONS else None
    return Scatter.over(space) if space.numeric else None


def _make(
    space: SearchSpace,
    kind: _Kind,
    ensemble: Ensemble,
    outcomes: Sequence[str],
    folders: Mapping[str, Path | None],
    probes: Table,
    before: Callable[[int], None],
    after: Callable[[str, float], None],
) -> dict[str, Mapping[str, Floats]]:
    """Ask the ensemble, and put what it said into the folders."""
    drafts: dict[str, Path] = {}
    for name, folder in folders.items():
        if folder is None:
            continue
        draft = _path(folder, space, kind, probes[name]).with_suffix(f".{os.getpid()}")
        try:  # whether the place can be written is seen before the ensemble is asked for a minute
            folder.mkdir(parents=True, exist_ok=True)
            draft.touch()
        except OSError as error:
            _drop(drafts)
            raise _cannot_keep(folder, error) from None
        drafts[name] = draft
    try:
        before(sum(len(recipes) for recipes in kind.nodes))
        asked = kind.asked(ensemble)
        tables = [asked(recipes, outcomes) for recipes in kind.nodes]
        made: dict[str, Mapping[str, Floats]] = {}
        for name in outcomes:
            arrays = kind.fit([table.pop(name) for table in tables])
            made[name] = arrays
            if name in drafts:
                draft = drafts[name]
                try:
                    save_file({**arrays, "probes": np.ascontiguousarray(probes[name])}, draft)
                    draft.replace(draft.with_suffix(".safetensors"))
                except (OSError, SafetensorError) as error:
                    raise _cannot_keep(draft.parent, error) from None
            error_of = kind.error(arrays)
            if error_of is not None:
                after(name, error_of)
    finally:
        _drop(drafts)
    return made


def _drop(drafts: Mapping[str, Path]) -> None:
    for draft in drafts.values():
        draft.unlink(missing_ok=True)


def _path(folder: Path, space: SearchSpace, kind: _Kind, probes: Floats) -> Path:
    """File of a space; `probes` inside tell the ensemble: its physics, posterior, seed and materials."""
    about: list[Any] = [space.to_dict(), list(probes.shape)]
    if kind.name:
        about.append(kind.name)
    question = json.dumps(about, sort_keys=True, default=str)
    return folder / f"{hashlib.sha256(question.encode()).hexdigest()[:16]}.safetensors"


def _is_of(found: Mapping[str, Floats], kind: _Kind, probes: Floats) -> bool:
    """Whether what was kept is whole and of an ensemble that answers so."""
    if "probes" not in found or found["probes"].shape != probes.shape or not kind.holds(found):
        return False
    return bool(np.allclose(found["probes"], probes, rtol=_SAME, atol=0.0))


def _cannot_keep(folder: Path, error: Exception) -> Refusal:
    return Refusal(f"{folder}: the prior cannot be kept there ({error}); free some room, or set another data directory")


def _read(path: Path) -> Mapping[str, Floats]:
    if not path.exists():
        return {}
    try:
        return load_file(path)
    except SafetensorError:  # cut off or damaged: nothing but time is lost, it is made anew
        return {}


class _Grid:
    """Nodes on a grid, and cubic splines through ln of the whole ensemble."""

    name = ""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._combinations = list(itertools.product(*(category.choices for category in space.categories)))

    @property
    def nodes(self) -> Sequence[pd.DataFrame]:
        """Recipes on the grid, the last axis fastest, for each combination of names."""
        numeric = list(self._space.numeric)
        nodes = np.linspace(0.0, 1.0, NODES[len(numeric)])
        points = np.array(list(itertools.product(nodes, repeat=len(numeric))))
        numbers = pd.DataFrame({axis.name: axis.unscale(points[:, i]) for i, axis in enumerate(numeric)})
        return [
            numbers.assign(**{c.name: name for c, name in zip(self._space.categories, combination, strict=True)})[
                list(self._space.names)
            ]
            for combination in self._combinations
        ]

    def asked(self, ensemble: Ensemble) -> Asked:
        """What is asked at the nodes."""
        return ensemble

    def fit(self, values: Sequence[Floats]) -> dict[str, Floats]:
        """Return logs of the ensemble at the nodes: combinations x nodes (once an axis) x draws."""
        n_axes = len(self._space.numeric)
        shape = [NODES[n_axes]] * n_axes
        logs = [np.log(np.maximum(each, SMALLEST)).T.reshape(*shape, -1) for each in values]
        return {"logs": np.ascontiguousarray(np.stack(logs))}

    def holds(self, arrays: Mapping[str, Floats]) -> bool:
        """Whether arrays read from a file are what `fit` gives."""
        return "logs" in arrays

    def error(self, arrays: Mapping[str, Floats]) -> float | None:
        """Unknown."""
        return None

    def function(self, arrays: Mapping[str, Floats], ensemble: Ensemble, outcome: str) -> PriorFunction:
        """Return the interpolated function."""
        space, logs = self._space, arrays["logs"]
        tables = {combination: _spline(values) for combination, values in zip(self._combinations, logs, strict=True)}
        columns = [i for i, p in enumerate(space.parameters) if not isinstance(p, Category)]
        categories = [category.name for category in space.categories]
        draws = logs.shape[-1]

        def interpolated(recipes: pd.DataFrame) -> Floats:
            out = np.empty((draws, len(recipes)))
            units = np.clip(space.encode(recipes), 0.0, None)
            names = list(recipes[categories].itertuples(index=False, name=None)) if categories else [()] * len(recipes)
            for combination in set(names):
                rows = [i for i, own in enumerate(names) if own == combination]
                if combination in tables:
                    out[:, rows] = np.exp(tables[combination](np.clip(units[np.ix_(rows, columns)], 0.0, 1.0))).T
                else:
                    out[:, rows] = _one(ensemble, outcome, recipes.iloc[rows])
            return out

        return interpolated


def _spline(values: Floats) -> NdBSpline:
    """Return the cubic spline through values on a grid (axes with the same nodes, then draws), fitted axis by axis."""
    n_axes = values.ndim - 1
    nodes = np.linspace(0.0, 1.0, len(values))
    knots = make_interp_spline(nodes, nodes).t
    for axis in range(n_axes):
        values = np.moveaxis(make_interp_spline(nodes, values, axis=axis).c, 0, axis)
    return NdBSpline((knots,) * n_axes, np.ascontiguousarray(values), 3)
