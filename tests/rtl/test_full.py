"""Whole networks of the papers' size on an FPGA and on a chip, both with weights from DRAM; `make verify-full`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dtss.compiler.cli import main as compile_command
from dtss.models import checkpoint as checkpoints
from dtss.models.spikformer import CONFIGS
from dtss.rtl.cli import main

pytestmark = [pytest.mark.rtl, pytest.mark.slow, pytest.mark.full]


@pytest.fixture(scope="module")
def networks(repository: Path) -> ModuleType:
    path = repository / "benchmarks" / "simulator_networks.py"
    specification = importlib.util.spec_from_file_location("simulator_networks", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "hardware"), [("spikformer-1-384", "kintex7"), ("spikformer-4-384", "asic-28nm")])
def test_a_whole_network_equals_interpreter_and_simulator(
    name: str, hardware: str, networks: ModuleType, tmp_path: Path
) -> None:
    """The head's weights are a bit narrower, so that its sums fit the chip's accumulators."""
    checkpoints.save(networks.untrained(CONFIGS[name]), tmp_path / "network.pt")
    schedule = tmp_path / "schedule.json"
    options = ["--hardware", hardware, "--no-calibrate", "--layer-weight-bits", "head=7", "--quiet"]
    assert compile_command([str(tmp_path / "network.pt"), "-o", str(schedule), *options]) == 0
    assert main(["generate", str(schedule), "-o", str(tmp_path / "rtl"), "--quiet"]) == 0
    assert main(["verify", str(tmp_path / "rtl")]) == 0
