"""A layer as a person counts them: a product together with the neurons that its sums feed."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
import numpy as np

from dtss.compiler.schedule.cycles import CYCLE_KINDS
from dtss.compiler.schedule.format import Lif, Steps
from dtss.hwsim.energy import EnergyByKind
from dtss.hwsim.result import NodeResult, Result

State = Literal["active", "bias_only", "reused", "zero", "dead"]

STATES: tuple[State, ...] = get_args(State)
MARKS: dict[State, str] = {"active": "▮", "bias_only": "▯", "reused": "=", "zero": "0", "dead": "·"}
MEANINGS: dict[State, str] = {
    "active": "computed",
    "bias_only": "bias only: the input is zero",
    "reused": "reused: the same as before",
    "zero": "known to be zero",
    "dead": "not needed",
}


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the report; quantities are means over the images.

    states: for each time step, what happens to the value, and why.  neuron_states: the same of the LIF that
    walks the product.  rate: spikes per neuron and time step of the run, of T; None without neurons.
    """

    name: str
    neuron: str | None
    kind: str
    group: str | None
    states: tuple[State, ...]
    reasons: tuple[str, ...]
    neuron_states: tuple[State, ...]
    neuron_reasons: tuple[str, ...]
    cycles: float
    stream_cycles: float
    load_stall_cycles: float
    word_stall_cycles: float
    walk_cycles: float
    memory_stall_cycles: float
    fill_cycles: float
    elementwise_cycles: float
    control_cycles: float
    words_issued: float
    words_offered: float
    accumulates: float
    rate: float | None
    energy_pj: dict[str, float]
    compute_pj: float
    memory_pj: float
    leakage_pj: float

    @property
    def skipper_cycles(self) -> float:
        """The skipper looks at a group of zeros."""
        return self.stream_cycles - self.words_issued

    @property
    def whole_pj(self) -> float:
        return self.compute_pj + self.memory_pj + self.leakage_pj


def layers(result: Result) -> tuple[Layer, ...]:
    """All layers in execution order; a LIF that a product walks is part of that product's layer."""
    walked = {node.neuron for node in result.nodes if node.neuron is not None}
    by_name = {node.name: node for node in result.nodes}
    return tuple(
        _layer(result, node, by_name.get(node.neuron or "")) for node in result.nodes if node.name not in walked
    )


def _layer(result: Result, node: NodeResult, neuron: NodeResult | None) -> Layer:
    parts = [node] if neuron is None else [node, neuron]
    time_steps = result.schedule.time_steps

    def mean(count: str) -> float:
        return float(np.mean(np.sum([getattr(part.counts, count) for part in parts], axis=0)))

    waiting = float(np.mean(np.sum([part.dram.stall_cycles for part in parts], axis=0)))
    return Layer(
        name=node.name,
        neuron=None if neuron is None else neuron.name,
        kind=node.kind,
        group=node.group,
        states=states(node.node.steps, time_steps),
        reasons=node.node.steps.why or ("",) * time_steps,
        neuron_states=() if neuron is None else states(neuron.node.steps, time_steps),
        neuron_reasons=() if neuron is None else neuron.node.steps.why or ("",) * time_steps,
        cycles=mean("cycles") + waiting,
        **{kind: mean(kind) for kind in CYCLE_KINDS},
        memory_stall_cycles=waiting,
        words_issued=mean("words_issued"),
        words_offered=mean("words_offered"),
        accumulates=mean("accumulates"),
        rate=firing_rate(neuron or node, time_steps),
        energy_pj={
            kind: float(np.mean(np.sum([getattr(part.energy_pj, kind) for part in parts], axis=0)))
            for kind in EnergyByKind.__struct_fields__
        },
        compute_pj=float(np.mean(np.sum([part.compute_pj for part in parts], axis=0))),
        memory_pj=float(np.mean(np.sum([part.memory_pj for part in parts], axis=0))),
        leakage_pj=float(np.mean(np.sum([part.leakage_pj for part in parts], axis=0))),
    )


def states(steps: Steps, time_steps: int) -> tuple[State, ...]:
    """The state of each time step."""
    return tuple(next(state for state in STATES if step in getattr(steps, state)) for step in range(time_steps))


def firing_rate(node: NodeResult, time_steps: int) -> float | None:
    """Spikes per neuron and time step, over all T steps of the run and all images."""
    if node.spikes is None or not isinstance(node.node, Lif):
        return None
    return float(node.spikes.sum() / (len(node.spikes) * node.node.positions * node.node.channels * time_steps))


def marks(of: tuple[State, ...]) -> str:
    return "".join(MARKS[state] for state in of)
