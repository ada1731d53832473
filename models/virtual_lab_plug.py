"""Labs by name: ours by level, or one of the user's own from a Python file, all brought to one shape.

`FILE.py:factory` names a function `factory(seed, level)` that returns a `Lab`. The file is run as any Python file is: it is
named on the command line by the person whose machine it is. Its code is a stranger's: whatever it raises, and every answer
that cannot be right, is refused with a sentence that names file and method, as a rehearsal of nonsense looks like any other.
"""

from __future__ import annotations

import importlib.util
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
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
BEATEN_BY, BEATEN_SHARE = 0.02, 0.88
"""A recipe beats a lab's best where it gives more by this share of it, told so by the lab, or by 22 of 25 mixes: of a recipe
whose median is right at the limit chance alone lets 22 do so in fewer than 1 of 10 000 cases, however wide the noise."""
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
    _call(spec.loader.exec_module, module, name=text, failed=f"{path} does not run")
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
        Refusal: the user's factory fails, or its lab lacks a method.
    """
    if file is None:
        return OpenLab(VirtualLab(seed, level, question=question, materials=materials), question, materials)
    failed = "the factory, called as factory(seed, level), failed"
    made = _call(factory_from(file), seed, level, name=file, failed=failed)
    absent = [name for name in ("mix", "powder", "cycle", "best") if not callable(getattr(made, name, None))]
    if absent:
        raise Refusal(f"--lab {file}: what it makes has no method {absent[0]}(); a lab has mix, powder, cycle and best")
    return OpenLab(made, question, materials, file)


def _call(asked: Callable[..., Any], *given: Any, name: str, failed: str) -> Any:
    """Call a stranger's code; `name` is its FILE.py:factory, `failed` begins the sentence where it raises.

    Raises:
        Refusal: it raised; the sentence holds what, and the line of the file.
    """
    path = Path(name.rpartition(":")[0]).resolve()
    try:
        with _as_script(path):
            return asked(*given)
    # Here alone every exception is caught: a stranger's code may raise any, which is news for its author and no fault of ours.
    # A script's sys.exit() is among them, as it would end the rehearsal without a word.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path]
        where = f" (line {lines[-1]})" if lines else ""
        said = " ".join(str(error).split())  # one sentence, however many lines the message has
        raise Refusal(f"--lab {name}: {failed}: {type(error).__name__}{': ' * bool(said)}{said}{where}") from error


@contextmanager
def _as_script(path: Path) -> Iterator[None]:
    """As `python FILE.py` runs it, modules beside it are found; what it prints goes to stderr, as stdout holds our results."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


