"""From Yosys' netlist and a library of cells to the numbers that the simulation needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.rtl.characterize.formulas import FormulaError, Truth, names_of, truth_table
from dtss.rtl.characterize.gates import (
    CONSTANTS,
    LARGEST_CELL,
    OUTPUTS,
    ClockGates,
    Fanout,
    Floats,
    GateNetlist,
    Gates,
    Indices,
    Registers,
)
from dtss.rtl.characterize.library import EDGES, Cell, Library, Pin, Power
from dtss.rtl.characterize.mapped import MappedCell, MappedModule

NOTHING = -1  # a pin without a net
CLOCK = "clock"  # port of every module here


def build(name: str, module: MappedModule, library: Library, slew_ps: float) -> GateNetlist:
    """The module in numbers; an error names the cell that cannot be simulated.

    slew_ps: transition of what comes from outside, of the clock, and at a driver's inputs when its own is looked up.
    """
    return _Builder(name, module, library, slew_ps).build()


@dataclass(frozen=True)
class _Instance:
    """One cell of the module, with the net at each of its pins."""

    cell: Cell
    nets: dict[str, int]

    @property
    def outputs(self) -> list[Pin]:
        return [pin for pin in self.cell.outputs if self.nets[pin.name] != NOTHING]


@dataclass(frozen=True)
class _Logic:
    """What a gate or a flip-flop computes, of which pins."""

    pins: tuple[str, ...]
    truth: Truth


class _Builder:
    def __init__(self, name: str, module: MappedModule, library: Library, slew_ps: float) -> None:
        self.name, self.library, self.slew_ps = name, library, slew_ps
        self.numbers: dict[int | str, int] = {"0": 0, "x": 0, "z": 0, "1": 1}
        ports = {port: (bits.direction, self._nets(bits.bits)) for port, bits in module.ports.items()}
        self.inputs = {port: nets for port, (kind, nets) in ports.items() if kind == "input" and port != CLOCK}
        self.outputs = {port: nets for port, (kind, nets) in ports.items() if kind == "output"}
        self.clock = int(ports[CLOCK][1][0]) if CLOCK in ports else NOTHING
        instances = [self._instance(cell) for _, cell in sorted(module.cells.items())]
        self.instances = instances
        self.flip_flops = [instance for instance in instances if instance.cell.flip_flop is not None]
        self.clock_gates = [instance for instance in instances if instance.cell.clock_gate is not None]
        self.logic = [each for each in instances if each.cell.flip_flop is None and each.cell.clock_gate is None]
        self.clocks = {self.clock: NOTHING} | {
            self._gated(each): number for number, each in enumerate(self.clock_gates)
        }
        self.loads_pf = self._loads()
        self.slews_ps = self._slews()
        self.pool: list[Floats] = [np.zeros(1)]
        self.places: dict[tuple[str, str, tuple[float, ...]], int] = {}

    def build(self) -> GateNetlist:
        gates = self._gates()
        registers = self._registers()
        delays = registers.delays_ps[registers.delays_ps > 0]
        return GateNetlist(
            name=self.name,
            cells=dict(sorted(Counter(instance.cell.name for instance in self.instances).items())),
            area=sum(instance.cell.area for instance in self.instances),
            gates=gates,
            registers=registers,
            clock_gates=self._clock_gates(),
            fanout=self._fanout(gates),
            inputs=self.inputs,
            outputs=self.outputs,
            input_delay_ps=int(np.median(delays)) if len(delays) else 1,
            net_energies_pj=self._net_energies(),
            pool_pj=np.concatenate(self.pool),
            clock_pj=self._clock_energy(self.clock) if self.clock != NOTHING else 0.0,
            register_leakage_uw=sum(self._leakage(instance.cell) for instance in self.flip_flops),
            logic_leakage_uw=sum(self._leakage(instance.cell) for instance in (*self.logic, *self.clock_gates)),
        )

    # ---- cells and nets

    def _nets(self, bits: Sequence[int | str]) -> Indices:
        return np.array([self._net(bit) for bit in bits], np.int64)

    def _net(self, bit: int | str) -> int:
        return self.numbers.setdefault(bit, CONSTANTS + len(self.numbers) - 4)

    def _instance(self, mapped: MappedCell) -> _Instance:
        if mapped.type not in self.library.cells:
            raise CheckFailedError(self.name, f"{mapped.type} is left unmapped", "the library has nothing for it")
        cell = self.library.cells[mapped.type]
        if cell.problem is not None:
            raise self._bad(cell, cell.problem, "only gates and flip-flops without set and reset are simulated here")
        nets = {pin: self._nets(mapped.connections.get(pin, [])) for pin in cell.pins}
        return _Instance(cell, {pin: int(bits[0]) if len(bits) else NOTHING for pin, bits in nets.items()})

    def _bad(self, cell: Cell, found: str, hint: str, pin: str = "") -> BadInputError:
        return BadInputError(f"{self.library.name}: {cell.name}{pin and '.'}{pin}", found, hint)

    def _leakage(self, cell: Cell) -> float:
        if cell.leakage_uw is None:
            raise self._bad(cell, "has no leakage", "give it a cell_leakage_power")
        return cell.leakage_uw

    def _loads(self) -> Floats:
        """pF on each net."""
        loads = np.zeros(CONSTANTS + len(self.numbers) - 4)
        for instance in self.instances:
            for pin in instance.cell.inputs:
                if instance.nets[pin.name] != NOTHING:
                    loads[instance.nets[pin.name]] += pin.capacitance_pf
        return loads

    def _slews(self) -> Floats:
        """Transition of each net: its driver's with the stated one at the inputs, the mean of its arcs and edges."""
        slews = np.full(len(self.loads_pf), self.slew_ps)
        for instance in self.instances:
            for pin in instance.outputs:
                load = self.loads_pf[instance.nets[pin.name]]
                found = [arc.transitions[edge].at(self.slew_ps, load) for arc in pin.arcs for edge in EDGES]
                if found:
                    slews[instance.nets[pin.name]] = max(0.0, fmean(found))
        return slews

    # ---- gates

    def _gates(self) -> Gates:
        found = [(instance, pin, self._logic_of(instance, pin)) for instance in self.logic for pin in instance.outputs]
        inputs = np.zeros((len(found), LARGEST_CELL), np.int64)
        delays = np.ones((len(found), len(EDGES), LARGEST_CELL), np.int64)
        for gate, (instance, pin, logic) in enumerate(found):
            nets = [max(0, instance.nets[name]) for name in logic.pins]
            inputs[gate, : len(nets)] = nets
            for edge, name in enumerate(EDGES):
                delays[gate, edge, : len(nets)] = [self._delay(instance, pin, cause, name) for cause in logic.pins]
        outputs = np.array([instance.nets[pin.name] for instance, pin, _ in found], np.int64)
        counts = np.array([len(logic.pins) for *_, logic in found], np.int64)
        return Gates(
            inputs=inputs,
            input_counts=counts,
            truth=np.array([_word(logic.truth) for *_, logic in found], np.uint64),
            outputs=outputs,
            delays_ps=delays,
            first_energy=np.array([self._energies(*each) for each in found], np.int64),
            order=self._order(inputs, counts, outputs),
        )

    def _logic_of(self, instance: _Instance, pin: Pin) -> _Logic:
        cell = instance.cell
        if pin.function is None:
            raise self._bad(cell, "has no function", "only cells with a function can be simulated", pin.name)
        return self._logic(cell, pin.function, tuple(each.name for each in cell.inputs))

    def _logic(self, cell: Cell, formula: str, pins: tuple[str, ...]) -> _Logic:
        if len(pins) > LARGEST_CELL:
            raise self._bad(cell, f"has {len(pins)} inputs", f"at most {LARGEST_CELL} are simulated here")
        try:
            return _Logic(pins, truth_table(formula, pins))
        except FormulaError as error:
            raise self._bad(cell, str(error), "correct the formula") from None

    def _delay(self, instance: _Instance, pin: Pin, cause: str, edge: str) -> int:
        """ps, at least 1: the mean of the arcs from the input that moves it, of all arcs if it has none of its own."""
        if not pin.arcs:
            raise self._bad(
                instance.cell, "has no timing", "glitches follow from delays: give cell_rise and cell_fall", pin.name
            )
        arcs = [arc for arc in pin.arcs if cause in arc.related] or pin.arcs
        slew, load = self.slews_ps[max(0, instance.nets[cause])], self.loads_pf[instance.nets[pin.name]]
        return max(1, round(fmean(arc.delays[edge].at(slew, load) for arc in arcs)))

    def _energies(self, instance: _Instance, pin: Pin, logic: _Logic) -> int:
        """Where in the pool; equal cells at equal loads share a place."""
        load = self.loads_pf[instance.nets[pin.name]]
        slews = tuple(float(self.slews_ps[max(0, instance.nets[name])]) for name in logic.pins)
        key = (instance.cell.name, pin.name, (float(load), *slews))
        if key not in self.places:
            self.places[key] = sum(map(len, self.pool))
            self.pool.append(self._pool(instance, pin, logic, slews, load))
        return self.places[key]

    def _pool(self, instance: _Instance, pin: Pin, logic: _Logic, slews: Sequence[float], load: float) -> Floats:
        """By edge, cause and state. In a state for which the file has no energy, the mean of the other states."""
        if logic.pins and not pin.powers:
            raise self._bad(instance.cell, "has no internal_power", "every cell that switches needs it", pin.name)
        states = 1 << len(logic.pins)
        energies = np.zeros((len(EDGES), len(logic.pins), states))
        for cause, name in enumerate(logic.pins):
            powers = [power for power in pin.powers if name in power.related or not power.related] or pin.powers
            holds = np.array([_holds(power, logic.pins) for power in powers])
            holds[:, ~holds.any(axis=0)] = True
            for edge, kind in enumerate(EDGES):
                each = np.array([power.edges[kind].at(slews[cause], load) for power in powers])
                energies[edge, cause] = each @ holds / holds.sum(axis=0)
        return energies.ravel()

    def _order(self, inputs: Indices, counts: Indices, outputs: Indices) -> Indices:
        driver = {int(net): gate for gate, net in enumerate(outputs)}
        after: list[list[int]] = [[] for _ in outputs]
        waits = np.zeros(len(outputs), np.int64)
        for gate, count in enumerate(counts):
            for net in inputs[gate, :count].tolist():
                if net in driver:
                    after[driver[net]].append(gate)
                    waits[gate] += 1
        order = [gate for gate, count in enumerate(waits) if count == 0]
        for gate in order:
            for follower in after[gate]:
                waits[follower] -= 1
                if waits[follower] == 0:
                    order.append(follower)
        if len(order) < len(outputs):
            raise CheckFailedError(self.name, "has a loop of gates", "only logic between registers is simulated here")
        return np.array(order, np.int64)

    def _fanout(self, gates: Gates) -> Fanout:
        sinks = sorted(
            (int(net), gate, pin)
            for gate, count in enumerate(gates.input_counts)
            for pin, net in enumerate(gates.inputs[gate, :count])
        )
        nets = np.array([net for net, _, _ in sinks], np.int64)
        return Fanout(
            starts=np.searchsorted(nets, np.arange(len(self.loads_pf) + 1)),
            gates=np.array([gate for _, gate, _ in sinks], np.int64),
            pins=np.array([pin for _, _, pin in sinks], np.int64),
        )

    # ---- flip-flops, the clock, nets

    def _registers(self) -> Registers:
        count = len(self.flip_flops)
        inputs = np.zeros((count, LARGEST_CELL), np.int64)
        outputs = np.full((count, OUTPUTS), NOTHING)
        delays, energies = np.zeros((count, OUTPUTS, len(EDGES)), np.int64), np.zeros((count, OUTPUTS, len(EDGES)))
        truths, counts, clocks = [], [], []
        for number, instance in enumerate(self.flip_flops):
            logic, clock_pin = self._next_state(instance), self._clock_pin(instance)
            pins = logic.pins[:-1]
            inputs[number, : len(pins)] = [max(0, instance.nets[name]) for name in pins]
            truths.append(_word(logic.truth))
            counts.append(len(pins))
            clocks.append(self.clocks[instance.nets[clock_pin]])
            for pin in instance.outputs:
                which = self._which_state(instance.cell, pin)
                outputs[number, which] = net = instance.nets[pin.name]
                if not pin.powers:
                    raise self._bad(
                        instance.cell, "has no internal_power", "every cell that switches needs it", pin.name
                    )
                for edge, kind in enumerate(EDGES):
                    delays[number, which, edge] = self._delay(instance, pin, clock_pin, kind)
                    found = [power for power in pin.powers if clock_pin in power.related] or pin.powers
                    energies[number, which, edge] = fmean(
                        power.edges[kind].at(self.slews_ps[instance.nets[clock_pin]], self.loads_pf[net])
                        for power in found
                    )
        return Registers(
            inputs=inputs,
            input_counts=np.array(counts, np.int64),
            truth=np.array(truths, np.uint64),
            outputs=outputs.astype(np.int64),
            clocks=np.array(clocks, np.int64),
            delays_ps=delays,
            energies_pj=energies,
        )

    def _next_state(self, instance: _Instance) -> _Logic:
        """Of the pins in the formula and, last, the present state."""
        cell = instance.cell
        assert cell.flip_flop is not None
        state, inverted = (*cell.flip_flop.state, "", "")[:2]
        formula = _without(inverted, state, cell.flip_flop.next_state)
        pins = tuple(name for name in names_of(formula) if name != state)
        return self._logic(cell, formula, (*pins, state))

    def _which_state(self, cell: Cell, pin: Pin) -> int:
        """0: the state, 1: the inverted one."""
        assert cell.flip_flop is not None
        state, inverted = (*cell.flip_flop.state, "", "")[:2]
        truth = self._logic(cell, _without(inverted, state, pin.function or ""), (state,)).truth
        if truth[0] == truth[1]:
            raise self._bad(cell, "is not the state of its flip-flop", "only such outputs are simulated", pin.name)
        return int(truth[0])

    def _clock_pin(self, instance: _Instance) -> str:
        cell = instance.cell
        assert cell.flip_flop is not None
        pin = cell.flip_flop.clocked_on.strip("() ")
        if pin not in cell.pins or instance.nets[pin] not in self.clocks:
            found = f"is clocked on {cell.flip_flop.clocked_on!r}, which is not the clock"
            raise self._bad(
                cell, found, "only flip-flops of the rising edge, and clock gates with a latch, are simulated"
            )
        return pin

    def _gated(self, instance: _Instance) -> int:
        """The clock behind a clock gate."""
        gate = instance.cell.clock_gate
        assert gate is not None
        if instance.nets[gate.clock] != self.clock:
            raise self._bad(
                instance.cell, "is not on the clock itself", "clock gates behind one another are not simulated"
            )
        return instance.nets[gate.output]

    def _clock_gates(self) -> ClockGates:
        enables, energies = [], []
        for instance in self.clock_gates:
            gate = instance.cell.clock_gate
            assert gate is not None
            net, pin = self._gated(instance), instance.cell.pins[gate.output]
            if not pin.powers:
                raise self._bad(instance.cell, "has no internal_power", "every cell that switches needs it", pin.name)
            own = sum(
                fmean(power.edges[edge].at(self.slew_ps, self.loads_pf[net]) for power in pin.powers) for edge in EDGES
            )
            enables.append(instance.nets[gate.enable])
            energies.append(own + self._clock_energy(net))
        return ClockGates(np.array(enables, np.int64), np.array(energies, np.float64))

    def _clock_energy(self, net: int) -> float:
        """pJ of a rise and a fall of a clock: C·V², and internal_power of the pins on it."""
        pins = [
            pin for instance in (*self.flip_flops, *self.clock_gates) for pin in instance.cell.inputs
            if instance.nets[pin.name] == net
        ]  # fmt: skip
        internal = sum(self._pin_energy(pin, edge, self.slews_ps[net]) for pin in pins for edge in EDGES)
        return internal + sum(pin.capacitance_pf for pin in pins) * self.library.voltage_v**2

    def _net_energies(self) -> Floats:
        """½·C·V² and internal_power of the input pins, by edge; those of the clocks are never asked for."""
        energies = np.repeat(self.loads_pf[:, None] * self.library.voltage_v**2 / 2, len(EDGES), axis=1)
        for instance in self.instances:
            for pin in instance.cell.inputs:
                net = instance.nets[pin.name]
                if net != NOTHING:
                    energies[net] += [self._pin_energy(pin, edge, self.slews_ps[net]) for edge in EDGES]
        return energies

    @staticmethod
    def _pin_energy(pin: Pin, edge: str, slew_ps: float) -> float:
        """Of an input pin alone, the mean of the states that the file names; 0 where it has none."""
        return fmean(power.edges[edge].at(slew_ps, 0.0) for power in pin.powers) if pin.powers else 0.0


def _holds(power: Power, pins: Sequence[str]) -> Truth:
    """In which states the energy applies: all of them, if it has no condition on these pins."""
    if power.when is None:
        return np.ones(1 << len(pins), np.bool_)
    try:
        return truth_table(power.when, pins)
    except FormulaError:
        return np.ones(1 << len(pins), np.bool_)


def _without(inverted: str, state: str, formula: str) -> str:
    """The formula with !state for the inverted state."""
    return re.sub(rf"\b{re.escape(inverted)}\b", f"(!{state})", formula) if inverted else formula


def _word(truth: Truth) -> int:
    return sum(1 << state for state, value in enumerate(truth.tolist()) if value)
