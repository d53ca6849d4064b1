"""How many images run at once: a bound on the simulator's own memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Lif, Linear, Product, Schedule
from dtss.compiler.schedule.geometry import geometry
from dtss.hwsim.values import integer_for, integer_for_value, largest

CHUNK_BYTES = 64 << 20  # larger values leave the processor's caches

EVENT_BYTES = 8  # a channel and an amount
SUM_BYTES = 8  # at most
COUNT_BYTES = 4  # of a word's count of ones


def images_per_chunk(schedule: Schedule) -> int:
    """As many images as fit `CHUNK_BYTES`, at least one."""
    return max(1, CHUNK_BYTES // bytes_per_image(schedule))


def bytes_per_image(schedule: Schedule) -> int:
    """An upper estimate of what one image needs: the values that a `Workspace` keeps, and the work of a node."""
    last_reader = {name: node.name for node in schedule.nodes for name in (node.name, *node.inputs)}
    free: Counter[Memory] = Counter()
    kept, peak = 0, 1
    for node in schedule.nodes:
        memory = _value_memory(node)
        if free[memory]:
            free[memory] -= 1
        else:
            kept += memory.bytes
        peak = max(peak, kept + _work_bytes(schedule, node))
        free.update(_value_memory(schedule.node(name)) for name, reader in last_reader.items() if reader == node.name)
    return peak


class Memory(NamedTuple):
    """Of a node's values, all steps side by side; a product's are the sums that its LIF reads."""

    shape: tuple[int, ...]
    steps: int
    kind: type[np.integer[Any]]

    @property
    def bytes(self) -> int:
        return self.steps * math.prod(self.shape) * np.dtype(self.kind).itemsize


def _value_memory(node: AnyNode) -> Memory:
    kind = integer_for(largest(node.value)) if isinstance(node, Product) else integer_for_value(node.value)
    return Memory(node.shape, max(1, len((*node.steps.active, *node.steps.bias_only))), kind)


def _work_bytes(schedule: Schedule, node: AnyNode) -> int:
    values = node.positions * node.channels
    match node:
        case Convolution() | Linear() | AttentionProduct():
            return _product_bytes(schedule, node)
        case Lif():
            return values * 4 * len(node.state_steps)  # a copy of currents that do not lie side by side
        case _:
            return 3 * values * SUM_BYTES * max(1, len(node.steps.active))


def _product_bytes(schedule: Schedule, node: Product) -> int:
    """Events, sums, a stored current, and the ones of slices, or of words where a row's slices are not those."""
    cut = geometry(schedule, node)
    steps = max(1, len(cut.slot_steps))
    streamed = sum(schedule.node(name).positions * schedule.node(name).channels for name in node.inputs)
    sums = node.positions * node.channels
    source, lanes = schedule.node(node.inputs[0]), schedule.hardware.array.rows
    slices = (source.positions + 1) * -(-source.channels // lanes)
    own_words = isinstance(node, AttentionProduct) or (node.tiling is not None and node.tiling.offsets_per_word > 1)
    words = cut.groups * cut.positions * len(cut.rows) if own_words else 0
    return (
        streamed * steps * (EVENT_BYTES + 2)
        + sums * SUM_BYTES
        + 2 * sums * steps * SUM_BYTES * (node.neuron is None)
        + (slices + words) * steps * cut.planes * COUNT_BYTES
    )
