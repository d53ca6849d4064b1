"""THE cycle and traffic rules. The compiler's cost model and the simulator both call these functions, and the
generated Verilog's own counters are tested to be equal to them.

A pass streams spike words over a still weight tile. The skipper sees the non-zero flags of G words at once:

    stream = Σ_groups max(1, non-zero words of the group)

The next weight tile loads meanwhile into the other bank, ⌈rows / weight_rows_per_cycle⌉ cycles:

    start[i+1] = max(end[i], start[i] + load[i+1]),   end[i] = start[i] + busy[i]
    busy[i] = stream[i], and for the last pass of a strip and output tile  + DRAIN + walk[i]
    cycles of a block = load[first] + Σ_i max(busy[i], load[i+1]),   load[i+1] = 0 for its last pass

The walk takes one cycle for each (position, step) of the strip, C channels at a time.
A value that is not a product's is computed by the elementwise unit, one spike word (R bits, one plane) or one
current row (C currents) read a cycle. `events` has what no image changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.events import DRAIN, ElementwiseNode, elementwise_events, pass_rounds, product_events
from dtss.compiler.schedule.format import Product, Schedule
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.skipper import add_up_passes, pass_sums, round_cycles

Counter = NDArray[np.int64]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Exact event counts of one node, each [B]: one per image.

    A row is C values side by side, the unit in which the walk and the weight load touch a memory.
    """

    cycles: Counter
    stream_cycles: Counter  # the array's skipper is looking at words
    load_stall_cycles: Counter  # waiting for a weight tile
    walk_cycles: Counter  # the strip's walk, with DRAIN
    passes: Counter
    words_offered: Counter  # words whose flag the skipper looked at
    words_issued: Counter  # of these, words that are not all zero
    active_bits: Counter  # ones in the issued words: AND rows that switch
    accumulates: Counter  # Σ ones × channels of the tile: the additions of the field's SOP count
    gated_accumulates: Counter  # lanes × channels of issued words that a zero bit kept still
    accumulator_reads: Counter  # rows
    accumulator_writes: Counter  # rows
    weight_row_reads: Counter  # rows of C weights from weight memory
    stationary_row_reads: Counter  # rows of C from spike or current memory: attention's stationary operand
    parameter_row_reads: Counter  # rows of C (bias, threshold, reset)
    spike_word_reads: Counter  # words of R bits
    spike_row_writes: Counter  # rows of C bits, one plane
    spike_word_writes: Counter  # words of R bits, one plane (elementwise unit)
    current_row_reads: Counter
    current_row_writes: Counter
    membrane_row_reads: Counter
    membrane_row_writes: Counter
    lif_updates: Counter  # neurons × state steps
    zero_checks: Counter  # bits looked at to make the words' non-zero flags, when they are written


COUNTS = Counts.__struct_fields__


def no_counts(batch: int) -> dict[str, Counter]:
    """Every count 0."""
    return {name: np.zeros(batch, np.int64) for name in COUNTS}


class ConstantCounts:
    """Counts that no image changes; those that are not named are 0. Arrays of the last batch size are kept."""

    def __init__(self, constant: Mapping[str, int]) -> None:
        self.constant = constant
        self._latest = self._repeated(1)

    def of_batch(self, batch: int, by_image: Mapping[str, Counter] | None = None) -> Counts:
        """Counts of a batch, those of `by_image` [B] in the place of the constant ones."""
        latest = self._latest
        if len(latest["cycles"]) != batch:
            self._latest = latest = self._repeated(batch)
        return Counts(**latest) if by_image is None else Counts(**{**latest, **by_image})

    def _repeated(self, batch: int) -> dict[str, Counter]:
        column = np.array([[self.constant.get(name, 0)] for name in COUNTS], np.int64)
        table = np.repeat(column, batch, axis=1)
        table.flags.writeable = False
        return dict(zip(COUNTS, table, strict=True))


