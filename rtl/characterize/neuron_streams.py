"""Real currents for the neurons: the visits of a sample of walks, in the machine's order, of one column.

Of every layer of neurons of every image a share of the visits, in runs that begin at a neuron's first step, of a column
drawn for each run. Two cycles without a visit end each strip, in which the accumulators read as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Lif, Product, Schedule
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import Tensors
from dtss.rtl.counts import Image
from dtss.rtl.engine import Engine
from dtss.rtl.expected import ExpectedRow, expected_row
from dtss.rtl.program import RUN, ProgramRow, program

Integers = NDArray[np.int64]
RUN_VISITS = 64  # about as many a run
IDLE_CYCLES = 2  # at the end of a strip, at least: the drain of the next one
LAYER_FIELDS = ("current_shift", "hard_reset", "leak_fixed", "leak_shift", "leak_multiplier")


@dataclass(frozen=True)
class NeuronStream:
    """Cycle by cycle: ports of lif_unit with one column by name, each [cycles].

    spikes, membranes: of the update in that cycle; −1 in `spikes` where there is none.
    """

    ports: dict[str, Integers]
    spikes: Integers
    membranes: Integers

    @property
    def updates(self) -> int:
        return int(self.ports["update"].sum())


@dataclass(frozen=True)
class Walks:
    """The visits of one row of the program, and what its layer asks for. offset: first channel of its group."""

    neuron: Lif
    bias: str | None
    layer: dict[str, int]
    expected: ExpectedRow
    positions_per_strip: int
    offset: int

    @property
    def visits(self) -> int:
        return len(self.expected.lanes)


def walks_of(image: Image, engine: Engine) -> list[Walks]:
    """Of every row of the program that updates neurons."""
    schedule, tensors = image.loaded.schedule, image.loaded.tensors
    found = []
    for row in program(schedule, tensors):
        node = schedule.nodes[row.node]
        if row.operation == RUN and (isinstance(node, Lif) or (isinstance(node, Product) and node.neuron is not None)):
            found.append(_walks(schedule, image, engine, row))
    return found


def _walks(schedule: Schedule, image: Image, engine: Engine, row: ProgramRow) -> Walks:
    node = schedule.nodes[row.node]
    fields = dict(row.parts)["layer"]
    layer = {name: int(value) for name, value in fields.items() if isinstance(value, int | np.integer | bool)}
    expected = expected_row(schedule, image.run, engine, row)
    if isinstance(node, Lif):
        return Walks(node, None, layer, expected, node.positions, 0)
    assert isinstance(node, Product) and node.neuron is not None
    neuron, cut = schedule.node(node.neuron), geometry(schedule, node)
    assert isinstance(neuron, Lif)
    if isinstance(node, AttentionProduct):
        by_head = node.stage in ("query_key_value", "score_value")
        return Walks(neuron, None, layer, expected, cut.positions_per_strip, row.group * sum(cut.columns) * by_head)
    return Walks(neuron, node.bias, layer, expected, cut.positions_per_strip, 0)


def _strip(walks: Walks, visit: int) -> tuple[int, int]:
    """The output tile's first channel, and the strip."""
    place = walks.expected.place
    return int(place.channel[visit]), int(place.position[visit]) // walks.positions_per_strip


