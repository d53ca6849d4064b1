"""Energy of a node = Σ over kinds of events (events counted exactly) × (energy of one event).

An access moves a whole row (C values) or word (R bits), whose width is in `access`, so

    energy of one access = e_sram(capacity) · width / 64

with e_sram the table's energy of a 64-bit access to a memory of that capacity.

    row of weights, of parameters      weight memory
    row of currents                    current memory
    row of membranes                   membrane memory
    row of spikes                      spike memory
    word of spikes                     spike memory, or image memory next to the image
    non-zero flag                      as the words it speaks of; one for every word offered
    row of accumulators                registers, per bit
    stationary row                     a row of spikes for each plane, or a row of currents where a product stored it

DRAM: whole bursts of the image, of the logits of each computed step, and of every weight block once an image, unless
all weights stay on chip, loaded once when the machine is configured. A block's rows are written as it arrives.

Leakage: what the machine draws at all times, for as long as the node takes, its stalls included:

    power = sram · KiB of all memories + register · bits of both weight banks and of the accumulators
            + lane · R · C · weight width + device          energy = power · cycles / clock
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.buffers import parameter_bits
from dtss.compiler.schedule.cycles import Counter, Counts
from dtss.compiler.schedule.dram import DramCounts, weight_bits_of
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Image,
    Product,
    Schedule,
)
from dtss.compiler.schedule.hardware import Hardware
from dtss.hwsim.access import AccessBits
from dtss.hwsim.products import Tensors
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
    spike_memory: float
    image_memory: float
    accumulator_file: float
    membrane_memory: float
    current_memory: float
    dram: float
    leakage: float


class AccessEnergies(msgspec.Struct, frozen=True, kw_only=True):
    """What one event costs on one machine, in pJ."""

    accumulate: float
    gated_accumulate: float
    zero_check: float
    lif_update: float
    weight_row: float
    parameter_value_bit: float
    spike_word: float
    spike_row: float
    spike_flag: float
    image_word: float
    image_flag: float
    current_row: float
    membrane_row: float
    accumulator_row_read: float
    accumulator_row_write: float
    dram_bit: float
    leakage_cycle: float


def access_energies(schedule: Schedule, technology: Technology) -> AccessEnergies:
    """The table applied to the machine's widths and capacities."""
    bits, widths, memory = AccessBits.of(schedule.hardware), schedule.hardware.widths, schedule.hardware.memory

    def per_bit(capacity_bytes: int) -> float:
        return technology.sram_access.at(capacity_bytes) / BITS_PER_TABLE_ACCESS

    return AccessEnergies(
        accumulate=technology.accumulate.at(widths.accumulator),
        gated_accumulate=technology.gated_accumulate.pj,
        zero_check=technology.zero_check.pj,
        lif_update=technology.lif_update.at(widths.membrane),
        weight_row=bits.weight_row * per_bit(memory.weight_bytes),
        parameter_value_bit=bits.parameter_row * per_bit(memory.weight_bytes),
        spike_word=bits.word * per_bit(memory.spike_bytes),
        spike_row=bits.spike_row * per_bit(memory.spike_bytes),
        spike_flag=bits.flag * per_bit(memory.spike_bytes),
        image_word=bits.word * per_bit(memory.image_bytes),
        image_flag=bits.flag * per_bit(memory.image_bytes),
        current_row=bits.current_row * per_bit(memory.current_bytes),
        membrane_row=bits.membrane_row * per_bit(memory.membrane_bytes),
        accumulator_row_read=bits.accumulator_row * technology.accumulator_read.pj,
        accumulator_row_write=bits.accumulator_row * technology.accumulator_write.pj,
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


def node_energy(
    schedule: Schedule, node: AnyNode, counts: Counts, dram: DramCounts, costs: AccessEnergies
) -> EnergyByKind:
    """Energy of one node for each image."""
    none = np.zeros_like(counts.cycles)
    reads, writes, flags = counts.spike_word_reads, counts.spike_word_writes, counts.words_offered
    from_image, is_image = streams_the_image(schedule, node), isinstance(node, Image)
    image_words = reads if from_image else writes if is_image else none
    image_flags = flags if from_image else none
    spike_words = (none if from_image else reads) + (none if is_image else writes)
    spike_flags = none if from_image else flags
    spike_rows, current_rows = stationary_rows(schedule, node, counts)
    energies = {
        "accumulate": counts.accumulates * costs.accumulate,
        "gated_accumulate": counts.gated_accumulates * costs.gated_accumulate,
        "zero_check": counts.zero_checks * costs.zero_check,
        "lif_update": counts.lif_updates * costs.lif_update,
        "weight_memory": (counts.weight_row_reads + dram.weight_row_writes) * costs.weight_row,
        "parameter_memory": counts.parameter_row_reads
        * parameter_bits(schedule.hardware, node)
        * costs.parameter_value_bit,
        "spike_memory": spike_words * costs.spike_word
        + spike_flags * costs.spike_flag
        + (counts.spike_row_writes + spike_rows) * costs.spike_row,
        "image_memory": image_words * costs.image_word + image_flags * costs.image_flag,
        "accumulator_file": counts.accumulator_reads * costs.accumulator_row_read
        + counts.accumulator_writes * costs.accumulator_row_write,
        "membrane_memory": (counts.membrane_row_reads + counts.membrane_row_writes) * costs.membrane_row,
        "current_memory": (counts.current_row_reads + counts.current_row_writes + current_rows) * costs.current_row,
        "dram": (dram.dram_read_bits + dram.dram_write_bits) * costs.dram_bit,
        "leakage": (counts.cycles + dram.stall_cycles) * costs.leakage_cycle,
    }
    return EnergyByKind(**energies)


def streams_the_image(schedule: Schedule, node: AnyNode) -> bool:
    return bool(node.inputs) and isinstance(schedule.node(node.inputs[0]), Image)


def stationary_rows(schedule: Schedule, node: AnyNode, counts: Counts) -> tuple[Counter, Counter]:
    """An attention product's stationary reads as (rows of C bits from spike memory, rows of currents)."""
    none = np.zeros_like(counts.cycles)
    if not isinstance(node, AttentionProduct):
        return none, none
    stationary = schedule.node(node.inputs[1])
    if isinstance(stationary, Product) or stationary.value.is_current:
        return none, counts.stationary_row_reads
    return counts.stationary_row_reads * stationary.value.planes, none


def configuration_energy_pj(schedule: Schedule, tensors: Tensors, technology: Technology) -> float:
    """Reading all weights from DRAM once."""
    return sum(weight_bits_of(schedule, tensors, node) for node in schedule.nodes) * technology.dram.pj


def total(energy: EnergyByKind, kinds: tuple[str, ...] = EnergyByKind.__struct_fields__) -> Picojoules:
    """Σ over kinds [B]."""
    return add_up([getattr(energy, kind) for kind in kinds])


def mean_energy(parts: Sequence[EnergyByKind]) -> EnergySums:
    """Of several nodes together, the mean over the images."""
    return EnergySums(
        **{kind: float(sum(getattr(part, kind).mean() for part in parts)) for kind in EnergyByKind.__struct_fields__}
    )


def add_up(parts: Sequence[Picojoules]) -> Picojoules:
    """Σ of energies [B]."""
    result: Picojoules = np.sum(parts, axis=0)
    return result
