"""On-chip buffers by liveness: every value, membrane and weight block gets its rows, or the network is refused.

Two buffers share rows only if no node needs both. The largest are placed first, each in the lowest gap that holds
it (greedy by size, Pisarchyk & Lee 2020, arXiv:2001.03288); the order of execution is tried too, and the plan that
reaches less high is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dtss.compiler.errors import CompileError
from dtss.compiler.schedule.buffers import (
    BLOCK_MEMORIES,
    Buffer,
    block_buffers,
    buffers,
    capacity_rows,
    memory_uses,
    needed_block_rows,
    needed_rows,
    row_bits,
    stationary_rows,
    strip_rows,
    weight_bits,
    weights_fit,
)
from dtss.compiler.schedule.format import MemoryName, MemoryPlan, MemoryUse, Region, Schedule
from dtss.compiler.schedule.interpret import Tensors

VALUE_MEMORIES: tuple[MemoryName, ...] = ("spike", "current", "membrane", "image")


def plan_memory(schedule: Schedule, tensors: Tensors) -> MemoryPlan:
    """The regions of all memories; a `CompileError` names the entries of the hardware file that would be enough."""
    blocks = block_buffers(schedule)
    resident = weights_fit(schedule, blocks)
    regions: list[Region] = []
    use: dict[str, MemoryUse] = {}
    for name in BLOCK_MEMORIES:
        here = [buffer for buffer in blocks if buffer.memory == name]
        capacity = capacity_rows(schedule, name)
        regions += _in_a_ring(here, capacity)
        used = min(sum(buffer.rows for buffer in here), capacity)
        use[name] = _use(schedule, name, needed_block_rows(here, resident), used)
    for buffer, rows in (("strip", strip_rows), ("stationary", stationary_rows)):
        most = max((rows(schedule, product) for product in schedule.products), default=0)
        use[buffer] = _use(schedule, buffer, most, most)
    kept = buffers(schedule)
    for name in VALUE_MEMORIES:
        here = [buffer for buffer in kept if buffer.memory == name]
        placed = place(here)
        regions += placed
        highest = max((region.first_row + region.rows for region in placed), default=0)
        use[name] = _use(schedule, name, needed_rows(here), highest)
    _refuse_overflow(schedule, use)
    return MemoryPlan(
        weight_bits=weight_bits(schedule, tensors),
        weights_resident=resident,
        regions=tuple(regions),
        **use,
    )


def place(kept: Sequence[Buffer]) -> list[Region]:
    """The lower of two greedy placements, in execution order."""
    orders = (sorted(kept, key=lambda buffer: -buffer.rows), list(kept))
    placements = [_greedy(order) for order in orders]
    best = min(placements, key=lambda starts: max((starts[each] + each.rows for each in kept), default=0))
    return [_region(buffer, best[buffer]) for buffer in kept]


def _greedy(order: Iterable[Buffer]) -> dict[Buffer, int]:
    """First row of each buffer: the lowest gap among those that live with it."""
    starts: dict[Buffer, int] = {}
    for buffer in order:
        first = 0
        for other in sorted((other for other in starts if other.overlaps(buffer)), key=starts.__getitem__):
            if starts[other] - first >= buffer.rows:
                break
            first = max(first, starts[other] + other.rows)
        starts[buffer] = first
    return starts


def _in_a_ring(blocks: Sequence[Buffer], capacity: int) -> list[Region]:
    """One after the other, around the memory: what is fetched next overwrites what was needed longest ago."""
    regions, row = [], 0
    for buffer in blocks:
        regions.append(_region(buffer, row % max(1, capacity)))
        row += buffer.rows
    return regions


def _region(buffer: Buffer, first_row: int) -> Region:
    return Region(memory=buffer.memory, node=buffer.node, block=buffer.block, first_row=first_row, rows=buffer.rows)


def _use(schedule: Schedule, name: str, needed: int, used: int) -> MemoryUse:
    bits, capacity = row_bits(schedule, name), capacity_rows(schedule, name)
    return MemoryUse(row_bits=bits, needed_rows=needed, used_rows=used, capacity_rows=capacity)


def _refuse_overflow(schedule: Schedule, use: Mapping[str, MemoryUse]) -> None:
    """Rows that do not fit, as the bytes a hardware file would have to give."""
    short = {
        f"memory.{name}_bytes": -(-found.used_rows * found.row_bits // 8)
        for name, found in use.items()
        if found.used_rows > found.capacity_rows
    }
    if short:
        first, size = next(iter(short.items()))
        available = getattr(schedule.hardware.memory, first.removeprefix("memory."))
        raise CompileError(
            first,
            f"the network needs {size} bytes at once, and {schedule.hardware.name} has {available}",
            f"use a hardware file with {' and '.join(f'{field} = {size}' for field, size in short.items())} or more",
        )


def memory_json(plan: MemoryPlan) -> dict[str, dict[str, int]]:
    """Rows of each memory: needed at once, used, there."""
    return {name: msgspec.to_builtins(use) for name, use in memory_uses(plan).items()}


def memory_text(plan: MemoryPlan) -> list[str]:
    """A line for each memory."""
    return [f"{f'{name} memory':17} {_use_text(use)}" for name, use in memory_uses(plan).items()]


def _use_text(use: MemoryUse) -> str:
    needed, used, capacity = (
        f"{rows * use.row_bits / 8192:.1f}" for rows in (use.needed_rows, use.used_rows, use.capacity_rows)
    )
    return f"{needed} KiB needed at once, {used} of {capacity} KiB used"
