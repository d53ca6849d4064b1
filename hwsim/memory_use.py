"""How many images run at once: a bound on the simulator's own memory."""

from __future__ import annotations

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
    """An upper estimate of what one image of the batch needs: the live values and the widest node's work."""
    alive: dict[str, int] = {}
    peak = 1
    for index, node in enumerate(schedule.nodes):
        alive[node.name] = _value_bytes(node)
        peak = max(peak, sum(alive.values()) + _work_bytes(schedule, node))
        needed = {name for later in schedule.nodes[index + 1 :] for name in later.inputs}
        alive = {name: size for name, size in alive.items() if name in needed}
    return peak


def _value_bytes(node: AnyNode) -> int:
    """All steps side by side; a product's are the sums that its LIF reads."""
    integer = integer_for(largest(node.value)) if isinstance(node, Product) else integer_for_value(node.value)
    steps = len((*node.steps.active, *node.steps.bias_only))
    return node.positions * node.channels * max(1, steps) * np.dtype(integer).itemsize


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
