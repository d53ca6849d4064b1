"""Batch norm becomes part of the product before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import BatchNorm, Convolution, Graph, Linear, Node
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target


@dataclass(frozen=True)
class FoldBatchNorm(PassBase):
    """y = a·(W·x + b − mean) + shift = (a·W)·x + (a·(b − mean) + shift), with a = scale/√(variance + ε)."""

    name: ClassVar[str] = "fold-batch-norm"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.NORMALISED})

    def run(self, graph: Graph, target: Target) -> Graph:
        folded: dict[str, Node] = {}
        renamed: dict[str, str] = {}
        for norm in (node for node in graph.nodes if isinstance(node.op, BatchNorm)):
            product = graph.inputs(norm)[0]
            if not isinstance(product.op, Convolution | Linear) or len(graph.consumers(product.name)) != 1:
                raise CompileError(
                    norm.name,
                    "is not the only reader of a convolution or linear layer",
                    "only such a batch norm can be folded",
                )
            assert isinstance(norm.op, BatchNorm)
            folded[product.name] = replace(product, op=_fold(product.op, norm.op))
            renamed[norm.name] = product.name
        kept = (folded.get(node.name, node) for node in graph.nodes if node.name not in renamed)
        rewired = (replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)) for node in kept)
        return graph.with_nodes(rewired, output=renamed.get(graph.output, graph.output))


def _fold(product: Convolution | Linear, norm: BatchNorm) -> Convolution | Linear:
    factor = norm.scale / np.sqrt(norm.variance + norm.epsilon)
    bias = 0.0 if product.bias is None else product.bias
    weight = product.weight * factor.reshape((-1,) + (1,) * (product.weight.ndim - 1))
    lsb = None if product.lsb is None else product.lsb * np.where(factor == 0.0, 1.0, np.abs(factor))
    return replace(product, weight=weight, bias=factor * (bias - norm.mean) + norm.shift, lsb=lsb)
