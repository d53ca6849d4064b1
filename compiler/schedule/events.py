"""Events that no image changes: those of each time step, and those that steps share.

    counts of a node = Σ_t by_step[t] + shared

A visit of the walk is one (position, step) of one output tile: a row of C. Words, visits, membranes and what the
elementwise unit reads belong to a step each. A weight tile, a row of parameters and the drain of a walk serve all steps
of a strip.
"""

from __future__ import annotations

import math
from typing import assert_never

import msgspec
import numpy as np

from dtss.compiler.schedule.buffers import is_walked, value_memory
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
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import Geometry

DRAIN = 3  # cycles between the issue of a strip's last word and its sum being in the accumulator
RUN_CYCLES = 3  # the controller fetches a run's row and begins it, and the run fetches its first pass
FILL_CONTROL_CYCLES = 2  # the controller fetches a fill's row and begins it
FILL_PIPELINE_CYCLES = 3  # from the last row that is read to its last write
ELEMENTWISE_CONTROL_CYCLES = 2
END_CYCLES = 2  # the controller fetches the program's last row and ends; the last node's
RESULT_LATENCY = 3  # cycles from an elementwise output's last tap to the write of its first plane
GATHER_LATENCY = 5  # cycles after a chunk's last row is read until its pass may stream

Events = dict[str, int]
ElementwiseNode = Image | Lif | Integrator | Add | MaxPool | SumPool | TokenSum


class ConstantEvents(msgspec.Struct, frozen=True):
    """by_step: of each of the T steps.  shared: of none of them alone. Keys are fields of `cycles.Counts`."""

    by_step: tuple[Events, ...]
    shared: Events

    def total(self) -> Events:
        """Of all steps together."""
        parts = (*self.by_step, self.shared)
        return {name: sum(part.get(name, 0) for part in parts) for name in dict.fromkeys(n for p in parts for n in p)}


def product_events(schedule: Schedule, node: Product, cut: Geometry) -> ConstantEvents:
    """Of a product and of the walk it feeds; nothing where nothing is walked."""
    steps = range(schedule.time_steps)
    if not cut.walk_steps:
        return ConstantEvents(tuple({} for _ in steps), {"control_cycles": end_cycles(schedule, node)})
    tiles = cut.groups * len(cut.columns)
    rounds = len(pass_rounds(cut))
    strip_passes = sum(map(len, pass_rounds(cut))) * tiles
    walks = cut.strips * tiles * rounds
    attends = isinstance(node, AttentionProduct)
    shared = {
        "walk_cycles": DRAIN * walks,
        "control_cycles": RUN_CYCLES * cut.blocks * cut.groups + end_cycles(schedule, node),
        "passes": strip_passes * cut.strips * len(cut.rows),
        "stationary_row_reads" if attends else "weight_row_reads": strip_passes * cut.strips * sum(cut.rows),
        "parameter_row_reads": walks if not attends or node.neuron is not None else 0,
    }
    if isinstance(node, AttentionProduct) and cut.slot_steps:
        shared["control_cycles"] += FILL_CONTROL_CYCLES * cut.groups
        shared["fill_cycles"] = FILL_PIPELINE_CYCLES * cut.groups
    return ConstantEvents(tuple(_product_at(schedule, node, cut, step) for step in steps), shared)


def pass_rounds(cut: Geometry) -> tuple[tuple[int, ...], ...]:
    """For each round of all strips (outer: one a walked step) the passes' steps."""
    if cut.time_order == "inner" or not cut.walk_steps:
        return (tuple(range(cut.pass_steps if cut.slot_steps else 0)),)
    return tuple((cut.slot_steps.index(step),) if step in cut.slot_steps else () for step in cut.walk_steps)


def _product_at(schedule: Schedule, node: Product, cut: Geometry, step: int) -> Events:
    """What fills the stationary memory, the words that are gathered and offered, and what the walk touches."""
    visits = cut.groups * cut.positions * len(cut.columns)
    walked, summed = step in cut.walk_steps, step in (*node.steps.active, *node.steps.reused)
    events = {"walk_cycles": visits * walked, "accumulator_reads": visits * (walked and summed)}
    if step in cut.slot_steps:
        words = cut.groups * cut.positions * cut.planes * len(cut.rows)
        events |= {
            "words_offered": words * len(cut.columns),
            "strip_word_writes": words * cut.gathers,
            "zero_checks": words * cut.gathers * schedule.hardware.array.rows,
        }
        for part in (gather_reads(schedule, node, cut), fill_events(schedule, node, cut)):
            for name, count in part.items():
                events[name] = events.get(name, 0) + count
    if node.neuron is None:
        return events | {"current_row_writes": visits * walked}
    neuron = schedule.node(node.neuron)
    assert isinstance(neuron, Lif)
    return events | _lif_at(neuron, visits, step)


