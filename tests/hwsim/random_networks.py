"""Random networks compiled for random machines, with images."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dtss.compiler.passes.base import Target
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.pipeline import PIPELINE, Compiled, compile_graph, optional_passes
from dtss.compiler.schedule.buffers import block_tiles, output_tile_rows, row_bits
from dtss.compiler.schedule.format import Convolution, Linear, Schedule, TimeOrder
from dtss.compiler.schedule.hardware import Hardware
from tests.compiler.random_graphs import graphs, hardware, random_pixels

many = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@dataclass(frozen=True)
class Case:
    """A schedule with its tensors, and pixels [B, H, W, C]."""

    schedule: Schedule
    tensors: dict[str, np.ndarray]
    pixels: np.ndarray


def with_room_for_two_tiles(machine: Hardware, compiled: Compiled) -> Hardware:
    """The same machine with memories of twice the largest output tile: weights and parameters come in blocks.

    A block of parameters that is no product's with weights cannot be cut.
    """
    schedule = compiled.schedule
    products = [node for node in schedule.nodes if isinstance(node, Convolution | Linear)]
    others = [node for node in schedule.nodes if not isinstance(node, Convolution | Linear)]
    rows = {
        "weight": 2 * max(output_tile_rows(schedule, node) for node in products),
        "parameter": max([2, *(tiles for node in others for tiles in block_tiles(schedule, node))]),
    }
    sizes = {f"{name}_bytes": -(-count * row_bits(schedule, name) // 8) for name, count in rows.items()}
    return msgspec.structs.replace(machine, memory=msgspec.structs.replace(machine.memory, **sizes))


@st.composite
def cases(draw: st.DrawFn, largest_steps: int = 4, images: int = 2, streams: bool | None = None) -> Case:
    """Any time order, any subset of the optional passes, either order of the attention products.

    streams: whether weights go through a small memory in blocks; None: either.
    """
    graph, machine = draw(graphs(largest_steps)), draw(hardware())
    orders: tuple[TimeOrder | None, ...] = (None, "inner", "outer")
    order = draw(st.sampled_from(orders))
    if order == "inner" and machine.array.strip_slots < graph.time_steps:
        order = None  # a position's steps must fit the slots of a column
    attention = ReassociateAttention(always=draw(st.booleans()))
    disabled = frozenset(draw(st.sets(st.sampled_from(optional_passes()))))
    passes = tuple(attention if isinstance(step, ReassociateAttention) else step for step in PIPELINE)
    compiled = compile_graph(graph, Target(machine, order), disabled=disabled, passes=passes)
    if draw(st.booleans()) if streams is None else streams:
        target = Target(with_room_for_two_tiles(machine, compiled), order)
        compiled = compile_graph(graph, target, disabled=disabled, passes=passes)
    seed = draw(st.integers(0, 2**32 - 1))
    return Case(compiled.schedule, compiled.tensors, random_pixels(graph, seed, images).astype(np.uint8))
