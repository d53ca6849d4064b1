"""Bits that cross the port of each memory, read and written, from the exact counts.

The widths are those that `energy` charges: energy of a memory = bits · energy of a bit.
"""

from __future__ import annotations

import msgspec
import numpy as np

from dtss.compiler.schedule.buffers import memory_uses, parameter_bits
from dtss.compiler.schedule.cycles import Counter, Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.compiler.schedule.format import AnyNode, Image, Schedule
from dtss.hwsim.access import AccessBits
from dtss.hwsim.energy import stationary_rows, streams_the_image
from dtss.hwsim.simulate import Result


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """One memory: bits read and written for an image [B]."""

    read_bits: Counter
    written_bits: Counter

    @property
    def bits(self) -> Counter:
        return self.read_bits + self.written_bits


def node_traffic(schedule: Schedule, node: AnyNode, counts: Counts, dram: DramCounts) -> dict[str, Traffic]:
    """By the memory kinds of `energy.EnergyByKind`. A word's non-zero flag is a bit that is read with it."""
    bits = AccessBits.of(schedule.hardware)
    words = bits.word * counts.spike_word_reads + bits.flag * counts.words_offered
    written_words = bits.word * counts.spike_word_writes
    none = np.zeros_like(counts.cycles)
    from_image, is_image = streams_the_image(schedule, node), isinstance(node, Image)
    spike_rows, current_rows = stationary_rows(schedule, node, counts)
    parameters = bits.parameter_row * parameter_bits(schedule.hardware, node)
    moved = {
        "weight_memory": (bits.weight_row * counts.weight_row_reads, bits.weight_row * dram.weight_row_writes),
        "parameter_memory": (parameters * counts.parameter_row_reads, none),
        "spike_memory": (
            (none if from_image else words) + bits.spike_row * spike_rows,
            (none if is_image else written_words) + bits.spike_row * counts.spike_row_writes,
        ),
        "image_memory": (words if from_image else none, written_words if is_image else none),
        "accumulator_file": (
            bits.accumulator_row * counts.accumulator_reads,
            bits.accumulator_row * counts.accumulator_writes,
        ),
        "membrane_memory": (
            bits.membrane_row * counts.membrane_row_reads,
            bits.membrane_row * counts.membrane_row_writes,
        ),
        "current_memory": (
            bits.current_row * (counts.current_row_reads + current_rows),
            bits.current_row * counts.current_row_writes,
        ),
        "dram": (dram.dram_read_bits, dram.dram_write_bits),
    }
    return {memory: Traffic(read_bits=read, written_bits=written) for memory, (read, written) in moved.items()}


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One memory, means of an image; capacity and use are None where a memory has no rows of its own."""

    memory: str
    capacity_bits: int | None
    used_bits: int | None
    read_bits: float
    written_bits: float
    energy_pj: float


def memory_rows(result: Result) -> tuple[MemoryRow, ...]:
    """The memories that something moves through, the busiest first."""
    schedule = result.schedule
    uses = {f"{name}_memory": use for name, use in memory_uses(schedule.memory).items()}
    by_node = [node_traffic(schedule, node.node, node.counts, node.dram) for node in result.nodes]
    rows = []
    for memory in by_node[0]:
        use = uses.get(memory)
        rows.append(
            MemoryRow(
                memory=memory,
                capacity_bits=None if use is None else use.capacity_rows * use.row_bits,
                used_bits=None if use is None else use.used_rows * use.row_bits,
                read_bits=float(sum(each[memory].read_bits.mean() for each in by_node)),
                written_bits=float(sum(each[memory].written_bits.mean() for each in by_node)),
                energy_pj=float(result.kind_pj(memory).mean()),
            )
        )
    moving = [row for row in rows if row.read_bits + row.written_bits > 0]
    return tuple(sorted(moving, key=lambda row: -(row.read_bits + row.written_bits)))
