"""Bits that cross the port of each memory, read and written, from the exact counts.

The widths are those that `energy` charges: energy of a memory = bits · energy of a bit.
"""

from __future__ import annotations

import msgspec

from dtss.compiler.schedule.accesses import READS, AccessBits
from dtss.compiler.schedule.buffers import memory_uses
from dtss.compiler.schedule.cycles import COUNTS, Counter, Counts
from dtss.compiler.schedule.dram import DramCounts
from dtss.compiler.schedule.format import Schedule
from dtss.hwsim.energy import moved_bits
from dtss.hwsim.result import Result


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """One memory: bits read and written for an image [B]."""

    read_bits: Counter
    written_bits: Counter

    @property
    def bits(self) -> Counter:
        return self.read_bits + self.written_bits


def node_traffic(schedule: Schedule, counts: Counts, dram: DramCounts) -> dict[str, Traffic]:
    """By the memory kinds of `energy.EnergyByKind`."""
    bits = AccessBits.of(schedule)

    def event(name: str) -> Counter:
        found: Counter = getattr(counts if name in COUNTS else dram, name)
        return found

    moved = {memory: moved_bits(memory, event, bits) for memory in READS}
    moved["dram"] = dram.dram_read_bits, dram.dram_write_bits
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
    by_node = [node_traffic(schedule, node.counts, node.dram) for node in result.nodes]
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
