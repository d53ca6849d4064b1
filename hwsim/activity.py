"""Exact event counts of each node, from the values that flowed through it.

The counts themselves come from the shared rules in `dtss.compiler.schedule.cycles`; here the ones in every
streamed spike word are counted. A convolution counts the words of each pixel once and gathers them for
every window, which gives the same numbers as looking at each window's own bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts, elementwise_counts, product_counts
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Convolution,
    Lif,
    Linear,
    Product,
    Schedule,
)
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.hwsim.execute import Array, NodeRun, Tensors, convolution_windows, pad, tokens_by_head

Ones = NDArray[np.int64]

BITS_OF_A_BYTE = 8
VIEWS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # bytes of a word → integer of that size


@dataclass(frozen=True)
class NodeActivity:
    """What one node did for one batch. spikes: of a LIF, [B, T]; None for the others.

    block_cycles [B, blocks]: of each weight block's run; one block where there are no weights.
    """

    counts: Counts
    block_cycles: NDArray[np.int64]
    spikes: NDArray[np.int64] | None


def node_activity(schedule: Schedule, tensors: Tensors, run: NodeRun) -> NodeActivity:
    """Counts of one node's run."""
    node = run.node
    if isinstance(node, Product):
        counted = product_counts(schedule, node, streamed_ones(schedule, tensors, run))
        return NodeActivity(counted.counts, counted.block_cycles, None)
    counts = elementwise_counts(schedule, node, run.batch)
    spikes = spike_counts(schedule, run) if isinstance(node, Lif) else None
    return NodeActivity(counts, counts.cycles[:, None], spikes)


def spike_counts(schedule: Schedule, run: NodeRun) -> NDArray[np.int64]:
    """Spikes of a LIF [B, T]."""
    spikes = np.zeros((run.batch, schedule.time_steps), np.int64)
    for step, value in run.values.items():
        spikes[:, step] = np.count_nonzero(value.reshape(run.batch, -1), axis=1)
    return spikes


def streamed_ones(schedule: Schedule, tensors: Tensors, run: NodeRun) -> Ones:
    """Ones in each streamed word of a product: [B, groups, positions, slot steps, planes, reduction tiles]."""
    node = run.node
    assert isinstance(node, Product)
    cut = geometry(schedule, node)
    if not cut.slot_steps:
        return np.zeros((run.batch, cut.groups, cut.positions, 0, cut.planes, len(cut.rows)), np.int64)
    lanes = schedule.hardware.array.rows
    return np.stack([step_ones(node, tensors, run.inputs[0][step], cut, lanes) for step in cut.slot_steps], axis=3)


def step_ones(node: Product, tensors: Tensors, streamed: Array, cut: Geometry, lanes: int) -> Ones:
    """Ones in each word streamed at one step: [B, groups, positions, planes, reduction tiles]."""
    match node:
        case Convolution():
            return _convolution_ones(node, tensors, streamed, cut, lanes)
        case Linear():
            return ones_of_slices(streamed, cut.planes, lanes).reshape(_shape(streamed, cut))
        case AttentionProduct(stage="key_value"):
            return ones_of_slices(tokens_by_head(streamed, node.heads).swapaxes(2, 3), cut.planes, lanes)
        case AttentionProduct(stage="score_value"):
            return ones_of_slices(streamed, cut.planes, lanes)
        case AttentionProduct():
            return ones_of_slices(tokens_by_head(streamed, node.heads), cut.planes, lanes)
        case _:
            assert_never(node)


def _shape(streamed: Array, cut: Geometry) -> tuple[int, int, int, int, int]:
    return len(streamed), cut.groups, cut.positions, cut.planes, len(cut.rows)


def _convolution_ones(node: Convolution, tensors: Tensors, streamed: Array, cut: Geometry, lanes: int) -> Ones:
    pixels = ones_of_slices(streamed, cut.planes, lanes)
    border = None if node.pad_value is None else ones_of_slices(_border(tensors, node), cut.planes, lanes)[0]
    per_pixel = pad(node, pixels, border)
    flat = per_pixel.reshape(*per_pixel.shape[:3], -1)
    windows = convolution_windows(node, flat).reshape(
        len(streamed), cut.positions, node.kernel[0] * node.kernel[1], cut.planes, -1
    )
    assert node.tiling is not None
    if node.tiling.offsets_per_word > 1:
        starts = np.arange(0, windows.shape[2], node.tiling.offsets_per_word)
        windows = np.add.reduceat(windows, starts, axis=2)
    return windows.swapaxes(2, 3).reshape(_shape(streamed, cut))


def _border(tensors: Tensors, node: Convolution) -> NDArray[Any]:
    assert node.pad_value is not None
    return tensors[node.pad_value].astype(np.int64)[None]


def ones_of_slices(values: NDArray[Any], planes: int, lanes: int) -> Ones:
    """Ones of each plane in each slice of `lanes` values of the last axis: [..., N] → [..., planes, ⌈N/lanes⌉]."""
    *outer, length = values.shape
    slices = -(-length // lanes)
    word_bytes = -(-lanes // BITS_OF_A_BYTE)
    bits = np.zeros((*outer, planes, slices, word_bytes * BITS_OF_A_BYTE), np.uint8)
    for plane in range(planes):
        plane_bits = ((values >> plane) & 1).astype(np.uint8)
        whole = length // lanes * lanes
        bits[..., plane, : length // lanes, :lanes] = plane_bits[..., :whole].reshape(*outer, -1, lanes)
        bits[..., plane, slices - 1, : length - whole] = plane_bits[..., whole:]
    return _ones_of_bytes(np.packbits(bits, axis=-1))


def _ones_of_bytes(packed: NDArray[np.uint8]) -> Ones:
    """[..., bytes] → [...]."""
    view = VIEWS.get(packed.shape[-1])
    ones: Ones
    if view is not None:
        ones = np.bitwise_count(packed.view(view))[..., 0].astype(np.int64)
    else:
        ones = np.bitwise_count(packed).sum(axis=-1, dtype=np.int64)
    return ones


def feeds_group(schedule: Schedule, node: AnyNode) -> str | None:
    """The layer group of the first LIF that a node is or leads to; None behind the last one."""
    reached = {node.name}
    for later in schedule.nodes:
        if later.name == node.name or reached & set(later.inputs):
            if isinstance(later, Lif):
                return later.group
            reached.add(later.name)
    return None
