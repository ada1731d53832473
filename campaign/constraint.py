"""Constraints on a recipe, written as text: `"active_wt_pct + carbon_wt_pct <= 50"`, `"sse != 'LGPS' or speed_rpm < 1500"`.

What may stand in it is in `campaign.grammar`, what it comes to in `campaign.expression`. Known are
numbers, quoted names, parameters, `+ - * / **`, `sqrt exp log log10 abs min max`, `<= < >= > == !=` (also chained),
`in`, `and`, `or`, `not`.
"""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from campaign.errors import Refusal
from campaign.expression import ORDERED, truth_of, value_of
from campaign.grammar import operands, read

Mask = npt.NDArray[np.bool_]


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
        object.__setattr__(self, "tree", read(self.text))

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
        parts = [part for node in whole for part in operands(node)]
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
                if isinstance(op, ORDERED):
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
            met = truth_of(self.tree, columns)
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
                return np.asarray(value_of(left, columns) - value_of(right, columns), dtype=float)

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
