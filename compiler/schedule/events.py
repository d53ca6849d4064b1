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

from dtss.compiler.schedule.format import (
    Add,
    AnyNode,
    AttentionProduct,
    Image,
    Integrator,
    Lif,
    MaxPool,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import Geometry

DRAIN = 2  # cycles between the issue of a strip's last word and its sum being in the accumulator

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
    """Of a product and of the walk it feeds."""
    tiles = cut.groups * len(cut.columns)
    rounds = len(pass_rounds(cut))
    strip_passes = sum(map(len, pass_rounds(cut))) * tiles
    walks = cut.strips * tiles * rounds if cut.walk_steps else 0
    has_parameters = not isinstance(node, AttentionProduct) or node.neuron is not None
    rows_loaded = "stationary_row_reads" if isinstance(node, AttentionProduct) else "weight_row_reads"
    shared = {
        "walk_cycles": DRAIN * walks,
        "passes": strip_passes * cut.strips * len(cut.rows),
        rows_loaded: strip_passes * cut.strips * sum(cut.rows),
        "parameter_row_reads": walks if has_parameters else 0,
    }
    return ConstantEvents(tuple(_product_at(schedule, node, cut, step) for step in range(schedule.time_steps)), shared)


def pass_rounds(cut: Geometry) -> tuple[tuple[int, ...], ...]:
    """For each round of all strips (outer: one a walked step) the passes' steps."""
    if cut.time_order == "inner" or not cut.walk_steps:
        return (tuple(range(cut.pass_steps if cut.slot_steps else 0)),)
    return tuple((cut.slot_steps.index(step),) if step in cut.slot_steps else () for step in cut.walk_steps)


def _product_at(schedule: Schedule, node: Product, cut: Geometry, step: int) -> Events:
    """The words that are offered, and what the walk touches."""
    visits = cut.groups * cut.positions * len(cut.columns)
    walked, summed = step in cut.walk_steps, step in (*node.steps.active, *node.steps.reused)
    events = {
        "words_offered": visits * cut.planes * len(cut.rows) * (step in cut.slot_steps),
        "walk_cycles": visits * walked,
        "accumulator_reads": visits * (walked and summed),
    }
    if node.neuron is None:
        return events | {"current_row_writes": visits * walked}
    neuron = schedule.node(node.neuron)
    assert isinstance(neuron, Lif)
    return events | _lif_at(neuron, visits, step)


def _lif_at(neuron: Lif, visits: int, step: int) -> Events:
    outer, fires = neuron.time_order == "outer", step in neuron.steps.active
    neurons = neuron.positions * neuron.channels
    return {
        "spike_row_writes": visits * fires,
        "membrane_row_reads": visits * (outer and step in neuron.membrane_reads),
        "membrane_row_writes": visits * (outer and step in neuron.membrane_writes),
        "lif_updates": neurons * (step in neuron.state_steps),
        "zero_checks": neurons * fires,
    }


def elementwise_events(schedule: Schedule, node: ElementwiseNode) -> ConstantEvents:
    """Of a node that the array does not compute.

    A LIF whose input is a product's accumulators costs nothing of its own: the product's walk is its work. The image
    arrives once, for all steps.
    """
    nothing: Events = {}
    if isinstance(node, Image):
        return ConstantEvents((nothing,) * schedule.time_steps, _writes(schedule, node))
    if isinstance(node, Lif) and _is_walked(schedule, node):
        return ConstantEvents((nothing,) * schedule.time_steps, nothing)
    tiles = math.ceil(node.channels / schedule.hardware.array.columns)
    shared = {"parameter_row_reads": tiles} if isinstance(node, Lif) else nothing
    return ConstantEvents(tuple(_elementwise_at(schedule, node, step) for step in range(schedule.time_steps)), shared)


def _elementwise_at(
    schedule: Schedule, node: Lif | Integrator | Add | MaxPool | SumPool | TokenSum, step: int
) -> Events:
    match node:
        case Lif():
            return _stored_current_lif_at(schedule, node, step)
        case Integrator():
            return _integrator_at(schedule, node, step)
        case Add() | TokenSum():
            return _reads_at(schedule, node, schedule.node(node.inputs[0]).positions, step)
        case MaxPool() | SumPool():
            return _reads_at(schedule, node, pool_taps(node, schedule.node(node.inputs[0])), step)
        case _:
            assert_never(node)


def _is_walked(schedule: Schedule, node: Lif) -> bool:
    source = schedule.node(node.inputs[0])
    return isinstance(source, Product) and source.neuron == node.name


def _visits(schedule: Schedule, node: AnyNode) -> int:
    """Rows of C of one step."""
    return node.positions * math.ceil(node.channels / schedule.hardware.array.columns)


def _stored_current_lif_at(schedule: Schedule, node: Lif, step: int) -> Events:
    visits, available = _visits(schedule, node), schedule.node(node.inputs[0]).steps.available
    cycles = visits * (step in node.state_steps)
    return {
        "cycles": cycles,
        "walk_cycles": cycles,
        "current_row_reads": cycles * (step in available),
    } | _lif_at(node, visits, step)


def _integrator_at(schedule: Schedule, node: Integrator, step: int) -> Events:
    """As a LIF whose current is stored, but what it writes is its state."""
    cycles = _visits(schedule, node) * (step in node.steps.active)
    return {
        "cycles": cycles,
        "walk_cycles": cycles,
        "current_row_reads": cycles * (step in schedule.node(node.inputs[0]).steps.available),
        "current_row_writes": cycles,
        "lif_updates": node.positions * node.channels * (step in node.steps.active),
    }


def pool_taps(node: MaxPool | SumPool, source: AnyNode) -> int:
    """Window elements inside the image, summed over all windows."""

    def inside(outputs: int, size: int, kernel: int) -> int:
        starts = np.arange(outputs) * node.stride - node.padding
        return int((np.minimum(starts + kernel, size) - np.maximum(starts, 0)).sum())

    rows, columns = (
        inside(outputs, size, kernel)
        for outputs, size, kernel in zip(node.shape[:2], source.shape[:2], node.window, strict=True)
    )
    return rows * columns


def _reads_at(schedule: Schedule, node: Add | MaxPool | SumPool | TokenSum, taps: int, step: int) -> Events:
    """Reads of every available input and writes of the result: rows for currents, words and planes for counts."""
    if step not in node.steps.active:
        return {}
    array = schedule.hardware.array
    words = math.ceil(node.channels / array.rows)
    tiles = math.ceil(node.channels / array.columns)
    events = {"current_row_reads": 0, "spike_word_reads": 0}
    for source in (schedule.node(name) for name in node.inputs):
        if step not in source.steps.available:
            continue
        if source.value.is_current:
            events["current_row_reads"] += taps * tiles
        else:
            events["spike_word_reads"] += taps * words * source.value.planes
    return events | {"cycles": sum(events.values())} | _writes(schedule, node)


def _writes(schedule: Schedule, node: AnyNode) -> Events:
    """Of the value of one step."""
    if node.value.is_current:
        return {"current_row_writes": _visits(schedule, node)}
    words = math.ceil(node.channels / schedule.hardware.array.rows)
    return {
        "spike_word_writes": node.positions * words * node.value.planes,
        "zero_checks": node.positions * node.channels * node.value.planes,
    }