class NeuronSampler:
    """Puts runs of visits together to one stream."""

    def __init__(self, tensors: Tensors, columns: int, seed: int) -> None:
        self.tensors, self.columns = tensors, columns
        self.random = np.random.default_rng(seed)
        self.cycles: list[dict[str, int]] = []

    def add(self, walks: Walks, quota: int) -> None:
        """`quota` visits, in runs of about RUN_VISITS."""
        starts = np.flatnonzero(walks.expected.place.step == min(walks.neuron.state_steps))
        runs = max(1, round(quota / RUN_VISITS))
        for run in range(runs):
            wanted = quota * (run + 1) // runs - quota * run // runs
            self._run(walks, int(self.random.choice(starts)), wanted)

    def stream(self) -> NeuronStream:
        names = self.cycles[0].keys() - {"spike", "membrane"}
        ports = {name: np.array([cycle[name] for cycle in self.cycles]) for name in sorted(names)}
        spikes, membranes = (np.array([cycle[name] for cycle in self.cycles]) for name in ("spike", "membrane"))
        return NeuronStream(ports, spikes, membranes)

    def _run(self, walks: Walks, first: int, wanted: int) -> None:
        """Visits from `first` on; each is updated in the cycle after it."""
        place, lane = walks.expected.place, int(self.random.integers(self.columns))
        last = min(walks.visits, first + wanted)
        places: dict[tuple[int, ...], int] = {}  # of each visit; only needed where membranes are read from memory
        if walks.layer["membrane_reads"]:
            axes = (place.step.tolist(), place.position.tolist(), place.channel.tolist())
            places = {where: visit for visit, where in enumerate(zip(*axes, strict=True))}
        waiting: dict[str, int] = {}
        for visit in range(first, last):
            column = lane % int(walks.expected.lanes[visit])
            self._cycle(self._visited(walks, visit, column), waiting)
            waiting = self._updated(walks, visit, column, places)
            if visit + 1 == last or _strip(walks, visit) != _strip(walks, visit + 1):
                for _ in range(IDLE_CYCLES):
                    self._cycle({"visit": 0, "accumulators": 0}, waiting)
                    waiting = {}

    def _visited(self, walks: Walks, visit: int, column: int) -> dict[str, int]:
        """The ports that make the current."""
        layer, values = walks.layer, walks.expected.values
        stored = layer["stored_currents"]
        return {
            "visit": 1,
            "use_parameters": layer["reads_parameters"],
            "stored": stored,
            "integrates": layer["integrates"],
            **{name: layer[name] for name in LAYER_FIELDS},
            **self._parameters(walks, int(walks.expected.place.channel[visit]) + column + walks.offset),
            "accumulators": 0 if stored else int(values["accumulators"][visit, column]),
            "stored_row": int(values["currents"][visit, column]) if stored else 0,
        }

    @staticmethod
    def _updated(walks: Walks, visit: int, column: int, places: dict[tuple[int, ...], int]) -> dict[str, int]:
        """The ports that update the neuron, and what must come of it."""
        layer, place, values = walks.layer, walks.expected.place, walks.expected.values
        step, steps = int(place.step[visit]), walks.neuron.state_steps
        updated = {
            "update": 1,
            "first": int(step == min(steps)),
            "from_memory": layer["membrane_reads"] >> step & 1,
            "output_live": layer["active_steps"] >> step & 1,
            "spike": int(values["spikes"][visit, column]),
            "membrane": int(values["membranes"][visit, column]),
        }
        if not updated["from_memory"]:
            return updated
        before = max(each for each in steps if each < step)
        earlier = places[before, int(place.position[visit]), int(place.channel[visit])]
        return updated | {"memory_row": int(values["membranes"][earlier, column])}

    def _parameters(self, walks: Walks, channel: int) -> dict[str, int]:
        neuron = walks.neuron
        names = {
            "bias": walks.bias,
            "threshold": neuron.threshold,
            "reset_to": neuron.reset_to,
            "initial": neuron.initial,
        }
        return {name: 0 if tensor is None else int(self.tensors[tensor][channel]) for name, tensor in names.items()}

    def _cycle(self, visited: dict[str, int], updated: dict[str, int]) -> None:
        """What nobody drives keeps its value."""
        kept = self.cycles[-1] if self.cycles else {"memory_row": 0}
        nothing = {"update": 0, "first": 0, "from_memory": 0, "output_live": 0, "spike": -1, "membrane": 0}
        self.cycles.append(kept | visited | nothing | updated)
