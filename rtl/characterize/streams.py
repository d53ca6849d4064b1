"""Real spikes for the array: words, weights and loads of a sample of passes, in the machine's order.

Of every product of every image a share of the words that it issues, in runs of passes that follow one another: a run
begins at a pass drawn with a seed, and while a pass streams, the weights of the next one load into the other bank, a
beat a cycle, as in the machine. A group of words that are all zero takes a cycle in which nothing is issued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Product
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.hardware import Array
from dtss.compiler.schedule.interpret import value_at
from dtss.compiler.schedule.numerics import bit_planes
from dtss.compiler.schedule.words import reduction_operand, stationary_operand
from dtss.rtl.counts import Image

Integers = NDArray[np.int64]
RUN_WORDS = 64  # about as many issued words a run
KEPT = ("loading", "sums", "slot", "plane", "rows", "columns", "owner")


@dataclass(frozen=True)
class ArrayStream:
    """Cycle by cycle, every field [cycles, …]. K: columns that are simulated.

    node: number of the layer, −1 while the first weights of a run load: such cycles are not measured.
    spikes [R], enable: the word at the AND gates, and whether it was issued.  bank: that computes.
    beat: of the tile that loads into the other bank, −1 none.  loading [load rows, K]: its weights.
    rows, columns: used by the pass.  slot, plane: where the word's sum goes, among those of `owner`, a strip and output
    tile.  sums [K]: of the word.
    """

    node: Integers
    spikes: NDArray[np.uint8]
    enable: NDArray[np.uint8]
    bank: NDArray[np.uint8]
    beat: Integers
    loading: Integers
    rows: Integers
    columns: Integers
    owner: Integers
    slot: Integers
    plane: Integers
    sums: Integers


@dataclass(frozen=True)
class Pass:
    """One pass of a product. step: index of the slot step that it serves, none if it serves all of them."""

    group: int
    strip: int
    output_tile: int
    step: int | None
    tile: int


def passes_of(cut: Geometry) -> list[Pass]:
    """The passes that stream words, in the order of execution."""
    rounds: list[list[int | None]] = [[None]] if cut.together else [[*range(len(cut.slot_steps))]]
    if cut.time_order == "outer":
        rounds = [[cut.slot_steps.index(step)] for step in cut.walk_steps if step in cut.slot_steps]
    tiles = range(len(cut.columns))
    blocks = [tiles[first : first + cut.output_tiles_per_block] for first in tiles[:: cut.output_tiles_per_block]]
    return [
        Pass(*place)
        for block in blocks
        for group in range(cut.groups)
        for steps in rounds
        for place in product((group,), range(cut.strips), block, steps, range(len(cut.rows)))
    ]


@dataclass(frozen=True)
class Words:
    """The words of one chunk as they lie in the strip buffer: [words, R], with the slot and the plane of each."""

    bits: NDArray[np.uint8]
    slot: Integers
    plane: Integers


class ProductWords:
    """The words and weights of one product of one image, as its passes need them."""

    def __init__(self, image: Image, node: Product) -> None:
        schedule, tensors = image.loaded.schedule, image.loaded.tensors
        self.node, self.tensors, self.image = node, tensors, image
        self.cut = geometry(schedule, node)
        self.passes = passes_of(self.cut)
        self.lanes, self.columns = schedule.hardware.array.rows, schedule.hardware.array.columns
        source = schedule.node(node.inputs[0])
        self.operands = [
            reduction_operand(node, tensors, value_at(image.run, source, step, 1))[0] for step in self.cut.slot_steps
        ]
        self.starts = np.concatenate([[0], np.cumsum(self.cut.rows)])

    def words(self, which: Pass) -> Words:
        """Of one pass, in the order (position, step, plane)."""
        cut, lane, rows = self.cut, int(self.starts[which.tile]), self.cut.rows[which.tile]
        first = which.strip * cut.positions_per_strip
        positions = slice(first, first + int(cut.strip_positions[which.strip]))
        steps = [*range(len(cut.slot_steps))] if which.step is None else [which.step]
        values = np.stack([self.operands[step][which.group, positions, lane : lane + rows] for step in steps], axis=1)
        bits = np.zeros((*values.shape[:2], cut.planes, self.lanes), np.uint8)
        bits[..., :rows] = np.moveaxis(bit_planes(values.astype(np.int64), cut.planes), 0, 2)
        resident = len(cut.slot_steps) if cut.time_order == "inner" else 1
        slots = np.arange(len(values))[:, None] * resident + (np.array(steps) if resident > 1 else 0)
        slot, plane = np.broadcast_arrays(slots[..., None], np.arange(cut.planes))
        return Words(bits.reshape(-1, self.lanes), slot.ravel(), plane.ravel())

    def weights(self, which: Pass) -> Integers:
        """The tile of one pass: [rows, columns used]."""
        stationary = None
        if isinstance(self.node, AttentionProduct):
            step = self.cut.slot_steps[which.step or 0]
            stationary = value_at(self.image.run, self.image.loaded.schedule.node(self.node.inputs[1]), step, 1)
        whole = stationary_operand(self.node, self.tensors, stationary)[0]
        lane, channel = int(self.starts[which.tile]), which.output_tile * self.columns
        group = whole[which.group if len(whole) > 1 else 0]
        rows, columns = self.cut.rows[which.tile], self.cut.columns[which.output_tile]
        tile: Integers = group[lane : lane + rows, channel : channel + columns].astype(np.int64)
        return tile


def word_quotas(issued: Sequence[int], words: int) -> list[int]:
    """So many of `words` for each layer as its share of all issued words, at least one where it issues any."""
    total = max(1, sum(issued))
    return [min(count, max(1, round(words * count / total))) if count else 0 for count in issued]


class ArraySampler:
    """Puts runs of passes together to one stream, of the whole array or of one column, drawn for each run.

    groups: all words that were offered to the skipper, as it sees them.
    """

    def __init__(self, array: Array, seed: int, *, whole: bool) -> None:
        self.most_columns, self.columns = array.columns, array.columns if whole else 1
        self.load_rows, self.group = min(array.weight_rows_per_cycle, array.rows), array.skip_group
        self.random = np.random.default_rng(seed)
        self.cycles: list[dict[str, Any]] = []
        self.groups: list[NDArray[np.uint8]] = []
        self.owners: dict[tuple[int, ...], int] = {}
        self.bank = self.owner = 0
        self.spikes = np.zeros(array.rows, np.uint8)

    def add(self, words: ProductWords, number: int, quota: int) -> None:
        """`quota` issued words of a product, in runs of about RUN_WORDS; `number` is the layer's."""
        runs = max(1, round(quota / RUN_WORDS))
        for run in range(runs):
            wanted = quota * (run + 1) // runs - quota * run // runs
            self._run(words, number, int(self.random.integers(len(words.passes))), wanted)

    def stream(self) -> ArrayStream:
        self._cycle(node=-1, enable=0, beat=-1)  # in which the sum of the last word comes out
        return ArrayStream(**{name: np.array([cycle[name] for cycle in self.cycles]) for name in self.cycles[0]})

    def _run(self, words: ProductWords, number: int, place: int, wanted: int) -> None:
        """Passes from `place` on, around at the end, until enough words were issued or every pass was streamed once."""
        column, run = int(self.random.integers(self.most_columns)), len(self.cycles)
        tile = self._tile(words, words.passes[place], column)
        for beat in range(-(-len(tile) // self.load_rows)):
            self._cycle(node=-1, enable=0, beat=beat, loading=self._beat(tile, beat))
        for _ in words.passes:
            current = words.passes[place]
            place = (place + 1) % len(words.passes)
            tile = self._tile(words, words.passes[place], column)
            self.bank ^= 1
            owner = (run, current.group, current.strip, current.output_tile)
            self.owner = self.owners.setdefault(owner, len(self.owners))
            wanted -= self._stream_pass(words, number, current, tile, wanted, column)
            if wanted <= 0:
                return

    def _stream_pass(
        self, words: ProductWords, number: int, current: Pass, tile: Integers, wanted: int, column: int
    ) -> int:
        """Stream one pass, at most `wanted` words of it, while `tile` loads; the words that were issued."""
        chunk, weights = words.words(current), self._tile(words, current, column)
        columns = words.cut.columns[current.output_tile] if self.columns > 1 else 1
        fields = {"rows": words.cut.rows[current.tile], "columns": columns, "node": number, "owner": self.owner}
        beats = -(-len(tile) // self.load_rows)
        issued, cycle = 0, 0
        for word in self._order(chunk.bits):
            loading = {"beat": cycle, "loading": self._beat(tile, cycle)} if cycle < beats else {"beat": -1}
            cycle += 1
            if word is None:
                self._cycle(enable=0, **fields, **loading)
                continue
            self.spikes = chunk.bits[word]
            sums = self.spikes[: len(weights)].astype(np.int64) @ weights
            place = {"slot": int(chunk.slot[word]), "plane": int(chunk.plane[word])}
            self._cycle(enable=1, sums=sums, **place, **fields, **loading)
            issued += 1
            if issued == wanted:
                break
        for beat in range(cycle, beats):
            self._cycle(enable=0, beat=beat, loading=self._beat(tile, beat), **fields)
        return issued

    def _order(self, bits: NDArray[np.uint8]) -> Iterator[int | None]:
        """The word of each cycle; none in that of a group without one."""
        live: NDArray[np.bool_] = np.any(bits, axis=1)
        for first in range(0, len(bits), self.group):
            self.groups.append(bits[first : first + self.group])
            issued: list[int] = (np.flatnonzero(live[first : first + self.group]) + first).tolist()
            yield from issued or (None,)

    def _tile(self, words: ProductWords, which: Pass, column: int) -> Integers:
        """[rows, K]: columns that the pass does not use are 0."""
        weights = words.weights(which)
        if self.columns == 1:
            return weights[:, [column % weights.shape[1]]]
        return np.pad(weights, ((0, 0), (0, self.columns - weights.shape[1])))

    def _beat(self, tile: Integers, beat: int) -> Integers:
        rows = tile[beat * self.load_rows : (beat + 1) * self.load_rows]
        return np.pad(rows, ((0, self.load_rows - len(rows)), (0, 0)))

    def _cycle(self, **fields: Any) -> None:
        """Weights and sums keep their last value where nothing new comes, as memories and registers do."""
        kept = {name: self.cycles[-1][name] for name in KEPT} if self.cycles else {
            "loading": np.zeros((self.load_rows, self.columns), np.int64),
            "sums": np.zeros(self.columns, np.int64), "slot": 0, "plane": 0, "rows": 0, "columns": 0, "owner": 0,
        }  # fmt: skip
        self.cycles.append(kept | {"bank": self.bank, "spikes": self.spikes} | fields)
