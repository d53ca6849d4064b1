"""Energy of a node = Σ over kinds of events (events counted exactly) × (energy of one event).

An access moves a whole row (C values) or word (R bits), whose width is in `access`, so

    energy of one access = e_sram(capacity) · width / 64

with e_sram the table's energy of a 64-bit access to a memory of that capacity.

    weights, parameters, currents, membranes     a row of C values, each memory its own
    stationary                                   a row of C weights
    spikes                                       a word of R bits, or a row of C bits that the walk writes
    strip                                        a word of R bits and its non-zero flag; a flag for every word offered
    image                                        a pixel
    accumulators                                 registers, per bit

DRAM: whole bursts of the image, of the logits of each computed step, and of every weight block once an image, unless
all weights stay on chip, loaded once when the machine is configured. A block's rows are written as it arrives.

Leakage: what the machine draws at all times, for as long as the node takes, its stalls included:

    power = sram · KiB of all memories + register · bits of both weight banks and of the accumulators
            + lane · R · C · weight width + device          energy = power · cycles / clock
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.accesses import READS, WRITES, AccessBits
from dtss.compiler.schedule.cycles import COUNTS
from dtss.compiler.schedule.dram import DRAM_COUNTS, block_bits_of
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.hardware import Hardware
from dtss.hwsim.technology import Technology

BITS_PER_TABLE_ACCESS = 64
BYTES_PER_KIB = 1024
WEIGHT_BANKS = 2

Picojoules = NDArray[np.float64]


class EnergyByKind(msgspec.Struct, frozen=True, kw_only=True):
    """Energy of one node in pJ, each [B]: one per image."""

    accumulate: Picojoules
    gated_accumulate: Picojoules
    zero_check: Picojoules
    lif_update: Picojoules
    weight_memory: Picojoules
    parameter_memory: Picojoules
    stationary_memory: Picojoules
    strip_memory: Picojoules
    spike_memory: Picojoules
    image_memory: Picojoules
    accumulator_file: Picojoules
    membrane_memory: Picojoules
    current_memory: Picojoules
    dram: Picojoules
    leakage: Picojoules


COMPUTE_KINDS = ("accumulate", "gated_accumulate", "zero_check", "lif_update")
LEAKAGE_KINDS = ("leakage",)
MEMORY_KINDS = tuple(kind for kind in EnergyByKind.__struct_fields__ if kind not in (*COMPUTE_KINDS, *LEAKAGE_KINDS))


class EnergySums(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of `dtss.hwsim.energy.EnergyByKind`, in pJ, the mean over the images."""

    accumulate: float
    gated_accumulate: float
    zero_check: float
    lif_update: float
    weight_memory: float
    parameter_memory: float
    stationary_memory: float
    strip_memory: float
    spike_memory: float
    image_memory: float
    accumulator_file: float
    membrane_memory: float
    current_memory: float
    dram: float
    leakage: float


class AccessEnergies(msgspec.Struct, frozen=True, kw_only=True):
    """What one event costs on one machine, in pJ.

    read_bit, write_bit: of each memory kind; access_bits: of one access.
    """

    access_bits: AccessBits

    accumulate: float
    gated_accumulate: float
    zero_check: float
    lif_update: float
    read_bit: dict[str, float]
    write_bit: dict[str, float]
    dram_bit: float
    leakage_cycle: float


def access_energies(schedule: Schedule, technology: Technology) -> AccessEnergies:
    """The table applied to the machine's widths and capacities."""
    widths, memory = schedule.hardware.widths, schedule.hardware.memory
    sram = {
        f"{name.removesuffix('_bytes')}_memory": technology.sram_access.at(getattr(memory, name))
        / BITS_PER_TABLE_ACCESS
        for name in memory.__struct_fields__
    }
    return AccessEnergies(
        access_bits=AccessBits.of(schedule),
        accumulate=technology.accumulate.at(widths.accumulator),
        gated_accumulate=technology.gated_accumulate.pj,
        zero_check=technology.zero_check.pj,
        lif_update=technology.lif_update.at(widths.membrane),
        read_bit=sram | {"accumulator_file": technology.accumulator_read.pj},
        write_bit=sram | {"accumulator_file": technology.accumulator_write.pj},
        dram_bit=technology.dram.pj,
        leakage_cycle=leakage_uw(schedule.hardware, technology) / schedule.hardware.frequency_mhz,
    )


