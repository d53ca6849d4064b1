"""Why each step is or is not run, in words: `dtss-compile --explain`."""

from __future__ import annotations

from collections.abc import Iterator

from dtss.compiler.graph.print import step_marks
from dtss.compiler.passes.attention_orders import paths
from dtss.compiler.passes.tiling_cost import EXPECTED_ONES, candidates
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Lif, Product, Schedule

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
    return "\n".join([*head, *(line for node in schedule.nodes for line in _explain_node(schedule, node))]) + "\n"


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
        yield _choice(
            f"time {candidate.tiling.time_order}, strips of {candidate.tiling.positions_per_strip}",
            chosen=candidate.tiling == tiling,
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


def _steps(steps: list[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else "steps " + ", ".join(map(str, steps))
