"""A membrane is read only if a live state precedes it, and written only if one follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dtss.compiler.graph.ir import Graph, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target


@dataclass(frozen=True)
class EliminateMembraneAccesses(PassBase):
    """U[−1] is a constant, so the first live step reads nothing; after the last one U is never used again."""

    name: ClassVar[str] = "eliminate-membrane-accesses"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED})
    optional: ClassVar[bool] = True

    def run(self, graph: Graph, target: Target) -> Graph:
        return graph.with_nodes(_eliminate(node) for node in graph.nodes)


def _eliminate(node: Node) -> Node:
    if node.state is None:
        return node
    live = node.state.state_steps
    return replace(node, state=replace(node.state, membrane_reads=live[1:], membrane_writes=live[:-1]))
