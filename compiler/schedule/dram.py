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
from dtss.compiler.schedule.format import AnyNode, Convolution, Image, Linear, Schedule
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


def timeline(
    schedule: Schedule, tensors: Mapping[str, NDArray[Any]], run_cycles: Mapping[str, NDArray[np.int64]]
) -> Timeline:
    """run_cycles: of each node's blocks [B, blocks], one block where it has none."""
    dram, capacity = schedule.hardware.dram, capacity_rows(schedule, "weight")
    image, *blocks = transfers(schedule, tensors)
    batch = len(next(iter(run_cycles.values())))
    ends = np.cumsum([block.rows for block in blocks])
    starts = ends - [block.rows for block in blocks]
    number = {(block.node, block.block): index for index, block in enumerate(blocks)}
    nothing = np.zeros(batch, np.int64)
    arrived = nothing + transfer_cycles(dram, image.bits)
    now = nothing
    used: list[Counter] = []
    moved = {(image.node, 0): (nothing, arrived)}
    runs: dict[tuple[str, int], tuple[Counter, Counter]] = {}
    waited = {node.name: nothing for node in schedule.nodes}
    for node in schedule.nodes:
        if isinstance(node, Image):
            waited[node.name], now = arrived, arrived
        for block, cycles in enumerate(run_cycles[node.name].T):
            index = number.get((node.name, block))
            if index is not None:
                overwritten = int(np.searchsorted(starts, ends[index] - capacity)) - 1
                begin = arrived if overwritten < 0 else np.maximum(arrived, used[overwritten])
                arrived = begin + transfer_cycles(dram, blocks[index].bits)
                moved[node.name, block] = begin, arrived
                waited[node.name] = waited[node.name] + np.maximum(arrived - now, 0)
                now = np.maximum(now, arrived)
                used.append(now + cycles)
            runs[node.name, block] = now, now + cycles
            now = now + cycles
    return Timeline(waited=waited, runs=runs, transfers=moved)


def dram_counts(
    schedule: Schedule, tensors: Mapping[str, NDArray[Any]], waited: Mapping[str, Counter]
) -> dict[str, DramCounts]:
    """The counts of every node, from a `Timeline`'s waits. The logits leave at each computed step."""
    read = dict.fromkeys(waited, 0)
    rows = dict.fromkeys(waited, 0)
    for transfer in transfers(schedule, tensors):
        read[transfer.node] += burst_bits(schedule.hardware.dram, transfer.bits)
        rows[transfer.node] += transfer.rows if transfer.node != schedule.nodes[0].name else 0
    written = dict.fromkeys(waited, 0) | {schedule.output.node: _logit_bits(schedule)}
    return {
        name: DramCounts(
            stall_cycles=cycles,
            dram_read_bits=np.full(len(cycles), read[name], np.int64),
            dram_write_bits=np.full(len(cycles), written[name], np.int64),
            weight_row_writes=np.full(len(cycles), rows[name], np.int64),
        )
        for name, cycles in waited.items()
    }


def _logit_bits(schedule: Schedule) -> int:
    head = schedule.node(schedule.output.node)
    steps = len((*head.steps.active, *head.steps.bias_only))
    return steps * burst_bits(schedule.hardware.dram, head.positions * head.channels * head.value.bits)
