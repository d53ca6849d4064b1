"""How many images run at once: a bound on the simulator's own memory."""

from __future__ import annotations

from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Lif, Linear, Product, Schedule
from dtss.compiler.schedule.geometry import geometry

CHUNK_BYTES = 256 << 20

VALUE_BYTES = 4  # of an integer value; spikes take one, sums and membranes four (eight where they must)
FLOAT_BYTES = 8  # of an operand and a sum of a matrix product, at most
WORD_BYTES = 6 * 8  # of a word's count of ones, with the copies that the cycle rules make


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
    width = 1 if not node.value.is_current and node.value.planes <= 8 else VALUE_BYTES
    return node.positions * node.channels * max(1, len(node.steps.active)) * width


def _work_bytes(schedule: Schedule, node: AnyNode) -> int:
    match node:
        case Convolution() | Linear() | AttentionProduct():
            return _product_bytes(schedule, node)
        case Lif():
            return node.positions * node.channels * VALUE_BYTES * (len(node.state_steps) + 3)
        case _:
            return 3 * node.positions * node.channels * FLOAT_BYTES


def _product_bytes(schedule: Schedule, node: Product) -> int:
    cut = geometry(schedule, node)
    words = cut.groups * cut.positions * len(cut.slot_steps) * cut.planes * len(cut.rows)
    operand = cut.groups * cut.positions * sum(cut.rows)
    sums = node.positions * node.channels
    per_step = VALUE_BYTES * max(1, len(node.steps.active))
    return operand * FLOAT_BYTES + sums * (2 * FLOAT_BYTES + 2 * per_step) + words * WORD_BYTES
