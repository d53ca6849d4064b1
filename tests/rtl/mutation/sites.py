"""Where hand-written Verilog can be mutated and how, found in its syntax by rules.

What cannot be chosen while a simulation runs is left out: parameters, widths, bounds of loops and of generate blocks,
indices and part selects, labels of a case; and what is there for no hardware: wires named unused, properties.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyslang import syntax
from pyslang.syntax import SyntaxKind as Kind

STATEMENT_LENGTH = 80  # characters of a statement that name it


@dataclass(frozen=True)
class Mutant:
    """One change of a module's source: bytes [start, end) become `mutated`, in every instance.

    statement: the beginning of what it stands in.  number: 1, 2, … of equal changes in equal statements.
    """

    module: str
    rule: str
    statement: str
    original: str
    mutated: str
    number: int
    start: int
    end: int

    def __str__(self) -> str:
        which = f" (number {self.number})" if self.number > 1 else ""
        return f"{self.module}: {self.original} → {self.mutated} in {self.statement}{which}"


@dataclass(frozen=True)
class Change:
    """What a rule makes of a piece of source."""

    rule: str
    node: syntax.SyntaxNode
    mutated: str


class Source:
    """One parsed file of one module."""

    def __init__(self, path: Path) -> None:
        self.module = path.stem
        self.content = path.read_bytes()
        self.tree = syntax.SyntaxTree.fromFile(str(path))

    def text(self, node: syntax.SyntaxNode) -> str:
        start, end = span(node)
        return self.content[start:end].decode()

    def one_line(self, node: syntax.SyntaxNode) -> str:
        """Without comments and line ends."""
        return " ".join(re.sub(r"//[^\n]*", "", self.text(node)).split())


def span(node: syntax.SyntaxNode) -> tuple[int, int]:
    """Bytes of the file."""
    return node.sourceRange.start.offset, node.sourceRange.end.offset


def find_mutants(paths: Sequence[Path]) -> list[Mutant]:
    """Every mutant of every module, in the order of the source."""
    sources = [Source(path) for path in paths]
    inputs = {source.module: _one_bit_inputs(source) for source in sources}
    return [mutant for source in sources for mutant in _mutants_of(source, inputs)]


def _mutants_of(source: Source, inputs: Mapping[str, frozenset[str]]) -> Iterator[Mutant]:
    seen: Counter[tuple[str, ...]] = Counter()
    for statement, change in _changes(source, source.tree.root, "", inputs):
        start, end = span(change.node)
        original, mutated = source.one_line(change.node), " ".join(change.mutated.split())
        place = statement if len(statement) <= STATEMENT_LENGTH else f"{statement[:STATEMENT_LENGTH]}…"
        key = (source.module, place, original, mutated)
        seen[key] += 1
        yield Mutant(source.module, change.rule, place, original, change.mutated, seen[key], start, end)


def _one_bit_inputs(source: Source) -> frozenset[str]:
    """Names of the module's input ports without a range, but the clock."""
    names = set()
    for node in nodes(source.tree.root):
        if isinstance(node, syntax.ImplicitAnsiPortSyntax):
            header = source.text(node.header)
            if header.startswith("input") and "[" not in header:
                names.add(node.declarator.name.valueText)
    return frozenset(names - {"clock"})


def nodes(node: syntax.SyntaxNode) -> Iterator[syntax.SyntaxNode]:
    """The node and everything below it."""
    yield node
    for child in node:
        if isinstance(child, syntax.SyntaxNode):
            yield from nodes(child)


def below(toplevel: str, paths: Sequence[Path]) -> frozenset[str]:
    """The module and those that it may instantiate, at whatever parameters."""
    instances = {}
    for source in map(Source, paths):
        used = (node for node in nodes(source.tree.root) if isinstance(node, syntax.HierarchyInstantiationSyntax))
        instances[source.module] = {node.type.valueText for node in used}
    found: set[str] = set()
    waiting = [toplevel]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += instances.get(module, ())
    return frozenset(found)


# ---- where

_SKIPPED = (
    syntax.AnsiPortListSyntax,
    syntax.ParameterPortListSyntax,
    syntax.ParameterValueAssignmentSyntax,
    syntax.ParameterDeclarationStatementSyntax,
    syntax.ElementSelectSyntax,
    syntax.VariableDimensionSyntax,
    syntax.GenvarDeclarationSyntax,
    syntax.EventControlWithExpressionSyntax,
)


