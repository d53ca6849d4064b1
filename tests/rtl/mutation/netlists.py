"""Mutants of netlists: Yosys makes them of a module at the sizes of one machine, with an input that chooses one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyslang import ast, syntax

from dtss.rtl.generate import TOP
from dtss.rtl.simulators import BenchError
from dtss.rtl.synthesis import find_tool
from tests.rtl.mutation.schemata import CHOSEN
from tests.rtl.mutation.sites import Mutant, Source, nodes

SEED = 7
CHOICE_BITS = 32
SPARE = 4  # mutations that Yosys proposes for each that is wanted: those of a clock are left out
Parameters = Mapping[str, int]


@dataclass(frozen=True)
class NetlistMutant:
    """One mutation of Yosys. command: without what chooses it.  original: the source of the cell that it changes."""

    module: str
    mode: str
    cell: str
    original: str
    command: str
    number: int

    @property
    def rule(self) -> str:
        return f"netlist {self.mode}"

    def __str__(self) -> str:
        which = f" (number {self.number})" if self.number > 1 else ""
        return f"{self.module}: {self.mode} at {self.cell} of {self.original}{which}"


AnyMutant = Mutant | NetlistMutant


def parameters_of(sources: Sequence[Path], modules: Sequence[str]) -> dict[str, Parameters]:
    """Of each module where the top instantiates it; all its instances must have the same."""
    compilation = ast.Compilation()
    for path in sources:
        compilation.addSyntaxTree(syntax.SyntaxTree.fromFile(str(path)))
    found: dict[str, set[tuple[tuple[str, int], ...]]] = defaultdict(set)
    for instance in _instances(next(top for top in compilation.getRoot().topInstances if top.name == TOP)):
        name = instance.body.definition.name
        if name in modules:
            numbers = (part for part in instance.body.parameters if isinstance(part, ast.ParameterSymbol))
            found[name].add(tuple((part.name, int(str(part.value))) for part in numbers if not part.isLocalParam))
    for name in modules:
        if len(found[name]) != 1:
            raise BenchError(f"{name} has instances of {len(found[name])} sizes, and a netlist has one")
    return {name: dict(next(iter(sizes))) for name, sizes in found.items()}


def _instances(instance: ast.InstanceSymbol) -> Iterator[ast.InstanceSymbol]:
    yield instance
    waiting: list[Any] = [instance.body]  # scopes, which the stubs do not call so
    while waiting:
        for member in waiting.pop():
            if isinstance(member, ast.InstanceSymbol):
                yield from _instances(member)
            elif isinstance(member, ast.GenerateBlockArraySymbol | ast.GenerateBlockSymbol):
                waiting.append(member)


@dataclass(frozen=True)
class Netlists:
    """Yosys on modules at their sizes."""

    sources: Sequence[Path]
    sizes: Mapping[str, Parameters]
    folder: Path

    def prepare(self) -> None:
        """Copy the sources, for what they are a part of may be changed: Yosys sees its own folder only."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "rtl").mkdir(parents=True)
        for path in self.sources:
            shutil.copyfile(path, self.folder / "rtl" / path.name)

    def find(self, count: int) -> list[NetlistMutant]:
        """So many of each module."""
        return [mutant for module in self.sizes for mutant in self._of_module(module, count)]

    def _of_module(self, module: str, count: int) -> list[NetlistMutant]:
        self._run(module, [f"mutate -list {SPARE * count} -seed {SEED} -o {module}.txt"])
        seen: Counter[tuple[str, ...]] = Counter()
        mutants = []
        for line in (self.folder / f"{module}.txt").read_text(encoding="utf-8").splitlines():
            mode, cell, port = (_option(line, name) for name in ("mode", "cell", "port"))
            if port in ("CLK", "ARST"):
                continue
            place = f"{_cell_name(cell)}.{port}[{_option(line, 'portbit')}]"
            original = self._source(module, re.findall(r"-src (\S+)", line))
            key = (mode, place, original)
            seen[key] += 1
            mutants.append(NetlistMutant(module, mode, place, original, line, seen[key]))
        return mutants[:count]

    def _source(self, module: str, places: Sequence[str]) -> str:
        """The shortest text that Yosys says the cell comes from."""
        texts = []
        for place in places:
            found = re.fullmatch(r"rtl/(\w+)\.v:(\d+)\.(\d+)-(\d+)\.(\d+)", place)
            if found is None:
                continue
            lines = self._path(found[1]).read_bytes().splitlines(keepends=True)
            first, start, last, end = map(int, found.groups()[1:])
            text = b"".join(lines[first - 1 : last])
            cut = text[start - 1 : len(text) - len(lines[last - 1]) + end - 1]
            texts.append(" ".join(cut.decode(errors="replace").split()))
        return texts[-1][:80] if texts else "the module"

    def write(self, mutants: Mapping[int, NetlistMutant], folder: Path) -> None:
        """Into the folder of the generated Verilog, in place of their modules; `mutants` are of all of them."""
        for module in self.sizes:
            own = {number: mutant for number, mutant in mutants.items() if mutant.module == module}
            commands = [
                mutant.command.replace("mutate ", f"mutate -ctrl mutant {CHOICE_BITS} {number} ", 1)
                for number, mutant in own.items()
            ]
            self._run(module, [*commands, f"rename {module} {module}_netlist", f"write_verilog -noattr {module}.out"])
            netlist = (self.folder / f"{module}.out").read_text(encoding="utf-8")
            (folder / f"{module}.v").write_text(wrapper(self._path(module)) + netlist, encoding="utf-8")

    def _path(self, module: str) -> Path:
        return self.folder / "rtl" / f"{module}.v"

    def _run(self, module: str, commands: Sequence[str]) -> None:
        """With the module read at its sizes, everything below it flat."""
        numbers = " ".join(f"-set {name} {value}" for name, value in self.sizes[module].items())
        script = [
            "read_verilog rtl/*.v", f"chparam {numbers} {module}", f"hierarchy -check -top {module}", "proc",
            "flatten", "opt -full", "wreduce", "opt_clean", "memory_collect", *commands,
        ]  # fmt: skip
        (self.folder / f"{module}.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        yosys = find_tool("yosys", "pip install 'dtss[formal]'")
        log = self.folder / f"{module}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [*yosys, "-s", f"{module}.ys"], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise BenchError(f"Yosys fails on {module}, see {log}")


def wrapper(path: Path) -> str:
    """The module with its ports and parameters, which has nothing inside but its netlist."""
    source = Source(path)
    header = next(node for node in nodes(source.tree.root) if isinstance(node, syntax.ModuleHeaderSyntax))
    ports = [
        node.declarator.name.valueText for node in nodes(header) if isinstance(node, syntax.ImplicitAnsiPortSyntax)
    ]
    connections = ", ".join(f".{name}({name})" for name in ports)
    instance = f"{source.module}_netlist netlist (.mutant({CHOSEN}), {connections});"
    return f"{source.text(header)}\n    {instance}\nendmodule\n\n"


def _cell_name(cell: str) -> str:
    """Yosys' own without file, line and number: where it is below the module, and its kind."""
    inside = re.match(r"\$flatten\\(.+?)\.\$", cell)
    kinds = re.findall(r"\$([a-z_]+)\$", cell)
    kind = kinds[-1] if kinds else cell.lstrip("\\")
    return f"{inside[1]} {kind}" if inside else kind


def _option(line: str, name: str) -> str:
    found = re.search(rf"-{name} (\S+)", line)
    return "" if found is None else found[1]
