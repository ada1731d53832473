"""What may stand in a constraint: read by Python's own parser and walked against a whitelist, never evaluated as code."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator

from campaign.errors import Refusal
from campaign.expression import ARITHMETIC, FUNCTIONS
from campaign.names import nearest

_WORDS = ("and", "or", "not", "in")
"""Words of Python's grammar that belong in a constraint."""


def read(text: str) -> ast.expr:
    """Return the tree of a condition.

    Raises:
        Refusal: it cannot be read, compares nothing, or holds something that is not on the whitelist.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        reserved = [word for word in re.findall(r"\w+", text) if keyword.iskeyword(word) and word not in _WORDS]
        told = f": {reserved[0]} is a word of its grammar, so give the parameter another name" if reserved else ""
        raise Refusal(f"constraint {text!r} cannot be read{told}; right would be e.g. 'active_wt_pct <= 40'") from error
    if not is_condition(tree):
        raise Refusal(
            f"constraint {text!r} compares nothing; it needs <=, >=, <, >, ==, != or in, e.g. 'active_wt_pct <= 40'"
        )
    _check(tree, text)
    _as_written(tree, text.strip())
    return tree


def is_condition(tree: ast.expr) -> bool:
    """Whether an expression is met or not, rather than a value."""
    if isinstance(tree, ast.BoolOp):
        return all(is_condition(value) for value in tree.values)
    if isinstance(tree, ast.UnaryOp):
        return isinstance(tree.op, ast.Not) and is_condition(tree.operand)
    return isinstance(tree, ast.Compare)


def _check(tree: ast.expr, text: str) -> None:
    """Refuse everything that is not on the whitelist, before any recipe is looked at."""
    for node in _expressions(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            if name not in FUNCTIONS or node.keywords or not node.args:
                raise Refusal(f"constraint {text!r}: {name}() is not known here; {nearest(name, FUNCTIONS)}")
            if len(node.args) > 1 and name not in ("min", "max"):
                raise Refusal(f"constraint {text!r}: {name}() is of one number, not of {len(node.args)}")
        elif isinstance(node, ast.BinOp) and type(node.op) not in ARITHMETIC:
            raise Refusal(f"constraint {text!r}: of arithmetic only + - * / ** are known")
        elif isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str):
            raise Refusal(f"constraint {text!r}: {node.value!r} is neither a number nor a quoted name")
        elif isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            raise Refusal(f"constraint {text!r}: write == or != instead of is")
        _check_parts(node, text)


def _check_parts(node: ast.expr, text: str) -> None:
    """Refuse lists, conditions and texts where they mean nothing."""
    for each in _linked(node):
        if not is_condition(each):
            raise Refusal(f"constraint {text!r}: {ast.unparse(each)} is no condition, as and, or, not link them")
    for each in operands(node):
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


def operands(node: ast.expr) -> list[ast.expr]:
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
