"""Products of streamed values and weights, exact, by events or dense.

By events: for each value that is not zero, its weight row is added to the sums of every output that reads it. Sums go
through a narrow integer that holds a proved number of weight rows and is then emptied into a wide one.
Dense: a BLAS matrix product on floats, exact while Σ|w|·|x| stays below 2^24 (float32) or 2^53 (float64).
Which of the two is chosen for each step by the share of values that are not zero; the integers are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Convolution, Linear, Product, Schedule
from dtss.hwsim.kernels import add_weight_multiples, add_weight_rows, list_events, multiply_by_head
from dtss.hwsim.values import Array, Currents, NodeRun, Stack, integer_for, largest

Tensors = Mapping[str, NDArray[Any]]

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
PARTIAL_LIMIT = (1 << 15) - 1  # of an int16
EVENTS_AT_ONCE = 8  # weight rows that a kernel adds before it looks at its budget
DENSE_FROM = 0.9  # share of values that are not zero; beyond it the dense product took less time: benchmarks/README.md


@dataclass(frozen=True)
class Events:
    """Values [frames, rows, C] that are not zero, as `list_events` gives them."""

    starts: NDArray[np.int64]
    channels: NDArray[np.int32]
    amounts: NDArray[np.int32]
    rows: int

    def in_frames(self, first: int, last: int) -> int:
        """How many there are in frames first … last − 1."""
        return int(self.starts[last * self.rows] - self.starts[first * self.rows])


def events_of(stack: Stack, highest: int, border: NDArray[Any] | None) -> Events:
    """The events of all frames; `border` [C] is put behind each frame as one more row."""
    steps, batch, *_, channels = stack.frames.shape
    values = stack.frames.reshape(steps * batch, math.prod(stack.frames.shape[2:-1]), channels)
    if border is not None:
        values = np.concatenate([values, np.broadcast_to(border, (steps * batch, 1, channels))], axis=1)
    starts, found, amounts = list_events(np.ascontiguousarray(values).reshape(-1, channels), highest > 1)
    return Events(starts, found, amounts, values.shape[1])


@dataclass(frozen=True)
class WeightedProduct:
    """A convolution or linear layer, laid out for both ways.

    taps [P, kernel offsets]: the pixel under each offset, −1 outside the image, or the row of `border` behind it.
    rows [offsets · C + 1, O]: weights by element of the sum, the last row 0.  partial, budget: see `add_weight_rows`.
    highest: of the streamed value.  bound: the largest |partial sum| in any order of summation.
    """

    node: Convolution | Linear
    source: str
    taps: NDArray[np.int32]
    border: NDArray[Any] | None
    rows: Array
    bias: Array
    highest: int
    bound: int
    partial: type[np.signedinteger[Any]]
    budget: int

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: Convolution | Linear) -> WeightedProduct:
        """Everything that no image changes."""
        streamed = schedule.node(node.inputs[0])
        border = tensors[node.pad_value] if isinstance(node, Convolution) and node.pad_value is not None else None
        weight = tensors[node.weight].reshape(node.channels, -1)
        rows = np.zeros((weight.shape[1] + 1, node.channels), weight.dtype)
        rows[:-1] = weight.T
        highest = highest_streamed(schedule, tensors, node)
        bound = sum_bound(schedule, tensors, node)
        bias = _bias(tensors, node)
        wide = integer_for(current_bound(schedule, tensors, node))
        partial, budget = partial_sums(rows, highest, wide)
        taps = pixel_taps(node, streamed.shape[0], streamed.shape[1])
        return cls(node, node.inputs[0], taps, border, rows, bias.astype(wide), highest, bound, partial, budget)

    def run(self, inputs: tuple[Stack, ...], events: Events) -> NodeRun:
        """The sums at every step that accumulates."""
        (streamed,) = inputs
        batch = streamed.frames.shape[1]
        sums = np.empty((len(streamed), batch, len(self.taps), self.node.channels), self.bias.dtype)
        for index in range(len(streamed)):
            frames = index * batch, (index + 1) * batch
            share = events.in_frames(*frames) / (batch * events.rows * streamed.frames.shape[-1])
            if share < DENSE_FROM:
                self._add_events(events, *frames, sums[index])
            else:
                sums[index] = self._multiply(streamed.frames[index])
        return _product_run(self.node, inputs, sums, self.bias)

    def _add_events(self, events: Events, first: int, last: int, sums: Array) -> None:
        starts = events.starts[first * events.rows : last * events.rows + 1]
        length = (len(self.rows) - 1) // self.taps.shape[1]
        partial = np.empty(self.node.channels, self.partial)
        cut = (self.taps, events.rows, length, self.rows, self.budget, partial, sums)
        if self.highest <= 1:
            add_weight_rows(starts, events.channels, *cut)
        else:
            add_weight_multiples(starts, events.channels, events.amounts, *cut)

    def _multiply(self, values: Array) -> NDArray[Any]:
        """One step at once: every window side by side, times the weights."""
        batch, channels = len(values), values.shape[-1]
        exact = _exact_number(self.bound)
        pixels = values.reshape(batch, -1, channels)
        outside = np.zeros(channels, values.dtype) if self.border is None else self.border
        rows = np.empty((batch, pixels.shape[1] + 1, channels), exact)
        rows[:, :-1], rows[:, -1] = pixels, outside
        windows = rows[:, self.taps].reshape(batch * len(self.taps), -1)
        product: NDArray[Any] = (windows @ self._dense).reshape(batch, len(self.taps), -1)
        return product

    @cached_property
    def _dense(self) -> NDArray[Any]:
        return self.rows[:-1].astype(_exact_number(self.bound))


@dataclass(frozen=True)
class AttentionByHead:
    """One of the products of attention: streamed · stationary for each head, where the streamed value is not zero."""

    node: AttentionProduct
    wide: type[np.signedinteger[Any]]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: AttentionProduct) -> AttentionByHead:
        """The type that its sums need."""
        return cls(node, integer_for(current_bound(schedule, tensors, node)))

    def run(self, inputs: tuple[Stack, ...]) -> NodeRun:
        """The sums at every step that accumulates."""
        steps, batch = inputs[0].frames.shape[:2]
        streamed, stationary = attention_operands(self.node, *(stack.frames for stack in inputs))
        sums = np.empty((*streamed.shape[:3], stationary.shape[3]), self.wide)
        multiply_by_head(np.ascontiguousarray(streamed), np.ascontiguousarray(stationary), sums)
        if self.node.stage in ("query_key_value", "score_value"):
            sums = np.ascontiguousarray(sums.swapaxes(1, 2))
        sums = sums.reshape(steps, batch, *self.node.shape)
        return _product_run(self.node, inputs, sums, np.zeros(self.node.channels, self.wide))


def _product_run(node: Product, inputs: tuple[Stack, ...], sums: Array, bias: Array) -> NodeRun:
    """Currents stay sums if a LIF walks them; else each step's value is made and checked here."""
    steps, batch = sums.shape[:2]
    added = Stack(node.steps.active, sums.reshape(steps, batch, *node.shape))
    currents = Currents(node, added, bias)
    values = currents if node.neuron is not None else _made(currents)
    return NodeRun(node, batch, inputs, values, accumulators=added)


