"""The same network as an ordinary one, run once with values of several bits, on the machine the schedule is for.

It is a schedule of one step whose words are never skipped, so tiles, strips, weight loads, walks, DRAM blocks and
stalls follow the rules of the spiking network (`dtss.compiler.schedule`), with

    word        R values of b bits beside each other; one a cycle, every lane multiplies at once; the strip buffer has
                room for as many words as the spiking network's, at the same energy a bit
    strip       one accumulator slot a position, so as many positions as the array has slots
    weights     b_w bits, in weight memory and in DRAM; resident if all of them fit
    MAC         (1 − γ) · (multiply(b, b_w) + add(accumulator)),   γ: share of values that are 0, whose lanes are gated
    activation  bias and comparison, two additions a neuron; scaling back to b bits is a shift and free
    leakage     of the same memories, registers and lanes at these widths, for as long as it takes; multipliers add none
    values      b bits between layers, in spike memory: sums that this schedule stores as currents, too

Attention is the same two products of b-bit operands, in this schedule's order. What a vision transformer does besides,
softmax, layer normalisation, a multiplier for scaling, is not counted, so an ANN is never charged too much.
"""

from __future__ import annotations

from typing import assert_never

import msgspec
import numpy as np

from dtss.compiler.schedule.buffers import (
    BLOCK_MEMORIES,
    PARAMETERS,
    block_buffers,
    capacity_rows,
    output_tile_rows,
    row_bits,
    weights_fit,
)
from dtss.compiler.schedule.cycles import Counts, elementwise_counts, no_counts
from dtss.compiler.schedule.dram import DramCounts, DramRules
from dtss.compiler.schedule.events import ELEMENTWISE_CONTROL_CYCLES, last_result_cycles
from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    Convolution,
    Image,
    Integrator,
    Lif,
    Linear,
    MaxPool,
    Product,
    Schedule,
    Steps,
    SumPool,
    TokenSum,
    Value,
)
from dtss.hwsim.energy import BITS_PER_TABLE_ACCESS, EnergySums, leakage_uw
from dtss.hwsim.reshape import cut_again, dense_counts
from dtss.hwsim.technology import Technology, require_ann_entries

ONE_STEP = Steps(active=(0,), why=("",))
ONE_WORD = Value(0, 1)  # one plane: a word of values counts as one word
ADDITIONS_OF_AN_ACTIVATION = 2


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How an ANN computes. weight_bits: None keeps the schedule's, on chip and in DRAM.  zero_share: γ."""

    value_bits: int
    weight_bits: int | None
    floating: bool = False
    zero_share: float = 0.0


class NodeCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one node takes, an image."""

    cycles: float
    energy_pj: EnergySums


class _Costs(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one form on one machine, in pJ. A bit of each memory costs the same whatever the width."""

    addition: float
    zero_check: float
    weight_bit: float
    parameter_bit: float
    stationary_bit: float
    strip_bit: float
    value_bit: float
    image_bit: float
    current_bit: float
    accumulator_read_bit: float
    accumulator_write_bit: float
    dram_bit: float
    leakage_cycle: float


def multiply_accumulate_pj(schedule: Schedule, technology: Technology, form: Form, value_bits: int) -> float:
    """One MAC of a value of `value_bits` and a weight."""
    require_ann_entries(technology)
    assert technology.multiply is not None and technology.float_multiply is not None
    if form.floating:
        return technology.float_multiply.pj + _addition_pj(schedule, technology, form)
    weight_bits = form.weight_bits or schedule.hardware.widths.weight
    return technology.multiply.at(value_bits, weight_bits) + _addition_pj(schedule, technology, form)


def _addition_pj(schedule: Schedule, technology: Technology, form: Form) -> float:
    if form.floating:
        assert technology.float_accumulate is not None
        return technology.float_accumulate.pj
    return technology.accumulate.at(schedule.hardware.widths.accumulator)


def ann_costs(schedule: Schedule, technology: Technology, form: Form) -> dict[str, NodeCost]:
    """What each node of `schedule` takes as a layer of the ANN."""
    require_ann_entries(technology)
    ann = ann_schedule(schedule, form)
    costs = _costs(ann, technology, form)
    counts = {node.name: _counts(ann, node) for node in ann.nodes}
    cycles = {name: blocks for name, (_, blocks) in counts.items()}
    crossing = _as_dram_sees_it(schedule, ann)
    rules = DramRules.of(crossing)
    dram = rules.counts(rules.timeline(cycles).waited)
    return {
        node.name: NodeCost(
            cycles=float(cycles[node.name].sum() + dram[node.name].stall_cycles[0]),
            energy_pj=_energy(schedule, ann, node, counts[node.name][0], dram[node.name], technology, form, costs),
        )
        for node in ann.nodes
    }


