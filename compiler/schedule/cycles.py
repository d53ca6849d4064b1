"""THE cycle and traffic rules. The compiler's cost model and the simulator both call these functions, and the
generated Verilog's own counters are tested to be equal to them.

A pass streams spike words over a still weight tile. The skipper sees the non-zero flags of G words at once:

    stream = Σ_groups max(1, non-zero words of the group)

The next weight tile loads meanwhile into the other bank, ⌈rows / weight_rows_per_cycle⌉ cycles, and the words of the
next strip are gathered chunk by chunk, a row that is read a cycle, each into the place of the chunk of this strip that
has been streamed for the last time. Where a product has one strip, its words stay for all blocks. With time 0 where a
run's first pass is fetched,

    start[i+1] = max(end[i], start[i] + load[i+1], ready[i+1]),   end[i] = start[i] + busy[i]
    start[0]   = max(1 + load[0], ready[0])
    busy[i]    = stream[i], and for the last pass of a strip and output tile  + DRAIN + walk[i]
    gathered[c] = max(gathered[c−1], released[c − chunks of a strip]) + rows[c]
    ready      = gathered + GATHER_LATENCY (+ planes of pixels and stored counts) for the first pass that uses the chunk
    cycles of a run = end[last] − 1, and the controller's

The walk takes one cycle for each (position, step) of the strip, C channels at a time.
Adds, pools and token sums are the elementwise unit's, a row that is read a cycle. `events` has what no image changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.events import (
    DRAIN,
    GATHER_LATENCY,
    ElementwiseNode,
    elementwise_events,
    end_cycles,
    pass_rounds,
    product_events,
)
from dtss.compiler.schedule.format import AttentionProduct, Convolution, Image, Product, Schedule
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.kernel import kernel
from dtss.compiler.schedule.skipper import Words, add_up_passes, pass_sums, run_cycles

Counter = NDArray[np.int64]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Exact event counts of one node, each [B]: one per image.

    A row is C values side by side, the unit in which the walk and the weight load touch a memory.
    """

    cycles: Counter
    stream_cycles: Counter  # the array's skipper is looking at words
    load_stall_cycles: Counter  # waiting for a weight tile
    word_stall_cycles: Counter  # waiting for words to be gathered
    walk_cycles: Counter  # the strip's walk, with DRAIN
    fill_cycles: Counter  # the stationary memory is filled
    elementwise_cycles: Counter  # the elementwise unit works
    control_cycles: Counter  # the controller fetches and begins
    passes: Counter
    words_offered: Counter  # words whose flag the skipper looked at
    words_issued: Counter  # of these, words that are not all zero
    active_bits: Counter  # ones in the issued words: AND rows that switch
    accumulates: Counter  # Σ ones × channels of the tile: the additions of the field's SOP count
    gated_accumulates: Counter  # lanes × channels of issued words that a zero bit kept still
    accumulator_reads: Counter  # rows
    accumulator_writes: Counter  # rows
    weight_row_reads: Counter  # rows of C weights from weight memory
    stationary_row_reads: Counter  # rows of C weights from stationary memory: attention's operand
    stationary_row_writes: Counter
    parameter_row_reads: Counter  # rows of C (bias, threshold, reset, initial state)
    spike_word_reads: Counter  # words of R bits from spike memory
    image_row_reads: Counter  # pixels
    strip_word_writes: Counter  # words of R bits into the strip buffer; every issued word is read from there
    spike_row_writes: Counter  # rows of C bits, one plane
    spike_word_writes: Counter  # words of R bits, one plane (elementwise unit)
    current_row_reads: Counter
    current_row_writes: Counter
    membrane_row_reads: Counter
    membrane_row_writes: Counter
    lif_updates: Counter  # neurons × state steps
    zero_checks: Counter  # bits looked at to make the words' non-zero flags, as they enter the strip buffer


COUNTS = Counts.__struct_fields__


def no_counts(batch: int) -> dict[str, Counter]:
    """Every count 0."""
    return {name: np.zeros(batch, np.int64) for name in COUNTS}


def counts_of_table(table: NDArray[np.int64]) -> Counts:
    """[COUNTS, B] by name."""
    return Counts(**dict(zip(COUNTS, table, strict=True)))


def table_of_counts(counts: Sequence[Counts]) -> NDArray[np.int64]:
    """[nodes, COUNTS, B]."""
    return np.array([[getattr(each, name) for name in COUNTS] for each in counts], np.int64)