@dataclass(frozen=True)
class OpenLab:
    """A lab with its answers brought to one shape, and the campaign's question that is asked of it.

    Every answer is checked; each method raises `Refusal` where the lab's own raises or gives what cannot be right.

    Attributes:
        lab: ours or a user's.
        question: what the campaign asks.
        materials: for deriving outcomes; None is our tables.
        file: FILE.py:factory of a user's lab; None where it is ours, whose exceptions are faults of ours and shown as such.
    """

    lab: Lab
    question: Question
    materials: Materials | None = None
    file: str | None = None

    def mix(self, recipe: Mapping[str, Any], *, day: float, label: str) -> Any:
        """Mix one recipe of the space; `label` tells batches apart."""
        design = self.question.designs(pd.DataFrame([dict(recipe)])).iloc[0]
        full = {str(name): value for name, value in design.items()}
        own = {name: full.pop(name) for name in _RECIPE if name in full}
        return self._ask("mix", own, {**full, "mix": label}, day)

    def powder(self, mix: Any) -> dict[str, float]:
        """Powder tests of a mix; what was not measured (NaN) is left out."""
        return read_powder(self._ask("powder", mix), self._where("powder"))

    def cycle(self, mix: Any, n: int, *, cell: int = 1) -> Cycles:
        """Cycles 1 to n of a cell of a mix, or fewer where it died."""
        return read_cycles(self._ask("cycle", Cell(mix, cell), n), n, self._where("cycle"))

    def _ask(self, method: str, *given: Any) -> Any:
        asked = getattr(self.lab, method)
        if self.file is None:
            return asked(*given)
        return _call(asked, *given, name=self.file, failed=f"{method}() failed")

    def _where(self, method: str) -> str:
        """Beginning of a sentence about what a method gave."""
        return f"{type(self.lab).__name__}: {method}()" if self.file is None else f"--lab {self.file}: {method}()"

    @cached_property
    def _found(self) -> Best:
        return read_best(self._ask("best"), self._where("best"))

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
        """Noise-free objective of n recipes, (n,): told by the lab, or the median of repeated mixes."""
        if self._tells("truth"):
            return self._told("truth", recipes)
        return _medians(self._mixes(recipes))[self.question.objective.outcome].to_numpy(float)

    def admitted(self, recipes: pd.DataFrame) -> Floats:
        """As `truth`, NaN where a bound on an outcome is not kept.

        Raises:
            Refusal: besides what every method refuses, a recipe that beats the best of a user's lab.
        """
        told = "admitted" if self.question.bounds else "truth"
        if self._tells(told):
            values = self._told(told, recipes)
            self._check_best(recipes, values, values[:, None], by=f"{told}()")
            return values
        mixes, name, kept = self._mixes(recipes), self.question.objective.outcome, self.question.kept
        medians = _medians(mixes)
        truth, each = medians[name].to_numpy(float), np.stack([found[name].to_numpy(float) for found in mixes])
        if self._tells("truth"):  # then the mixes show the bounds alone
            truth = self._told("truth", recipes)
            each = np.broadcast_to(truth[:, None], each.shape)
        values = np.where(kept(medians), truth, np.nan)
        each = np.where([kept(found) for found in mixes], each, np.nan)
        self._check_best(recipes, values, each, by=f"the median of {REPEATS} mixes")
        return values

    def broken(self, recipe: Mapping[str, Any]) -> list[str]:
        """Say which bounds on outcomes a recipe breaks: noise-free, or by medians of mixes in a lab of the user's."""
        if not self.question.bounds:
            return []
        asked = pd.DataFrame([dict(recipe)])
        if isinstance(self.lab, VirtualLab):
            found = self.lab.outcomes(asked, self.question.outcomes)
        else:
            found = _medians(self._mixes(asked))
        return [bound.sentence for bound in self.question.bounds if not bound.met(found[bound.outcome]).all()]

    def _check_best(self, recipes: pd.DataFrame, values: Floats, each: Floats, *, by: str) -> None:
        """Refuse a user's best that one of n recipes beats, as its m mixes (n x m) show: success would mean nothing."""
        if self.file is None:
            return
        best, goal = self.best().value, self.question.objective
        sign = 1.0 if goal.goal == "max" else -1.0
        beaten = np.mean(sign * (each - best) > BEATEN_BY * best, axis=1) >= BEATEN_SHARE
        for i in np.flatnonzero(beaten)[:1]:
            recipe = ", ".join(f"{name} {recipes[name].iloc[i]}" for name in self.question.space.names)
            raise Refusal(
                f"{self._where('best')} gave {best:.6g}, but {recipe} gives {values[i]:.6g} by {by}; right is the "
                f"{'most' if sign > 0 else 'least'} that {goal.outcome} comes to in the campaign's space and bounds"
            )

    def _tells(self, method: str) -> bool:
        return callable(getattr(self.lab, method, None))

    def _told(self, method: str, recipes: pd.DataFrame) -> Floats:
        """What the lab says itself of n recipes, (n,); NaN is one that gives nothing or breaks a bound."""
        right = f"right is one number a recipe, {len(recipes)} here"
        # A copy: what a stranger's code does to its table is nothing to ours.
        values = _numbers(self._ask(method, recipes.copy()), f"{self._where(method)} gave", right)
        if len(values) != len(recipes):
            raise Refusal(f"{self._where(method)} gave {len(values)} values; {right}")
        if np.isinf(values).any():
            raise Refusal(f"{self._where(method)} gave an infinite value; right is a finite number for each recipe")
        return values

    def _mixes(self, recipes: pd.DataFrame) -> list[pd.DataFrame]:
        """Outcomes of repeated mixes, a table with a row a mix for each recipe; NaN where a cell died before."""
        n = max([c for c in map(outcome.cycle_of, self.question.outcomes) if c] or [self._planned])
        tables = []
        for recipe in recipes.to_dict("records"):
            designs = self.question.designs(pd.DataFrame([recipe] * REPEATS))
            records = [self.cycle(self.mix(_named(recipe), day=0.0, label=f"truth {k}"), n) for k in range(REPEATS)]
            tables.append(self.derived(designs, records))
        return tables

    @property
    def _planned(self) -> int:
        return int(self.question.conditions.get("cycles", PUBLISHED_PROTOCOL["cycles"]))


def _medians(mixes: list[pd.DataFrame]) -> pd.DataFrame:
    """Median outcomes of each recipe, a row a recipe; NaN where most of its cells die before."""
    return pd.DataFrame([found.median().where(found.notna().mean() >= 0.5) for found in mixes])


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


# ---- answers, read ----------------------------------------------------------------------------------------------------


