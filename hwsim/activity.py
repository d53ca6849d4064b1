"""Exact event counts of each node, from the values that flowed through it.

The counts themselves come from the shared rules in `dtss.compiler.schedule.cycles`; here the ones in every
streamed spike word are counted, of a convolution for each pixel once, whose words its windows share.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts, ProductRules, counts_of_table, elementwise_totals, table_row
from dtss.compiler.schedule.events import ElementwiseNode
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Convolution,
    Lif,
    Linear,
    Product,
    Schedule,
)
from dtss.compiler.schedule.skipper import Words, every_row
from dtss.hwsim.counting import add_offsets, count_ones, count_ones_across, count_spiking
from dtss.hwsim.products import Tensors, pixel_taps
from dtss.hwsim.step_counts import add_up_steps
from dtss.hwsim.values import NodeRun, Stack


class NodeActivity(msgspec.Struct, frozen=True):
    """What one node did for one batch. table [COUNTS, B].  spikes: of a LIF, [B, T]; None for the others.

    block_cycles [B, blocks]: of each weight block's run; one block where there are no weights.
    streamed: of a product, what `add_up_steps` finds [B, 2, slot steps], where that was asked for.
    """

    table: NDArray[np.int64]
    block_cycles: NDArray[np.int64]
    spikes: NDArray[np.int64] | None = None
    streamed: NDArray[np.int64] | None = None

    @property
    def counts(self) -> Counts:
        return counts_of_table(self.table)


def counter_of(schedule: Schedule, tensors: Tensors, node: AnyNode, *, by_step: bool = False) -> Counter:
    """What of a node's counts no image changes, computed once. by_step: also add up the words of each step."""
    if isinstance(node, Product):
        return ProductCounter.of(schedule, tensors, node, by_step=by_step)
    return ConstantCounter.of(schedule, node)


@dataclass(frozen=True)
class ConstantCounter:
    """A node whose work does not depend on the image; the spikes of a LIF do.

    constant [COUNTS, 1].  spiking: a LIF's active steps.
    """

    constant: NDArray[np.int64]
    cycles: int
    time_steps: int
    spiking: NDArray[np.int32] | None

    @classmethod
    def of(cls, schedule: Schedule, node: ElementwiseNode) -> ConstantCounter:
        """The constants of `node`."""
        totals = elementwise_totals(schedule, node)
        spiking = np.array(node.steps.active, np.int32) if isinstance(node, Lif) else None
        return cls(table_row(totals)[:, None], totals["cycles"], schedule.time_steps, spiking)

    def activity(self, run: NodeRun, threads: int = 1) -> NodeActivity:
        """Counts of one run."""
        table = self.constant.repeat(run.batch, axis=1)
        return NodeActivity(table, np.full((run.batch, 1), self.cycles), self._spikes(run))

    def _spikes(self, run: NodeRun) -> NDArray[np.int64] | None:
        """Of a LIF [B, T]."""
        if self.spiking is None:
            return None
        assert isinstance(run.values, Stack)
        spikes = np.zeros((run.batch, self.time_steps), np.int64)
        frames = run.values.frames
        count_spiking(
            frames.reshape(len(frames), run.batch, run.node.positions * run.node.channels), self.spiking, spikes
        )
        return spikes


@dataclass(frozen=True)
class ProductCounter:
    """A product: its words, and the shared rules for them.

    rows, length: of the streamed value, of one group.  taps: see `Words`.
    behind: ones of the row behind an image, [slices, planes]: of its border, or none; of a convolution.
    """

    node: Product
    rules: ProductRules
    lanes: int
    rows: int
    length: int
    taps: NDArray[np.int32]
    behind: NDArray[np.int32] | None
    by_step: bool

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: Product, *, by_step: bool = False) -> ProductCounter:
        """The rules for `node`."""
        streamed, lanes, rules = (
            schedule.node(node.inputs[0]),
            schedule.hardware.array.rows,
            ProductRules.of(schedule, node),
        )
        if isinstance(node, AttentionProduct):
            rows, length = rules.cut.positions, sum(rules.cut.rows)
            return cls(node, rules, lanes, rows, length, every_row(rows), None, by_step)
        rows, length, taps = streamed.positions, streamed.channels, pixel_taps(node, *streamed.shape[:2])
        behind = np.zeros((1, 1, 1, -(-length // lanes), 1, rules.cut.planes), np.int32)
        if isinstance(node, Convolution) and node.pad_value is not None:
            count_ones(1, tensors[node.pad_value][None, None], 0, 0, 1, length, lanes, behind)
        return cls(node, rules, lanes, rows, length, taps, behind[0, 0, 0], by_step)

    def activity(self, run: NodeRun, threads: int = 1) -> NodeActivity:
        """Counts of one run."""
        words = self.words(run, threads)
        counted = self.rules.counts(words)
        return NodeActivity(counted.table, counted.block_cycles, streamed=add_up_steps(words) if self.by_step else None)

    def words(self, run: NodeRun, threads: int = 1) -> Words:
        """Ones in each streamed word."""
        cut, streamed = self.rules.cut, run.inputs[0]
        assert isinstance(streamed, Stack)
        steps, batch = streamed.frames.shape[:2]
        rows = self.rows if self.behind is None else self.rows + 1
        ones = np.empty((batch, cut.groups, rows, -(-self.length // self.lanes), steps, cut.planes), np.int32)
        if isinstance(self.node, AttentionProduct) and self.node.stage == "key_value":
            count_ones_across(streamed.frames.reshape(steps, batch, self.length, cut.groups * rows), self.lanes, ones)
        else:
            values = streamed.frames.reshape(steps, batch, cut.groups * self.rows * self.length)
            count_ones(threads, values, *self._strides(), self.rows, self.length, self.lanes, ones)
        if self.behind is not None:
            ones[:, :, -1] = self.behind
        packed = 1 if self.node.tiling is None else self.node.tiling.offsets_per_word
        if packed == 1:
            return Words(ones, self.taps)
        packed_ones = np.empty((batch, cut.groups, cut.positions, len(cut.rows), steps, cut.planes), np.int32)
        add_offsets(ones, self.taps, packed, packed_ones)
        return Words(packed_ones, every_row(cut.positions))

    def _strides(self) -> tuple[int, int]:
        """From one group, and from one of its rows, to the next."""
        match self.node:
            case Convolution() | Linear():
                return 0, self.length
            case AttentionProduct(stage="score_value"):
                return self.rows * self.length, self.length
            case _:
                return self.length, self.rules.cut.groups * self.length


Counter = ProductCounter | ConstantCounter


def feeds_group(schedule: Schedule, node: AnyNode) -> str | None:
    """The layer group of the first LIF that a node is or leads to; None behind the last one."""
    reached = {node.name}
    for later in schedule.nodes:
        if later.name == node.name or reached & set(later.inputs):
            if isinstance(later, Lif):
                return later.group
            reached.add(later.name)
    return None
