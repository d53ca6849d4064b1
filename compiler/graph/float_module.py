"""The float graph as a torch module, time unrolled: a step that the graph does not compute is not there at all.

It is what the ONNX export writes and what `--check` compares with the source framework. Values are [B, C, H, W];
a linear layer is a 1×1 convolution; per-head products are [B, heads, rows, columns].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dtss.compiler.graph.ir import (
    Add,
    Attention,
    AttentionProduct,
    BatchNorm,
    Convolution,
    FloatNeuron,
    Graph,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Node,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.format import AttentionStage

Values = dict[tuple[str, int], Tensor]
Watch = Callable[[str, int, Tensor], None]


class FloatModule(nn.Module):
    """images [B, C, H, W] → (logits [B, K], logits_per_step [T, B, K]).

    The images are normalised, or pixels where the graph has its preprocessing folded.

    float_type of the weights, and so of the images; `watch` sees what each LIF emits at each of its active steps.
    """

    def __init__(
        self,
        graph: Graph,
        float_type: type[np.float32 | np.float64] = np.float32,
        watch: Watch = lambda lif, step, spikes: None,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.watch = watch
        for node in graph.nodes:
            for field, array in _constants(node).items():
                self.register_buffer(_buffer(node, field), torch.from_numpy(array.astype(float_type)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values: Values = {}
        for node in self.graph.nodes:
            self.run_node(node, values, images)
        output = self.graph.node(self.graph.output)
        per_step = [self._value(output, step, values, images).flatten(1) for step in range(self.graph.time_steps)]
        logits_per_step = torch.stack(per_step)
        if self.graph.output_scale != 1.0:
            logits_per_step = self.graph.output_scale * logits_per_step
        return logits_per_step.mean(0), logits_per_step

    def run_node(self, node: Node, values: Values, images: Tensor) -> None:
        """Adds a node's values to those of the nodes before it."""
        if isinstance(node.op, Lif):
            self._run_lif(node, node.op, values)
            return
        for step in node.steps.active:
            values[node.name, step] = images if isinstance(node.op, Image) else self._compute(node, step, values)
        for step in node.steps.bias_only:
            alone = isinstance(node.op, Convolution | Linear) and node.op.bias is not None
            values[node.name, step] = self._bias(node, images) if alone else self._compute(node, step, values)

    def _value(self, node: Node, step: int, values: Values, like: Tensor) -> Tensor:
        """A node's value at one step; known zeros are materialised only here, where something reads them."""
        if step in node.steps.zero:
            height, width, channels = node.shape
            return torch.zeros(like.shape[0], channels, height, width, dtype=like.dtype)
        return values[node.name, node.steps.active[0] if step in node.steps.reused else step]

    def input_at(self, node: Node, index: int, step: int, values: Values) -> Tensor:
        image = values[self.graph.nodes[0].name, 0]
        return self._value(self.graph.node(node.inputs[index]), step, values, image)

    def constant(self, node: Node, field: str) -> Tensor:
        return self.get_buffer(_buffer(node, field))

    def set_weights(self, node: Node) -> None:
        """Takes over a node's constants in place of those of the graph's node of this name."""
        for field, array in _constants(node).items():
            self.constant(node, field).copy_(torch.from_numpy(array.astype(np.float32)))

    def padded(self, node: Node, value: Tensor) -> Tensor:
        """A product's input with the border that its windows need."""
        if not isinstance(node.op, Convolution) or node.op.padding == 0:
            return value
        border = (node.op.padding,) * 4
        if node.op.pad_value is None:
            return functional.pad(value, border)
        beyond = self.constant(node, "pad_value")
        return functional.pad(value - beyond, border) + beyond

    def _bias(self, node: Node, images: Tensor) -> Tensor:
        """What a product gives for an input of zeros, without the product."""
        height, width, channels = node.shape
        return self.constant(node, "bias")[:, None, None].expand(images.shape[0], channels, height, width)

    def _compute(self, node: Node, step: int, values: Values) -> Tensor:
        match node.op:
            case Add():
                terms = [self.input_at(node, index, step, values) for index, name in enumerate(node.inputs)
                         if step not in self.graph.node(name).steps.zero]  # fmt: skip
                return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]
            case Attention():
                query, key, value = (self.input_at(node, index, step, values) for index in range(3))
                scores = _attend("query_key", query, key, node.op.heads)
                return node.op.scale * _attend("score_value", scores, value, node.op.heads)
            case AttentionProduct():
                streamed, stationary = (self.input_at(node, index, step, values) for index in range(2))
                return node.op.scale * _attend(node.op.stage, streamed, stationary, node.op.heads)
            case Integrator(leak=float(leak)) if (node.name, step - 1) in values:
                return leak * values[node.name, step - 1] + self.input_at(node, 0, step, values)
            case _:
                return self._compute_from_one(node, self.input_at(node, 0, step, values))

    def _compute_from_one(self, node: Node, value: Tensor) -> Tensor:
        match node.op:
            case Convolution() | Linear():
                stride, padding = (node.op.stride, node.op.padding) if isinstance(node.op, Convolution) else (1, 0)
                if isinstance(node.op, Convolution) and node.op.pad_value is not None:
                    value, padding = self.padded(node, value), 0
                bias = None if node.op.bias is None else self.constant(node, "bias")
                return functional.conv2d(value, self.constant(node, "weight"), bias, stride, padding)
            case BatchNorm():
                mean, variance = self.constant(node, "mean"), self.constant(node, "variance")
                scale, shift = self.constant(node, "scale"), self.constant(node, "shift")
                return functional.batch_norm(value, mean, variance, scale, shift, eps=node.op.epsilon)
            case MaxPool():
                return functional.max_pool2d(value, node.op.kernel, node.op.stride, node.op.padding)
            case SumPool():
                ones, channels = self.constant(node, "ones"), node.channels
                return functional.conv2d(value, ones, None, node.op.stride, node.op.padding, groups=channels)
            case Integrator():
                return value  # nothing came before
            case TokenSum():
                return value.sum((2, 3), keepdim=True)
            case _:
                raise AssertionError(f"{node.name}: {node.op} has not one input")

    def _run_lif(self, node: Node, lif: Lif, values: Values) -> None:
        neuron = lif.neuron
        assert isinstance(neuron, FloatNeuron) and node.state is not None
        membrane: Tensor | None = None
        for step in node.state.state_steps:
            current = neuron.gain * self.input_at(node, 0, step, values)
            leaked = neuron.leak * neuron.initial if membrane is None else neuron.leak * membrane
            potential = leaked + current
            fires = potential > neuron.threshold if neuron.comparison == ">" else potential >= neuron.threshold
            spikes = fires.to(current.dtype)
            if neuron.reset == "soft":
                membrane = potential - neuron.subtracted * spikes
            else:
                membrane = torch.where(fires, neuron.reset_value, potential)
            if step in node.steps.active:
                values[node.name, step] = spikes
                self.watch(node.name, step, spikes)


