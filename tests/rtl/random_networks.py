"""Random networks compiled for random machines that the Verilog has: a word is whole rows of results, AXI streams."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import strategies as st

from dtss.compiler.passes.base import Target
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.pipeline import PIPELINE, Compiled, compile_graph, optional_passes
from dtss.compiler.schedule import io
from dtss.compiler.schedule.buffers import block_buffers, row_bits
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.hardware import Array, Dram, Hardware, Memory, Widths
from dtss.compiler.schedule.io import LoadedSchedule
from tests.compiler.random_graphs import graphs, random_pixels

SMALL = Memory(
    weight_bytes=1 << 16, spike_bytes=1 << 14, membrane_bytes=1 << 14, current_bytes=1 << 14, image_bytes=1 << 10,
    parameter_bytes=1 << 14, strip_bytes=1 << 14, stationary_bytes=1 << 14,
)  # fmt: skip
IMAGES = 2


@st.composite
def machines(draw: st.DrawFn) -> Hardware:
    columns = draw(st.sampled_from([1, 2, 4, 8]))
    rows = columns * draw(st.integers(1, 4))
    array = Array(
        rows=rows,
        columns=columns,
        strip_slots=draw(st.integers(1, 12)),
        skip_group=draw(st.integers(1, 5)),
        weight_rows_per_cycle=draw(st.integers(1, min(3, rows))),
    )
    bits = draw(st.sampled_from([8, 32, 64]))
    burst_bits = draw(st.sampled_from([1, 2])) * bits
    dram = Dram(bits_per_cycle=bits, burst_bits=burst_bits, latency_cycles=draw(st.integers(1, 30)))
    widths = Widths(weight=8, accumulator=28, membrane=draw(st.sampled_from([28, 32])))
    return Hardware("random", "", 100.0, array, widths, SMALL, dram)


@st.composite
def networks(draw: st.DrawFn, streams: bool | None = None) -> LoadedSchedule:
    """With images. streams: whether weights go through small memories in blocks; None: either."""
    graph, machine = draw(graphs()), draw(machines())
    orders: tuple[TimeOrder | None, ...] = (None, "inner", "outer")
    order = draw(st.sampled_from(orders))
    if order == "inner" and machine.array.strip_slots < graph.time_steps:
        order = None  # a position's steps must fit the slots of a column
    attention = ReassociateAttention(always=draw(st.booleans()))
    disabled = frozenset(draw(st.sets(st.sampled_from(optional_passes()))))
    passes = tuple(attention if isinstance(step, ReassociateAttention) else step for step in PIPELINE)
    compiled = compile_graph(graph, Target(machine, order), disabled=disabled, passes=passes)
    if draw(st.booleans()) if streams is None else streams:
        target = Target(with_room_for_two_blocks(machine, compiled), order)
        compiled = compile_graph(graph, target, disabled=disabled, passes=passes)
    pixels = random_pixels(graph, draw(st.integers(0, 2**32 - 1)), IMAGES).astype(np.uint8)
    tensors = dict(compiled.tensors) | {io.IMAGES: pixels, io.LABELS: np.zeros(IMAGES, np.int64)}
    return LoadedSchedule(compiled.schedule, tensors)


def with_room_for_two_blocks(machine: Hardware, compiled: Compiled) -> Hardware:
    """The same machine with weight and parameter memories of twice the largest block of one output tile."""
    sizes = {}
    for memory in ("weight", "parameter"):
        blocks = [block for block in block_buffers(compiled.schedule) if block.memory == memory]
        tiles = {block.node: 1 for block in blocks}
        for node in compiled.schedule.products:
            if node.name in tiles and memory == "weight" and node.tiling is not None:
                tiles[node.name] = node.tiling.output_tiles_per_block
        largest = max((-(-block.rows // tiles[block.node]) for block in blocks), default=1)
        sizes[f"{memory}_bytes"] = -(-2 * largest * row_bits(compiled.schedule, memory) // 8)
    return msgspec.structs.replace(machine, memory=msgspec.structs.replace(machine.memory, **sizes))
