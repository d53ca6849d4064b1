"""Whole images on the generated top: builds the C++ harness with Verilator, runs it, reads what it watched."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.rtl.engine import COUNTERS, Engine
from dtss.rtl.memory_image import bits_of
from dtss.rtl.shell import Shell
from dtss.rtl.simulators import BenchError, bench_file, verilator_environment

EXECUTABLE = "network_bench"
BYTE = 8


class Answer(msgspec.Struct, frozen=True):
    """What the ports said of one image. ended: all logits came, TLAST with the last.  program_row: the last reached."""

    ended: bool
    first_cycle: int
    program_row: int
    status: int
    cycles: int
    logits: list[int]
    counters: list[int]


@dataclass(frozen=True)
class Records:
    """In the order in which they were seen: the program row, the cycle, and each quantity's elements [n, lanes]."""

    row: NDArray[np.int64]
    cycle: NDArray[np.int64]
    values: dict[str, NDArray[np.int64]]

    def of_row(self, row: int) -> Records:
        """Those of one row of the program."""
        first, last = np.searchsorted(self.row, (row, row + 1))
        return self._chosen(slice(first, last))

    def sorted_by(self, name: str) -> Records:
        """In the order of a quantity of one lane."""
        return self._chosen(np.argsort(self.values[name][:, 0], kind="stable"))

    def _chosen(self, which: slice | NDArray[np.int64]) -> Records:
        return Records(self.row[which], self.cycle[which], {name: each[which] for name, each in self.values.items()})


@dataclass(frozen=True)
class Watched:
    """One image. walks: every visit.  writes: of the elementwise unit; `address` is one of its values.

    row_ends: the cycle after each program row's last.  counters: so far, then [rows, counters].
    """

    answer: Answer
    walks: Records
    writes: Records
    row_ends: NDArray[np.int64]
    counters: NDArray[np.int64]