def leakage_uw(hardware: Hardware, technology: Technology) -> float:
    """What the machine draws at all times; µW over MHz is pJ a cycle."""
    array, widths, memory = hardware.array, hardware.widths, hardware.memory
    memory_bytes: int = sum(getattr(memory, name) for name in memory.__struct_fields__)
    lane_bits = array.lanes * widths.weight
    register_bits = WEIGHT_BANKS * lane_bits + array.strip_slots * array.columns * widths.accumulator
    return (
        memory_bytes / BYTES_PER_KIB * technology.sram_leakage.uw
        + register_bits * technology.register_leakage.uw
        + lane_bits * technology.lane_leakage.uw
        + technology.device_leakage.uw
    )


def node_energies(
    counts: NDArray[np.int64], dram: NDArray[np.int64], costs: AccessEnergies
) -> tuple[EnergyByKind, ...]:
    """Energy of each node for each image, from [nodes, COUNTS, B] and [nodes, DRAM_COUNTS, B]."""

    def event(name: str) -> Picojoules:
        column = counts[:, COUNTS.index(name)] if name in COUNTS else dram[:, DRAM_COUNTS.index(name)]
        return column.astype(np.float64)

    energies: dict[str, Picojoules] = {
        "accumulate": event("accumulates") * costs.accumulate,
        "gated_accumulate": event("gated_accumulates") * costs.gated_accumulate,
        "zero_check": event("zero_checks") * costs.zero_check,
        "lif_update": event("lif_updates") * costs.lif_update,
        "dram": (event("dram_read_bits") + event("dram_write_bits")) * costs.dram_bit,
        "leakage": (event("cycles") + event("stall_cycles")) * costs.leakage_cycle,
    }
    for memory in READS:
        read, written = moved_bits(memory, event, costs.access_bits)
        energies[memory] = read * costs.read_bit[memory] + written * costs.write_bit[memory]
    by_node = zip(*energies.values(), strict=True)
    return tuple(EnergyByKind(**dict(zip(energies, row, strict=True))) for row in by_node)


def moved_bits(
    memory: str, event: Callable[[str], NDArray[Any]], bits: AccessBits
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bits read from and written to a memory, in the shape of `event(name)`, the counts of one event."""

    def added(accesses: tuple[tuple[str, str], ...]) -> NDArray[Any]:
        moved: NDArray[Any] = sum(event(name) * getattr(bits, width) for name, width in accesses)
        return moved

    return added(READS[memory]), added(WRITES[memory])


def configuration_bits(schedule: Schedule) -> int:
    """All weights and parameters, read from DRAM once."""
    return sum(block_bits_of(schedule, node) for node in schedule.nodes)


def total(energy: EnergyByKind, kinds: tuple[str, ...] = EnergyByKind.__struct_fields__) -> Picojoules:
    """Σ over kinds [B]."""
    return add_up([getattr(energy, kind) for kind in kinds])


def mean_energy(parts: Sequence[EnergyByKind]) -> EnergySums:
    """Of several nodes together, the mean over the images."""
    return EnergySums(
        **{kind: float(sum(getattr(part, kind).mean() for part in parts)) for kind in EnergyByKind.__struct_fields__}
    )


def totals(energies: Sequence[EnergyByKind]) -> tuple[Picojoules, Picojoules, Picojoules]:
    """Of compute, memory and leakage, each [B]: `total` of every node, added up."""
    table = np.concatenate([getattr(each, kind) for each in energies for kind in EnergyByKind.__struct_fields__])
    by_node = table.reshape(len(energies), len(EnergyByKind.__struct_fields__), -1)
    starts = (0, len(COMPUTE_KINDS), len(COMPUTE_KINDS) + len(MEMORY_KINDS), by_node.shape[1])
    compute, memory, leakage = (add_up(by_node[:, first:last].sum(axis=1)) for first, last in pairwise(starts))
    return compute, memory, leakage


def add_up(parts: Sequence[Picojoules]) -> Picojoules:
    """Σ of energies [B]."""
    result: Picojoules = np.sum(parts, axis=0)
    return result
