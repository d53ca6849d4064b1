"""(Q·Kᵀ)·V or Q·(Kᵀ·V): equal in integers, so the cheaper one is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dtss.compiler.emit import emit_schedule
from dtss.compiler.graph.ir import AttentionProduct, Graph, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.assign_tiles import with_fused_neurons
from dtss.compiler.passes.attention_orders import inner_of, paths
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule import format as schedule_format


@dataclass(frozen=True)
class ReassociateAttention(PassBase):
    """By the cost of both products, which needs their widths, live steps and neuron: so it comes this late.

    always: take Q·(Kᵀ·V) wherever the array can hold Kᵀ·V.
    """

    name: ClassVar[str] = "reassociate-attention"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED, Stage.INTEGER, Stage.BOUNDED})
    optional: ClassVar[bool] = True
    always: bool = False

    def run(self, graph: Graph, target: Target) -> Graph:
        schedule = emit_schedule(with_fused_neurons(graph), target.hardware)
        changed: dict[str, Node] = {}
        for product in schedule.nodes:
            if not isinstance(product, schedule_format.AttentionProduct) or product.stage != "score_value":
                continue
            found = paths(schedule, product, target.time_order)
            chosen = next((path for path in found if path.inner.stage == "key_value" or not self.always), None)
            if chosen is not None and chosen.outer is not product:
                scores = inner_of(schedule, product)
                changed[scores.name] = _rewritten(graph.node(scores.name), chosen.inner)
                changed[product.name] = _rewritten(graph.node(product.name), chosen.outer)
        return graph.map_nodes(changed)


def _rewritten(node: Node, product: schedule_format.AttentionProduct) -> Node:
    """The graph's node as the schedule's is to be."""
    assert isinstance(node.op, AttentionProduct)
    return replace(
        node,
        name=product.name,
        op=replace(node.op, stage=product.stage),
        inputs=product.inputs,
        shape=product.shape,
        steps=product.steps,
        value=product.value,
    )
