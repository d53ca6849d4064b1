"""The shipped CIFAR-10 network on real images: ONNX against torch, integers against float."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from dtss.compiler.export_onnx import FLOAT_PIPELINE, onnx_bytes
from dtss.compiler.frontend.dtss import graph_of
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule.hardware import load_hardware
from dtss.hwsim.execute import execute
from dtss.models.checkpoint import Checkpoint, load
from dtss.models.data_sets import DATA_SETS

TARGET = Target(load_hardware("edge-16x16"))
HELD_OUT, CALIBRATION = 2000, 128


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Checkpoint:
    return load(repository / "models" / "zoo" / "cifar10-small.pt")


def float_logits(checkpoint: Checkpoint, images: torch.Tensor) -> NDArray[np.float32]:
    model = checkpoint.build_model()
    with torch.no_grad():
        parts = [model(checkpoint.preprocess(part)).mean(0) for part in images.split(100)]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def integer_classes(compiled: Compiled, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    classes = []
    for part in np.array_split(pixels, -(-len(pixels) // 100)):
        for run in execute(compiled.schedule, compiled.tensors, part):
            if run.node.name == compiled.schedule.output.node:
                steps = [run.value_at(step).astype(np.int64) for step in range(compiled.schedule.time_steps)]
                classes.append(sum(steps[1:], steps[0]).reshape(len(part), -1).argmax(1))
    return np.concatenate(classes)


@pytest.mark.slow
def test_onnx_gives_the_same_answers_on_every_stored_image(checkpoint: Checkpoint) -> None:
    """Another convolution kernel rounds differently: a membrane on its threshold may turn one spike of one image."""
    model = onnx_bytes(run_passes(graph_of(checkpoint), FLOAT_PIPELINE, TARGET))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = checkpoint.preprocess(checkpoint.samples.images)
    logits = session.run(["logits"], {"images": inputs.numpy()})[0]
    expected = float_logits(checkpoint, checkpoint.samples.images)
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))
    assert (np.abs(logits - expected).max(1) <= 1e-3).mean() > 0.99


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("bits", "points"), [(8, 0.5), (4, 2.0)])
def test_integers_keep_the_accuracy(checkpoint: Checkpoint, data_folder: Path, bits: int, points: float) -> None:
    """At most `points` below float on 2000 test images, calibrated on 128 training images."""
    split = DATA_SETS["cifar10"].load(data_folder, (32, 32))
    training = torch.arange(0, len(split.train.labels), len(split.train.labels) // CALIBRATION)[:CALIBRATION]
    target = Target(TARGET.hardware, weight_bits=bits, calibration=split.train.select(training).images.numpy())
    held_out = split.test.select(torch.arange(HELD_OUT))
    right = held_out.labels.numpy()
    compiled = compile_graph(graph_of(checkpoint), target)
    integer = (integer_classes(compiled, held_out.images.numpy()) == right).mean()
    trained = (float_logits(checkpoint, held_out.images).argmax(1) == right).mean()
    assert integer >= trained - points / 100
