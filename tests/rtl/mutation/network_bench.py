"""Whole images on a machine that holds mutants: which of them the harness and its comparison find."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule import io
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.counts import counts_of_the_rules
from dtss.rtl.generate import generate, read_manifest
from dtss.rtl.network_run import Harness, Watched
from dtss.rtl.program import program
from dtss.rtl.simulators import BenchError
from dtss.rtl.verify import (
    Case,
    Job,
    all_mismatches,
    cycle_limit,
    golden_cases,
    harness_for,
    image_report,
    layer_reports,
)
from tests.rtl.mutation.netlists import AnyMutant, NetlistMutant, Netlists, parameters_of
from tests.rtl.mutation.schemata import write_schemata
from tests.rtl.mutation.sites import Mutant


@dataclass(frozen=True)
class NetworkBench:
    """One network. `folder` is its own; images: those that are run."""

    name: str
    loaded: LoadedSchedule
    folder: Path
    images: tuple[int, ...] = (0, 1)

    def takes(self, mutant: AnyMutant) -> bool:
        """Any of the source."""
        return isinstance(mutant, Mutant)

    def build(self, mutants: Mapping[int, AnyMutant]) -> None:
        """Generate, put the mutants in, compile."""
        self._generate()
        self._put_in(mutants)
        self._harness.build()

    def _generate(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        generate(self.loaded, self._generated)

    def _put_in(self, mutants: Mapping[int, AnyMutant]) -> None:
        sources = sorted((self._generated / "rtl").glob("*.v"))
        own = {number: mutant for number, mutant in mutants.items() if isinstance(mutant, Mutant)}
        write_schemata(sources, own, self._generated / "rtl")

    def kills(self, number: int) -> bool:
        """Whether the mutant is found; number 0 is none."""
        name = f"mutant{number}"
        try:
            watched = self._harness.run(
                self._pixels, cycle_limit(self._cases), name=name, plusargs=[f"+mutant={number}"]
            )
        except BenchError:
            return True
        finally:
            digest = _digest(self._job.work / name)
            shutil.rmtree(self._job.work / name)
        if number and digest == self._digest_of_none:
            return False
        return self._is_wrong(watched)

    @cached_property
    def _digest_of_none(self) -> str:
        self._harness.run(self._pixels, cycle_limit(self._cases), name="none")
        return _digest(self._job.work / "none")

    def _is_wrong(self, watched: list[Watched]) -> bool:
        seen = list(zip(self._cases, watched, strict=True))
        if any(all_mismatches([], [image_report(case, each)]) for case, each in seen):
            return True
        rows = program(self.loaded.schedule, self.loaded.tensors)
        engine = self._harness.engine
        return any(all_mismatches(layer_reports(engine, rows, case, each), []) for case, each in seen)

    @property
    def _generated(self) -> Path:
        return self.folder / "generated"

    @cached_property
    def _job(self) -> Job:
        return Job(self._generated, self.folder / "work", (), self.images, 0, counts_of_the_rules)

    @cached_property
    def _cases(self) -> list[Case]:
        return golden_cases(self._job, self.loaded)

    @cached_property
    def _harness(self) -> Harness:
        return harness_for(self._job, read_manifest(self._generated), self.loaded)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self.loaded.tensors[io.IMAGES][list(self.images)]
        return pixels


@dataclass(frozen=True)
class NetlistBench(NetworkBench):
    """The same with netlists in place of some modules, at the sizes that they have in this network."""

    def takes(self, mutant: AnyMutant) -> bool:
        """Any of a netlist."""
        return isinstance(mutant, NetlistMutant)

    def find(self, modules: Sequence[str], count: int) -> list[NetlistMutant]:
        """So many of each module."""
        self._generate()
        return self._netlists(modules).find(count)

    def write_netlists(self, mutants: Mapping[int, AnyMutant], folder: Path) -> None:
        """In place of their modules in another folder."""
        self._generate()
        own = {number: mutant for number, mutant in mutants.items() if isinstance(mutant, NetlistMutant)}
        self._netlists(sorted({mutant.module for mutant in own.values()})).write(own, folder)

    def _put_in(self, mutants: Mapping[int, AnyMutant]) -> None:
        own = {number: mutant for number, mutant in mutants.items() if isinstance(mutant, NetlistMutant)}
        netlists = self._netlists(sorted({mutant.module for mutant in own.values()}))
        write_schemata(sorted((self._generated / "rtl").glob("*.v")), {}, self._generated / "rtl")
        netlists.write(own, self._generated / "rtl")

    def _netlists(self, modules: Sequence[str]) -> Netlists:
        sources = sorted((self._generated / "rtl").glob("*.v"))
        netlists = Netlists(sources, parameters_of(sources, modules), self.folder / "netlists")
        netlists.prepare()
        return netlists


def _digest(folder: Path) -> str:
    """Of everything that a run has written."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