def gather_reads(schedule: Schedule, node: Product, cut: Geometry) -> Events:
    """Rows that the gatherer reads for one step: once for each strip, whatever the number of output tiles."""
    array, source = schedule.hardware.array, schedule.node(node.inputs[0])
    slices = math.ceil(source.channels / array.rows)
    match node:
        case Convolution():
            taps = window_taps(node.shape, source.shape, node.kernel, node.stride, node.padding)
            if isinstance(source, Image):
                return {"image_row_reads": taps * cut.gathers}
            return {"spike_word_reads": taps * slices * cut.planes * cut.gathers}
        case Linear():
            if isinstance(source, Image):
                return {"image_row_reads": cut.positions * len(cut.rows) * cut.gathers}
            return {"spike_word_reads": cut.positions * slices * cut.planes * cut.gathers}
        case AttentionProduct(stage="score_value"):
            pieces = sum(-(-rows // array.columns) for rows in cut.rows)
            return {"current_row_reads": cut.groups * cut.positions * pieces}
        case AttentionProduct(stage="key_value"):
            return {"spike_word_reads": cut.groups * cut.strips * sum(cut.rows)}
        case AttentionProduct():
            return {"spike_word_reads": cut.groups * cut.positions * len(cut.rows) * cut.planes}


def fill_events(schedule: Schedule, node: Product, cut: Geometry) -> Events:
    """What bringing the operand that stays in the array takes for one step."""
    if not isinstance(node, AttentionProduct):
        return {}
    source = schedule.node(node.inputs[1])
    rows = cut.groups * len(cut.columns) * sum(cut.rows)
    match node.stage:
        case "query_key_value":
            return {"fill_cycles": rows, "current_row_reads": rows, "stationary_row_writes": rows}
        case "query_key":
            tokens = cut.groups * len(cut.rows) * sum(cut.columns)
            return {"fill_cycles": tokens + rows, "spike_word_reads": tokens, "stationary_row_writes": rows}
        case _:
            reads = rows * source.value.planes
            return {"fill_cycles": reads, "spike_word_reads": reads, "stationary_row_writes": rows}


def _lif_at(neuron: Lif, visits: int, step: int) -> Events:
    outer, fires = neuron.time_order == "outer", step in neuron.steps.active
    neurons = neuron.positions * neuron.channels
    return {
        "spike_row_writes": visits * fires,
        "membrane_row_reads": visits * (outer and step in neuron.membrane_reads),
        "membrane_row_writes": visits * (outer and step in neuron.membrane_writes),
        "lif_updates": neurons * (step in neuron.state_steps),
    }


def elementwise_events(schedule: Schedule, node: ElementwiseNode) -> ConstantEvents:
    """Of a node that the array does not compute.

    A LIF whose input is a product's accumulators costs nothing of its own: the product's walk is its work. A LIF or an
    integrator on stored currents is a walk without passes. The image arrives while the machine waits for it.
    """
    steps = range(schedule.time_steps)
    end = {"control_cycles": end_cycles(schedule, node)}
    if isinstance(node, Image) or (isinstance(node, Lif) and is_walked(schedule, node)):
        return ConstantEvents(tuple({} for _ in steps), end)
    tiles = math.ceil(node.channels / schedule.hardware.array.columns)
    walked = node.state_steps if isinstance(node, Lif) else node.steps.active
    shared: Events = {}
    if isinstance(node, Lif | Integrator):
        outer = isinstance(node, Lif) and node.time_order == "outer"
        walks = tiles * (len(walked) if outer else 1)
        shared = {"walk_cycles": DRAIN * walks, "control_cycles": RUN_CYCLES}
        shared |= {"parameter_row_reads": walks} if isinstance(node, Lif) else {}
    else:
        last = last_result_cycles(result_planes(node))
        shared = {"elementwise_cycles": last, "control_cycles": ELEMENTWISE_CONTROL_CYCLES}
    if not walked:
        return ConstantEvents(tuple({} for _ in steps), end)
    shared["control_cycles"] += end["control_cycles"]
    return ConstantEvents(tuple(_elementwise_at(schedule, node, step) for step in steps), shared)


def end_cycles(schedule: Schedule, node: AnyNode) -> int:
    """What the end of the program adds to the last node."""
    return END_CYCLES if node.name == schedule.nodes[-1].name else 0


def _elementwise_at(
    schedule: Schedule, node: Lif | Integrator | Add | MaxPool | SumPool | TokenSum, step: int
) -> Events:
    match node:
        case Lif():
            return _stored_current_lif_at(schedule, node, step)
        case Integrator():
            return _integrator_at(schedule, node, step)
        case Add() | TokenSum() | MaxPool() | SumPool():
            return _reads_at(schedule, node, step)
        case _:
            assert_never(node)


def _visits(schedule: Schedule, node: AnyNode) -> int:
    """Rows of C of one step."""
    return node.positions * math.ceil(node.channels / schedule.hardware.array.columns)


def _stored_current_lif_at(schedule: Schedule, node: Lif, step: int) -> Events:
    visits, available = _visits(schedule, node), schedule.node(node.inputs[0]).steps.available
    walked = visits * (step in node.state_steps)
    return {"walk_cycles": walked, "current_row_reads": walked * (step in available)} | _lif_at(node, visits, step)


def _integrator_at(schedule: Schedule, node: Integrator, step: int) -> Events:
    """As a LIF whose current is stored, but what it writes is its state."""
    walked = _visits(schedule, node) * (step in node.steps.active)
    return {
        "walk_cycles": walked,
        "current_row_reads": walked * (step in schedule.node(node.inputs[0]).steps.available),
        "current_row_writes": walked,
        "lif_updates": node.positions * node.channels * (step in node.steps.active),
    }


def output_cycles(taps: int, planes_out: int) -> int:
    """Of one elementwise output: a tap and plane each, and meanwhile the planes of the output before are written."""
    return max(taps, planes_out)


def last_result_cycles(planes_out: int) -> int:
    """From the last tap of an elementwise operation to its last write."""
    return RESULT_LATENCY + planes_out - 1


def window_taps(
    shape: tuple[int, ...], source: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int
) -> int:
    """Window elements inside the value, summed over all windows."""

    def inside(outputs: int, size: int, length: int) -> int:
        starts = np.arange(outputs) * stride - padding
        return int((np.minimum(starts + length, size) - np.maximum(starts, 0)).clip(0).sum())

    rows, columns = (
        inside(outputs, size, length) for outputs, size, length in zip(shape[:2], source[:2], kernel, strict=True)
    )
    return rows * columns


def window_of(node: Add | MaxPool | SumPool | TokenSum, source: AnyNode) -> tuple[tuple[int, int], int, int]:
    """(kernel, stride, padding) of the elementwise unit's window."""
    match node:
        case Add():
            return (1, 1), 1, 0
        case TokenSum():
            return (source.shape[0], source.shape[1]), 1, 0
        case _:
            return node.window, node.stride, node.padding


def result_planes(node: AnyNode) -> int:
    """Rows that one slice of a position takes: planes of counts, one of currents."""
    return 1 if value_memory(node) == "current" else node.value.planes


def _reads_at(schedule: Schedule, node: Add | MaxPool | SumPool | TokenSum, step: int) -> Events:
    """Taps outside the value take their cycles too."""
    if step not in node.steps.active:
        return {}
    array, currents = schedule.hardware.array, node.value.is_current
    slices = math.ceil(node.channels / (array.columns if currents else array.rows))
    sources = [schedule.node(name) for name in node.inputs]
    available = [source for source in sources if step in source.steps.available]
    kernel, stride, padding = window_of(node, sources[0])
    planes = sum(result_planes(source) for source in available)
    inside = window_taps(node.shape, sources[0].shape, kernel, stride, padding)
    outputs = node.positions * slices
    reads, writes = inside * slices * planes, outputs * result_planes(node)
    kind = "current_row" if currents else "spike_word"
    return {
        "elementwise_cycles": outputs * output_cycles(kernel[0] * kernel[1] * planes, result_planes(node)),
        f"{kind}_reads": reads,
        f"{kind}_writes": writes,
    }
