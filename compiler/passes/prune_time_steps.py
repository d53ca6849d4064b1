"""Steps that cannot change the result are not run.

Facts about each (node, step), exact for any mask, from two sweeps over the graph:

    zero (forward)     LIF: t is masked; or its current is zero at t and its own state cannot make it fire.
                       add: all inputs zero.  attention product: either input zero.
                       pool, token sum: the input is zero.  A product of a zero input is its bias only.
                       integrator: zero at t and at every step before.
    state_live         LIF: some live output follows at t' ≥ t.
    output_live        the value at t is needed by some consumer and is not zero.

A consumer needs its input at t if the consumer is a LIF with a live state there, or computes there itself; an
integrator computes up to the last step at which it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, assert_never

from dtss.compiler.graph.ir import (
    Add,
    Attention,
    AttentionProduct,
    BatchNorm,
    Convolution,
    FloatNeuron,
    Graph,
    Image,
    IntegerNeuron,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Node,
    StatePlan,
    SumPool,
    TokenSum,
)
from dtss.compiler.graph.verify import Stage
from dtss.compiler.passes.base import PassBase, Target
from dtss.compiler.schedule.format import Steps

Facts = dict[tuple[str, int], str]  # (node, step) → why


@dataclass(frozen=True)
class PruneTimeSteps(PassBase):
    """Shortens every node's steps to those that the logits depend on."""

    name: ClassVar[str] = "prune-time-steps"
    requires: ClassVar[frozenset[Stage]] = frozenset({Stage.LOWERED})
    optional: ClassVar[bool] = True

    def run(self, graph: Graph, target: Target) -> Graph:
        zero = zero_facts(graph)
        needed = needed_steps(graph, zero)
        return graph.with_nodes(_prune(graph, node, zero, needed[node.name]) for node in graph.nodes)


def zero_facts(graph: Graph) -> Facts:
    """Forward sweep: every (node, step) whose value is known to be zero, and why."""
    zero: Facts = {}
    for node in graph.nodes:
        for step in range(graph.time_steps):
            reason = _zero_reason(graph, node, step, zero)
            if reason:
                zero[node.name, step] = reason
    return zero


def _zero_reason(graph: Graph, node: Node, step: int, zero: Facts) -> str:
    zero_inputs = [name for name in node.inputs if (name, step) in zero]
    match node.op:
        case Image() | BatchNorm():
            return ""
        case Lif():
            if step not in node.op.mask_steps:
                return "masked"
            silent = zero_inputs and cannot_fire_alone(node.op.neuron)
            return f"{zero_inputs[0]} is zero, and the state alone cannot fire" if silent else ""
        case Convolution() | Linear():
            return f"{zero_inputs[0]} is zero" if zero_inputs and node.op.bias is None else ""
        case Attention() | AttentionProduct():
            return f"{zero_inputs[0]} is zero" if zero_inputs else ""
        case Integrator():
            started = step > 0 and (node.name, step - 1) not in zero
            return f"{zero_inputs[0]} is zero" if zero_inputs and not started else ""
        case Add():
            return "all inputs are zero" if len(zero_inputs) == len(node.inputs) else ""
        case MaxPool() | SumPool() | TokenSum():
            return f"{zero_inputs[0]} is zero" if zero_inputs else ""
        case _:
            assert_never(node.op)


def cannot_fire_alone(neuron: FloatNeuron | IntegerNeuron) -> bool:
    """Whether H = leak(U) stays below the threshold whatever came before.

    After a hard reset to at most 0, U < θ at every step: it is either the reset value or an H that did not fire.
    A leak 0 ≤ λ ≤ 1 never raises a U above max(U, 0), in floats and in integers. A soft reset can leave U ≥ θ.
    """
    return (
        isinstance(neuron, FloatNeuron)
        and neuron.reset == "hard"
        and neuron.threshold > 0
        and max(neuron.reset_value, neuron.initial) <= 0
    )


def needed_steps(graph: Graph, zero: Facts) -> dict[str, frozenset[int]]:
    """Backward sweep: the steps at which each node's value is needed (zero ones included)."""
    every = frozenset(range(graph.time_steps))
    needed: dict[str, frozenset[int]] = {}
    for node in reversed(graph.nodes):
        wanted = [_wanted_by(consumer, needed[consumer.name], zero) for consumer in graph.consumers(node.name)]
        needed[node.name] = frozenset().union(*wanted, every if node.name == graph.output else frozenset())
        if isinstance(node.op, Integrator):
            needed[node.name] = frozenset(range(max(needed[node.name], default=-1) + 1))
    return needed


def reads_the_image(graph: Graph) -> bool:
    """Whether the logits depend on the image at any step, as far as the masks say."""
    zero = zero_facts(graph)
    needed = needed_steps(graph, zero)
    image = graph.nodes[0]
    return any(needed[node.name] - {step for name, step in zero if name == node.name}
               for node in graph.consumers(image.name))  # fmt: skip


def _wanted_by(consumer: Node, needed: frozenset[int], zero: Facts) -> frozenset[int]:
    computed = frozenset(step for step in needed if (consumer.name, step) not in zero)
    if not isinstance(consumer.op, Lif):
        return computed
    return frozenset(range(max(computed, default=-1) + 1))


def _prune(graph: Graph, node: Node, zero: Facts, needed: frozenset[int]) -> Node:
    every = range(graph.time_steps)
    if isinstance(node.op, Image):
        return node
    zeros = tuple(step for step in every if (node.name, step) in zero)
    live = [step for step in every if step in needed and step not in zeros]
    bias_only = tuple(step for step in live if _input_is_zero(node, step, zero))
    dead = tuple(step for step in every if step not in zeros and step not in live)
    steps = Steps(
        active=tuple(step for step in live if step not in bias_only),
        bias_only=bias_only,
        zero=zeros,
        dead=dead,
        why=tuple(_why(node, step, zero, bias_only, dead) for step in every),
    )
    return replace(node, steps=steps, state=_prune_state(graph, node, steps))


def _input_is_zero(node: Node, step: int, zero: Facts) -> bool:
    return isinstance(node.op, Convolution | Linear) and (node.inputs[0], step) in zero


def _why(node: Node, step: int, zero: Facts, bias_only: tuple[int, ...], dead: tuple[int, ...]) -> str:
    if step in dead:
        return "output not live"
    if step in bias_only:
        return f"bias only: {node.inputs[0]} is zero"
    return zero.get((node.name, step), "")


def _prune_state(graph: Graph, node: Node, steps: Steps) -> StatePlan | None:
    if node.state is None:
        return None
    last = max(steps.active, default=-1)
    live = tuple(range(last + 1))
    why = tuple("" if step <= last else "state not live" for step in range(graph.time_steps))
    accesses = tuple(step for step in node.state.membrane_reads if step in live)
    writes = tuple(step for step in node.state.membrane_writes if step in live)
    return replace(node.state, state_steps=live, membrane_reads=accesses, membrane_writes=writes, why=why)
