"""The energy of a run as the DTSS paper counts it (section IV-E), from the same exact spikes.

    compute    accumulates · AC of the layers that spikes stream through, MACs · MAC of the layer that reads the image,
               once; and one zero check for each spike that a layer reads at each step
    membranes  of every neuron read and written at each step that its mask leaves: time runs outermost
    weights    each read once: weight stationary
    spikes     read by each layer at each step that it runs, written by each neuron at each step of its mask

The paper says which of these it counts and publishes no energy of a memory access, nor how often a zero is checked: the
accesses are charged at this machine's sizes and the table's energies. It counts no neuron update, accumulator, bias,
threshold, current, non-zero flag, weight reload between strips, DRAM, and nothing for words of zeros.
"""

from __future__ import annotations

import msgspec

from dtss.compiler.schedule.format import Convolution, Image, Lif, Linear, Product, Schedule
from dtss.hwsim.ann import Form, multiply_accumulate_pj
from dtss.hwsim.energy import BITS_PER_TABLE_ACCESS, EnergySums, mean_energy
from dtss.hwsim.plain import fed_by_the_image_alone
from dtss.hwsim.products import Tensors
from dtss.hwsim.reshape import multiplications
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.technology import Technology

FLOATING = Form(value_bits=32, weight_bits=32, floating=True)
MEMBRANE_ACCESSES = 2  # a read and a write


class PaperLayer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product with its neurons, an image. membrane_accesses: values read or written.

    energy_pj: as the paper counts it.  machine_energy_pj: of the machine, every event.
    """

    name: str
    membrane_accesses: int
    energy_pj: EnergySums
    machine_energy_pj: EnergySums


def paper_layers(result: Result, tensors: Tensors) -> tuple[PaperLayer, ...]:
    """Every node of the schedule, a walked LIF with its product; elementwise nodes take nothing in the paper."""
    by_name = {node.name: node for node in result.nodes}
    walked = {node.neuron for node in result.nodes if node.neuron is not None}
    return tuple(
        _layer(result, tensors, node, by_name.get(node.neuron or ""))
        for node in result.nodes
        if node.name not in walked
    )


def _layer(result: Result, tensors: Tensors, part: NodeResult, neuron: NodeResult | None) -> PaperLayer:
    schedule, technology = result.schedule, result.technology
    parts = [part] if neuron is None else [part, neuron]
    bit = _BitEnergies.of(schedule, technology)
    lif = next((each.node for each in parts if isinstance(each.node, Lif)), None)
    masked = 0 if lif is None else lif.positions * lif.channels * len(lif.mask_steps)
    read = _spikes_read(schedule, part)
    weights = tensors[part.node.weight].size if isinstance(part.node, Convolution | Linear) else 0
    energies = dict.fromkeys(EnergySums.__struct_fields__, 0.0) | {
        "accumulate": _arithmetic_pj(result, part),
        "zero_check": read * technology.zero_check.pj,
        "weight_memory": weights * schedule.hardware.widths.weight * bit.weight,
        "spike_memory": (read + masked) * bit.spike,
        "membrane_memory": MEMBRANE_ACCESSES * masked * schedule.hardware.widths.membrane * bit.membrane,
    }
    return PaperLayer(
        name=part.name,
        membrane_accesses=MEMBRANE_ACCESSES * masked,
        energy_pj=EnergySums(**energies),
        machine_energy_pj=mean_energy([each.energy_pj for each in parts]),
    )


class _BitEnergies(msgspec.Struct, frozen=True, kw_only=True):
    """A bit of each memory, in pJ."""

    weight: float
    spike: float
    membrane: float

    @classmethod
    def of(cls, schedule: Schedule, technology: Technology) -> _BitEnergies:
        memory = schedule.hardware.memory
        weight, spike, membrane = (
            technology.sram_access.at(size) / BITS_PER_TABLE_ACCESS
            for size in (memory.weight_bytes, memory.spike_bytes, memory.membrane_bytes)
        )
        return cls(weight=weight, spike=spike, membrane=membrane)


def _arithmetic_pj(result: Result, part: NodeResult) -> float:
    if not isinstance(part.node, Product):
        return 0.0
    if part.name in fed_by_the_image_alone(result.schedule):
        mac = multiply_accumulate_pj(result.schedule, result.technology, FLOATING, FLOATING.value_bits)
        return multiplications(result.schedule, part.node) * mac
    each = result.technology.accumulate.at(result.schedule.hardware.widths.accumulator)
    return float(part.counts.accumulates.mean()) * each


def _spikes_read(schedule: Schedule, part: NodeResult) -> int:
    """Bits of the value that a product streams, once a step; nothing of an image, whose pixels are no spikes."""
    node = part.node
    if not isinstance(node, Product):
        return 0
    source = schedule.node(node.inputs[0])
    if isinstance(source, Image):
        return 0
    return source.positions * source.channels * source.value.planes * len(node.steps.active)