def _made(currents: Currents) -> Stack:
    steps = tuple(currents)
    if not steps:
        return Stack((), currents.sums.frames)
    return Stack(steps, np.stack([currents[step] for step in steps]))


def attention_operands(node: AttentionProduct, streamed: Array, stationary: Array) -> tuple[Array, Array]:
    """([frames, heads, positions, sum], [frames, heads, sum, outputs]) of values [steps, B, *shape]."""
    rows = streamed_by_head(node, streamed)
    held = stationary.reshape(-1, *stationary.shape[2:])
    match node.stage:
        case "query_key_value":
            return rows, held
        case "query_key":
            return rows, tokens_by_head(held, node.heads).swapaxes(2, 3)
        case "key_value" | "score_value":
            return rows, tokens_by_head(held, node.heads)
        case _:
            assert_never(node.stage)


def streamed_by_head(node: AttentionProduct, streamed: Array) -> Array:
    """[steps, B, *shape] → [frames, heads, positions, elements of the sum]."""
    frames = streamed.reshape(-1, *streamed.shape[2:])
    match node.stage:
        case "key_value":
            return tokens_by_head(frames, node.heads).swapaxes(2, 3)
        case "query_key_value" | "query_key":
            return tokens_by_head(frames, node.heads)
        case "score_value":
            return frames
        case _:
            assert_never(node.stage)


