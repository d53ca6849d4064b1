"""A mapped module in numbers: gates, flip-flops, and what each of their transitions costs.

A gate is one output pin of a combinational cell. Nets are numbered; 0 and 1 are the constants. A transition costs

    of a net       ½·C·V², C the capacitances of the input pins on it, and those pins' own internal_power
    of an output   its cell's internal_power for the input that moved it, at the net's load

The energies of a gate's output stand in a pool, at first + ((edge · n + cause) << n) + state: n inputs, edge 0 a rise,
cause the input that moved last, state the values of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_CELL = 6  # inputs: a truth table is a word of 64 bits
CONSTANTS = 2  # nets 0 and 1
OUTPUTS = 2  # of a flip-flop: its state and the inverted one

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gates:
    """G gates. inputs [G, 6]: nets, those beyond `input_counts` unused.  truth [G]: bit s is the output in state s.

    delays_ps [G, 2, 6]: by the output's edge and the input that moves it.  first_energy [G]: in the pool.
    order [G]: each gate after those that drive it.
    """

    inputs: Indices
    input_counts: Indices
    truth: NDArray[np.uint64]
    outputs: Indices
    delays_ps: Indices
    first_energy: Indices
    order: Indices


@dataclass(frozen=True)
class Registers:
    """F flip-flops. inputs, truth: as those of gates, of the next state; after the last input comes the present state.

    outputs [F, 2]: nets of the state and of the inverted one, −1 where none.  clocks [F]: its clock gate, −1 the clock.
    delays_ps, energies_pj [F, 2, 2]: from the clock, by output and edge.
    """

    inputs: Indices
    input_counts: Indices
    truth: NDArray[np.uint64]
    outputs: Indices
    clocks: Indices
    delays_ps: Indices
    energies_pj: Floats


@dataclass(frozen=True)
class ClockGates:
    """enables [K]: nets.  energies_pj [K]: of a cycle that passes, the clock pins behind the gate among it."""

    enables: Indices
    energies_pj: Floats


@dataclass(frozen=True)
class Fanout:
    """Gates on each net: those of net n are number starts[n] up to starts[n + 1], with the pin that is on it."""

    starts: Indices
    gates: Indices
    pins: Indices


@dataclass(frozen=True)
class GateNetlist:
    """One mapped module.

    inputs, outputs: nets of each port, the lowest bit first; the clock is not among them.
    net_energies_pj [nets, 2]: by edge.  pool_pj: of the gates' outputs.
    clock_pj: of one cycle, all pins on the clock and the net that joins them.
    """

    name: str
    cells: dict[str, int]
    area: float
    gates: Gates
    registers: Registers
    clock_gates: ClockGates
    fanout: Fanout
    inputs: dict[str, Indices]
    outputs: dict[str, Indices]
    input_delay_ps: int
    net_energies_pj: Floats
    pool_pj: Floats
    clock_pj: float
    register_leakage_uw: float
    logic_leakage_uw: float

    @property
    def register_count(self) -> int:
        return len(self.registers.truth)
