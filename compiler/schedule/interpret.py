"""The meaning of a schedule on integers: the golden model of the simulator and of the RTL.

Plain and slow on purpose. It obeys the schedule's step lists and nothing else: a value that a pass
declared dead does not exist here, so reading one is an error, not a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    Convolution,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.numerics import Integers, leak, lif_step

Tensors = Mapping[str, np.ndarray]
ProductType = type[np.int64 | np.float64]
Numbers = NDArray[Any]  # of a ProductType


@dataclass(frozen=True)
class Execution:
    """Every integer of one run: name → step → array.

    values: [B, *shape], at the steps where the node computes.
    accumulators: a product's sums before shift and bias, at its active steps.
    membranes: U after reset, at a LIF's state steps.
    logits: [T, B, K].
    """

    values: dict[str, dict[int, Integers]] = field(default_factory=dict)
    accumulators: dict[str, dict[int, Integers]] = field(default_factory=dict)
    membranes: dict[str, dict[int, Integers]] = field(default_factory=dict)
    logits: Integers = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))


def interpret(
    schedule: Schedule, tensors: Tensors, pixels: Integers, product_type: ProductType = np.int64
) -> Execution:
    """Run `pixels` [B, H, W, C] through the schedule.

    product_type: float64 gives the same sums sooner, as none of them reaches 2^53 (widths are at most 48 bits).
    """
    run = Execution()
    for node in schedule.nodes:
        run.values[node.name] = {}
        match node:
            case Image():
                run.values[node.name][0] = pixels.astype(np.int64)
            case Convolution() | Linear() | AttentionProduct():
                _run_product(schedule, tensors, run, node, product_type)
            case Lif():
                _run_lif(schedule, tensors, run, node)
            case Integrator():
                _run_integrator(schedule, run, node)
            case Add() | MaxPool() | SumPool() | TokenSum():
                for step in node.steps.active:
                    run.values[node.name][step] = _elementwise(node, inputs_at(schedule, run, node, step))
            case _:
                assert_never(node)
    head = schedule.node(schedule.output.node)
    logits = [value_at(run, head, step, len(pixels)).reshape(len(pixels), -1) for step in range(schedule.time_steps)]
    return Execution(run.values, run.accumulators, run.membranes, np.stack(logits))


def value_at(run: Execution, node: AnyNode, step: int, batch: int) -> Integers:
    """A node's value at one step: computed, reused, or known to be zero."""
    if step in node.steps.zero:
        return np.zeros((batch, *node.shape), np.int64)
    if step in node.steps.reused:
        return run.values[node.name][node.steps.active[0]]
    if step not in run.values[node.name]:
        raise AssertionError(f"{node.name}: step {step} was pruned as dead, yet something reads it")
    return run.values[node.name][step]


def inputs_at(schedule: Schedule, run: Execution, node: AnyNode, step: int) -> list[Integers]:
    """The values of a node's inputs at one step."""
    batch = len(next(iter(run.values[schedule.nodes[0].name].values())))
    return [value_at(run, schedule.node(name), step, batch) for name in node.inputs]


def _run_product(
    schedule: Schedule, tensors: Tensors, run: Execution, node: Product, product_type: ProductType
) -> None:
    bias = 0 if isinstance(node, AttentionProduct) or node.bias is None else tensors[node.bias].astype(np.int64)
    run.accumulators[node.name] = {}
    for step in node.steps.active:
        sums = accumulate(node, tensors, inputs_at(schedule, run, node, step), product_type)
        run.accumulators[node.name][step] = sums
        run.values[node.name][step] = (sums << node.current_shift) + bias
    batch = len(next(iter(run.values[schedule.nodes[0].name].values())))
    for step in node.steps.bias_only:
        run.values[node.name][step] = np.broadcast_to(np.asarray(bias), (batch, *node.shape)).astype(np.int64)


def accumulate(
    node: Product, tensors: Tensors, inputs: list[Integers], product_type: ProductType = np.int64
) -> Integers:
    """A product's exact integer sums [B, *shape], before shift and bias."""
    operands = [value.astype(product_type) for value in inputs]
    match node:
        case Convolution():
            sums = _convolve(node, tensors, operands[0], product_type)
        case Linear():
            sums = operands[0] @ tensors[node.weight].astype(product_type).T
        case AttentionProduct():
            sums = _attend(node, *operands)
        case _:
            assert_never(node)
    return sums.astype(np.int64)


