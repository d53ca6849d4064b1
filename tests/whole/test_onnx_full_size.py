"""Spikformer-4-384 as ONNX: the logits of torch on real images, and not one product of a step that its masks skip."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dtss.compiler.export_onnx import export_onnx, onnx_bytes
from dtss.compiler.frontend.dtss import graph_of
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.lower_attention import LowerAttention
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.schedule.hardware import load_hardware
from dtss.models.checkpoint import Checkpoint, load
from dtss.models.spikformer import CONFIGS, Spikformer

pytestmark = pytest.mark.slow

CONFIG = CONFIGS["spikformer-4-384"]
TARGET = Target(load_hardware("wide-64x32"))
IMAGES = 32
LARGEST_DIFFERENCE = 1e-3


def rounded(values: Tensor, unit: float) -> Tensor:
    return (values / unit).round() * unit


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Checkpoint:
    """Weights from a seed, masks of 1 to 3 of the 4 steps, norms with the statistics of CIFAR-10 pictures.

    Weights, means and scales are multiples of 1/32 and deviations powers of 2, so that every sum is exact in float32:
    no order of summation, and torch and onnxruntime have different ones, flips a spike. The pictures are those that
    the small CIFAR-10 network of the zoo keeps; its training never saw them either.
    """
    shipped = load(repository / "models" / "zoo" / "cifar10-small.pt")
    generator = torch.manual_seed(0)
    model = Spikformer(CONFIG)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data = torch.randint(-4, 5, module.weight.shape, generator=generator) / 32
            if module.bias is not None:
                module.bias.data.zero_()
    for norm in norms:
        norm.momentum = None  # the mean over all batches
        norm.weight.data = torch.randint(4, 17, norm.weight.shape, generator=generator) / 8
        norm.bias.data = torch.randint(2, 12, norm.bias.shape, generator=generator) / 8
    pictures = inputs_of(shipped, slice(IMAGES, 3 * IMAGES))
    with torch.no_grad():
        for part in pictures.split(IMAGES):
            model(part)
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean = rounded(norm.running_mean, 1 / 32)
        deviation = torch.exp2(norm.running_var.log2().div(2).round())
        norm.running_var = deviation**2 - norm.eps
        assert torch.equal(torch.sqrt(norm.running_var + norm.eps), deviation)
    for name, lif in model.lif_layers().items():
        steps = int(torch.randint(1, 4, (), generator=generator))
        assert lif.mask is not None, name
        # TS[t] is above 1 up to the step that holds all of the score, and 0 behind it
        lif.mask.score.data = torch.eye(CONFIG.time_steps)[steps - 1] * 1.5
    with torch.no_grad():  # every class as likely as any other: a random head has one favourite
        model.head.bias.sub_(model.eval()(pictures).mean((0, 1)))
    return Checkpoint(
        config=CONFIG,
        state_dict=model.state_dict(),
        preprocess=shipped.preprocess,
        samples=shipped.samples,
        classes=shipped.classes,
        training={},
    )


def inputs_of(checkpoint: Checkpoint, part: slice) -> Tensor:
    """Stored pictures as the network reads them, float32 [B, C, H, W], to 1/64."""
    return rounded(checkpoint.preprocess(checkpoint.samples.images[part]), 1 / 64)


@pytest.fixture(scope="module")
def images(checkpoint: Checkpoint) -> Tensor:
    return inputs_of(checkpoint, slice(IMAGES))


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "spikformer-4-384.onnx"
    export_onnx(graph_of(checkpoint), TARGET, path)
    return path


def torch_logits(checkpoint: Checkpoint, images: Tensor) -> tuple[NDArray[np.float32], dict[str, float]]:
    """[B, K], the mean over time, and how often each LIF layer fires at the steps that its mask keeps."""
    model = checkpoint.build_model()
    rates: dict[str, float] = {}

    def watch(name: str, steps: int) -> None:
        def note(_module: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            rates[name] = float(spikes[:steps].mean())

        model.lif_layers()[name].register_forward_hook(note)

    for name, mask in model.masks.items():
        watch(name, sum(mask))
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(images).mean(0).numpy()
    return logits, rates


def test_logits_are_those_of_torch(checkpoint: Checkpoint, images: Tensor, exported: Path) -> None:
    expected, rates = torch_logits(checkpoint, images)
    assert min(rates.values()) > 0.05 and max(rates.values()) < 0.7, rates
    assert len(set(expected.argmax(1).tolist())) > 5
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": images.numpy()})
    assert np.abs(found - expected).max() <= LARGEST_DIFFERENCE
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def live_products(steps: Mapping[str, int]) -> dict[str, int]:
    """How many products the network needs, by ONNX operator, from how many first steps each mask keeps.

    A product is needed at a step if its input can be other than zero there and what reads its LIF still wants it; all
    masks are prefixes, so both are a number of first steps. Residuals are wanted at every step. The image is the same
    at every step, and so the first convolution runs once. No norm stands between the attention product and its LIF,
    and this neuron does not fire on its remains alone (leak ½, reset to 0): it is silent where the product is zero.
    Where the residual is zero, the head gives its bias without a product.
    """
    convolutions = 0
    stem = [steps[f"stem.{index}.lif"] for index in range(len(CONFIG.stem_channels))]
    wanted = [min(stem[index:]) for index in range(len(stem))]  # a layer of the stem is read by the next one alone
    convolutions += 1
    convolutions += sum(min(stem[index - 1], wanted[index]) for index in range(1, len(stem)))
    convolutions += min(stem[-1], steps["rpe.lif"])
    live = max(stem[-1], steps["rpe.lif"])  # of the residual
    attention = 0
    for block in (f"blocks.{index}" for index in range(CONFIG.depth)):
        q, k, v, attended, projected = (steps[f"{block}.attn.{name}lif"] for name in ("q.", "k.", "v.", "", "proj."))
        product = min(q, k, v, live, attended, projected)
        convolutions += 3 * product + product
        attention += 2 * product
        live = max(live, projected)
        first, second = (steps[f"{block}.mlp.{name}.lif"] for name in ("fc1", "fc2"))
        hidden = min(first, second)
        convolutions += min(live, hidden) + hidden
        live = max(live, second)
    return {"Conv": convolutions + live, "MatMul": attention, "Gemm": 0}


def assert_only_live_products(model: bytes, checkpoint: Checkpoint) -> None:
    steps = {name: sum(mask) for name, mask in checkpoint.build_model().masks.items()}
    kinds = Counter(node.op_type for node in onnx.load_from_string(model).graph.node)
    assert {kind: kinds[kind] for kind in ("Conv", "MatMul", "Gemm")} == live_products(steps)


def test_skipped_steps_are_absent(checkpoint: Checkpoint, exported: Path) -> None:
    assert_only_live_products(exported.read_bytes(), checkpoint)


def test_a_file_with_all_steps_is_found_out(checkpoint: Checkpoint) -> None:
    everything: Graph = run_passes(graph_of(checkpoint), (LowerAttention(),), TARGET)
    with pytest.raises(AssertionError, match="Conv"):
        assert_only_live_products(onnx_bytes(everything), checkpoint)
