"""The value of a constraint's expressions at n recipes, and what rounding a comparison forgives."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from campaign.errors import Refusal

RELATIVE_SLACK = 1e-9
"""Rounding that a bound forgives, relative to the smaller side: 0.1 + 0.2 <= 0.3 holds."""

ABSOLUTE_SLACK = 1e-12
"""The same where a side is 0: 0.1 + 0.2 - 0.3 <= 0 holds."""

ORDINARY = 1e-3
"""Where all that is compared is smaller than this, absolute slacks shrink with it: 1e-12 is no rounding of a diffusion
coefficient of 1e-14 m2/s."""
TINIEST = 1e-100
"""The least share of them that is left: numbers near 1e-308 are rounded coarsely."""

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "abs": np.abs,
    "min": lambda *args: np.minimum.reduce(np.broadcast_arrays(*args)),
    "max": lambda *args: np.maximum.reduce(np.broadcast_arrays(*args)),
}
ORDERED = (ast.LtE, ast.Lt, ast.GtE, ast.Gt)


def value_of(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    """Return the value of an expression, of one recipe or, where columns hold n of them, of each."""
    if isinstance(tree, ast.Constant):
        # np.float64 overflows to inf, which no bound admits; Python's own float would raise.
        return np.float64(tree.value) if isinstance(tree.value, int | float) else tree.value
    if isinstance(tree, ast.Name):
        return columns[tree.id]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        inner = value_of(tree.operand, columns)
        return -inner if isinstance(tree.op, ast.USub) else inner
    if isinstance(tree, ast.BinOp):
        return ARITHMETIC[type(tree.op)](value_of(tree.left, columns), value_of(tree.right, columns))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        return FUNCTIONS[tree.func.id](*(value_of(argument, columns) for argument in tree.args))
    return np.asarray(truth_of(tree, columns), dtype=float)  # numpy's True + True is True


def truth_of(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    """Return whether a condition is met, of one recipe or, where columns hold n of them, of each."""
    if isinstance(tree, ast.BoolOp):
        parts = [np.asarray(truth_of(value, columns), dtype=bool) for value in tree.values]
        combine = np.logical_and if isinstance(tree.op, ast.And) else np.logical_or
        return combine.reduce(np.broadcast_arrays(*parts))
    if isinstance(tree, ast.UnaryOp):
        return ~np.asarray(truth_of(tree.operand, columns), dtype=bool)
    assert isinstance(tree, ast.Compare)
    sides = [tree.left, *tree.comparators]
    links = [_compare(op, a, b, columns) for op, a, b in zip(tree.ops, sides[:-1], sides[1:], strict=True)]
    return np.logical_and.reduce(np.broadcast_arrays(*links))


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, columns: Mapping[str, Any]) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        members = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
        inside = np.isin(np.asarray(value_of(left, columns)), [value_of(member, columns) for member in members])
        return inside if isinstance(op, ast.In) else ~inside
    a, b = np.asarray(value_of(left, columns)), np.asarray(value_of(right, columns))
    if isinstance(op, ast.Eq | ast.NotEq):
        if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
            same = np.abs(a - b) <= 1e-6 * (_shrunk(left, right, a, b, columns) + np.abs(b))
        else:
            same = a == b
        return same if isinstance(op, ast.Eq) else ~np.asarray(same)
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        raise Refusal(f"a constraint orders a name: {ast.unparse(left)} and {ast.unparse(right)} can only be == or !=")
    slack = RELATIVE_SLACK * np.minimum(np.abs(a), np.abs(b)) + ABSOLUTE_SLACK * _shrunk(left, right, a, b, columns)
    assert isinstance(op, ORDERED)
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
        return _size(tree.left, columns) / np.abs(value_of(tree.right, columns))
    return np.abs(value_of(tree, columns))
