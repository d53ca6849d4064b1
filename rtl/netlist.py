"""What a netlist of Yosys consists of: its hierarchy, and the cells of each part counted by resource."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from dtss.compiler.schedule.errors import BadInputError

# Resources that a cell of the library takes: the first pattern that its type matches.
Rules = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
SEVEN_SERIES_CELLS: Rules = (  # AMD UG953, primitives; LUTs of a RAM by its pieces of 64 bits
    (r"LUT\d|INV", (("lut", 1),)),
    (r"RAM32M|RAM64M", (("lut", 4), ("lutram", 4))),
    (r"RAM(32|64)X1D", (("lut", 2), ("lutram", 2))),
    (r"RAM128X1D", (("lut", 4), ("lutram", 4))),
    (r"SRL\w*", (("lut", 1), ("lutram", 1))),
    (r"FD\w+", (("ff", 1),)),
    (r"CARRY4", (("carry4", 1),)),
    (r"RAMB18E1", (("ramb18", 1),)),
    (r"RAMB36E1", (("ramb36", 1),)),
    (r"DSP\w*", (("dsp", 1),)),
)
ECP5_CELLS: Rules = (  # Lattice TN1264; a CCU2C is two LUTs with their carry
    (r"LUT4", (("lut", 1),)),
    (r"CCU2C", (("lut", 2), ("ccu2c", 1))),
    (r"TRELLIS_DPR16X4", (("lut", 4), ("lutram", 4))),
    (r"TRELLIS_FF", (("ff", 1),)),
    (r"DP16KD", (("ebr", 1),)),
    (r"MULT\w+|ALU54B", (("dsp", 1),)),
)

# Memories that a liberty file has nothing for: they are left out there, and their bits counted.
MEMORIES = ("synchronous_memory", "lane_memory", "membrane_memory")


class Cell(msgspec.Struct, frozen=True):
    type: str


class NetlistModule(msgspec.Struct, frozen=True):
    cells: dict[str, Cell] = {}
    attributes: dict[str, str] = {}
    parameter_default_values: dict[str, str] = {}

    @property
    def is_library(self) -> bool:
        return bool({"blackbox", "whitebox", "abc9_box_id", "abc9_lut"} & self.attributes.keys())


class Netlist(msgspec.Struct, frozen=True):
    """As Yosys' write_json gives it, as far as it is needed here."""

    creator: str
    modules: dict[str, NetlistModule]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Equal instances in one place. `resources` are those of all of them, with what is inside."""

    path: str
    module: str
    instances: int
    resources: dict[str, int | float]


def read_netlist(path: Path) -> Netlist:
    """The file, or `BadInputError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Netlist)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(str(path), f"is not a netlist of Yosys: {error}", "synthesise again") from None


def module_name(name: str) -> str:
    """The module's name in the source, of the name that Yosys gives to it with its parameters."""
    return name.split("\\")[1] if name.startswith("$paramod\\") else name.rpartition("\\")[2]


def memory_bits(memory: NetlistModule) -> int:
    """Capacity of one of MEMORIES."""
    numbers = {name: int(bits, 2) for name, bits in memory.parameter_default_values.items() if set(bits) <= {"0", "1"}}
    if "WIDTH" in numbers:
        return numbers["WIDTH"] * numbers["ROWS"]
    return numbers["COLUMNS"] * numbers["MEMBRANE_BITS"] << numbers["MEMBRANE_ADDRESS_BITS"]


class Resources:
    """Resources of the modules of a netlist, each worked out once."""

    def __init__(self, netlist: Netlist, rules: Rules, areas: Mapping[str, float] | None = None) -> None:
        """With `areas`, by cell of a liberty file, there are also `cells` and `area`."""
        self._modules, self._areas = netlist.modules, areas
        self._rules = [(re.compile(pattern), taken) for pattern, taken in rules]
        self._known: dict[str, dict[str, int | float]] = {}

    def is_ours(self, kind: str) -> bool:
        """An instance of the design, no cell of the library."""
        return kind in self._modules and not self._modules[kind].is_library

    def of(self, kind: str) -> dict[str, int | float]:
        """One instance, with what is inside of it."""
        if kind not in self._known:
            total: Counter[str] = Counter()
            for cell in self._modules[kind].cells.values():
                total.update(self.of(cell.type) if self.is_ours(cell.type) else self._taken(cell.type))
            self._known[kind] = dict(total)
        return self._known[kind]

    def _taken(self, cell: str) -> dict[str, int | float]:
        if self._areas is not None:
            if cell in self._areas:
                return {"cells": 1, "area": self._areas[cell]}
            return {"memory_bits": memory_bits(self._modules[cell])} if module_name(cell) in MEMORIES else {}
        return dict(next((taken for pattern, taken in self._rules if pattern.fullmatch(cell)), ()))

    def uses(self, kind: str, path: str, instances: int = 1) -> Iterator[Use]:
        """The instance and everything below it, equal instances beside each other as one."""
        total = {name: round(count * instances, 3) for name, count in sorted(self.of(kind).items())}
        yield Use(path=path, module=module_name(kind), instances=instances, resources=total)
        inside: dict[str, list[str]] = {}
        for name, cell in self._modules[kind].cells.items():
            if self.is_ours(cell.type):
                inside.setdefault(cell.type, []).append(name)
        for below, names in sorted(inside.items(), key=lambda item: min(item[1])):
            label = names[0] if len(names) == 1 else module_name(below)
            yield from self.uses(below, f"{path}/{label}", instances * len(names))


def unmapped(netlist: Netlist) -> list[str]:
    """Cells that the library has nothing for, as they are left inside."""
    ours = (module for module in netlist.modules.values() if not module.is_library)
    return sorted({cell.type for module in ours for cell in module.cells.values() if cell.type.startswith("$_")})
