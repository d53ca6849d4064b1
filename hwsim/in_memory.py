"""What the stored weights of a network would take on crossbars of memory cells: SpikeSim's accounting, beside ours.

This is no technology table, because its energies are of no event that our machine has: a crossbar holds its weights for
good (none is loaded, none streams), its cells add in the analogue domain (no accumulate is an event), and a PE-cycle
costs the same however many spikes enter. So it depends on the schedule alone. With X the side of a crossbar and k² the
offsets of a kernel,

    PE-cycles of a product = ⌈inputs / X⌉ · ⌈outputs / X⌉ · positions · computed steps · planes
    energy of a PE-cycle   = h_tree + tile_buffer + fetch + neuron
                             + X/8 · (k² · crossbar + X/8 · (adc + mux) + 16 · subtractor + temporary_buffer)

A weight is one cell pair, whatever its bits; values of several bits enter plane by plane, as in our machine. Attention
multiplies two activations and has no stored weights: SpikeSim has no such layer, and it is left out, by name. No
network between tiles, no DRAM and no leakage are in these numbers.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from math import ceil, prod
from pathlib import Path

import msgspec

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import AttentionProduct, Convolution, Linear, Schedule
from dtss.hwsim.technology import Entry

COLUMNS_OF_A_GROUP = 8
SUBTRACTIONS_OF_A_GROUP = 16


class InMemoryTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Energies of the parts of a PE."""

    name: str
    description: str
    node_nm: float
    crossbar_size: int
    crossbar: Entry
    adc: Entry
    mux: Entry
    subtractor: Entry
    temporary_buffer: Entry
    h_tree: Entry
    tile_buffer: Entry
    fetch: Entry
    neuron: Entry


class InMemoryProduct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product on crossbars, for an image."""

    name: str
    pe_cycles: int
    energy_pj: float


class InMemoryResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network on crossbars. left_out: the attention products, which have no stored weights."""

    table: InMemoryTable
    products: tuple[InMemoryProduct, ...]
    left_out: tuple[str, ...]
    pe_cycles: int
    energy_pj: float


def on_crossbars(schedule: Schedule, table: InMemoryTable) -> InMemoryResult:
    """The same for every image."""
    products = tuple(
        _product(schedule, node, table) for node in schedule.nodes if isinstance(node, Convolution | Linear)
    )
    return InMemoryResult(
        table=table,
        products=products,
        left_out=tuple(node.name for node in schedule.nodes if isinstance(node, AttentionProduct)),
        pe_cycles=sum(product.pe_cycles for product in products),
        energy_pj=sum(product.energy_pj for product in products),
    )


def _product(schedule: Schedule, node: Convolution | Linear, table: InMemoryTable) -> InMemoryProduct:
    source = schedule.node(node.inputs[0])
    size, offsets = table.crossbar_size, prod(node.kernel) if isinstance(node, Convolution) else 1
    crossbars = ceil(source.channels / size) * ceil(node.channels / size)
    cycles = crossbars * node.positions * len(node.steps.active) * source.value.planes
    return InMemoryProduct(name=node.name, pe_cycles=cycles, energy_pj=cycles * pe_cycle_pj(table, offsets))


def pe_cycle_pj(table: InMemoryTable, offsets: int) -> float:
    """Energy of one PE-cycle of a kernel with this many offsets."""
    groups = table.crossbar_size / COLUMNS_OF_A_GROUP
    group = (
        offsets * table.crossbar.pj
        + groups * (table.adc.pj + table.mux.pj)
        + SUBTRACTIONS_OF_A_GROUP * table.subtractor.pj
        + table.temporary_buffer.pj
    )
    return table.h_tree.pj + table.tile_buffer.pj + table.fetch.pj + table.neuron.pj + groups * group


def shipped_in_memory_tables() -> dict[str, Path]:
    """The tables that come with the tool, by name."""
    folder = Path(str(resources.files("dtss.hwsim"))) / "tech" / "in_memory"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_in_memory_table(name_or_path: str) -> InMemoryTable:
    """A shipped table by name, or the user's TOML file by path."""
    shipped = shipped_in_memory_tables()
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), InMemoryTable)
    except OSError as error:
        hint = f"give one of: {', '.join(shipped)}; or the path of a TOML file"
        raise BadInputError(name_or_path, f"cannot be read as an in-memory table ({error.strerror})", hint) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        hint = f"compare it with a shipped table: {', '.join(shipped)}"
        raise BadInputError(str(path), f"is not an in-memory table: {error}", hint) from None