def read_cycles(answer: Any, n: int, where: str) -> Cycles:
    """Bring what a lab's `cycle` returned to one shape.

    Args:
        answer: `Cycles`, a table or mapping with capacities and hours, or a pair of them; mAh cm-2 and h, one a cycle.
        n: cycles that were asked for.
        where: which method of which file, to begin a sentence with.

    Raises:
        Refusal: it is none of these; there are more than n cycles, or not as many hours as capacities; a capacity is no
            finite number from 0 on, or an hour none above 0.
    """
    given: tuple[Any, Any, Any]
    if isinstance(answer, Cycles):
        given = answer.discharge_mAh_cm2, answer.charge_mAh_cm2, answer.hours
    elif isinstance(answer, Mapping | pd.DataFrame) and DISCHARGE in answer and "hours" in answer:
        given = answer[DISCHARGE], answer[CHARGE if CHARGE in answer else DISCHARGE], answer["hours"]
    elif isinstance(answer, tuple | list) and len(answer) == 2:
        given = answer[0], answer[0], answer[1]
    else:
        raise Refusal(
            f"{where} gave {_shown(answer)}; right is Cycles, a table with {DISCHARGE} and hours, or a pair (capacities, hours)"
        )
    words = "discharge capacities", "charge capacities", "hours"
    right = f"right is one number a cycle, for {n} cycles or, of a cell that died, fewer"
    columns = [_numbers(column, f"{where} gave as {word}", right) for word, column in zip(words, given, strict=True)]
    discharge, charge, hours = columns
    for word, column in zip(words, columns, strict=True):
        if len(column) != len(discharge):
            raise Refusal(
                f"{where} gave {len(discharge)} {words[0]} and {len(column)} {word}; right is one of each a cycle"
            )
        least = "above 0" if column is hours else "not below 0"
        wrong = np.flatnonzero(~(np.isfinite(column) & ((column > 0) if column is hours else (column >= 0))))
        if len(wrong):
            at = f"{column[wrong[0]]:g} at cycle {wrong[0] + 1}"
            raise Refusal(
                f"{where} gave as {word} {at}; right is a finite number {least}; a cell that died gives fewer cycles"
            )
    if len(discharge) > n:
        raise Refusal(f"{where} gave {len(discharge)} cycles and was asked for {n}; {right}")
    return Cycles(discharge, charge, hours)


def read_powder(answer: Any, where: str) -> dict[str, float]:
    """Bring what a lab's `powder` returned to one shape: `observable_unit` to number, without what is NaN: not measured.

    Raises:
        Refusal: it is no mapping, or a value is no number or infinite.
    """
    if not isinstance(answer, Mapping | pd.Series):
        raise Refusal(
            f"{where} gave {_shown(answer)}; right is a mapping of observable_unit to number, {{}} without any"
        )
    right = "right is a finite number, or NaN where it was not measured"
    found = {str(name): _number(value, f"{where} gave for {name}", right) for name, value in answer.items()}
    for name, value in found.items():
        if np.isinf(value):
            raise Refusal(f"{where} gave for {name} {value:g}; {right}")
    return {name: value for name, value in found.items() if not np.isnan(value)}


def read_best(answer: Any, where: str) -> Best:
    """Bring what a lab's `best` returned to one shape.

    Raises:
        Refusal: there is no value, or it is no finite number above 0, or its recipe is no mapping.
    """
    right = 'right is a finite number above 0, alone or as {"value": ..., "recipe": {...}}: regret is a share of it'
    if isinstance(answer, Best):
        answer = {"value": answer.value, "recipe": answer.recipe}
    elif not isinstance(answer, Mapping):
        answer = {"value": answer}
    recipe = answer.get("recipe", {})
    if "value" not in answer or not isinstance(recipe, Mapping):
        raise Refusal(f"{where} gave {_shown(answer)}; {right}")
    value = _number(answer["value"], f"{where} gave", right)
    if not (np.isfinite(value) and value > 0):
        raise Refusal(f"{where} gave {value:g}; {right}")
    return Best(value, recipe)


def _numbers(given: Any, where: str, right: str) -> Floats:
    """Floats of a list, array or column, (n,)."""
    try:
        column = np.asarray(given, dtype=object)  # so that text among numbers stays text, to be seen and refused
    except (TypeError, ValueError, RuntimeError) as error:  # rows of several lengths, a tensor that wants its gradient
        raise Refusal(f"{where} {_shown(given)}; {right}") from error
    if column.ndim != 1:
        raise Refusal(f"{where} {_shown(given)}; {right}")
    return np.array([_number(value, where, right) for value in column], dtype=float)


def _number(value: Any, where: str, right: str) -> float:
    """A float of one real number; text is none, even where it reads as one."""
    try:
        # numpy drops the imaginary part with no more than a warning
        if isinstance(value, str | bytes | np.complexfloating):
            raise TypeError("text, or complex")
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(f"{where} {_shown(value)}; {right}") from error


def _shown(value: Any) -> str:
    """A value in a few words of one line."""
    return " ".join(reprlib.repr(value).split())


def one_thread() -> None:
    """Keep torch to one thread in this process: labs are played in parallel processes."""
    import torch

    torch.set_num_threads(1)
