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

    pixels: of the image.  image_cycles: until it is there.  moves: the blocks that cross for every image.  cycles: of
    each.  overwrites: for each, the last one that it overwrites, −1 if none.  read_bits, write_bits, row_writes
    (weights, parameters): of each node.
    """

    nodes: tuple[str, ...]
    pixels: int
    image_cycles: int
    moves: tuple[Transfer, ...]
    cycles: tuple[int, ...]
    overwrites: tuple[int, ...]
    read_bits: dict[str, int]
    write_bits: dict[str, int]
    row_writes: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, schedule: Schedule) -> DramRules:
        dram, image = schedule.hardware.dram, schedule.nodes[0]
        nodes = tuple(node.name for node in schedule.nodes)
        moves = () if schedule.memory.weights_resident else transfers(schedule)
        read = dict.fromkeys(nodes, 0)
        read[image.name] = burst_bits(dram, image.positions * image.channels * image.value.planes)
        written = dict.fromkeys(nodes, (0, 0))
        for move in moves:
            read[move.node] += burst_bits(dram, move.bits)
            weights, parameters = written[move.node]
            written[move.node] = weights + move.weight_rows, parameters + move.parameter_rows
        return cls(
            nodes=nodes,
            pixels=image.positions,
            image_cycles=image.positions + IMAGE_CYCLES,
            moves=moves,
            cycles=tuple(max(1, dram.latency_cycles) + move.beats + COMMAND_CYCLES for move in moves),
            overwrites=overwritten(schedule, moves),
            read_bits=read,
            write_bits={schedule.output.node: _logit_bits(schedule)},
            row_writes=written,
        )

    def timeline(self, run_cycles: Mapping[str, NDArray[np.int64]]) -> Timeline:
        """run_cycles: of each node's blocks [B, blocks], one block where it has none."""
        image = self.nodes[0]
        number = {(move.node, move.block): index for index, move in enumerate(self.moves)}
        nothing = np.zeros(len(run_cycles[image]), np.int64)
        arrived, now = nothing, nothing + self.image_cycles
        used: list[Counter] = []
        moved = {(image, 0): (nothing, now)}
        runs: dict[tuple[str, int], tuple[Counter, Counter]] = {}
        waited = dict.fromkeys(self.nodes, nothing) | {image: now}
        for node in self.nodes:
            for block, cycles in enumerate(run_cycles[node].T):
                index = number.get((node, block))
                if index is not None:
                    over = self.overwrites[index]
                    begin = arrived if over < 0 else np.maximum(arrived, used[over])
                    arrived = begin + self.cycles[index]
                    moved[node, block] = begin, arrived
                    stall = np.maximum(arrived - now - 1, 0)
                    waited[node] = waited[node] + stall
                    now = now + stall
                    used.append(now + cycles)
                runs[node, block] = now, now + cycles
                now = now + cycles
        return Timeline(waited=waited, runs=runs, transfers=moved)

    def counts(self, waited: Mapping[str, Counter]) -> dict[str, DramCounts]:
        """The counts of every node, from a `Timeline`'s waits. The logits leave at each computed step."""
        nothing = np.zeros(len(waited[self.nodes[0]]), np.int64)

        def every(count: int) -> Counter:
            return nothing + count if count else nothing

        return {
            name: DramCounts(
                stall_cycles=waited[name],
                dram_read_bits=every(self.read_bits[name]),
                dram_write_bits=every(self.write_bits.get(name, 0)),
                weight_row_writes=every(self.row_writes[name][0]),
                parameter_row_writes=every(self.row_writes[name][1]),
                image_row_writes=every(self.pixels if name == self.nodes[0] else 0),
            )
            for name in self.nodes
        }


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
