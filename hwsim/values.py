"""What flows between nodes: the integers of some time steps side by side, [steps, B, *shape]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Convolution,
    Image,
    Linear,
    MaxPool,
    Product,
    SumPool,
    Value,
)

Array = NDArray[np.integer[Any]]
AtSteps = Mapping[int, Array]

INT32_LIMIT = 1 << 31


@dataclass(frozen=True, eq=False)
class Stack(Mapping[int, Array]):
    """step → [B, *shape]: frames[i] belongs to steps[i]."""

    steps: tuple[int, ...]
    frames: Array

    def __getitem__(self, step: int) -> Array:
        if step not in self.steps:
            raise KeyError(step)
        found: Array = self.frames[self.steps.index(step)]
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, eq=False)
class Currents(Mapping[int, Array]):
    """step → [B, *shape] of a product: (sum << current_shift) + bias, or the bias alone; made when it is asked for.

    Its LIF takes the sums as they are.
    """

    node: Product
    sums: Stack
    bias: Array

    def __getitem__(self, step: int) -> Array:
        if step in self.sums:
            return proved(self.node, step, (self.sums[step] << self.node.current_shift) + self.bias)
        if step not in self.node.steps.bias_only:
            raise KeyError(step)
        return np.broadcast_to(proved(self.node, step, self.bias), (self.sums.frames.shape[1], *self.node.shape))

    def __iter__(self) -> Iterator[int]:
        return iter((*self.sums.steps, *self.node.steps.bias_only))

    def __len__(self) -> int:
        return len(self.sums) + len(self.node.steps.bias_only)


@dataclass(frozen=True, eq=False)
class Read(Mapping[int, Array]):
    """step → [B, *shape] of a node's values at the steps at which another reads them."""

    node: AnyNode
    held: AtSteps
    steps: tuple[int, ...]
    batch: int

    def __getitem__(self, step: int) -> Array:
        return value_at(self.node, self.held, step, self.batch)

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


class NodeRun(msgspec.Struct, frozen=True, eq=False):
    """One node's integers for one batch.

    inputs: for each input, step → value at the steps this node reads.  values: step → value where computed.
    accumulators: a product's sums before shift and bias.  membranes: U after reset, if they are recorded.
    All are [B, *shape].
    """

    node: AnyNode
    batch: int
    inputs: tuple[AtSteps, ...]
    values: AtSteps
    accumulators: AtSteps = msgspec.field(default_factory=dict)
    membranes: AtSteps = msgspec.field(default_factory=dict)

    def value_at(self, step: int) -> Array:
        return value_at(self.node, self.values, step, self.batch)


def value_at(node: AnyNode, values: AtSteps, step: int, batch: int) -> Array:
    """A node's value at one step: computed, reused, or known to be zero."""
    if step in node.steps.zero:
        return np.broadcast_to(np.uint8(0), (batch, *node.shape))
    return values[computed_step(node, step)]


def computed_step(node: AnyNode, step: int) -> int:
    """The step whose value a step has."""
    return node.steps.active[0] if step in node.steps.reused else step


def stored_steps(node: AnyNode) -> tuple[int, ...]:
    """Whose values lie side by side, of a node whose values are not made when they are asked for."""
    match node:
        case Image():
            return node.steps.active[:1]
        case Convolution() | Linear() | AttentionProduct():
            return (*node.steps.active, *node.steps.bias_only)
        case _:
            return node.steps.active


def stack_of(node: AnyNode, values: AtSteps, steps: Sequence[int], batch: int) -> Stack:
    """The values at `steps` side by side; no copy where they lie so already."""
    computed = tuple(computed_step(node, step) for step in steps)
    if isinstance(values, Stack) and computed == values.steps:
        return Stack(tuple(steps), values.frames)
    if not steps:
        return Stack((), np.zeros((0, batch, *node.shape), np.uint8))
    return Stack(tuple(steps), np.stack([value_at(node, values, step, batch) for step in steps]))


def proved(node: AnyNode, step: int, value: Array) -> Array:
    """The value in the narrowest convenient integer, or an error if it leaves its proved bounds."""
    check_bounds(f"{node.name}.value", step, int(value.min()), int(value.max()), node.value)
    return value.astype(integer_for_value(node.value), copy=False)


def check_steps(node: AnyNode, steps: Sequence[int], limits: NDArray[np.int64]) -> None:
    """`check_bounds` of a node's value by (lowest, highest) [steps, 2]."""
    for step, (low, high) in zip(steps, limits.tolist(), strict=True):
        check_bounds(f"{node.name}.value", step, low, high, node.value)


def check_bounds(where: str, step: int, low: int, high: int, bounds: Value) -> None:
    """`BadInputError` if what a step holds leaves what was proved."""
    if low < bounds.low or high > bounds.high:
        found = f"step {step} holds {low} … {high}, the schedule proves {bounds.low} … {bounds.high}"
        raise BadInputError(where, found, "recompile; if the file was not edited, report it as a bug of the compiler")


def window_taps(
    node: Convolution | MaxPool | SumPool, window: tuple[int, int], height: int, width: int, outside: int = -1
) -> NDArray[np.int32]:
    """The input pixel under each place of the window of each output position [P, places]; or `outside` the image."""
    rows = np.arange(node.shape[0])[:, None] * node.stride + np.arange(window[0]) - node.padding
    columns = np.arange(node.shape[1])[:, None] * node.stride + np.arange(window[1]) - node.padding
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None]
    pixels = rows[:, None, :, None] * width + columns[None, :, None]
    return np.where(inside, pixels, outside).reshape(node.positions, -1).astype(np.int32)


def integer_for_value(value: Value) -> type[np.integer[Any]]:
    """Unsigned and narrow where it can be."""
    if value.low < 0 or value.high > np.iinfo(np.uint16).max:
        return integer_for(largest(value))
    return np.uint8 if value.high <= np.iinfo(np.uint8).max else np.uint16


def integer_for(bound: int) -> type[np.signedinteger[Any]]:
    """For magnitudes up to `bound`."""
    return np.int32 if bound < INT32_LIMIT else np.int64


def largest(value: Value) -> int:
    """The largest magnitude."""
    return max(abs(value.low), abs(value.high))
