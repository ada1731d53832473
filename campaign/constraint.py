"""Constraints on a recipe, written as text: `"active_wt_pct + carbon_wt_pct <= 50"`, `"sse != 'LGPS' or speed_rpm < 1500"`.

The text is read by Python's own parser and walked against a whitelist; nothing is ever evaluated as code. Known are
numbers, quoted names, parameters, `+ - * / **`, `sqrt exp log log10 abs min max`, `<= < >= > == !=` (also chained),
`in`, `and`, `or`, `not`.
"""

from __future__ import annotations

import ast
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.names import nearest

Mask = npt.NDArray[np.bool_]

RELATIVE_SLACK = 1e-9
"""Rounding that a bound forgives, relative to the smaller side: 0.1 + 0.2 <= 0.3 holds."""

ABSOLUTE_SLACK = 1e-12
"""The same where a side is 0: 0.1 + 0.2 - 0.3 <= 0 holds."""

ORDINARY = 1e-3
"""Where all that is compared is smaller than this, absolute slacks shrink with it: 1e-12 is no rounding of a diffusion
coefficient of 1e-14 m2/s."""
TINIEST = 1e-100
"""The least share of them that is left: numbers near 1e-308 are rounded coarsely."""

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "abs": np.abs,
    "min": lambda *args: np.minimum.reduce(np.broadcast_arrays(*args)),
    "max": lambda *args: np.maximum.reduce(np.broadcast_arrays(*args)),
}
_ORDERED = (ast.LtE, ast.Lt, ast.GtE, ast.Gt)


