"""benchmarks/training.py on a network small enough to take its turn in a test; nothing is timed for its own sake."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dtss.models.spikformer import CONFIGS

SMALL = dataclasses.replace(
    CONFIGS["spikformer-4-384"], image_size=(8, 8), dim=16, depth=1, heads=2, stem_channels=(2, 4, 8, 16)
)


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> ModuleType:
    path = repository / "benchmarks" / "training.py"
    specification = importlib.util.spec_from_file_location("benchmark_of_training", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_contender_takes_its_turns(benchmark: ModuleType, precision: str) -> None:
    training = benchmark.training_result(
        benchmark.take_turns(benchmark.training_steps(SMALL, 2, "cpu", precision), 2, "cpu"), batch=2
    )
    shape = (2, 2, 3, 4, 4)
    layer = benchmark.lif_result(
        benchmark.take_turns(benchmark.lif_steps(shape, "cpu", precision), 2, "cpu"),
        benchmark.lif_bytes(shape, precision),
    )
    result = {f"training_{precision}": training, f"lif_{precision}": layer}
    json.dumps(result)
    assert {"dtss plain", "dtss with masks"} <= set(training)
    assert {"copy", "dtss", "dtss, loop over T"} <= set(layer)
    table = "\n".join(benchmark._tables(result, precision))
    assert all(f"| {name} | " in table for name in (*training, *layer))


def test_the_fused_layer_passes_the_benchmarks_own_check(benchmark: ModuleType) -> None:
    assert benchmark.check_fused("cpu") == []
