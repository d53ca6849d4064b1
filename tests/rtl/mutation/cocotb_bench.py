"""A cocotb bench on modules that hold mutants: which of them its tests find."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dtss.rtl.simulators import BenchError, BenchRequest, bench_source, run_bench
from tests.rtl.mutation.netlists import AnyMutant, NetlistMutant
from tests.rtl.mutation.network_bench import NetlistBench
from tests.rtl.mutation.schemata import write_schemata
from tests.rtl.mutation.sites import Mutant, below

SEED = 20240611


@dataclass(frozen=True)
class CocotbBench:
    """One bench at one size. harness: Verilog files of the benches.  inputs: files that a run reads, by name.

    tested: modules that the tests are about, if they are not all below the toplevel.
    """

    name: str
    test_module: str
    toplevel: str
    parameters: Mapping[str, int]
    sources: Sequence[Path]
    harness: Sequence[str]
    folder: Path
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    tested: Sequence[str] = ()

    def takes(self, mutant: AnyMutant) -> bool:
        """One of a module that it simulates."""
        return isinstance(mutant, Mutant) and mutant.module in self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        files = [*self.sources, *map(bench_source, self.harness)]
        return frozenset[str]().union(*(below(module, files) for module in self.tested or (self.toplevel,)))

    def build(self, mutants: Mapping[int, AnyMutant]) -> None:
        """Put the mutants in, compile."""
        shutil.rmtree(self.folder, ignore_errors=True)
        done = run_bench(self._request(0, self._put_in(mutants), build=True))
        if not done.passed:
            raise BenchError(f"{self.name} fails without a mutant, see {done.log}")

    def _put_in(self, mutants: Mapping[int, AnyMutant]) -> list[Path]:
        own = {number: mutant for number, mutant in mutants.items() if isinstance(mutant, Mutant)}
        return write_schemata(self.sources, own, self.folder / "rtl")

    def kills(self, number: int) -> bool:
        """Whether the mutant is found; number 0 is none."""
        request = self._request(number, (), build=False)
        found = not run_bench(request).passed
        shutil.rmtree(request.run_folder)
        return found

    def _request(self, number: int, sources: Sequence[Path], *, build: bool) -> BenchRequest:
        run = self.folder / f"mutant{number}"
        for name, content in self.inputs.items():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_bytes(content)
        return BenchRequest(
            simulator="verilator",
            sources=(*map(str, sources), *(str(bench_source(name)) for name in self.harness)),
            toplevel=self.toplevel,
            parameters=dict(self.parameters),
            test_module=self.test_module,
            build_folder=str(self.folder / "build"),
            run_folder=str(run),
            seed=SEED,
            plusargs=(f"+mutant={number}",),
            build=build,
        )


@dataclass(frozen=True, kw_only=True)
class CocotbNetlistBench(CocotbBench):
    """The same with netlists of a network's modules; `parameters` give them the sizes that they have there."""

    network: NetlistBench

    def takes(self, mutant: AnyMutant) -> bool:
        """One of a netlist that it simulates."""
        return isinstance(mutant, NetlistMutant) and mutant.module in self._modules

    def _put_in(self, mutants: Mapping[int, AnyMutant]) -> list[Path]:
        written = write_schemata(self.sources, {}, self.folder / "rtl")
        self.network.write_netlists(mutants, self.folder / "rtl")
        return written
