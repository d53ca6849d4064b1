"""What does not change with time is computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dtss.compiler.graph.ir import Graph, Image, Integrator, Lif, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Steps


@dataclass(frozen=True)
class HoistConstants(PassBase):
    """The direct-encoded image is the same at every step, and so is every stateless node fed by nothing else."""

    name: ClassVar[str] = "hoist-constants"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED})
    optional: ClassVar[bool] = True

    def run(self, graph: Graph, target: Target) -> Graph:
        constant: set[str] = set()
        for node in graph.nodes:
            if isinstance(node.op, Image) or (
                not isinstance(node.op, Lif | Integrator) and constant.issuperset(node.inputs)
            ):
                constant.add(node.name)
        return graph.with_nodes(_hoist(node) if node.name in constant else node for node in graph.nodes)


def _hoist(node: Node) -> Node:
    steps = node.steps
    if len(steps.active) < 2:
        return node
    first, *rest = steps.active
    why = tuple(
        f"constant: equal to step {first}" if step in rest else reason
        for step, reason in enumerate(steps.why or ("",) * _length(steps))
    )
    hoisted = Steps(
        active=(first,), bias_only=steps.bias_only, reused=tuple(sorted((*steps.reused, *rest))),
        zero=steps.zero, dead=steps.dead, why=why,
    )  # fmt: skip
    return replace(node, steps=hoisted)


def _length(steps: Steps) -> int:
    return sum(len(getattr(steps, field)) for field in ("active", "bias_only", "reused", "zero", "dead"))