@dataclass(frozen=True)
class Harness:
    """Where the harness of one generated folder is built and run."""

    folder: Path
    work: Path
    engine: Engine
    shell: Shell
    latency: int

    def build(self, *, waves: bool = False) -> None:
        """Compile, if anything changed; `waves` with waveforms, in a folder of its own."""
        folder = self._build_folder(waves)
        folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | verilator_environment()
        sources = [
            *sorted((self.folder / "rtl").glob("*.v")),
            bench_file("network_bench.v"),
            bench_file("network_bench.cpp"),
        ]
        parameters = (f"-G{name}={value}" for name, value in self._parameters().items())
        verilator = [
            "verilator", "-cc", "--exe", "-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "fast", "--x-initial", "fast",
            "--noassert", "--Mdir", str(folder), "--top-module", "network_bench", "--prefix", "Vtop",
            "-o", EXECUTABLE, *(["--trace"] if waves else []), *parameters, *map(str, sources),
        ]  # fmt: skip
        jobs = str(len(os.sched_getaffinity(0)))
        make = [
            "make",
            "-s",
            "-C",
            str(folder),
            "-f",
            "Vtop.mk",
            "-j",
            jobs,
            "OPT_FAST=-O2",
            "OPT_SLOW=-O0",
            "OPT_GLOBAL=-O1",
        ]
        with (folder / "log.txt").open("wb") as log:
            for command in (verilator, make):
                done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
                if done.returncode:
                    raise BenchError(f"the harness does not build, see {log.name}")

    def run(
        self, pixels: np.ndarray, cycle_limit: int, *, name: str = "network", plusargs: Sequence[str] = ()
    ) -> list[Watched]:
        """pixels [B, H, W, C]: what was seen of each image. name: of the run's folder.  plusargs: for the Verilog."""
        job = self._write_job(pixels, cycle_limit, name)
        self._execute([str(job), *plusargs], name, waves=False)
        return [self._read(job, image) for image in range(len(pixels))]

    def trace(self, pixels: np.ndarray, cycle_limit: int, path: Path, cycles: tuple[int, int]) -> None:
        """The same run again, with a waveform of some cycles."""
        self.build(waves=True)
        job = self._write_job(pixels, cycle_limit, "network")
        self._execute([str(job), str(path), *map(str, cycles)], "network", waves=True)

    def _build_folder(self, waves: bool) -> Path:
        return self.work / ("build_network_waves" if waves else "build_network")

    def _parameters(self) -> dict[str, int]:
        engine = self.engine
        return {
            "PIXEL_DATA_BITS": BYTE * self._pixel_bytes,
            "DATA_BITS": self.shell.data_bits,
            "ROWS": engine.rows,
            "COLUMNS": engine.columns,
            "MEMBRANE_BITS": engine.membrane_bits,
            "VALUE_BITS": engine.value_bits,
            "ACCUMULATOR_BITS": engine.accumulator_bits,
            "COUNTERS_BITS": len(COUNTERS) * engine.counter_bits,
            "ADDRESS_BITS": engine.address_bits,
            "PROGRAM_ADDRESS_BITS": engine.program_address_bits,
        }

    @property
    def _pixel_bytes(self) -> int:
        return -(-self.engine.pixel_bits // BYTE)

    def _write_job(self, pixels: np.ndarray, cycle_limit: int, name: str) -> Path:
        job = self.work / name
        shutil.rmtree(job, ignore_errors=True)
        job.mkdir(parents=True)
        numbers = {
            "images": len(pixels),
            "positions": self.shell.positions,
            "pixel_bytes": self._pixel_bytes,
            "beat_bytes": self.shell.data_bits // BYTE,
            "logits": self.shell.classes * self.engine.time_steps,
            "latency": self.latency,
            "resident": int(self.shell.weights_resident),
            "cycle_limit": cycle_limit,
            "outside": "memories/outside.bin",
        }
        (job / "job.txt").write_text("".join(f"{name} {value}\n" for name, value in numbers.items()), encoding="ascii")
        bits = bits_of(pixels.astype(np.int64), self.engine.pixel_planes).reshape(
            len(pixels) * self.shell.positions, -1
        )
        (job / "pixels.bin").write_bytes(np.packbits(bits, axis=1, bitorder="little").tobytes())
        return job

    def _execute(self, arguments: Sequence[str], name: str, *, waves: bool) -> None:
        log = self.work / f"{name}.log"
        command = [str(self._build_folder(waves) / EXECUTABLE), *arguments]
        with log.open("wb") as output:
            # $readmemh finds the memories from the generated folder
            done = subprocess.run(command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise BenchError(f"the harness stopped: {said[-1] if said else f'exit code {done.returncode}'}, see {log}")

    def _read(self, job: Path, image: int) -> Watched:
        engine = self.engine
        answer = msgspec.json.decode((job / f"answer{image}.json").read_bytes(), type=Answer)
        walks = [Port(name, width, engine.columns) for name, width in engine.walk_widths.items()]
        written = [Port("word", 1, engine.rows), Port("currents", engine.membrane_bits, engine.columns)]
        cycle = Port("cycle", 64, 1, signed=False)
        counts = Port("counts", engine.counter_bits, len(COUNTERS), signed=False)
        ends = _read_ports(job / f"rows{image}.bin", [cycle, counts])
        return Watched(
            answer=answer,
            walks=_read_records(job / f"walks{image}.bin", walks),
            writes=_read_records(job / f"writes{image}.bin", [Port("address", 32, 1, signed=False), *written]),
            row_ends=ends["cycle"][:, 0],
            counters=ends["counts"],
        )


@dataclass(frozen=True)
class Port:
    """A value as Verilator keeps it: `lanes` elements of `width` bits, one of a bit is never negative."""

    name: str
    width: int
    lanes: int
    signed: bool = True

    @property
    def bytes(self) -> int:
        bits = self.width * self.lanes
        return next(
            (bits_of_port // BYTE for bits_of_port in (8, 16, 32, 64) if bits <= bits_of_port), -(-bits // 32) * 4
        )

    def elements(self, raw: NDArray[np.uint8]) -> NDArray[np.int64]:
        """[n, bytes] → [n, lanes]."""
        starts = np.arange(self.lanes) * self.width
        length = -(-(self.width + BYTE - 1) // BYTE) if self.width % BYTE else self.width // BYTE
        padded = np.pad(raw, ((0, 0), (0, length)))
        bits = np.zeros((len(raw), self.lanes), np.uint64)
        for index in range(length):
            bits |= padded[:, starts // BYTE + index].astype(np.uint64) << np.uint64(BYTE * index)
        spare = np.uint64(64 - self.width)
        values = ((bits >> (starts % BYTE).astype(np.uint64)) << spare).view(np.int64)
        return (
            values >> np.int64(spare)
            if self.signed and self.width > 1
            else (values.view(np.uint64) >> spare).view(np.int64)
        )


def _read_ports(path: Path, ports: Sequence[Port]) -> dict[str, NDArray[np.int64]]:
    ends = np.cumsum([port.bytes for port in ports])
    raw = np.fromfile(path, np.uint8).reshape(-1, ends[-1])
    return {port.name: port.elements(raw[:, end - port.bytes : end]) for port, end in zip(ports, ends, strict=True)}


def _read_records(path: Path, ports: Sequence[Port]) -> Records:
    values = _read_ports(path, [Port("row", 32, 1), Port("cycle", 32, 1), *ports])
    return Records(values.pop("row")[:, 0], values.pop("cycle")[:, 0], values)
