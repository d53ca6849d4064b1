"""LIF neurons and integrators: H = leak(U) + I, for all their time steps in one sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import Integrator, Lif, Product, Schedule
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak
from dtss.hwsim.kernels import run_neurons
from dtss.hwsim.products import Tensors, current_bound
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
    stack_of,
)

BLOCK = 1024  # neurons whose state stays in the first cache
NO_LIMITS = np.array([[np.iinfo(np.int64).max, np.iinfo(np.int64).min] * 2])


@dataclass(frozen=True)
class NeuronLayer:
    """A LIF layer with its parameters, those of a block, in an integer that holds every intermediate of a time step.

    emitted [state steps]: which of the active steps each is, −1 for none.
    """

    node: Lif
    threshold: Array
    reset_to: Array
    initial: Array
    emitted: NDArray[np.int32]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Tensors, node: Lif) -> NeuronLayer:
        """Everything that no image changes."""
        wide = integer_for(_potential_bound(schedule, tensors, node))
        active = node.steps.active
        threshold, reset_to, initial = (
            _fill_block(tensors[name].astype(wide)) for name in (node.threshold, node.reset_to, node.initial)
        )
        emitted = [active.index(step) if step in active else -1 for step in node.state_steps]
        return cls(node, threshold, reset_to, initial, np.array(emitted, np.int32))

    def run(self, read: Read, batch: int, *, record: bool) -> NodeRun:
        """Spikes at the active steps; membranes too, if they are to be recorded."""
        node, wide = self.node, self.initial.dtype
        spikes = np.empty((len(node.steps.active), batch, *node.shape), np.uint8)
        kept = len(node.state_steps) if record else 0
        membranes = np.empty((kept, batch, *node.shape), wide)
        limits = np.repeat(NO_LIMITS, len(node.state_steps), axis=0)
        by_shift, leak_shift, leak_multiplier = _leak_numbers(node.leak)
        sums, taken, shift, bias, biased = _currents(read, wide)
        neurons = batch * node.positions * node.channels
        run_neurons(
            sums.reshape(len(sums), neurons), taken, 1 << shift, _fill_block(bias), biased,
            self.threshold, self.reset_to, self.initial, node.reset == "hard", by_shift, leak_shift, leak_multiplier,
            self.emitted, spikes.reshape(len(spikes), neurons), membranes.reshape(kept, neurons), limits,
        )  # fmt: skip
        self._check(read, limits.tolist())
        recorded = Stack(node.state_steps, membranes) if record else Stack((), membranes)
        return NodeRun(node, batch, (read,), Stack(node.steps.active, spikes), membranes=recorded)

    def _check(self, read: Read, limits: list[list[int]]) -> None:
        """The proved bounds of the membrane, and of a current that nobody looked at yet."""
        for step, (lowest, highest, low, high) in zip(self.node.state_steps, limits, strict=True):
            if isinstance(read.held, Currents) and step not in read.node.steps.zero:
                check_bounds(f"{read.node.name}.value", step, lowest, highest, read.node.value)
            check_bounds(f"{self.node.name}.membrane", step, low, high, self.node.membrane)


def _fill_block(parameters: Array) -> Array:
    """Parameters [C] as often as they fit a block."""
    return np.tile(parameters, max(1, BLOCK // len(parameters)))


def _currents(read: Read, wide: Any) -> tuple[Array, NDArray[np.int32], int, Array, NDArray[np.int32]]:
    """What `run_neurons` makes currents of: sums of a product as they are, or values."""
    source, channels = read.node, read.node.channels
    steps = [computed_step(source, step) for step in read.steps]
    if isinstance(read.held, Currents):
        sums, bias, shift = read.held.sums, read.held.bias.astype(wide), read.held.node.current_shift
    else:
        available = tuple(dict.fromkeys(step for step in steps if step not in source.steps.zero))
        sums, bias, shift = stack_of(source, read.held, available, read.batch), np.zeros(channels, wide), 0
    taken = [sums.steps.index(step) if step in sums.steps else -1 for step in steps]
    biased = [step not in source.steps.zero for step in steps]
    return sums.frames, np.array(taken, np.int32), shift, bias, np.array(biased, np.int32)


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
