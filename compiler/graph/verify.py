"""What must hold of a graph at each stage: rows of (name, predicate), checked before and after every pass."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np

from dtss.compiler.graph.ir import (
    Add,
    Attention,
    BatchNorm,
    Convolution,
    FloatNeuron,
    Graph,
    Image,
    IntegerNeuron,
    Integrator,
    Lif,
    Linear,
    Node,
    Product,
    carries_current,
)

Predicate = Callable[[Graph, Node], bool]


class Stage(Enum):
    """Properties that passes require and ensure."""

    FLOAT = "weights are float64"
    NORMALISED = "no batch norm is left"
    UNSIGNED = "products read no currents"
    LOWERED = "attention is two products"
    PIXELS = "the image enters as its pixels"
    INTEGER = "weights and neurons are integers"
    BOUNDED = "every value has proved bounds"
    TILED = "every product has a tiling"


def _weights_are(kind: type[np.float64 | np.int64]) -> Predicate:
    return lambda graph, node: not isinstance(node.op, Convolution | Linear) or node.op.weight.dtype == kind


def _partitions(graph: Graph, node: Node) -> bool:
    steps = node.steps
    listed = sorted((*steps.active, *steps.bias_only, *steps.reused, *steps.zero, *steps.dead))
    return listed == list(range(graph.time_steps))


def _adds_alike(graph: Graph, node: Node) -> bool:
    return not isinstance(node.op, Add) or len({carries_current(graph, source) for source in graph.inputs(node)}) == 1


def _in_run(graph: Graph, steps: tuple[int, ...]) -> bool:
    return list(steps) == sorted(set(steps) & set(range(graph.time_steps)))


def reads_currents(graph: Graph, node: Node) -> bool:
    """Whether a product would have to multiply signed values, which the array's bit planes cannot carry."""
    product = isinstance(node.op, Product | Attention)
    return product and any(carries_current(graph, source) for source in graph.inputs(node))


def _pads_with_a_pixel(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Convolution) or not isinstance(graph.inputs(node)[0].op, Image):
        return True
    return node.op.pad_value is not None


STRUCTURE: tuple[tuple[str, Predicate], ...] = (
    ("inputs exist", lambda graph, node: all(name in graph.by_name for name in node.inputs)),
    ("steps partition the run", _partitions),
    ("add does not mix currents and counts", _adds_alike),
    ("masks lie in the run", lambda graph, node: not isinstance(node.op, Lif) or _in_run(graph, node.op.mask_steps)),
    ("only LIF has state", lambda graph, node: (node.state is not None) == isinstance(node.op, Lif)),
)

TABLES: dict[Stage, tuple[tuple[str, Predicate], ...]] = {
    Stage.FLOAT: (
        ("weights are float64", _weights_are(np.float64)),
        (
            "neurons are float",
            lambda graph, node: not isinstance(node.op, Lif) or isinstance(node.op.neuron, FloatNeuron),
        ),
    ),
    Stage.NORMALISED: (("no batch norm", lambda graph, node: not isinstance(node.op, BatchNorm)),),
    Stage.UNSIGNED: (("product reads no currents", lambda graph, node: not reads_currents(graph, node)),),
    Stage.LOWERED: (("no attention node", lambda graph, node: not isinstance(node.op, Attention)),),
    Stage.PIXELS: (("what reads the image pads with a pixel", _pads_with_a_pixel),),
    Stage.INTEGER: (
        ("weights are integers", _weights_are(np.int64)),
        (
            "neurons are integers",
            lambda graph, node: not isinstance(node.op, Lif) or isinstance(node.op.neuron, IntegerNeuron),
        ),
        (
            "leaks are integers",
            lambda graph, node: not isinstance(node.op, Integrator) or not isinstance(node.op.leak, float),
        ),
    ),
    Stage.BOUNDED: (("value has bounds", lambda graph, node: node.value is not None),),
    Stage.TILED: (
        ("product has a tiling", lambda graph, node: not isinstance(node.op, Product) or node.tiling is not None),
    ),
}


class VerificationError(AssertionError):
    """A pass broke an invariant: a bug of the compiler, not of the model."""


def verify(graph: Graph, stages: frozenset[Stage], after: str) -> None:
    """Check the structure and the tables of all `stages`; names the node, the row and the pass."""
    rows = STRUCTURE + tuple(row for stage in Stage if stage in stages for row in TABLES[stage])
    for node in graph.nodes:
        for name, holds in rows:
            if not holds(graph, node):
                raise VerificationError(f"after {after}: {node.name}: {name} does not hold")
