"""How a product is cut for the array: lanes, tiles, strips and passes.

    for block:  for [step, time outermost]:  for group (head):  for strip:  for output tile of the block:
        for [step, if the weights change with it]:  for reduction tile:  one pass
        one walk of the strip

A block is a run of output tiles whose weights are in weight memory together: all of them, if they fit; so each
weight crosses from DRAM once. A pass holds one weight tile (rows × columns) still while the strip's spike words
stream over it. Its words come in the order (position, step, plane). The walk then visits (position, step), C
channels a cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import (
    AttentionProduct,
    Convolution,
    Lif,
    Linear,
    Node,
    Product,
    Schedule,
    TimeOrder,
)
from dtss.compiler.schedule.hardware import Array


@dataclass(frozen=True)
class Geometry:
    """The cut of one product.

    groups: independent weight sets (heads, else 1).  positions: output positions of a group.
    slot_steps: steps that own accumulators.  walk_steps: steps the walk visits, ascending.
    planes: bit planes of the streamed value.  rows: lanes used by each reduction tile.
    columns: channels used by each output tile.  weights_change: the stationary operand depends on the step.
    """

    groups: int
    positions: int
    slot_steps: tuple[int, ...]
    walk_steps: tuple[int, ...]
    planes: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    weights_change: bool
    time_order: TimeOrder
    positions_per_strip: int
    output_tiles_per_block: int

    @property
    def blocks(self) -> int:
        return math.ceil(len(self.columns) / self.output_tiles_per_block)

    @property
    def strips(self) -> int:
        return math.ceil(self.positions / self.positions_per_strip)

    @property
    def strip_positions(self) -> NDArray[np.int64]:
        """Positions of each strip [strips]; only the last may be shorter."""
        counts = np.full(self.strips, self.positions_per_strip)
        counts[-1] = self.positions - (self.strips - 1) * self.positions_per_strip
        return counts

    @property
    def together(self) -> bool:
        """A pass serves all slot steps."""
        return self.time_order == "inner" and not self.weights_change

    @property
    def keeps_words(self) -> bool:
        """The words of the only strip stay in the strip buffer for all blocks."""
        return self.strips == 1 and self.together

    @property
    def gathers(self) -> int:
        """How often the words are gathered: for each block, unless they stay."""
        return 1 if self.keeps_words else self.blocks

    @property
    def chunks(self) -> int:
        """Passes of an output tile and strip (of a step, if time runs outermost): each streams a chunk of words."""
        separate = self.time_order == "inner" and self.weights_change
        return len(self.rows) * (len(self.slot_steps) if separate else 1)

    @property
    def pass_words(self) -> NDArray[np.int64]:
        """Words of a pass in each strip [strips]."""
        words: NDArray[np.int64] = self.strip_positions * self.planes * (len(self.slot_steps) if self.together else 1)
        return words

    def chunk_words(self, skip_group: int) -> int:
        """Words of the strip buffer that are set aside for a pass: whole groups."""
        return -(-int(self.pass_words[0]) // skip_group) * skip_group

    @property
    def pass_steps(self) -> int:
        """Steps that get passes of their own (1 if one pass serves all of them)."""
        return len(self.slot_steps) if self.weights_change or self.time_order == "outer" else 1


def reduction_rows(node: Product, streamed: Node, array: Array, offsets_per_word: int) -> tuple[int, ...]:
    """Lanes used by each reduction tile, in order: kernel offsets outermost, channels innermost."""
    match node:
        case Convolution():
            return _convolution_rows(node.kernel[0] * node.kernel[1], streamed.channels, array.rows, offsets_per_word)
        case Linear():
            return _split(streamed.channels, array.rows)
        case AttentionProduct():
            return _split(reduction_length(node, streamed), array.rows)


def reduction_length(node: AttentionProduct, streamed: Node) -> int:
    """Length of the sum in each of the four attention products."""
    match node.stage:
        case "key_value":
            return streamed.positions
        case "query_key" | "query_key_value":
            return streamed.channels // node.heads
        case "score_value":
            return streamed.channels


def _convolution_rows(offsets: int, channels: int, rows: int, offsets_per_word: int) -> tuple[int, ...]:
    if offsets_per_word == 1:
        return _split(channels, rows) * offsets
    return tuple(channels * count for count in _split(offsets, offsets_per_word))


def offsets_per_word(node: Product, streamed: Node, array: Array) -> int:
    """Kernel offsets that fit one spike word: more than one only where the channels are few."""
    if not isinstance(node, Convolution):
        return 1
    return min(max(1, array.rows // streamed.channels), node.kernel[0] * node.kernel[1])


def _split(total: int, size: int) -> tuple[int, ...]:
    return tuple(min(size, total - start) for start in range(0, total, size))


def output_columns(node: Product, array: Array) -> tuple[int, ...]:
    """Channels used by each output tile of one group."""
    if isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
        return _split(node.channels // node.heads, array.columns)
    return _split(node.channels, array.columns)


def group_count(node: Product) -> int:
    """Heads, each with weights of its own."""
    return node.heads if isinstance(node, AttentionProduct) else 1


def group_positions(node: Product) -> int:
    """Output positions of one group: a head's own rows where the product's result is per head."""
    if isinstance(node, AttentionProduct) and node.stage in ("key_value", "query_key"):
        return node.shape[1]
    return node.positions


def walk_steps(schedule: Schedule, node: Product) -> tuple[int, ...]:
    """Steps the walk visits: the neuron's state steps, or those whose current is stored."""
    if node.neuron is not None:
        neuron = schedule.node(node.neuron)
        assert isinstance(neuron, Lif)
        return neuron.state_steps
    return tuple(sorted((*node.steps.active, *node.steps.bias_only)))


def geometry(schedule: Schedule, node: Product) -> Geometry:
    """The cut that the schedule prescribes for `node`."""
    assert node.tiling is not None
    streamed = schedule.node(node.inputs[0])
    array = schedule.hardware.array
    return Geometry(
        groups=group_count(node),
        positions=group_positions(node),
        slot_steps=node.steps.active,
        walk_steps=walk_steps(schedule, node),
        planes=streamed.value.planes,
        rows=reduction_rows(node, streamed, array, node.tiling.offsets_per_word),
        columns=output_columns(node, array),
        weights_change=isinstance(node, AttentionProduct),
        time_order=node.tiling.time_order,
        positions_per_strip=node.tiling.positions_per_strip,
        output_tiles_per_block=node.tiling.output_tiles_per_block,
    )
