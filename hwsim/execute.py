"""Fast bit-exact execution of a schedule for a batch of images.

Written apart from `dtss.compiler.schedule.interpret`, so that equal results are a check of both. Sums are
BLAS matrix products on floats, which are exact while Σ|w|·|x| stays below 2^24 (float32) or 2^53
(float64); the bound is computed from the weights and from the proved bounds of the streamed value, and
every value is checked against its proved bounds before it is used, so no rounding can pass unseen.

Shape letters as in `dtss.compiler.schedule.format`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError
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
    Value,
)
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak

Array = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Tensors = Mapping[str, NDArray[Any]]
AtSteps = Mapping[int, Array]

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
INT32_LIMIT = 1 << 31


@dataclass(frozen=True)
class NodeRun:
    """One node's integers for one batch.

    inputs: for each input, step → value at the steps this node reads.  values: step → value where computed.
    accumulators: a product's sums before shift and bias.  membranes: U after reset.
    All are [B, *shape].
    """

    node: AnyNode
    batch: int
    inputs: tuple[AtSteps, ...]
    values: AtSteps
    accumulators: AtSteps = field(default_factory=dict)
    membranes: AtSteps = field(default_factory=dict)

    def value_at(self, step: int) -> Array:
        return value_at(self.node, self.values, step, self.batch)


def execute(schedule: Schedule, tensors: Tensors, pixels: Array) -> Iterator[NodeRun]:
    """Run `pixels` [B, H, W, C], node by node; a value is dropped after its last reader."""
    values: dict[str, AtSteps] = {}
    batch = len(pixels)
    finished = _finished_after(schedule)
    for node in schedule.nodes:
        reads = node.state_steps if isinstance(node, Lif) else node.steps.active
        inputs = tuple(
            {step: value_at(schedule.node(name), values[name], step, batch) for step in reads} for name in node.inputs
        )
        run = _run(schedule, tensors, node, inputs, pixels)
        values[node.name] = run.values
        yield run
        for name in finished[node.name]:
            del values[name]


def value_at(node: AnyNode, values: AtSteps, step: int, batch: int) -> Array:
    """A node's value at one step: computed, reused, or known to be zero."""
    if step in node.steps.zero:
        return np.broadcast_to(np.uint8(0), (batch, *node.shape))
    return values[node.steps.active[0] if step in node.steps.reused else step]


def _finished_after(schedule: Schedule) -> dict[str, list[str]]:
    """Node → the values that nothing reads after it."""
    last_reader = {node.name: node.name for node in schedule.nodes}
    for node in schedule.nodes:
        last_reader |= dict.fromkeys(node.inputs, node.name)
    finished: dict[str, list[str]] = {node.name: [] for node in schedule.nodes}
    for name, reader in last_reader.items():
        finished[reader].append(name)
    return finished


def _run(schedule: Schedule, tensors: Tensors, node: AnyNode, inputs: tuple[AtSteps, ...], pixels: Array) -> NodeRun:
    batch = len(pixels)
    match node:
        case Image():
            return NodeRun(node, batch, inputs, {step: _proved(node, step, pixels) for step in node.steps.active[:1]})
        case Convolution() | Linear() | AttentionProduct():
            return _run_product(schedule, tensors, node, inputs, batch)
        case Lif():
            return _run_lif(schedule, tensors, node, inputs, batch)
        case Integrator():
            return _run_integrator(node, inputs, batch)
        case Add() | MaxPool() | SumPool() | TokenSum():
            return _run_elementwise(node, inputs, batch)
        case _:
            assert_never(node)


def _proved(node: AnyNode, step: int, value: Array) -> Array:
    """The value in the narrowest convenient integer, or an error if it leaves its proved bounds."""
    _check_bounds(f"{node.name}.value", step, value, node.value)
    return value.astype(_integer_for_value(node.value), copy=False)


def _integer_for_value(value: Value) -> type[np.integer[Any]]:
    if value.low < 0 or value.high > np.iinfo(np.uint16).max:
        return _integer_for(_largest(value))
    return np.uint8 if value.high <= np.iinfo(np.uint8).max else np.uint16


def _check_bounds(where: str, step: int, value: Array, bounds: Value) -> None:
    low, high = int(value.min()), int(value.max())
    if low < bounds.low or high > bounds.high:
        found = f"step {step} holds {low} … {high}, the schedule proves {bounds.low} … {bounds.high}"
        raise BadInputError(where, found, "recompile; if the file was not edited, report it as a bug of the compiler")


# Products