def _attend(stage: AttentionStage, streamed: Tensor, stationary: Tensor, heads: int) -> Tensor:
    """One product of attention; see `schedule.format.AttentionProduct`."""
    match stage:
        case "key_value":
            return _heads(streamed, heads) @ _heads(stationary, heads).transpose(2, 3)
        case "query_key":
            return _heads(streamed, heads).transpose(2, 3) @ _heads(stationary, heads)
        case "query_key_value":
            result, shape = stationary.transpose(2, 3) @ _heads(streamed, heads), streamed.shape
        case "score_value":
            result, shape = _heads(stationary, heads) @ streamed.transpose(2, 3), stationary.shape
        case _:
            assert_never(stage)
    return result.reshape(shape)


def _heads(value: Tensor, heads: int) -> Tensor:
    """[B, C, H, W] → [B, heads, d, N]."""
    return value.reshape(value.shape[0], heads, value.shape[1] // heads, value.shape[2] * value.shape[3])


def _buffer(node: Node, field: str) -> str:
    return f"{node.name}.{field}".replace(".", "_")


def _constants(node: Node) -> dict[str, np.ndarray]:
    """The arrays a node needs, in torch's layout."""
    match node.op:
        case Convolution():
            arrays = {"weight": node.op.weight.transpose(0, 3, 1, 2), "bias": node.op.bias}
            if node.op.pad_value is not None:
                arrays["pad_value"] = node.op.pad_value[:, None, None]
        case Linear():
            arrays = {"weight": node.op.weight[:, :, None, None], "bias": node.op.bias}
        case BatchNorm():
            norm = node.op
            arrays = {"mean": norm.mean, "variance": norm.variance, "scale": norm.scale, "shift": norm.shift}
        case SumPool():
            arrays = {"ones": np.ones((node.channels, 1, *node.op.kernel))}
        case _:
            return {}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
