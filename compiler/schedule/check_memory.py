"""The invariants of a schedule's memory plan: every buffer has its rows, and no two that live together share one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

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
from dtss.compiler.schedule.format import MemoryUse, Region, Schedule

OF_ONE_PRODUCT = {"strip": strip_rows, "stationary": stationary_rows}  # their rows are those of the product that runs

Violations = Iterator[tuple[str, str, str]]


def check_memory(schedule: Schedule, tensors: Mapping[str, NDArray[Any]]) -> Violations:
    """(where, found, hint) of each violation."""
    plan, blocks = schedule.memory, block_buffers(schedule)
    needed = (*blocks, *buffers(schedule))
    yield from _regions(plan.regions, needed)
    found = {_key(region): region for region in plan.regions}
    placed = [(buffer, region) for buffer in needed if (region := found.get(_key(buffer))) is not None]
    resident = weights_fit(schedule, blocks)
    if plan.weights_resident != resident:
        yield "memory.weights_resident", f"found {plan.weights_resident}", f"the weights make it {resident}"
    if plan.weight_bits != weight_bits(schedule, tensors):
        yield "memory.weight_bits", f"found {plan.weight_bits}", f"the weights have {weight_bits(schedule, tensors)}"
    for name, use in memory_uses(plan).items():
        here = [(buffer, region) for buffer, region in placed if buffer.memory == name]
        kept = [buffer for buffer, _ in here]
        in_blocks = name in BLOCK_MEMORIES
        rows = needed_block_rows(kept, resident) if in_blocks else needed_rows(kept)
        highest = max((region.first_row + region.rows for _, region in here), default=0)
        if name in OF_ONE_PRODUCT:
            rows = highest = max((OF_ONE_PRODUCT[name](schedule, node) for node in schedule.products), default=0)
            if highest > capacity_rows(schedule, name):
                yield f"memory.{name}", f"{highest} rows", f"it has {capacity_rows(schedule, name)}"
        yield from _use(f"memory.{name}", use, MemoryUse(
            row_bits=row_bits(schedule, name), needed_rows=rows,
            used_rows=min(highest, capacity_rows(schedule, name)), capacity_rows=capacity_rows(schedule, name),
        ))  # fmt: skip
        yield from _ring(here, use) if in_blocks and not resident else _apart(here, use)


def _key(buffer: Buffer | Region) -> tuple[str, str, int]:
    return buffer.memory, buffer.node, buffer.block


def _regions(regions: Sequence[Region], needed: Sequence[Buffer]) -> Violations:
    """One region for each buffer, of its size, and no other."""
    rows = {_key(buffer): buffer.rows for buffer in needed}
    seen: set[tuple[str, str, int]] = set()
    for index, region in enumerate(regions):
        key, where = _key(region), f"memory.regions[{index}]"
        if key not in rows or key in seen:
            found = f"{region.memory} of {region.node}, block {region.block}, " + (
                "again" if key in seen else "unknown"
            )
            yield where, found, "nothing needs it; recompile"
        elif region.rows != rows[key]:
            yield f"{where}.rows", f"found {region.rows}", f"{region.node} needs {rows[key]}"
        seen.add(key)
    for memory, node, block in (key for key in rows if key not in seen):
        yield "memory.regions", f"no {memory} rows for {node}, block {block}", "recompile"


def _use(where: str, found: MemoryUse, expected: MemoryUse) -> Violations:
    for field in MemoryUse.__struct_fields__:
        if getattr(found, field) != getattr(expected, field):
            yield f"{where}.{field}", f"found {getattr(found, field)}", f"it is {getattr(expected, field)}; recompile"


def _apart(placed: Sequence[tuple[Buffer, Region]], use: MemoryUse) -> Violations:
    """Inside the memory, and beside everything that lives at the same time."""
    for buffer, region in placed:
        if region.first_row < 0 or region.first_row + region.rows > use.capacity_rows:
            found = f"rows {region.first_row} … {region.first_row + region.rows - 1} of {buffer.node}"
            yield f"memory.{buffer.memory}", found, f"it has rows 0 … {use.capacity_rows - 1}"
    for (buffer, region), (other, beside) in itertools.combinations(placed, 2):
        shared = region.first_row < beside.first_row + beside.rows and beside.first_row < region.first_row + region.rows
        together = buffer.memory in BLOCK_MEMORIES or buffer.overlaps(other)
        if shared and together:
            yield f"memory.{buffer.memory}", f"{buffer.node} and {other.node} share rows", "both are needed at once"


def _ring(placed: Sequence[tuple[Buffer, Region]], use: MemoryUse) -> Violations:
    """Blocks follow one another around the memory, and none is longer than it."""
    row = 0
    for buffer, region in placed:
        where = f"memory.{buffer.memory}: {buffer.node}, block {buffer.block}"
        if region.rows > use.capacity_rows:
            yield where, f"{region.rows} rows", f"the memory has {use.capacity_rows}"
        if region.first_row != row % use.capacity_rows:
            yield f"{where}.first_row", f"found {region.first_row}", f"{row % use.capacity_rows} follows the one before"
        row += region.rows
