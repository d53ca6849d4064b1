"""(Q·Kᵀ)·V or Q·(Kᵀ·V): equal in integers, so the cheaper one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from dtss.compiler.graph.ir import Attention, AttentionProduct, Graph, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import Pass, PassBase, Target
from dtss.compiler.schedule.hardware import Hardware
from dtss.compiler.schedule.numerics import planes_for


@dataclass(frozen=True)
class ReassociateAttention(PassBase):
    """Attention becomes two products in the order that streams fewer words; `always_scores` keeps (Q·Kᵀ)·V."""

    name: ClassVar[str] = "reassociate-attention"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED})
    optional: ClassVar[bool] = True
    always_scores: bool = False

    def switched_off(self) -> Pass:
        return replace(self, always_scores=True)

    def run(self, graph: Graph, target: Target) -> Graph:
        return graph.with_nodes(lowered for node in graph.nodes for lowered in self._lower(graph, node, target))

    def _lower(self, graph: Graph, node: Node, target: Target) -> Iterator[Node]:
        if not isinstance(node.op, Attention):
            yield node
            return
        tokens = graph.inputs(node)[0].positions
        heads, head_channels = node.op.heads, node.channels // node.op.heads
        if self.always_scores or not prefers_key_value(tokens, head_channels, target.hardware):
            yield from _score_order(node, tokens)
            return
        query, key, value = node.inputs
        inner = replace(
            node,
            name=f"{node.name}.key_value",
            inputs=(key, value),
            op=AttentionProduct("key_value", heads, 1.0),
            shape=(heads, head_channels, head_channels),
        )
        yield inner
        yield replace(node, inputs=(query, inner.name), op=AttentionProduct("query_key_value", heads, node.op.scale))


def _score_order(node: Node, tokens: int) -> Iterator[Node]:
    assert isinstance(node.op, Attention)
    query, key, value = node.inputs
    heads = node.op.heads
    inner = replace(
        node,
        name=f"{node.name}.query_key",
        inputs=(query, key),
        op=AttentionProduct("query_key", heads, 1.0),
        shape=(heads, tokens, tokens),
    )
    yield inner
    yield replace(node, inputs=(inner.name, value), op=AttentionProduct("score_value", heads, node.op.scale))


def prefers_key_value(tokens: int, head_channels: int, hardware: Hardware) -> bool:
    """Whether Q·(Kᵀ·V) streams fewer words through the array than (Q·Kᵀ)·V, and its Kᵀ·V fits the weight width."""
    rows, columns = hardware.array.rows, hardware.array.columns
    fits = tokens < 1 << (hardware.widths.weight - 1)
    key_value = head_channels * ceil(tokens / rows) * ceil(head_channels / columns)
    key_value += tokens * ceil(head_channels / rows) * ceil(head_channels / columns)
    scores = tokens * ceil(head_channels / rows) * ceil(tokens / columns)
    scores += tokens * planes_for(head_channels) * ceil(tokens / rows) * ceil(head_channels / columns)
    return fits and key_value <= scores
