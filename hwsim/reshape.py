"""The same layers on the same machine with another number of steps or widths: schedules that nobody compiled.

`dense_counts` gives every word of a product to the rules of `dtss.compiler.schedule.cycles` as not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.cycles import ProductCounts, product_counts
from dtss.compiler.schedule.format import AnyNode, Lif, Product, Schedule, Steps, Tiling, TimeOrder
from dtss.compiler.schedule.geometry import geometry, group_positions


def with_steps(schedule: Schedule, time_steps: int, steps_of: Callable[[AnyNode], Steps]) -> Schedule:
    """Every node at the steps that it is given, every membrane updated, read and written at all of `time_steps`."""
    every = tuple(range(time_steps))

    def at_steps(node: AnyNode) -> AnyNode:
        again: AnyNode = msgspec.structs.replace(node, steps=steps_of(node))
        if not isinstance(again, Lif):
            return again
        return msgspec.structs.replace(
            again, mask_steps=again.steps.active, state_steps=every, membrane_reads=every, membrane_writes=every
        )

    return msgspec.structs.replace(schedule, time_steps=time_steps, nodes=tuple(map(at_steps, schedule.nodes)))


def with_node(schedule: Schedule, node: AnyNode) -> Schedule:
    """`node` in the place of the one of its name."""
    nodes = tuple(node if old.name == node.name else old for old in schedule.nodes)
    return msgspec.structs.replace(schedule, nodes=nodes)


def dense_counts(schedule: Schedule, node: Product) -> ProductCounts:
    """The counts of a product none of whose bits is zero, as of one image."""
    cut = geometry(schedule, node)
    shape = (1, cut.groups, cut.positions, len(cut.slot_steps), cut.planes, len(cut.rows))
    return product_counts(schedule, node, np.broadcast_to(np.array(cut.rows, np.int64), shape))


def multiplications(schedule: Schedule, node: Product) -> int:
    """Products of one value and one weight that the layer sums up, once: MAC."""
    cut = geometry(schedule, node)
    return cut.groups * cut.positions * sum(cut.rows) * sum(cut.columns)


def cut_again(schedule: Schedule, node: Product, time_order: TimeOrder, slots: int) -> Product:
    """`node` with the strips, as long as the slots allow or of equal length, that take the fewest cycles."""
    candidates = [_with_tiling(node, tiling) for tiling in _tilings(schedule, node, time_order, slots)]
    return min(candidates, key=lambda one: int(dense_counts(with_node(schedule, one), one).counts.cycles[0]))


def _with_tiling(node: Product, tiling: Tiling) -> Product:
    again: Product = msgspec.structs.replace(node, tiling=tiling)
    return again


def _tilings(schedule: Schedule, node: Product, time_order: TimeOrder, slots: int) -> Iterator[Tiling]:
    assert node.tiling is not None
    positions = group_positions(node)
    longest = min(max(1, schedule.hardware.array.strip_slots // slots), positions)
    strips = math.ceil(positions / longest)
    for per_strip in sorted({longest, math.ceil(positions / strips)}):
        yield msgspec.structs.replace(
            node.tiling, time_order=time_order, positions_per_strip=per_strip, strips=math.ceil(positions / per_strip)
        )


def whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """To the nearest count."""
    rounded: NDArray[np.int64] = np.rint(values).astype(np.int64)
    return rounded
