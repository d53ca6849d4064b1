"""Random operations of the elementwise unit with the memories before and after them: the bench's own model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dtss.rtl.elementwise import ElementwiseOperation, ElementwiseParameters, Size, StoredValue
from dtss.rtl.memory_image import Bits, bits_of

Form = Literal["bits", "counts", "currents"]
FORMS: tuple[Form, ...] = ("bits", "counts", "currents")
LONGEST_SIDE = 24  # that a drawn input has

Values = NDArray[np.int64]  # [H, W, slices · lanes]
Memories = dict[str, Bits]  # "spike" and "current"


@dataclass(frozen=True)
class Shape:
    """A window over some inputs."""

    name: str
    kernel: Size | None  # None: the whole input
    stride: int = 1
    padding: int = 0
    inputs: int = 1


POOLS = (
    Shape("pool 2/s2", (2, 2), 2),
    Shape("pool 3/s2/p1", (3, 3), 2, 1),
    Shape("pool 3/s1/p1", (3, 3), 1, 1),
    Shape("pool 1x3/s1", (1, 3)),
    Shape("pool 3x2/s2/p1", (3, 2), 2, 1),
)
TOKEN_SUM = Shape("token sum", None)


@dataclass(frozen=True)
class Case:
    """An operation, both memories before and after it, and the corners that it goes through."""

    name: str
    operation: ElementwiseOperation
    before: Memories
    after: Memories
    corners: frozenset[str]


def cases(random: np.random.Generator, unit: ElementwiseParameters) -> Iterator[Case]:
    """A round: every kind of operation on every form of value."""
    adds = [Shape(f"add of {inputs}", (1, 1), inputs=inputs) for inputs in range(1, unit.inputs + 1)]
    for form in FORMS:
        for shape in (*adds, TOKEN_SUM, *POOLS):
            yield _case(random, unit, shape, form, maximum=False)
        for shape in POOLS:
            yield _case(random, unit, shape, form, maximum=True)


def corners_to_cover(unit: ElementwiseParameters) -> set[str]:
    """Everything that may be special about an operation and can occur on this unit."""
    corners = {
        "one slice",
        "several slices",
        "a count needs every bit of its lane",
        "a current needs every bit of its lane",
        "a sum of currents is negative",
        "a maximum of currents is negative where the window leaves the input",
    }
    if unit.inputs > 1:
        corners |= {"inputs have different planes", "an input misses a step", "the first input misses a step"}
    if unit.time_steps > 1:
        corners |= {"active steps are no prefix", "an input is the same at several steps"}
    if unit.time_steps > 2:
        corners |= {"an inactive step lies between active ones"}
    if unit.inputs > 1 and unit.time_steps > 1:
        corners |= {"the taps hide the writes at one step and not at another"}
    return corners


def _case(random: np.random.Generator, unit: ElementwiseParameters, shape: Shape, form: Form, maximum: bool) -> Case:
    """Drawn again until it fits the lanes and the memory."""
    while True:
        drawn = _Draw(random, unit, shape, form, maximum).case()
        if drawn is not None:
            return drawn


class _Draw:
    """One attempt to draw a case."""

    def __init__(
        self, random: np.random.Generator, unit: ElementwiseParameters, shape: Shape, form: Form, maximum: bool
    ) -> None:
        self.random, self.unit, self.shape, self.form, self.maximum = random, unit, shape, form, maximum
        self.input_size = _sides(random, unit.size_bits)
        self.kernel = shape.kernel or self.input_size
        self.slices = int(random.integers(1, 4))
        self.planes = [
            int(random.integers(1, unit.count_bits + 1)) if form == "counts" else 1 for _ in range(shape.inputs)
        ]
        self.active = _some_steps(random, unit.time_steps)
        self.steps = [_some_steps(random, unit.time_steps) for _ in range(shape.inputs)]
        self.free_row = 0

    def case(self) -> Case | None:
        output_size = self._output_size()
        planes_out = self._planes_out()
        computable = all(any(step in steps for steps in self.steps) for step in self.active)
        if min(output_size) < 1 or planes_out > self.unit.count_bits or not computable:
            return None
        inputs, values = zip(*(self._input(index) for index in range(self.shape.inputs)), strict=True)
        result = StoredValue(planes_out, self._bases(self.active, output_size, planes_out))
        if self.free_row > 1 << self.unit.address_bits:
            return None
        operation = ElementwiseOperation(
            maximum=self.maximum,
            currents=self.form == "currents",
            kernel=self.kernel,
            stride=self.shape.stride,
            padding=self.shape.padding,
            input_size=self.input_size,
            output_size=output_size,
            slices=self.slices,
            inputs=inputs,
            result=result,
        )
        results = {step: reduce_windows(operation, [of[step] for of in values if step in of]) for step in self.active}
        before = self._junk()
        for stored, contents in zip(inputs, values, strict=True):
            self._store(before, stored, contents)
        after = {name: rows.copy() for name, rows in before.items()}
        self._store(after, result, results)
        reduction = " by maximum" if self.maximum else ""
        name = f"{self.shape.name}{reduction} on {self.form}"
        return Case(name, operation, before, after, frozenset(_corners(self.unit, operation, results)))

    def _output_size(self) -> Size:
        height, width = (
            (size + 2 * self.shape.padding - taps) // self.shape.stride + 1
            for size, taps in zip(self.input_size, self.kernel, strict=True)
        )
        return height, width

    def _planes_out(self) -> int:
        """As many as the largest result needs, now and then more."""
        if self.form == "currents":
            return 1
        largest = [(1 << planes) - 1 for planes in self.planes]
        highest = largest[0] if self.maximum else self.kernel[0] * self.kernel[1] * sum(largest)
        needed = highest.bit_length()
        wide = needed < self.unit.count_bits and self.random.random() < 0.2
        return int(self.random.integers(needed, self.unit.count_bits + 1)) if wide else needed

    def _input(self, index: int) -> tuple[StoredValue, dict[int, Values]]:
        planes, steps = self.planes[index], self.steps[index]
        if self.random.random() < 0.3:  # computed once, reused
            base, value = self._bases(steps[:1], self.input_size, planes)[steps[0]], self._value(planes)
            return StoredValue(planes, dict.fromkeys(steps, base)), dict.fromkeys(steps, value)
        bases = self._bases(steps, self.input_size, planes)
        return StoredValue(planes, bases), {step: self._value(planes) for step in steps}

    def _bases(self, steps: tuple[int, ...], size: Size, planes: int) -> dict[int, int]:
        """Rows for a value at each step, the steps in any order."""
        bases = {}
        for step in self.random.permutation(steps).tolist():
            self.free_row += int(self.random.integers(0, 4))
            bases[step] = self.free_row
            self.free_row += size[0] * size[1] * planes * self.slices
        return bases

    def _value(self, planes: int) -> Values:
        lanes = self.unit.columns if self.form == "currents" else self.unit.rows
        shape = (*self.input_size, self.slices * lanes)
        if self.form != "currents":
            ones = self.random.random((planes, *shape)) < self.random.choice((0.1, 0.5, 1.0))
            return np.tensordot(1 << np.arange(planes), ones, 1)
        terms = 1 if self.maximum else self.kernel[0] * self.kernel[1] * self.shape.inputs
        low, high = -(1 << self.unit.value_bits - 1), (1 << self.unit.value_bits - 1) - 1
        top = high if self.random.random() < 0.5 else -1
        values = self.random.integers(-(-low // terms), top // terms + 1, shape)
        return np.where(self.random.random(shape) < 0.1, -(-low // terms), values)

    def _junk(self) -> Memories:
        depth = 1 << self.unit.address_bits
        widths = {"spike": self.unit.rows, "current": self.unit.columns * self.unit.value_bits}
        return {name: self.random.integers(0, 2, (depth, width), np.uint8) for name, width in widths.items()}

    def _store(self, memories: Memories, stored: StoredValue, values: Mapping[int, Values]) -> None:
        memory, bits = ("current", self.unit.value_bits) if self.form == "currents" else ("spike", stored.planes)
        for step, value in values.items():
            lanes = bits_of(value.reshape(-1, self.slices, value.shape[2] // self.slices), bits)
            if memory == "spike":  # [positions, slices, lanes, planes] → [positions, planes, slices, lanes]
                lanes = lanes.transpose(0, 3, 1, 2)
            rows = lanes.reshape(-1, memories[memory].shape[1])
            memories[memory][stored.bases[step] : stored.bases[step] + len(rows)] = rows


def _sides(random: np.random.Generator, size_bits: int) -> Size:
    """Short ones, and now and then a long one that needs all bits of a size."""
    sides = random.integers(1, 8, 2).tolist()
    if random.random() < 0.3:
        sides[int(random.integers(2))] = int(random.integers(8, min(LONGEST_SIDE + 1, 1 << size_bits)))
    return sides[0], sides[1]


def _some_steps(random: np.random.Generator, time_steps: int) -> tuple[int, ...]:
    """A few steps in ascending order, at least one."""
    count = int(random.integers(1, min(time_steps, 4) + 1))
    return tuple(sorted(random.choice(time_steps, count, replace=False).tolist()))


def reduce_windows(operation: ElementwiseOperation, inputs: list[Values]) -> Values:
    """The result at one step, by the definition: sum or maximum over what of a window lies inside the inputs."""
    height, width = operation.output_size
    result = np.zeros((height, width, inputs[0].shape[2]), np.int64)
    for y, x in np.ndindex(height, width):
        rows, columns = (
            slice(max(0, start), start + taps)
            for start, taps in zip(_window_start(operation, y, x), operation.kernel, strict=True)
        )
        taps = np.concatenate([value[rows, columns].reshape(-1, value.shape[2]) for value in inputs])
        result[y, x] = taps.max(axis=0) if operation.maximum else taps.sum(axis=0)
    return result


def _window_start(operation: ElementwiseOperation, y: int, x: int) -> Size:
    return y * operation.stride - operation.padding, x * operation.stride - operation.padding


def _corners(
    unit: ElementwiseParameters, operation: ElementwiseOperation, results: Mapping[int, Values]
) -> Iterator[str]:
    active, inputs = operation.active_steps, operation.inputs
    taps = operation.kernel[0] * operation.kernel[1]
    hidden = {taps * operation.available_planes(step) >= operation.result.planes for step in active}
    lowest, highest = (reduction(list(results.values())) for reduction in (np.min, np.max))
    facts = {
        "one slice": operation.slices == 1,
        "several slices": operation.slices > 1,
        "a count needs every bit of its lane": not operation.currents and highest >= 1 << unit.count_bits - 1,
        "a current needs every bit of its lane": operation.currents
        and max(highest, -lowest - 1) >= 1 << unit.value_bits - 2,
        "a sum of currents is negative": not operation.maximum and lowest < 0,
        "a maximum of currents is negative where the window leaves the input": operation.maximum
        and operation.padding > 0
        and any(result[0, 0].min() < 0 for result in results.values()),
        "inputs have different planes": len({value.planes for value in inputs}) > 1,
        "an input misses a step": any(step not in value.bases for value in inputs for step in active),
        "the first input misses a step": any(step not in inputs[0].bases for step in active),
        "active steps are no prefix": active != tuple(range(len(active))),
        "an inactive step lies between active ones": active[-1] - active[0] >= len(active),
        "an input is the same at several steps": any(
            len({value.bases[step] for step in active if step in value.bases})
            < len([step for step in active if step in value.bases])
            for value in inputs
        ),
        "the taps hide the writes at one step and not at another": len(hidden) > 1,
    }
    return (name for name, is_so in facts.items() if is_so)
