"""The machine, one cycle at a time and one word at a time: slow and obvious, to hold the formulas against.

It shares no code with `dtss.compiler.schedule.cycles`, `events` or `geometry`; it reads the schedule's own fields and
the interpreter's values. Loading and gathering run beside streaming and walking; everything else happens in turn.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
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

DRAIN = 3
GATHER_LATENCY = 5
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
    first_use: bool
    last_use: bool


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
                pass
            case Integrator():
                self.run_integrator(node)
            case Add():
                self.run_elementwise(node, [[position] for position in range(node.positions)])
            case TokenSum():
                self.run_elementwise(node, [list(range(self.schedule.node(node.inputs[0]).positions))])
            case MaxPool() | SumPool():
                self.run_elementwise(node, list(self.pool_taps(node)))
        if node.name == self.schedule.nodes[-1].name:  # the program ends
            self.events["control_cycles"] += 2
            self.events["cycles"] += 2
        return self.events

    # Products

    def run_product(self, node: Product) -> None:
        self.sums: dict[tuple[int, int, int, int], int] = {}
        if not self.walked_steps(node):
            return
        for block, tiles in enumerate(self.blocks(node)):
            for group in range(node.heads if isinstance(node, AttentionProduct) else 1):
                passes = list(self.passes(node, tiles, group))
                if block > 0 and self.words_are_still_there(node):
                    passes = [replace(current, first_use=False) for current in passes]
                if isinstance(node, AttentionProduct) and node.steps.active:
                    self.fill(node)
                self.run_passes(node, passes)

    def words_are_still_there(self, node: Product) -> bool:
        """One strip, streamed by every block."""
        assert node.tiling is not None
        return len(self.strips(node)) == 1 and node.tiling.time_order == "inner"

    def run_passes(self, node: Product, passes: list[Pass]) -> None:
        """Fetched and begun by the controller, then one pass after the other."""
        self.now = 0
        self.rows_to_load = 0
        self.chunks = deque(current for current in passes if current.lanes and current.first_use)
        self.room = len({(current.steps, current.lanes) for current in passes if current.lanes})
        if node.tiling is not None and node.tiling.time_order == "outer":
            self.room = len(self.reduction_tiles(node))
        self.gathering: list[tuple[str, ...]] = []  # what is read in each cycle of the chunk that is gathered
        self.arriving: deque[int] = deque()  # when chunks that were gathered may be streamed
        self.events["control_cycles"] += 2
        self.events["cycles"] += 2
        self.tick(node, "control_cycles")
        self.load(node, passes[0])
        self.wait(node, passes[0])
        for current, following in itertools.zip_longest(passes, passes[1:]):
            if current.first_use and current.lanes:
                self.arriving.popleft()
            self.load(node, following)
            self.stream(node, current)
            if current.last_use and current.lanes:
                self.room += 1
            self.walk(node, current)
            if following is not None:
                self.wait(node, following)

    def wait(self, node: Product, following: Pass) -> None:
        """For its weight tile, and for its words."""
        while self.rows_to_load > 0:
            self.tick(node, "load_stall_cycles")
        while following.lanes and following.first_use and not (self.arriving and self.arriving[0] <= self.now):
            self.tick(node, "word_stall_cycles")

    def count(self, event: str, amount: int, step: int) -> None:
        self.events[event] += amount
        self.at_step[event, step] += amount

    def tick(self, node: Product, busy: str) -> None:
        self.events["cycles"] += 1
        self.events[busy] += 1
        self.gather(node)
        self.now += 1
        if busy != "control_cycles":
            self.rows_to_load -= self.array.weight_rows_per_cycle

    def load(self, node: Product, tile: Pass | None) -> None:
        self.rows_to_load = len(tile.lanes) if tile is not None else 0
        rows = "stationary_row_reads" if isinstance(node, AttentionProduct) else "weight_row_reads"
        self.events[rows] += self.rows_to_load

    def gather(self, node: Product) -> None:
        """One cycle of the gatherer, which begins a chunk where the strip buffer has room for it."""
        if not self.gathering and self.chunks and self.room:
            self.room -= 1
            self.gathering = self.gather_cycles(node, self.chunks.popleft())
        if self.gathering:
            for event in self.gathering.pop(0):
                self.events[event] += 1
            if not self.gathering:
                planes = self.schedule.node(node.inputs[0]).value.planes if self.by_element(node) else 0
                self.arriving.append(self.now + 1 + GATHER_LATENCY + planes)

    def by_element(self, node: Product) -> bool:
        """Pixels and stored counts bring all their planes at once."""
        stored = isinstance(node, AttentionProduct) and node.stage == "score_value"
        return stored or isinstance(self.schedule.node(node.inputs[0]), Image)

    def gather_cycles(self, node: Product, chunk: Pass) -> list[tuple[str, ...]]:
        """The events of each cycle in which a chunk is gathered."""
        source = self.schedule.node(node.inputs[0])
        planes = range(source.value.planes)
        written = ("strip_word_writes", *["zero_checks"] * self.array.rows)
        if isinstance(node, AttentionProduct) and node.stage == "key_value":
            return [("spike_word_reads",)] * len(chunk.lanes) + [written] * len(chunk.positions)
        cycles: list[tuple[str, ...]] = []
        for position, _ in itertools.product(chunk.positions, chunk.steps):
            pieces = self.pieces(node, chunk, position)
            if self.by_element(node):
                event = "image_row_reads" if isinstance(source, Image) else "current_row_reads"
                reads = [(event,) if inside else () for inside in pieces]
                writes = [written for _ in planes]
                both = itertools.zip_longest(reads, writes, fillvalue=())
                cycles += [(*read, *write) for read, write in both]
                continue
            for _ in planes:
                reads = [("spike_word_reads",) if inside else () for inside in pieces]
                cycles += [*reads[:-1], (*reads[-1], *written)]
        return cycles

    def pieces(self, node: Product, chunk: Pass, position: int) -> list[bool]:
        """What lies side by side in a word, each as one read: is it inside the value?"""
        if isinstance(node, AttentionProduct) and node.stage == "score_value":
            return [True] * len(cut(chunk.lanes, self.array.columns))
        if not isinstance(node, Convolution):
            return [True]
        height, width, _ = self.schedule.node(node.inputs[0]).shape
        first = position // node.shape[1] * node.stride, position % node.shape[1] * node.stride
        offsets = dict.fromkeys(lane[:2] for lane in chunk.lanes)
        taps = [(first[0] + row - node.padding, first[1] + column - node.padding) for row, column in offsets]
        return [0 <= row < height and 0 <= column < width for row, column in taps]

    def fill(self, node: AttentionProduct) -> None:
        """The operand that stays: every weight tile of every step, a row or a token a cycle."""
        stationary = self.schedule.node(node.inputs[1])
        self.events["control_cycles"] += 2
        self.events["cycles"] += 2 + 3
        self.events["fill_cycles"] += 3
        for step, channels, lanes in itertools.product(
            node.steps.active, self.output_tiles(node), self.reduction_tiles(node)
        ):
            reads = len(lanes) * stationary.value.planes
            if node.stage == "query_key_value":
                reads = len(lanes)
            if node.stage == "query_key":
                reads = len(channels)
            cycles = reads + len(lanes) if node.stage == "query_key" else reads
            self.events["cycles"] += cycles
            self.count("fill_cycles", cycles, step)
            kind = "current_row_reads" if node.stage == "query_key_value" else "spike_word_reads"
            self.events[kind] += reads
            self.events["stationary_row_writes"] += len(lanes)

    def blocks(self, node: Product) -> list[tuple[tuple[int, ...], ...]]:
        """Output tiles whose weights are in weight memory together."""
        assert node.tiling is not None
        return cut(tuple(self.output_tiles(node)), node.tiling.output_tiles_per_block)

    def passes(self, node: Product, tiles: tuple[tuple[int, ...], ...], group: int) -> Iterator[Pass]:
        """Time outermost: a round of everything for each walked step. Innermost: one round."""
        assert node.tiling is not None
        walked = self.walked_steps(node)
        rounds = [(step,) for step in walked] if node.tiling.time_order == "outer" else [walked]
        for steps in rounds:
            for positions in self.strips(node):
                for channels in tiles:
                    uses = channels == tiles[0], channels == tiles[-1]
                    yield from self.passes_of_tile(node, group, steps, positions, channels, uses)

    def passes_of_tile(
        self, node: Product, group: int, walked: tuple[int, ...], positions: tuple[int, ...],
        channels: tuple[int, ...], uses: tuple[bool, bool],
    ) -> Iterator[Pass]:  # fmt: skip
        assert node.tiling is not None
        active = node.steps.active
        if node.tiling.time_order == "outer":
            active = tuple(step for step in active if step in walked)
        shared = [active] if active else []
        step_sets = [(step,) for step in active] if isinstance(node, AttentionProduct) else shared
        walk = tuple((position, step) for position in positions for step in walked)
        work = [(steps, lanes) for steps in step_sets for lanes in self.reduction_tiles(node)] or [((), ())]
        for index, (steps, lanes) in enumerate(work):
            yield Pass(group, steps, positions, channels, lanes, walk if index == len(work) - 1 else (), *uses)

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
                self.tick(node, "stream_cycles")
                self.issue(node, current, position, step, plane)
            if not issued:
                self.tick(node, "stream_cycles")

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
        for event in ("words_issued", "accumulator_reads", "accumulator_writes"):
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
            self.tick(node, "walk_cycles")
        for _, step in current.walk:
            self.tick(node, "walk_cycles")
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
        if neuron.time_order == "outer":
            self.count("membrane_row_reads", step in neuron.membrane_reads, step)
            self.count("membrane_row_writes", step in neuron.membrane_writes, step)

    def run_stored_current(self, node: Lif) -> None:
        source = self.schedule.node(node.inputs[0])
        if isinstance(source, Product) and source.neuron == node.name:
            return
        tiles = cut(tuple(range(node.shape[2])), self.array.columns)
        rounds = [(step,) for step in node.state_steps] if node.time_order == "outer" else [node.state_steps]
        for steps, channels in itertools.product(rounds if node.state_steps else [], tiles):
            self.events["parameter_row_reads"] += 1
            self.walk_of_stored(node, source, steps, len(channels))
        self.control(node.state_steps)

    def run_integrator(self, node: Integrator) -> None:
        source = self.schedule.node(node.inputs[0])
        for channels in cut(tuple(range(node.shape[2])), self.array.columns) if node.steps.active else []:
            self.walk_of_stored(node, source, node.steps.active, len(channels))
        self.control(node.steps.active)

    def control(self, steps: tuple[int, ...]) -> None:
        """A run is fetched and begun, and fetches its first pass."""
        self.events["cycles"] += 3 * bool(steps)
        self.events["control_cycles"] += 3 * bool(steps)

    def walk_of_stored(self, node: Lif | Integrator, source: AnyNode, steps: tuple[int, ...], channels: int) -> None:
        """A visit a cycle, after the cycles that drain a pipeline in which nothing is."""
        self.events["cycles"] += DRAIN
        self.events["walk_cycles"] += DRAIN
        for _, step in itertools.product(range(node.positions), steps):
            self.events["cycles"] += 1
            self.count("walk_cycles", 1, step)
            self.events["current_row_reads"] += step in source.steps.available
            if isinstance(node, Lif):
                self.update_row(node.name, step, channels)
            else:
                self.events["current_row_writes"] += 1
                self.count("lif_updates", channels, step)

    # Elementwise

    def run_elementwise(self, node: Add | MaxPool | SumPool | TokenSum, taps: list[list[int | None]]) -> None:
        """Tap after tap, plane after plane; a result's planes leave while the next one's taps are read."""
        if not node.steps.active:
            return
        kind = "current_row" if node.value.low < 0 else "spike_word"
        leaving = self.planes_of(node)
        for step, window in itertools.product(node.steps.active, taps):
            for _ in range(self.slices_of(node)):
                cycles = 0
                for source in (self.schedule.node(name) for name in node.inputs):
                    if step in source.steps.zero:
                        continue
                    for tap in window:
                        cycles += self.planes_of(source)
                        self.events[kind + "_reads"] += self.planes_of(source) * (tap is not None)
                self.count("elementwise_cycles", max(cycles, leaving), step)
                self.events[kind + "_writes"] += leaving
        self.events["elementwise_cycles"] += 2 + leaving
        self.events["control_cycles"] += 2
        self.events["cycles"] += 2 + self.events["elementwise_cycles"]

    def planes_of(self, node: AnyNode) -> int:
        """Sums of products are kept as currents even if they are never negative."""
        if node.value.low < 0 or isinstance(node, Product | Integrator):
            return 1
        return max(1, node.value.high.bit_length())

    def slices_of(self, node: AnyNode) -> int:
        width = self.array.columns if node.value.low < 0 else self.array.rows
        return len(cut(tuple(range(node.shape[2])), width))

    def pool_taps(self, node: MaxPool | SumPool) -> Iterator[list[int | None]]:
        height, width, _ = self.schedule.node(node.inputs[0]).shape
        rows, columns = node.kernel if isinstance(node, SumPool) else (node.kernel, node.kernel)
        for row, column in itertools.product(range(node.shape[0]), range(node.shape[1])):
            first = row * node.stride - node.padding, column * node.stride - node.padding
            window = itertools.product(range(first[0], first[0] + rows), range(first[1], first[1] + columns))
            yield [y * width + x if 0 <= y < height and 0 <= x < width else None for y, x in window]


def cut(items: tuple[Item, ...], size: int) -> list[tuple[Item, ...]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def by_head(value: np.ndarray, heads: int) -> np.ndarray:
    """[H, W, C] → [heads, N, d]."""
    height, width, channels = value.shape
    return value.reshape(height * width, heads, channels // heads).transpose(1, 0, 2)
