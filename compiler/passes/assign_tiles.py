"""Every product is cut for the array, and the LIF behind it is fused into its walk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec

from dtss.compiler.emit import emit_schedule, tensors_of
from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Graph, Lif, Node, Product
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.passes.tiling_cost import Candidate, candidates
from dtss.compiler.passes.weight_blocks import weight_blocks
from dtss.compiler.schedule.format import Product as ProductNode
from dtss.compiler.schedule.format import Schedule


@dataclass(frozen=True)
class AssignTiles(PassBase):
    """Time order and strips of each product by `tiling_cost`, membranes only if they fit; weights cut into blocks."""

    name: ClassVar[str] = "assign-tiles"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.INTEGER, Stage.BOUNDED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.TILED})

    def run(self, graph: Graph, target: Target) -> Graph:
        graph = graph.map_nodes(dict(_fused(graph, node) for node in graph.nodes if isinstance(node.op, Product)))
        schedule = emit_schedule(graph, target.hardware)
        room = 8 * target.hardware.memory.membrane_bytes
        changed: dict[str, Node] = {}
        for node in graph.nodes:
            if not isinstance(node.op, Product):
                continue
            neuron = None if node.neuron is None else graph.node(node.neuron)
            needed = membrane_bits(neuron, target)
            tiling = choose(schedule, node, target, fits=needed <= room).tiling
            changed[node.name] = replace(node, tiling=tiling)
            if neuron is not None and neuron.state is not None:
                changed[neuron.name] = replace(neuron, state=replace(neuron.state, time_order=tiling.time_order))
        return _in_blocks(graph.map_nodes(changed), target)


def _in_blocks(graph: Graph, target: Target) -> Graph:
    """The same graph with its weights cut for the weight memory."""
    blocks = weight_blocks(emit_schedule(graph, target.hardware), tensors_of(graph))
    return graph.map_nodes({name: _with_blocks(graph.node(name), tiles) for name, tiles in blocks.items()})


def _with_blocks(node: Node, output_tiles: int) -> Node:
    assert node.tiling is not None
    return replace(node, tiling=msgspec.structs.replace(node.tiling, output_tiles_per_block=output_tiles))


def _fused(graph: Graph, node: Node) -> tuple[str, Node]:
    """A product with the LIF that can take its sums straight from the accumulators: its only reader."""
    consumers = graph.consumers(node.name)
    fuses = len(consumers) == 1 and isinstance(consumers[0].op, Lif) and node.name != graph.output
    return node.name, replace(node, neuron=consumers[0].name if fuses else None)


def membrane_bits(neuron: Node | None, target: Target) -> int:
    """What the neuron's membranes take in memory where time runs outermost."""
    if neuron is None or neuron.state is None or not neuron.state.membrane_writes:
        return 0
    return neuron.positions * neuron.channels * target.hardware.widths.membrane


def choose(schedule: Schedule, node: Node, target: Target, *, fits: bool) -> Candidate:
    """The cheapest candidate: time outermost only where membranes still fit, or it is asked for or alone possible."""
    product = schedule.node(node.name)
    assert isinstance(product, ProductNode)
    found = candidates(schedule, product, target.time_order)
    if not found:
        raise CompileError(
            node.name,
            f"{len(node.steps.active)} time steps do not fit the {target.hardware.array.strip_slots} accumulator slots",
            "use more strip_slots or --time-order outer",
        )
    held = [candidate for candidate in found if fits or candidate.tiling.time_order == "inner"]
    return (held or found)[0]
