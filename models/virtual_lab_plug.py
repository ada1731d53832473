"""Labs by name: ours by level, or one of the user's own from a Python file, all brought to one shape.

`FILE.py:factory` names a function `factory(seed, level)` that returns a `Lab`. The file is run as any Python file is: it is
named on the command line by the person whose machine it is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign import outcome
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.recipe import PUBLISHED_PROTOCOL
from models.virtual_lab import Best, Cell, Cycles, Lab, Level, Question, VirtualLab

Floats = npt.NDArray[np.float64]
Factory = Callable[[int, str], Lab]
REPEATS = 25
"""Mixes whose median stands for the truth of a lab that does not tell it."""
DISCHARGE, CHARGE = "discharge_areal_capacity_mAh_cm2", "charge_areal_capacity_mAh_cm2"


def factory_from(text: str) -> Factory:
    """Return the factory that `FILE.py:factory` names.

    Raises:
        Refusal: no such file or function, or the file does not run.
    """
    name, colon, function = text.rpartition(":")
    path = Path(name)
    if not colon or not function.isidentifier():
        raise Refusal(f"--lab {text}: must read FILE.py:factory, a file and the function in it that makes a lab")
    if not path.is_file():
        raise Refusal(f"--lab {text}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"mixwright_lab_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Refusal(f"--lab {text}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look themselves up here
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, NameError, AttributeError, OSError) as fault:
        raise Refusal(f"--lab {text}: {path} does not run: {type(fault).__name__}: {fault}") from fault
    found = getattr(module, function, None)
    if not callable(found):
        raise Refusal(f"--lab {text}: {path} has no function {function}")
    made: Factory = found
    return made


def open_lab(
    seed: int, level: Level, *, question: Question, materials: Materials | None = None, file: str | None = None
) -> OpenLab:
    """Return one of our labs, or one of the user's where `file` (FILE.py:factory) is given.

    Raises:
        Refusal: the user's lab lacks a method, or nothing can be made of its answers.
    """
    if file is None:
        return OpenLab(VirtualLab(seed, level, question=question, materials=materials), question, materials)
    made = factory_from(file)(seed, level)
    absent = [name for name in ("mix", "powder", "cycle", "best") if not callable(getattr(made, name, None))]
    if absent:
        raise Refusal(f"--lab {file}: what it makes has no method {absent[0]}(); a lab has mix, powder, cycle and best")
    return OpenLab(made, question, materials)


@dataclass(frozen=True)
class OpenLab:
    """A lab with its answers brought to one shape, and the campaign's question that is asked of it."""

    lab: Lab
    question: Question
    materials: Materials | None = None

    def mix(self, recipe: Mapping[str, Any], *, day: float, label: str) -> Any:
        """Mix one recipe of the space; `label` tells batches apart."""
        design = self.question.designs(pd.DataFrame([dict(recipe)])).iloc[0]
        full = {str(name): value for name, value in design.items()}
        own = {name: full.pop(name) for name in _RECIPE if name in full}
        return self.lab.mix(own, {**full, "mix": label}, day)

    def powder(self, mix: Any) -> dict[str, float]:
        """Powder tests of a mix."""
        return {str(name): float(value) for name, value in self.lab.powder(mix).items()}

    def cycle(self, mix: Any, n: int, *, cell: int = 1) -> Cycles:
        """Cycles 1 to n of a cell of a mix, or fewer where it died."""
        return read_cycles(self.lab.cycle(Cell(mix, cell), n))

    @cached_property
    def _found(self) -> Best:
        given = self.lab.best()
        if isinstance(given, Best):
            return given
        if isinstance(given, Mapping):
            return Best(float(given["value"]), given.get("recipe", {}))
        return Best(float(given))

    def best(self) -> Best:
        """The noise-free best."""
        return self._found

    def measured(self, recipe: Mapping[str, Any], cycles: Cycles) -> float:
        """The objective as a record shows it; NaN where the record does not reach so far."""
        designs = self.question.designs(pd.DataFrame([dict(recipe)]))
        return float(self.derived(designs, [cycles])[self.question.objective.outcome].iloc[0])

    def derived(self, designs: pd.DataFrame, records: list[Cycles]) -> pd.DataFrame:
        """Outcomes of n designs with their records: the objective and what is bounded, NaN where a record ends before."""
        from campaign import materials as tables

        cycles = sorted({n for n in map(outcome.cycle_of, self.question.outcomes) if n}) or [1]
        long = pd.concat([table_of(record, label) for label, record in zip(designs.index, records, strict=True)])
        found = outcome.derive(long, designs, self.materials or tables.load(), cycles=cycles)
        return found.reindex(columns=self.question.outcomes)

    def truth(self, recipes: pd.DataFrame) -> Floats:
        """Noise-free objective of n recipes: told by the lab, or the median of repeated mixes."""
        told = getattr(self.lab, "truth", None)
        if callable(told):
            return np.asarray(told(recipes), dtype=float)
        return self._median(recipes)[self.question.objective.outcome].to_numpy(float)

    def admitted(self, recipes: pd.DataFrame) -> Floats:
        """As `truth`, NaN where a bound on an outcome is not kept."""
        if not self.question.bounds:
            return self.truth(recipes)
        told = getattr(self.lab, "admitted", None)
        if callable(told):
            return np.asarray(told(recipes), dtype=float)
        return np.where(self.question.kept(self._median(recipes)), self.truth(recipes), np.nan)

    def _median(self, recipes: pd.DataFrame) -> pd.DataFrame:
        """Medians of each recipe's outcomes over repeated mixes; NaN where most cells die before."""
        n = max([c for c in map(outcome.cycle_of, self.question.outcomes) if c] or [self._planned])
        rows = []
        for recipe in recipes.to_dict("records"):
            designs = self.question.designs(pd.DataFrame([recipe] * REPEATS))
            records = [self.cycle(self.mix(_named(recipe), day=0.0, label=f"truth {k}"), n) for k in range(REPEATS)]
            found = self.derived(designs, records)
            rows.append(found.median().where(found.notna().mean() >= 0.5))
        return pd.DataFrame(rows).reset_index(drop=True)

    @property
    def _planned(self) -> int:
        return int(self.question.conditions.get("cycles", PUBLISHED_PROTOCOL["cycles"]))


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


