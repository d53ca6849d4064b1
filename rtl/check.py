"""Structure checks on Verilog files, with pyverilog: what a simulation cannot prove.

Each rule is a function from all parsed modules to findings; `RULES` is the list of them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pyverilog.vparser import ast
from pyverilog.vparser.parser import ParseError, VerilogParser


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that a file breaks."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Module:
    """One parsed file, which holds one module of the same name."""

    file: str
    text: str
    definition: ast.ModuleDef

    @property
    def name(self) -> str:
        return str(self.definition.name)

    def nodes(self, *kinds: type[Any]) -> Iterator[Any]:
        """Every syntax node of these kinds, outermost first."""
        return (node for node in walk(self.definition) if isinstance(node, kinds))

    def finding(self, node: ast.Node, rule: Rule, message: str) -> Finding:
        return Finding(file=self.file, line=int(node.lineno or 0), rule=rule.__name__, message=message)


Rule = Callable[[Mapping[str, Module]], Iterator[Finding]]


def check_structure(files: Sequence[Path]) -> list[Finding]:
    """All findings in `files`: first those that cannot be parsed, else every rule's."""
    parser = _parser()
    modules: dict[str, Module] = {}
    findings: list[Finding] = []
    for file in files:
        parsed = _parse(parser, file)
        if isinstance(parsed, Finding):
            findings.append(parsed)
        else:
            modules[parsed.name] = parsed
    if findings:
        return findings
    return [finding for rule in RULES for finding in rule(modules)]


def walk(node: ast.Node) -> Iterator[ast.Node]:
    """The node and everything below it."""
    yield node
    for child in node.children():
        yield from walk(child)


def _parser() -> VerilogParser:
    with tempfile.TemporaryDirectory() as folder:  # it writes its tables
        return VerilogParser(outputdir=folder, debug=False)


def _parse(parser: VerilogParser, file: Path) -> Module | Finding:
    text = file.read_text(encoding="utf-8")
    parser.lexer.reset_lineno()
    try:
        tree = parser.parse(_without_properties(text))
    except ParseError as error:
        return Finding(file=file.name, line=0, rule="parses", message=str(error))
    definitions = [item for item in tree.description.definitions if isinstance(item, ast.ModuleDef)]
    if [definition.name for definition in definitions] != [file.stem]:
        return Finding(file=file.name, line=0, rule="parses", message=f"must hold the module {file.stem} and no other")
    return Module(file.name, text, definitions[0])


def _without_properties(text: str) -> str:
    """Without what is only there for a proof, which is no hardware; lines keep their numbers."""
    return _PROPERTIES.sub(lambda found: "\n" * found.group().count("\n"), text)


_PROPERTIES = re.compile(r"^`ifdef FORMAL\n.*?^`endif\n", re.MULTILINE | re.DOTALL)


