"""What each value, membrane and weight block takes of the on-chip memories, and from when to when.

A memory is rows of one width; a node's place in the execution order is its time.

    weight      C weights; a weight tile has whole beats of the rows that load together
    parameter   bias, threshold, reset and initial state of C channels: a row for each output tile
    spike       R bits of one plane; the words of a value lie by (step, position, plane, slice of its channels)
    current     C currents of a (step, position)
    membrane    C membranes of a position, once, of one block: only where time runs outermost
    image       one pixel, all planes
    strip       R bits: the words of one strip, which its passes stream; of the product that runs
    stationary  C weights: what stays in the array of one head of an attention product, of all its steps

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
from dtss.compiler.schedule.geometry import geometry, group_count, output_columns, reduction_rows, walk_steps

PARAMETERS = 4  # of a channel: bias, threshold, reset, initial state
BLOCK_MEMORIES: tuple[MemoryName, ...] = ("weight", "parameter")  # what crosses from DRAM in blocks


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


def memory_uses(plan: MemoryPlan) -> dict[str, MemoryUse]:
    """The memories of a plan by name."""
    return {
        "weight": plan.weight,
        "parameter": plan.parameter,
        "strip": plan.strip,
        "stationary": plan.stationary,
        "spike": plan.spike,
        "current": plan.current,
        "membrane": plan.membrane,
        "image": plan.image,
    }


def row_bits(schedule: Schedule, memory: str) -> int:
    """Width of a row."""
    array, widths, image = schedule.hardware.array, schedule.hardware.widths, schedule.nodes[0]
    return {
        "weight": array.columns * widths.weight,
        "parameter": array.columns * PARAMETERS * max(widths.accumulator, widths.membrane),
        "strip": array.rows,
        "stationary": array.columns * widths.weight,
        "spike": array.rows,
        "current": array.columns * widths.membrane,
        "membrane": array.columns * widths.membrane,
        "image": image.channels * image.value.planes,
    }[memory]


def capacity_rows(schedule: Schedule, memory: str) -> int:
    """Whole rows that the machine's memory holds; of weights, whole beats."""
    capacity: int = getattr(schedule.hardware.memory, f"{memory}_bytes")
    rows = 8 * capacity // row_bits(schedule, memory)
    beat = schedule.hardware.array.weight_rows_per_cycle if memory in ("weight", "stationary") else 1
    return rows // beat * beat


def needed_rows(kept: Sequence[Buffer]) -> int:
    """The largest sum over time: no placement takes less."""
    times = {buffer.first for buffer in kept}
    return max((sum(each.rows for each in kept if each.first <= time <= each.last) for time in times), default=0)


def weights_fit(schedule: Schedule, blocks: Sequence[Buffer]) -> bool:
    """Whether all blocks, of weights and of parameters, stay on chip."""
    return all(
        sum(block.rows for block in blocks if block.memory == memory) <= capacity_rows(schedule, memory)
        for memory in BLOCK_MEMORIES
    )


def needed_block_rows(blocks: Sequence[Buffer], resident: bool) -> int:
    """Everything, or the largest block with the next one, which is fetched meanwhile; blocks of one memory."""
    rows = [block.rows for block in blocks]
    return sum(rows) if resident else max((sum(rows[index : index + 2]) for index in range(len(rows))), default=0)


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


def block_buffers(schedule: Schedule) -> tuple[Buffer, ...]:
    """Every block of weights, and every block of parameters, from its node to its node, in execution order."""
    return tuple(
        buffer
        for index, node in enumerate(schedule.nodes)
        for block, tiles in enumerate(block_tiles(schedule, node))
        for buffer in (
            Buffer(
                memory="weight", node=node.name, block=block, rows=tiles * output_tile_rows(schedule, node),
                first=index, last=index,
            ),
            Buffer(memory="parameter", node=node.name, block=block, rows=tiles, first=index, last=index),
        )
        if buffer.rows > 0
    )  # fmt: skip


