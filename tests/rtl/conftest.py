"""Schedules that many tests need: of the small network, and of the digits network of the demo."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.simulators import MissingToolError
from dtss.rtl.synthesis import find_tool
from tests.rtl.small_network import Machine, small_network


@pytest.fixture
def small_schedule(tmp_path: Path) -> Callable[..., Path]:
    """schedule.json of the small network for a machine and a time order; `streams`: weights do not stay on chip."""

    def make(
        machine: Machine = (16, 16, 32, 4, 1), order: TimeOrder = "inner", seed: int = 1, streams: bool = False
    ) -> Path:
        path = tmp_path / "small.json"
        loaded = small_network(machine, order, seed, streams=streams)
        io.save(path, loaded.schedule, loaded.tensors)
        return path

    return make


@pytest.fixture
def small(small_schedule: Callable[..., Path]) -> LoadedSchedule:
    """The small network on the demo's machine, time innermost."""
    return io.load(small_schedule())


@pytest.fixture
def yosys() -> None:
    """Skips where there is none."""
    _skip_without("yosys", "formal")


@pytest.fixture
def nextpnr() -> None:
    """Skips where there is none."""
    _skip_without("nextpnr-ecp5", "place")


def _skip_without(tool: str, extra: str) -> None:
    try:
        find_tool(tool, "")
    except MissingToolError:
        pytest.skip(f"needs {tool}: pip install 'dtss[{extra}]'")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Callable[..., Path]:
    """schedule.json of the shipped digits checkpoint, compiled once for each time order and machine."""
    folder = tmp_path_factory.mktemp("digits")

    def compiled(order: TimeOrder, hardware: str = "edge-16x16") -> Path:
        path = folder / f"{order}-{hardware}.json"
        if not path.exists():
            command = [Path(sys.executable).parent / "dtss-compile", repository / "models" / "zoo" / "digits.pt"]
            options = ["-o", path, "--time-order", order, "--hardware", hardware, "--quiet"]
            subprocess.run([*map(str, (*command, *options))], check=True, timeout=300)
        return path

    return compiled
