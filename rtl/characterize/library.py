"""Standard cells as a liberty file describes them, in ps, pF, V, pJ and µW.

Tables of energy and delay are bilinear between their points, and go on with the outermost slope beyond them.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError
from dtss.rtl.characterize.liberty_text import Group, LibertySyntaxError, parse

HINT = "give a liberty file (.lib, or .lib.gz) of standard cells"
PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
PICO, MICRO = 1e-12, 1e-6
SLEW_VARIABLES = ("input_net_transition", "input_transition_time")
LOAD_VARIABLES = ("total_output_net_capacitance", "equal_or_opposite_output_net_capacitance")
EDGES = ("rise", "fall")


@dataclass(frozen=True)
class Table:
    """values [slews, loads]; one that does not depend on an axis has a single point on it, 0."""

    slews_ps: NDArray[np.float64]
    loads_pf: NDArray[np.float64]
    values: NDArray[np.float64]

    def at(self, slew_ps: float, load_pf: float) -> float:
        rows = [_on_lines(self.loads_pf, row, load_pf) for row in self.values]
        return _on_lines(self.slews_ps, np.array(rows), slew_ps)


@dataclass(frozen=True)
class Power:
    """One internal_power: pJ of a transition, caused by one of `related` pins (of any, if it names none)."""

    related: tuple[str, ...]
    when: str | None
    edges: dict[str, Table]


@dataclass(frozen=True)
class Arc:
    """One timing group to an output: ps from the related pin, and the output's transition, by the output's edge."""

    related: tuple[str, ...]
    delays: dict[str, Table]
    transitions: dict[str, Table]


@dataclass(frozen=True)
class Pin:
    """function: of an output.  capacitance_pf: of an input."""

    name: str
    is_output: bool
    capacitance_pf: float
    function: str | None
    powers: tuple[Power, ...]
    arcs: tuple[Arc, ...]


@dataclass(frozen=True)
class FlipFlop:
    """state: the names of its value and of the inverted one."""

    state: tuple[str, ...]
    clocked_on: str
    next_state: str


@dataclass(frozen=True)
class ClockGate:
    """A latch and an AND in the clock: `output` follows `clock` in the cycles after one in which `enable` was up."""

    clock: str
    enable: str
    output: str


@dataclass(frozen=True)
class Cell:
    """problem: why it cannot be simulated here, if it cannot."""

    name: str
    area: float
    leakage_uw: float | None
    pins: dict[str, Pin]
    flip_flop: FlipFlop | None
    clock_gate: ClockGate | None
    problem: str | None

    @property
    def inputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins.values() if not pin.is_output)

    @property
    def outputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins.values() if pin.is_output)


@dataclass(frozen=True)
class Library:
    name: str
    voltage_v: float
    temperature_c: float | None
    cells: dict[str, Cell]


def read_library(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> Library:
    """The cells of the file with a wanted name, or `BadInputError`."""
    return _Library(str(path), unpack(path).decode(errors="replace"), wanted).read()


def unpack(path: Path) -> bytes:
    """What the file holds, gzip undone."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        raise BadInputError(str(path), f"cannot be read ({error})", HINT) from None


