"""Weights, biases and neurons become integers.

Everything unsigned (pixels, spikes, counts) keeps its value; only currents get a scale: one real number per
output channel and LSB, shared by all products whose currents are added before a neuron sees them. The gain g
and the scale fold into the neuron:

    H = λU + gI  and  H ≥ θ      become      H' = leak(U') + I'  and  H' ≥ ⌈θ/(g·scale)⌉,    H' = H/(g·scale)

A strict H > θ becomes H' ≥ ⌊θ/(g·scale)⌋ + 1, and soft reset subtracts round(θ/(g·scale)).
"""

from __future__ import annotations

import difflib
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
    IntegerNeuron,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Node,
    Product,
    SumPool,
    TokenSum,
    carries_current,
)
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak, signed_bits

LEAK_FRACTION_BITS = 12
LEAST_FRACTION_BITS = 2
Scale = NDArray[np.float64]


@dataclass(frozen=True)
class Quantise(PassBase):
    """Symmetric rounding to nearest, one scale per output channel (one for the whole output layer).

    Thresholds, biases and membranes have bits below the weights' LSB: as many as give a channel's largest weight
    resolution_bits, so that narrow weights do not make them coarse, and two at least, for the rounding of the leak.
    """

    name: ClassVar[str] = "quantise"
    requires: ClassVar[frozenset[Stage]] = frozenset(
        {Stage.FLOAT, Stage.NORMALISED, Stage.UNSIGNED, Stage.LOWERED, Stage.PIXELS}
    )
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER})
    removes: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT})
    resolution_bits: int = 10

    def run(self, graph: Graph, target: Target) -> Graph:
        refuse_impossible_widths(graph, target)
        scales: dict[str, Scale] = {}
        changed: dict[str, Node] = {}
        for net in current_nets(graph):
            products, is_output = products_of(net), holds_output(graph, net)
            leaks = any(isinstance(node.op, Integrator) for node in net)
            fraction_bits = 0 if is_output and not leaks else self._fraction_bits(graph, products, target)
            shifts, scale = _net_scale(products, target, fraction_bits, one_scale=is_output)
            scales |= {node.name: scale for node in net}
            changed |= {node.name: _quantise_product(node, shifts[node.name], scale, target) for node in products}
        for node in graph.nodes:
            if isinstance(node.op, Lif):
                changed[node.name] = _quantise_lif(node, scales[node.inputs[0]])
            if isinstance(node.op, Integrator) and isinstance(node.op.leak, float):
                changed[node.name] = replace(node, op=Integrator(integer_leak(node.op.leak)))
        return graph.map_nodes(changed, output_scale=graph.output_scale * _output_scale(graph, scales))

    def _fraction_bits(self, graph: Graph, products: list[Node], target: Target) -> int:
        if all(isinstance(node.op, AttentionProduct) for node in products):
            return max(exact_fraction_bits(graph, node) for node in products)
        return max(LEAST_FRACTION_BITS, self.resolution_bits - max(_bits_in_use(node, target) for node in products))


def _bits_in_use(node: Node, target: Target) -> int:
    """Of the largest weight in integers, with its sign; 0 of an attention product."""
    if not isinstance(node.op, Convolution | Linear):
        return 0
    largest = np.abs(node.op.weight).reshape(node.channels, -1).max(1)
    return signed_bits(0, int(np.rint(largest / _ideal_scale(node, target, one_scale=False)).max()))


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
    """Currents that must share a scale: a product, or products joined by adds (through pools)."""
    joined: nx.Graph[str] = nx.Graph()
    currents = [node for node in graph.nodes if carries_current(graph, node)]
    joined.add_nodes_from(node.name for node in currents)
    for node in currents:
        if isinstance(node.op, Add | MaxPool | SumPool | TokenSum | Integrator):
            joined.add_edges_from((node.name, name) for name in node.inputs)
    return [[node for node in currents if node.name in names] for names in nx.connected_components(joined)]


def refuse_impossible_widths(graph: Graph, target: Target) -> None:
    """Bits that no array or no layer has."""
    weighted = [node.name for node in graph.nodes if isinstance(node.op, Convolution | Linear)]
    for name in target.layer_weight_bits:
        if name not in weighted:
            near = difflib.get_close_matches(name, weighted, n=3, cutoff=0.3) or weighted[:3]
            raise CompileError(name, "has no weights to set bits of", f"name a layer that has: {', '.join(near)}")
    widest = target.hardware.widths.weight
    for name in weighted:
        if not 2 <= target.weight_bits_of(name) <= widest:
            found = f"weights of {target.weight_bits_of(name)} bits"
            raise CompileError(name, found, f"the array of {target.hardware.name} takes 2 to {widest}")


def holds_output(graph: Graph, net: Iterable[Node]) -> bool:
    """Whether the logits are in this net: they have one scale for all channels."""
    return any(node.name == graph.output for node in net)


def products_of(net: Iterable[Node]) -> list[Node]:
    return [node for node in net if isinstance(node.op, Product)]


