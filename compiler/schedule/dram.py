"""When data crosses from DRAM, and how long the machine waits for it: part of THE cycle rules.

One engine moves one transfer after the other, in the order of use: the image, then each weight block that does not
stay on chip. With e[k] the end of transfer k and u[k] the end of the last use of what it brought,

    c[k] = latency + ⌈bursts[k] · burst_bits / bits_per_cycle⌉
    e[k] = max(e[k−1], u[j]) + c[k]      j: the last block whose rows transfer k overwrites

    start of a block's run = max(end of the run before, e of its transfer): the difference is its stall

Weight blocks lie one after the other around the weight memory, so transfer k overwrites the blocks whose rows lie one
memory size or more before its own end. Nothing is kept from the image before, but resident weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.buffers import capacity_rows, parameter_bits, weight_buffers
from dtss.compiler.schedule.format import AnyNode, Convolution, Linear, Schedule
from dtss.compiler.schedule.hardware import Dram

Counter = NDArray[np.int64]


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """What crosses at once: the image, or one weight block. rows: of the on-chip memory, written as it arrives."""

    node: str
    block: int
    bits: int
    rows: int


class DramCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Exact event counts of one node at the DRAM, each [B]: one per image. Bits are those of whole bursts."""

    stall_cycles: Counter  # the machine waits for the image or a weight block
    dram_read_bits: Counter
    dram_write_bits: Counter
    weight_row_writes: Counter  # rows of C weights written as a block arrives


def burst_bits(dram: Dram, bits: int) -> int:
    """Bits that cross for `bits` of content."""
    return -(-bits // dram.burst_bits) * dram.burst_bits


def transfer_cycles(dram: Dram, bits: int) -> int:
    """Cycles from the request to the last bit."""
    return dram.latency_cycles + -(-burst_bits(dram, bits) // dram.bits_per_cycle)


def transfers(schedule: Schedule, tensors: Mapping[str, NDArray[Any]]) -> tuple[Transfer, ...]:
    """The transfers of one image, in order."""
    image = schedule.nodes[0]
    first = Transfer(
        node=image.name, block=0, bits=image.positions * image.channels * image.value.planes, rows=image.positions
    )
    if schedule.memory.weights_resident:
        return (first,)
    weights = (
        Transfer(
            node=block.node,
            block=block.block,
            bits=block_bits(schedule, tensors, schedule.node(block.node), block.block),
            rows=block.rows,
        )
        for block in weight_buffers(schedule, tensors)
    )
    return (first, *weights)


def block_bits(schedule: Schedule, tensors: Mapping[str, NDArray[Any]], node: AnyNode, block: int) -> int:
    """A block's weights at their own width, and the parameters of its channels."""
    assert isinstance(node, Convolution | Linear) and node.tiling is not None
    per_block = node.tiling.output_tiles_per_block * schedule.hardware.array.columns
    channels = min(per_block, node.channels - block * per_block)
    weights = tensors[node.weight].size // node.channels
    return channels * (weights * node.weight_bits + parameter_bits(schedule.hardware, node))


def weight_bits_of(schedule: Schedule, tensors: Mapping[str, NDArray[Any]], node: AnyNode) -> int:
    """Bits of all of a node's blocks, each in whole bursts."""
    if not isinstance(node, Convolution | Linear) or node.tiling is None:
        return 0
    blocks = -(-node.tiling.output_tiles // node.tiling.output_tiles_per_block)
    dram = schedule.hardware.dram
    return sum(burst_bits(dram, block_bits(schedule, tensors, node, block)) for block in range(blocks))


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

    cycles: of each transfer, the image's first.  overwrites: for each weight block, the last block that it overwrites,
    −1 if none.  read_bits, write_bits, row_writes: of each node.
    """

    nodes: tuple[str, ...]
    moves: tuple[Transfer, ...]
    cycles: tuple[int, ...]
    overwrites: tuple[int, ...]
    read_bits: dict[str, int]
    write_bits: dict[str, int]
    row_writes: dict[str, int]

    @classmethod
    def of(cls, schedule: Schedule, tensors: Mapping[str, NDArray[Any]]) -> DramRules:
        dram, capacity = schedule.hardware.dram, capacity_rows(schedule, "weight")
        nodes, moves = tuple(node.name for node in schedule.nodes), transfers(schedule, tensors)
        rows = np.array([move.rows for move in moves[1:]], np.int64)
        ends = rows.cumsum()
        read, written = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
        for move in moves:
            read[move.node] += burst_bits(dram, move.bits)
        for move in moves[1:]:
            written[move.node] += move.rows
        return cls(
            nodes=nodes,
            moves=moves,
            cycles=tuple(transfer_cycles(dram, move.bits) for move in moves),
            overwrites=tuple((np.searchsorted(ends - rows, ends - capacity) - 1).tolist()),
            read_bits=read,
            write_bits={schedule.output.node: _logit_bits(schedule)},
            row_writes=written,
        )

    def timeline(self, run_cycles: Mapping[str, NDArray[np.int64]]) -> Timeline:
        """run_cycles: of each node's blocks [B, blocks], one block where it has none."""
        image = self.moves[0].node
        number = {(move.node, move.block): index for index, move in enumerate(self.moves[1:])}
        nothing = np.zeros(len(run_cycles[image]), np.int64)
        arrived = now = nothing + self.cycles[0]
        used: list[Counter] = []
        moved = {(image, 0): (nothing, arrived)}
        runs: dict[tuple[str, int], tuple[Counter, Counter]] = {}
        waited = dict.fromkeys(self.nodes, nothing) | {image: arrived}
        for node in self.nodes:
            for block, cycles in enumerate(run_cycles[node].T):
                index = number.get((node, block))
                if index is not None:
                    overwritten = self.overwrites[index]
                    begin = arrived if overwritten < 0 else np.maximum(arrived, used[overwritten])
                    arrived = begin + self.cycles[index + 1]
                    moved[node, block] = begin, arrived
                    waited[node] = waited[node] + np.maximum(arrived - now, 0)
                    now = np.maximum(now, arrived)
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
                weight_row_writes=every(self.row_writes[name]),
            )
            for name in self.nodes
        }


def _logit_bits(schedule: Schedule) -> int:
    head = schedule.node(schedule.output.node)
    steps = len((*head.steps.active, *head.steps.bias_only))
    return steps * burst_bits(schedule.hardware.dram, head.positions * head.channels * head.value.bits)
