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
from typing import assert_never

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
from dtss.compiler.schedule.geometry import Geometry, PassTable, geometry, pass_table

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


def no_counts(batch: int) -> dict[str, Counter]:
    return {name: np.zeros(batch, np.int64) for name in Counts.__struct_fields__}


def load_cycles(rows: NDArray[np.int64], rows_per_cycle: int) -> NDArray[np.int64]:
    """Cycles that a weight tile of `rows` rows takes to load."""
    return -(-rows // rows_per_cycle)


def stream_cycles(nonzero: NDArray[np.bool_], skip_group: int) -> NDArray[np.int64]:
    """Σ_groups max(1, non-zero words): [..., words] → [...]. The last group may be short."""
    count = nonzero.shape[-1]
    groups = math.ceil(count / skip_group)
    padded = np.zeros((*nonzero.shape[:-1], groups * skip_group), np.bool_)
    padded[..., :count] = nonzero
    per_group = padded.reshape(*nonzero.shape[:-1], groups, skip_group).sum(-1)
    cycles: NDArray[np.int64] = np.maximum(per_group, 1).sum(-1)
    return cycles


def block_cycles(
    busy: NDArray[np.int64], load: NDArray[np.int64], block: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cycles, load stalls) of each block's passes, [B, blocks]: busy [B, passes], load and block [passes]."""
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    next_load = np.append(load[1:], 0)
    next_load[starts[1:] - 1] = 0
    total = load[starts] + np.add.reduceat(np.maximum(busy, next_load), starts, axis=-1)
    return total, total - np.add.reduceat(busy, starts, axis=-1)


def pass_words(popcounts: NDArray[np.int64], cut: Geometry) -> list[NDArray[np.int64]]:
    """Popcounts in streaming order, one array per strip: [B, groups, pass steps, reduction tiles, words].

    `popcounts` is [B, groups, positions, slot steps, planes, reduction tiles].
    """
    batch, groups, _, steps, planes, tiles = popcounts.shape
    strips = np.split(popcounts, np.cumsum(cut.strip_positions)[:-1], axis=2)
    if cut.pass_steps == 1 and not cut.weights_change:
        return [s.transpose(0, 1, 5, 2, 3, 4).reshape(batch, groups, 1, tiles, -1) for s in strips]
    return [s.transpose(0, 1, 3, 5, 2, 4).reshape(batch, groups, steps, tiles, s.shape[2] * planes) for s in strips]


class ProductCounts(msgspec.Struct, frozen=True):
    """Counts of a product and of the walk it feeds, and the cycles of each of its weight blocks [B, blocks]."""

    counts: Counts
    block_cycles: NDArray[np.int64]


def product_counts(schedule: Schedule, node: Product, popcounts: NDArray[np.int64]) -> ProductCounts:
    """`popcounts`: ones in each streamed word, [B, groups, positions, slot steps, planes, reduction tiles]."""
    cut = geometry(schedule, node)
    table = pass_table(cut)
    array = schedule.hardware.array
    batch = len(popcounts)
    counts = no_counts(batch)
    stream, ones, issued, offered = _per_pass(popcounts, cut, table, array.skip_group)
    walks = np.where(table.walk > 0, table.walk + DRAIN, 0)
    busy = stream + walks
    cycles, stalls = block_cycles(busy, load_cycles(table.rows, array.weight_rows_per_cycle), table.block)
    counts["cycles"], counts["load_stall_cycles"] = cycles.sum(-1), stalls.sum(-1)
    counts["stream_cycles"] = stream.sum(-1)
    counts["words_issued"] = issued.sum(-1)
    counts["active_bits"] = ones.sum(-1)
    counts["accumulates"] = (ones * table.columns).sum(-1)
    counts["gated_accumulates"] = ((issued * table.rows - ones) * table.columns).sum(-1)
    walked = _walk_counts(schedule, node, cut)
    counts["accumulator_reads"] = issued.sum(-1) + walked.pop("walk_slot_reads")
    counts["accumulator_writes"] = issued.sum(-1)
    counts["spike_word_reads"] = issued.sum(-1)
    rows_loaded = "stationary_row_reads" if isinstance(node, AttentionProduct) else "weight_row_reads"
    constant = {
        "walk_cycles": walks.sum(),
        "passes": (table.reduction_tile >= 0).sum(),
        "words_offered": offered.sum(),
        rows_loaded: table.rows.sum(),
        "parameter_row_reads": 0
        if isinstance(node, AttentionProduct) and node.neuron is None
        else (table.walk > 0).sum(),
    } | walked
    counts |= {name: np.full(batch, value, np.int64) for name, value in constant.items()}
    return ProductCounts(Counts(**counts), cycles)


def _per_pass(
    popcounts: NDArray[np.int64], cut: Geometry, table: PassTable, skip_group: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(stream cycles, ones, issued words) [B, passes] and offered words [passes]."""
    batch = len(popcounts)
    stream, ones, issued = (np.zeros((batch, len(table)), np.int64) for _ in range(3))
    offered = np.zeros(len(table), np.int64)
    if not cut.slot_steps:
        return stream, ones, issued, offered
    strips = pass_words(popcounts, cut)
    busy = table.reduction_tile >= 0
    index = (
        slice(None),
        table.group[busy],
        np.maximum(table.step[busy], 0),
        table.reduction_tile[busy],
        table.strip[busy],
    )
    stream[:, busy] = np.stack([stream_cycles(words > 0, skip_group) for words in strips], axis=-1)[index]
    ones[:, busy] = np.stack([words.sum(-1) for words in strips], axis=-1)[index]
    issued[:, busy] = np.stack([(words > 0).sum(-1) for words in strips], axis=-1)[index]
    offered[busy] = np.array([words.shape[-1] for words in strips])[table.strip[busy]]
    return stream, ones, issued, offered


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
    """Counts of a node that the array does not compute; they do not depend on the data.

    A LIF whose input is a product's accumulators costs nothing of its own: the product's walk is its work.
    """
    match node:
        case Image():
            counts = _writes(schedule, node, 1)
        case Lif():
            counts = {} if _is_walked(schedule, node) else _stored_current_lif(schedule, node)
        case Integrator():
            counts = _integrator(schedule, node)
        case Add() | TokenSum():
            counts = _reads(schedule, node, taps_per_step=_input_positions(schedule, node))
        case MaxPool() | SumPool():
            counts = _reads(schedule, node, taps_per_step=pool_taps(node, schedule.node(node.inputs[0])))
        case _:
            assert_never(node)
    return Counts(**(no_counts(batch) | {name: np.full(batch, value, np.int64) for name, value in counts.items()}))


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
