"""Event-driven simulation of a mapped module, with the energy of every transition.

A cycle: flip-flops take what settled in the cycle before, and change with the inputs after the delay of a flip-flop;
then gates follow one another, each after its own delay, until nothing moves. Delays are inertial: an output that
returns before its delay is over does not move. Every transition that remains is whole and costs its energy, so glitches
count.

`timed=False` lets each net move once at most, straight to its last value: what is left without glitches.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.kernel import kernel
from dtss.rtl.characterize.gates import Floats, GateNetlist, Indices

Bits = NDArray[np.uint8]
GATE_BITS = 24  # of an event: the rest is its time


@dataclass(frozen=True)
class Activity:
    """By cycle: energy, that of the clock apart, transitions, ps until all is still. outputs: port → [cycles, bits]."""

    energy_pj: Floats
    clock_pj: Floats
    transitions: Indices
    settled_ps: Indices
    net_transitions: Indices
    outputs: dict[str, Bits]


def simulate(netlist: GateNetlist, stimulus: Mapping[str, Bits], *, timed: bool = True) -> Activity:
    """stimulus: port → [cycles, bits]. Flip-flops begin with 0."""
    ports = list(netlist.inputs)
    drive = np.concatenate([stimulus[port] for port in ports], axis=1).astype(np.uint8)
    driven = np.concatenate([netlist.inputs[port] for port in ports])
    watched = np.concatenate(list(netlist.outputs.values()))
    gates, registers, fanout = netlist.gates, netlist.registers, netlist.fanout
    net_transitions = np.zeros(len(netlist.net_energies_pj), np.int64)
    seen = np.zeros((len(drive), len(watched)), np.uint8)
    energy, clock = np.zeros(len(drive)), np.full(len(drive), netlist.clock_pj)
    transitions, settled = np.zeros(len(drive), np.int64), np.zeros(len(drive), np.int64)
    _run(
        np.ascontiguousarray(drive), driven, watched, netlist.input_delay_ps,
        gates.inputs, gates.input_counts, gates.truth, gates.outputs, gates.delays_ps, gates.first_energy, gates.order,
        registers.inputs, registers.input_counts, registers.truth, registers.outputs, registers.delays_ps,
        registers.energies_pj, registers.clocks, netlist.clock_gates.enables, netlist.clock_gates.energies_pj,
        fanout.starts, fanout.gates, fanout.pins, netlist.net_energies_pj, netlist.pool_pj,
        timed, energy, clock, transitions, settled, net_transitions, seen,
    )  # fmt: skip
    ends = np.cumsum([len(nets) for nets in netlist.outputs.values()])[:-1]
    outputs = dict(zip(netlist.outputs, np.split(seen, ends, axis=1), strict=True))
    return Activity(energy, clock, transitions, settled, net_transitions, outputs)


@kernel
def _run(
    drive: Bits, driven: Indices, watched: Indices, input_delay: int,
    inputs: Indices, input_counts: Indices, truth: NDArray[np.uint64], outputs: Indices, delays: Indices,
    first_energy: Indices, order: Indices,
    register_inputs: Indices, register_counts: Indices, register_truth: NDArray[np.uint64],
    register_outputs: Indices, register_delays: Indices, register_energies: Floats, register_clocks: Indices,
    enables: Indices, enable_energies: Floats,
    fanout_starts: Indices, fanout_gates: Indices, fanout_pins: Indices, net_energies: Floats, pool: Floats,
    timed: bool, energy: Floats, clock: Floats, transitions: Indices, settled: Indices, net_transitions: Indices,
    seen: Bits,
) -> None:  # fmt: skip
    """Events are time << 24 | source: gates first, then outputs of flip-flops, then inputs from outside."""
    count, registers = len(truth), len(register_truth)
    value = np.zeros(len(net_energies), np.uint8)
    value[1] = 1
    held = np.zeros(registers, np.uint8)
    state = np.zeros(count, np.int64)
    due = np.full(count, -1, np.int64)  # when a gate's output moves, −1 if it does not
    cause = np.zeros(count, np.int64)  # the input that moved last
    waiting = np.zeros(count, np.uint8)  # to be looked at, where delays do not count
    for register in range(registers):
        if register_outputs[register, 1] >= 0:
            value[register_outputs[register, 1]] = 1
    for gate in order:
        for pin in range(input_counts[gate]):
            state[gate] |= np.int64(value[inputs[gate, pin]]) << pin
        value[outputs[gate]] = (truth[gate] >> np.uint64(state[gate])) & np.uint64(1)
    events = [np.int64(0)]
    events.pop()
    for cycle in range(len(drive)):
        for enable in range(len(enables)):
            if value[enables[enable]]:
                clock[cycle] += enable_energies[enable]
        for register in range(registers):
            if register_clocks[register] >= 0 and value[enables[register_clocks[register]]] == 0:
                continue
            at = np.int64(held[register]) << register_counts[register]
            for pin in range(register_counts[register]):
                at |= np.int64(value[register_inputs[register, pin]]) << pin
            if (register_truth[register] >> np.uint64(at)) & np.uint64(1) == held[register]:
                continue
            held[register] ^= 1
            for which in range(2):
                if register_outputs[register, which] >= 0:
                    edge = 1 - (held[register] ^ which)
                    late = register_delays[register, which, edge]
                    heapq.heappush(events, late << GATE_BITS | (count + 2 * register + which))
        for port in range(len(driven)):
            if drive[cycle, port] != value[driven[port]]:
                heapq.heappush(events, np.int64(input_delay) << GATE_BITS | (count + 2 * registers + port))
        spent, moved, next_in_order, now = 0.0, 0, 0, np.int64(0)
        while True:
            if len(events) > 0:
                event = heapq.heappop(events)
                now, source = event >> GATE_BITS, event & ((1 << GATE_BITS) - 1)
                if source < count:
                    if due[source] != now:
                        continue  # taken back, or moved to another time
                    due[source] = -1
            elif not timed and next_in_order < count:
                source = order[next_in_order]
                next_in_order += 1
                if waiting[source] == 0:
                    continue
                waiting[source] = 0
                if (truth[source] >> np.uint64(state[source])) & np.uint64(1) == value[outputs[source]]:
                    continue
            else:
                break
            if source < count:
                net = outputs[source]
                inputs_here = input_counts[source]
                place = (np.int64(value[net]) * inputs_here + cause[source]) << inputs_here
                spent += pool[first_energy[source] + place + state[source]]
            elif source < count + 2 * registers:
                moving, side = (source - count) // 2, (source - count) % 2
                net = register_outputs[moving, side]
                spent += register_energies[moving, side, value[net]]
            else:
                net = driven[source - count - 2 * registers]
            spent += net_energies[net, value[net]]
            value[net] ^= 1
            moved += 1
            net_transitions[net] += 1
            for sink in range(fanout_starts[net], fanout_starts[net + 1]):
                gate, pin = fanout_gates[sink], fanout_pins[sink]
                state[gate] ^= 1 << pin
                cause[gate] = pin
                if not timed:
                    waiting[gate] = 1
                    continue
                wanted = (truth[gate] >> np.uint64(state[gate])) & np.uint64(1)
                if wanted == value[outputs[gate]]:
                    due[gate] = -1
                elif due[gate] < 0:
                    due[gate] = now + delays[gate, 1 - wanted, pin]
                    heapq.heappush(events, due[gate] << GATE_BITS | gate)
        energy[cycle], transitions[cycle], settled[cycle] = spent, moved, now
        for port in range(len(watched)):
            seen[cycle, port] = value[watched[port]]
