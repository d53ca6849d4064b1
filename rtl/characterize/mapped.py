"""A netlist of Yosys with its connections, as write_json gives it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtss.compiler.schedule.errors import BadInputError


class Port(msgspec.Struct, frozen=True):
    direction: str
    bits: list[int | str]


class MappedCell(msgspec.Struct, frozen=True):
    type: str
    connections: dict[str, list[int | str]]


class MappedModule(msgspec.Struct, frozen=True):
    attributes: dict[str, str] = {}
    ports: dict[str, Port] = {}
    cells: dict[str, MappedCell] = {}


class MappedNetlist(msgspec.Struct, frozen=True):
    """As Yosys' write_json gives it. creator: Yosys and its version."""

    creator: str
    modules: dict[str, MappedModule]

    @property
    def top(self) -> MappedModule:
        return next(module for module in self.modules.values() if "top" in module.attributes)


def read_mapped(path: Path) -> MappedNetlist:
    """The file, or `BadInputError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=MappedNetlist)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(str(path), f"is not a netlist of Yosys: {error}", "map it again") from None
