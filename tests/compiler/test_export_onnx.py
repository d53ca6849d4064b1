"""The ONNX file computes the trained network, without the steps that its masks leave out."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from dtss.compiler.export_onnx import FLOAT_PIPELINE, export_onnx, onnx_bytes
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import Convolution, Graph, Linear, Node
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.schedule.hardware import load_hardware
from tests.compiler.small_networks import PIXELS, SPIKING_JELLY, linear, mask, membrane_residual, spike_residual

TARGET = Target(load_hardware("edge-16x16"))


@pytest.fixture(scope="module")
def exported(digits: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    export_onnx(digits.graph, TARGET, path)
    return path


def run(model: bytes, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(["logits", "logits_per_step"], {"images": images})
    return outputs


def normalised(source: Source) -> NDArray[np.float32]:
    preprocess = source.graph.preprocess
    scaled = (source.images * preprocess.pixel_scale - np.array(preprocess.mean)) / np.array(preprocess.std)
    inputs: NDArray[np.float32] = scaled.astype(np.float32).transpose(0, 3, 1, 2)
    return inputs


def test_logits_are_those_of_the_trained_network(digits: Source, exported: Path) -> None:
    logits, per_step = run(exported.read_bytes(), normalised(digits))
    assert np.abs(logits - digits.float_logits).max() <= 1e-4
    np.testing.assert_array_equal(logits.argmax(1), digits.float_logits.argmax(1))
    assert per_step.shape == (digits.graph.time_steps, *logits.shape)
    np.testing.assert_allclose(per_step.mean(0), logits, atol=1e-5)


def test_any_batch_size_runs(digits: Source, exported: Path) -> None:
    images = normalised(digits)
    whole = run(exported.read_bytes(), images[:3])[0]
    np.testing.assert_allclose(run(exported.read_bytes(), images[1:2])[0], whole[1:2], atol=1e-5)


def products(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, Convolution | Linear)]


def test_skipped_steps_are_not_in_the_file(digits: Source, exported: Path) -> None:
    """Every convolution and linear layer is a Conv, once for each step that is computed."""
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    pruned = products(run_passes(digits.graph, FLOAT_PIPELINE, TARGET))
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert convolutions == sum(len(node.steps.active) for node in pruned)
    assert convolutions < len(pruned) * digits.graph.time_steps


def test_file_is_the_same_every_time_and_names_no_file_of_this_machine(digits: Source, exported: Path) -> None:
    again = onnx_bytes(run_passes(digits.graph, FLOAT_PIPELINE, TARGET))
    assert again == exported.read_bytes()
    assert b".py" not in again


@pytest.mark.parametrize("graph", [spike_residual(), membrane_residual()], ids=lambda graph: str(graph.network))
def test_reshaped_masks_and_soft_resets_are_exported(graph: Graph) -> None:
    """Bias-only steps, steps known to be zero and steps reused, against the float graph without any pruning."""
    import torch

    from dtss.compiler.graph.float_module import FloatModule

    images = np.random.default_rng(0).normal(0, 1, (16, 1, 4, 4)).astype(np.float32)
    _, expected = FloatModule(graph)(torch.from_numpy(images))
    found = run(onnx_bytes(run_passes(graph, FLOAT_PIPELINE, TARGET)), images)[1]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert np.ptp(expected.numpy(), axis=1).max() > 0


def test_a_step_of_the_bias_alone_is_no_product() -> None:
    """A linear layer whose input is masked gives its bias there, and the file has no Conv for it."""
    build = GraphBuilder("bias", 4, PIXELS)
    value = build.linear("first", build.image(1, 1, 2), linear(3, 2))
    value = build.lif("lif", value, SPIKING_JELLY, "mlp", mask("1100"))
    head = linear(2, 3, bias=True)
    whole = build.finish(build.linear("head", value, head), ("0", "1"))
    graph = run_passes(whole, FLOAT_PIPELINE, TARGET)
    assert [node.steps.bias_only for node in products(graph)] == [(), (2, 3)]
    content = onnx_bytes(graph)
    assert sum(node.op_type == "Conv" for node in onnx.load_from_string(content).graph.node) == 1 + 2
    per_step = run(content, np.ones((5, 2, 1, 1), np.float32))[1]
    np.testing.assert_array_equal(per_step[2:], np.broadcast_to(np.float32(head.bias), (2, 5, 2)))
