"""Interval analysis: bounds of every value, sum and membrane, proved from the weights and the number of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, assert_never

import numpy as np

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import (
    Add,
    Attention,
    AttentionProduct,
    BatchNorm,
    Convolution,
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
    Weights,
    carries_current,
)
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Value
from dtss.compiler.schedule.hardware import Widths
from dtss.compiler.schedule.numerics import Integers, leak, signed_bits

Interval = tuple[Integers, Integers]  # lowest and highest value of each channel, [C]


@dataclass(frozen=True)
class ProveWidths(PassBase):
    """Fails, naming the layer, where a bound exceeds the hardware's width. Nothing saturates."""

    name: ClassVar[str] = "prove-widths"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER, Stage.LOWERED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.BOUNDED})

    def run(self, graph: Graph, target: Target) -> Graph:
        widths = target.hardware.widths
        bounds: dict[str, Interval] = {}
        changed = []
        for node in graph.nodes:
            sums = accumulator_bounds(graph, node, bounds)
            bounds[node.name] = value_bounds(graph, node, bounds, sums)
            if isinstance(node.op, Integrator):
                _refuse_wide(node.name, "state", bounds[node.name], "membrane", widths)
            changed.append(replace(node, value=_value(bounds[node.name])))
            if sums is not None:
                _refuse_wide(node.name, "accumulator", sums, "accumulator", widths)
            if sums is not None or carries_current(graph, node):
                _refuse_wide(node.name, "current", bounds[node.name], "membrane", widths)
            if isinstance(node.op, AttentionProduct):
                _refuse_wide_stationary(node, bounds[node.inputs[1]], widths.weight)
            if isinstance(node.op, Lif):
                membrane = membrane_bounds(node, bounds[node.inputs[0]], graph.time_steps)
                _refuse_wide(node.name, "membrane", membrane, "membrane", widths)
                changed[-1] = replace(changed[-1], membrane=_value(membrane))
        return graph.with_nodes(changed)


def accumulator_bounds(graph: Graph, node: Node, bounds: dict[str, Interval]) -> Interval | None:
    """Bounds of a product's sums before shift and bias."""
    match node.op:
        case Convolution():
            highest = _padded_highest(node.op, bounds[node.inputs[0]][1])
            return _weighted(node.op.weight.reshape(node.channels, -1, len(highest)), highest)
        case Linear():
            return _weighted(node.op.weight.reshape(node.channels, 1, -1), bounds[node.inputs[0]][1])
        case AttentionProduct():
            return _attention_bounds(graph, node, bounds)
        case _:
            return None


def _padded_highest(convolution: Convolution, highest: Integers) -> Integers:
    return highest if convolution.pad_value is None else np.maximum(highest, convolution.pad_value)


def _weighted(weight: Weights, highest: Integers) -> Interval:
    """Σ over taps and channels of the weights of one sign, times the input's largest value (its smallest is 0)."""
    whole = weight.astype(np.int64)
    return (np.minimum(whole, 0) * highest).sum((1, 2)), (np.maximum(whole, 0) * highest).sum((1, 2))


def _attention_bounds(graph: Graph, node: Node, bounds: dict[str, Interval]) -> Interval:
    assert isinstance(node.op, AttentionProduct)
    streamed, stationary = graph.inputs(node)
    match node.op.stage:
        case "key_value":
            length = streamed.positions
        case "query_key" | "query_key_value":
            length = streamed.channels // node.op.heads
        case "score_value":
            length = streamed.channels
        case _:
            assert_never(node.op.stage)
    most = length * int(bounds[streamed.name][1].max()) * int(bounds[stationary.name][1].max())
    return np.zeros(node.channels, np.int64), np.full(node.channels, most, np.int64)


