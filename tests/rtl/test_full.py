"""Whole networks of the papers' size on a chip whose weights come from DRAM; `make verify-full`."""

from pathlib import Path

import pytest

from benchmarks.simulator_networks import untrained
from dtss.compiler.cli import main as compile_command
from dtss.models import checkpoint as checkpoints
from dtss.models.spikformer import CONFIGS
from dtss.rtl.cli import main

pytestmark = [pytest.mark.rtl, pytest.mark.slow, pytest.mark.full]


@pytest.mark.parametrize("name", ["spikformer-1-384", "spikformer-4-384"])
def test_a_whole_network_equals_interpreter_and_simulator(name: str, tmp_path: Path) -> None:
    """The head's weights are a bit narrower, so that its sums fit the chip's accumulators."""
    checkpoints.save(untrained(CONFIGS[name]), tmp_path / "network.pt")
    schedule = tmp_path / "schedule.json"
    options = ["--hardware", "asic-28nm", "--no-calibrate", "--layer-weight-bits", "head=7", "--quiet"]
    assert compile_command([str(tmp_path / "network.pt"), "-o", str(schedule), *options]) == 0
    assert main(["generate", str(schedule), "-o", str(tmp_path / "rtl"), "--quiet"]) == 0
    assert main(["verify", str(tmp_path / "rtl")]) == 0
