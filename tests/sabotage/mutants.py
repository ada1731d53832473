"""Mutants of a module: small changes of its code, each of which some test should notice.

The operators are those of mutmut and cosmic-ray: comparisons, arithmetic, `and`/`or`/`not`, numbers, True and False, texts,
conditions, `break`/`continue`, keyword arguments left out, statements left out, None assigned or returned. What is never
executed or is only read by people is left alone: annotations, imports, decorators, docstrings, assertions, and the words of
a refusal or a finding.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARE = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
_SENTENCES = {
    "Refusal": 0,
    "Unavailable": 0,
    "Stale": 0,
    "PermissionError": 0,
    "ValueError": 0,
    "Finding": 2,
    "_notice": 2,
}
"""Calls whose arguments from this one on are words for people."""


@dataclass(frozen=True)
class Mutant:
    """One change: the text between two places of the source becomes another."""

    file: str
    line: int
    end_line: int
    start: int
    end: int
    new: str
    kind: str
    names: tuple[str, ...] = ()
    """Names that a statement outside of functions gives a value to; empty inside functions."""

    def applied(self, source: str) -> str:
        """The source with this change."""
        return source[: self.start] + self.new + source[self.end :]

    def shown(self, source: str) -> str:
        """One line for people."""
        old = " ".join(source[self.start : self.end].split())
        return f"{self.file}:{self.line} {self.kind}: {old[:70]} -> {self.new[:70] or '(nothing)'}"


def mutants(file: str, source: str) -> list[Mutant]:
    """All mutants of one module, in order of their place; one in some thousands does not compile (`compiles`)."""
    return sorted(_Walk(file, source).all(), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def compiles(text: str) -> bool:
    """Whether a text is Python at all."""
    try:
        compile(text, "<mutant>", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Walk:
    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.line_starts = [0]
        for line in source.splitlines(keepends=True):
            self.line_starts.append(self.line_starts[-1] + len(line))
        self.lines = source.splitlines()

    def at(self, line: int, column: int) -> int:
        return self.line_starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end]

    def mutant(self, node: ast.AST, new: str, kind: str, span: tuple[int, int] | None = None) -> Mutant:
        start, end = span or self.span(node)
        return Mutant(self.file, node.lineno, node.end_lineno, start, end, new, kind, self.names)

    def between(self, left: ast.AST, right: ast.AST, old: str) -> tuple[int, int]:
        """Place of an operator between two operands (brackets of the operands may stand around it)."""
        begin, stop = self.span(left)[1], self.span(right)[0]
        place = self.source.index(old, begin, stop)
        return place, place + len(old)

    def all(self) -> Iterator[Mutant]:
        for statement in ast.parse(self.source).body:
            self.names = (
                tuple(
                    node.id
                    for node in ast.walk(statement)
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                )
                if isinstance(statement, ast.Assign | ast.AnnAssign)
                else ()
            )
            if self.names != ("__all__",):
                yield from self.visit(statement, words=False)

    def visit(self, node: ast.AST, *, words: bool) -> Iterator[Mutant]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr):
            return
        if isinstance(node, ast.stmt):
            yield from self.statement(node)
        elif isinstance(node, ast.expr):
            yield from self.expression(node, words=words)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for position, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                    continue  # a docstring
                if isinstance(child, ast.AST):
                    yield from self.visit(child, words=words or self.is_words(node, name, position))

    def is_words(self, node: ast.AST, name: str, position: int) -> bool:
        if not isinstance(node, ast.Call) or name not in ("args", "keywords"):
            return False
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return called in _SENTENCES and (name == "keywords" or position >= _SENTENCES[called])

    def statement(self, node: ast.stmt) -> Iterator[Mutant]:
        if isinstance(node, ast.Break | ast.Continue):
            yield self.mutant(node, "continue" if isinstance(node, ast.Break) else "break", "loop")
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            yield self.mutant(node, "pass", "left out")
        elif isinstance(node, ast.Return) and node.value is not None and self.text(node.value) != "None":
            yield self.mutant(node, "return None", "return")
        elif (
            isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and self.text(node.value) != "None"
        ):
            yield self.mutant(node.value, "None", "assign")
        elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
            operator = self.source[self.span(node.target)[1] : self.span(node.value)[0]].strip(" (\n")
            yield self.mutant(node, "=", "arithmetic", self.between(node.target, node.value, operator))
        if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            yield self.mutant(node.test, f"not {self.text(node.test)}", "condition")

    def expression(self, node: ast.expr, *, words: bool) -> Iterator[Mutant]:
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
                old = self.source[self.span(left)[1] : self.span(right)[0]].strip(" ()\n")
                if old.count("\n") == 0 and "#" not in old:
                    yield self.mutant(node, _COMPARE[type(operator)], "comparison", self.between(left, right, old))
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not words:
            sign = self.source[self.span(node.left)[1] : self.span(node.right)[0]].strip(" ()\n")
            if sign in ("+", "-", "*", "/", "//", "%", "**", "&", "|"):
                new = _ARITHMETIC[type(node.op)]
                yield self.mutant(node, new, "arithmetic", self.between(node.left, node.right, sign))
        elif isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield self.mutant(node, new, "logic", self.between(left, right, old))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            yield self.mutant(node, self.text(node.operand), "sign or not")
        elif isinstance(node, ast.IfExp | ast.comprehension) and isinstance(node, ast.IfExp):
            yield self.mutant(node.test, f"not ({self.text(node.test)})", "condition")
        elif isinstance(node, ast.Call) and not words:
            for keyword in node.keywords:
                if keyword.arg is not None and len(node.keywords) + len(node.args) > 1:
                    yield from self.without(node, keyword)
        elif isinstance(node, ast.Constant):
            yield from self.constant(node, words=words)

    def without(self, call: ast.Call, keyword: ast.keyword) -> Iterator[Mutant]:
        start, end = self.span(keyword)
        rest = self.source[end : self.span(call)[1]]
        if rest.lstrip().startswith(","):
            end += rest.index(",") + 1
        yield self.mutant(keyword, "", "keyword left out", (start, end))

    def constant(self, node: ast.Constant, *, words: bool) -> Iterator[Mutant]:
        if isinstance(node.value, bool):
            yield self.mutant(node, str(not node.value), "truth")
        elif isinstance(node.value, int | float) and not words:
            yield self.mutant(node, f"{node.value + 1!r}", "number")
        elif isinstance(node.value, str) and not words and self.text(node)[:1] in "\"'":
            quote = self.text(node)[:1]
            yield self.mutant(node, f"{quote}XX{self.text(node)[1:]}", "text")
