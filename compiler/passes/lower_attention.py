"""Attention without softmax is two products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from dtss.compiler.graph.ir import Attention, AttentionProduct, Graph, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target


@dataclass(frozen=True)
class LowerAttention(PassBase):
    """(Q·Kᵀ)·V as it is written; `reassociate-attention` may take the other order once widths are known."""

    name: ClassVar[str] = "lower-attention"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED})

    def run(self, graph: Graph, target: Target) -> Graph:
        return graph.with_nodes(lowered for node in graph.nodes for lowered in _lower(graph, node))


def _lower(graph: Graph, node: Node) -> Iterator[Node]:
    if not isinstance(node.op, Attention):
        yield node
        return
    query, key, value = node.inputs
    heads, tokens = node.op.heads, graph.node(query).positions
    scores = AttentionProduct("query_key", heads, 1.0)
    inner = replace(node, name=f"{node.name}.query_key", inputs=(query, key), op=scores, shape=(heads, tokens, tokens))
    yield inner
    yield replace(node, inputs=(inner.name, value), op=AttentionProduct("score_value", heads, node.op.scale))
