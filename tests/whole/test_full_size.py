"""The smallest network that counts as real goes through the whole chain: Spikformer-4-384, 32×32, T = 4."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dtss.compiler.frontend.dtss import graph_of
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import interpret
from dtss.hwsim.images import load_samples
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology
from dtss.models.checkpoint import Checkpoint
from dtss.models.data import LabelledImages, Preprocess
from dtss.models.spikformer import CONFIGS, Spikformer

CIFAR = Preprocess(pixel_scale=1 / 255, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


def untrained_checkpoint() -> Checkpoint:
    """Random weights whose norms were shifted so that every layer spikes, at 4 to 30 %: for sizes, not for accuracy."""
    config = CONFIGS["spikformer-4-384"]
    generator = torch.manual_seed(0)
    model = Spikformer(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, 0.2, 1.4)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, 32, 32))
    images = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Checkpoint(
        config=config,
        state_dict=model.state_dict(),
        preprocess=CIFAR,
        samples=LabelledImages(images, torch.zeros(1, dtype=torch.int64)),
        classes=tuple(map(str, range(config.classes))),
        training={},
    )


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return untrained_checkpoint()


@pytest.fixture(scope="module")
def compiled(checkpoint: Checkpoint) -> Compiled:
    return compile_graph(graph_of(checkpoint), Target(load_hardware("wide-64x32")))


@pytest.mark.slow
def test_simulator_equals_the_golden_model_at_full_size(
    checkpoint: Checkpoint, compiled: Compiled, tmp_path: Path
) -> None:
    images = checkpoint.samples.images.numpy()
    tensors = compiled.tensors | {io.IMAGES: images, io.LABELS: checkpoint.samples.labels.numpy()}
    io.save(tmp_path / "schedule.json", compiled.schedule, tensors)
    loaded = io.load(tmp_path / "schedule.json")
    result = simulate(loaded, load_samples(loaded, "schedule.json", None, None), load_technology("45nm"))
    golden = interpret(loaded.schedule, loaded.tensors, images.astype(np.int64))
    np.testing.assert_array_equal(result.logits_per_step, golden.logits * loaded.schedule.output.scale)
    spikes = [node.spikes.sum() for node in result.nodes if node.spikes is not None]
    assert len(spikes) == 5 + 4 * 7
    assert min(spikes) > 0


@pytest.mark.slow
def test_full_size_weights_are_streamed_from_dram(compiled: Compiled) -> None:
    """9.28 M weights at 8 bits do not stay on the machine's 512 KiB."""
    assert compiled.schedule.memory.weight_bits == 9_281_040 * 8
    assert not compiled.schedule.memory.weights_resident
