"""The float graph with what each LIF emits."""

from __future__ import annotations

from torch import Tensor

from dtss.compiler.graph.float_module import FloatModule, Values
from dtss.compiler.graph.ir import Graph, Lif, Node


class RecordingModule(FloatModule):
    """FloatModule that keeps the spikes of each LIF: name → step → [B, C, H, W]."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.spikes: dict[str, dict[int, Tensor]] = {}

    def _run_lif(self, node: Node, lif: Lif, values: Values) -> None:
        super()._run_lif(node, lif, values)
        self.spikes[node.name] = {step: values[node.name, step] for step in node.steps.active}
