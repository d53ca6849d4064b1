"""What a tiling would cost: the simulator's own rules on words drawn at random.

Spikes are not known when a network is compiled, so each word's ones are drawn from a binomial distribution with
`EXPECTED_ONES` ones a bit, from one seed. Counts, cycles and stalls then follow from `schedule.cycles` as in dtss-sim.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import Counts, product_counts
from dtss.compiler.schedule.format import AnyNode, Lif, Product, Schedule, Tiling, TimeOrder
from dtss.compiler.schedule.geometry import (
    geometry,
    group_positions,
    offsets_per_word,
    output_columns,
    reduction_rows,
)

ORDERS: tuple[TimeOrder, ...] = ("inner", "outer")
EXPECTED_ONES = 0.1  # share of ones among streamed bits; trained networks here have 0.02 to 0.1


@dataclass(frozen=True)
class Candidate:
    """A tiling with the cycles and the bits moved on chip that it is expected to take for an image.

    cost = cycles · bits: memory traffic is most of the energy, so this is an energy-delay product.
    """

    tiling: Tiling
    cycles: int
    bits: int

    @property
    def cost(self) -> int:
        return self.cycles * self.bits


def candidates(schedule: Schedule, product: Product, time_order: TimeOrder | None = None) -> tuple[Candidate, ...]:
    """Every time order that is possible, or the one given, with strips as long as they can be or of equal length.

    Best first; of equals the first listed. Empty if no order is possible.
    """
    array = schedule.hardware.array
    positions, steps = group_positions(product), max(1, len(product.steps.active))
    found: list[Candidate] = []
    for order in ORDERS:
        slots = steps if order == "inner" else 1
        if slots > array.strip_slots or (order == "outer" and product.steps.reused):
            continue
        if time_order not in (None, order) and not product.steps.reused:
            continue
        longest = min(array.strip_slots // slots, positions)
        balanced = ceil(positions / ceil(positions / longest))
        tilings = [_tiling(schedule, product, order, length) for length in dict.fromkeys((longest, balanced))]
        found.extend(_candidate(schedule, product, tiling) for tiling in tilings)
    return tuple(sorted(found, key=lambda candidate: candidate.cost))


def _tiling(schedule: Schedule, product: Product, order: TimeOrder, positions_per_strip: int) -> Tiling:
    array, streamed = schedule.hardware.array, schedule.node(product.inputs[0])
    packed = offsets_per_word(product, streamed, array)
    output_tiles = len(output_columns(product, array))
    return Tiling(
        time_order=order,
        positions_per_strip=positions_per_strip,
        offsets_per_word=packed,
        strips=ceil(group_positions(product) / positions_per_strip),
        reduction_tiles=len(reduction_rows(product, streamed, array, packed)),
        output_tiles=output_tiles,
        output_tiles_per_block=output_tiles,
    )


def _candidate(schedule: Schedule, product: Product, tiling: Tiling) -> Candidate:
    tiled = msgspec.structs.replace(product, tiling=tiling)
    changed: dict[str, AnyNode] = {product.name: tiled}
    if product.neuron is not None:
        neuron = schedule.node(product.neuron)
        assert isinstance(neuron, Lif)
        changed[neuron.name] = msgspec.structs.replace(neuron, time_order=tiling.time_order)
    scene = msgspec.structs.replace(schedule, nodes=tuple(changed.get(node.name, node) for node in schedule.nodes))
    counts = product_counts(scene, tiled, expected_ones(scene, tiled)).counts
    return Candidate(tiling, int(counts.cycles[0]), int(bits_moved(schedule, counts)[0]))


def expected_ones(schedule: Schedule, product: Product) -> NDArray[np.int64]:
    """Ones of each streamed word [1, groups, positions, steps, planes, reduction tiles], the same at every call."""
    cut = geometry(schedule, product)
    shape = (1, cut.groups, cut.positions, len(cut.slot_steps), cut.planes, len(cut.rows))
    return np.random.default_rng(0).binomial(np.array(cut.rows), EXPECTED_ONES, shape)


def bits_moved(schedule: Schedule, counts: Counts) -> NDArray[np.int64]:
    """Bits that cross the ports of the on-chip memories and of the accumulator file [B]."""
    array, widths = schedule.hardware.array, schedule.hardware.widths
    moved: NDArray[np.int64] = (
        array.columns * widths.weight * (counts.weight_row_reads + counts.stationary_row_reads)
        + array.columns * 2 * widths.membrane * counts.parameter_row_reads
        + array.rows * counts.spike_word_reads
        + array.columns * counts.spike_row_writes
        + array.columns * widths.accumulator * (counts.accumulator_reads + counts.accumulator_writes)
        + array.columns * widths.accumulator * (counts.current_row_reads + counts.current_row_writes)
        + array.columns * widths.membrane * (counts.membrane_row_reads + counts.membrane_row_writes)
    )
    return moved
