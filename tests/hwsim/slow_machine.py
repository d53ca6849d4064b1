"""The machine, one cycle at a time and one word at a time: slow and obvious, to hold the formulas against.

It shares no code with `dtss.compiler.schedule.cycles` or `geometry`; it reads the schedule's own fields and the
interpreter's values. Loading runs beside streaming and walking; everything else happens in turn.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

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
from dtss.compiler.schedule.interpret import Execution, Tensors, value_at

DRAIN = 2
Item = TypeVar("Item")


@dataclass(frozen=True)
class Pass:
    """lanes: what each lane of a word carries, as reduction indices; empty for a walk without a pass."""

    group: int
    steps: tuple[int, ...]
    positions: tuple[int, ...]
    channels: tuple[int, ...]
    lanes: tuple[tuple[int, ...], ...]
    walk: tuple[tuple[int, int], ...]


class SlowMachine:
    """One image of a run on the machine of `schedule`."""

    def __init__(self, schedule: Schedule, tensors: Tensors, execution: Execution, image: int) -> None:
        self.schedule, self.tensors, self.execution, self.image = schedule, tensors, execution, image
        self.array = schedule.hardware.array
        self.batch = len(execution.values[schedule.nodes[0].name][0])

    def value(self, name: str, step: int) -> np.ndarray:
        value: np.ndarray = value_at(self.execution, self.schedule.node(name), step, self.batch)[self.image]
        return value

    def run(self, node: AnyNode) -> Counter[str]:
        """Events of one node; `at_step` holds those that one time step causes, as (event, step)."""
        self.events: Counter[str] = Counter()
        self.at_step: Counter[tuple[str, int]] = Counter()
        match node:
            case Convolution() | Linear() | AttentionProduct():
                self.run_product(node)
            case Lif():
                self.run_stored_current(node)
            case Image():
                self.write(node, 1)
            case Integrator():
                self.run_integrator(node)
            case Add():
                self.run_elementwise(node, [[position] for position in range(node.positions)])
            case TokenSum():
                self.run_elementwise(node, [list(range(self.schedule.node(node.inputs[0]).positions))])
            case MaxPool() | SumPool():
                self.run_elementwise(node, list(self.pool_taps(node)))
        return self.events

    # Products

    def run_product(self, node: Product) -> None:
        self.sums: dict[tuple[int, int, int, int], int] = {}
        for tiles in self.blocks(node):
            self.run_block(node, list(self.passes(node, tiles)))

    def run_block(self, node: Product, passes: list[Pass]) -> None:
        """The weights of one block are there; its first tile loads before anything else."""
        self.load(node, passes[0] if passes else None)
        while self.rows_to_load > 0:
            self.tick("load_stall_cycles")
        for current, following in itertools.zip_longest(passes, passes[1:]):
            self.load(node, following)
            self.stream(node, current)
            self.walk(node, current)
            while self.rows_to_load > 0:
                self.tick("load_stall_cycles")

    def count(self, event: str, amount: int, step: int) -> None:
        self.events[event] += amount
        self.at_step[event, step] += amount

    def tick(self, busy: str) -> None:
        self.events["cycles"] += 1
        self.events[busy] += 1
        self.rows_to_load -= self.array.weight_rows_per_cycle

    def load(self, node: Product, tile: Pass | None) -> None:
        self.rows_to_load = len(tile.lanes) if tile is not None else 0
        rows = "stationary_row_reads" if isinstance(node, AttentionProduct) else "weight_row_reads"
        self.events[rows] += self.rows_to_load

    def blocks(self, node: Product) -> list[tuple[tuple[int, ...], ...]]:
        """Output tiles whose weights are in weight memory together."""
        assert node.tiling is not None
        return cut(tuple(self.output_tiles(node)), node.tiling.output_tiles_per_block)

    def passes(self, node: Product, tiles: tuple[tuple[int, ...], ...]) -> Iterator[Pass]:
        """Time outermost: a round of everything for each walked step. Innermost: one round."""
        assert node.tiling is not None
        walked = self.walked_steps(node)
        rounds = [(step,) for step in walked] if node.tiling.time_order == "outer" else [walked]
        for steps in rounds:
            groups = node.heads if isinstance(node, AttentionProduct) else 1
            for group in range(groups):
                for positions in self.strips(node):
                    for channels in tiles:
                        yield from self.passes_of_tile(node, group, steps, positions, channels)

    def passes_of_tile(
        self, node: Product, group: int, walked: tuple[int, ...], positions: tuple[int, ...], channels: tuple[int, ...]
    ) -> Iterator[Pass]:
        assert node.tiling is not None
        active = node.steps.active
        if node.tiling.time_order == "outer":
            active = tuple(step for step in active if step in walked)
        shared = [active] if active else []
        step_sets = [(step,) for step in active] if isinstance(node, AttentionProduct) else shared
        walk = tuple((position, step) for position in positions for step in walked)
        work = [(steps, lanes) for steps in step_sets for lanes in self.reduction_tiles(node)] or [((), ())]
        for index, (steps, lanes) in enumerate(work):
            yield Pass(group, steps, positions, channels, lanes, walk if index == len(work) - 1 else ())

    def walked_steps(self, node: Product) -> tuple[int, ...]:
        if node.neuron is None:
            return tuple(sorted(node.steps.active + node.steps.bias_only))
        neuron = self.schedule.node(node.neuron)
        assert isinstance(neuron, Lif)
        return neuron.state_steps

    def positions(self, node: Product) -> int:
        if isinstance(node, AttentionProduct) and node.stage in ("key_value", "query_key"):
            return node.shape[1]
        return node.shape[0] * node.shape[1]

    def strips(self, node: Product) -> list[tuple[int, ...]]:
        assert node.tiling is not None
        return cut(tuple(range(self.positions(node))), node.tiling.positions_per_strip)

    def output_tiles(self, node: Product) -> list[tuple[int, ...]]:
        by_head = isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value")
        channels = node.shape[2] // node.heads if isinstance(node, AttentionProduct) and by_head else node.shape[2]
        return cut(tuple(range(channels)), self.array.columns)

    def reduction_tiles(self, node: Product) -> list[tuple[tuple[int, ...], ...]]:
        """What the lanes of each tile carry: (kernel row, kernel column, channel), or one reduction index."""
        rows = self.array.rows
        streamed = self.schedule.node(node.inputs[0])
        length = streamed.shape[2]
        match node:
            case Convolution():
                offsets = list(itertools.product(range(node.kernel[0]), range(node.kernel[1])))
                channels = tuple(range(streamed.shape[2]))
                if 2 * len(channels) <= rows and len(offsets) > 1:
                    several = cut(tuple(offsets), min(rows // len(channels), len(offsets)))
                    return [tuple((*offset, c) for offset in offsets for c in channels) for offsets in several]
                return [tuple((*offset, c) for c in part) for offset in offsets for part in cut(channels, rows)]
            case AttentionProduct(stage="key_value"):
                length = streamed.shape[0] * streamed.shape[1]
            case AttentionProduct(stage="query_key" | "query_key_value"):
                length = streamed.shape[2] // node.heads
            case _:
                pass
        return [tuple((index,) for index in part) for part in cut(tuple(range(length)), rows)]

    def stream(self, node: Product, current: Pass) -> None:
        """The skipper sees G words at once: it issues the non-zero ones, or loses one cycle if there are none."""
        planes = self.schedule.node(node.inputs[0]).value.planes
        words = tuple(itertools.product(current.positions, current.steps, range(planes))) if current.lanes else ()
        self.events["passes"] += 1 if current.lanes else 0
        for group in cut(words, self.array.skip_group):
            for _, step, _ in group:
                self.count("words_offered", 1, step)
            issued = [word for word in group if self.bits(node, current, *word).any()]
            for position, step, plane in issued:
                self.tick("stream_cycles")
                self.issue(node, current, position, step, plane)
            if not issued:
                self.tick("stream_cycles")

    def bits(self, node: Product, current: Pass, position: int, step: int, plane: int) -> np.ndarray:
        values = [self.lane_value(node, current.group, position, step, lane) for lane in current.lanes]
        return np.array([(value >> plane) & 1 for value in values])

    def lane_value(self, node: Product, group: int, position: int, step: int, lane: tuple[int, ...]) -> int:
        streamed = self.value(node.inputs[0], step)
        match node:
            case Convolution():
                row = position // node.shape[1] * node.stride + lane[0] - node.padding
                column = position % node.shape[1] * node.stride + lane[1] - node.padding
                if 0 <= row < streamed.shape[0] and 0 <= column < streamed.shape[1]:
                    return int(streamed[row, column, lane[2]])
                return 0 if node.pad_value is None else int(self.tensors[node.pad_value][lane[2]])
            case Linear():
                return int(streamed.reshape(-1, streamed.shape[2])[position, lane[0]])
            case AttentionProduct(stage="score_value"):
                return int(streamed[group, position, lane[0]])
            case AttentionProduct(stage="key_value"):
                return int(by_head(streamed, node.heads)[group, lane[0], position])
            case AttentionProduct():
                return int(by_head(streamed, node.heads)[group, position, lane[0]])

    def weight(self, node: Product, group: int, channel: int, step: int, lane: tuple[int, ...]) -> int:
        if not isinstance(node, AttentionProduct):
            return int(self.tensors[node.weight][channel][lane])
        stationary = self.value(node.inputs[1], step)
        if node.stage == "query_key_value":
            return int(stationary[group, lane[0], channel])
        heads = by_head(stationary, node.heads)
        return int(heads[group, channel, lane[0]] if node.stage == "query_key" else heads[group, lane[0], channel])

    def issue(self, node: Product, current: Pass, position: int, step: int, plane: int) -> None:
        bits = self.bits(node, current, position, step, plane)
        for event in ("words_issued", "spike_word_reads", "accumulator_reads", "accumulator_writes"):
            self.count(event, 1, step)
        self.count("active_bits", int(bits.sum()), step)
        for channel in current.channels:
            slot = (current.group, position, step, channel)
            for bit, lane in zip(bits, current.lanes, strict=True):
                self.count("accumulates" if bit else "gated_accumulates", 1, step)
                if bit:
                    added = self.weight(node, current.group, channel, step, lane) << plane
                    self.sums[slot] = self.sums.get(slot, 0) + added

    def walk(self, node: Product, current: Pass) -> None:
        if not current.walk:
            return
        if node.neuron is not None or not isinstance(node, AttentionProduct):
            self.events["parameter_row_reads"] += 1
        for _ in range(DRAIN):
            self.tick("walk_cycles")
        for _, step in current.walk:
            self.tick("walk_cycles")
            self.at_step["walk_cycles", step] += 1
            self.events["accumulator_reads"] += step in node.steps.active or step in node.steps.reused
            if node.neuron is None:
                self.events["current_row_writes"] += 1
            else:
                self.update_row(node.neuron, step, len(current.channels))

    # Neurons

    def update_row(self, name: str, step: int, channels: int) -> None:
        neuron = self.schedule.node(name)
        assert isinstance(neuron, Lif)
        self.count("lif_updates", channels, step)
        if step in neuron.steps.active:
            self.events["spike_row_writes"] += 1
            self.events["zero_checks"] += channels
        if neuron.time_order == "outer":
            self.count("membrane_row_reads", step in neuron.membrane_reads, step)
            self.count("membrane_row_writes", step in neuron.membrane_writes, step)

    def run_stored_current(self, node: Lif) -> None:
        source = self.schedule.node(node.inputs[0])
        if isinstance(source, Product) and source.neuron == node.name:
            return
        tiles = cut(tuple(range(node.shape[2])), self.array.columns)
        self.events["parameter_row_reads"] += len(tiles)
        for channels, _, step in itertools.product(tiles, range(node.positions), node.state_steps):
            self.events["cycles"] += 1
            self.count("walk_cycles", 1, step)
            self.events["current_row_reads"] += step in source.steps.available
            self.update_row(node.name, step, len(channels))

    def run_integrator(self, node: Integrator) -> None:
        source = self.schedule.node(node.inputs[0])
        tiles = cut(tuple(range(node.shape[2])), self.array.columns)
        for channels, _, step in itertools.product(tiles, range(node.positions), node.steps.active):
            self.events["cycles"] += 1
            self.count("walk_cycles", 1, step)
            self.events["current_row_reads"] += step in source.steps.available
            self.events["current_row_writes"] += 1
            self.count("lif_updates", len(channels), step)

    # Elementwise

    def run_elementwise(self, node: Add | MaxPool | SumPool | TokenSum, taps: list[list[int]]) -> None:
        for step, name in itertools.product(node.steps.active, node.inputs):
            source = self.schedule.node(name)
            if step in source.steps.zero:
                continue
            for _ in itertools.chain(*taps):
                reads, event = self.row_or_words(source)
                self.events["cycles"] += reads
                self.at_step["elementwise_cycles", step] += reads
                self.events[event + "_reads"] += reads
        self.write(node, len(node.steps.active))

    def row_or_words(self, node: AnyNode) -> tuple[int, str]:
        """Accesses that one position takes."""
        if node.value.low < 0:
            return len(cut(tuple(range(node.shape[2])), self.array.columns)), "current_row"
        planes = max(1, node.value.high.bit_length())
        return len(cut(tuple(range(node.shape[2])), self.array.rows)) * planes, "spike_word"

    def write(self, node: AnyNode, steps: int) -> None:
        for _ in range(node.shape[0] * node.shape[1] * steps):
            accesses, event = self.row_or_words(node)
            self.events[event + "_writes"] += accesses
            if event == "spike_word":
                self.events["zero_checks"] += node.shape[2] * max(1, node.value.high.bit_length())

    def pool_taps(self, node: MaxPool | SumPool) -> Iterator[list[int]]:
        height, width, _ = self.schedule.node(node.inputs[0]).shape
        rows, columns = node.kernel if isinstance(node, SumPool) else (node.kernel, node.kernel)
        for row, column in itertools.product(range(node.shape[0]), range(node.shape[1])):
            first = row * node.stride - node.padding, column * node.stride - node.padding
            window = itertools.product(range(first[0], first[0] + rows), range(first[1], first[1] + columns))
            yield [y * width + x for y, x in window if 0 <= y < height and 0 <= x < width]


def cut(items: tuple[Item, ...], size: int) -> list[tuple[Item, ...]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def by_head(value: np.ndarray, heads: int) -> np.ndarray:
    """[H, W, C] → [heads, N, d]."""
    height, width, channels = value.shape
    return value.reshape(height * width, heads, channels // heads).transpose(1, 0, 2)