def _run_product(
    schedule: Schedule, tensors: Tensors, node: Product, inputs: tuple[AtSteps, ...], batch: int
) -> NodeRun:
    bias = _bias(tensors, node)
    bound = sum_bound(schedule, tensors, node)
    exact = _exact_float(bound)
    weights = None if isinstance(node, AttentionProduct) else _weight_matrix(tensors, node, exact)
    wide = _integer_for((bound << node.current_shift) + int(np.abs(bias).max()))
    sums: dict[int, Array] = {}
    values: dict[int, Array] = {}
    for step in node.steps.active:
        operands = [at_steps[step].astype(exact) for at_steps in inputs]
        sums[step] = _multiply(tensors, node, operands, weights).reshape(batch, *node.shape).astype(wide)
        values[step] = _proved(node, step, (sums[step] << node.current_shift) + bias.astype(wide))
    for step in node.steps.bias_only:
        values[step] = np.broadcast_to(_proved(node, step, bias), (batch, *node.shape))
    return NodeRun(node, batch, inputs, values, accumulators=sums)


def _bias(tensors: Tensors, node: Product) -> Array:
    if isinstance(node, AttentionProduct) or node.bias is None:
        return np.zeros(node.channels, np.int64)
    return tensors[node.bias].astype(np.int64)


def sum_bound(schedule: Schedule, tensors: Tensors, node: Product) -> int:
    """The largest |partial sum| in any order of summation: max over outputs of Σ|w|·max|x|."""
    streamed = schedule.node(node.inputs[0])
    highest = _largest(streamed.value)
    match node:
        case Convolution() | Linear():
            if isinstance(node, Convolution) and node.pad_value is not None:
                highest = max(highest, int(np.abs(tensors[node.pad_value].astype(np.int64)).max()))
            weight = np.abs(tensors[node.weight].astype(np.int64)).reshape(node.channels, -1)
            return int(weight.sum(1).max()) * highest
        case AttentionProduct(stage="key_value"):
            length = streamed.positions
        case AttentionProduct(stage="score_value"):
            length = streamed.channels
        case AttentionProduct():
            length = streamed.channels // node.heads
        case _:
            assert_never(node)
    return length * highest * _largest(schedule.node(node.inputs[1]).value)


def _largest(value: Value) -> int:
    return max(abs(value.low), abs(value.high))


def _exact_float(bound: int) -> type[np.number[Any]]:
    if bound < FLOAT32_EXACT:
        return np.float32
    return np.float64 if bound < FLOAT64_EXACT else np.int64


def _integer_for(largest: int) -> type[np.signedinteger[Any]]:
    return np.int32 if largest < INT32_LIMIT else np.int64


def _weight_matrix(tensors: Tensors, node: Convolution | Linear, exact: type[np.number[Any]]) -> NDArray[Any]:
    """[reduction length, O]; a convolution's reduction axis is (kernel row, kernel column, channel)."""
    return np.ascontiguousarray(tensors[node.weight].reshape(node.channels, -1).T).astype(exact)


def _multiply(
    tensors: Tensors, node: Product, operands: Sequence[NDArray[Any]], weights: NDArray[Any] | None
) -> NDArray[Any]:
    sums: NDArray[Any]
    match node:
        case Convolution():
            sums = _image_columns(tensors, node, operands[0]) @ weights
        case Linear():
            sums = operands[0].reshape(-1, operands[0].shape[-1]) @ weights
        case AttentionProduct():
            sums = _attend(node, operands[0], operands[1])
        case _:
            assert_never(node)
    return sums


def _image_columns(tensors: Tensors, node: Convolution, image: NDArray[Any]) -> NDArray[Any]:
    """Every window side by side: [B·H·W, kernel rows · kernel columns · C]."""
    windows = convolution_windows(node, pad(node, image, None if node.pad_value is None else tensors[node.pad_value]))
    return windows.reshape(-1, windows.shape[-1] * node.kernel[0] * node.kernel[1])


def pad(node: Convolution, image: NDArray[Any], border: NDArray[Any] | None) -> NDArray[Any]:
    """`image` [B, H, W, ...] within a border of `padding` pixels that hold `border` [...], 0 if None."""
    if node.padding == 0:
        return image
    batch, height, width, *inner = image.shape
    thick = node.padding
    padded = np.zeros((batch, height + 2 * thick, width + 2 * thick, *inner), image.dtype)
    if border is not None:
        padded[:] = border
    padded[:, thick : thick + height, thick : thick + width] = image
    return padded


def convolution_windows(node: Convolution, padded: NDArray[Any]) -> NDArray[Any]:
    """A view of `padded` [B, H', W', C]: [B, H, W, kernel rows, kernel columns, C]."""
    windows = sliding_window_view(padded, node.kernel, axis=(1, 2))[:, :: node.stride, :: node.stride]
    return np.moveaxis(windows, 3, -1)


def _attend(node: AttentionProduct, streamed: NDArray[Any], stationary: NDArray[Any]) -> NDArray[Any]:
    heads = node.heads
    sums: NDArray[Any]
    match node.stage:
        case "key_value":
            sums = tokens_by_head(streamed, heads).swapaxes(2, 3) @ tokens_by_head(stationary, heads)
        case "query_key":
            sums = tokens_by_head(streamed, heads) @ tokens_by_head(stationary, heads).swapaxes(2, 3)
        case "query_key_value":
            sums = (tokens_by_head(streamed, heads) @ stationary).swapaxes(1, 2)
        case "score_value":
            sums = (streamed @ tokens_by_head(stationary, heads)).swapaxes(1, 2)
        case _:
            assert_never(node.stage)
    return sums


