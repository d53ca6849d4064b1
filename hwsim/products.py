"""Products of streamed values and weights, exact, by events or dense.

By events: for each value that is not zero, its weight row is added to the sums of every output that reads it. Sums go
through a narrow integer that holds a proved number of weight rows and is then emptied into a wide one.
Dense: every weight times its value, for values and weights of a byte whose sums fit 32 bits: `dtss.hwsim.dense`.
Which of the two is chosen for each step by the share of values that are not zero; the integers are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Linear, Product, Schedule
from dtss.hwsim.dense import multiply_dense, weight_panels
from dtss.hwsim.kernels import (
    add_bias,
    add_weight_multiples,
    add_weight_rows,
    count_events,
    list_events,
    multiply_by_head,
)
from dtss.hwsim.registers import multiplies_bytes
from dtss.hwsim.values import (
    Array,
    Currents,
    NodeRun,
    Stack,
    check_steps,
    integer_for,
    integer_for_value,
    largest,
    window_taps,
)
from dtss.hwsim.workspace import Workspace

Tensors = Mapping[str, NDArray[Any]]
Events = tuple[NDArray[np.int32], NDArray[np.int32]]

PARTIAL_LIMIT = (1 << 15) - 1  # of an int16
EVENTS_AT_ONCE = 8  # weight rows that a kernel adds before it looks at its budget
DENSE_FROM = 0.2  # share of values that are not zero from which the dense product takes less time: benchmarks/README.md
DENSE_FROM_WITHOUT_BYTES = 0.6  # where no instruction multiplies bytes


@dataclass(frozen=True)
class Streamed:
    """Values [frames, rows, C] as products read them, and where they are not zero: counted and listed when needed.

    steps: of the frames.  above_one: whether a value can be more than 1.  threads: that share the looking.
    """

    values: Array
    steps: int
    above_one: bool
    threads: int

    @classmethod
    def of(cls, stack: Stack, highest: int, border: NDArray[Any] | None, threads: int) -> Streamed:
        """All frames of a stack; `border` [C] is put behind each as one more row."""
        steps, batch, *_, channels = stack.frames.shape
        values = stack.frames.reshape(steps * batch, math.prod(stack.frames.shape[2:-1]), channels)
        if border is not None:
            behind = border.astype(np.result_type(values, np.min_scalar_type(highest)))
            values = np.concatenate([values, np.broadcast_to(behind, (steps * batch, 1, channels))], axis=1)
        return cls(np.ascontiguousarray(values), steps, highest > 1, threads)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """[frames · rows + 1]: row r has the events starts[r] … starts[r+1] − 1."""
        starts = np.zeros(self.values.shape[0] * self.values.shape[1] + 1, np.int64)
        count_events(self.threads, self._by_step, starts[1:])
        return starts.cumsum(out=starts)

    @cached_property
    def events(self) -> Events:
        """Channels, and amounts where they can differ: see `list_events`."""
        events: int = self.starts[-1]
        found, amounts = np.empty(events, np.int32), np.empty(events if self.above_one else 0, np.int32)
        list_events(self.threads, self._by_step, self.starts, found, amounts, self.above_one)
        return found, amounts

    @property
    def _by_step(self) -> Array:
        frames, rows, channels = self.values.shape
        return self.values.reshape(self.steps, frames // max(1, self.steps) * rows, channels)

    @property
    def shares(self) -> list[float]:
        """How many of the values of each step are not zero."""
        ends = self.starts[:: self._by_step.shape[1]].tolist()
        return [(last - first) * self.steps / self.values.size for first, last in pairwise(ends)]


@dataclass(frozen=True)
class WeightedProduct:
    """A convolution or linear layer, laid out for both ways.

    taps [P, kernel offsets]: the pixel under each offset, −1 outside the image, or the row of `border` behind it.
    rows [offsets · C + 1, O]: weights by element of the sum, the last row 0.  narrow, budget: see `add_weight_rows`.
    panels: see `multiply_dense`; None if only events will do.  highest: of the streamed value.
    """

    node: Convolution | Linear
    source: str
    taps: NDArray[np.int32]
    border: NDArray[Any] | None
    rows: Array
    panels: NDArray[np.int8] | None
    bias: Array
    highest: int
    narrow: type[np.signedinteger[Any]]
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
        wide = integer_for(current_bound(schedule, tensors, node))
        of_bytes = rows.dtype == np.int8 and integer_for_value(streamed.value) is np.uint8
        panels = weight_panels(rows[:-1]) if of_bytes and highest <= 255 and wide is np.int32 else None
        narrow, budget = partial_sums(rows, highest, wide)
        taps = pixel_taps(node, streamed.shape[0], streamed.shape[1])
        bias = bias_of(tensors, node).astype(wide)
        return cls(node, node.inputs[0], taps, border, rows, panels, bias, highest, narrow, budget)

    def run(self, inputs: tuple[Stack, ...], streamed: Streamed, space: Workspace) -> NodeRun:
        """The sums at every step that accumulates; neighbouring steps of the same way share a look at the weights."""
        steps, batch = inputs[0].frames.shape[:2]
        sums = space.empty((steps, batch * len(self.taps), self.node.channels), self.bias.dtype)
        first = 0
        for dense, together in groupby(self._dense(streamed, steps)):
            last = first + len(list(together))
            self._add_up(streamed, slice(first * batch, last * batch), sums[first:last], dense, space.threads)
            first = last
        return _product_run(self.node, inputs, sums.reshape(steps, batch, *self.node.shape), self.bias, space)

    def _dense(self, streamed: Streamed, steps: int) -> list[bool]:
        """Of each step."""
        if self.panels is None or not steps:
            return [False] * steps
        dense_from = DENSE_FROM if multiplies_bytes() else DENSE_FROM_WITHOUT_BYTES
        return [share >= dense_from for share in streamed.shares]

    def _add_up(self, streamed: Streamed, frames: slice, sums: Array, dense: bool, threads: int) -> None:
        _, rows, length = streamed.values.shape
        if dense and self.panels is not None:
            return multiply_dense(threads, streamed.values[frames], self.taps, self.panels, sums)
        starts = streamed.starts[frames.start * rows : frames.stop * rows + 1]
        channels, amounts = streamed.events
        cut = (self.taps, rows, length, self.rows, self.budget, np.empty(0, self.narrow), sums)
        if streamed.above_one:
            return add_weight_multiples(starts, channels, amounts, *cut)
        return add_weight_rows(threads, starts, channels, *cut)


@dataclass(frozen=True)
class AttentionByHead:
    """One of the products of attention: streamed · stationary for each head, by events.

    sizes, strides: see `multiply_by_head`.  wide: what its sums need.
    """

    node: AttentionProduct
    sizes: NDArray[np.int64]
    strides: NDArray[np.int64]
    wide: type[np.signedinteger[Any]]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: AttentionProduct) -> AttentionByHead:
        """Where the rows lie, and the type that fits."""
        streamed, stationary = (schedule.node(name) for name in node.inputs)
        sizes, strides = _of_heads(node, streamed, stationary)
        wide = integer_for(current_bound(schedule, tensors, node))
        return cls(node, np.array(sizes, np.int64), np.array(strides, np.int64), wide)

    def run(self, inputs: tuple[Stack, ...], space: Workspace) -> NodeRun:
        """The sums at every step that accumulates."""
        streamed, stationary = (stack.frames for stack in inputs)
        steps, batch = streamed.shape[:2]
        if self.node.stage == "query_key":
            held = tokens_by_head(stationary.reshape(-1, *stationary.shape[2:]), self.node.heads)
            stationary = np.ascontiguousarray(held.swapaxes(2, 3)).reshape(stationary.shape)
        sums = space.empty((steps, batch, *self.node.shape), self.wide)
        streamed, stationary, into = (
            each.reshape(steps * batch, math.prod(each.shape[2:])) for each in (streamed, stationary, sums)
        )
        multiply_by_head(space.threads, streamed, stationary, self.sizes, self.strides, into)
        return _product_run(self.node, inputs, sums, np.zeros(self.node.channels, self.wide), space)


def _of_heads(
    node: AttentionProduct, streamed: AnyNode, stationary: AnyNode
) -> tuple[tuple[int, int, int, int], tuple[tuple[int, int, int], ...]]:
    """Sizes and strides of `multiply_by_head`; tokens are [N, heads · d], K as stationary operand [heads, d, N]."""
    heads, size, width = node.heads, streamed.channels // node.heads, streamed.channels
    match node.stage:
        case "key_value":
            return (heads, streamed.positions, size, size), ((size, width, 1), (size, width, 0), (size**2, 0, size))
        case "query_key_value":
            return (heads, streamed.positions, size, size), ((size, width, 1), (size**2, 0, size), (size, width, 0))
        case "query_key":
            tokens = stationary.positions
            sums = tokens * streamed.positions, tokens, 0
            return (heads, streamed.positions, size, tokens), ((size, width, 1), (size * tokens, 0, tokens), sums)
        case "score_value":
            rows, tokens, size = streamed.positions // heads, streamed.channels, stationary.channels // heads
            of_values = (size, 0, stationary.channels), (size, stationary.channels, 0)
            return (heads, rows, tokens, size), ((rows * tokens, tokens, 1), *of_values)
        case _:
            assert_never(node.stage)


def _product_run(node: Product, inputs: tuple[Stack, ...], sums: Array, bias: Array, space: Workspace) -> NodeRun:
    """Currents stay sums if a LIF walks them; else each step's value is made and checked here."""
    steps, batch = sums.shape[:2]
    added = Stack(node.steps.active, sums.reshape(steps, batch, *node.shape))
    currents = Currents(node, added, bias)
    values = currents if node.neuron is not None else _made(currents, space)
    return NodeRun(node, batch, inputs, values, accumulators=added)


def _made(currents: Currents, space: Workspace) -> Stack:
    node, sums = currents.node, currents.sums
    _, batch, *shape = sums.frames.shape
    steps = tuple(currents)
    values = space.empty((len(steps), batch, *shape), integer_for_value(node.value))
    limits = np.empty((len(sums), 2), np.int64)
    by_channel = len(sums), batch * node.positions, node.channels
    added = values[: len(sums)].reshape(by_channel)
    add_bias(sums.frames.reshape(by_channel), 1 << node.current_shift, currents.bias, added, limits)
    check_steps(node, sums.steps, limits)
    for index, step in enumerate(node.steps.bias_only, start=len(sums)):
        values[index] = currents[step]
    return Stack(steps, values)


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
    """As `window_taps`; of a linear layer each position alone."""
    if isinstance(node, Linear):
        return np.arange(node.positions, dtype=np.int32)[:, None]
    outside = -1 if node.pad_value is None else height * width
    return window_taps(node, node.kernel, height, width, outside)


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
    return (sum_bound(schedule, tensors, node) << node.current_shift) + int(np.abs(bias_of(tensors, node)).max())


def bias_of(tensors: Tensors, node: Product) -> NDArray[np.int64]:
    """[O]."""
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