@dataclass(frozen=True)
class Constraint:
    """One condition that every proposed recipe meets.

    >>> Constraint("10 <= active_wt_pct + carbon_wt_pct <= 50").holds(
    ...     pd.DataFrame({"active_wt_pct": [20, 30], "carbon_wt_pct": [20, 30]})
    ... )
    array([ True, False])
    """

    text: str
    tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise Refusal(
                f"constraint {self.text!r} cannot be read; right would be e.g. 'active_wt_pct <= 40'"
            ) from error
        if not _is_condition(tree):
            raise Refusal(
                f"constraint {self.text!r} compares nothing; it needs <=, >=, <, >, ==, != or in, "
                "e.g. 'active_wt_pct <= 40'"
            )
        _check(tree, self.text)
        _as_written(tree, self.text.strip())
        object.__setattr__(self, "tree", tree)

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters named, in order of first appearance."""
        called = {node.func for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.Name) and node not in called]
        found.sort(key=lambda node: (node.lineno, node.col_offset))
        return tuple(dict.fromkeys(node.id for node in found))

    @property
    def reckoned(self) -> frozenset[str]:
        """Parameters that are added, multiplied, or handed to a function: they must be numbers."""
        whole = [node for node in ast.walk(self.tree) if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call)]
        parts = [part for node in whole for part in _operands(node)]
        return frozenset(part.id for part in parts if isinstance(part, ast.Name))

    @property
    def compared(self) -> tuple[tuple[str, str | float], ...]:
        """Every parameter that is compared for being the same (==, !=, in) with a text or number, and that."""
        found: list[tuple[str, str | float]] = []
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
                if isinstance(op, _ORDERED):
                    continue
                members = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
                for one, other in itertools.chain(
                    ((left, each) for each in members), ((each, left) for each in members)
                ):
                    if isinstance(one, ast.Name) and isinstance(other, ast.Constant):
                        assert isinstance(other.value, str | int | float)
                        found.append((one.id, other.value))
        return tuple(found)

    def holds(self, table: pd.DataFrame) -> Mask:
        """Return for each of n recipes whether the condition is met (an undefined value, such as 0/0, is not)."""
        columns = {name: table[name].to_numpy() for name in self.names}
        with np.errstate(all="ignore"):
            met = _truth(self.tree, columns)
        return np.broadcast_to(met, len(table)).astype(bool)

    def balance(self, numeric: tuple[str, ...]) -> str | None:
        """Return the parameter that an equality fixes once the others are chosen (the last one named), else None."""
        tree = self.tree
        if not (isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq)):
            return None
        if any(isinstance(node, ast.Compare) for side in (tree.left, *tree.comparators) for node in ast.walk(side)):
            return None  # conditions that hold together or not at all: nothing to solve
        candidates = [name for name in self.names if name in numeric]
        return candidates[-1] if candidates and len(candidates) == len(self.names) else None

    @property
    def is_balance(self) -> bool:
        """Whether sums of parameters, each times a number, are to be equal: parts of a whole, as `a + b == 50`."""
        tree = self.tree
        if not (isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq)):
            return False
        return len(self.names) > 1 and _is_sum(tree.left) and _is_sum(tree.comparators[0])

    def solve(self, table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
        """Return for each of n recipes the value of `name` that makes an equality true; NaN where none does.

        Where any does (x*y == 0 at x = 0) it stays as it is.

        Raises:
            Refusal: the equality is not linear in `name`.
        """
        assert isinstance(self.tree, ast.Compare)
        left, right = self.tree.left, self.tree.comparators[0]
        columns: dict[str, Any] = {other: table[other].to_numpy(float) for other in self.names}
        now = columns[name]

        def gap(value: float) -> npt.NDArray[np.float64]:
            columns[name] = np.full(len(table), value)
            with np.errstate(all="ignore"):
                return np.asarray(_value(left, columns) - _value(right, columns), dtype=float)

        solved, bent, known = _root(gap(0.0), gap(1.0), gap(2.0))
        left_over = bent | ~known | ~np.isfinite(solved)
        if left_over.any():  # 0 or 1 may be no such setting, or be lost beside one of 1e18
            unit = max(1.0, float(np.abs(now[np.isfinite(now)]).max(initial=0.0)))
            again, bent, known = _root(gap(unit), gap(2.0 * unit), gap(3.0 * unit), unit)
            if (bent & known & left_over).any():
                raise Refusal(
                    f"constraint {self.text!r}: an equality must be linear in {name}, the last parameter named"
                )
            solved = np.where(left_over, again, solved)
        return np.where(np.isinf(solved), now, solved)


def _root(
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    third: npt.NDArray[np.float64],
    start: float | None = None,
) -> tuple[npt.NDArray[np.float64], Mask, Mask]:
    """Return where n lines are 0 (NaN: nowhere, infinite: everywhere), which are not straight, and which are known at all.

    Args:
        first: their values at 0, or at `start`.
        second: at 1, or at twice the start.
        third: at 2, or at three times the start.
        start: where they begin, which is then the unit as well.
    """
    unit = 1.0 if start is None else start
    with np.errstate(all="ignore"):
        slope = second - first
        bent = ~(np.abs(third - second - slope) <= 1e-6 * (1 / unit + np.abs(slope)))
        at_0 = first if start is None else first - slope
        root = np.where(slope != 0, -at_0 / slope * unit, np.where(at_0 == 0, np.inf, np.nan))
        known = np.isfinite(slope)
    return np.where(known, root, np.nan), bent, known


def _is_condition(tree: ast.expr) -> bool:
    if isinstance(tree, ast.BoolOp):
        return all(_is_condition(value) for value in tree.values)
    if isinstance(tree, ast.UnaryOp):
        return isinstance(tree.op, ast.Not) and _is_condition(tree.operand)
    return isinstance(tree, ast.Compare)


def _is_sum(tree: ast.expr) -> bool:
    """Whether an expression is a sum of parameters times numbers."""
    if isinstance(tree, ast.BinOp):
        sides = tree.left, tree.right
        if isinstance(tree.op, ast.Add | ast.Sub):
            return all(_is_sum(side) for side in sides)
        numbers = [not any(isinstance(node, ast.Name) for node in ast.walk(side)) for side in sides]
        if isinstance(tree.op, ast.Mult) and any(numbers):
            return _is_sum(sides[numbers.index(True) - 1])
        return all(numbers) or (isinstance(tree.op, ast.Div) and numbers[1] and _is_sum(sides[0]))
    if isinstance(tree, ast.UnaryOp):
        return not isinstance(tree.op, ast.Not) and _is_sum(tree.operand)
    return isinstance(tree, ast.Name) or (isinstance(tree, ast.Constant) and not isinstance(tree.value, str))


def _check(tree: ast.expr, text: str) -> None:
    """Refuse everything that is not on the whitelist, before any recipe is looked at."""
    for node in _expressions(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            if name not in _FUNCTIONS or node.keywords or not node.args:
                raise Refusal(f"constraint {text!r}: {name}() is not known here; {nearest(name, _FUNCTIONS)}")
            if len(node.args) > 1 and name not in ("min", "max"):
                raise Refusal(f"constraint {text!r}: {name}() is of one number, not of {len(node.args)}")
        elif isinstance(node, ast.BinOp) and type(node.op) not in _ARITHMETIC:
            raise Refusal(f"constraint {text!r}: of arithmetic only + - * / ** are known")
        elif isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str):
            raise Refusal(f"constraint {text!r}: {node.value!r} is neither a number nor a quoted name")
        elif isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            raise Refusal(f"constraint {text!r}: write == or != instead of is")
        _check_parts(node, text)


def _check_parts(node: ast.expr, text: str) -> None:
    """Refuse lists, conditions and texts where they mean nothing."""
    for each in _linked(node):
        if not _is_condition(each):
            raise Refusal(f"constraint {text!r}: {ast.unparse(each)} is no condition, as and, or, not link them")
    for each in _operands(node):
        if isinstance(each, ast.Tuple | ast.List):
            raise Refusal(f"constraint {text!r}: a list stands only after in, e.g. sse in ('LPSCl', 'LGPS')")
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and not isinstance(node, ast.Compare):
            raise Refusal(f"constraint {text!r}: {each.value!r} is a text and cannot be reckoned with")
    for op, right in zip(node.ops, node.comparators, strict=True) if isinstance(node, ast.Compare) else ():
        members = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
        plain = isinstance(right, ast.Tuple | ast.List) or (
            isinstance(right, ast.Constant) and isinstance(right.value, str)
        )
        if isinstance(op, ast.In | ast.NotIn) and not (plain and all(map(_is_literal, members))):
            raise Refusal(
                f"constraint {text!r}: after in stands a list of numbers or quoted names, e.g. ('LPSCl', 'LGPS')"
            )


def _linked(node: ast.expr) -> list[ast.expr]:
    """The parts of a condition that must be conditions themselves."""
    if isinstance(node, ast.BoolOp):
        return node.values
    return [node.operand] if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else []


def _operands(node: ast.expr) -> list[ast.expr]:
    """The parts of an expression that stand for one value a recipe."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
        return [node.operand]
    if isinstance(node, ast.Call):
        return node.args
    if isinstance(node, ast.Compare):
        pairs = zip(node.ops, node.comparators, strict=True)
        return [node.left, *(side for op, side in pairs if not isinstance(op, ast.In | ast.NotIn))]
    return []


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return isinstance(node, ast.Constant)


