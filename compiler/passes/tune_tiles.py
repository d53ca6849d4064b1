"""The tiling of each product that is expected to cost least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import msgspec

from dtss.compiler.emit import emit_schedule
from dtss.compiler.graph.ir import Graph, Node, Product
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.assign_tiles import with_tilings
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.passes.tiling_cost import cheapest
from dtss.compiler.schedule.format import Product as ProductNode
from dtss.compiler.schedule.format import Tiling


@dataclass(frozen=True)
class TuneTiles(PassBase):
    """Time order and strip length by `tiling_cost`; membranes in memory only where they fit; blocks as they are."""

    name: ClassVar[str] = "tune-tiles"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.TILED})
    optional: ClassVar[bool] = True

    def run(self, graph: Graph, target: Target) -> Graph:
        schedule = emit_schedule(graph, target.hardware)
        room = 8 * target.hardware.memory.membrane_bytes
        tilings: dict[str, Tiling] = {}
        for node in (node for node in graph.nodes if isinstance(node.op, Product)):
            product = schedule.node(node.name)
            assert isinstance(product, ProductNode)
            needed = membrane_bits(graph, node, target)
            best = cheapest(schedule, product, target.time_order, membranes_fit=needed <= room)
            assert best is not None and node.tiling is not None
            tilings[node.name] = msgspec.structs.replace(
                best.tiling, output_tiles_per_block=node.tiling.output_tiles_per_block
            )
        return with_tilings(graph, tilings)


def membrane_bits(graph: Graph, product: Node, target: Target) -> int:
    """What the membranes of a product's neuron take in memory where time runs outermost."""
    neuron = None if product.neuron is None else graph.node(product.neuron)
    if neuron is None or neuron.state is None or not neuron.state.membrane_writes:
        return 0
    return neuron.positions * neuron.channels * target.hardware.widths.membrane