def ann_schedule(schedule: Schedule, form: Form) -> Schedule:
    """One step, every value one word, products cut for one slot a position."""
    widths = msgspec.structs.replace(
        schedule.hardware.widths,
        weight=form.weight_bits or schedule.hardware.widths.weight,
        accumulator=32 if form.floating else schedule.hardware.widths.accumulator,
    )
    nodes = tuple(_node(schedule, node, form) for node in schedule.nodes)
    hardware = msgspec.structs.replace(schedule.hardware, widths=widths)
    ann = msgspec.structs.replace(schedule, hardware=hardware, nodes=nodes, time_steps=1)
    whole = _with_biases_alone(_in_one_block(ann))
    resident = weights_fit(whole, block_buffers(whole))
    ann = msgspec.structs.replace(ann, memory=msgspec.structs.replace(ann.memory, weights_resident=resident))
    blocks = tuple(_in_blocks(ann, node, resident) for node in ann.nodes)
    ann = msgspec.structs.replace(ann, nodes=blocks)
    cut = tuple(cut_again(ann, node, "inner", 1) if isinstance(node, Product) else node for node in ann.nodes)
    return msgspec.structs.replace(ann, nodes=cut)


def _with_biases_alone(ann: Schedule) -> Schedule:
    """As DRAM and parameter memory see an ANN: a channel's parameters are its bias, as wide as a sum."""
    width = -(-ann.hardware.widths.accumulator // PARAMETERS)
    widths = msgspec.structs.replace(ann.hardware.widths, accumulator=width, membrane=width)
    return msgspec.structs.replace(ann, hardware=msgspec.structs.replace(ann.hardware, widths=widths))


def _as_dram_sees_it(schedule: Schedule, ann: Schedule) -> Schedule:
    """With the pixels' own width, and room for the largest block: one that is larger streams through."""
    image = msgspec.structs.replace(ann.nodes[0], value=schedule.nodes[0].value)
    seen = _with_biases_alone(msgspec.structs.replace(ann, nodes=(image, *ann.nodes[1:])))
    memory = seen.hardware.memory
    needed = dict.fromkeys(BLOCK_MEMORIES, 0)
    for buffer in block_buffers(seen):
        size = -(-buffer.rows * row_bits(seen, buffer.memory) // 8)
        needed[buffer.memory] = max(needed[buffer.memory], size)
    memory = msgspec.structs.replace(
        memory,
        weight_bytes=max(memory.weight_bytes, needed["weight"]),
        parameter_bytes=max(memory.parameter_bytes, needed["parameter"]),
    )
    return msgspec.structs.replace(seen, hardware=msgspec.structs.replace(seen.hardware, memory=memory))


def _node(schedule: Schedule, node: AnyNode, form: Form) -> AnyNode:
    value = node.value if node.name == schedule.output.node else ONE_WORD
    again: AnyNode = msgspec.structs.replace(node, steps=ONE_STEP, value=value)
    if isinstance(again, Lif):
        again = msgspec.structs.replace(again, state_steps=())  # an activation has no parameters of its own
    if isinstance(again, Product):
        again = msgspec.structs.replace(again, neuron=None)
    if isinstance(again, Convolution | Linear):
        again = msgspec.structs.replace(again, weight_bits=form.weight_bits or again.weight_bits)
    return again


def _in_one_block(ann: Schedule) -> Schedule:
    return msgspec.structs.replace(ann, nodes=tuple(_with_block(node, None) for node in ann.nodes))


def _in_blocks(ann: Schedule, node: AnyNode, resident: bool) -> AnyNode:
    """Blocks of at most half the weight memory, as the compiler cuts them; one tile at least."""
    if resident or not isinstance(node, Convolution | Linear):
        return _with_block(node, None)
    return _with_block(node, max(1, capacity_rows(ann, "weight") // 2 // output_tile_rows(ann, node)))


def _with_block(node: AnyNode, output_tiles: int | None) -> AnyNode:
    """With that many output tiles a block, all of them if None."""
    if not isinstance(node, Product):
        return node
    assert node.tiling is not None
    block = min(output_tiles or node.tiling.output_tiles, node.tiling.output_tiles)
    again: AnyNode = msgspec.structs.replace(
        node, tiling=msgspec.structs.replace(node.tiling, output_tiles_per_block=block)
    )
    return again


def _counts(ann: Schedule, node: AnyNode) -> tuple[Counts, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """(counts, cycles of each block [1, blocks]); spike words are words of values."""
    match node:
        case Convolution() | Linear() | AttentionProduct():
            dense = dense_counts(ann, node)
            return dense.counts, dense.block_cycles
        case Lif():
            counts = _activation_counts(ann, node)
        case Integrator():
            counts = Counts(**no_counts(1))
        case Image() | Add() | MaxPool() | SumPool() | TokenSum():
            counts = elementwise_counts(ann, node, 1)
        case _:
            assert_never(node)
    return counts, counts.cycles[:, None]


def _activation_counts(ann: Schedule, node: Lif) -> Counts:
    """Nothing where a product's walk does it, else a word a cycle through the elementwise unit, as an add's."""
    counts = no_counts(1)
    if not isinstance(ann.node(node.inputs[0]), Product):
        words = np.array([node.positions * -(-node.channels // ann.hardware.array.rows)])
        busy, control = words + last_result_cycles(1), np.array([ELEMENTWISE_CONTROL_CYCLES])
        counts |= {"cycles": busy + control, "elementwise_cycles": busy, "control_cycles": control}
        counts |= {"spike_word_reads": words, "spike_word_writes": words}
    return Counts(**counts)


def _values_written(schedule: Schedule, node: AnyNode) -> int:
    """Values between layers: each is looked at once, as it is written, for its lanes to be gated."""
    activated = {product.name for product in schedule.products if product.neuron is not None}
    passes_on = isinstance(node, Image) or node.name in activated or node.name == schedule.output.node
    return 0 if passes_on else node.positions * node.channels


def _costs(ann: Schedule, technology: Technology, form: Form) -> _Costs:
    memory = ann.hardware.memory

    def per_bit(capacity_bytes: int) -> float:
        return technology.sram_access.at(capacity_bytes) / BITS_PER_TABLE_ACCESS

    return _Costs(
        addition=_addition_pj(ann, technology, form),
        zero_check=technology.zero_check.pj if form.zero_share else 0.0,
        weight_bit=per_bit(memory.weight_bytes),
        parameter_bit=per_bit(memory.parameter_bytes),
        stationary_bit=per_bit(memory.stationary_bytes),
        strip_bit=per_bit(memory.strip_bytes),
        value_bit=per_bit(memory.spike_bytes),
        image_bit=per_bit(memory.image_bytes),
        current_bit=per_bit(memory.current_bytes),
        accumulator_read_bit=technology.accumulator_read.pj,
        accumulator_write_bit=technology.accumulator_write.pj,
        dram_bit=technology.dram.pj,
        leakage_cycle=leakage_uw(ann.hardware, technology) / ann.hardware.frequency_mhz,
    )


def _energy(
    schedule: Schedule, ann: Schedule, node: AnyNode, counts: Counts, dram: DramCounts,
    technology: Technology, form: Form, costs: _Costs,
) -> EnergySums:  # fmt: skip
    """Energy by the kinds of the spiking network: its spike memory holds the values, its accumulates are MACs."""
    array, widths = ann.hardware.array, ann.hardware.widths
    first = bool(node.inputs) and isinstance(ann.node(node.inputs[0]), Image)
    pixel_bits = schedule.nodes[0].value.planes
    is_output = node.name == ann.output.node
    rows = float(counts.current_row_writes[0])
    stored_rows = (0.0 if is_output else rows) + float(counts.current_row_reads[0])
    value_words = float(counts.spike_word_reads[0] + counts.spike_word_writes[0])
    value_bits = (value_words * array.rows + stored_rows * array.columns) * form.value_bits
    strip_words = float(counts.words_issued[0] + counts.strip_word_writes[0])
    stationary_rows = float(counts.stationary_row_reads[0] + counts.stationary_row_writes[0])
    pixels = float(counts.image_row_reads[0] + dram.image_row_writes[0])
    neurons = node.positions * node.channels if isinstance(node, Lif) else 0
    checked = _values_written(schedule, node) * form.value_bits
    mac = multiply_accumulate_pj(schedule, technology, form, pixel_bits if first else form.value_bits)
    weight_rows_moved = float(counts.weight_row_reads[0] + dram.weight_row_writes[0])
    bias_bits = array.columns * widths.accumulator
    bias_rows = float(counts.parameter_row_reads[0] + dram.parameter_row_writes[0])
    accumulator_bits = array.columns * widths.accumulator
    current_bits = accumulator_bits if form.floating else array.columns * widths.membrane
    return EnergySums(
        accumulate=float(counts.accumulates[0]) * mac * (1.0 - (0.0 if first else form.zero_share)),
        gated_accumulate=float(counts.accumulates[0])
        * (0.0 if first else form.zero_share)
        * technology.gated_accumulate.pj,
        zero_check=checked * costs.zero_check,
        lif_update=neurons * ADDITIONS_OF_AN_ACTIVATION * costs.addition,
        weight_memory=weight_rows_moved * array.columns * widths.weight * costs.weight_bit,
        parameter_memory=bias_rows * bias_bits * costs.parameter_bit,
        stationary_memory=stationary_rows * array.columns * form.value_bits * costs.stationary_bit,
        strip_memory=strip_words * array.rows * (pixel_bits if first else form.value_bits) * costs.strip_bit,
        spike_memory=value_bits * costs.value_bit,
        image_memory=pixels * ann.nodes[0].channels * pixel_bits * costs.image_bit,
        accumulator_file=accumulator_bits
        * (
            float(counts.accumulator_reads[0]) * costs.accumulator_read_bit
            + float(counts.accumulator_writes[0]) * costs.accumulator_write_bit
        ),
        membrane_memory=0.0,
        current_memory=(rows * current_bits * costs.current_bit) if is_output else 0.0,
        dram=float(dram.dram_read_bits[0] + dram.dram_write_bits[0]) * costs.dram_bit,
        leakage=float(counts.cycles[0] + dram.stall_cycles[0]) * costs.leakage_cycle,
    )
