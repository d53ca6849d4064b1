"""What an event is expected to cost in energy, against the others: the compiler's own constants, in one place.

The unit is one bit read from or written to a memory of 8 KiB. Only ratios decide: an access grows with the square root
of the memory's capacity (Horowitz, ISSCC 2014, 45 nm: 10, 20 and 100 pJ for 64 bits from 8 KB, 32 KB and 1 MB; the rule
gives 10, 20 and 113), and registers beside the array cost little (an assumption, that of our table for 45 nm).
dtss-sim prices the same events by the technology table that it is given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.buffers import parameter_bits
from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.format import AttentionProduct, Image, Product, Schedule

REGISTER_BIT = 1 / 16  # of an accumulator, read or written
ADDED_BIT = 1 / 50  # of an addition: 0.1 pJ for 32 bits, against 10 pJ for 64 bits from 8 KB
UNIT_BYTES = 8192


def memory_bit(capacity_bytes: int) -> float:
    """One bit read or written."""
    return math.sqrt(capacity_bytes / UNIT_BYTES)


def product_energy(schedule: Schedule, product: Product, counts: Counts) -> NDArray[np.float64]:
    """Of a product and the walk it feeds [B]; without DRAM, which no tiling changes."""
    array, widths, memory = schedule.hardware.array, schedule.hardware.widths, schedule.hardware.memory
    streamed = schedule.node(product.inputs[0])
    weight, spike, current, membrane = map(
        memory_bit, (memory.weight_bytes, memory.spike_bytes, memory.current_bytes, memory.membrane_bytes)
    )
    word = memory_bit(memory.image_bytes) if isinstance(streamed, Image) else spike
    accumulators = counts.accumulator_reads + counts.accumulator_writes
    currents = counts.current_row_reads + counts.current_row_writes
    membranes = counts.membrane_row_reads + counts.membrane_row_writes
    energy: NDArray[np.float64] = (
        word * (array.rows * counts.spike_word_reads + counts.words_offered)
        + spike * array.columns * counts.spike_row_writes
        + weight * array.columns * widths.weight * counts.weight_row_reads
        + _stationary_bit(schedule, product) * array.columns * counts.stationary_row_reads
        + weight * array.columns * parameter_bits(schedule.hardware) * counts.parameter_row_reads
        + current * array.columns * widths.membrane * currents
        + membrane * array.columns * widths.membrane * membranes
        + REGISTER_BIT * array.columns * widths.accumulator * accumulators
        + ADDED_BIT * widths.accumulator * counts.accumulates
    )
    return energy


def _stationary_bit(schedule: Schedule, product: Product) -> float:
    """What one lane of a row of attention's stationary operand costs: its planes of spikes, or a stored current."""
    if not isinstance(product, AttentionProduct):
        return 0.0
    memory, stationary = schedule.hardware.memory, schedule.node(product.inputs[1])
    if isinstance(stationary, Product):
        return memory_bit(memory.current_bytes) * schedule.hardware.widths.membrane
    return memory_bit(memory.spike_bytes) * stationary.value.planes