_RECIPE = (
    "speed_rpm",
    "time_h",
    "active",
    "active_wt_pct",
    "sse",
    "sse_wt_pct",
    "carbon",
    "carbon_wt_pct",
    "premill_h",
    "premill_speed_rpm",
    "heat_C",
    "heat_h",
)


def table_of(record: Cycles, label: Any) -> pd.DataFrame:
    """A record as rows of the long cycling table."""
    n = len(record.discharge_mAh_cm2)
    return pd.DataFrame(
        {
            "design": [label] * n,
            "cycle": np.arange(1, n + 1),
            DISCHARGE: record.discharge_mAh_cm2,
            CHARGE: record.charge_mAh_cm2,
        }
    )


def read_cycles(answer: Any) -> Cycles:
    """Bring what a lab's `cycle` returned to one shape.

    Raises:
        Refusal: nothing can be made of it.
    """
    if isinstance(answer, Cycles):
        return answer
    if isinstance(answer, Mapping | pd.DataFrame) and DISCHARGE in answer and "hours" in answer:
        discharge, hours = answer[DISCHARGE], answer["hours"]
        charge = answer[CHARGE] if CHARGE in answer else discharge
    elif isinstance(answer, tuple | list) and len(answer) == 2:
        discharge, hours = answer
        charge = discharge
    else:
        raise Refusal(
            f"a lab's cycle() gave a {type(answer).__name__}; right is Cycles, a table with {DISCHARGE} and hours, or a pair "
            "(capacities, hours)"
        )
    columns = [np.asarray(column, dtype=float).ravel() for column in (discharge, charge, hours)]
    dead = np.flatnonzero(~np.isfinite(columns[0]))
    end = int(dead[0]) if len(dead) else len(columns[0])
    return Cycles(*(column[:end] for column in columns))


def one_thread() -> None:
    """Keep torch to one thread in this process: labs are played in parallel processes."""
    import torch

    torch.set_num_threads(1)
