"""The search space: what may be varied, what is allowed, and the map between recipes and the unit cube.

A recipe is a row of a DataFrame with one column a parameter. Encoded, it is a row of floats: each numeric parameter on
the unit scale (0 at its lower bound, 1 at its upper), each category as the index of its name in `levels`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.constraint import Constraint, Mask
from campaign.errors import Refusal
from campaign.given import is_number, listed, mapped
from campaign.names import nearest
from campaign.parameter import Category, Floats, Numeric, Parameter, parse_parameter, without_dust

_TRIES = 22
"""Sobol draws double until enough are feasible; 2**22 points find a region of one part in a million. A space of no more
recipes is gone through instead when draws have not found enough."""
_AT_ONCE = 1 << 16
"""Recipes looked at together: what bounds the memory."""
ON_STEP = 1e-6
"""Share of a step that rounding may put a setting off it."""
LARGEST_BOUND = 1e100
"""Bounds beyond this size are no settings, and the range between them may overflow."""


@dataclass(frozen=True)
class SearchSpace:
    """What may be proposed. Build one with `SearchSpace.of`."""

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()
    forbidden: tuple[Mapping[str, Any], ...] = ()
    """Combinations that may not be made: each a mapping of parameter to value (or list of values)."""
    descriptors: Mapping[str, pd.DataFrame] = field(default_factory=dict, compare=False)
    """Per category, a table with one row a name and one column a property (number or text)."""

    def __post_init__(self) -> None:
        if not self.parameters:
            raise Refusal("the space is empty; name at least one parameter, e.g. speed_rpm: (400, 1600)")
        for numeric in self.numeric:
            far = max(numeric.low, numeric.high, key=abs)
            if abs(far) > LARGEST_BOUND:
                raise Refusal(
                    f"{numeric.name}: the bound {far:.3g} is beyond {LARGEST_BOUND:.0e}; give it in a larger unit"
                )
        for constraint in self.constraints:
            for name in constraint.names:
                self._require(name, f"constraint {constraint.text!r}")
            self.check_names(constraint)
            constraint.holds(
                self._corner()
            )  # a comparison that makes no sense is refused now, not at the first proposal
        for combination in self.forbidden:
            for name, values in combination.items():
                parameter = self._require(name, f"forbidden combination {dict(combination)!r}")
                for each in _listed(values):
                    if not isinstance(each, Hashable):
                        raise Refusal(
                            f"forbidden combination {dict(combination)!r}: {each!r} is no name or number of {name}"
                        )
                    if isinstance(parameter, Numeric) and not is_number(each):
                        raise Refusal(
                            f"forbidden combination {dict(combination)!r}: {name} is a number, and {each!r} none"
                        )
                    if isinstance(parameter, Category) and each not in parameter.levels:
                        raise Refusal(
                            f"forbidden combination {dict(combination)!r}: {each!r} is no name of {name}; "
                            f"{nearest(str(each), map(str, parameter.levels))}"
                        )
        for name, table in self.descriptors.items():
            parameter = self._require(name, "descriptors")
            if not isinstance(parameter, Category):
                raise Refusal(f"descriptors: {name} is a number, not a choice among names")
            absent = [level for level in parameter.levels if level not in table.index]
            if absent:
                raise Refusal(f"descriptors of {name}: {absent[0]} has no row; every choice needs one")

    @classmethod
    def of(
        cls,
        space: Mapping[str, Any],
        *,
        constraints: Iterable[str] | None = (),
        steps: Mapping[str, float] | None = None,
        forbidden: Iterable[Mapping[str, Any]] | None = (),
        descriptors: Mapping[str, Any] | None = None,
        log: Iterable[str] | None = (),
    ) -> Self:
        """Build a space from plain values.

        Args:
            space: parameter to `(low, high)`, to a list of names, or to a mapping (low, high, step, log / choices).
            constraints: conditions as text, see `campaign.constraint`.
            steps: parameter to step, e.g. `{"speed_rpm": 25}`; settings count from the lower bound.
            forbidden: combinations that may not be made, e.g. `{"sse": "LGPS", "active": ["Te", "Se"]}`.
            descriptors: category to a table (or mapping of name to mapping) of its names' properties. Names with a
                row that are not among the choices may be told but are never proposed.
            log: parameters on a log scale.

        Raises:
            Refusal: bounds reversed, unknown names, a constraint that cannot be read.
        """
        if not isinstance(space, Mapping):
            raise Refusal(f"the space must map each parameter to its bounds or choices, not be {type(space).__name__}")
        steps = mapped(steps, "steps", '{"speed_rpm": 25}')
        log = listed(log, "log", '["time_h"]')
        for name in (*steps, *log):
            if not isinstance(name, str) or name not in space:
                known_names = map(str, space)
                raise Refusal(
                    f"step or log scale for {name!r}, which is no parameter; {nearest(str(name), known_names)}"
                )
        tables = read_tables(descriptors)
        parameters = []
        for name, given in space.items():
            known = [str(label) for label in tables[name].index] if name in tables else []
            if isinstance(given, Mapping):
                _check_names(name, given)
            try:
                parameter = parse_parameter(name, given, step=steps.get(name), known=known)
            except OverflowError as error:  # a whole number of hundreds of digits
                raise Refusal(
                    f"{name}: a bound or step is beyond {LARGEST_BOUND:.0e}; give it in a larger unit"
                ) from error
            if name in log:
                if not isinstance(parameter, Numeric):
                    raise Refusal(f"{name}: a log scale has no meaning for a choice among names")
                parameter = Numeric(name, parameter.low, parameter.high, parameter.step, log=True)
            parameters.append(parameter)
        if isinstance(constraints, str):
            constraints = (constraints,)
        return cls(
            tuple(parameters),
            tuple(Constraint(str(text)) for text in listed(constraints, "constraints", '["active_wt_pct <= 40"]')),
            _combinations(forbidden),
            tables,
        )

    # ---- what is in it -------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def numeric(self) -> tuple[Numeric, ...]:
        """The numeric parameters."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Numeric))

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """The categorical parameters."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Category))

    @property
    def n_combinations(self) -> int:
        """How many combinations of names there are (1 without categories)."""
        return math.prod(len(category.choices) for category in self.categories)

    def combinations(self) -> list[tuple[int, ...]]:
        """Every combination of category indices, in order of `categories`."""
        return list(itertools.product(*(range(len(category.choices)) for category in self.categories)))

    def narrowed(self, names: Mapping[str, str]) -> Self:
        """Return the space with one name left to choose of each category given."""
        parameters = [
            Category(p.name, (names[p.name],), p.levels) if isinstance(p, Category) and p.name in names else p
            for p in self.parameters
        ]
        return replace(self, parameters=tuple(parameters))

    def rules_out(self, names: Mapping[str, str]) -> bool:
        """Return whether names cannot be chosen together whatever else is: by what is said of these names alone."""
        row = pd.DataFrame([names])
        met = all(rule.holds(row)[0] for rule in self.constraints if set(rule.names) <= set(names))
        return not met or any(_matches(row, rule)[0] for rule in self.forbidden if set(rule) <= set(names))

    def check_names(self, constraint: Constraint) -> None:
        """Refuse a condition that asks whether a parameter is what it can never be.

        Raises:
            Refusal: a name that nobody defined, a text for a number or a number for a name: such a condition is kept, or
                broken, by every recipe.
        """
        where = f"constraint {constraint.text!r}"
        for category in self.categories:
            if category.name in constraint.reckoned:
                raise Refusal(f"{where}: {category.name} is a choice among names and cannot be reckoned with")
        for name, asked in constraint.compared:
            parameter = next((each for each in self.parameters if each.name == name), None)
            if isinstance(parameter, Category) and asked not in parameter.levels:
                raise Refusal(f"{where}: {asked!r} is no name of {name}; {nearest(str(asked), parameter.levels)}")
            if isinstance(parameter, Numeric) and isinstance(asked, str):
                raise Refusal(f"{where}: {name} is a number, and {asked!r} a text")

    def __getitem__(self, name: str) -> Parameter:
        return self._require(name, "space")

    # ---- recipes <-> unit cube -----------------------------------------------------------------------------------

    def check(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return n told recipes with exactly this space's columns as numbers and known names.

        Values somewhat outside the bounds are kept: what was really mixed is what is learned from.

        Raises:
            Refusal: a missing column, a cell that is no finite number, a name nobody defined, a slip of unit.
        """
        if not isinstance(table, pd.DataFrame):
            raise Refusal(
                f"recipes must be a DataFrame with columns {', '.join(self.names)}, not {type(table).__name__}"
            )
        columns: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in table.columns:
                raise Refusal(f"column {parameter.name} is missing; {nearest(parameter.name, map(str, table.columns))}")
            column: Any = table[parameter.name]
            if isinstance(column, pd.DataFrame):
                raise Refusal(
                    f"column {parameter.name} stands {column.shape[1]} times among the recipes; keep one of them"
                )
            if isinstance(parameter, Numeric):
                _refuse_complex(column)
                columns[parameter.name] = parameter.read(column)
            else:
                columns[parameter.name] = np.array(parameter.levels, dtype=object)[parameter.read(column)]
        return pd.DataFrame(columns, index=table.index)

    def encode(self, table: pd.DataFrame, *, one_hot: bool = False) -> Floats:
        """Map n recipes to the unit cube: n x (number of parameters), or wider with categories one-hot."""
        table = self.check(table)
        blocks: list[npt.NDArray[Any]] = []
        for parameter in self.parameters:
            column = table[parameter.name]
            if isinstance(parameter, Numeric):
                blocks.append(parameter.to_unit(column.to_numpy(float))[:, None])
            elif one_hot:
                blocks.append(np.eye(len(parameter.levels))[parameter.read(column)])
            else:
                blocks.append(parameter.read(column)[:, None])
        return np.hstack(blocks).astype(float)

    def decode(self, units: npt.ArrayLike) -> pd.DataFrame:
        """Map n x (number of parameters) encoded rows to recipes: clipped to the bounds, snapped, balanced."""
        units = np.atleast_2d(np.asarray(units, dtype=float))
        columns: dict[str, Any] = {}
        for parameter, column in zip(self.parameters, units.T, strict=True):
            if isinstance(parameter, Numeric):
                columns[parameter.name] = parameter.from_unit(column)
            else:
                index = np.clip(np.round(column), 0, len(parameter.levels) - 1).astype(int)
                columns[parameter.name] = np.array(parameter.levels, dtype=object)[index]
        return self._balance(pd.DataFrame(columns))

    def restore(self, units: npt.ArrayLike) -> pd.DataFrame:
        """Map encoded rows back exactly as they were: neither clipped nor snapped (told recipes may lie outside)."""
        units = np.atleast_2d(np.asarray(units, dtype=float))
        columns: dict[str, Any] = {}
        for parameter, column in zip(self.parameters, units.T, strict=True):
            if isinstance(parameter, Numeric):
                columns[parameter.name] = parameter.unscale(column)
            else:
                columns[parameter.name] = np.array(parameter.levels, dtype=object)[np.round(column).astype(int)]
        return pd.DataFrame(columns)

    def snap(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the nearest recipes that can be set: within bounds, on the steps, equalities balanced."""
        return self.decode(self.encode(table)).set_index(table.index)

    def displaced(self, table: pd.DataFrame, by: Mapping[str, Floats]) -> pd.DataFrame:
        """Return n recipes in which some numbers are off by so much (n each), as mixes are.

        More of one part of a whole is less of another: where a sum of parameters is to equal something, the last of them
        that is not off by itself makes up for those that are. A recipe that does not balance stays as far off.
        """
        moved = table.assign(**{name: table[name] + shift for name, shift in by.items()})
        off, sums = set(by), [rule for rule in self.constraints if rule.is_balance]
        while rule := next((rule for rule in sums if off & set(rule.names)), None):
            sums.remove(rule)
            name = next((name for name in reversed(rule.names) if name not in off), rule.names[-1])
            moved[name] = table[name] + (rule.solve(moved, name) - rule.solve(table, name))
            off.add(name)
        return moved

    # ---- what is allowed -----------------------------------------------------------------------------------------

    def feasible(self, table: pd.DataFrame) -> Mask:
        """Return for each of n recipes whether bounds, constraints and forbidden combinations all allow it."""
        allowed = np.ones(len(table), dtype=bool)
        for parameter in self.parameters:
            column = table[parameter.name]
            if isinstance(parameter, Category):
                allowed &= column.isin(parameter.choices).to_numpy()
            else:
                slack = 1e-9 * max(abs(parameter.low), abs(parameter.high))
                allowed &= column.between(parameter.low - slack, parameter.high + slack).to_numpy()
        for constraint in self.constraints:
            allowed &= constraint.holds(table)
        for combination in self.forbidden:
            allowed &= ~_matches(table, combination)
        return allowed

    def objections(self, recipe: pd.Series) -> list[str]:
        """Return what speaks against one recipe, one sentence each; an empty list if nothing does."""
        table = self.check(recipe.to_frame().T)
        found = []
        for parameter in self.numeric:
            value = float(table[parameter.name].iloc[0])
            if not parameter.low <= value <= parameter.high:
                found.append(f"{parameter.name} {value:g} lies outside {parameter.low:g} to {parameter.high:g}")
        found += [f"{rule.text!r} is not met" for rule in self.constraints if not rule.holds(table)[0]]
        found += [f"{dict(rule)!r} is forbidden" for rule in self.forbidden if _matches(table, rule)[0]]
        return found

    def sample(self, n: int, *, seed: int) -> pd.DataFrame:
        """Draw n feasible recipes evenly (scrambled Sobol, rejected where not allowed); fewer if no more are found.

        Raises:
            Refusal: no recipe meets all constraints.
        """
        found = self.find(n, seed=seed)
        if found.empty:
            rules = "; ".join(rule.text for rule in self.constraints) or "the forbidden combinations"
            raise Refusal(
                f"no recipe within the bounds meets all constraints ({rules}); widen the bounds or the constraints"
            )
        return found

    def find(self, n: int, *, seed: int, draws: int = 1 << _TRIES) -> pd.DataFrame:
        """Return what `sample` does as far as so many draws find it, or an empty table."""
        from scipy.stats import qmc  # imported here: scipy.stats costs half a second that `--help` need not pay

        engine = qmc.Sobol(len(self.parameters), scramble=True, rng=np.random.default_rng(seed))
        widths = np.array([len(p.choices) if isinstance(p, Category) else 0 for p in self.parameters])
        finite = all(parameter.n_settings < np.inf for parameter in self.numeric)
        found = pd.DataFrame()
        drawn, size = 0, 1 << max(3, int(np.ceil(np.log2(max(1, n)))))
        while drawn < draws:
            for part in [_AT_ONCE] * (size // _AT_ONCE) or [size]:
                units = engine.random(part)
                batch = self.decode(np.where(widths > 0, np.floor(units * widths), units))
                found = pd.concat([found, batch[self.kept(batch)]], ignore_index=True)
            if finite:
                found = found.drop_duplicates(ignore_index=True)
            drawn += size
            if len(found) >= n:
                return found.head(n)
            if finite and drawn >= max(64 * n, self._n_recipes):
                break
            size = drawn
        if finite and self._n_recipes <= 1 << _TRIES:
            rest = self._all().sample(frac=1.0, random_state=np.random.default_rng([seed, 1]))
            found = pd.concat([found, rest], ignore_index=True).drop_duplicates(ignore_index=True)
        return found.head(n)

    # ---- JSON ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the space as plain values for JSON; `from_dict` reads it back."""
        parameters: dict[str, Any] = {}
        for parameter in self.parameters:
            if isinstance(parameter, Numeric):
                entry: dict[str, Any] = {
                    "low": parameter.low,
                    "high": parameter.high,
                    "step": parameter.step,
                    "log": parameter.log,
                }
            else:
                entry = {"choices": list(parameter.choices), "known": list(parameter.known)}
            parameters[parameter.name] = entry
        return {
            "parameters": parameters,
            "constraints": [constraint.text for constraint in self.constraints],
            "forbidden": [dict(combination) for combination in self.forbidden],
            "descriptors": {
                name: table.astype(object).where(table.notna(), None).to_dict("index")
                for name, table in self.descriptors.items()
            },
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls.of(
            saved["parameters"],
            constraints=saved["constraints"],
            forbidden=saved["forbidden"],
            descriptors=saved["descriptors"],
        )

    # ---- helpers -------------------------------------------------------------------------------------------------

    def _require(self, name: str, where: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise Refusal(f"{where}: {name!r} is no parameter of the space; {nearest(str(name), self.names)}")

    def _corner(self) -> pd.DataFrame:
        return pd.DataFrame({p.name: [p.low if isinstance(p, Numeric) else p.choices[0]] for p in self.parameters})

    @cached_property
    def _balanced(self) -> frozenset[str]:
        """Parameters that equalities fix once the others are chosen."""
        return frozenset(name for rule in self.constraints if (name := self._balancing(rule)) is not None)

    def _balancing(self, rule: Constraint) -> str | None:
        """The parameter that an equality fixes: the last one named, but one without a step before one with."""
        settings = {parameter.name: parameter.n_settings for parameter in self.numeric}
        name = rule.balance(tuple(settings))
        if name is None or settings[name] == math.inf:
            return name
        free = [each for each in rule.names if settings[each] == math.inf]
        return free[-1] if free else name

    def kept(self, table: pd.DataFrame) -> Mask:
        """Return which of n decoded recipes are feasible and can be set: what makes up a balance is on no step by itself."""
        allowed = self.feasible(table)
        for parameter in self.numeric:
            if parameter.step is not None and parameter.name in self._balanced:
                column = table[parameter.name].to_numpy(float)
                allowed &= np.abs(parameter.snap(column) - column) <= ON_STEP * parameter.step
        return allowed

    @cached_property
    def _n_recipes(self) -> float:
        """How many recipes there are before any is ruled out: infinite without steps."""
        free = [p.n_settings for p in self.numeric if p.name not in self._balanced]
        return math.prod([*free, *(len(category.choices) for category in self.categories)])

    def _all(self) -> pd.DataFrame:
        """Return every feasible recipe of a finite space, in order."""
        values = [
            np.array(p.choices, dtype=object)
            if isinstance(p, Category)
            else p.settings()[: 1 if p.name in self._balanced else None]
            for p in self.parameters
        ]
        shape, kept = [len(each) for each in values], []
        for start in range(0, math.prod(shape), _AT_ONCE):
            places = np.unravel_index(np.arange(start, min(start + _AT_ONCE, math.prod(shape))), shape)
            columns = zip(self.names, values, places, strict=True)
            table = self._balance(pd.DataFrame({name: each[place] for name, each, place in columns}))
            kept.append(table[self.kept(table)])
        return pd.concat(kept, ignore_index=True)

    def _balance(self, table: pd.DataFrame) -> pd.DataFrame:
        """Make linear equalities true by their last parameter, which is then no free choice."""
        for constraint in self.constraints:
            name = self._balancing(constraint)
            if name is not None:
                bounds = next((p.low, p.high) for p in self.numeric if p.name == name)
                table[name] = without_dust(constraint.solve(table, name), max(map(abs, bounds)))
        return table


def _check_names(name: str, given: Mapping[str, Any]) -> None:
    for key in ("choices", "known"):
        names = given.get(key, ())
        listed_ = isinstance(names, Iterable) and not isinstance(names, str | Mapping | Set)  # a set has no order
        if not listed_ or (key == "known" and not all(isinstance(each, str) for each in names)):
            raise Refusal(f'{name}: {key} {names!r} is no list of names; right would be e.g. ["LPSCl", "LGPS"]')


def _combinations(forbidden: Iterable[Mapping[str, Any]] | None) -> tuple[dict[str, Any], ...]:
    if isinstance(forbidden, Mapping) and forbidden:
        raise Refusal(
            f"forbidden: {forbidden!r} is one combination, not a list of them; right would be [{forbidden!r}]"
        )
    right = '{"sse": "LGPS", "active": ["Te", "Se"]}'
    return tuple(
        mapped(combination, "forbidden combination", right)
        for combination in listed(forbidden, "forbidden", f"[{right}]")
    )


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, list | tuple) else [values]


def _refuse_complex(column: pd.Series) -> None:
    if column.dtype.kind not in "cO":
        return
    for label, given in zip(column.index, column.tolist(), strict=True):
        if isinstance(given, complex | np.complexfloating):
            raise Refusal(f"row {label}, column {column.name}: {given!r} is a complex number; a setting is a real one")


def _matches(table: pd.DataFrame, combination: Mapping[str, Any]) -> Mask:
    matched = np.ones(len(table), dtype=bool)
    for name, values in combination.items():
        matched &= table[name].isin(_listed(values)).to_numpy()
    return matched


def read_tables(descriptors: Mapping[str, Any] | None) -> dict[str, pd.DataFrame]:
    """Read descriptors: category to a table (or mapping of name to mapping) of its names' properties."""
    right = '{"sse": {"LPSCl": {"density_g_cm3": 1.9}}}'
    return {name: _table(name, given) for name, given in mapped(descriptors, "descriptors", right).items()}


def _table(name: str, given: Any) -> pd.DataFrame:
    if isinstance(given, pd.DataFrame):
        table = given.copy()
    elif isinstance(given, Mapping) and all(isinstance(row, Mapping) for row in given.values()):
        table = pd.DataFrame.from_dict({key: dict(row) for key, row in given.items()}, orient="index")
    else:
        raise Refusal(f"descriptors of {name}: needs a table with one row a name")
    if not table.index.is_unique:
        raise Refusal(f"descriptors of {name}: {table.index[table.index.duplicated()][0]} stands twice")
    for cell in table.to_numpy(dtype=object).ravel():
        if isinstance(cell, int | float) and abs(cell) > LARGEST_BOUND:
            raise Refusal(f"descriptors of {name}: a property is beyond {LARGEST_BOUND:.0e}; give it in a larger unit")
    return table
