"""Exact event counts of each node, from the values that flowed through it.

The counts themselves come from the shared rules in `dtss.compiler.schedule.cycles`; here the ones in every
streamed spike word are counted. A convolution counts the words of each pixel once and gathers them for
every window, which gives the same numbers as looking at each window's own bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import ConstantCounts, Counts, ProductRules, elementwise_totals
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Lif, Linear, Product, Schedule
from dtss.hwsim.kernels import count_ones, count_spiking, gather_ones
from dtss.hwsim.products import Tensors, pixel_taps, streamed_by_head
from dtss.hwsim.step_counts import add_up_steps
from dtss.hwsim.values import NodeRun, Stack, stack_of

Ones = NDArray[np.int32]


@dataclass(frozen=True)
class NodeActivity:
    """What one node did for one batch. spikes: of a LIF, [B, T]; None for the others.

    block_cycles [B, blocks]: of each weight block's run; one block where there are no weights.
    streamed: of a product, what `add_up_steps` finds [B, 2, slot steps], where that was asked for.
    """

    counts: Counts
    block_cycles: NDArray[np.int64]
    spikes: NDArray[np.int64] | None = None
    streamed: NDArray[np.int64] | None = None


def counter_of(schedule: Schedule, tensors: Tensors, node: AnyNode, *, by_step: bool = False) -> Counter:
    """What of a node's counts no image changes, computed once. by_step: also add up the words of each step."""
    if isinstance(node, Product):
        return ProductCounter.of(schedule, tensors, node, by_step=by_step)
    return ConstantCounter(ConstantCounts(elementwise_totals(schedule, node)), schedule.time_steps)


@dataclass(frozen=True)
class ConstantCounter:
    """A node whose work does not depend on the image; the spikes of a LIF do."""

    constant: ConstantCounts
    time_steps: int

    def activity(self, run: NodeRun) -> NodeActivity:
        """Counts of one run."""
        counts = self.constant.of_batch(run.batch)
        spikes = spike_counts(self.time_steps, run) if isinstance(run.node, Lif) else None
        return NodeActivity(counts, counts.cycles[:, None], spikes)


def spike_counts(time_steps: int, run: NodeRun) -> NDArray[np.int64]:
    """Spikes of a LIF [B, T]."""
    spikes = np.zeros((run.batch, time_steps), np.int64)
    steps = tuple(run.values)
    if steps:
        values = run.values if isinstance(run.values, Stack) else stack_of(run.node, run.values, steps, run.batch)
        found = np.empty(len(steps) * run.batch, np.int64)
        count_spiking(values.frames.reshape(len(found), -1), found)
        spikes[:, steps] = found.reshape(len(steps), -1).T
    return spikes


@dataclass(frozen=True)
class ProductCounter:
    """A product: its words, and the shared rules for them.

    taps: of a convolution or linear layer, see `pixel_taps`; None for attention.  border [1, C] or None.
    """

    node: Product
    rules: ProductRules
    lanes: int
    taps: NDArray[np.int32] | None
    border: NDArray[Any] | None
    by_step: bool

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: Product, *, by_step: bool = False) -> ProductCounter:
        """The rules for `node`."""
        shape = schedule.node(node.inputs[0]).shape
        border = tensors[node.pad_value][None] if isinstance(node, Convolution) and node.pad_value else None
        return cls(
            node=node,
            rules=ProductRules.of(schedule, node),
            lanes=schedule.hardware.array.rows,
            taps=pixel_taps(node, shape[0], shape[1]) if isinstance(node, Convolution | Linear) else None,
            border=border,
            by_step=by_step,
        )

    def activity(self, run: NodeRun) -> NodeActivity:
        """Counts of one run."""
        ones = self.streamed_ones(run)
        counted = self.rules.counts(ones)
        return NodeActivity(counted.counts, counted.block_cycles, streamed=add_up_steps(ones) if self.by_step else None)

    def streamed_ones(self, run: NodeRun) -> Ones:
        """Ones in each streamed word: [B, groups, positions, slot steps, planes, reduction tiles]."""
        cut, streamed = self.rules.cut, run.inputs[0]
        assert isinstance(streamed, Stack)
        ones = np.empty(
            (run.batch, cut.groups, cut.positions, len(cut.slot_steps), cut.planes, len(cut.rows)), np.int32
        )
        if not cut.slot_steps:
            return ones
        if self.taps is None:
            assert isinstance(self.node, AttentionProduct)
            found = ones_of_slices(streamed_by_head(self.node, streamed.frames), cut.planes, self.lanes)
            ones[:] = np.moveaxis(found.reshape(len(cut.slot_steps), run.batch, *found.shape[1:]), 0, 3)
        else:
            self._gather(streamed, self.taps, ones[:, 0])
        return ones

    def _gather(self, streamed: Stack, taps: NDArray[np.int32], words: Ones) -> None:
        """words [B, positions, steps, planes, tiles] from the slices of each pixel."""
        steps, batch, *_, channels = streamed.frames.shape
        planes = words.shape[3]
        pixels = streamed.frames.reshape(steps, batch, -1, channels)
        slices = ones_of_slices(pixels, planes, self.lanes)
        if self.border is not None:
            border = ones_of_slices(self.border, planes, self.lanes)
            slices = np.concatenate([slices, np.broadcast_to(border, (steps, batch, *border.shape))], axis=2)
        packed = self.node.tiling.offsets_per_word if self.node.tiling is not None else 1
        gather_ones(slices, taps, packed, words)


Counter = ProductCounter | ConstantCounter


def ones_of_slices(values: NDArray[Any], planes: int, lanes: int) -> Ones:
    """Ones of each plane in each slice of `lanes` values of the last axis: [..., N] → [..., planes, ⌈N/lanes⌉]."""
    *outer, length = values.shape
    rows = np.ascontiguousarray(values).reshape(-1, length)
    ones = np.empty((len(rows), planes, -(-length // lanes)), np.int32)
    count_ones(rows, lanes, ones)
    return ones.reshape(*outer, *ones.shape[1:])


def feeds_group(schedule: Schedule, node: AnyNode) -> str | None:
    """The layer group of the first LIF that a node is or leads to; None behind the last one."""
    reached = {node.name}
    for later in schedule.nodes:
        if later.name == node.name or reached & set(later.inputs):
            if isinstance(later, Lif):
                return later.group
            reached.add(later.name)
    return None
