"""When data crosses from DRAM, and how long the machine waits for it: part of THE cycle rules.

The image is a stream of its own, a pixel a cycle. Blocks of weights and parameters that do not stay on chip come one
after the other, in the order of use. With a[k] the cycle in which transfer k has arrived and u[k] the end of the last
use of what it brought,

    c[k] = latency + Σ over rows max(1, beats of a row) + 1
    a[k] = max(a[k−1], u[j]) + c[k]      j: the last block whose rows transfer k overwrites

    stall of a block = max(0, a of its transfer − (end of what ran before + 1))

A beat is bits_per_cycle. In DRAM a memory row takes whole beats, or a share of one that is a power of two; a row is
written a cycle. Blocks lie one after the other around their memories, so transfer k overwrites the blocks whose rows
lie one memory size or more before its own end. Nothing is kept from the image before, but resident blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.buffers import (
    block_tiles,
    capacity_rows,
    output_tile_rows,
    row_bits,
)
from dtss.compiler.schedule.format import AnyNode, Convolution, Linear, Schedule
from dtss.compiler.schedule.hardware import Dram
from dtss.compiler.schedule.kernel import kernel

Counter = NDArray[np.int64]


IMAGE_CYCLES = 1  # after its last pixel, until the first operation is fetched
COMMAND_CYCLES = 1  # in which a transfer's wait ends and its command goes out


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A block that crosses at once.

    weight_rows, parameter_rows: of the on-chip memories, written as they arrive.  beats: cycles of the interface.
    """

    node: str
    block: int
    weight_rows: int
    parameter_rows: int
    bits: int
    beats: int


class DramCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Exact event counts of one node at the DRAM, each [B]: one per image. Bits are those of whole bursts."""

    stall_cycles: Counter  # the machine waits for the image or a block
    dram_read_bits: Counter
    dram_write_bits: Counter
    weight_row_writes: Counter  # rows of C weights written as a block arrives
    parameter_row_writes: Counter
    image_row_writes: Counter  # pixels, as they come


DRAM_COUNTS = DramCounts.__struct_fields__


def dram_counts_of_table(table: NDArray[np.int64]) -> DramCounts:
    """[DRAM_COUNTS, B] by name."""
    return DramCounts(**dict(zip(DRAM_COUNTS, table, strict=True)))


def burst_bits(dram: Dram, bits: int) -> int:
    """Bits that cross for `bits` of content."""
    return -(-bits // dram.burst_bits) * dram.burst_bits


def packed_bits(dram: Dram, bits: int) -> int:
    """What a memory row of `bits` takes in DRAM: whole beats, or a power-of-two share of one."""
    if bits > dram.bits_per_cycle:
        return -(-bits // dram.bits_per_cycle) * dram.bits_per_cycle
    share = dram.bits_per_cycle
    while share % 2 == 0 and share // 2 >= bits:
        share //= 2
    return share


def transfers(schedule: Schedule) -> tuple[Transfer, ...]:
    """Every block in the order of use, whether it stays on chip or not."""
    return tuple(
        _transfer(schedule, node, block, tiles)
        for node in schedule.nodes
        for block, tiles in enumerate(block_tiles(schedule, node))
    )


def _transfer(schedule: Schedule, node: AnyNode, block: int, tiles: int) -> Transfer:
    dram, beat_rows = schedule.hardware.dram, schedule.hardware.array.weight_rows_per_cycle
    rows = tiles * output_tile_rows(schedule, node)
    width = node.weight_bits if isinstance(node, Convolution | Linear) else schedule.hardware.widths.weight
    sizes = (
        (rows // beat_rows, beat_rows * schedule.hardware.array.columns * width),
        (tiles, row_bits(schedule, "parameter")),
    )
    return Transfer(
        node=node.name,
        block=block,
        weight_rows=rows,
        parameter_rows=tiles,
        bits=sum(count * packed_bits(dram, bits) for count, bits in sizes),
        beats=sum(count * max(1, -(-bits // dram.bits_per_cycle)) for count, bits in sizes),
    )


def block_bits_of(schedule: Schedule, node: AnyNode) -> int:
    """Bits of all of a node's blocks, each in whole bursts."""
    dram = schedule.hardware.dram
    tiles = enumerate(block_tiles(schedule, node))
    return sum(burst_bits(dram, _transfer(schedule, node, block, count).bits) for block, count in tiles)


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """When everything happens, in cycles from the request of the image; each array is [B].

    waited: cycles that each node waits for the DRAM.  runs: begin and end of each node's block, (node, block) → them.
    transfers: begin and end of each transfer.
    """

    waited: dict[str, Counter]
    runs: dict[tuple[str, int], tuple[Counter, Counter]]
    transfers: dict[tuple[str, int], tuple[Counter, Counter]]


