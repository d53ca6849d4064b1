"""Weights, biases and neurons become integers.

Everything unsigned (pixels, spikes, counts) keeps its value; only currents get a scale: one real number per
output channel and LSB, shared by all products whose currents are added before a neuron sees them. The gain g
and the scale fold into the neuron:

    H = λU + gI  and  H ≥ θ      become      H' = leak(U') + I'  and  H' ≥ ⌈θ/(g·scale)⌉,    H' = H/(g·scale)

A strict H > θ becomes H' ≥ ⌊θ/(g·scale)⌋ + 1, and soft reset subtracts round(R/(g·scale)), R = θ by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import (
    Add,
    AttentionProduct,
    Convolution,
    FloatNeuron,
    Graph,
    Image,
    IntegerNeuron,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Node,
    SumPool,
    TokenSum,
    carries_current,
)
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak

LEAK_FRACTION_BITS = 12


@dataclass(frozen=True, eq=False)
class Scale:
    """What one step of a current's integer stands for: largest/levels, [O]; as a quotient, it is exact.

    largest: what the integer `levels` stands for, such as the largest weight of a channel.
    """

    largest: NDArray[np.float64]
    levels: int

    @property
    def step(self) -> NDArray[np.float64]:
        return self.largest / self.levels


@dataclass(frozen=True)
class Quantise(PassBase):
    """Symmetric rounding to nearest, one scale per output channel (one for the whole output layer).

    membrane_fraction_bits: extra bits below a weighted product's LSB, so that the leak's rounding stays small.
    """

    name: ClassVar[str] = "quantise"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT, Stage.NORMALISED, Stage.LOWERED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER})
    removes: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT})
    membrane_fraction_bits: int = 2

    def run(self, graph: Graph, target: Target) -> Graph:
        graph = fold_preprocessing(graph)
        weight_bits = target.hardware.widths.weight
        scales: dict[str, Scale] = {}
        changed: dict[str, Node] = {}
        for net in current_nets(graph):
            products = [node for node in net if isinstance(node.op, Convolution | Linear | AttentionProduct)]
            last = any(node.name == graph.output for node in net)
            leaks = any(isinstance(node.op, Integrator) for node in net)
            bits = 0 if last and not leaks else self._fraction_bits(graph, products)
            shifts, scale = _net_scale(products, weight_bits, bits, shared_by_channels=last)
            scales |= {node.name: scale for node in net}
            changed |= {node.name: _quantise_product(node, shifts[node.name], scale) for node in products}
        for node in graph.nodes:
            if isinstance(node.op, Lif):
                changed[node.name] = _quantise_lif(node, scales[node.inputs[0]])
            if isinstance(node.op, Integrator) and isinstance(node.op.leak, float):
                changed[node.name] = replace(node, op=Integrator(integer_leak(node.op.leak)))
        return graph.map_nodes(changed, output_scale=graph.output_scale * _output_scale(graph, scales))

    def _fraction_bits(self, graph: Graph, products: list[Node]) -> int:
        if all(isinstance(node.op, AttentionProduct) for node in products):
            return max(exact_fraction_bits(graph, node) for node in products)
        return self.membrane_fraction_bits


def exact_fraction_bits(graph: Graph, product: Node) -> int:
    """Bits that make the leak after an attention product exact: k per step after the first, for λ = 1 − 2^−k."""
    bits = 0
    for consumer in graph.consumers(product.name):
        if isinstance(consumer.op, Lif) and isinstance(consumer.op.neuron, FloatNeuron):
            kind = integer_leak(consumer.op.neuron.leak)
            if isinstance(kind, ShiftLeak):
                bits = max(bits, kind.shift * (graph.time_steps - 1))
    return bits


def integer_leak(leak: float) -> Leak:
    """λ = 1 − 2^−k as a shift; λ = 0 and λ = 1 exactly; any other λ to 12 fraction bits."""
    if 0.0 < leak < 1.0 and math.frexp(1.0 - leak)[0] == 0.5:
        return ShiftLeak(1 - math.frexp(1.0 - leak)[1])
    if leak in (0.0, 1.0):
        return FixedLeak(int(leak), 0)
    return FixedLeak(round(leak * 2**LEAK_FRACTION_BITS), LEAK_FRACTION_BITS)


def current_nets(graph: Graph) -> list[list[Node]]:
    """Currents that must share a scale: a product, or products joined by adds (through pools and integrators)."""
    joined: nx.Graph[str] = nx.Graph()
    currents = [node for node in graph.nodes if carries_current(graph, node)]
    joined.add_nodes_from(node.name for node in currents)
    for node in currents:
        if isinstance(node.op, Add | MaxPool | SumPool | TokenSum | Integrator):
            joined.add_edges_from((node.name, name) for name in node.inputs)
    return [[node for node in currents if node.name in names] for names in nx.connected_components(joined)]


def fold_preprocessing(graph: Graph) -> Graph:
    """Pixels enter as they are: x = (p·pixel_scale − mean)/std moves into the convolution that reads the image.

    Zero padding of x is padding of p with round(mean/pixel_scale); the bias uses the exact mean.
    """
    image = graph.nodes[0]
    assert isinstance(image.op, Image)
    changed = {node.name: _fold_into(node, graph.preprocess) for node in graph.consumers(image.name)}
    return graph.map_nodes(changed)


def _fold_into(node: Node, preprocess: Preprocess) -> Node:
    if not isinstance(node.op, Convolution | Linear):
        raise CompileError(node.name, "reads the image, but is no convolution or linear layer", "put one before it")
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    offset = -(node.op.weight * (mean / std)).reshape(len(node.op.weight), -1).sum(1)
    bias = offset if node.op.bias is None else node.op.bias + offset
    weight = node.op.weight * (preprocess.pixel_scale / std)
    if isinstance(node.op, Linear):
        return replace(node, op=replace(node.op, weight=weight, bias=bias))
    pad = np.rint(mean / preprocess.pixel_scale).astype(np.int64)
    if node.op.padding and not 0 <= pad.min() <= pad.max() <= preprocess.pixel_max:
        raise CompileError(
            node.name,
            f"zero padding of the normalised image is pixel {pad.tolist()}, and pixels are 0 to {preprocess.pixel_max}",
            "use a mean within the range of the pixels, or no padding",
        )
    return replace(node, op=replace(node.op, weight=weight, bias=bias, pad_value=pad))


def _largest_weights(node: Node, shared_by_channels: bool) -> NDArray[np.float64]:
    """What should become the largest integer [O]: the largest weight of each channel, or of all."""
    if isinstance(node.op, AttentionProduct):
        return np.full(node.channels, node.op.scale)
    assert isinstance(node.op, Convolution | Linear)
    largest = np.abs(node.op.weight).reshape(node.channels, -1).max(1)
    if shared_by_channels:
        largest = np.full(node.channels, largest.max())
    return np.where(largest > 0, largest, 1.0)


def _net_scale(
    products: list[Node], weight_bits: int, fraction_bits: int, shared_by_channels: bool
) -> tuple[dict[str, int], Scale]:
    """Left shifts of the products and the scale they share: step·2^shift is at least each product's ideal step."""
    ideal = {node.name: _largest_weights(node, shared_by_channels) for node in products}
    attention = any(isinstance(node.op, AttentionProduct) for node in products)
    if attention and len(products) > 1:
        raise CompileError(
            products[0].name, "adds an attention product to another current", "put a neuron between them"
        )
    typical = {name: float(np.median(largest)) for name, largest in ideal.items()}
    finest = min(typical.values())
    shifts = {name: round(math.log2(value / finest)) for name, value in typical.items()}
    shared = np.max([ideal[name] / 2.0 ** shifts[name] for name in ideal], axis=0)
    levels = 1 if attention else (1 << (weight_bits - 1)) - 1
    return {name: shift + fraction_bits for name, shift in shifts.items()}, Scale(shared / 2.0**fraction_bits, levels)


