"""The strip engine's parameters, checked once, and the bit layout of the rows it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.format import Lif, Schedule
from dtss.compiler.schedule.numerics import FixedLeak
from dtss.rtl.layout import Layout

SHIFT_BITS = 6
PLANE_BITS = 5
COUNTER_BITS = 48
NEURON_PARAMETERS = ("bias", "threshold", "reset_to", "initial")  # of a channel, lowest bits first


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of strip_engine.v under the same names; the properties are the ones that follow from them."""

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
    descriptor_address_bits: int
    weight_address_bits: int
    flag_address_bits: int
    word_address_bits: int
    parameter_address_bits: int
    membrane_address_bits: int
    shift_bits: int = SHIFT_BITS
    plane_bits: int = PLANE_BITS
    counter_bits: int = COUNTER_BITS

    @property
    def slot_bits(self) -> int:
        return bits_to_count(self.slots)

    @property
    def value_bits(self) -> int:
        return max(self.accumulator_bits, self.membrane_bits)

    @property
    def descriptor_widths(self) -> dict[str, int]:
        """Fields of descriptor_fields.v, in the order of its concatenation."""
        return {
            "last": 1,
            "streams": 1,
            "walks": 1,
            "rows": self.rows.bit_length(),
            "columns": self.columns.bit_length(),
            "weight_base": self.weight_address_bits,
            "flag_base": self.flag_address_bits,
            "word_base": self.word_address_bits,
            "words": self.slot_bits + 1 + self.plane_bits,
            "first_slot": self.slot_bits,
            "positions": self.position_bits,
            "window": self.time_steps,
            "parameter_base": self.parameter_address_bits,
            "membrane_base": self.membrane_address_bits,
        }

    @property
    def layer_widths(self) -> dict[str, int]:
        """Fields of layer_fields.v, in the order of its concatenation."""
        steps = ("state_steps", "active_steps", "slot_steps", "reused_steps", "membrane_reads", "membrane_writes")
        return {
            "has_neuron": 1,
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
    def row_widths(self) -> dict[str, int]:
        """Bits of one row of each memory that the owner fills."""
        return {
            "descriptor": sum(self.descriptor_widths.values()),
            "weight": self.load_rows * self.columns * self.weight_bits,
            "flag": self.group,
            "word": self.rows,
            "parameter": self.columns * len(NEURON_PARAMETERS) * self.value_bits,
        }

    @property
    def walk_widths(self) -> dict[str, int]:
        """Bits of one element of each output of the walk stream, a row of `columns` of which leaves a visit."""
        return {
            "spikes": 1,
            "membranes": self.membrane_bits,
            "currents": self.value_bits,
            "accumulators": self.accumulator_bits,
        }

    @property
    def layer_bits(self) -> int:
        return sum(self.layer_widths.values())

    def verilog_parameters(self) -> dict[str, int]:
        """Name in Verilog → value."""
        return {name.upper(): getattr(self, name) for name in self.__struct_fields__}


def bits_to_count(count: int) -> int:
    """Bits of an index into `count` things; a signal has at least one."""
    return max(1, (count - 1).bit_length())


def engine_for(schedule: Schedule, layouts: Sequence[Layout]) -> Engine:
    """The engine that runs every product of `schedule`, with memories as deep as the deepest layer needs."""
    array, widths = schedule.hardware.array, schedule.hardware.widths
    load_rows = min(array.weight_rows_per_cycle, array.rows)  # a tile has no more
    lane_bits, beat_bits = bits_to_count(array.skip_group), bits_to_count(-(-array.rows // load_rows))
    multiplier_bits = [_multiplier_bits(neuron) for neuron in schedule.lif_nodes]
    flag_rows = max((layout.flag_rows for layout in layouts), default=1)
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
        position_bits=max([2, *(int(layout.cut.strip_positions.max()).bit_length() for layout in layouts)]),
        descriptor_address_bits=_address_bits(len(layout.table) for layout in layouts),
        weight_address_bits=max(beat_bits + 1, _address_bits(layout.weight_beats for layout in layouts)),
        flag_address_bits=bits_to_count(flag_rows),
        word_address_bits=max(lane_bits + 1, bits_to_count(flag_rows * array.skip_group)),
        parameter_address_bits=_address_bits(layout.parameter_rows for layout in layouts),
        membrane_address_bits=_address_bits(layout.membrane_rows for layout in layouts),
    )


def _address_bits(counts: Iterable[int]) -> int:
    return bits_to_count(max(counts, default=1))


def _multiplier_bits(neuron: Lif) -> int:
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