class DramRules(msgspec.Struct, frozen=True, kw_only=True):
    """What no image changes of a schedule's transfers, computed once.

    image_cycles: until the image is there.  moves: the blocks that cross for every image.  cycles: of
    each.  overwrites: for each, the last one that it overwrites, −1 if none.
    constant [nodes, DRAM_COUNTS]: every count but the stalls.
    """

    nodes: tuple[str, ...]
    image_cycles: int
    moves: tuple[Transfer, ...]
    cycles: NDArray[np.int64]
    overwrites: NDArray[np.int64]
    constant: NDArray[np.int64]

    @classmethod
    def of(cls, schedule: Schedule) -> DramRules:
        dram, image = schedule.hardware.dram, schedule.nodes[0]
        nodes = tuple(node.name for node in schedule.nodes)
        moves = () if schedule.memory.weights_resident else transfers(schedule)
        counted = {name: dict.fromkeys(DRAM_COUNTS, 0) for name in nodes}
        counted[image.name]["dram_read_bits"] = burst_bits(dram, image.positions * image.channels * image.value.planes)
        counted[image.name]["image_row_writes"] = image.positions
        counted[schedule.output.node]["dram_write_bits"] = _logit_bits(schedule)
        for move in moves:
            counted[move.node]["dram_read_bits"] += burst_bits(dram, move.bits)
            counted[move.node]["weight_row_writes"] += move.weight_rows
            counted[move.node]["parameter_row_writes"] += move.parameter_rows
        return cls(
            nodes=nodes,
            image_cycles=image.positions + IMAGE_CYCLES,
            moves=moves,
            cycles=np.array([max(1, dram.latency_cycles) + move.beats + COMMAND_CYCLES for move in moves], np.int64),
            overwrites=np.array(overwritten(schedule, moves), np.int64),
            constant=np.array([list(counted[name].values()) for name in nodes], np.int64),
        )

    def timeline(self, run_cycles: Mapping[str, NDArray[np.int64]]) -> Timeline:
        """run_cycles: of each node's blocks [B, blocks], one block where it has none."""
        image = self.nodes[0]
        number = {(move.node, move.block): index for index, move in enumerate(self.moves)}
        keys = [(name, block) for name in self.nodes for block in range(run_cycles[name].shape[1])]
        cycles = np.concatenate([run_cycles[name] for name in self.nodes], axis=1).T
        move_of = np.array([number.get(key, -1) for key in keys], np.int64)
        runs = np.empty((2, *cycles.shape), np.int64)
        moved = np.empty((2, len(self.moves), cycles.shape[1]), np.int64)
        stalls = np.zeros_like(cycles)
        _arrive(
            np.ascontiguousarray(cycles), move_of, self.image_cycles, self.cycles, self.overwrites, runs, moved, stalls
        )
        first_runs = np.cumsum([0, *(run_cycles[name].shape[1] for name in self.nodes[:-1])])
        waited = np.add.reduceat(stalls, first_runs, axis=0)
        waited[0] += self.image_cycles
        there = np.zeros_like(waited[0]), np.full_like(waited[0], self.image_cycles)
        return Timeline(
            waited=dict(zip(self.nodes, waited, strict=True)),
            runs=dict(zip(keys, zip(*runs, strict=True), strict=True)),
            transfers={(image, 0): there} | {key: (moved[0, i], moved[1, i]) for key, i in number.items()},
        )

    def table(self, waited: Mapping[str, Counter]) -> NDArray[np.int64]:
        """[nodes, DRAM_COUNTS, B], from a `Timeline`'s waits. The logits leave at each computed step."""
        table = np.repeat(self.constant[:, :, None], len(waited[self.nodes[0]]), axis=2)
        table[:, DRAM_COUNTS.index("stall_cycles")] = np.array(list(waited.values()))
        return table

    def counts(self, waited: Mapping[str, Counter]) -> dict[str, DramCounts]:
        """The same by name."""
        return dict(zip(self.nodes, map(dram_counts_of_table, self.table(waited)), strict=True))


@kernel
def _arrive(
    run_cycles: NDArray[np.int64],
    move_of: NDArray[np.int64],
    image_cycles: int,
    move_cycles: NDArray[np.int64],
    overwrites: NDArray[np.int64],
    runs: NDArray[np.int64],
    moved: NDArray[np.int64],
    stalls: NDArray[np.int64],
) -> None:
    """Begin and end of every run and transfer, [2, ..., B], and what a run waits, from `run_cycles` [runs, B].

    move_of [runs]: the transfer that a run waits for, −1 if none.
    """
    used = np.zeros(len(move_cycles), np.int64)
    for image in range(run_cycles.shape[1]):
        arrived, now = 0, image_cycles
        for run in range(len(run_cycles)):
            move = move_of[run]
            if move >= 0:
                begin = arrived if overwrites[move] < 0 else max(arrived, used[overwrites[move]])
                arrived = begin + move_cycles[move]
                moved[0, move, image], moved[1, move, image] = begin, arrived
                stalls[run, image] = max(arrived - now - 1, 0)
                now += stalls[run, image]
                used[move] = now + run_cycles[run, image]
            runs[0, run, image], runs[1, run, image] = now, now + run_cycles[run, image]
            now += run_cycles[run, image]


def overwritten(schedule: Schedule, moves: Sequence[Transfer]) -> tuple[int, ...]:
    """For each transfer the last one whose rows it overwrites, in either memory; −1 if none."""
    last = np.full(len(moves), -1, np.int64)
    for memory, field in (("weight", "weight_rows"), ("parameter", "parameter_rows")):
        rows = np.array([getattr(move, field) for move in moves], np.int64)
        ends = rows.cumsum()
        over = np.searchsorted(ends - rows, ends - capacity_rows(schedule, memory)) - 1
        last = np.maximum(last, np.where(rows > 0, over, -1))
    return tuple(last.tolist())


def _logit_bits(schedule: Schedule) -> int:
    head = schedule.node(schedule.output.node)
    steps = len((*head.steps.active, *head.steps.bias_only))
    return steps * burst_bits(schedule.hardware.dram, head.positions * head.channels * head.value.bits)