def block_tiles(schedule: Schedule, node: AnyNode) -> tuple[int, ...]:
    """Output tiles of each block: each has a row of parameters. None where no walk reads parameters."""
    if not reads_parameters(schedule, node) or not _walked_steps(schedule, node):
        return ()
    if isinstance(node, Convolution | Linear):
        assert node.tiling is not None
        tiles, per_block = len(output_columns(node, schedule.hardware.array)), node.tiling.output_tiles_per_block
        return tuple(min(per_block, tiles - start) for start in range(0, tiles, per_block))
    if isinstance(node, AttentionProduct):
        return (group_count(node) * len(output_columns(node, schedule.hardware.array)),)
    return (math.ceil(node.channels / schedule.hardware.array.columns),)


def reads_parameters(schedule: Schedule, node: AnyNode) -> bool:
    """Whether a walk of this node takes biases, thresholds or resets."""
    match node:
        case Convolution() | Linear():
            return True
        case AttentionProduct():
            return node.neuron is not None
        case Lif():
            return not is_walked(schedule, node)
        case _:
            return False


def _walked_steps(schedule: Schedule, node: AnyNode) -> tuple[int, ...]:
    if isinstance(node, Product):
        return walk_steps(schedule, node)
    assert isinstance(node, Lif)
    return node.state_steps


def is_walked(schedule: Schedule, node: Lif) -> bool:
    """Whether the LIF takes its currents from a product's accumulators."""
    source = schedule.node(node.inputs[0])
    return isinstance(source, Product) and source.neuron == node.name


def output_tile_rows(schedule: Schedule, node: AnyNode) -> int:
    """Weight rows of one output tile: of each reduction tile whole beats. 0 without weights of its own."""
    if not isinstance(node, Convolution | Linear):
        return 0
    return reduction_beats(schedule, node) * schedule.hardware.array.weight_rows_per_cycle


def reduction_beats(schedule: Schedule, node: Product) -> int:
    """Load beats of the reduction tiles of one output tile."""
    assert node.tiling is not None
    array, streamed = schedule.hardware.array, schedule.node(node.inputs[0])
    rows = reduction_rows(node, streamed, array, node.tiling.offsets_per_word)
    return sum(-(-count // array.weight_rows_per_cycle) for count in rows)


def strip_rows(schedule: Schedule, node: Product) -> int:
    """Words of the strip buffer that a product takes: those of a strip, of each pass whole groups."""
    cut = geometry(schedule, node)
    return cut.chunks * cut.chunk_words(schedule.hardware.array.skip_group) if cut.slot_steps else 0


def stationary_rows(schedule: Schedule, node: Product) -> int:
    """Rows of the stationary memory that an attention product takes: of one head, all steps."""
    if not isinstance(node, AttentionProduct):
        return 0
    cut = geometry(schedule, node)
    beats = reduction_beats(schedule, node) * len(cut.columns) * len(cut.slot_steps)
    return beats * schedule.hardware.array.weight_rows_per_cycle


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
            return steps * node.positions * node.value.planes * math.ceil(node.channels / array.rows)


def _membrane_buffer(schedule: Schedule, index: int, node: AnyNode) -> Buffer | None:
    """Of the block, and of the head, that runs: they follow one another, each through all its steps."""
    if isinstance(node, Lif) and not is_walked(schedule, node):
        neuron, tiles = node, math.ceil(node.channels / schedule.hardware.array.columns)
    elif isinstance(node, Product) and node.neuron is not None and node.tiling is not None:
        walked = schedule.node(node.neuron)
        assert isinstance(walked, Lif)
        neuron, tiles = walked, min(node.tiling.output_tiles_per_block, node.tiling.output_tiles)
    else:
        return None
    if neuron.time_order == "inner" or not neuron.membrane_writes:
        return None
    rows = node.positions * tiles
    return Buffer(memory="membrane", node=neuron.name, block=0, rows=rows, first=index, last=index)