def weight_lsbs(graph: Graph, target: Target) -> dict[str, Scale]:
    """What one integer of each weight means, [O] for every convolution and linear layer."""
    lsbs: dict[str, Scale] = {}
    for net in current_nets(graph):
        products = products_of(net)
        shifts, scale = _net_scale(products, target, fraction_bits=0, one_scale=holds_output(graph, net))
        lsbs |= {node.name: scale * 2.0 ** shifts[node.name] for node in products}
    return lsbs


def largest_integer(target: Target, product: str) -> int:
    """Weights are −largest … largest, so that a weight and its negative are alike."""
    return (1 << (target.weight_bits_of(product) - 1)) - 1


def _ideal_scale(node: Node, target: Target, one_scale: bool) -> Scale:
    """The LSB [O] that training or calibration chose, or that makes a channel's largest weight the largest integer.

    The former only where its integers fit: fewer bits than a network was trained with need an LSB of their own.

    one_scale: the largest weight of all channels, for each.
    For the one weight of a channel, as in the identity, a power of two is as good, and makes the LSB exact where
    counts meet a threshold in ties.
    """
    if isinstance(node.op, AttentionProduct):
        return np.full(node.channels, node.op.scale)
    assert isinstance(node.op, Convolution | Linear)
    levels = largest_integer(target, node.name)
    magnitudes = np.abs(node.op.weight).reshape(node.channels, -1)
    largest = magnitudes.max(1)
    if node.op.lsb is not None and (np.rint(largest / node.op.lsb) <= levels).all():
        return node.op.lsb
    single = np.count_nonzero(magnitudes, axis=1) == 1
    if one_scale:
        largest, single = np.full(node.channels, largest.max()), np.zeros(node.channels, np.bool_)
    return np.where(largest > 0, largest, 1.0) / np.where(single, (levels + 1) // 2, levels)


def _net_scale(
    products: list[Node], target: Target, fraction_bits: int, *, one_scale: bool
) -> tuple[dict[str, int], Scale]:
    """Left shifts of the products and the LSB [O] they share: scale·2^shift is at least each product's ideal LSB."""
    ideal = {node.name: _ideal_scale(node, target, one_scale) for node in products}
    if any(isinstance(node.op, AttentionProduct) for node in products) and len(products) > 1:
        raise CompileError(
            products[0].name, "adds an attention product to another current", "put a neuron between them"
        )
    typical = {name: float(np.median(scale)) for name, scale in ideal.items()}
    finest = min(typical.values())
    shifts = {name: round(math.log2(value / finest)) for name, value in typical.items()}
    shared = np.max([ideal[name] / 2.0 ** shifts[name] for name in ideal], axis=0)
    return {name: shift + fraction_bits for name, shift in shifts.items()}, shared / 2.0**fraction_bits


def _quantise_product(node: Node, shift: int, scale: Scale, target: Target) -> Node:
    if isinstance(node.op, AttentionProduct):
        return replace(node, op=replace(node.op, current_shift=shift))
    assert isinstance(node.op, Convolution | Linear)
    lsb = (scale * 2.0**shift).reshape((-1,) + (1,) * (node.op.weight.ndim - 1))
    weight = np.rint(node.op.weight / lsb).astype(np.int64)
    bias = None if node.op.bias is None else np.rint(node.op.bias / scale).astype(np.int64)
    bits = target.weight_bits_of(node.name)
    return replace(node, op=replace(node.op, weight=weight, bias=bias, current_shift=shift, weight_bits=bits))


def _quantise_lif(node: Node, scale: Scale) -> Node:
    assert isinstance(node.op, Lif) and isinstance(node.op.neuron, FloatNeuron)
    neuron = node.op.neuron
    threshold = np.array(list(_in_units(neuron.threshold, neuron.gain, scale, neuron.comparison)), np.int64)
    to = neuron.subtracted if neuron.reset == "soft" else neuron.reset_value
    integer = IntegerNeuron(
        leak=integer_leak(neuron.leak),
        reset=neuron.reset,
        threshold=threshold,
        reset_to=np.rint(to / (neuron.gain * scale)).astype(np.int64),
        initial=np.rint(neuron.initial / (neuron.gain * scale)).astype(np.int64),
    )
    return replace(node, op=replace(node.op, neuron=integer))


def _in_units(threshold: float, gain: float, scale: Scale, comparison: str) -> Iterable[int]:
    """Smallest integer H' that fires, computed in exact fractions: a tie at the threshold stays a tie."""
    for unit in scale:
        exact = Fraction(threshold) / (Fraction(gain) * Fraction(float(unit)))
        yield math.ceil(exact) if comparison == ">=" else math.floor(exact) + 1


def _output_scale(graph: Graph, scales: dict[str, Scale]) -> float:
    if graph.output not in scales:
        return 1.0  # spikes or counts
    scale = scales[graph.output]
    if not np.all(scale == scale[0]):
        raise CompileError(
            graph.output, "its channels have different scales", "end the network with a linear layer of its own"
        )
    return float(scale[0])
