"""Every product is cut for the array, and the LIF behind it is fused into its walk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from dtss.compiler.emit import emit_schedule
from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Graph, Lif, Node, Product
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Product as ProductNode
from dtss.compiler.schedule.format import Schedule, Tiling, TimeOrder
from dtss.compiler.schedule.geometry import group_positions, offsets_per_word, output_columns, reduction_rows

ORDERS: tuple[TimeOrder, ...] = ("inner", "outer")


@dataclass(frozen=True)
class AssignTiles(PassBase):
    """The simple rule: time innermost wherever a position's steps fit the accumulators, strips as long as can be."""

    name: ClassVar[str] = "assign-tiles"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER, Stage.BOUNDED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.TILED})

    def run(self, graph: Graph, target: Target) -> Graph:
        graph = with_fused_neurons(graph)
        schedule = emit_schedule(graph, target.hardware)
        return with_tilings(graph, {name: _simple(schedule, name, target) for name in _products(graph)})


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
        longest = min(array.strip_slots // slots, positions)
        balanced = ceil(positions / ceil(positions / longest))
        yield from (_tiling(schedule, product, order, length) for length in dict.fromkeys((longest, balanced)))


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
            "accumulator slots",
            "use more strip_slots or --time-order outer",
        )
    return tiling


def _tiling(schedule: Schedule, product: ProductNode, order: TimeOrder, positions_per_strip: int) -> Tiling:
    array, streamed = schedule.hardware.array, schedule.node(product.inputs[0])
    packed = offsets_per_word(product, streamed, array)
    return Tiling(
        time_order=order,
        positions_per_strip=positions_per_strip,
        offsets_per_word=packed,
        strips=ceil(group_positions(product) / positions_per_strip),
        reduction_tiles=len(reduction_rows(product, streamed, array, packed)),
        output_tiles=len(output_columns(product, array)),
    )
