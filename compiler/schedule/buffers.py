"""What each value, membrane and weight block takes of the on-chip memories, and from when to when.

A memory is rows of one width; a node's place in the execution order is its time.

    weight     C weights; a block holds its tiles' rows, then a row of parameters for each output tile
    spike      R bits of one plane; the words of a value lie by (step, position, plane, slice of its channels),
               or (step, channel, plane, slice of its tokens) where attention streams it or holds it transposed
    current    C currents of a (step, position)
    membrane   C membranes of a position, once, of one block: only where time runs outermost
    image      one pixel, all planes

A walked LIF writes while its product reads, so its spikes live from the product on, beside the product's inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Convolution,
    Image,
    Integrator,
    Lif,
    Linear,
    MemoryName,
    MemoryPlan,
    MemoryUse,
    Product,
    Schedule,
)
from dtss.compiler.schedule.geometry import output_columns
from dtss.compiler.schedule.hardware import Hardware


class Buffer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must be kept: `rows` of `memory` from node number `first` to node number `last`."""

    memory: MemoryName
    node: str
    block: int
    rows: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are kept at some time."""
        return self.first <= other.last and other.first <= self.last


def memory_uses(plan: MemoryPlan) -> dict[MemoryName, MemoryUse]:
    """The memories of a plan by name."""
    return {
        "weight": plan.weight,
        "spike": plan.spike,
        "current": plan.current,
        "membrane": plan.membrane,
        "image": plan.image,
    }


def row_bits(schedule: Schedule, memory: MemoryName) -> int:
    """Width of a row."""
    array, widths, image = schedule.hardware.array, schedule.hardware.widths, schedule.nodes[0]
    return {
        "weight": array.columns * widths.weight,
        "spike": array.rows,
        "current": array.columns * widths.membrane,
        "membrane": array.columns * widths.membrane,
        "image": image.channels * image.value.planes,
    }[memory]


def capacity_rows(schedule: Schedule, memory: MemoryName) -> int:
    """Whole rows that the machine's memory holds."""
    capacity: int = getattr(schedule.hardware.memory, f"{memory}_bytes")
    return 8 * capacity // row_bits(schedule, memory)


def needed_rows(kept: Sequence[Buffer]) -> int:
    """The largest sum over time: no placement takes less."""
    times = {buffer.first for buffer in kept}
    return max((sum(each.rows for each in kept if each.first <= time <= each.last) for time in times), default=0)


def weights_fit(schedule: Schedule, blocks: Sequence[Buffer]) -> bool:
    """Whether all weight blocks stay in weight memory."""
    return sum(block.rows for block in blocks) <= capacity_rows(schedule, "weight")


def needed_weight_rows(blocks: Sequence[Buffer], resident: bool) -> int:
    """Everything, or the largest block with the next one, which is fetched meanwhile."""
    rows = [block.rows for block in blocks]
    return sum(rows) if resident else max(sum(rows[index : index + 2]) for index in range(len(rows)))


def weight_bits(schedule: Schedule, tensors: Mapping[str, NDArray[Any]]) -> int:
    """All weights at the hardware's width, without parameters and padding."""
    products = (node for node in schedule.nodes if isinstance(node, Convolution | Linear))
    return sum(int(tensors[node.weight].size) for node in products) * schedule.hardware.widths.weight


def buffers(schedule: Schedule) -> tuple[Buffer, ...]:
    """Everything that the network keeps on chip but weights, in execution order."""
    return tuple(
        buffer
        for index, node in enumerate(schedule.nodes)
        for buffer in (_value_buffer(schedule, index, node), _membrane_buffer(schedule, index, node))
        if buffer is not None and buffer.rows > 0
    )


def weight_buffers(schedule: Schedule, tensors: Mapping[str, NDArray[Any]]) -> tuple[Buffer, ...]:
    """Every weight block, from its product to its product, in execution order."""
    return tuple(
        Buffer(memory="weight", node=node.name, block=block, rows=rows, first=index, last=index)
        for index, node in enumerate(schedule.nodes)
        if isinstance(node, Convolution | Linear)
        for block, rows in enumerate(block_rows(schedule, tensors, node))
    )


