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
current row (C currents) read a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    Image,
    Integrator,
    Lif,
    MaxPool,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.skipper import add_up_passes, pass_sums, round_cycles

DRAIN = 2  # cycles between the issue of a strip's last word and its sum being in the accumulator

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
        rounds = _rounds(cut)
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
            constant=ConstantCounts(_constant_counts(schedule, node, cut, rounds)),
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


def _rounds(cut: Geometry) -> tuple[tuple[int, ...], ...]:
    """For each round of all strips (outer: one a walked step) the passes' steps."""
    if cut.time_order == "inner" or not cut.walk_steps:
        return (tuple(range(cut.pass_steps if cut.slot_steps else 0)),)
    return tuple((cut.slot_steps.index(step),) if step in cut.slot_steps else () for step in cut.walk_steps)


def _constant_counts(
    schedule: Schedule, node: Product, cut: Geometry, rounds: tuple[tuple[int, ...], ...]
) -> dict[str, int]:
    """Counts that do not depend on the data."""
    tiles = cut.groups * len(cut.columns)
    strip_passes = sum(map(len, rounds)) * tiles
    words = cut.positions * cut.planes * (len(cut.slot_steps) if cut.time_order == "inner" else 1)
    if cut.weights_change:
        words = cut.positions * cut.planes
    walks = cut.strips * tiles * len(rounds) if cut.walk_steps else 0
    visits = cut.positions * tiles * len(cut.walk_steps)
    has_parameters = not isinstance(node, AttentionProduct) or node.neuron is not None
    rows_loaded = "stationary_row_reads" if isinstance(node, AttentionProduct) else "weight_row_reads"
    walked = _walk_counts(schedule, node, cut)
    return {
        "walk_cycles": visits + DRAIN * walks,
        "passes": strip_passes * cut.strips * len(cut.rows),
        "words_offered": strip_passes * words * len(cut.rows),
        rows_loaded: strip_passes * cut.strips * sum(cut.rows),
        "parameter_row_reads": walks if has_parameters else 0,
        "accumulator_reads": walked.pop("walk_slot_reads"),
    } | walked


def _walk_counts(schedule: Schedule, node: Product, cut: Geometry) -> dict[str, int]:
    """What the walks touch; a visit is one (position, step) of one output tile, one row of C."""
    visits = cut.groups * cut.positions * len(cut.columns)
    summed = [step for step in cut.walk_steps if step in (*node.steps.active, *node.steps.reused)]
    counts = {"walk_slot_reads": visits * len(summed)}
    if node.neuron is None:
        return counts | {"current_row_writes": visits * len(cut.walk_steps)}
    neuron = schedule.node(node.neuron)
    assert isinstance(neuron, Lif)
    return counts | _lif_counts(neuron, visits)


def _lif_counts(neuron: Lif, visits: int) -> dict[str, int]:
    outer = neuron.time_order == "outer"
    return {
        "spike_row_writes": visits * len(neuron.steps.active),
        "membrane_row_reads": visits * len(neuron.membrane_reads) if outer else 0,
        "membrane_row_writes": visits * len(neuron.membrane_writes) if outer else 0,
        "lif_updates": neuron.positions * neuron.channels * len(neuron.state_steps),
        "zero_checks": neuron.positions * neuron.channels * len(neuron.steps.active),
    }


def elementwise_counts(
    schedule: Schedule, node: Image | Lif | Integrator | Add | MaxPool | SumPool | TokenSum, batch: int
) -> Counts:
    """Counts of a node that the array does not compute, for a batch."""
    return ConstantCounts(elementwise_events(schedule, node)).of_batch(batch)


