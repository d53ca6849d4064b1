"""LIF neurons and integrators: H = leak(U) + I, for all their time steps in one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AnyNode, Integrator, Lif, Product, Schedule
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak
from dtss.hwsim.kernels import run_neurons, within
from dtss.hwsim.products import Tensors, bias_of, current_bound
from dtss.hwsim.values import (
    Array,
    Currents,
    NodeRun,
    Read,
    Stack,
    check_bounds,
    computed_step,
    integer_for,
    largest,
    proved,
    stored_steps,
)
from dtss.hwsim.workspace import Workspace

BLOCK = 1024  # neurons whose state stays in the first cache
ANY_CURRENT = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # bounds of one that was looked at before


@dataclass(frozen=True)
class NeuronLayer:
    """A LIF layer with its parameters, those of a block, in an integer that holds every intermediate of a time step.

    source: of the currents.  bias, taken, biased, emitted: see `run_neurons`.
    bounds [state steps, 4]: proved of I, where nobody looked at it yet, and of U.
    """

    node: Lif
    source: AnyNode
    threshold: Array
    reset_to: Array
    initial: Array
    bias: Array
    taken: NDArray[np.int32]
    biased: NDArray[np.int32]
    emitted: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: Lif) -> NeuronLayer:
        """Everything that no image changes."""
        source = schedule.node(node.inputs[0])
        wide = integer_for(_potential_bound(schedule, tensors, node))
        sums = isinstance(source, Product) and source.neuron is not None
        none = np.zeros(source.channels, np.int64)
        bias = bias_of(tensors, source) if isinstance(source, Product) and sums else none
        threshold, reset_to, initial, added = (
            _fill_block(parameter.astype(wide))
            for parameter in (tensors[node.threshold], tensors[node.reset_to], tensors[node.initial], bias)
        )
        steps = [computed_step(source, step) for step in node.state_steps]
        bounds = np.tile(np.array([*ANY_CURRENT, node.membrane.low, node.membrane.high]), (len(steps), 1))
        if sums:
            unseen = [step not in source.steps.zero for step in node.state_steps]
            bounds[unseen, :2] = source.value.low, source.value.high
        return cls(
            node, source, threshold, reset_to, initial, added,
            taken=_places(steps, source.steps.active if sums else stored_steps(source)),
            biased=np.array([step not in source.steps.zero for step in steps], np.int32),
            emitted=_places(node.state_steps, node.steps.active),
            bounds=bounds,
        )  # fmt: skip

    def run(self, read: Read, batch: int, space: Workspace, *, record: bool) -> NodeRun:
        """Spikes at the active steps; membranes too, if they are to be recorded."""
        node = self.node
        held = read.held.sums if isinstance(read.held, Currents) else read.held
        assert isinstance(held, Stack)
        neurons, steps = batch * node.positions * node.channels, len(node.state_steps)
        spikes = space.empty((len(node.steps.active), batch, *node.shape), np.uint8)
        kept = steps if record else 0
        membranes = space.empty((kept, batch, *node.shape), self.initial.dtype)
        limits = np.empty((space.threads, steps, 4), np.int64)
        run_neurons(
            space.threads, held.frames.reshape(len(held.frames), neurons), node.channels, self.taken,
            1 << self._shift(), self.bias, self.biased, self.threshold, self.reset_to, self.initial,
            node.reset == "hard", *_leak_numbers(node.leak), self.emitted, spikes.reshape(len(spikes), neurons),
            membranes.reshape(kept, neurons), limits,
        )  # fmt: skip
        self._check(limits)
        recorded = Stack(node.state_steps, membranes) if record else Stack((), membranes)
        return NodeRun(node, batch, (read,), Stack(node.steps.active, spikes), membranes=recorded)

    def _shift(self) -> int:
        return self.source.current_shift if isinstance(self.source, Product) and self.source.neuron is not None else 0

    def _check(self, limits: NDArray[np.int64]) -> None:
        """The proved bounds of the membrane, and of a current that nobody looked at yet."""
        if within(limits, self.bounds):
            return
        lowest, highest = limits[..., 0::2].min(axis=0).tolist(), limits[..., 1::2].max(axis=0).tolist()
        for index, step in enumerate(self.node.state_steps):
            if self.bounds[index, 0] != ANY_CURRENT[0]:
                check_bounds(f"{self.source.name}.value", step, lowest[index][0], highest[index][0], self.source.value)
            check_bounds(f"{self.node.name}.membrane", step, lowest[index][1], highest[index][1], self.node.membrane)


def _places(steps: Sequence[int], stored: tuple[int, ...]) -> NDArray[np.int32]:
    """Where each step is stored, −1 for nowhere."""
    return np.array([stored.index(step) if step in stored else -1 for step in steps], np.int32)


def _fill_block(parameters: Array) -> Array:
    """Parameters [C] as often as they fit a block."""
    return np.tile(parameters, max(1, BLOCK // len(parameters)))


def _leak_numbers(leak: Leak) -> tuple[bool, int, int]:
    """(by_shift, leak_shift, leak_multiplier) as `run_neurons` takes them."""
    match leak:
        case ShiftLeak(shift=shift):
            return True, shift, 0
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return False, fraction_bits, multiplier
        case _:
            assert_never(leak)


def run_integrator(node: Integrator, read: Read, batch: int) -> NodeRun:
    """O[t] = leak(O[t−1]) + I[t]."""
    state: Array = np.zeros((batch, *node.shape), np.int64)
    made = []
    for step in node.steps.active:
        state = _leak(state, node.leak) + read[step]
        made.append(proved(node, step, state))
    frames = np.stack(made) if made else np.zeros((0, batch, *node.shape), np.int64)
    return NodeRun(node, batch, (read,), Stack(node.steps.active, frames))


def _leak(state: Array, leak: Leak) -> Array:
    match leak:
        case ShiftLeak(shift=shift):
            return state - (state >> shift)
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return (state * multiplier) >> fraction_bits
        case _:
            assert_never(leak)


def _potential_bound(schedule: Schedule, tensors: Tensors, node: Lif) -> int:
    """No intermediate of a time step is larger in magnitude."""
    threshold, reset_to, initial = (
        int(np.abs(tensors[name].astype(np.int64)).max()) for name in (node.threshold, node.reset_to, node.initial)
    )
    state = max(largest(node.membrane), initial)
    grown = state * max(2, abs(node.leak.multiplier)) if isinstance(node.leak, FixedLeak) else 2 * state
    return grown + _largest_current(schedule, tensors, node) + max(threshold, reset_to)


def _largest_current(schedule: Schedule, tensors: Tensors, node: Lif) -> int:
    """Of a product it is not yet looked at when it meets the membrane: what its weights allow counts."""
    source = schedule.node(node.inputs[0])
    if isinstance(source, Product):
        return max(largest(source.value), current_bound(schedule, tensors, source))
    return largest(source.value)
