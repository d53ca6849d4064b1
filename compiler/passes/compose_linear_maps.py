"""A linear layer that reads currents moves back onto the spikes they come from, so that products read unsigned values.

Spikingformer's head reads the token mean of its residual, which is a sum of currents. All of that is linear:

    W·Σ_n Σ_j (P_j·s_j[n] + b_j)  =  Σ_j ((W·P_j)·Σ_n s_j[n] + N·W·b_j)

so branch j gets the product W·P_j on the token sum of its own spikes. A convolution, whose border does not commute
with the sum over tokens, is composed first and summed after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import networkx as nx
import numpy as np

from dtss.compiler.errors import CompileError
from dtss.compiler.graph.ir import Add, Convolution, Graph, Linear, Node, TokenSum, Weights, carries_current
from dtss.compiler.graph.verify import Stage, reads_currents
from dtss.compiler.passes.base import Pass, PassBase, Target


@dataclass(frozen=True)
class ComposeLinearMaps(PassBase):
    """Currents that nobody reads any more are dropped.

    refuses: name the layer instead, since the array cannot multiply currents.
    """

    name: ClassVar[str] = "compose-linear-maps"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.FLOAT, Stage.NORMALISED})
    ensures: ClassVar[frozenset[Stage]] = frozenset({Stage.UNSIGNED})
    optional: ClassVar[bool] = True
    refuses: bool = False

    def switched_off(self) -> Pass:
        return replace(self, refuses=True)

    def run(self, graph: Graph, target: Target) -> Graph:
        while (layer := next((node for node in graph.nodes if reads_currents(graph, node)), None)) is not None:
            if self.refuses:
                current = next(source for source in graph.inputs(layer) if carries_current(graph, source))
                raise CompileError(
                    layer.name,
                    f"reads {current.name}, which carries currents, and the array multiplies unsigned values only",
                    f"leave {self.name} on",
                )
            graph = _without_unread(_composed(graph, layer), graph)
        return graph


def _composed(graph: Graph, layer: Node) -> Graph:
    """`layer` becomes the sum of its terms, one for each product that its input adds up."""
    source = graph.inputs(layer)[0]
    summed = isinstance(source.op, TokenSum)
    current = graph.inputs(source)[0] if summed else source
    if not isinstance(layer.op, Linear):
        raise CompileError(layer.name, f"reads {current.name}, which carries currents", "put a neuron between them")
    products = list(_summands(graph, layer, current))
    bias = layer.op.bias
    terms: list[Node] = []
    for product in products:
        terms += _term(graph, layer, product, summed, None if product is not products[-1] else bias)
    added = replace(layer, op=Add(), inputs=tuple(f"{layer.name}.{product.name}" for product in products))
    if len(products) == 1:
        terms[-1] = replace(terms[-1], name=layer.name)
        return graph.with_nodes(_replaced(graph, layer, terms))
    return graph.with_nodes(_replaced(graph, layer, [*terms, added]))


def _replaced(graph: Graph, layer: Node, nodes: list[Node]) -> Iterator[Node]:
    for node in graph.nodes:
        yield from nodes if node is layer else [node]


def _summands(graph: Graph, layer: Node, current: Node) -> Iterator[Node]:
    """The products whose sum `current` is."""
    match current.op:
        case Add():
            for source in graph.inputs(current):
                yield from _summands(graph, layer, source)
        case Linear() | Convolution():
            yield current
        case _:
            raise CompileError(
                layer.name,
                f"reads {current.name}, which carries currents and is no sum of products",
                "put a neuron between them",
            )


def _term(graph: Graph, layer: Node, product: Node, summed: bool, extra: Weights | None) -> list[Node]:
    """The nodes that compute `layer` of `product`'s part of the sum; the last has their common name."""
    name = f"{layer.name}.{product.name}"
    positions = product.positions if summed else 1
    assert isinstance(layer.op, Linear) and isinstance(product.op, Linear | Convolution)
    weight = np.tensordot(layer.op.weight, product.op.weight, axes=1)
    bias = None if product.op.bias is None else layer.op.weight @ product.op.bias
    if isinstance(product.op, Convolution):
        share = None if extra is None else extra / positions
        op = replace(product.op, weight=weight, bias=_sum(bias, share), lsb=None)
        inner = f"{name}.map" if summed else name
        nodes = [replace(layer, name=inner, op=op, inputs=product.inputs, shape=(*product.shape[:2], layer.channels))]
        if summed:
            nodes.append(replace(layer, name=name, op=TokenSum(), inputs=(inner,)))
        return nodes
    nodes, inputs = [], product.inputs
    if summed:
        spikes = graph.inputs(product)[0]
        inputs = (f"{name}.token_sum",)
        shape = (1, 1, spikes.channels)
        nodes.append(replace(layer, name=inputs[0], op=TokenSum(), inputs=product.inputs, shape=shape))
    whole = None if bias is None else bias * positions
    return [*nodes, replace(layer, name=name, op=Linear(weight, _sum(whole, extra)), inputs=inputs)]


def _sum(left: Weights | None, right: Weights | None) -> Weights | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right


def _without_unread(graph: Graph, before: Graph) -> Graph:
    """Without the nodes that the output needed before and no longer does."""
    unread = _needed(before) - _needed(graph)
    return graph.with_nodes(node for node in graph.nodes if node.name not in unread)


def _needed(graph: Graph) -> set[str]:
    return {graph.output, *nx.ancestors(graph.digraph, graph.output)}
