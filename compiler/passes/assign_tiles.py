"""Every product is cut for the array, and the LIF behind it is fused into its walk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

import msgspec

from dtss.compiler.emit import emit_schedule
from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Graph, Lif, Node, Product
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.passes.weight_blocks import weight_blocks
from dtss.compiler.schedule.buffers import capacity_rows
from dtss.compiler.schedule.format import AttentionProduct, Schedule, Tiling, TimeOrder
from dtss.compiler.schedule.format import Product as ProductNode
from dtss.compiler.schedule.geometry import geometry, group_positions, offsets_per_word, output_columns, reduction_rows

ORDERS: tuple[TimeOrder, ...] = ("inner", "outer")


@dataclass(frozen=True)
class AssignTiles(PassBase):
    """The simple rule: time innermost wherever a position's steps fit the accumulators, strips as long as can be.

    Weights are cut into blocks for the weight memory.
    """

    name: ClassVar[str] = "assign-tiles"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER, Stage.BOUNDED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.TILED})

    def run(self, graph: Graph, target: Target) -> Graph:
        graph = with_fused_neurons(graph)
        schedule = emit_schedule(graph, target.hardware)
        graph = with_tilings(graph, {name: _simple(schedule, name, target) for name in _products(graph)})
        return _in_blocks(graph, target)


def with_fused_neurons(graph: Graph) -> Graph:
    """Each product with the LIF that can take its sums straight from the accumulators: its only reader."""
    return graph.map_nodes({name: _fused(graph, graph.node(name)) for name in _products(graph)})


def with_tilings(graph: Graph, tilings: dict[str, Tiling]) -> Graph:
    """The graph with these products cut so, and the state of a fused LIF in its product's time order."""
    changed: dict[str, Node] = {}
    for name, tiling in tilings.items():
        node = graph.node(name)
        changed[name] = replace(node, tiling=tiling)
        neuron = None if node.neuron is None else graph.node(node.neuron)
        if neuron is not None and neuron.state is not None:
            changed[neuron.name] = replace(neuron, state=replace(neuron.state, time_order=tiling.time_order))
    return graph.map_nodes(changed)


def tilings(schedule: Schedule, product: ProductNode, time_order: TimeOrder | None = None) -> Iterator[Tiling]:
    """Every time order that is possible, or the one given, with strips as long as they can be or of equal length.

    The simple rule's first; none if no order is possible.
    """
    array = schedule.hardware.array
    positions, steps = group_positions(product), max(1, len(product.steps.active))
    for order in ORDERS:
        slots = steps if order == "inner" else 1
        if slots > array.strip_slots or (order == "outer" and product.steps.reused):
            continue
        if time_order not in (None, order) and not product.steps.reused:
            continue
        longest = min(array.strip_slots // slots, positions, _held_by_strip_buffer(schedule, product, order))
        if longest == 0:
            continue
        balanced = ceil(positions / ceil(positions / longest))
        lengths = (_within_words(schedule, product, length) for length in (longest, balanced))
        yield from (_tiling(schedule, product, order, length) for length in dict.fromkeys(lengths))


def _held_by_strip_buffer(schedule: Schedule, product: ProductNode, order: TimeOrder) -> int:
    """Positions whose words the strip buffer holds, each pass in whole groups."""
    array = schedule.hardware.array
    cut = geometry(schedule, msgspec.structs.replace(product, tiling=_tiling(schedule, product, order, 1)))
    room = capacity_rows(schedule, "strip") // max(1, cut.chunks) // array.skip_group * array.skip_group
    return room // max(1, int(cut.pass_words[0]))


def _within_words(schedule: Schedule, product: ProductNode, length: int) -> int:
    """Kᵀ·V streams channels of K, which the gatherer turns word by word: a strip of them ends where a word does."""
    rows = schedule.hardware.array.rows
    if isinstance(product, AttentionProduct) and product.stage == "key_value" and product.shape[1] > rows:
        return next(size for size in range(min(length, rows), 0, -1) if rows % size == 0)
    return length


def _in_blocks(graph: Graph, target: Target) -> Graph:
    """The same graph with its weights cut for the weight memory."""
    blocks = weight_blocks(emit_schedule(graph, target.hardware))
    return graph.map_nodes({name: _with_blocks(graph.node(name), tiles) for name, tiles in blocks.items()})


def _with_blocks(node: Node, output_tiles: int) -> Node:
    assert node.tiling is not None
    return replace(node, tiling=msgspec.structs.replace(node.tiling, output_tiles_per_block=output_tiles))


def _products(graph: Graph) -> Iterator[str]:
    return (node.name for node in graph.nodes if isinstance(node.op, Product))


def _fused(graph: Graph, node: Node) -> Node:
    consumers = graph.consumers(node.name)
    fuses = len(consumers) == 1 and isinstance(consumers[0].op, Lif) and node.name != graph.output
    return replace(node, neuron=consumers[0].name if fuses else None)


def _simple(schedule: Schedule, name: str, target: Target) -> Tiling:
    product = schedule.node(name)
    assert isinstance(product, ProductNode)
    tiling = next(tilings(schedule, product, target.time_order), None)
    if tiling is None:
        raise CompileError(
            name,
            f"{len(product.steps.active)} time steps do not fit the {target.hardware.array.strip_slots} "
            f"accumulator slots, or the words of one position the {target.hardware.memory.strip_bytes} bytes of "
            "the strip buffer",
            "use more strip_slots or memory.strip_bytes, or --time-order outer",
        )
    return tiling


def _tiling(schedule: Schedule, product: ProductNode, order: TimeOrder, positions_per_strip: int) -> Tiling:
    array, streamed = schedule.hardware.array, schedule.node(product.inputs[0])
    packed = offsets_per_word(product, streamed, array)
    output_tiles = len(output_columns(product, array))
    return Tiling(
        time_order=order,
        positions_per_strip=positions_per_strip,
        offsets_per_word=packed,
        strips=ceil(group_positions(product) / positions_per_strip),
        reduction_tiles=len(reduction_rows(product, streamed, array, packed)),
        output_tiles=output_tiles,
        output_tiles_per_block=output_tiles,
    )
