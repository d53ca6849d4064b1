"""Adds, pools and token sums, all steps at once."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import Add, MaxPool, SumPool, TokenSum
from dtss.hwsim.values import Array, NodeRun, Stack, check_bounds, integer_for_value


def run_elementwise(node: Add | MaxPool | SumPool | TokenSum, inputs: tuple[Stack, ...], batch: int) -> NodeRun:
    """The value at every active step."""
    steps = node.steps.active
    narrow = integer_for_value(node.value)
    if not steps:
        return NodeRun(node, batch, inputs, Stack((), np.zeros((0, batch, *node.shape), narrow)))
    frames = _elementwise(node, [stack.frames.reshape(-1, *stack.frames.shape[2:]) for stack in inputs])
    by_step = frames.reshape(len(steps), -1)
    low, high = by_step.min(axis=1).tolist(), by_step.max(axis=1).tolist()
    for index, step in enumerate(steps):
        check_bounds(f"{node.name}.value", step, low[index], high[index], node.value)
    value = frames.astype(narrow, copy=False).reshape(len(steps), batch, *node.shape)
    return NodeRun(node, batch, inputs, Stack(steps, value))


def _elementwise(node: Add | MaxPool | SumPool | TokenSum, inputs: list[Array]) -> Array:
    """[frames, *shape] of each input → [frames, *shape]."""
    match node:
        case Add():
            return _add(inputs)
        case MaxPool():
            return _pool(node, inputs[0], np.maximum, start=np.iinfo(inputs[0].dtype).min)
        case SumPool():
            return _pool(node, inputs[0].astype(np.int64), np.add, start=0)
        case TokenSum():
            over_tokens: Array = inputs[0].sum(axis=(1, 2), keepdims=True, dtype=np.int64)
            return over_tokens
        case _:
            assert_never(node)


def _add(inputs: list[Array]) -> Array:
    """In an integer that holds any sum of what the inputs can hold."""
    reach = sum(int(np.iinfo(value.dtype).max) + 1 for value in inputs)
    wide = next(kind for kind in (np.int16, np.int32, np.int64) if kind is np.int64 or reach <= np.iinfo(kind).max)
    total: NDArray[Any] = inputs[0].astype(wide)
    for other in inputs[1:]:
        total += other
    return total


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