def _changes(
    source: Source, node: syntax.SyntaxNode, statement: str, inputs: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Change]]:
    """With the statement that each stands in."""
    if isinstance(node, _SKIPPED) or _is_unused(node):
        return
    if isinstance(node, _STATEMENTS):
        statement = source.one_line(node)
    if isinstance(node, syntax.HierarchyInstantiationSyntax):
        yield from _connections(source, node, inputs)
        return
    for rule in RULES:
        for change in rule(source, node):
            yield statement, change
    for child in _runtime_parts(node):
        yield from _changes(source, child, statement, inputs)


_STATEMENTS = (
    syntax.ConditionalStatementSyntax,
    syntax.ExpressionStatementSyntax,
    syntax.ContinuousAssignSyntax,
    syntax.DeclaratorSyntax,
    syntax.CaseStatementSyntax,
)


def _is_unused(node: syntax.SyntaxNode) -> bool:
    return isinstance(node, syntax.DeclaratorSyntax) and node.name.valueText.startswith("unused")


def _runtime_parts(node: syntax.SyntaxNode) -> list[syntax.SyntaxNode]:
    """What is below the node and can be chosen while the simulation runs."""
    parts: Sequence[object]
    match node:
        case syntax.LoopGenerateSyntax():
            parts = [node.block]
        case syntax.IfGenerateSyntax():
            parts = [node.block, node.elseClause]
        case syntax.ForLoopStatementSyntax():
            parts = [node.statement]
        case syntax.MultipleConcatenationExpressionSyntax():
            parts = [node.concatenation]
        case syntax.StandardCaseItemSyntax():
            parts = [node.clause]
        case syntax.BinaryExpressionSyntax() if node.kind in _ASSIGNMENTS:
            parts = [node.right]
        case _:
            parts = list(node)
    return [part for part in parts if isinstance(part, syntax.SyntaxNode)]


_ASSIGNMENTS = (Kind.AssignmentExpression, Kind.NonblockingAssignmentExpression)


def _connections(
    source: Source, node: syntax.HierarchyInstantiationSyntax, inputs: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Change]]:
    """Expressions at inputs, and inputs of one bit that are stuck. An output's connection is a name or its part."""
    kind = node.type.valueText
    for instance in (part for part in node.instances if isinstance(part, syntax.HierarchicalInstanceSyntax)):
        assert instance.decl is not None
        name = instance.decl.name.valueText
        for port in (part for part in instance.connections if isinstance(part, syntax.NamedPortConnectionSyntax)):
            if port.name.valueText == "clock":
                continue
            statement = f"{kind} {name} {source.one_line(port)}"
            if port.name.valueText in inputs.get(kind, ()) and not _is_constant(source.text(port.expr)):
                for value in ("1'b0", "1'b1"):
                    yield statement, Change("input of an instance stuck", port.expr, value)
            yield from _changes(source, port.expr, statement, inputs)


# ---- how

Rule = Callable[[Source, syntax.SyntaxNode], Iterator[Change]]

_OTHER_OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    Kind.LogicalAndExpression: ("||",),
    Kind.LogicalOrExpression: ("&&",),
    Kind.BinaryAndExpression: ("|",),
    Kind.BinaryOrExpression: ("&",),
    Kind.BinaryXorExpression: ("~^",),
    Kind.AddExpression: ("-",),
    Kind.SubtractExpression: ("+",),
    Kind.EqualityExpression: ("!=",),
    Kind.InequalityExpression: ("==",),
    Kind.LessThanExpression: ("<=", ">="),
    Kind.LessThanEqualExpression: ("<", ">"),
    Kind.GreaterThanExpression: (">=", "<="),
    Kind.GreaterThanEqualExpression: (">", "<"),
    Kind.LogicalShiftLeftExpression: (">>",),
    Kind.LogicalShiftRightExpression: ("<<",),
    Kind.ArithmeticShiftRightExpression: (">>",),
}
_COMPARISONS = (
    Kind.EqualityExpression,
    Kind.InequalityExpression,
    Kind.LessThanExpression,
    Kind.LessThanEqualExpression,
    Kind.GreaterThanExpression,
    Kind.GreaterThanEqualExpression,
)
_SHIFTS = (Kind.LogicalShiftLeftExpression, Kind.LogicalShiftRightExpression, Kind.ArithmeticShiftRightExpression)
_SUMS = (Kind.AddExpression, Kind.SubtractExpression)
_REDUCTIONS = {Kind.UnaryBitwiseOrExpression: "&", Kind.UnaryBitwiseAndExpression: "|"}
_NEGATIONS = (Kind.UnaryLogicalNotExpression, Kind.UnaryBitwiseNotExpression, Kind.UnaryMinusExpression)
_LITERAL = re.compile(r"\d+|\d+'[bdh][\da-fA-F_]+")
_CONSTANT = re.compile(r"(\{\w+\{)?(1'b[01]|\d+|\d+'[bdh][\da-fA-F_]+|[A-Z][A-Z0-9_]*)(\}\})?")


