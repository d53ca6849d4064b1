"""Spikformer and Spikingformer checkpoints of the field's own code: see docs/front-ends.md and `spikformer_names`.

Nodes carry the names of the checkpoint's own modules. Its LIF layers have no masks: every one is active at all steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.options import ReadOptions
from dtss.compiler.frontend.source import Source, read_calibration, split_held_out
from dtss.compiler.frontend.spikformer_file import NORM_TENSORS, Network, read_network
from dtss.compiler.frontend.spikformer_forward import source_logits
from dtss.compiler.frontend.spikformer_names import Fire, Pool, StemLayer, Unit
from dtss.compiler.graph.ir import BatchNorm, Convolution, FloatNeuron, Graph, Linear, MaxPool
from dtss.compiler.schedule.format import Group

POOL = MaxPool(kernel=3, stride=2, padding=1)
ATTENTION_SCALE = 0.125
ATTENTION_THRESHOLD = 0.5
NORM_EPSILON = 1e-5  # torch's default, which all of the code bases keep


def read(path: Path, options: ReadOptions) -> Source:
    """A checkpoint as a source; `split_held_out` says what becomes of the user's images."""
    network = read_network(path, options)
    graph = graph_of(network)
    calibration, held_out = split_held_out(graph, read_calibration(graph, options.calibration))
    images = held_out.pixels.astype(np.uint8, copy=False)
    return Source(
        graph=graph,
        images=images,
        labels=held_out.labels,
        float_logits=source_logits(network, images, torch.float32).astype(np.float32),
        trained_accuracy=None,
        exact_logits=lambda pixels: source_logits(network, pixels, torch.float64),
        calibration=calibration,
        notes=network.notes,
    )


def graph_of(network: Network) -> Graph:
    """The float graph of a checked network."""
    return _Reader(network).read()


class _Reader:
    """Adds the layers in the order of the official forward pass."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.builder = GraphBuilder(network.name, network.time_steps, network.preprocess)

    def read(self) -> Graph:
        network, build = self.network, self.builder
        value = build.image(*network.image_size, network.sizes.in_channels)
        for layer in network.layout.stem:
            value = self._stem_layer(layer, value)
        if network.layout.position is not None:
            value = build.add("patch_embed.add", value, self._convolution(network.layout.position, value))
        for scope in network.block_scopes():
            value = self._block(scope, value)
        height, width, _ = build.shape(value)
        value = build.token_sum("head.token_sum", value)
        weight, bias = self._array("head.weight"), self._optional("head.bias")
        value = build.linear("head", value, Linear(weight / (height * width), bias))
        return build.finish(value, tuple(map(str, range(network.sizes.classes))))

    def _stem_layer(self, layer: StemLayer, value: str) -> str:
        match layer:
            case Unit():
                return self._convolution(layer, value)
            case Fire():
                return self._lif(layer.lif, value, "sps")
            case Pool():
                return self.builder.max_pool(layer.name, value, POOL)

    def _block(self, scope: str, value: str) -> str:
        build, names = self.builder, self.network.layout.block
        spikes = value if names.attention_input is None else self._lif(f"{scope}.{names.attention_input}", value, "qkv")
        query, key, keyed = (
            self._linear(unit.within(scope), spikes, "qkv") for unit in (names.query, names.key, names.value)
        )
        product = build.attention(f"{scope}.attn.product", query, key, keyed, self.network.heads, ATTENTION_SCALE)
        attended = self._lif(f"{scope}.{names.attention_lif}", product, "attn", ATTENTION_THRESHOLD)
        value = build.add(f"{scope}.attn.add", value, self._linear(names.projection.within(scope), attended, "attn"))
        spikes = value if names.mlp_input is None else self._lif(f"{scope}.{names.mlp_input}", value, "mlp")
        hidden = self._linear(names.first.within(scope), spikes, "mlp")
        return build.add(f"{scope}.mlp.add", value, self._linear(names.second.within(scope), hidden, "mlp"))

    def _convolution(self, unit: Unit, value: str) -> str:
        weight = self._array(f"{unit.product}.weight").transpose(0, 2, 3, 1)
        op = Convolution(weight, self._optional(f"{unit.product}.bias"), stride=1, padding=1)
        return self._norm_and_lif(unit, self.builder.convolution(unit.product, value, op), "sps")

    def _linear(self, unit: Unit, value: str, group: Group) -> str:
        weight = self._array(f"{unit.product}.weight")
        op = Linear(weight.reshape(weight.shape[:2]), self._optional(f"{unit.product}.bias"))
        return self._norm_and_lif(unit, self.builder.linear(unit.product, value, op), group)

    def _norm_and_lif(self, unit: Unit, value: str, group: Group) -> str:
        scale, shift, mean, variance = (self._array(f"{unit.norm}.{name}") for name in NORM_TENSORS)
        value = self.builder.batch_norm(unit.norm, value, BatchNorm(scale, shift, mean, variance, NORM_EPSILON))
        return value if unit.lif is None else self._lif(unit.lif, value, group)

    def _lif(self, name: str, value: str, group: Group, threshold: float = 1.0) -> str:
        decay = self.network.decay(name)
        neuron = FloatNeuron(1.0 - decay, decay, threshold, ">=", "hard", 0.0, 0.0)
        return self.builder.lif(name, value, neuron, group, (1,) * self.network.time_steps)

    def _array(self, name: str) -> NDArray[np.float64]:
        return _array(self.network.tensors[name])

    def _optional(self, name: str) -> NDArray[np.float64] | None:
        tensor = self.network.tensors.get(name)
        return None if tensor is None else _array(tensor)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().numpy()
    return array
