"""Operation counters of other packages, on a float network and on dtss-sim's own integers.

On the same integers what is left between two counters is what they call an operation.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtss.compiler.schedule.format import AttentionProduct, Convolution, Image, Linear, Product
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.products import attention_operands
from dtss.hwsim.values import NodeRun, Stack
from dtss.models.weight_rounding import RoundedConv2d, RoundedLinear

Layer = tuple[nn.Module, tuple[Tensor, ...]]


class Operations(NamedTuple):
    """What a counter finds in one forward pass; energy_pj: None where it estimates none."""

    accumulates: float
    multiply_accumulates: float
    energy_pj: float | None = None


Counter = Callable[[nn.Module, Tensor], Operations]


def spikingjelly(model: nn.Module, image: Tensor) -> Operations:
    """Forward with a counter under every ATen call. A product is an accumulate where an operand has only 0 and 1."""
    from spikingjelly.activation_based.op_counter import estimate_simple_energy  # noqa: PLC0415  # not always there

    report = estimate_simple_energy(model, image)
    return Operations(report.counts["synop"], report.counts["mac"], report.energy_total_pj)


def syops(model: nn.Module, image: Tensor) -> Operations:
    """Dense operations of each layer × the share of ones in its input. It knows layers by their exact type."""
    if next(model.parameters(), None) is None:  # on which it fails; it counts no product of two values
        return Operations(0, 0)
    from spikingjelly.activation_based import neuron  # noqa: PLC0415  # not always there

    for name in ("MultiStepIFNode", "MultiStepLIFNode", "MultiStepParametricLIFNode"):
        if not hasattr(neuron, name):  # gone from SpikingJelly, but syops 0.0.5 imports them
            setattr(neuron, name, type(name, (nn.Module,), {}))
    from syops import get_model_complexity_info  # noqa: PLC0415
    from syops.ops import conv_syops_counter_hook, linear_syops_counter_hook  # noqa: PLC0415

    with redirect_stderr(io.StringIO()):  # its progress bar
        counts, _ = get_model_complexity_info(
            model,
            tuple(image.shape[1:]),
            dataloader=[(image, None)],  # without one it counts uninitialised memory
            as_strings=False,
            print_per_layer_stat=False,
            custom_modules_hooks={RoundedConv2d: conv_syops_counter_hook, RoundedLinear: linear_syops_counter_hook},
        )
    return Operations(float(counts[1]), float(counts[2]))


def neurobench(model: nn.Module, image: Tensor) -> Operations:
    """Each layer again with its input and weights as 0 and 1. Accumulates where the input was −1, 0 and 1 before."""
    from neurobench.metrics.workload import SynapticOperations  # noqa: PLC0415  # not always there
    from neurobench.models import TorchModel  # noqa: PLC0415

    hooked = TorchModel(model)
    hooked.register_hooks()
    with torch.no_grad():
        counts = SynapticOperations()(hooked, hooked(image), (image, None))
    hooked.cleanup_hooks()
    return Operations(counts["Effective_ACs"], counts["Effective_MACs"])


class Replay(nn.Module):
    """Products of a schedule on the integers that one run gave them, as plain torch layers that a counter can hook."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.operands = [operands for _, operands in layers]

    def forward(self, _image: Tensor) -> Tensor:
        last = torch.zeros(1)
        for layer, operands in zip(self.layers, self.operands, strict=True):
            last = layer(*operands)
        return last


class MatrixProduct(nn.Module):
    """a · b of two values, as in attention."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.bmm(a, b)


def replays(loaded: LoadedSchedule, runs: Sequence[NodeRun]) -> Mapping[str, tuple[Sequence[str], Replay]]:
    """What products read → their names, and the products again."""
    found: dict[str, list[tuple[str, Layer]]] = {"pixels": [], "spikes": [], "spike counts": [], "attention": []}
    for run in runs:
        if isinstance(run.node, Product):
            found[_reads(loaded, run.node)].append((run.node.name, _layer(loaded, run)))
    return {
        kind: ([name for name, _ in layers], Replay([layer for _, layer in layers])) for kind, layers in found.items()
    }


def _reads(loaded: LoadedSchedule, node: Product) -> str:
    streamed = loaded.schedule.node(node.inputs[0])
    if isinstance(node, AttentionProduct):
        return "attention"
    if isinstance(streamed, Image):
        return "pixels"
    return "spikes" if streamed.value.high == 1 else "spike counts"


def _layer(loaded: LoadedSchedule, run: NodeRun) -> Layer:
    """A product and its operands, all active steps as one batch."""
    node = run.node
    frames = [stack.frames for stack in run.inputs if isinstance(stack, Stack)]
    if isinstance(node, AttentionProduct):
        streamed, stationary = (_floats(operand).flatten(0, 1) for operand in attention_operands(node, *frames))
        return MatrixProduct(), (streamed, stationary)
    assert isinstance(node, Convolution | Linear)
    values = _floats(frames[0]).flatten(0, 1)
    weight = _floats(loaded.tensors[node.weight])
    if isinstance(node, Linear):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        return linear, (values.flatten(1, 2),)
    # What lies around the image is data where it is not 0.
    border = None if node.pad_value is None else _floats(loaded.tensors[node.pad_value])
    pixels = _padded(values, node.padding, border).permute(0, 3, 1, 2)
    padding = node.padding if border is None else 0
    convolution = nn.Conv2d(pixels.shape[1], len(weight), node.kernel, node.stride, padding, bias=False)
    convolution.weight.data = weight.permute(0, 3, 1, 2).contiguous()
    return convolution, (pixels,)


def _padded(values: Tensor, padding: int, border: Tensor | None) -> Tensor:
    """values [B, H, W, C] with `border` [C] around them."""
    if border is None:
        return values
    return functional.pad(values - border, (0, 0, padding, padding, padding, padding)) + border


def _floats(integers: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(integers)).float()
