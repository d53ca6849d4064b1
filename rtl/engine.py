"""The accelerator's parameters, checked once, and the bit layout of the rows it reads."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dtss.compiler.schedule.buffers import capacity_rows
from dtss.compiler.schedule.cycles import COUNTS
from dtss.compiler.schedule.dram import transfers
from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.format import (
    AnyNode,
    AttentionProduct,
    Convolution,
    Integrator,
    Lif,
    MaxPool,
    Product,
    Schedule,
    SumPool,
)
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.numerics import FixedLeak
from dtss.rtl.elementwise import ElementwiseParameters

SHIFT_BITS = 6  # at most
COUNTER_BITS = 48
COUNTERS = (*COUNTS, "stall_cycles")  # numbered as in performance_counters.v
NEURON_PARAMETERS = ("bias", "threshold", "reset_to", "initial")  # of a channel, lowest bits first


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of accelerator.v under the same names; the properties are the ones that follow from them.

    Memories are as deep as the hardware says.
    """

    rows: int
    columns: int
    slots: int
    group: int
    time_steps: int
    weight_bits: int
    accumulator_bits: int
    membrane_bits: int
    load_rows: int
    fixed_leak: int
    leak_multiplier_bits: int
    position_bits: int
    count_bits: int
    size_bits: int
    pixel_channels: int
    pixel_planes: int
    element_planes: int
    turned_lanes: int
    lane_count_bits: int
    inputs: int
    weight_rows: int
    parameter_rows: int
    stationary_rows: int
    strip_words: int
    spike_rows: int
    current_rows: int
    image_rows: int
    membrane_rows: int
    program_rows: int
    node_bits: int
    shift_bits: int
    plane_bits: int
    counter_bits: int = COUNTER_BITS

    @property
    def slot_bits(self) -> int:
        return bits_to_count(self.slots)

    @property
    def row_bits(self) -> int:
        return self.rows.bit_length()

    @property
    def column_bits(self) -> int:
        return self.columns.bit_length()

    @property
    def value_bits(self) -> int:
        return max(self.accumulator_bits, self.membrane_bits)

    @property
    def weight_address_bits(self) -> int:
        return bits_to_count(self.weight_rows)

    @property
    def parameter_address_bits(self) -> int:
        return bits_to_count(self.parameter_rows)

    @property
    def word_address_bits(self) -> int:
        return bits_to_count(self.strip_words)

    @property
    def flag_address_bits(self) -> int:
        return bits_to_count(self.strip_words // self.group)

    @property
    def membrane_address_bits(self) -> int:
        return bits_to_count(self.membrane_rows)

    @property
    def current_address_bits(self) -> int:
        return bits_to_count(self.current_rows)

    @property
    def image_address_bits(self) -> int:
        return bits_to_count(self.image_rows)

    @property
    def program_address_bits(self) -> int:
        return bits_to_count(self.program_rows)

    @property
    def address_bits(self) -> int:
        return bits_to_count(max(self.spike_rows, self.current_rows, self.image_rows))

    @property
    def word_count_bits(self) -> int:
        return self.slot_bits + 1 + self.plane_bits

    @property
    def pixel_bits(self) -> int:
        return self.pixel_channels * self.pixel_planes

    @property
    def layer_widths(self) -> dict[str, int]:
        """Fields of layer_fields.v, in the order of its concatenation."""
        steps = ("state_steps", "active_steps", "slot_steps", "reused_steps", "membrane_reads", "membrane_writes")
        return {
            "has_neuron": 1,
            "integrates": 1,
            "stored_currents": 1,
            "reads_parameters": 1,
            "stationary_operand": 1,
            "hard_reset": 1,
            "leak_fixed": 1,
            "leak_shift": self.shift_bits,
            "leak_multiplier": self.leak_multiplier_bits,
            "current_shift": self.shift_bits,
            **dict.fromkeys(steps, self.time_steps),
            "walk_slot_stride": self.slot_bits,
            "planes": self.plane_bits,
            "group_planes": self.plane_bits,
            "group_slots": self.slot_bits,
            "slot_stride": self.slot_bits,
            "lane_planes": self.group * self.plane_bits,
            "lane_slots": self.group * self.slot_bits,
        }

    @property
    def sequence_widths(self) -> dict[str, int]:
        """Fields of sequence_fields.v, in the order of its concatenation."""
        address, step_bases = self.address_bits, self.time_steps * self.address_bits
        return {
            "outer": 1,
            "together": 1,
            "gathered": 1,
            "strips": self.position_bits,
            "positions_full": self.position_bits,
            "positions_last": self.position_bits,
            "words_full": self.word_count_bits,
            "words_last": self.word_count_bits,
            "output_tiles": self.count_bits,
            "columns_last": self.column_bits,
            "tiles": self.count_bits,
            "slices": self.count_bits,
            "rows_full": self.row_bits,
            "rows_last": self.row_bits,
            "weight_base": max(self.weight_address_bits, bits_to_count(self.stationary_rows)),
            "parameter_base": self.parameter_address_bits,
            "chunk_words": self.word_address_bits,
            "chunk_groups": self.flag_address_bits,
            "membrane_tile_step": self.membrane_address_bits,
            "result_currents": 1,
            "result_states": 1,
            "result_base": address,
            "result_lane": self.row_bits,
            "result_position_step": address,
            "result_strip_step": address,
            "result_step_bases": step_bases,
            "source_steps": self.time_steps,
            "source_base": address,
            "source_position_step": address,
            "source_strip_step": address,
            "source_step_bases": step_bases,
        }

    @property
    def gather_widths(self) -> dict[str, int]:
        """Fields of gather_fields.v, in the order of its concatenation."""
        sizes = ("output_width", "input_width", "input_height", "stride", "padding", "kernel_width")
        addresses = (
            "first_address", "position_step", "row_step", "slice_step", "offset_step", "offset_row_step", "plane_step",
        )  # fmt: skip
        return {
            "mode": 2,
            "outer": 1,
            "together": 1,
            "slot_steps": self.time_steps,
            "stored_steps": self.time_steps,
            **dict.fromkeys(("strips", "positions_full", "positions_last"), self.position_bits),
            **dict.fromkeys(("chunks", "tiles", "slices", "pieces", "offsets"), self.count_bits),
            "planes": self.plane_bits,
            **dict.fromkeys(("lanes_full", "lanes_last", "piece_lanes", "first_lane", "strip_lanes"), self.row_bits),
            "bounded": 1,
            **dict.fromkeys(sizes, self.size_bits),
            **dict.fromkeys(addresses, self.address_bits),
            "chunk_words": self.word_address_bits,
            "chunk_groups": self.flag_address_bits,
            "step_bases": self.time_steps * self.address_bits,
            "pad_row": self.pixel_bits,
        }

    @property
    def stationary_widths(self) -> dict[str, int]:
        """Fields of stationary_fields.v, in the order of its concatenation."""
        address = self.address_bits
        return {
            "mode": 2,
            "outer": 1,
            "slot_steps": self.time_steps,
            "stored_steps": self.time_steps,
            "output_tiles": self.count_bits,
            "columns_last": self.row_bits,
            "tiles": self.count_bits,
            "rows_full": self.row_bits,
            "rows_last": self.row_bits,
            "planes": self.plane_bits,
            "first_lane": self.row_bits,
            "first_address": address,
            "row_step": address,
            "tile_step": address,
            "tile_lanes": self.row_bits,
            "slice_step": address,
            "plane_step": address,
            "step_bases": self.time_steps * address,
        }

    @property
    def elementwise(self) -> ElementwiseParameters:
        """Those of its elementwise unit."""
        return ElementwiseParameters(
            rows=self.rows,
            columns=self.columns,
            value_bits=self.membrane_bits,
            count_bits=self.lane_count_bits,
            plane_bits=self.plane_bits,
            time_steps=self.time_steps,
            inputs=self.inputs,
            size_bits=self.size_bits,
            address_bits=self.address_bits,
        )

    @property
    def elementwise_widths(self) -> dict[str, int]:
        """Fields of elementwise_fields.v, in the order of its concatenation."""
        return self.elementwise.configuration_widths

    @property
    def payload_bits(self) -> int:
        run = (self.gather_widths, self.sequence_widths, self.layer_widths)
        return max(
            sum(sum(widths.values()) for widths in run),
            sum(self.stationary_widths.values()),
            sum(self.elementwise_widths.values()),
        )

    @property
    def program_bits(self) -> int:
        return 2 + self.node_bits + self.count_bits + self.payload_bits

    @property
    def weight_row_bits(self) -> int:
        return self.load_rows * self.columns * self.weight_bits

    @property
    def parameter_row_bits(self) -> int:
        return self.columns * len(NEURON_PARAMETERS) * self.value_bits

    @property
    def walk_widths(self) -> dict[str, int]:
        """Bits of one element of each output of the walk stream, a row of `columns` of which leaves a visit."""
        return {
            "spikes": 1,
            "membranes": self.membrane_bits,
            "currents": self.value_bits,
            "accumulators": self.accumulator_bits,
        }

    def verilog_parameters(self) -> dict[str, int]:
        """Name in Verilog → value."""
        return {name.upper(): getattr(self, name) for name in self.__struct_fields__}


def bits_to_count(count: int) -> int:
    """Bits of an index into `count` things; a signal has at least one."""
    return max(1, (count - 1).bit_length())


def engine_for(schedule: Schedule, program_rows: int) -> Engine:
    """The machine that runs `schedule`."""
    array, widths = schedule.hardware.array, schedule.hardware.widths
    load_rows = array.weight_rows_per_cycle
    multiplier_bits = [_multiplier_bits(node) for node in schedule.nodes if isinstance(node, Lif | Integrator)]
    cuts = {node.name: geometry(schedule, node) for node in schedule.products}
    image = schedule.nodes[0]
    row_bits = array.rows.bit_length()
    counts = [
        *(2 * cut.chunks for cut in cuts.values()),
        *(len(cut.rows) + len(cut.columns) for cut in cuts.values()),
        *(node.kernel[0] * node.kernel[1] for node in schedule.nodes if isinstance(node, Convolution)),
        *(-(-node.channels // array.columns) for node in schedule.nodes),
        len(transfers(schedule)),
    ]
    sizes = [
        size for node in schedule.nodes for size in (*node.shape[:2], node.positions, -(-node.channels // array.rows))
    ]
    sizes += [
        node.stride + node.padding for node in schedule.nodes if isinstance(node, Convolution | MaxPool | SumPool)
    ]
    elements = [
        schedule.node(node.inputs[0]).value.planes for node in schedule.products
        if isinstance(node, AttentionProduct) and node.stage == "score_value"
    ]  # fmt: skip
    turned = [int(cuts[node.name].strip_positions[0]) for node in schedule.products if _turns(node)]
    counted = [
        node.value.planes for node in schedule.nodes if not node.value.is_current and not isinstance(node, Product)
    ]
    return Engine(
        rows=array.rows,
        columns=array.columns,
        slots=array.strip_slots,
        group=array.skip_group,
        time_steps=schedule.time_steps,
        weight_bits=widths.weight,
        accumulator_bits=widths.accumulator,
        membrane_bits=widths.membrane,
        load_rows=load_rows,
        fixed_leak=int(any(multiplier_bits)),
        leak_multiplier_bits=max([1, *multiplier_bits]),
        position_bits=max(row_bits, max(node.positions for node in schedule.nodes).bit_length()),
        count_bits=max(row_bits + 1, max(counts).bit_length(), bits_to_count(len(transfers(schedule))) + 1),
        size_bits=max(sizes).bit_length(),
        pixel_channels=image.channels,
        pixel_planes=image.value.planes,
        element_planes=max([image.value.planes, *elements]),
        turned_lanes=max([1, *turned]),
        lane_count_bits=max(counted),
        inputs=max([1, *(len(node.inputs) for node in schedule.nodes if not isinstance(node, Product | Lif))]),
        weight_rows=capacity_rows(schedule, "weight") // load_rows,
        parameter_rows=capacity_rows(schedule, "parameter"),
        stationary_rows=max(1, capacity_rows(schedule, "stationary") // load_rows),
        strip_words=capacity_rows(schedule, "strip") // array.skip_group * array.skip_group,
        spike_rows=capacity_rows(schedule, "spike"),
        current_rows=capacity_rows(schedule, "current"),
        image_rows=capacity_rows(schedule, "image"),
        membrane_rows=max(1, capacity_rows(schedule, "membrane")),
        program_rows=program_rows,
        node_bits=bits_to_count(len(schedule.nodes) + 1),
        shift_bits=max(1, max(_shifts(schedule)).bit_length()),
        plane_bits=max(2, max(node.value.planes for node in schedule.nodes if not node.value.is_current).bit_length()),
    )


def _turns(node: AnyNode) -> bool:
    return isinstance(node, AttentionProduct) and node.stage == "key_value"


def _shifts(schedule: Schedule) -> Iterator[int]:
    """What the walk shifts by: barrel shifters are a third of its logic, so they go no further than they must."""
    yield from (node.current_shift for node in schedule.products)
    leaks = (node.leak for node in schedule.nodes if isinstance(node, Lif | Integrator))
    yield from (leak.fraction_bits if isinstance(leak, FixedLeak) else leak.shift for leak in leaks)


def _multiplier_bits(neuron: Lif | Integrator) -> int:
    """Bits of a fixed-point leak's multiplier; 0 for a shift leak."""
    if not isinstance(neuron.leak, FixedLeak):
        return 0
    multiplier, fraction_bits = neuron.leak.multiplier, neuron.leak.fraction_bits
    if not (0 <= multiplier <= 1 << fraction_bits and fraction_bits < 1 << SHIFT_BITS):
        raise UnsupportedError(
            f"{neuron.name}.leak",
            f"found {multiplier} / 2^{fraction_bits}",
            f"the LIF unit takes a leak from 0 to 1 with at most {(1 << SHIFT_BITS) - 1} fraction bits",
        )
    return max(1, multiplier.bit_length())
