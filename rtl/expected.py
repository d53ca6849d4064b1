"""What the interpreter and the schedule say that each row of the program does: every visit of its walks, every write of
the elementwise unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import (
    Add,
    AttentionProduct,
    Integrator,
    Lif,
    MaxPool,
    Product,
    Schedule,
    SumPool,
    TokenSum,
)
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import Execution, value_at
from dtss.rtl.engine import Engine
from dtss.rtl.memory_image import bits_of
from dtss.rtl.places import Places
from dtss.rtl.program import ELEMENTWISE, RUN, ProgramRow

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a visit or a written row belongs in its node's value; every field is [rows]. channel: of the first lane.

    head: −1 where the value has none.
    """

    step: Integers
    position: Integers
    channel: Integers
    head: int = -1

    def text(self, row: int, lane: int) -> str:
        """Of one lane of one row."""
        place = f"step {self.step[row]}, position {self.position[row]}, channel {self.channel[row] + lane}"
        return place if self.head < 0 else f"{place}, head {self.head}"


@dataclass(frozen=True)
class ExpectedRow:
    """One row of the program. lanes: used ones of each record.  values: quantity → [records, lanes].

    A quantity that nobody needs is missing. `address` is that of a write.
    """

    node: str
    place: Place
    lanes: Integers
    values: dict[str, Integers]


def expected_row(schedule: Schedule, run: Execution, engine: Engine, row: ProgramRow) -> ExpectedRow:
    """`run` is of one image."""
    node = schedule.nodes[row.node]
    match node:
        case Lif() | Integrator() if row.operation == RUN:
            return _stored_walk(schedule, run, engine, node)
        case Add() | MaxPool() | SumPool() | TokenSum() if row.operation == ELEMENTWISE:
            return _writes(schedule, run, engine, node)
    assert isinstance(node, Product)
    assert row.operation == RUN
    return _walk(schedule, run, engine, node, row)


def _walk(schedule: Schedule, run: Execution, engine: Engine, node: Product, row: ProgramRow) -> ExpectedRow:
    """for [step, if time runs outermost]: for strip: for output tile: for position: for step."""
    cut = geometry(schedule, node)
    tiles = np.arange(len(cut.columns))[row.block * cut.output_tiles_per_block :][: cut.output_tiles_per_block]
    rounds = [(step,) for step in cut.walk_steps] if cut.time_order == "outer" else [cut.walk_steps]
    starts = np.arange(cut.strips) * cut.positions_per_strip
    strips = [np.arange(start, start + count) for start, count in zip(starts, cut.strip_positions, strict=True)]
    parts = [np.meshgrid(tiles, strip, np.array(steps), indexing="ij") for steps in rounds for strip in strips]
    tile, position, step = (np.concatenate([part[axis].ravel() for part in parts]) for axis in range(3))
    place = Place(step, position, tile * engine.columns, row.group if cut.groups > 1 else -1)
    answers = _product_answers(schedule, run, node, cut.walk_steps)
    by_group = {
        name: {step: _of_group(node, cut.groups, cut.positions, value)[row.group] for step, value in steps.items()}
        for name, steps in answers.items()
    }
    return ExpectedRow(node.name, place, np.array(cut.columns)[tile], _gathered(engine.columns, place, by_group))


def _product_answers(
    schedule: Schedule, run: Execution, node: Product, walked: tuple[int, ...]
) -> dict[str, dict[int, Integers]]:
    """Quantity → walked step → value."""
    zero = np.zeros((1, *node.shape), np.int64)
    sums = dict(run.accumulators[node.name])
    if node.steps.reused:
        sums |= dict.fromkeys(node.steps.reused, sums[node.steps.active[0]])
    answers = {
        "accumulators": {step: sums.get(step, zero) for step in walked},
        "currents": {step: value_at(run, node, step, 1) for step in walked},
    }
    if node.neuron is not None:
        answers["membranes"] = run.membranes[node.neuron]
        answers["spikes"] = {step: run.values[node.neuron].get(step, zero) for step in walked}
    return answers


