"""The elementwise unit: its parameters, its configuration row, and what a run of it takes.

    cycles = Σ over outputs max(kernel · Σ planes of the available inputs, planes of the result)
           + RESULT_LATENCY + planes of the result − 1

An output is one slice of one position at one active step. Each of its taps takes a cycle for each plane, inside the
input or not. Meanwhile the planes of the output before are written; the last ones are written when no tap is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from dtss.compiler.schedule.events import last_result_cycles, output_cycles, window_taps
from dtss.rtl.memory_image import Bits, Fields, pack_fields

ELEMENTWISE_UNIT = "elementwise_unit"

Size = tuple[int, int]  # height, width
JUMPS = ("row_jumps", "slice_jumps", "column_jumps", "line_jumps")


class ElementwiseParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of elementwise_unit.v under the same names."""

    rows: int
    columns: int
    value_bits: int
    count_bits: int
    plane_bits: int
    time_steps: int
    inputs: int
    size_bits: int
    address_bits: int

    @property
    def configuration_widths(self) -> dict[str, int]:
        """Fields of elementwise_fields.v, in the order of its concatenation."""
        sizes = (
            *("kernel_height", "kernel_width", "stride", "padding", "input_height", "input_width"),
            *("output_height", "output_width", "slices"),
        )
        return {
            "maximum": 1,
            "currents": 1,
            "active_steps": self.time_steps,
            "planes_out": self.plane_bits,
            "result_bases": self.time_steps * self.address_bits,
            "result_jump": self.address_bits,
            "available_steps": self.inputs * self.time_steps,
            "planes": self.inputs * self.plane_bits,
            "step_bases": self.inputs * self.time_steps * self.address_bits,
            **dict.fromkeys(JUMPS, self.inputs * self.address_bits),
            **dict.fromkeys(sizes, self.size_bits),
        }

    def verilog_parameters(self) -> dict[str, int]:
        """Name in Verilog → value."""
        return {name.upper(): getattr(self, name) for name in self.__struct_fields__}


@dataclass(frozen=True)
class StoredValue:
    """A value in spike memory, or in current memory with one plane.

    The row of plane b, slice c at position p and step t is bases[t] + (p·planes + b)·slices + c.
    """

    planes: int
    bases: Mapping[int, int]


@dataclass(frozen=True)
class ElementwiseOperation:
    """Sum or maximum over a window of every input that has a base at the step; the result has one at every active step.

    An addition's window is 1 × 1, a token sum's is the whole input.
    """

    maximum: bool
    currents: bool
    kernel: Size
    stride: int
    padding: int
    input_size: Size
    output_size: Size
    slices: int
    inputs: tuple[StoredValue, ...]
    result: StoredValue

    @property
    def active_steps(self) -> tuple[int, ...]:
        return tuple(sorted(self.result.bases))

    @property
    def outputs(self) -> int:
        """Of a step."""
        return math.prod(self.output_size) * self.slices

    def available_planes(self, step: int) -> int:
        """Planes of the inputs that are read at the step."""
        return sum(value.planes for value in self.inputs if step in value.bases)


def operation_cycles(operation: ElementwiseOperation) -> int:
    """Busy cycles of a run, from the first tap to the last write."""
    taps, planes_out = math.prod(operation.kernel), operation.result.planes
    walk = sum(output_cycles(taps * operation.available_planes(step), planes_out) for step in operation.active_steps)
    return operation.outputs * walk + last_result_cycles(planes_out)


def operation_reads(operation: ElementwiseOperation) -> int:
    """Rows read in a run: a tap outside the input reads nothing."""
    planes = sum(operation.available_planes(step) for step in operation.active_steps)
    taps = window_taps(
        operation.output_size, operation.input_size, operation.kernel, operation.stride, operation.padding
    )
    return taps * operation.slices * planes


def operation_writes(operation: ElementwiseOperation) -> int:
    """Rows written in a run."""
    return operation.outputs * operation.result.planes * len(operation.active_steps)


def elementwise_configuration(parameters: ElementwiseParameters, operation: ElementwiseOperation) -> Bits:
    """The configuration row, see elementwise_fields.v; the caller has seen to it that every field fits."""
    fields = elementwise_fields(operation, parameters.inputs, parameters.time_steps)
    values = {name: np.array([value], np.int64) for name, value in fields.items()}
    row: Bits = pack_fields(parameters.configuration_widths, values)[0]
    return row


def elementwise_fields(operation: ElementwiseOperation, inputs: int, time_steps: int) -> Fields:
    """The values of `configuration_widths` for a unit of so many inputs and steps."""
    result, slices = operation.result, operation.slices
    unused = StoredValue(0, {})
    values = (*operation.inputs, *[unused] * (inputs - len(operation.inputs)))
    jumps = [_jumps(operation, value) for value in values]
    return {
        "maximum": operation.maximum,
        "currents": operation.currents,
        "active_steps": _vector(result.bases),
        "planes_out": result.planes,
        "result_bases": [result.bases.get(step, 0) for step in range(time_steps)],
        "result_jump": result.planes * slices - slices + 1,
        "available_steps": [_vector(value.bases) for value in values],
        "planes": [value.planes for value in values],
        "step_bases": [
            value.bases.get(step, 0) - _rows_before(operation, value) for value in values for step in range(time_steps)
        ],
        **{name: [of_input[name] for of_input in jumps] for name in JUMPS},
        "kernel_height": operation.kernel[0],
        "kernel_width": operation.kernel[1],
        "stride": operation.stride,
        "padding": operation.padding,
        "input_height": operation.input_size[0],
        "input_width": operation.input_size[1],
        "output_height": operation.output_size[0],
        "output_width": operation.output_size[1],
        "slices": slices,
    }


def _vector(steps: Iterable[int]) -> int:
    """Bit t is 1 for each step t."""
    return sum(1 << step for step in set(steps))


def _rows_before(operation: ElementwiseOperation, value: StoredValue) -> int:
    """Rows from the place where the first window starts, in the padding, to the value's first row."""
    return operation.padding * (operation.input_size[1] + 1) * value.planes * operation.slices


def _jumps(operation: ElementwiseOperation, value: StoredValue) -> dict[str, int]:
    """From the last read of something to the first read of the next, in rows."""
    position = value.planes * operation.slices
    line = operation.input_size[1] * position
    height, width = operation.kernel
    to_next_tap, to_first_slice = operation.slices, operation.slices - 1
    window = (height - 1) * line + width * position - to_next_tap  # from a window's first read to its last
    first_of_last_slice = window + to_first_slice
    return {
        "row_jumps": line - width * position + to_next_tap,
        "slice_jumps": 1 - window,
        "column_jumps": operation.stride * position - first_of_last_slice,
        "line_jumps": operation.stride * (line - (operation.output_size[1] - 1) * position) - first_of_last_slice,
    }