def no_multiplication(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """No *, /, % or ** on a signal. On parameters, genvars and loop indices they are arithmetic of the elaboration."""
    for module in modules.values():
        constants = {node.name for node in module.nodes(ast.Parameter, ast.Localparam, ast.Genvar, ast.Integer)}
        for node in module.nodes(ast.Times, ast.Divide, ast.Mod, ast.Power):
            names = {part.name for part in walk(node) if isinstance(part, ast.Identifier)}
            if names - constants:
                found = f"{type(node).__name__} of {', '.join(sorted(names - constants))}"
                yield module.finding(node, no_multiplication, f"{found}: the array multiplies nothing")


def membrane_writes_are_gated(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """A row of `membranes` is assigned only under `step_live`, and `step_live` is the mask unit's all the way."""
    rule = membrane_writes_are_gated
    for module in modules.values():
        for node, conditions in _assignments(module.definition, ()):
            if _is_row_of(node.left, "membranes") and "step_live" not in _conjuncts(conditions):
                yield module.finding(node, rule, "a membrane row is written without the condition step_live")
        for instance in module.nodes(ast.Instance):
            if instance.module == "membrane_memory":
                yield from _live_from_mask(modules, module, instance)


def _live_from_mask(modules: Mapping[str, Module], module: Module, memory: ast.Instance) -> Iterator[Finding]:
    """The memory's step_live is the walk's `update`; that is the mask unit's step_live, three cycles later."""
    rule = membrane_writes_are_gated
    live = _connection(memory, "step_live")
    if live not in [_connection(walker, "update") for walker in _instances(module, "walk_controller")]:
        yield module.finding(memory, rule, f"step_live is {live}, which is not the walk_controller's update")
    walker = modules.get("walk_controller")
    if walker is None:
        return
    if "step_live" not in [_connection(mask, "step_live") for mask in _instances(walker, "mask_unit")]:
        yield walker.finding(walker.definition, rule, "step_live does not come from the mask unit")
    for assignment in walker.nodes(ast.NonblockingSubstitution):
        for signal, implied in (("reads", "step_live"), ("visit", "reads"), ("update", "visit")):
            if _text(assignment.left) == signal and implied not in _conjuncts((assignment.right.var,)):
                yield walker.finding(assignment, rule, f"{signal} does not imply {implied}")


def ports_are_as_declared(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """The port list in the header comment is the module's: names, directions, widths, order."""
    for module in modules.values():
        declared = _PORT_LINE.findall(module.text.split("\nmodule ", 1)[0].split("// Ports:\n")[-1])
        actual = []
        for port in module.definition.portlist.ports:
            direction = "in" if isinstance(port.first, ast.Input) else "out"
            actual.append((port.first.name, direction, _width(port.first.width)))
        for index in range(max(len(declared), len(actual))):
            header, code = (tuple(ports[index]) if index < len(ports) else None for ports in (declared, actual))
            if header != code:
                message = f"the header says {_port(header)}, the code {_port(code)}"
                yield module.finding(module.definition, ports_are_as_declared, message)
                break


_PORT_LINE = re.compile(r"^//   (\w+)\s+(in|out)\s+(\S+)", re.MULTILINE)


def only_own_modules(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """Every instance is of a module that is here: no vendor's primitive."""
    for module in modules.values():
        for instance in module.nodes(ast.Instance):
            if instance.module not in modules:
                yield module.finding(instance, only_own_modules, f"{instance.module} is not among the files")


def lint_exceptions_have_reasons(modules: Mapping[str, Module]) -> Iterator[Finding]:
    """A lint_off is followed by its reason, in a comment on the same line."""
    for module in modules.values():
        for number, line in enumerate(module.text.splitlines(), 1):
            if "lint_off" in line and not re.search(r"lint_off\s+\w+\s*\*/\s*//\s*\S+", line):
                message = "say why, in a comment after it"
                yield Finding(file=module.file, line=number, rule="lint_exceptions_have_reasons", message=message)


RULES: tuple[Rule, ...] = (
    no_multiplication,
    membrane_writes_are_gated,
    ports_are_as_declared,
    only_own_modules,
    lint_exceptions_have_reasons,
)


def _assignments(node: ast.Node, conditions: tuple[ast.Node, ...]) -> Iterator[tuple[Any, tuple[ast.Node, ...]]]:
    """Every assignment in always blocks with the conditions that must hold for it to happen."""
    if isinstance(node, ast.NonblockingSubstitution | ast.BlockingSubstitution):
        yield node, conditions
    elif isinstance(node, ast.IfStatement):
        yield from _assignments(node.true_statement, (*conditions, node.cond))
        if node.false_statement is not None:
            yield from _assignments(node.false_statement, conditions)
    else:
        for child in node.children():
            yield from _assignments(child, conditions)


def _conjuncts(conditions: Sequence[ast.Node]) -> set[str]:
    """Names that must be 1 for all conditions to hold: operands of && and of nothing else."""
    names: set[str] = set()
    for condition in conditions:
        if isinstance(condition, ast.Land):
            names |= _conjuncts((condition.left, condition.right))
        elif isinstance(condition, ast.Identifier):
            names.add(str(condition.name))
    return names


def _is_row_of(left: ast.Node, memory: str) -> bool:
    target = left.var if isinstance(left, ast.Lvalue) else left
    while isinstance(target, ast.Pointer | ast.Partselect):
        target = target.var
        if isinstance(target, ast.Identifier):
            return bool(target.name == memory)
    return False


def _instances(module: Module, kind: str) -> list[ast.Instance]:
    return [instance for instance in module.nodes(ast.Instance) if instance.module == kind]


def _connection(instance: ast.Instance, port: str) -> str | None:
    """The expression at a port, as text."""
    return next((_text(item.argname) for item in instance.portlist if item.portname == port), None)


def _text(node: ast.Node | None) -> str:
    """An expression as Verilog, without spaces or needless parentheses."""
    symbols = {ast.Times: "*", ast.Plus: "+", ast.Minus: "-", ast.Divide: "/"}
    match node:
        case None:
            return ""
        case ast.Lvalue():
            return _text(node.var)
        case ast.Identifier():
            return str(node.name)
        case ast.IntConst():
            return str(node.value)
        case ast.Operator() if type(node) in symbols:
            return f"{_text(node.left)}{symbols[type(node)]}{_text(node.right)}"
        case _:
            return type(node).__name__


def _width(width: ast.Width | None) -> str:
    """Bits of [msb:0], as the header writes them."""
    if width is None:
        return "1"
    top = width.msb
    if isinstance(top, ast.IntConst):
        return str(int(top.value) + 1)
    if isinstance(top, ast.Minus) and _text(top.right) == "1":
        return _text(top.left)
    return f"{_text(top)}+1"


def _port(port: tuple[str, ...] | None) -> str:
    return "nothing" if port is None else f"{port[0]} {port[1]} {port[2]}"