def value_bounds(graph: Graph, node: Node, bounds: dict[str, Interval], sums: Interval | None) -> Interval:
    """Bounds of a node's value over all inputs and steps, zero included where a step may be skipped."""
    inputs = [bounds[name] for name in node.inputs]
    match node.op:
        case Image():
            return np.zeros(node.channels, np.int64), np.full(node.channels, graph.preprocess.pixel_max, np.int64)
        case Convolution() | Linear():
            assert sums is not None
            bias = 0 if node.op.bias is None else node.op.bias
            low, high = ((bound << node.op.current_shift) + bias for bound in sums)
            return np.minimum(np.minimum(low, bias), 0), np.maximum(np.maximum(high, bias), 0)
        case AttentionProduct():
            assert sums is not None
            return sums[0] << node.op.current_shift, sums[1] << node.op.current_shift
        case Lif():
            return np.zeros(node.channels, np.int64), np.ones(node.channels, np.int64)
        case Integrator():
            return integrator_bounds(node.op, inputs[0], graph.time_steps)
        case Add():
            return sum((low for low, _ in inputs[1:]), inputs[0][0]), sum(
                (high for _, high in inputs[1:]), inputs[0][1]
            )
        case MaxPool():
            return inputs[0]
        case SumPool():
            taps = node.op.kernel[0] * node.op.kernel[1]
            return np.minimum(inputs[0][0], 0) * taps, np.maximum(inputs[0][1], 0) * taps
        case TokenSum():
            positions = graph.inputs(node)[0].positions
            return inputs[0][0] * positions, inputs[0][1] * positions
        case BatchNorm() | Attention():
            raise AssertionError(f"{node.name}: {node.op} was to be lowered before")
        case _:
            assert_never(node.op)


def integrator_bounds(op: Integrator, current: Interval, time_steps: int) -> Interval:
    """Bounds of O over all steps, the 0 before the first included."""
    assert not isinstance(op.leak, float)
    low = high = widest_low = widest_high = np.zeros_like(current[0])
    for _ in range(time_steps):
        low, high = leak(low, op.leak) + current[0], leak(high, op.leak) + current[1]
        widest_low, widest_high = np.minimum(widest_low, low), np.maximum(widest_high, high)
    return widest_low, widest_high


def membrane_bounds(node: Node, current: Interval, time_steps: int) -> Interval:
    """Bounds of H and U over all steps: the interval of U grows by one step of the neuron at a time."""
    assert isinstance(node.op, Lif) and isinstance(node.op.neuron, IntegerNeuron)
    neuron = node.op.neuron
    low, high = neuron.initial, neuron.initial
    widest_low, widest_high = low, high
    for _ in range(time_steps):
        potential_low = np.minimum(leak(low, neuron.leak), leak(high, neuron.leak)) + current[0]
        potential_high = np.maximum(leak(low, neuron.leak), leak(high, neuron.leak)) + current[1]
        low, high = _after_reset(neuron, potential_low, potential_high)
        widest_low = np.minimum.reduce([widest_low, potential_low, low])
        widest_high = np.maximum.reduce([widest_high, potential_high, high])
    return widest_low, widest_high


def _after_reset(neuron: IntegerNeuron, low: Integers, high: Integers) -> Interval:
    """U' is H below the threshold where it may stay silent, and the reset value or H − R where it may fire."""
    silent_high = np.minimum(high, neuron.threshold - 1)
    fires, silent = high >= neuron.threshold, low < neuron.threshold
    if neuron.reset == "soft":
        fired_low, fired_high = np.maximum(low, neuron.threshold) - neuron.reset_to, high - neuron.reset_to
    else:
        fired_low = fired_high = neuron.reset_to
    lowest = np.where(silent, np.where(fires, np.minimum(low, fired_low), low), fired_low)
    highest = np.where(silent, np.where(fires, np.maximum(silent_high, fired_high), silent_high), fired_high)
    return lowest, highest


def _value(interval: Interval) -> Value:
    return Value(low=int(interval[0].min()), high=int(interval[1].max()))


def _refuse_wide(where: str, what: str, interval: Interval, entry: str, widths: Widths) -> None:
    width = getattr(widths, entry)
    low, high = int(interval[0].min()), int(interval[1].max())
    bits = signed_bits(low, high)
    if bits > width:
        raise CompileError(
            where,
            f"its {what} can reach {low} … {high}, {bits} bits, and the hardware has {width}",
            f"use a hardware file with widths.{entry} = {bits} or more, or a smaller widths.weight",
        )


def _refuse_wide_stationary(node: Node, interval: Interval, width: int) -> None:
    high = int(interval[1].max())
    if signed_bits(0, high) > width:
        raise CompileError(
            node.name,
            f"its stationary operand can reach {high}, and the array's weights have {width} bits",
            f"use a hardware file with widths.weight = {signed_bits(0, high)} or more",
        )