def load_cycles(rows: NDArray[np.int64], rows_per_cycle: int) -> NDArray[np.int64]:
    """Cycles that a weight tile of `rows` rows takes to load."""
    return -(-rows // rows_per_cycle)


def block_cycles(
    busy: NDArray[np.int64], load: NDArray[np.int64], block: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cycles, load stalls) of each block, pass by pass, [B, blocks]: busy [B, passes], load and block [passes].

    What `ProductRules` has in closed form for words that are the same for every output tile.
    """
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    next_load = np.append(load[1:], 0)
    next_load[starts[1:] - 1] = 0
    total = load[starts] + np.add.reduceat(np.maximum(busy, next_load), starts, axis=-1)
    return total, total - np.add.reduceat(busy, starts, axis=-1)


class ProductCounts(msgspec.Struct, frozen=True):
    """Counts of a product and of the walk it feeds, and the cycles of each of its weight blocks [B, blocks]."""

    counts: Counts
    block_cycles: NDArray[np.int64]


def product_counts(schedule: Schedule, node: Product, popcounts: NDArray[np.integer[Any]]) -> ProductCounts:
    """`popcounts`: ones in each streamed word, [B, groups, positions, slot steps, planes, reduction tiles]."""
    return ProductRules.of(schedule, node).counts(popcounts)


class ProductRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for one product: all that no image changes is computed once.

    Output tiles of a strip see the same words, so a block of n tiles takes n times the cycles of one; only the
    pass that ends a round (outer: a step of the walk; inner: the block) is followed by another load.

    rounds: for each, the passes' steps as indices of `pass_sums`.  load: of each reduction tile.
    tiles: output tiles of each block.  channels: of all output tiles.
    """

    cut: Geometry
    skip_group: int
    rounds: tuple[tuple[int, ...], ...]
    rows: NDArray[np.int64]
    load: NDArray[np.int64]
    next_load: NDArray[np.int64]
    walk: NDArray[np.int64]
    tiles: NDArray[np.int64]
    constant: ConstantCounts

    @classmethod
    def of(cls, schedule: Schedule, node: Product) -> ProductRules:
        """The rules of `node`, as the schedule cuts it."""
        cut, array = geometry(schedule, node), schedule.hardware.array
        rows = np.array(cut.rows, np.int64)
        load = load_cycles(rows, array.weight_rows_per_cycle)
        rounds = pass_rounds(cut)
        walked_together = len(cut.walk_steps) if len(rounds) == 1 and cut.time_order == "inner" else 1
        visits = cut.strip_positions * (walked_together if cut.walk_steps else 0)
        return cls(
            cut=cut,
            skip_group=array.skip_group,
            rounds=rounds,
            rows=rows,
            load=load,
            next_load=np.roll(load, -1),
            walk=np.where(visits > 0, visits + DRAIN, 0),
            tiles=np.diff(np.append(np.arange(0, len(cut.columns), cut.output_tiles_per_block), len(cut.columns))),
            constant=ConstantCounts(product_events(schedule, node, cut).total()),
        )

    def counts(self, popcounts: NDArray[np.integer[Any]]) -> ProductCounts:
        """Events of each image; `popcounts` as in `product_counts`."""
        output_tiles, channels = len(self.cut.columns), sum(self.cut.columns)
        sums = pass_sums(popcounts, self.cut, self.skip_group)
        totals = np.zeros((4, len(popcounts)), np.int64)
        add_up_passes(sums, self.rows, totals)
        streamed, added, issued, lanes = totals
        blocks = self._block_cycles(sums[0])
        cycles = blocks.sum(-1)
        constant = self.constant.constant
        by_image = {
            "cycles": cycles,
            "load_stall_cycles": cycles - streamed * output_tiles - constant["walk_cycles"],
            "stream_cycles": streamed * output_tiles,
            "words_issued": issued * output_tiles,
            "active_bits": added * output_tiles,
            "accumulates": added * channels,
            "gated_accumulates": (lanes - added) * channels,
            "accumulator_reads": issued * output_tiles + constant["accumulator_reads"],
            "accumulator_writes": issued * output_tiles,
            "spike_word_reads": issued * output_tiles,
        }
        return ProductCounts(self.constant.of_batch(len(popcounts), by_image), blocks)

    def _block_cycles(self, stream: NDArray[np.int64]) -> NDArray[np.int64]:
        """load[first] + Σ_i max(busy[i], load[i+1]) of each block [B, blocks]."""
        first_load = [int(self.load[0]) if steps else 0 for steps in self.rounds]
        cycles = np.full((len(stream), len(self.tiles)), first_load[0], np.int64)
        for steps, load, following in zip(self.rounds, first_load, (*first_load[1:], 0), strict=True):
            passed = np.empty((len(stream), 2), np.int64)
            if steps:
                round_cycles(stream, steps[0], steps[-1] + 1, self.walk, self.next_load, passed)
            else:  # the walks alone
                passed[:] = self.cut.groups * self.walk.sum(), self.walk[-1]
            tile, last = passed[:, 0], passed[:, 1]
            cycles += tile[:, None] * self.tiles + (np.maximum(last, following) - np.maximum(last, load))[:, None]
        return cycles


def elementwise_counts(schedule: Schedule, node: ElementwiseNode, batch: int) -> Counts:
    """Counts of a node that the array does not compute, for a batch; they do not depend on the data."""
    return ConstantCounts(elementwise_events(schedule, node).total()).of_batch(batch)
