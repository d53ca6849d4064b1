"""benchmarks/operation_counters.py: a schedule's products again in torch, and SpikingJelly's count of their spikes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dtss.compiler.schedule.format import AttentionProduct, Convolution
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.activity import counter_of
from dtss.hwsim.execute import execute
from dtss.hwsim.values import NodeRun, Stack


@pytest.fixture(scope="module")
def counters(repository: Path) -> ModuleType:
    path = repository / "benchmarks" / "operation_counters.py"
    specification = importlib.util.spec_from_file_location("operation_counters", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(digits: LoadedSchedule) -> dict[str, NodeRun]:
    pixels = digits.tensors["samples.images"][:2]
    return {run.node.name: run for run in execute(digits.schedule, digits.tensors, pixels)}


def test_torch_finds_the_same_sums(counters: ModuleType, digits: LoadedSchedule, runs: dict[str, NodeRun]) -> None:
    found = counters.replays(digits, list(runs.values()))
    assert {name for names, _ in found.values() for name in names} == {n.name for n in digits.schedule.products}
    for names, replay in found.values():
        for name, layer, operands in zip(names, replay.layers, replay.operands, strict=True):
            node, sums = runs[name].node, layer(*operands).detach()
            if isinstance(node, Convolution):
                sums = sums.permute(0, 2, 3, 1)
            elif isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
                sums = sums.unflatten(0, (-1, node.heads)).transpose(1, 2)  # back to [frames, tokens, heads, d]
            expected = runs[name].accumulators
            assert isinstance(expected, Stack)
            assert np.array_equal(sums.numpy().reshape(expected.frames.shape), expected.frames), name


def test_spikingjelly_counts_the_same_accumulates_of_spikes(
    counters: ModuleType, digits: LoadedSchedule, runs: dict[str, NodeRun]
) -> None:
    pytest.importorskip("spikingjelly")
    names, replay = counters.replays(digits, list(runs.values()))["spikes"]
    found = [counter_of(digits.schedule, digits.tensors, runs[name].node).activity(runs[name]) for name in names]
    ours = [each.counts.accumulates.sum() for each in found]
    assert counters.spikingjelly(replay, torch.zeros(1)).accumulates == sum(ours) > 0
