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

from dtss.compiler.schedule.accesses import READS, WRITES, AccessBits
from dtss.compiler.schedule.cycles import COUNTS, Counts
from dtss.compiler.schedule.format import Schedule

REGISTER_BIT = 1 / 16  # of an accumulator, read or written
ADDED_BIT = 1 / 50  # of an addition: 0.1 pJ for 32 bits, against 10 pJ for 64 bits from 8 KB
UNIT_BYTES = 8192


def memory_bit(capacity_bytes: int) -> float:
    """One bit read or written."""
    return math.sqrt(capacity_bytes / UNIT_BYTES)


def product_energy(schedule: Schedule, counts: Counts) -> NDArray[np.float64]:
    """Of a product and the walk it feeds [B]; without what crosses from outside, which no tiling changes."""
    widths, memory, bits = schedule.hardware.widths, schedule.hardware.memory, AccessBits.of(schedule)
    energy = (ADDED_BIT * widths.accumulator * counts.accumulates).astype(np.float64)
    for name in READS:
        size: int | None = getattr(memory, f"{name.removesuffix('_memory')}_bytes", None)
        bit = REGISTER_BIT if size is None else memory_bit(size)
        for event, width in (*READS[name], *WRITES[name]):
            if event in COUNTS:
                energy = energy + bit * getattr(bits, width) * getattr(counts, event)
    return energy
