"""The program of a network: a row for each run, fill and elementwise operation, in the order of execution.

Every address, stride and count that the hardware needs is worked out here, so that it only adds. A product gets a row
for each weight block; an attention product, for each head, a row that fills the stationary memory and one that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dtss.compiler.schedule.buffers import is_walked, reads_parameters
from dtss.compiler.schedule.events import result_planes, window_of
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
    MemoryName,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.interpret import Tensors
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak
from dtss.rtl.elementwise import ElementwiseOperation, StoredValue, elementwise_fields
from dtss.rtl.engine import Engine
from dtss.rtl.gathering import Gathering
from dtss.rtl.memory_image import Bits, Fields, pack_fields
from dtss.rtl.places import Places, step_vector

RUN, FILL, ELEMENTWISE, END = range(4)

ElementwiseNode = Add | MaxPool | SumPool | TokenSum


@dataclass(frozen=True)
class ProgramRow:
    """One operation. block, group: of a product.  fields: of each part of the payload, highest part first."""

    operation: int
    node: int
    block: int
    group: int
    transfers_needed: int
    parts: tuple[tuple[str, Fields], ...]


def program(schedule: Schedule, tensors: Tensors) -> tuple[ProgramRow, ...]:
    """Every operation of `schedule`, the last one ends it."""
    return tuple(Programmer(schedule, tensors).rows())


def program_bits(engine: Engine, rows: Sequence[ProgramRow]) -> Bits:
    """The program memory."""
    return np.stack([_row_bits(engine, row) for row in rows])


def _row_bits(engine: Engine, row: ProgramRow) -> Bits:
    widths: dict[str, int] = {"operation": 2, "node": engine.node_bits, "transfers_needed": engine.count_bits}
    values: Fields = {"operation": row.operation, "node": row.node, "transfers_needed": row.transfers_needed}
    used = 0
    parts: list[tuple[dict[str, int], Fields]] = []
    for name, fields in row.parts:
        part: dict[str, int] = getattr(engine, f"{name}_widths")
        used += sum(part.values())
        parts.append((part, fields))
    head = _packed(widths, values)
    padding = np.zeros(engine.payload_bits - used, np.uint8)
    lowest_first = [_packed(part, fields) for part, fields in reversed(parts)]
    return np.concatenate([*lowest_first, padding, head])


def _packed(widths: Mapping[str, int], values: Fields) -> Bits:
    """A field that is not named is 0."""
    assert values.keys() <= widths.keys(), values.keys() - widths.keys()
    rows: Bits = pack_fields(widths, {name: np.array([values.get(name, 0)], np.int64) for name in widths})
    return np.concatenate(rows)


class Programmer:
    """Walks the nodes of one schedule."""

    def __init__(self, schedule: Schedule, tensors: Tensors) -> None:
        self.schedule = schedule
        self.rows_of_array = schedule.hardware.array.rows
        self.columns = schedule.hardware.array.columns
        self.group = schedule.hardware.array.skip_group
        self.load_rows = schedule.hardware.array.weight_rows_per_cycle
        self.places = Places(schedule)
        self.gathering = Gathering(schedule, tensors, self.places)
        self.transfers = 0

    def rows(self) -> Iterator[ProgramRow]:
        for index, node in enumerate(self.schedule.nodes):
            yield from self._node_rows(index, node)
        yield self._row(END, len(self.schedule.nodes) - 1, 0, 0, ())

    def _node_rows(self, index: int, node: AnyNode) -> Iterator[ProgramRow]:
        match node:
            case Image():
                return
            case Convolution() | Linear() | AttentionProduct():
                yield from self._product_rows(index, node)
            case Lif() if is_walked(self.schedule, node):
                return
            case Lif():
                if node.state_steps:
                    self._next_transfer()
                    yield self._row(RUN, index, 0, 0, self._stored_run(node, node.state_steps))
            case Integrator():
                if node.steps.active:
                    yield self._row(RUN, index, 0, 0, self._stored_run(node, node.steps.active))
            case Add() | MaxPool() | SumPool() | TokenSum():
                if node.steps.active:
                    yield self._row(ELEMENTWISE, index, 0, 0, (("elementwise", self._elementwise(node)),))

    def _row(
        self, operation: int, index: int, block: int, group: int, parts: tuple[tuple[str, Fields], ...]
    ) -> ProgramRow:
        return ProgramRow(operation, index, block, group, self.transfers, parts)

    def _next_transfer(self) -> None:
        self.transfers += 1

    # ---- products

    def _product_rows(self, index: int, node: Product) -> Iterator[ProgramRow]:
        cut = geometry(self.schedule, node)
        for block in range(cut.blocks):
            if not cut.walk_steps:
                continue
            if reads_parameters(self.schedule, node):
                self._next_transfer()
            for group in range(cut.groups):
                if isinstance(node, AttentionProduct) and cut.slot_steps:
                    fill = (("stationary", self.gathering.fill(node, cut, group)),)
                    yield self._row(FILL, index, block, group, fill)
                yield self._row(RUN, index, block, group, self._run(node, cut, block, group))

    def _run(self, node: Product, cut: Geometry, block: int, group: int) -> tuple[tuple[str, Fields], ...]:
        return (
            ("gather", {} if block and cut.keeps_words else self.gathering.gather(node, cut, group)),
            ("sequence", self._sequence(node, cut, block, group)),
            ("layer", self._layer(node, cut)),
        )

    def _sequence(self, node: Product, cut: Geometry, block: int, group: int) -> Fields:
        first_tile = block * cut.output_tiles_per_block
        tiles = cut.columns[first_tile : first_tile + cut.output_tiles_per_block]
        several = isinstance(node, Convolution) and node.tiling is not None and node.tiling.offsets_per_word > 1
        source = self.schedule.node(node.inputs[0])
        slices = -(-source.channels // self.rows_of_array)
        period = slices if isinstance(node, Convolution) and not several else len(cut.rows)
        parameter = self.places.first_row("parameter", node.name, block) + (group * len(cut.columns))
        parameter_rows = self.schedule.memory.parameter.capacity_rows
        return {
            "outer": cut.time_order == "outer",
            "together": cut.together,
            "gathered": block > 0 and cut.keeps_words,
            "strips": cut.strips,
            "positions_full": cut.positions_per_strip,
            "positions_last": int(cut.strip_positions[-1]),
            "words_full": int(cut.pass_words[0]),
            "words_last": int(cut.pass_words[-1]),
            "output_tiles": len(tiles),
            "columns_last": tiles[-1],
            "tiles": len(cut.rows),
            "slices": period,
            "rows_full": cut.rows[0],
            "rows_last": cut.rows[-1],
            "weight_base": 0
            if cut.weights_change
            else self.places.first_row("weight", node.name, block) // self.load_rows,
            "parameter_base": parameter % max(1, parameter_rows),
            "chunk_words": cut.chunk_words(self.group) if cut.slot_steps else 0,
            "chunk_groups": cut.chunk_words(self.group) // self.group if cut.slot_steps else 0,
            "membrane_tile_step": cut.positions,
            **self._results(node, cut, first_tile, group),
        }

    def _results(self, node: Product, cut: Geometry, first_tile: int, group: int) -> Fields:
        """Where the walk's spikes or currents go."""
        by_head = isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value")
        channel = first_tile * self.columns + (group * sum(cut.columns) if by_head else 0)
        if node.neuron is not None:
            return self._spike_results(self.schedule.node(node.neuron), channel, cut.positions_per_strip)
        tiles = -(-node.channels // self.columns)
        first = channel // self.columns + (0 if by_head else group * cut.positions * tiles)
        return self._current_results(node, first, cut.positions_per_strip, states=False)

    def _spike_results(self, neuron: AnyNode, channel: int, strip: int) -> Fields:
        slices = -(-neuron.channels // self.rows_of_array)
        return {
            "result_currents": 0,
            "result_states": 0,
            "result_base": channel // self.rows_of_array,
            "result_lane": channel % self.rows_of_array,
            "result_position_step": slices,
            "result_strip_step": strip * slices,
            "result_step_bases": self.places.step_bases(neuron, "spike"),
        }

    def _current_results(self, node: AnyNode, first: int, strip: int, *, states: bool) -> Fields:
        tiles = -(-node.channels // self.columns)
        return {
            "result_currents": 1,
            "result_states": states,
            "result_base": first,
            "result_lane": 0,
            "result_position_step": tiles,
            "result_strip_step": strip * tiles,
            "result_step_bases": self.places.step_bases(node, "current"),
        }

    def _layer(self, node: Product, cut: Geometry) -> Fields:
        neuron = None if node.neuron is None else self.schedule.node(node.neuron)
        assert neuron is None or isinstance(neuron, Lif)
        in_memory = neuron is not None and cut.time_order == "outer"
        resident_steps = len(cut.slot_steps) if cut.time_order == "inner" else 1
        stride = 1 if cut.together else resident_steps
        lanes = np.arange(self.group)
        return {
            **_neuron_fields(neuron),
            "integrates": 0,
            "stored_currents": 0,
            "reads_parameters": reads_parameters(self.schedule, node),
            "stationary_operand": cut.weights_change,
            "current_shift": node.current_shift,
            "state_steps": step_vector(cut.walk_steps),
            "active_steps": step_vector(cut.walk_steps if neuron is None else neuron.steps.active),
            "slot_steps": step_vector(cut.slot_steps),
            "reused_steps": step_vector(node.steps.reused),
            "membrane_reads": step_vector(neuron.membrane_reads if neuron is not None and in_memory else ()),
            "membrane_writes": step_vector(neuron.membrane_writes if neuron is not None and in_memory else ()),
            "walk_slot_stride": resident_steps,
            "planes": cut.planes,
            "group_planes": self.group % cut.planes,
            "group_slots": self.group // cut.planes * stride,
            "slot_stride": stride,
            "lane_planes": (lanes % cut.planes).tolist(),
            "lane_slots": (lanes // cut.planes * stride).tolist(),
        }

    # ---- LIFs and integrators on stored currents: walks without passes

    def _stored_run(self, node: Lif | Integrator, steps: tuple[int, ...]) -> tuple[tuple[str, Fields], ...]:
        source = self.schedule.node(node.inputs[0])
        tiles = -(-node.channels // self.columns)
        outer = isinstance(node, Lif) and node.time_order == "outer"
        spikes = isinstance(node, Lif)
        results = self._spike_results(node, 0, 0) if spikes else self._current_results(node, 0, 0, states=True)
        sequence: Fields = {
            "outer": outer,
            "together": not outer,
            "gathered": 0,
            "strips": 1,
            "positions_full": node.positions,
            "positions_last": node.positions,
            "words_full": 0,
            "words_last": 0,
            "output_tiles": tiles,
            "columns_last": node.channels - (tiles - 1) * self.columns,
            "tiles": 1,
            "slices": 1,
            "rows_full": 0,
            "rows_last": 0,
            "weight_base": 0,
            "parameter_base": self.places.first_row("parameter", node.name),
            "chunk_words": 0,
            "chunk_groups": 0,
            "membrane_tile_step": node.positions,
            **results,
            "source_steps": step_vector([step for step in steps if step in source.steps.available]),
            "source_base": 0,
            "source_position_step": tiles,
            "source_strip_step": 0,
            "source_step_bases": self.places.step_bases(source, "current"),
        }
        neuron = node if isinstance(node, Lif) else None
        layer: Fields = {
            **_neuron_fields(neuron),
            **({} if neuron is not None else _leak_fields(node.leak)),
            "has_neuron": 1,
            "integrates": neuron is None,
            "stored_currents": 1,
            "reads_parameters": neuron is not None,
            "stationary_operand": 0,
            "current_shift": 0,
            "state_steps": step_vector(steps),
            "active_steps": step_vector(node.steps.active),
            "slot_steps": 0,
            "reused_steps": 0,
            "membrane_reads": step_vector(neuron.membrane_reads if neuron is not None and outer else ()),
            "membrane_writes": step_vector(neuron.membrane_writes if neuron is not None and outer else ()),
            **dict.fromkeys(("walk_slot_stride", "planes", "group_planes", "group_slots", "slot_stride"), 0),
            "lane_planes": [0] * self.group,
            "lane_slots": [0] * self.group,
        }
        return ("gather", {}), ("sequence", sequence), ("layer", layer)

    # ---- elementwise work

    def _elementwise(self, node: ElementwiseNode) -> Fields:
        inputs = max(1, *(len(other.inputs) for other in self.schedule.nodes if not isinstance(other, Product | Lif)))
        return elementwise_fields(self._operation(node), inputs, self.schedule.time_steps)

    def _operation(self, node: ElementwiseNode) -> ElementwiseOperation:
        sources = [self.schedule.node(name) for name in node.inputs]
        currents = node.value.is_current
        memory: MemoryName = "current" if currents else "spike"
        kernel, stride, padding = window_of(node, sources[0])

        def stored(value: AnyNode, steps: Iterable[int]) -> StoredValue:
            bases = self.places.step_bases(value, memory)
            return StoredValue(result_planes(value), {step: bases[step] for step in steps})

        return ElementwiseOperation(
            maximum=isinstance(node, MaxPool),
            currents=currents,
            kernel=kernel,
            stride=stride,
            padding=padding,
            input_size=sources[0].shape[:2],
            output_size=node.shape[:2],
            slices=-(-node.channels // (self.columns if currents else self.rows_of_array)),
            inputs=tuple(stored(value, set(node.steps.active) & set(value.steps.available)) for value in sources),
            result=stored(node, node.steps.active),
        )


def _neuron_fields(neuron: Lif | None) -> Fields:
    if neuron is None:
        return {"has_neuron": 0, "hard_reset": 0, "leak_fixed": 0, "leak_shift": 0, "leak_multiplier": 0}
    return {"has_neuron": 1, "hard_reset": neuron.reset == "hard", **_leak_fields(neuron.leak)}


def _leak_fields(leak: Leak) -> Fields:
    match leak:
        case ShiftLeak(shift=shift):
            return {"leak_fixed": 0, "leak_shift": shift, "leak_multiplier": 0}
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return {"leak_fixed": 1, "leak_shift": fraction_bits, "leak_multiplier": multiplier}