class _Library:
    """Turns the groups of one file into cells."""

    def __init__(self, where: str, text: str, wanted: Callable[[str], bool]) -> None:
        self.where = where
        try:
            self.group = parse(text, wanted)
        except LibertySyntaxError as error:
            raise BadInputError(f"{where}: line {error.line}", error.found, HINT) from None
        self.time_ps = self._unit("time_unit", "s") / PICO
        self.leakage_uw = self._unit("leakage_power_unit", "W") / MICRO
        voltage = self._unit("voltage_unit", "V")
        self.capacitance_pf = self._capacitance_unit() / PICO
        self.energy_pj = self.capacitance_pf * voltage * voltage  # of internal_power, as the format defines it
        self.voltage_v = self._number(self.group, "nom_voltage") * voltage
        self.templates = {
            template.name: tuple(template.text(f"variable_{axis}") or "" for axis in (1, 2))
            for template in self.group.of_kind("lu_table_template", "power_lut_template")
        }
        self.template_axes = {
            template.name: {axis: template.attributes.get(f"index_{axis}") for axis in (1, 2)}
            for template in self.group.of_kind("lu_table_template", "power_lut_template")
        }

    def read(self) -> Library:
        cells = {group.name: self._cell(group) for group in self.group.of_kind("cell")}
        temperature = self.group.text("nom_temperature")
        return Library(self.group.name, self.voltage_v, None if temperature is None else float(temperature), cells)

    def _unit(self, attribute: str, unit: str) -> float:
        """Such as 1ns, in s."""
        text = self.group.text(attribute)
        found = re.fullmatch(rf"\s*([\d.eE+-]+)\s*([fpnumk]?){unit}\s*", text or "", re.IGNORECASE)
        if found is None:
            said = "is missing" if text is None else f"found {text!r}"
            raise BadInputError(f"{self.where}: {attribute}", said, f"energies need it: say it as 1n{unit}")
        return self._float(found[1], attribute) * PREFIXES[found[2].lower()]

    def _capacitance_unit(self) -> float:
        """capacitive_load_unit (1, pf), in F."""
        values = self.group.attributes.get("capacitive_load_unit", ())
        prefix = values[1].strip().lower().removesuffix("f") if len(values) == 2 else "?"
        if prefix not in PREFIXES:
            said = f"found {', '.join(values)}" if values else "is missing"
            raise BadInputError(f"{self.where}: capacitive_load_unit", said, "energies need it: say it as (1, pf)")
        return self._float(values[0], "capacitive_load_unit") * PREFIXES[prefix]

    def _cell(self, group: Group) -> Cell:
        area = group.text("area")
        clock_gate = self._clock_gate(group)
        return Cell(
            name=group.name,
            area=0.0 if area is None else self._float(area, f"{group.name}.area"),
            leakage_uw=self._leakage(group),
            pins={pin.name: self._pin(group, pin) for pin in group.of_kind("pin") if self._is_signal(pin)},
            flip_flop=next((self._flip_flop(inner) for inner in group.of_kind("ff")), None),
            clock_gate=clock_gate,
            problem=None if clock_gate is not None else self._problem(group),
        )

    @staticmethod
    def _flip_flop(group: Group) -> FlipFlop:
        return FlipFlop(group.arguments, group.text("clocked_on") or "", group.text("next_state") or "")

    @staticmethod
    def _clock_gate(group: Group) -> ClockGate | None:
        """A latch that is open while the clock is low, and an AND; others are no clock gates of ours."""
        if not (group.text("clock_gating_integrated_cell") or "").startswith("latch_posedge"):
            return None
        roles = ("clock_gate_clock_pin", "clock_gate_enable_pin", "clock_gate_out_pin")
        named = [next((pin.name for pin in group.of_kind("pin") if pin.text(role) == "true"), "") for role in roles]
        return ClockGate(*named) if all(named) else None

    @staticmethod
    def _problem(group: Group) -> str | None:
        held = next(group.of_kind("latch", "statetable", "memory", "latch_bank", "ff_bank"), None)
        if held is not None:
            return f"holds a {held.kind}"
        known = {"clocked_on", "next_state", "power_down_function"}
        more = [name for inner in group.of_kind("ff") for name in sorted(inner.attributes.keys() - known)]
        return f"has a flip-flop with {more[0]}" if more else None

    @staticmethod
    def _is_signal(pin: Group) -> bool:
        return pin.text("direction") in ("input", "output")

    def _leakage(self, group: Group) -> float | None:
        """µW: of the cell, else the mean over the states that the file names."""
        whole = group.text("cell_leakage_power")
        values = [whole] if whole is not None else [each.text("value") for each in group.of_kind("leakage_power")]
        found = [self._float(value, f"{group.name}.leakage_power") for value in values if value is not None]
        return None if not found else self.leakage_uw * sum(found) / len(found)

    def _pin(self, cell: Group, pin: Group) -> Pin:
        where = f"{cell.name}.{pin.name}"
        capacitance = pin.text("capacitance")
        is_output = pin.text("direction") == "output"
        if capacitance is None and not is_output:
            raise BadInputError(f"{self.where}: {where}", "has no capacitance", "energies need the load of every input")
        return Pin(
            name=pin.name,
            is_output=is_output,
            capacitance_pf=self.capacitance_pf * self._float(capacitance or "0", where),
            function=pin.text("function"),
            powers=tuple(self._power(where, group) for group in pin.of_kind("internal_power")),
            arcs=tuple(arc for group in pin.of_kind("timing") for arc in self._arcs(where, group)),
        )

    def _power(self, where: str, group: Group) -> Power:
        both = {inner.kind: self._table(where, inner, self.energy_pj) for inner in group.groups}
        edges = {edge: both.get(f"{edge}_power", both.get("power")) for edge in EDGES}
        found = {edge: table for edge, table in edges.items() if table is not None}
        if len(found) < len(EDGES):
            raise BadInputError(
                f"{self.where}: {where}", "has an internal_power without rise_power and fall_power", HINT
            )
        return Power(tuple((group.text("related_pin") or "").split()), group.text("when"), found)

    def _arcs(self, where: str, group: Group) -> Iterator[Arc]:
        """One, if the group has the delay and the transition of both edges: constraints and resets have not."""
        tables = {inner.kind: inner for inner in group.groups}
        delays, transitions = {edge: f"cell_{edge}" for edge in EDGES}, {edge: f"{edge}_transition" for edge in EDGES}
        if not {*delays.values(), *transitions.values()} <= tables.keys():
            return
        yield Arc(
            related=tuple((group.text("related_pin") or "").split()),
            delays={edge: self._table(where, tables[name], self.time_ps) for edge, name in delays.items()},
            transitions={edge: self._table(where, tables[name], self.time_ps) for edge, name in transitions.items()},
        )

    def _table(self, where: str, group: Group, scale: float) -> Table:
        """Either axis may come first, and either may be missing."""
        variables = self.templates.get(group.name, ("", ""))
        defaults = self.template_axes.get(group.name, {})
        values = np.array(self._numbers(group.attributes.get("values", ()), where)) * scale
        axes = []
        for axis, variable in enumerate(variables, start=1):
            index = group.attributes.get(f"index_{axis}") or defaults.get(axis) or ()
            if index and variable in (*SLEW_VARIABLES, *LOAD_VARIABLES):
                axes.append((variable in LOAD_VARIABLES, np.array(self._numbers(index, where))))
        shape = tuple(len(points) for _, points in axes)
        if math.prod(shape) != len(values):
            found = f"has a table of {len(values)} values for {' × '.join(map(str, shape)) or 'no'} points"
            raise BadInputError(f"{self.where}: {where}", found, "give each table the axes of its template")
        grid = values.reshape(shape)
        if [is_load for is_load, _ in axes] == [True, False]:
            axes, grid = axes[::-1], grid.T
        points = dict(axes)
        slews, loads = points.get(False, np.zeros(1)), points.get(True, np.zeros(1))
        return Table(slews * self.time_ps, loads * self.capacitance_pf, grid.reshape(len(slews), len(loads)))

    def _numbers(self, values: Sequence[str], where: str) -> list[float]:
        return [self._float(text, where) for value in values for text in re.split(r"[\s,\\]+", value) if text]

    def _number(self, group: Group, attribute: str) -> float:
        text = group.text(attribute)
        if text is None:
            raise BadInputError(f"{self.where}: {attribute}", "is missing", "energies need it")
        return self._float(text, attribute)

    def _float(self, text: str, where: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadInputError(f"{self.where}: {where}", f"found {text!r} where a number belongs", HINT)
        return number


def _on_lines(points: NDArray[np.float64], values: NDArray[np.float64], at: float) -> float:
    """On straight lines through (point, value), the outer ones continued."""
    if len(points) == 1:
        return float(values[0])
    segment = int(np.clip(np.searchsorted(points, at) - 1, 0, len(points) - 2))
    start, end = points[segment], points[segment + 1]
    low, high = values[segment], values[segment + 1]
    return float(low + (high - low) * (at - start) / (end - start))
