"""Buffers by liveness: what lives together lies apart, and no higher than it must."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtss.compiler.errors import CompileError
from dtss.compiler.memory_plan import place, plan_memory
from dtss.compiler.passes.weight_blocks import weight_blocks
from dtss.compiler.pipeline import Compiled
from dtss.compiler.schedule.buffers import Buffer, block_buffers, buffers, needed_rows
from dtss.compiler.schedule.check import check_schedule
from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Linear, Schedule
from dtss.compiler.schedule.hardware import Memory


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 12)), max_size=25))
def test_what_lives_together_lies_apart(sizes: list[tuple[int, int, int]]) -> None:
    kept = [
        Buffer(memory="spike", node=str(number), block=0, rows=rows, first=min(times), last=max(times))
        for number, (rows, *times) in enumerate(sizes)
    ]
    regions = place(kept)
    assert [(region.node, region.rows) for region in regions] == [(buffer.node, buffer.rows) for buffer in kept]
    for (one, here), (other, there) in itertools.combinations(zip(kept, regions, strict=True), 2):
        apart = here.first_row + here.rows <= there.first_row or there.first_row + there.rows <= here.first_row
        assert apart or one.last < other.first or other.last < one.first
    highest = max((region.first_row + region.rows for region in regions), default=0)
    assert needed_rows(kept) <= highest <= sum(buffer.rows for buffer in kept)


def test_rows_are_used_again() -> None:
    """a lives until b is made, b until c: a and c share rows."""
    kept = [Buffer(memory="spike", node=name, block=0, rows=10, first=at, last=at + 1) for at, name in enumerate("abc")]
    assert [region.first_row for region in place(kept)] == [0, 10, 0]
    assert needed_rows(kept) == 20


def test_spikes_are_written_beside_what_they_come_from(compiled: Compiled) -> None:
    """A walked LIF writes while its product streams: its rows live from the product on."""
    schedule = compiled.schedule
    kept = {buffer.node: buffer for buffer in buffers(schedule) if buffer.memory == "spike"}
    for product in schedule.products:
        source = kept.get(product.inputs[0])
        if product.neuron in kept and source is not None:
            assert kept[product.neuron].overlaps(source)


def test_parameters_have_a_row_for_each_output_tile_of_each_head(compiled: Compiled) -> None:
    schedule = compiled.schedule
    columns = schedule.hardware.array.columns
    rows = {buffer.node: buffer.rows for buffer in block_buffers(schedule) if buffer.memory == "parameter"}
    for product in schedule.products:
        if isinstance(product, AttentionProduct):
            heads = product.heads if product.neuron is not None else 0
            assert rows.get(product.name, 0) == heads * -(-(product.channels // product.heads) // columns)
        else:
            assert rows[product.name] == -(-product.channels // columns)


def test_the_strip_buffer_and_the_stationary_memory_hold_what_runs(compiled: Compiled) -> None:
    schedule = compiled.schedule
    array, plan = schedule.hardware.array, schedule.memory
    words = [
        node.tiling.reduction_tiles * node.tiling.positions_per_strip * len(node.steps.active)
        * schedule.node(node.inputs[0]).value.planes
        for node in schedule.products if node.tiling is not None
    ]  # fmt: skip
    assert (
        max(words)
        <= plan.strip.used_rows
        <= max(words)
        + array.skip_group * max(node.tiling.reduction_tiles for node in schedule.products if node.tiling is not None)
    )
    tokens = schedule.node("blocks.0.attn.q.lif").positions
    assert plan.stationary.used_rows == tokens  # V of one head and step: a row for each token


def with_memory(schedule: Schedule, memory: Memory) -> Schedule:
    hardware = msgspec.structs.replace(schedule.hardware, memory=memory)
    return msgspec.structs.replace(schedule, hardware=hardware)


def _with_blocks(node: AnyNode, blocks: dict[str, int]) -> AnyNode:
    if not isinstance(node, Convolution | Linear) or node.tiling is None:
        return node
    tiling = msgspec.structs.replace(node.tiling, output_tiles_per_block=blocks[node.name])
    return msgspec.structs.replace(node, tiling=tiling)


def cut_for(compiled: Compiled, weight_bytes: int, parameter_bytes: int = 1 << 15) -> Schedule:
    """The same network where the weight memory is `weight_bytes`."""
    memory = compiled.schedule.hardware.memory
    memory = msgspec.structs.replace(memory, weight_bytes=weight_bytes, parameter_bytes=parameter_bytes)
    schedule = with_memory(compiled.schedule, memory)
    blocks = weight_blocks(schedule)
    nodes = tuple(_with_blocks(node, blocks) for node in schedule.nodes)
    schedule = msgspec.structs.replace(schedule, nodes=nodes)
    return msgspec.structs.replace(schedule, memory=plan_memory(schedule, compiled.tensors))


def test_weights_that_fit_stay(compiled: Compiled) -> None:
    plan = compiled.schedule.memory
    assert plan.weights_resident
    assert plan.weight.needed_rows == plan.weight.used_rows <= plan.weight.capacity_rows
    assert all(node.tiling.output_tiles_per_block == node.tiling.output_tiles for node in compiled.schedule.products
               if node.tiling is not None)  # fmt: skip


def test_weights_that_do_not_fit_go_around_in_blocks(compiled: Compiled) -> None:
    """Each block is at most half the memory, so that the next one has room while it runs."""
    schedule = cut_for(compiled, 32 << 10)
    plan = schedule.memory
    regions = [region for region in plan.regions if region.memory == "weight"]
    assert not plan.weights_resident
    assert max(region.rows for region in regions) <= plan.weight.capacity_rows // 2
    assert max(region.block for region in regions) > 0
    ends = itertools.accumulate(region.rows for region in regions[:-1])
    assert [region.first_row for region in regions[1:]] == [end % plan.weight.capacity_rows for end in ends]
    check_schedule(schedule, compiled.tensors, "here")
    covered: dict[str, int] = {}
    for buffer in block_buffers(schedule):
        if buffer.memory != "weight":
            continue
        covered[buffer.node] = covered.get(buffer.node, 0) + buffer.rows
    whole = {buffer.node: buffer.rows for buffer in block_buffers(compiled.schedule) if buffer.memory == "weight"}
    assert covered == whole


def test_an_output_tile_that_does_not_fit_is_refused(compiled: Compiled) -> None:
    with pytest.raises(CompileError) as caught:
        cut_for(compiled, 4096)
    assert str(caught.value) == (
        "rpe.conv: the weights of 16 of its outputs take 9216 bytes, and edge-16x16 has 4096; use a hardware file with "
        "memory.weight_bytes = 9216 or more; 18432 hide the transfer from DRAM"
    )


@pytest.mark.parametrize(
    ("parameter_bytes", "node", "needed"), [(100, "stem.0.conv", 192), (500, "blocks.0.attn.product", 768)]
)
def test_parameters_that_are_needed_at_once_and_do_not_fit_are_refused(
    compiled: Compiled, parameter_bytes: int, node: str, needed: int
) -> None:
    with pytest.raises(CompileError) as caught:
        cut_for(compiled, 32 << 10, parameter_bytes)
    assert str(caught.value) == (
        f"{node}: its biases, thresholds and resets take {needed} bytes at once, and edge-16x16 has {parameter_bytes}; "
        f"use a hardware file with memory.parameter_bytes = {needed} or more; {2 * needed} hide the transfer from DRAM"
    )


def test_what_does_not_fit_is_refused_with_what_would(compiled: Compiled) -> None:
    plenty = Memory(**dict.fromkeys(Memory.__struct_fields__, 1 << 18))
    small = msgspec.structs.replace(plenty, spike_bytes=1024, membrane_bytes=1, current_bytes=1000)
    with pytest.raises(CompileError) as caught:
        plan_memory(with_memory(compiled.schedule, small), compiled.tensors)
    spikes, currents = (use.used_rows * use.row_bits // 8 for use in (compiled.schedule.memory.spike,
                                                                     compiled.schedule.memory.current))  # fmt: skip
    assert str(caught.value) == (
        f"memory.spike_bytes: the network needs {spikes} bytes at once, and edge-16x16 has 1024; use a hardware file "
        f"with memory.spike_bytes = {spikes} and memory.current_bytes = {currents} or more"
    )


def test_membranes_are_kept_one_block_at_a_time(compiled: Compiled) -> None:
    neuron = next(node for node in compiled.schedule.lif_nodes if node.name.endswith("fc1.lif"))
    linear = compiled.schedule.node(neuron.inputs[0])
    assert isinstance(linear, Linear) and linear.tiling is not None and len(neuron.state_steps) > 1
    outer = msgspec.structs.replace(
        neuron, time_order="outer", membrane_reads=neuron.state_steps[1:], membrane_writes=neuron.state_steps[:-1]
    )
    for tiles in (linear.tiling.output_tiles, 1):
        tiling = msgspec.structs.replace(linear.tiling, time_order="outer", output_tiles_per_block=tiles)
        changed = {outer.name: outer, linear.name: msgspec.structs.replace(linear, tiling=tiling)}
        schedule = msgspec.structs.replace(
            compiled.schedule, nodes=tuple(changed.get(node.name, node) for node in compiled.schedule.nodes)
        )
        kept = [buffer for buffer in buffers(schedule) if buffer.memory == "membrane"]
        assert [(buffer.node, buffer.rows) for buffer in kept] == [(outer.name, outer.positions * tiles)]
        assert kept[0].first == kept[0].last


def test_the_head_keeps_its_currents_to_the_end(compiled: Compiled) -> None:
    head = next(buffer for buffer in buffers(compiled.schedule) if buffer.node == compiled.schedule.output.node)
    assert head.last == len(compiled.schedule.nodes) - 1
    assert np.prod(head.rows) > 0