def _quantise_product(node: Node, shift: int, scale: Scale) -> Node:
    if isinstance(node.op, AttentionProduct):
        return replace(node, op=replace(node.op, current_shift=shift))
    assert isinstance(node.op, Convolution | Linear)
    lsb = (scale.step * 2.0**shift).reshape((-1,) + (1,) * (node.op.weight.ndim - 1))
    weight = np.rint(node.op.weight / lsb).astype(np.int64)
    bias = None if node.op.bias is None else np.rint(node.op.bias / scale.step).astype(np.int64)
    return replace(node, op=replace(node.op, weight=weight, bias=bias, current_shift=shift))


def _quantise_lif(node: Node, scale: Scale) -> Node:
    assert isinstance(node.op, Lif) and isinstance(node.op.neuron, FloatNeuron)
    neuron = node.op.neuron
    threshold = np.array(list(_in_units(neuron.threshold, neuron.gain, scale, neuron.comparison)), np.int64)
    to = neuron.subtracted if neuron.reset == "soft" else neuron.reset_value
    integer = IntegerNeuron(
        leak=integer_leak(neuron.leak),
        reset=neuron.reset,
        threshold=threshold,
        reset_to=np.rint(to / (neuron.gain * scale.step)).astype(np.int64),
        initial=np.rint(neuron.initial / (neuron.gain * scale.step)).astype(np.int64),
    )
    return replace(node, op=replace(node.op, neuron=integer))


def _in_units(threshold: float, gain: float, scale: Scale, comparison: str) -> Iterable[int]:
    """Smallest integer H' that fires, computed in exact fractions: a tie at the threshold stays a tie."""
    for largest in scale.largest:
        exact = Fraction(threshold) * scale.levels / (Fraction(gain) * Fraction(float(largest)))
        yield math.ceil(exact) if comparison == ">=" else math.floor(exact) + 1


def _output_scale(graph: Graph, scales: dict[str, Scale]) -> float:
    if graph.output not in scales:
        return 1.0  # spikes or counts
    step = scales[graph.output].step
    if not np.all(step == step[0]):
        raise CompileError(
            graph.output, "its channels have different scales", "end the network with a linear layer of its own"
        )
    return float(step[0])