def _convolve(node: Convolution, tensors: Tensors, image: Numbers, product_type: ProductType) -> Numbers:
    weight = tensors[node.weight].astype(product_type)
    padded = pad_image(node, tensors, image)
    height, width, _ = node.shape
    sums: Numbers = np.zeros((len(image), *node.shape), product_type)
    for row in range(node.kernel[0]):
        for column in range(node.kernel[1]):
            rows = slice(row, row + height * node.stride, node.stride)
            columns = slice(column, column + width * node.stride, node.stride)
            sums += padded[:, rows, columns] @ weight[:, row, column].T
    return sums


def pad_image(node: Convolution, tensors: Tensors, image: Numbers) -> Numbers:
    """The image with its border of `padding` pixels of pad_value, so large that every window fits."""
    batch, height, width, channels = image.shape
    pad = node.padding
    padded = np.zeros((batch, height + 2 * pad, width + 2 * pad, channels), image.dtype)
    if node.pad_value is not None:
        padded[:] = tensors[node.pad_value]
    padded[:, pad : pad + height, pad : pad + width] = image
    return padded


def split_heads(value: Numbers, heads: int) -> Numbers:
    """[B, H, W, C] → [B, heads, N, d]."""
    batch, height, width, channels = value.shape
    return value.reshape(batch, height * width, heads, channels // heads).transpose(0, 2, 1, 3)


def _attend(node: AttentionProduct, streamed: Numbers, stationary: Numbers) -> Numbers:
    batch = len(streamed)
    match node.stage:
        case "key_value":
            return split_heads(streamed, node.heads).swapaxes(2, 3) @ split_heads(stationary, node.heads)
        case "query_key":
            return split_heads(streamed, node.heads) @ split_heads(stationary, node.heads).swapaxes(2, 3)
        case "query_key_value":
            result = split_heads(streamed, node.heads) @ stationary
        case "score_value":
            result = streamed @ split_heads(stationary, node.heads)
        case _:
            assert_never(node.stage)
    return result.transpose(0, 2, 1, 3).reshape(batch, *node.shape)


def _run_lif(schedule: Schedule, tensors: Tensors, run: Execution, node: Lif) -> None:
    run.membranes[node.name] = {}
    initial = tensors[node.initial].astype(np.int64)
    threshold, reset_to = tensors[node.threshold].astype(np.int64), tensors[node.reset_to].astype(np.int64)
    membrane: Integers = np.broadcast_to(initial, node.shape)
    for step in node.state_steps:
        current = inputs_at(schedule, run, node, step)[0]
        fires, membrane = lif_step(membrane, current, threshold, reset_to, node.leak, node.reset)
        run.membranes[node.name][step] = membrane
        if step in node.steps.active:
            run.values[node.name][step] = fires.astype(np.int64)


def _run_integrator(schedule: Schedule, run: Execution, node: Integrator) -> None:
    state: Integers = np.zeros(node.shape, np.int64)
    for step in node.steps.active:
        state = leak(state, node.leak) + inputs_at(schedule, run, node, step)[0]
        run.values[node.name][step] = state


def _elementwise(node: Add | MaxPool | SumPool | TokenSum, inputs: list[Integers]) -> Integers:
    match node:
        case Add():
            return sum(inputs[1:], start=inputs[0])
        case MaxPool():
            highest: Integers = np.maximum.reduce(_pool_taps(node, inputs[0], outside=np.iinfo(np.int64).min))
            return highest
        case SumPool():
            added: Integers = np.add.reduce(_pool_taps(node, inputs[0], outside=0))
            return added
        case TokenSum():
            total: Integers = inputs[0].sum(axis=(1, 2), keepdims=True)
            return total
        case _:
            assert_never(node)


def _pool_taps(node: MaxPool | SumPool, image: Integers, outside: int) -> list[Integers]:
    """For each element of the window: its value at every output position, [B, H, W, C]."""
    batch, height, width, channels = image.shape
    pad = node.padding
    rows, columns, _ = node.shape
    kernel = node.window
    span = (rows - 1) * node.stride + kernel[0], (columns - 1) * node.stride + kernel[1]
    shape = (batch, max(span[0], height + pad), max(span[1], width + pad), channels)
    padded = np.full(shape, outside, np.int64)
    padded[:, pad : pad + height, pad : pad + width] = image
    return [
        padded[:, i : i + rows * node.stride : node.stride, j : j + columns * node.stride : node.stride][
            :, :rows, :columns
        ]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
