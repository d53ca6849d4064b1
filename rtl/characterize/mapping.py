"""A unit of the generated Verilog, mapped on its own to the cells of a liberty file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dtss.rtl.characterize.gate_builder import build
from dtss.rtl.characterize.gates import GateNetlist
from dtss.rtl.characterize.library import read_library
from dtss.rtl.characterize.mapped import MappedModule, read_mapped
from dtss.rtl.generate import TOP
from dtss.rtl.simulators import bench_source
from dtss.rtl.synthesis import Job, find_tool, prepare, read_liberty, run_yosys

CLOCK_GATE = b"clock_gating_integrated_cell"  # in a library that has clock gates
LEAST_GATED = 4  # flip-flops behind one clock gate
WORD_FLAG = "word_flag"  # the one unit that no module of the design is


class Mapper:
    """Maps one unit after the other. gated: registers with an enable get clock gates, if the library has some."""

    def __init__(
        self, folder: Path, work: Path, liberty: Path, slew_ps: float, timeout_seconds: int, *, gated: bool
    ) -> None:
        self.library = read_library(liberty, lambda name: False)  # its units, before minutes go by
        self.yosys = find_tool("yosys", "pip install 'dtss[formal]'")
        sources = (path for path in sorted((folder / "rtl").glob("*.v")) if path.stem != TOP)
        self.job = Job(
            sources=(*sources, bench_source(WORD_FLAG)),
            contents=(),
            top=TOP,
            target="liberty",
            work=work / "characterize",
            liberty=liberty,
            timeout_seconds=timeout_seconds,
        )
        self.liberty, self.slew_ps, self.tool = liberty, slew_ps, ""
        prepare(self.job)
        read_liberty(self.job, liberty, self.yosys)
        self.gated = gated and CLOCK_GATE in (self.job.work / "cells.lib").read_bytes()

    def map(self, module: str, parameters: Mapping[str, int]) -> GateNetlist:
        """The unit with these parameters, in cells, ready to simulate."""
        mapped = self._mapped(module, parameters)
        used = {cell.type for cell in mapped.cells.values()}
        library = read_library(self.liberty, used.__contains__)
        return build(module, mapped, library, self.slew_ps)

    def _mapped(self, module: str, parameters: Mapping[str, int]) -> MappedModule:
        sizes = " ".join(f"-set {name} {value}" for name, value in parameters.items())
        gates = [f"clockgate -liberty cells.lib -min_net_size {LEAST_GATED}"] if self.gated else []
        commands = [
            f"read_verilog {' '.join(f'rtl/{file.name}' for file in self.job.sources)}",
            f"chparam {sizes} {module}",
            f"hierarchy -check -top {module}",
            f"synth -top {module} -flatten",
            *gates,
            "dfflibmap -liberty cells.lib",
            "abc -liberty cells.lib",
            "opt_clean -purge",
            f"write_json {module}.json",
        ]
        run_yosys(self.job, self.yosys, module, commands)
        netlist = read_mapped(self.job.work / f"{module}.json")
        self.tool = netlist.creator.partition(" (")[0]
        return netlist.top
