"""Where one product's operands lie in the engine's memories, and in which order its walks visit them.

Words of a pass are one block, a whole number of groups of G words; blocks follow one another in the order
(group, step, strip, reduction tile). Weight tiles are blocks of load beats in the order (group, step,
reduction tile, output tile); a tile is stored once, however often passes use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.format import AttentionProduct, Product, Schedule
from dtss.compiler.schedule.geometry import Geometry, PassTable, geometry, pass_table

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Visits:
    """The visits of all walks of a product, in order; every field is [visits]."""

    group: Indices
    output_tile: Indices
    position: Indices
    step: Indices
    columns: Indices


@dataclass(frozen=True)
class Layout:
    """One product: its cut, its passes, and the base of each block (see the module)."""

    node: Product
    cut: Geometry
    table: PassTable
    block_words: Indices  # [strips]
    flag_base: Indices  # [groups, word steps, strips, reduction tiles]
    flag_rows: int
    weight_base: Indices  # [weight groups, weight steps, reduction tiles, output tiles]
    weight_beats: int
    keeps_membranes: bool

    @property
    def words_per_step(self) -> bool:
        """A pass streams the words of one step, not of all slot steps."""
        return self.cut.weights_change or self.cut.time_order == "outer"

    @property
    def parameter_rows(self) -> int:
        return self.cut.groups * len(self.cut.columns)

    @property
    def membrane_rows(self) -> int:
        return self.parameter_rows * self.cut.positions if self.keeps_membranes else 0

    @property
    def runs(self) -> bool:
        """False for a product that nobody needs at any step."""
        return len(self.table) > 0

    @property
    def block_starts(self) -> tuple[int, ...]:
        """The first pass of each weight block."""
        return tuple(np.flatnonzero(np.diff(self.table.block, prepend=-1)).tolist())

    def visits(self) -> Visits:
        """Each (position, step) of each walk."""
        parts = [self._walk(index) for index in np.flatnonzero(self.table.walk).tolist()]
        columns = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0), np.int64)
        return Visits(*columns)

    def _walk(self, index: int) -> Indices:
        table, cut = self.table, self.cut
        strip, step = int(table.strip[index]), int(table.walk_step[index])
        start = strip * cut.positions_per_strip
        positions = np.arange(start, start + cut.strip_positions[strip])
        position, visited = np.meshgrid(positions, cut.walk_steps if step < 0 else (step,), indexing="ij")
        constant = (table.group[index], table.output_tile[index], table.columns[index])
        group, tile, columns = (np.full(position.size, value) for value in constant)
        return np.stack([group, tile, position.ravel(), visited.ravel(), columns])


def layout_of(schedule: Schedule, node: Product) -> Layout:
    """The layout of `node`; it depends on the schedule only, not on an image."""
    cut = geometry(schedule, node)
    array = schedule.hardware.array
    per_step = cut.weights_change or cut.time_order == "outer"
    word_steps = len(cut.slot_steps) if per_step else min(1, len(cut.slot_steps))
    block_words = cut.strip_positions * cut.planes * (1 if per_step else len(cut.slot_steps))
    flag_rows = np.broadcast_to(
        -(-block_words // array.skip_group)[:, None], (cut.groups, word_steps, cut.strips, len(cut.rows))
    )
    beats = -(-np.array(cut.rows) // array.weight_rows_per_cycle)
    sets = (cut.groups, len(cut.slot_steps)) if cut.weights_change else (1, 1)
    tile_beats = np.broadcast_to(beats[:, None], (*sets, len(cut.rows), len(cut.columns)))
    return Layout(
        node=node,
        cut=cut,
        table=_busy_passes(cut),
        block_words=block_words,
        flag_base=_bases(flag_rows),
        flag_rows=int(flag_rows.sum()),
        weight_base=_bases(tile_beats),
        weight_beats=int(tile_beats.sum()),
        keeps_membranes=cut.time_order == "outer" and node.neuron is not None,
    )


def _busy_passes(cut: Geometry) -> PassTable:
    """The passes that take a cycle at all; none, for a product that is neither summed nor walked."""
    if not cut.walk_steps and (not cut.slot_steps or cut.time_order == "outer"):
        return PassTable(*np.zeros((10, 0), np.int64))
    return pass_table(cut)


def _bases(sizes: Indices) -> Indices:
    """Start of each block when blocks of these sizes follow one another."""
    return (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)


def by_group(layout: Layout, value: np.ndarray) -> np.ndarray:
    """A product's (or its neuron's) value of one image, [*shape] → [groups, positions, channels of a group]."""
    node, cut = layout.node, layout.cut
    if isinstance(node, AttentionProduct) and node.stage in ("query_key_value", "score_value"):
        return value.reshape(cut.positions, cut.groups, -1).swapaxes(0, 1)
    return value.reshape(cut.groups, cut.positions, -1)


def channel_parameters(layout: Layout, values: np.ndarray) -> np.ndarray:
    """A neuron's [C] parameters → [groups, channels of a group]: heads split the channels, or share them."""
    return np.broadcast_to(values.reshape(-1, sum(layout.cut.columns)), (layout.cut.groups, sum(layout.cut.columns)))
