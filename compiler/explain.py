"""Why each step is or is not run, in words: `dtss-compile --explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dtss.compiler.graph.print import step_marks
from dtss.compiler.passes.attention_orders import paths
from dtss.compiler.passes.tiling_cost import EXPECTED_ONES, candidates
from dtss.compiler.schedule.buffers import BLOCK_MEMORIES, Buffer, buffers, memory_uses
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Lif,
    MemoryName,
    MemoryUse,
    Product,
    Region,
    Schedule,
)

LEGEND = (
    "# computed   b bias only, no weight read   r reused, computed once   0 known to be zero   x dead, nobody needs it",
    f"expected: where {EXPECTED_ONES:.0%} of the bits are ones; energy in bits of an 8 KiB memory",
)


def explain(schedule: Schedule) -> str:
    """One block per node: its steps, each skipped item with the fact that allows it, and how it is tiled."""
    average = schedule.average_time_steps
    head = [
        f"{schedule.network} on {schedule.hardware.name}, {schedule.time_steps} time steps",
        f"T_avg of the masks {average.masks:.2f}, after pruning {average.pruned:.2f}",
        *LEGEND,
        "",
    ]
    nodes = (line for node in schedule.nodes for line in _explain_node(schedule, node))
    return "\n".join([*head, *nodes, "", *_explain_memory(schedule)]) + "\n"


def _explain_node(schedule: Schedule, node: AnyNode) -> Iterator[str]:
    yield f"{step_marks(node.steps, schedule.time_steps)}  {node.name}"
    for reason in dict.fromkeys(node.steps.why):
        if reason:
            steps = [step for step, why in enumerate(node.steps.why) if why == reason]
            yield f"      {_steps(steps)}: {reason}"
    if isinstance(node, Lif):
        yield from _explain_state(schedule, node)
    if isinstance(node, Product):
        yield from _explain_tiling(schedule, node)


def _explain_state(schedule: Schedule, node: Lif) -> Iterator[str]:
    unlive = [step for step in range(schedule.time_steps) if step not in node.state_steps]
    if unlive:
        yield f"      {_steps(unlive)}: state not updated: no live output at or after it"
    if not node.state_steps:
        return
    if node.time_order == "inner":
        yield "      membrane: never in memory, time runs innermost and the state stays in a register"
        return
    unread = [step for step in node.state_steps if step not in node.membrane_reads]
    unwritten = [step for step in node.state_steps if step not in node.membrane_writes]
    if unread:
        yield f"      {_steps(unread)}: membrane not read: no live state precedes it"
    if unwritten:
        yield f"      {_steps(unwritten)}: membrane not written: no live state follows it"


def _explain_tiling(schedule: Schedule, node: Product) -> Iterator[str]:
    tiling = node.tiling
    assert tiling is not None
    yield (
        f"      time {tiling.time_order}, {tiling.strips} strips of {tiling.positions_per_strip} positions, "
        f"{tiling.output_tiles} output × {tiling.reduction_tiles} reduction tiles, "
        f"values {node.value.low} … {node.value.high}"
    )
    if isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
        yield from _explain_order(schedule, node)
    for candidate in candidates(schedule, node):
        order, length = candidate.tiling.time_order, candidate.tiling.positions_per_strip
        yield _choice(
            f"time {order}, strips of {length}",
            chosen=(order, length) == (tiling.time_order, tiling.positions_per_strip),
            cycles=candidate.cycles,
            energy=candidate.energy,
        )


def _explain_order(schedule: Schedule, outer: AttentionProduct) -> Iterator[str]:
    """Both products of attention, in the order taken and in the other, the integers being the same."""
    for path in paths(schedule, outer):
        chosen = path.outer.stage == outer.stage
        yield _choice(f"{path.name}, both products", chosen=chosen, cycles=path.cycles, energy=path.energy)


def _choice(what: str, *, chosen: bool, cycles: int, energy: float) -> str:
    return f"      {'chosen' if chosen else 'against'}: {what}: expected {cycles:,} cycles, energy {energy:,.0f}"


def _explain_memory(schedule: Schedule) -> Iterator[str]:
    """Each memory, and who has which of its rows from when to when."""
    needed = {(buffer.memory, buffer.node): buffer for buffer in buffers(schedule)}
    for name, use in memory_uses(schedule.memory).items():
        yield (
            f"{name} memory: rows of {use.row_bits} bits, {use.needed_rows} needed at once, {use.used_rows} used, "
            f"{use.capacity_rows} there"
        )
        for region in (region for region in schedule.memory.regions if region.memory == name):
            yield f"      {_rows(region, use)}  {region.node}{_kept(schedule, region, needed)}"


def _rows(region: Region, use: MemoryUse) -> str:
    last = (region.first_row + region.rows - 1) % use.capacity_rows
    return f"{region.first_row:>7} … {last:<7}"


def _kept(schedule: Schedule, region: Region, needed: Mapping[tuple[MemoryName, str], Buffer]) -> str:
    """A value's or a membrane's time on chip, or the number of a block of weights or parameters."""
    if region.memory in BLOCK_MEMORIES:
        blocks = sum(other.memory == region.memory and other.node == region.node for other in schedule.memory.regions)
        return f", block {region.block + 1} of {blocks}" if blocks > 1 else ""
    buffer = needed[region.memory, region.node]
    first, last = schedule.nodes[buffer.first].name, schedule.nodes[buffer.last].name
    return f", during {first}" if first == last else f", {first} to {last}"


def _steps(steps: list[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else "steps " + ", ".join(map(str, steps))