def elementwise_events(
    schedule: Schedule, node: Image | Lif | Integrator | Add | MaxPool | SumPool | TokenSum
) -> dict[str, int]:
    """Counts of a node that the array does not compute; they do not depend on the data.

    A LIF whose input is a product's accumulators costs nothing of its own: the product's walk is its work.
    """
    match node:
        case Image():
            return _writes(schedule, node, 1)
        case Lif():
            return {} if _is_walked(schedule, node) else _stored_current_lif(schedule, node)
        case Integrator():
            return _integrator(schedule, node)
        case Add() | TokenSum():
            return _reads(schedule, node, taps_per_step=_input_positions(schedule, node))
        case MaxPool() | SumPool():
            return _reads(schedule, node, taps_per_step=pool_taps(node, schedule.node(node.inputs[0])))
        case _:
            assert_never(node)


def _is_walked(schedule: Schedule, node: Lif) -> bool:
    source = schedule.node(node.inputs[0])
    return isinstance(source, Product) and source.neuron == node.name


def _stored_current_lif(schedule: Schedule, node: Lif) -> dict[str, int]:
    source = schedule.node(node.inputs[0])
    tiles = math.ceil(node.channels / schedule.hardware.array.columns)
    visits = node.positions * tiles
    summed = [step for step in node.state_steps if step in source.steps.available]
    cycles = visits * len(node.state_steps)
    return {
        "cycles": cycles,
        "walk_cycles": cycles,
        "current_row_reads": visits * len(summed),
        "parameter_row_reads": tiles,
    } | _lif_counts(node, visits)


def _integrator(schedule: Schedule, node: Integrator) -> dict[str, int]:
    """As a LIF whose current is stored, but what it writes is its state."""
    visits = node.positions * math.ceil(node.channels / schedule.hardware.array.columns)
    available = schedule.node(node.inputs[0]).steps.available
    cycles = visits * len(node.steps.active)
    return {
        "cycles": cycles,
        "walk_cycles": cycles,
        "current_row_reads": visits * sum(step in available for step in node.steps.active),
        "current_row_writes": cycles,
        "lif_updates": node.positions * node.channels * len(node.steps.active),
    }


def _input_positions(schedule: Schedule, node: AnyNode) -> int:
    """Positions an Add or TokenSum reads from each input at each step."""
    return schedule.node(node.inputs[0]).positions


def pool_taps(node: MaxPool | SumPool, source: AnyNode) -> int:
    """Window elements inside the image, summed over all windows."""

    def inside(outputs: int, size: int, kernel: int) -> int:
        starts = np.arange(outputs) * node.stride - node.padding
        return int((np.minimum(starts + kernel, size) - np.maximum(starts, 0)).sum())

    rows, columns = (
        inside(outputs, size, kernel)
        for outputs, size, kernel in zip(node.shape[:2], source.shape[:2], node.window, strict=True)
    )
    return rows * columns


def _reads(schedule: Schedule, node: Add | MaxPool | SumPool | TokenSum, taps_per_step: int) -> dict[str, int]:
    """Reads of every available input and writes of the result: rows for currents, words and planes for counts."""
    array = schedule.hardware.array
    words = math.ceil(node.channels / array.rows)
    tiles = math.ceil(node.channels / array.columns)
    counts = {"current_row_reads": 0, "spike_word_reads": 0}
    for step in node.steps.active:
        for source in (schedule.node(name) for name in node.inputs):
            if step not in source.steps.available:
                continue
            if source.value.is_current:
                counts["current_row_reads"] += taps_per_step * tiles
            else:
                counts["spike_word_reads"] += taps_per_step * words * source.value.planes
    cycles = sum(counts.values())
    return counts | {"cycles": cycles} | _writes(schedule, node, len(node.steps.active))


def _writes(schedule: Schedule, node: AnyNode, steps: int) -> dict[str, int]:
    array = schedule.hardware.array
    if node.value.is_current:
        return {"current_row_writes": node.positions * math.ceil(node.channels / array.columns) * steps}
    return {
        "spike_word_writes": node.positions * math.ceil(node.channels / array.rows) * node.value.planes * steps,
        "zero_checks": node.positions * node.channels * node.value.planes * steps,
    }
