"""Where values, weights and parameters lie on chip: rows of the memories, from the schedule's memory plan."""

from __future__ import annotations

from collections.abc import Sequence

from dtss.compiler.schedule.format import AnyNode, MemoryName, Schedule


class Places:
    """The regions of one schedule."""

    def __init__(self, schedule: Schedule) -> None:
        array = schedule.hardware.array
        self._lanes: dict[MemoryName, int] = {"current": array.columns, "spike": array.rows}
        self._steps = range(schedule.time_steps)
        self._first_rows = {
            (region.memory, region.node, region.block): region.first_row for region in schedule.memory.regions
        }

    def first_row(self, memory: MemoryName, name: str, block: int = 0) -> int:
        """0 for what takes no rows."""
        return self._first_rows.get((memory, name, block), 0)

    def step_bases(self, node: AnyNode, memory: MemoryName) -> list[int]:
        """First row of the value at each step; 0 where it is not stored."""
        stored = stored_steps(node)
        first, size = self.first_row(memory, node.name), self._rows_of_step(node, memory)
        bases = []
        for step in self._steps:
            source = node.steps.active[0] if step in node.steps.reused else step
            bases.append(first + stored.index(source) * size if source in stored else 0)
        return bases

    def _rows_of_step(self, node: AnyNode, memory: MemoryName) -> int:
        if memory == "image":
            return node.positions
        planes = node.value.planes if memory == "spike" else 1
        return node.positions * planes * -(-node.channels // self._lanes[memory])


def stored_steps(node: AnyNode) -> tuple[int, ...]:
    """Steps at which a value is computed, and so has rows of its own."""
    return tuple(sorted((*node.steps.active, *node.steps.bias_only)))


def step_vector(steps: Sequence[int]) -> int:
    """Bit t for each step t."""
    return sum(1 << step for step in steps)