def _of_group(node: Product, groups: int, positions: int, value: Integers) -> Integers:
    """A product's (or its neuron's) value of one image → [groups, positions, channels of a group]."""
    if isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
        return value.reshape(positions, groups, -1).swapaxes(0, 1)
    return value.reshape(groups, positions, -1)


def _stored_walk(schedule: Schedule, run: Execution, engine: Engine, node: Lif | Integrator) -> ExpectedRow:
    """A LIF's or an integrator's, on stored currents: one strip of all positions."""
    fires = isinstance(node, Lif)
    steps = node.state_steps if isinstance(node, Lif) else node.steps.active
    rounds = [(step,) for step in steps] if isinstance(node, Lif) and node.time_order == "outer" else [steps]
    tiles = np.arange(-(-node.channels // engine.columns))
    parts = [np.meshgrid(tiles, np.arange(node.positions), np.array(each), indexing="ij") for each in rounds]
    tile, position, step = (np.concatenate([part[axis].ravel() for part in parts]) for axis in range(3))
    place = Place(step, position, tile * engine.columns)
    source = schedule.node(node.inputs[0])
    zero = np.zeros((1, *node.shape), np.int64)
    answers = {
        "currents": {step: value_at(run, source, step, 1) for step in steps},
        "membranes": run.membranes[node.name] if fires else run.values[node.name],
    }
    if fires:
        answers["spikes"] = {step: run.values[node.name].get(step, zero) for step in steps}
    flat = {
        name: {step: value.reshape(node.positions, node.channels) for step, value in of_step.items()}
        for name, of_step in answers.items()
    }
    lanes = np.minimum(node.channels - place.channel, engine.columns)
    return ExpectedRow(node.name, place, lanes, _gathered(engine.columns, place, flat))


def _gathered(lanes: int, place: Place, values: dict[str, dict[int, Integers]]) -> dict[str, Integers]:
    """Rows of `lanes` channels of values [positions, channels], 0 beyond the last one."""
    rows = {name: np.zeros((len(place.step), lanes), np.int64) for name in values}
    for name, of_step in values.items():
        for step, value in of_step.items():
            chosen = place.step == step
            padded = np.pad(value, ((0, 0), (0, lanes)))
            channels = place.channel[chosen][:, None] + np.arange(lanes)
            rows[name][chosen] = padded[place.position[chosen][:, None], channels]
    return rows


def _writes(
    schedule: Schedule, run: Execution, engine: Engine, node: Add | MaxPool | SumPool | TokenSum
) -> ExpectedRow:
    """In the order of their addresses. A row: a plane of R lanes of counts, or C currents."""
    currents = node.value.is_current
    width, planes = (engine.columns, 1) if currents else (engine.rows, node.value.planes)
    slices = -(-node.channels // width)
    bases = Places(schedule).step_bases(node, "current" if currents else "spike")
    axes = (np.array(node.steps.active), np.arange(node.positions), np.arange(planes), np.arange(slices))
    step, position, plane, part = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    value = np.stack([run.values[node.name][each].reshape(node.positions, -1) for each in node.steps.active])
    padded = np.pad(value, ((0, 0), (0, 0), (0, slices * width - node.channels)))
    parts = padded.reshape(len(axes[0]), node.positions, slices, width)
    rows = (parts if currents else np.moveaxis(bits_of(parts, planes), -1, 2).astype(np.int64)).reshape(-1, width)
    address = np.array(bases)[step] + (position * planes + plane) * slices + part
    order = np.argsort(address, kind="stable")
    place = Place(step[order], position[order], part[order] * width)
    lanes = np.minimum(node.channels - place.channel, width)  # beyond them may be what lay there before
    values = {"address": address[order][:, None], "currents" if currents else "word": rows[order]}
    return ExpectedRow(node.name, place, lanes, values)