def _is_constant(text: str) -> bool:
    return _CONSTANT.fullmatch(text.strip()) is not None


def operator_changed(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """AND for OR, == for !=, < for <=, + for −, one direction of a shift for the other."""
    if isinstance(node, syntax.BinaryExpressionSyntax):
        for operator in _OTHER_OPERATORS.get(node.kind, ()):
            yield Change("operator changed", node, f"{source.text(node.left)} {operator} {source.text(node.right)}")


def operand_dropped(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """One operand of an AND, an OR, a sum."""
    if isinstance(node, syntax.BinaryExpressionSyntax) and node.kind in _OTHER_OPERATORS:
        if node.kind in _COMPARISONS or node.kind in _SHIFTS:
            return
        for operand in (node.left, node.right):
            yield Change("operand dropped", node, source.text(operand))


def off_by_one(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """The right side of a comparison, a shift's amount, a constant that is added."""
    if not isinstance(node, syntax.BinaryExpressionSyntax):
        return
    left, operator, right = source.text(node.left), node.operatorToken.valueText, source.text(node.right)
    literal = _LITERAL.fullmatch(right) is not None
    if node.kind in _SHIFTS or (node.kind in _COMPARISONS and not right.startswith("{")):
        for sign in "+-":
            yield Change("off by one", node, f"{left} {operator} ({right} {sign} 1'b1)")
    elif node.kind in _SUMS and literal:
        yield Change("off by one", node, f"{left} {operator} ({right} + {right})")


def negation_dropped(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """Of !, ~ and −."""
    if isinstance(node, syntax.PrefixUnaryExpressionSyntax) and node.kind in _NEGATIONS:
        yield Change("negation dropped", node, source.text(node.operand))


def reduction_changed(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """All bits for any bit, and the other way round."""
    if isinstance(node, syntax.PrefixUnaryExpressionSyntax) and node.kind in _REDUCTIONS:
        yield Change("reduction changed", node, f"{_REDUCTIONS[node.kind]}{source.text(node.operand)}")


def condition_changed(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """Of an if or a ?: negated, or always, or never so; a reset that is dropped is among these."""
    if isinstance(node, syntax.ConditionalStatementSyntax | syntax.ConditionalExpressionSyntax):
        text = source.text(node.predicate)
        for value in ("1'b0", "1'b1"):
            yield Change("condition stuck", node.predicate, value)
        if not text.startswith("!") and not any(operator in text for operator in ("==", "!=", "<", ">")):
            yield Change("condition negated", node.predicate, f"!({text})")


def assignment_dropped(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """A register that keeps its value."""
    if isinstance(node, syntax.BinaryExpressionSyntax) and node.kind == Kind.NonblockingAssignmentExpression:
        yield Change("assignment dropped", node.right, source.text(node.left))


def constant_changed(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """A constant that is assigned, such as a reset's, or chosen by ?:, has its bits turned."""
    values: list[syntax.SyntaxNode] = []
    if isinstance(node, syntax.BinaryExpressionSyntax) and node.kind in _ASSIGNMENTS:
        values = [node.right]
    elif isinstance(node, syntax.ConditionalExpressionSyntax):
        values = [node.left, node.right]
    for value in values:
        text = source.text(value)
        if _is_constant(text):
            yield Change("constant changed", value, f"~{text}")


def replicated_bit_stuck(source: Source, node: syntax.SyntaxNode) -> Iterator[Change]:
    """A sign that is not extended, a gate that is always open or shut."""
    if isinstance(node, syntax.MultipleConcatenationExpressionSyntax):
        inside = [part for part in node.concatenation.expressions if isinstance(part, syntax.SyntaxNode)]
        if len(inside) == 1 and not _is_constant(source.text(inside[0])):
            for value in ("1'b0", "1'b1"):
                yield Change("replicated bit stuck", inside[0], value)


RULES: tuple[Rule, ...] = (
    operator_changed,
    operand_dropped,
    off_by_one,
    negation_dropped,
    reduction_changed,
    condition_changed,
    assignment_dropped,
    constant_changed,
    replicated_bit_stuck,
)
