"""The graph between front end and schedule: typed nodes on a networkx DiGraph, immutable.

A node computes one value per time step. At the float stage weights are float64 and neurons are `FloatNeuron`;
`quantise` replaces both by integers. `graph.verify` says which fields each stage must have filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.schedule.format import AttentionStage, Group, Preprocess, Steps, Tiling, TimeOrder, Value
from dtss.compiler.schedule.numerics import Leak, Reset

Weights = NDArray[np.float64] | NDArray[np.int64]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class FloatNeuron:
    """H = leak·U + gain·I; fires if H `comparison` threshold; soft: U = H − subtracted, hard: U = reset_value.

    reset_amount: what a soft reset subtracts, if that is not the threshold.
    """

    leak: float
    gain: float
    threshold: float
    comparison: Literal[">", ">="]
    reset: Reset
    reset_value: float
    initial: float
    reset_amount: float | None = None

    @property
    def subtracted(self) -> float:
        return self.threshold if self.reset_amount is None else self.reset_amount


@dataclass(frozen=True, eq=False)
class IntegerNeuron:
    """See `schedule.numerics.lif_step`; threshold, reset_to and initial are [C]."""

    leak: Leak
    reset: Reset
    threshold: NDArray[np.int64]
    reset_to: NDArray[np.int64]
    initial: NDArray[np.int64]


@dataclass(frozen=True)
class Image:
    """The direct-encoded image, the same at every step."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """Cross-correlation with zero padding; weight [O, kernel rows, kernel columns, C], bias [O].

    lsb: where training or calibration chose it, what one integer of the weight means in each output channel [O]; of a
    product that reads the image, once the pixels' scale is folded into it.
    weight_bits: of the integer weights, two's complement; 0 before there are any.
    """

    weight: Weights
    bias: Weights | None
    stride: int
    padding: int
    current_shift: int = 0
    pad_value: NDArray[np.int64] | None = None
    lsb: NDArray[np.float64] | None = None
    weight_bits: int = 0


@dataclass(frozen=True, eq=False)
class Linear:
    """The same matrix at every position; weight [O, C], bias [O]; the rest as in Convolution."""

    weight: Weights
    bias: Weights | None
    current_shift: int = 0
    lsb: NDArray[np.float64] | None = None
    weight_bits: int = 0


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """y = scale·(x − mean) / √(variance + epsilon) + shift, each [C]."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    epsilon: float


@dataclass(frozen=True)
class Attention:
    """scale · (Q·Kᵀ)·V per head, without softmax; inputs are (q, k, v)."""

    heads: int
    scale: float


@dataclass(frozen=True)
class AttentionProduct:
    """One of the two products of attention, inputs (streamed, stationary); `scale` is left for the neuron."""

    stage: AttentionStage
    heads: int
    scale: float
    current_shift: int = 0


@dataclass(frozen=True)
class Lif:
    """O[t] = Y[t]·[t ∈ mask_steps]; the mask gates the output, never the state."""

    neuron: FloatNeuron | IntegerNeuron
    group: Group
    mask_steps: tuple[int, ...]


@dataclass(frozen=True)
class Integrator:
    """O[t] = leak·O[t−1] + I[t], O[−1] = 0: a membrane that never fires, or a synapse's current."""

    leak: float | Leak


@dataclass(frozen=True)
class Add:
    """Elementwise sum."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over a square window."""

    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True)
class SumPool:
    """Sum over a window of (rows, columns), 0 outside; an average's division is folded into what follows."""

    kernel: tuple[int, int]
    stride: int
    padding: int


@dataclass(frozen=True)
class TokenSum:
    """Sum over positions; the mean's division is folded into the weights that follow."""


Stateless = Image | Convolution | Linear | BatchNorm | Attention | AttentionProduct | Add | MaxPool | SumPool | TokenSum
Op = Stateless | Lif | Integrator
Product = Convolution | Linear | AttentionProduct


@dataclass(frozen=True)
class StatePlan:
    """When a LIF updates its state, and when the state crosses the membrane memory in time order outer."""

    state_steps: tuple[int, ...]
    membrane_reads: tuple[int, ...]
    membrane_writes: tuple[int, ...]
    time_order: TimeOrder = "inner"
    why: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Node:
    """One operation and what the passes have decided about it so far."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape
    steps: Steps = Steps()  # noqa: RUF009 - frozen
    state: StatePlan | None = None
    value: Value | None = None
    membrane: Value | None = None
    neuron: str | None = None
    tiling: Tiling | None = None

    @property
    def positions(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def channels(self) -> int:
        return self.shape[2]


@dataclass(frozen=True)
class Graph:
    """A network: its nodes in execution order, what enters it and what leaves it.

    output: the node whose value, times output_scale, is the logits of one step.
    """

    network: str
    time_steps: int
    preprocess: Preprocess
    classes: tuple[str, ...]
    output: str
    nodes: tuple[Node, ...]
    output_scale: float = 1.0

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def digraph(self) -> nx.DiGraph[str]:
        digraph: nx.DiGraph[str] = nx.DiGraph()
        digraph.add_nodes_from(node.name for node in self.nodes)
        digraph.add_edges_from((source, node.name) for node in self.nodes for source in node.inputs)
        return digraph

    def node(self, name: str) -> Node:
        return self.by_name[name]

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return tuple(self.by_name[name] for name in node.inputs)

    def consumers(self, name: str) -> tuple[Node, ...]:
        return tuple(self.by_name[consumer] for consumer in self.digraph.successors(name))

    def with_nodes(self, nodes: Iterable[Node], **changes: Any) -> Graph:
        """The graph with these nodes instead, put into execution order."""
        changed = replace(self, nodes=tuple(nodes), **changes)
        position = {node.name: index for index, node in enumerate(changed.nodes)}
        try:
            order = list(nx.lexicographical_topological_sort(changed.digraph, key=position.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = " → ".join(source for source, _ in nx.find_cycle(changed.digraph))
            raise CompileError(cycle, "the network is cyclic", "only LIF state may feed back in time") from None
        return replace(changed, nodes=tuple(changed.by_name[name] for name in order))

    def map_nodes(self, changes: Mapping[str, Node], **fields: Any) -> Graph:
        """The graph with the nodes of these names replaced."""
        return self.with_nodes((changes.get(node.name, node) for node in self.nodes), **fields)


def carries_current(graph: Graph, node: Node) -> bool:
    """Whether a node's value is a signed current rather than pixels, spikes or counts."""
    match node.op:
        case Image() | Lif():
            return False
        case Convolution() | Linear() | BatchNorm() | Attention() | Integrator():
            return True
        case AttentionProduct(stage=stage):
            return stage in ("query_key_value", "score_value")
        case Add() | MaxPool() | SumPool() | TokenSum():
            return carries_current(graph, graph.inputs(node)[0])


def average_active_steps(graph: Graph) -> float:
    """T_avg over the LIF layers (DTSS Eq. 3), of the steps whose output is still computed."""
    counts = [len(node.steps.active) for node in graph.nodes if isinstance(node.op, Lif)]
    return sum(counts) / max(1, len(counts))


def average_mask_steps(graph: Graph) -> float:
    """T_avg over the LIF layers (DTSS Eq. 3), of the trained masks."""
    counts = [len(node.op.mask_steps) for node in graph.nodes if isinstance(node.op, Lif)]
    return sum(counts) / max(1, len(counts))