def tokens_by_head(value: Array, heads: int) -> Array:
    """[frames, H, W, C] → [frames, heads, N, d]."""
    frames, height, width, channels = value.shape
    return value.reshape(frames, height * width, heads, channels // heads).swapaxes(1, 2)


def pixel_taps(node: Convolution | Linear, height: int, width: int) -> NDArray[np.int32]:
    """The input pixel under each kernel offset of each output position [P, offsets].

    Outside the image: −1, or height · width if the border has values of its own.
    """
    if isinstance(node, Linear):
        return np.arange(node.positions, dtype=np.int32)[:, None]
    outside = -1 if node.pad_value is None else height * width
    rows = np.arange(node.shape[0])[:, None] * node.stride + np.arange(node.kernel[0]) - node.padding
    columns = np.arange(node.shape[1])[:, None] * node.stride + np.arange(node.kernel[1]) - node.padding
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None]
    pixels = rows[:, None, :, None] * width + columns[None, :, None]
    return np.where(inside, pixels, outside).reshape(node.positions, -1).astype(np.int32)


def highest_streamed(schedule: Schedule, tensors: Tensors, node: Product) -> int:
    """The largest streamed value, the border included."""
    highest = largest(schedule.node(node.inputs[0]).value)
    if isinstance(node, Convolution) and node.pad_value is not None:
        return max(highest, int(np.abs(tensors[node.pad_value].astype(np.int64)).max()))
    return highest


def sum_bound(schedule: Schedule, tensors: Tensors, node: Product) -> int:
    """The largest |partial sum| in any order of summation: max over outputs of Σ|w|·max|x|."""
    streamed = schedule.node(node.inputs[0])
    highest = highest_streamed(schedule, tensors, node)
    match node:
        case Convolution() | Linear():
            weight = tensors[node.weight].reshape(node.channels, -1)
            return int(np.abs(weight, dtype=np.int32).sum(1, dtype=np.int64).max()) * highest
        case AttentionProduct(stage="key_value"):
            length = streamed.positions
        case AttentionProduct(stage="score_value"):
            length = streamed.channels
        case AttentionProduct():
            length = streamed.channels // node.heads
        case _:
            assert_never(node)
    return length * highest * largest(schedule.node(node.inputs[1]).value)


def current_bound(schedule: Schedule, tensors: Tensors, node: Product) -> int:
    """The largest |current| that sums within their bound can give."""
    return (sum_bound(schedule, tensors, node) << node.current_shift) + int(np.abs(_bias(tensors, node)).max())


def _bias(tensors: Tensors, node: Product) -> NDArray[np.int64]:
    if isinstance(node, AttentionProduct) or node.bias is None:
        return np.zeros(node.channels, np.int64)
    return tensors[node.bias].astype(np.int64)


def partial_sums(
    rows: Array, highest: int, wide: type[np.signedinteger[Any]]
) -> tuple[type[np.signedinteger[Any]], int]:
    """An integer for `EVENTS_AT_ONCE` events and more, and how many weight rows it takes in all."""
    heaviest = max(1, -int(rows.min()), int(rows.max()))
    if heaviest * highest * EVENTS_AT_ONCE <= PARTIAL_LIMIT:
        return np.int16, PARTIAL_LIMIT // heaviest
    return wide, np.iinfo(np.int64).max  # the sum of everything fits


def _exact_number(bound: int) -> type[np.number[Any]]:
    if bound < FLOAT32_EXACT:
        return np.float32
    return np.float64 if bound < FLOAT64_EXACT else np.int64