def tokens_by_head(value: NDArray[Any], heads: int) -> NDArray[Any]:
    """[B, H, W, C] → [B, heads, N, d]."""
    batch, height, width, channels = value.shape
    return value.reshape(batch, height * width, heads, channels // heads).swapaxes(1, 2)


# Neurons


def _run_lif(schedule: Schedule, tensors: Tensors, node: Lif, inputs: tuple[AtSteps, ...], batch: int) -> NodeRun:
    """H = leak(U) + I;  Y = [H ≥ θ];  U = H − R·Y (soft) or Y ? R : H (hard)."""
    wide = _integer_for(_potential_bound(schedule, tensors, node))
    threshold, reset_to, initial = (
        tensors[name].astype(wide) for name in (node.threshold, node.reset_to, node.initial)
    )
    membrane = np.broadcast_to(initial, (batch, *node.shape))
    values: dict[int, Array] = {}
    membranes: dict[int, Array] = {}
    for step in node.state_steps:
        membrane = _leak(membrane, node.leak)
        membrane += inputs[0][step].astype(wide, copy=False)
        fires = membrane >= threshold
        if node.reset == "soft":
            np.subtract(membrane, reset_to, out=membrane, where=fires)
        else:
            np.copyto(membrane, reset_to, where=fires)
        _check_bounds(f"{node.name}.membrane", step, membrane, node.membrane)
        membranes[step] = membrane
        if step in node.steps.active:
            values[step] = fires.view(np.uint8)
    return NodeRun(node, batch, inputs, values, membranes=membranes)


def _run_integrator(node: Integrator, inputs: tuple[AtSteps, ...], batch: int) -> NodeRun:
    """O[t] = leak(O[t−1]) + I[t]."""
    state: Array = np.zeros((batch, *node.shape), np.int64)
    values: dict[int, Array] = {}
    for step in node.steps.active:
        state = _leak(state, node.leak) + inputs[0][step]
        values[step] = _proved(node, step, state)
    return NodeRun(node, batch, inputs, values)


def _leak(membrane: Array, leak: Leak) -> NDArray[Any]:
    """A new array, whatever the leak."""
    match leak:
        case ShiftLeak(shift=shift):
            return membrane - (membrane >> shift)
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return (membrane * multiplier) >> fraction_bits
        case _:
            assert_never(leak)


def _potential_bound(schedule: Schedule, tensors: Tensors, node: Lif) -> int:
    """No intermediate of a time step is larger in magnitude."""
    tensor_bounds = [
        int(np.abs(tensors[name].astype(np.int64)).max()) for name in (node.threshold, node.reset_to, node.initial)
    ]
    state = max(_largest(node.membrane), tensor_bounds[2])
    grown = state * max(2, abs(node.leak.multiplier)) if isinstance(node.leak, FixedLeak) else 2 * state
    return grown + _largest(schedule.node(node.inputs[0]).value) + max(tensor_bounds)


# Elementwise


def _run_elementwise(node: Add | MaxPool | SumPool | TokenSum, inputs: tuple[AtSteps, ...], batch: int) -> NodeRun:
    values = {
        step: _proved(node, step, _elementwise(node, [at_steps[step] for at_steps in inputs]))
        for step in node.steps.active
    }
    return NodeRun(node, batch, inputs, values)


def _elementwise(node: Add | MaxPool | SumPool | TokenSum, inputs: list[Array]) -> Array:
    match node:
        case Add():
            total = inputs[0].astype(np.int64)
            for other in inputs[1:]:
                total += other
            return total
        case MaxPool():
            return _pool(node, inputs[0], np.maximum, start=np.iinfo(inputs[0].dtype).min)
        case SumPool():
            return _pool(node, inputs[0].astype(np.int64), np.add, start=0)
        case TokenSum():
            over_tokens: Array = inputs[0].sum(axis=(1, 2), keepdims=True, dtype=np.int64)
            return over_tokens
        case _:
            assert_never(node)


def _pool(node: MaxPool | SumPool, image: Array, combine: np.ufunc, start: int) -> Array:
    """Each tap of the window meets the outputs whose tap lies inside the image."""
    rows, columns, channels = node.shape
    kernel = node.window
    result = np.full((len(image), rows, columns, channels), start, image.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row_out, row_in = _inside(i, node, rows, image.shape[1])
            column_out, column_in = _inside(j, node, columns, image.shape[2])
            covered = result[:, row_out, column_out]
            combine(covered, image[:, row_in, column_in], out=covered)
    return result


def _inside(tap: int, node: MaxPool | SumPool, outputs: int, size: int) -> tuple[slice, slice]:
    """Outputs o whose input o·stride + tap − padding exists, and those inputs."""
    offset = tap - node.padding
    first = max(0, -(offset // node.stride))
    last = min(outputs - 1, (size - 1 - offset) // node.stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last + 1), slice(first * node.stride + offset, last * node.stride + offset + 1, node.stride)
