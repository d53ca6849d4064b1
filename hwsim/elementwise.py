"""Adds, pools and token sums, all steps at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import Add, MaxPool, Schedule, SumPool, TokenSum
from dtss.hwsim.kernels import add_values, pool_windows
from dtss.hwsim.values import Array, NodeRun, Stack, check_steps, integer_for_value, window_taps
from dtss.hwsim.workspace import Workspace

Limits = NDArray[np.int64]


@dataclass(frozen=True)
class Elementwise:
    """A node that computes each value from a few others. taps: of a pool, see `pool_windows`."""

    node: Add | MaxPool | SumPool | TokenSum
    taps: NDArray[np.int32] | None

    @classmethod
    def of(cls, schedule: Schedule, node: Add | MaxPool | SumPool | TokenSum) -> Elementwise:
        """Everything that no image changes."""
        if not isinstance(node, MaxPool | SumPool):
            return cls(node, None)
        height, width, _ = schedule.node(node.inputs[0]).shape
        return cls(node, window_taps(node, node.window, height, width))

    def run(self, inputs: tuple[Stack, ...], batch: int, space: Workspace) -> NodeRun:
        """The value at every active step."""
        steps, narrow = self.node.steps.active, integer_for_value(self.node.value)
        shape = len(steps), batch, *self.node.shape
        if not steps:
            return NodeRun(self.node, batch, inputs, Stack((), np.zeros(shape, narrow)))
        frames, limits = self._frames([stack.frames for stack in inputs], narrow, space)
        check_steps(self.node, steps, limits)
        return NodeRun(self.node, batch, inputs, Stack(steps, frames.astype(narrow, copy=False).reshape(shape)))

    def _frames(self, inputs: list[Array], narrow: type[np.integer[Any]], space: Workspace) -> tuple[Array, Limits]:
        """Values, and their (lowest, highest) [steps, 2]: outside their bounds the values may have wrapped."""
        match self.node:
            case Add():
                return _add(inputs, narrow, space)
            case MaxPool():
                frames = self._pool(inputs[0], inputs[0].dtype.type, space)
            case SumPool():
                frames = self._pool(inputs[0], np.int64, space)
            case TokenSum():
                frames = inputs[0].sum(axis=(2, 3), dtype=np.int64)
            case _:
                assert_never(self.node)
        by_step = frames.reshape(len(inputs[0]), -1)
        return frames, np.stack([by_step.min(axis=1), by_step.max(axis=1)], axis=1).astype(np.int64)

    def _pool(self, values: Array, kind: type[np.integer[Any]], space: Workspace) -> Array:
        steps, batch, height, width, channels = values.shape
        assert self.taps is not None
        pooled = space.empty((steps * batch, len(self.taps), channels), kind)
        rows = values.reshape(steps * batch, height * width, channels)
        pool_windows(rows, self.taps, isinstance(self.node, SumPool), pooled)
        return pooled


def _add(inputs: list[Array], narrow: type[np.integer[Any]], space: Workspace) -> tuple[Array, Limits]:
    """In an integer that holds any sum of what the inputs can hold."""
    reach = sum(int(np.iinfo(value.dtype).max) + 1 for value in inputs)
    wide = next(kind for kind in (np.int16, np.int32, np.int64) if kind is np.int64 or reach <= np.iinfo(kind).max)
    left, *others = (value.reshape(len(value), math.prod(value.shape[1:])) for value in inputs)
    limits = np.empty((len(left), 2), np.int64)
    for right in others[:-1]:
        left = left + right.astype(wide)
    values = space.empty(left.shape, narrow)
    add_values(left, others[-1], np.empty(0, wide), values, limits)
    return values, limits