def _as_written(tree: ast.expr, text: str) -> None:
    """Give parameters back the spelling that the text has: the parser turns the micro sign into a Greek letter, and so on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = ast.get_source_segment(text, node) or node.id


def _expressions(tree: ast.expr) -> Iterator[ast.expr]:
    allowed = (
        ast.BoolOp,
        ast.UnaryOp,
        ast.BinOp,
        ast.Compare,
        ast.Call,
        ast.Name,
        ast.Constant,
        ast.Tuple,
        ast.List,
    )
    if not isinstance(tree, allowed):
        raise Refusal(f"a constraint may not contain {ast.unparse(tree)!r}: only parameters, numbers and comparisons")
    yield tree
    children = tree.args if isinstance(tree, ast.Call) else ast.iter_child_nodes(tree)
    for child in children:
        if isinstance(child, ast.expr):
            yield from _expressions(child)


def _value(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    if isinstance(tree, ast.Constant):
        # np.float64 overflows to inf, which no bound admits; Python's own float would raise.
        return np.float64(tree.value) if isinstance(tree.value, int | float) else tree.value
    if isinstance(tree, ast.Name):
        return columns[tree.id]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        inner = _value(tree.operand, columns)
        return -inner if isinstance(tree.op, ast.USub) else inner
    if isinstance(tree, ast.BinOp):
        return _ARITHMETIC[type(tree.op)](_value(tree.left, columns), _value(tree.right, columns))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return _FUNCTIONS[tree.func.id](*(_value(argument, columns) for argument in tree.args))
    return np.asarray(_truth(tree, columns), dtype=float)  # numpy's True + True is True


def _truth(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    if isinstance(tree, ast.BoolOp):
        parts = [np.asarray(_truth(value, columns), dtype=bool) for value in tree.values]
        combine = np.logical_and if isinstance(tree.op, ast.And) else np.logical_or
        return combine.reduce(np.broadcast_arrays(*parts))
    if isinstance(tree, ast.UnaryOp):
        return ~np.asarray(_truth(tree.operand, columns), dtype=bool)
    assert isinstance(tree, ast.Compare)
    sides = [tree.left, *tree.comparators]
    links = [_compare(op, a, b, columns) for op, a, b in zip(tree.ops, sides[:-1], sides[1:], strict=True)]
    return np.logical_and.reduce(np.broadcast_arrays(*links))


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, columns: Mapping[str, Any]) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        members = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
        inside = np.isin(np.asarray(_value(left, columns)), [_value(member, columns) for member in members])
        return inside if isinstance(op, ast.In) else ~inside
    a, b = np.asarray(_value(left, columns)), np.asarray(_value(right, columns))
    if isinstance(op, ast.Eq | ast.NotEq):
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
            same = np.abs(a - b) <= 1e-6 * (_shrunk(left, right, a, b, columns) + np.abs(b))
        else:
            same = a == b
        return same if isinstance(op, ast.Eq) else ~np.asarray(same)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        raise Refusal(f"a constraint orders a name: {ast.unparse(left)} and {ast.unparse(right)} can only be == or !=")
    slack = RELATIVE_SLACK * np.minimum(np.abs(a), np.abs(b)) + ABSOLUTE_SLACK * _shrunk(left, right, a, b, columns)
    assert isinstance(op, _ORDERED)
    if isinstance(op, ast.LtE):
        return a <= b + slack
    if isinstance(op, ast.GtE):
        return a >= b - slack
    return a < b if isinstance(op, ast.Lt) else a > b


def _shrunk(left: ast.expr, right: ast.expr, a: Any, b: Any, columns: Mapping[str, Any]) -> Any:
    """Return the factor on an absolute slack: 1, or less where both sides, and all that they are sums of, are tiny."""
    if (np.abs(a) + np.abs(b) >= ORDINARY).all():
        return 1.0
    return np.fmin((_size(left, columns) + _size(right, columns)) / ORDINARY, 1.0) + TINIEST


def _size(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    """Return how large the terms of an expression are together, which its rounding goes by: 0.6 of 0.1 + 0.2 - 0.3."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        return _size(tree.operand, columns)
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add | ast.Sub):
        return _size(tree.left, columns) + _size(tree.right, columns)
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return _size(tree.left, columns) * _size(tree.right, columns)
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div):
        return _size(tree.left, columns) / np.abs(_value(tree.right, columns))
    return np.abs(_value(tree, columns))
