"""What one image makes the engine see, and what the golden interpreter says it must answer.

For each product: the spike words and their flags, attention's stationary operand as weights, and the
accumulators, currents, membranes and spikes of every visit of every walk, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Lif, Schedule
from dtss.compiler.schedule.interpret import Execution, Tensors, interpret, value_at
from dtss.compiler.schedule.words import reduction_operand, stationary_operand, word_popcounts, words
from dtss.rtl.engine import Engine
from dtss.rtl.generate import weight_rows
from dtss.rtl.layout import Layout, Visits, by_group
from dtss.rtl.memory_image import Bits


@dataclass(frozen=True)
class Expected:
    """The walk stream of one product: quantity → [visits, columns of the engine].

    A quantity is missing where the product has none (membranes and spikes without a neuron). Columns from
    `visits.columns[i]` on are not used by visit i.
    """

    visits: Visits
    rows: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class LayerStimulus:
    """Memory contents that depend on the image, by file name, and the answer."""

    memories: Mapping[str, Bits]
    expected: Expected


def execute(schedule: Schedule, tensors: Tensors, pixels: np.ndarray) -> Execution:
    """The golden run of one image [H, W, C]."""
    return interpret(schedule, tensors, pixels[None].astype(np.int64))


def layer_stimulus(
    schedule: Schedule, tensors: Tensors, run: Execution, engine: Engine, layout: Layout
) -> LayerStimulus:
    """The stimulus of one product in the run of one image."""
    memories = word_memories(streamed_operand(schedule, tensors, run, layout), engine, layout)
    if isinstance(layout.node, AttentionProduct) and layout.runs:
        memories["weights"] = weight_rows(engine, layout, _stationary(schedule, tensors, run, layout))
    return LayerStimulus(memories, expected_walks(schedule, run, engine, layout))


def streamed_operand(schedule: Schedule, tensors: Tensors, run: Execution, layout: Layout) -> np.ndarray:
    """The streamed value at each slot step: [slot steps, groups, positions, reduction length]."""
    source = schedule.node(layout.node.inputs[0])
    steps = [
        reduction_operand(layout.node, tensors, value_at(run, source, step, 1))[0] for step in layout.cut.slot_steps
    ]
    return np.stack(steps) if steps else np.zeros((0, layout.cut.groups, layout.cut.positions, sum(layout.cut.rows)))


def popcounts(operand: np.ndarray, layout: Layout) -> NDArray[np.int64]:
    """What the cycle rules need: [1, groups, positions, slot steps, planes, reduction tiles]."""
    ones = word_popcounts(operand.astype(np.int64), layout.cut.planes, layout.cut.rows)
    return np.moveaxis(ones, 0, 2)[None]


def word_memories(operand: np.ndarray, engine: Engine, layout: Layout) -> dict[str, Bits]:
    """Word and flag memory of a streamed operand, in the blocks that `layout` says."""
    cut = layout.cut
    bits = words(operand.astype(np.int64), cut.planes, cut.rows, engine.rows)
    # From axes (steps, groups, positions, planes, tiles, lanes)
    # to (groups, pass steps, tiles, positions, steps in a pass, planes, lanes).
    ordered = bits.transpose(1, 0, 4, 2, 3, 5)[:, :, :, :, None]
    if not layout.words_per_step:
        ordered = bits.transpose(1, 4, 2, 0, 3, 5)[:, None]
    memory = np.zeros((layout.flag_rows * engine.group, engine.rows), np.uint8)
    for (group, step, strip, tile), base in np.ndenumerate(layout.flag_base):
        start = strip * cut.positions_per_strip
        block = ordered[group, step, tile, start : start + cut.positions_per_strip].reshape(-1, engine.rows)
        memory[base * engine.group : base * engine.group + len(block)] = block
    return {"words": memory, "flags": memory.any(axis=1).astype(np.uint8).reshape(-1, engine.group)}


def _stationary(schedule: Schedule, tensors: Tensors, run: Execution, layout: Layout) -> np.ndarray:
    """Attention's stationary operand at each slot step: [slot steps, groups, reduction length, channels of a group]."""
    source = schedule.node(layout.node.inputs[1])
    empty = np.zeros((0, layout.cut.groups, sum(layout.cut.rows), sum(layout.cut.columns)), np.int64)
    values = (value_at(run, source, step, 1) for step in layout.cut.slot_steps)
    return np.concatenate([empty, *(stationary_operand(layout.node, tensors, value) for value in values)])


def expected_walks(schedule: Schedule, run: Execution, engine: Engine, layout: Layout) -> Expected:
    """The interpreter's answer for every visit."""
    visits = layout.visits()
    by_step = {quantity: dict(steps) for quantity, steps in _answers(schedule, run, layout).items()}
    rows = {
        quantity: _gather(layout, engine, visits, {step: by_group(layout, value[0]) for step, value in steps.items()})
        for quantity, steps in by_step.items()
    }
    return Expected(visits, rows)


def _answers(schedule: Schedule, run: Execution, layout: Layout) -> dict[str, dict[int, np.ndarray]]:
    """Quantity → walked step → [1, *shape]."""
    node, walked = layout.node, layout.cut.walk_steps
    zero = np.zeros((1, *node.shape), np.int64)
    sums = dict(run.accumulators[node.name])
    if node.steps.reused:
        sums |= dict.fromkeys(node.steps.reused, sums[node.steps.active[0]])
    answers = {
        "accumulators": {step: sums.get(step, zero) for step in walked},
        "currents": {step: value_at(run, node, step, 1) for step in walked},
    }
    if node.neuron is not None:
        neuron = schedule.node(node.neuron)
        assert isinstance(neuron, Lif)
        answers["membranes"] = run.membranes[neuron.name]
        answers["spikes"] = {step: run.values[neuron.name].get(step, zero) for step in walked}
    return answers


def _gather(layout: Layout, engine: Engine, visits: Visits, values: Mapping[int, np.ndarray]) -> NDArray[np.int64]:
    """Rows of the visited (group, position, step, output tile): [visits, columns], 0 in unused columns."""
    rows = np.zeros((len(visits.group), engine.columns), np.int64)
    starts = np.cumsum((0, *layout.cut.columns))
    for step, value in values.items():
        for tile, count in enumerate(layout.cut.columns):
            chosen = (visits.step == step) & (visits.output_tile == tile)
            channels = slice(starts[tile], starts[tile] + count)
            rows[chosen, :count] = value[visits.group[chosen], visits.position[chosen], channels]
    return rows