def table_row(counts: Mapping[str, int]) -> NDArray[np.int64]:
    """[COUNTS]: those that are not named are 0."""
    return np.array([counts.get(name, 0) for name in COUNTS], np.int64)


def load_cycles(rows: NDArray[np.int64], rows_per_cycle: int) -> NDArray[np.int64]:
    """Cycles that a weight tile of `rows` rows takes to load."""
    return -(-rows // rows_per_cycle)


class ProductCounts(msgspec.Struct, frozen=True):
    """Counts of a product and the walk it feeds [COUNTS, B], and the cycles of its weight blocks [B, blocks]."""

    table: NDArray[np.int64]
    block_cycles: NDArray[np.int64]

    @property
    def counts(self) -> Counts:
        return counts_of_table(self.table)


def product_counts(schedule: Schedule, node: Product, popcounts: NDArray[np.integer[Any]]) -> ProductCounts:
    """`popcounts`: ones in each streamed word, [B, groups, positions, slot steps, planes, reduction tiles]."""
    return ProductRules.of(schedule, node).counts(Words.of(popcounts))


class ProductRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for one product: all that no image changes is computed once.

    rounds [rounds, 2]: of the passes' steps, as indices of `pass_sums`.  tiles: output tiles of each block.
    load, gather, walk, latency: see `skipper.run_cycles`.  beside: cycles of a block
    beside its runs.  end: of the whole program, after the last node's last block.
    constant [COUNTS], factors [COUNTS, FOUND]: the counts are constant + factors · what is found.
    """

    cut: Geometry
    skip_group: int
    rounds: NDArray[np.int64]
    rows: NDArray[np.int64]
    load: NDArray[np.int64]
    gather: NDArray[np.int64]
    walk: NDArray[np.int64]
    latency: int
    tiles: NDArray[np.int64]
    beside: int
    end: int
    constant: NDArray[np.int64]
    factors: NDArray[np.int64]

    @classmethod
    def of(cls, schedule: Schedule, node: Product) -> ProductRules:
        """The rules of `node`, as the schedule cuts it."""
        cut, array = geometry(schedule, node), schedule.hardware.array
        rows = np.array(cut.rows, np.int64)
        rounds = pass_rounds(cut)
        walked_together = len(cut.walk_steps) if len(rounds) == 1 and cut.time_order == "inner" else 1
        constant, end = product_events(schedule, node, cut).total(), end_cycles(schedule, node)
        gather, latency = gather_cycles(schedule, node, cut)
        beside = (constant.get("control_cycles", 0) - end + constant.get("fill_cycles", 0)) // cut.blocks
        return cls(
            cut=cut,
            skip_group=array.skip_group,
            rounds=np.array([(steps[0], steps[-1] + 1) if steps else (0, 0) for steps in rounds], np.int64),
            rows=rows,
            load=load_cycles(rows, array.weight_rows_per_cycle),
            gather=gather,
            walk=cut.strip_positions * walked_together + DRAIN,
            latency=latency,
            tiles=np.diff(np.append(np.arange(0, len(cut.columns), cut.output_tiles_per_block), len(cut.columns))),
            beside=beside,
            end=end,
            constant=table_row(constant | {"cycles": cut.blocks * beside + end if cut.walk_steps else end}),
            factors=_factors(len(cut.columns), sum(cut.columns)),
        )

    def counts(self, words: Words) -> ProductCounts:
        """Events of each image."""
        batch = len(words.ones)
        if not self.cut.walk_steps:
            table = np.repeat(self.constant[:, None], batch, axis=1)
            return ProductCounts(table, np.zeros((batch, len(self.tiles)), np.int64))
        sums = pass_sums(words, self.cut, self.skip_group)
        totals = np.zeros((4, batch), np.int64)
        add_up_passes(sums, self.rows, totals)
        return self.counts_of(sums[0], totals)

    def counts_of(self, stream: NDArray[np.int64], totals: NDArray[np.int64]) -> ProductCounts:
        """From the cycles of each pass (`pass_sums`) and (stream cycles, ones, issued words, their lanes) [4, B]."""
        runs = np.zeros((len(stream), len(self.tiles), 3), np.int64)
        run_cycles(
            stream, self.rounds, self.tiles, self.load, self.walk, self.gather, self.latency, self.cut.keeps_words, runs
        )
        table, blocks = np.empty((len(COUNTS), len(stream)), np.int64), np.empty(runs.shape[:2], np.int64)
        _add_up_found(self.constant, self.factors, totals, runs, self.beside, self.end, table, blocks)
        return ProductCounts(table, blocks)


@kernel
def _add_up_found(
    constant: Counter,
    factors: NDArray[np.int64],
    totals: NDArray[np.int64],
    runs: NDArray[np.int64],
    beside: int,
    end: int,
    table: NDArray[np.int64],
    blocks: NDArray[np.int64],
) -> None:
    """table [COUNTS, B] = constant + factors · (totals [4, B], Σ of runs [B, blocks, 3]); blocks [B, blocks]."""
    found = np.empty(len(totals) + 3, np.int64)
    for image in range(len(runs)):
        for row in range(len(totals)):
            found[row] = totals[row, image]
        for column in range(3):
            found[len(totals) + column] = 0
            for block in range(runs.shape[1]):
                found[len(totals) + column] += runs[image, block, column]
        for block in range(runs.shape[1]):
            blocks[image, block] = runs[image, block, 0] + beside
        blocks[image, -1] += end
        for count in range(len(constant)):
            table[count, image] = constant[count]
            for row in range(len(found)):
                table[count, image] += factors[count, row] * found[row]


FOUND = ("streamed", "ones", "issued", "lanes", "time", "load_stalls", "word_stalls")  # of a product, by the skipper


def _factors(output_tiles: int, channels: int) -> NDArray[np.int64]:
    """[COUNTS, FOUND]: how often each of what is found is an event."""
    factors = {
        "cycles": {"time": 1},
        "load_stall_cycles": {"load_stalls": 1},
        "word_stall_cycles": {"word_stalls": 1},
        "stream_cycles": {"streamed": output_tiles},
        "words_issued": {"issued": output_tiles},
        "active_bits": {"ones": output_tiles},
        "accumulates": {"ones": channels},
        "gated_accumulates": {"lanes": channels, "ones": -channels},
        "accumulator_reads": {"issued": output_tiles},
        "accumulator_writes": {"issued": output_tiles},
    }
    return np.array([[factors.get(name, {}).get(column, 0) for column in FOUND] for name in COUNTS], np.int64)


def gather_cycles(schedule: Schedule, node: Product, cut: Geometry) -> tuple[NDArray[np.int64], int]:
    """Cycles in which the gatherer walks each chunk [strips, reduction tiles], and what passes until it is ready.

    A word takes a cycle for each kernel offset in it. Pixels and stored counts give all planes of a position at once,
    in as many cycles as rows lie side by side or planes leave. K of Kᵀ·V is turned: its tokens come, then its words go.
    """
    array, source = schedule.hardware.array, schedule.node(node.inputs[0])
    rows, positions = np.array(cut.rows, np.int64), cut.strip_positions[:, None]
    steps = len(cut.slot_steps) if cut.together else 1
    pieces = np.ones_like(rows)
    if isinstance(node, Convolution) and node.tiling is not None and node.tiling.offsets_per_word > 1:
        pieces = rows // source.channels
    if isinstance(node, AttentionProduct) and node.stage == "score_value":
        pieces = -(-rows // array.columns)
        return positions * np.maximum(pieces, cut.planes), GATHER_LATENCY + cut.planes
    if isinstance(source, Image):
        return positions * steps * np.maximum(pieces, cut.planes), GATHER_LATENCY + cut.planes
    if isinstance(node, AttentionProduct) and node.stage == "key_value":
        return rows + positions, GATHER_LATENCY
    return positions * steps * cut.planes * pieces, GATHER_LATENCY


CYCLE_KINDS = (
    "stream_cycles", "load_stall_cycles", "word_stall_cycles", "walk_cycles", "fill_cycles", "elementwise_cycles",
    "control_cycles",
)  # fmt: skip


def elementwise_counts(schedule: Schedule, node: ElementwiseNode, batch: int) -> Counts:
    """Counts of a node that the array does not compute, for a batch; they do not depend on the data."""
    row = table_row(elementwise_totals(schedule, node))
    return counts_of_table(np.repeat(row[:, None], batch, axis=1))


def elementwise_totals(schedule: Schedule, node: ElementwiseNode) -> dict[str, int]:
    """The counts of one image, those that are not 0."""
    events = elementwise_events(schedule, node).total()
    return events | {"cycles": sum(events.get(kind, 0) for kind in CYCLE_KINDS)}
