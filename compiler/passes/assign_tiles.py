"""Every product is cut for the array, and the LIF behind it is fused into its walk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from dtss.compiler.emit import schedule_node
from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Graph, Lif, Node, Product
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Product as ProductNode
from dtss.compiler.schedule.format import Tiling, TimeOrder
from dtss.compiler.schedule.geometry import group_positions, offsets_per_word, output_columns, reduction_rows
from dtss.compiler.schedule.hardware import Array


@dataclass(frozen=True)
class AssignTiles(PassBase):
    """Strips are as long as the accumulator file allows. Time runs innermost where a position's steps fit a strip."""

    name: ClassVar[str] = "assign-tiles"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER, Stage.BOUNDED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.TILED})

    def run(self, graph: Graph, target: Target) -> Graph:
        changed: dict[str, Node] = {}
        for node in graph.nodes:
            if isinstance(node.op, Product):
                neuron = fused_neuron(graph, node)
                tiling = choose_tiling(graph, node, target)
                changed[node.name] = replace(node, tiling=tiling, neuron=None if neuron is None else neuron.name)
                if neuron is not None and neuron.state is not None:
                    changed[neuron.name] = replace(neuron, state=replace(neuron.state, time_order=tiling.time_order))
        return graph.map_nodes(changed)


def fused_neuron(graph: Graph, node: Node) -> Node | None:
    """The LIF that can take a product's sums straight from the accumulators: its only reader."""
    consumers = graph.consumers(node.name)
    if len(consumers) == 1 and isinstance(consumers[0].op, Lif) and node.name != graph.output:
        return consumers[0]
    return None


def choose_tiling(graph: Graph, node: Node, target: Target) -> Tiling:
    array = target.hardware.array
    product, streamed = schedule_node(node), schedule_node(graph.inputs(node)[0])
    assert isinstance(product, ProductNode)
    order = choose_time_order(node, target, array)
    slots = max(1, len(node.steps.active)) if order == "inner" else 1
    positions = group_positions(product)
    per_strip = min(array.strip_slots // slots, positions)
    packed = offsets_per_word(product, streamed, array)
    return Tiling(
        time_order=order,
        positions_per_strip=per_strip,
        offsets_per_word=packed,
        strips=ceil(positions / per_strip),
        reduction_tiles=len(reduction_rows(product, streamed, array, packed)),
        output_tiles=len(output_columns(product, array)),
    )


def choose_time_order(node: Node, target: Target, array: Array) -> TimeOrder:
    """Forced, or innermost if the steps of one position fit the accumulator file. Hoisted products run innermost."""
    fits = len(node.steps.active) <= array.strip_slots
    if node.steps.reused or (fits and target.time_order != "outer"):
        return "inner"
    if target.time_order == "inner":
        raise CompileError(
            node.name,
            f"{len(node.steps.active)} time steps do not fit the {array.strip_slots} accumulator slots",
            "use more strip_slots or --time-order outer",
        )
    return "outer"