def block_rows(schedule: Schedule, tensors: Mapping[str, NDArray[Any]], node: Convolution | Linear) -> tuple[int, ...]:
    """Weight rows of each block of a product."""
    assert node.tiling is not None
    tiles = len(output_columns(node, schedule.hardware.array))
    tile = output_tile_rows(schedule, tensors, node)
    per_block = node.tiling.output_tiles_per_block
    return tuple(tile * min(per_block, tiles - start) for start in range(0, tiles, per_block))


def output_tile_rows(schedule: Schedule, tensors: Mapping[str, NDArray[Any]], node: Convolution | Linear) -> int:
    """Weight rows of one output tile: one for each element of the sum, and its parameters."""
    reduction = math.prod(tensors[node.weight].shape[1:])
    return reduction + math.ceil(parameter_bits(schedule.hardware, node) / schedule.hardware.widths.weight)


def parameter_bits(hardware: Hardware, node: AnyNode) -> int:
    """Bits of a channel's parameters: a bias, and its neuron's threshold and reset."""
    match node:
        case Convolution() | Linear() | AttentionProduct():
            bias = not isinstance(node, AttentionProduct) and node.bias is not None
            return bias * hardware.widths.accumulator + (node.neuron is not None) * 2 * hardware.widths.membrane
        case Lif():
            return 2 * hardware.widths.membrane
        case _:
            return 0


def value_memory(node: AnyNode) -> MemoryName | None:
    """Where a node's value is kept; None for sums that go from the accumulators straight into a LIF."""
    if isinstance(node, Product) and node.neuron is not None:
        return None
    if isinstance(node, Image):
        return "image"
    return "current" if node.value.is_current or isinstance(node, Product | Integrator) else "spike"


def _value_buffer(schedule: Schedule, index: int, node: AnyNode) -> Buffer | None:
    memory = value_memory(node)
    if memory is None:
        return None
    readers = [later for later, reader in enumerate(schedule.nodes) if node.name in reader.inputs]
    first = index
    if isinstance(node, Lif):
        first = next(
            (i for i, p in enumerate(schedule.nodes) if isinstance(p, Product) and p.neuron == node.name), index
        )
    last = len(schedule.nodes) - 1 if node.name == schedule.output.node else max(readers, default=index)
    rows = _value_rows(schedule, node, memory)
    return Buffer(memory=memory, node=node.name, block=0, rows=rows, first=first, last=last)


def _value_rows(schedule: Schedule, node: AnyNode, memory: MemoryName) -> int:
    array, steps = schedule.hardware.array, len(node.steps.active)
    match memory:
        case "image":
            return node.positions
        case "current":
            tiles = math.ceil(node.channels / array.columns)
            return (steps + len(node.steps.bias_only)) * node.positions * tiles
        case _:
            layouts = {_transposed(reader, node.name) for reader in schedule.nodes if node.name in reader.inputs}
            by_position = node.positions * math.ceil(node.channels / array.rows)
            by_channel = node.channels * math.ceil(node.positions / array.rows)
            return steps * node.value.planes * sum(by_channel if each else by_position for each in layouts or {False})


def _transposed(reader: AnyNode, name: str) -> bool:
    """Whether a reader sums over tokens, or puts tokens side by side: K of Kᵀ·V and of Q·Kᵀ."""
    if not isinstance(reader, AttentionProduct):
        return False
    streamed, stationary = reader.inputs
    return (reader.stage == "key_value" and name == streamed) or (reader.stage == "query_key" and name == stationary)


def _membrane_buffer(schedule: Schedule, index: int, node: AnyNode) -> Buffer | None:
    """Of the block that runs: blocks follow one another, each through all its steps."""
    if not isinstance(node, Product) or node.neuron is None or node.tiling is None:
        return None
    neuron = schedule.node(node.neuron)
    assert isinstance(neuron, Lif)
    if neuron.time_order == "inner" or not neuron.membrane_writes:
        return None
    heads = node.heads if isinstance(node, AttentionProduct) else 1
    rows = node.positions * heads * min(node.tiling.output_tiles_per_block, node.tiling.output_tiles)
    return Buffer(memory="membrane", node=neuron.name, block=0, rows=rows, first=index, last=index)
