"""The cycle rules on examples small enough to count by hand, and the proof that the tiles cover each product once."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.pipeline import PIPELINE, Compiled, compile_graph
from dtss.compiler.schedule.cycles import CYCLE_KINDS, load_cycles, product_counts
from dtss.compiler.schedule.events import DRAIN
from dtss.compiler.schedule.format import AttentionProduct, Product, TimeOrder
from dtss.compiler.schedule.geometry import Geometry, geometry
from dtss.compiler.schedule.hardware import Hardware
from dtss.compiler.schedule.interpret import Execution, inputs_at, interpret
from dtss.compiler.schedule.skipper import run_cycles, stream_cycles
from dtss.compiler.schedule.words import reduction_operand, stationary_operand, word_popcounts, words
from tests.compiler.pass_table import pass_table
from tests.compiler.random_graphs import graphs, hardware, random_pixels

SCORES: tuple[Pass, ...] = tuple(step for step in PIPELINE if not isinstance(step, ReassociateAttention))
ANYWHERE: tuple[Pass, ...] = tuple(
    replace(step, always=True) if isinstance(step, ReassociateAttention) else step for step in PIPELINE
)


@pytest.mark.parametrize(
    ("flags", "group", "cycles"),
    [
        ("1111", 4, 4),
        ("0000", 4, 1),
        ("0000 0000", 4, 2),
        ("0100 1101", 4, 4),
        ("0000 1", 4, 2),
        ("1111 0", 4, 5),
        ("0", 4, 1),
        ("10101", 1, 5),
        ("0000000000", 64, 1),
    ],
)
def test_stream_takes_a_cycle_for_each_word_and_at_least_one_for_each_group(
    flags: str, group: int, cycles: int
) -> None:
    nonzero = np.array([flag == "1" for flag in flags.replace(" ", "")])
    assert stream_cycles(nonzero, group).tolist() == cycles
    assert stream_cycles(np.stack([nonzero, nonzero])[None], group).tolist() == [[cycles, cycles]]


def python_stream_cycles(flags: list[bool], group: int) -> int:
    return sum(max(1, sum(flags[start : start + group])) for start in range(0, len(flags), group))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9))
def test_stream_is_its_equation(flags: list[bool], group: int) -> None:
    assert int(stream_cycles(np.array(flags), group)) == python_stream_cycles(flags, group)


def test_load_rounds_up() -> None:
    assert load_cycles(np.array([1, 2, 3, 16]), 2).tolist() == [1, 1, 2, 8]


def run_of(
    stream: list[list[int]], load: list[int], gather: list[list[int]], walk: list[int], tiles: int = 1, latency: int = 0
) -> list[int]:
    """(cycles, load stalls, word stalls) of one run, time innermost; stream and gather [strips, reduction tiles]."""
    found = np.zeros((1, 1, 3), np.int64)
    run_cycles(
        np.array(stream)[None, None, None], np.array([[0, 1]]), np.array([tiles]), np.array(load), np.array(walk),
        np.array(gather), latency, False, found,
    )  # fmt: skip
    cycles: list[int] = found[0, 0].tolist()
    return cycles


def test_next_tile_loads_while_this_one_streams() -> None:
    """load[0] + max(10, 4) + max(2, 4) + 5: two cycles of waiting after the second pass, four before the first."""
    assert run_of([[10, 2, 5]], [4, 4, 4], [[0, 0, 0]], [0]) == [23, 6, 0]


def test_a_pass_waits_for_its_words() -> None:
    """Gathered at 6, 12 and 18, to be streamed 3 later; the first pass is loaded at 3."""
    assert run_of([[4, 4, 4]], [2, 2, 2], [[6, 6, 6]], [0], latency=3) == [24, 2, 10]


def test_words_are_gathered_into_the_place_of_those_that_were_streamed_last() -> None:
    """One chunk a strip: streamed 6 … 10 by the first output tile and 10 … 14 by the second, walked to 16 and 18.

    The next strip's words are gathered from 16 on, when the second tile has streamed, and wait for it at 19.
    """
    first_strip = (1 + 1 + 4, 6 + 4 + 2, 12 + 4 + 2)  # ready, end of the first tile, end of the second
    assert first_strip[2] == 18
    released = 12 + 4
    second_strip = (released + 4 + 2, 22 + 4 + 2, 28 + 4 + 2)
    assert run_of([[4], [4]], [1], [[4], [4]], [2, 2], tiles=2, latency=2) == [second_strip[2] - 1, 1, 4 + 22 - 18]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8))
def test_sequence_is_its_recurrence(passes: list[tuple[int, int]]) -> None:
    """start[i+1] = max(end[i], start[i] + load[i+1]), without words to wait for."""
    start, end = passes[0][1], 0
    for index, (busy, _) in enumerate(passes):
        end = start + busy
        if index + 1 < len(passes):
            start = max(end, start + passes[index + 1][1])
    stream, load = (list(column) for column in zip(*passes, strict=True))
    assert run_of([stream], load, [[0] * len(passes)], [0]) == [end, end - sum(stream), 0]


SMALL = Geometry(
    groups=1, positions=3, slot_steps=(0, 2), walk_steps=(0, 1, 2), planes=2, rows=(4, 1), columns=(3, 2),
    weights_change=False, time_order="inner", positions_per_strip=2, output_tiles_per_block=2,
)  # fmt: skip


def rows_of(cut: Geometry) -> list[tuple[int, ...]]:
    """(group, strip, output tile, step, reduction tile, rows, columns, walk, walk step) of every pass."""
    table = pass_table(cut)
    fields = ("group", "strip", "output_tile", "step", "reduction_tile", "rows", "columns", "walk", "walk_step")
    return list(zip(*(getattr(table, field).tolist() for field in fields), strict=True))


def test_inner_passes_serve_all_steps_and_the_last_walks_them() -> None:
    assert SMALL.strips == 2
    assert SMALL.strip_positions.tolist() == [2, 1]
    assert rows_of(SMALL) == [
        (0, 0, 0, -1, 0, 4, 3, 0, -1), (0, 0, 0, -1, 1, 1, 3, 6, -1),
        (0, 0, 1, -1, 0, 4, 2, 0, -1), (0, 0, 1, -1, 1, 1, 2, 6, -1),
        (0, 1, 0, -1, 0, 4, 3, 0, -1), (0, 1, 0, -1, 1, 1, 3, 3, -1),
        (0, 1, 1, -1, 0, 4, 2, 0, -1), (0, 1, 1, -1, 1, 1, 2, 3, -1),
    ]  # fmt: skip


def test_a_block_takes_all_strips_before_the_next() -> None:
    cut = replace(SMALL, output_tiles_per_block=1, rows=(4,))
    assert pass_table(cut).block.tolist() == [0, 0, 1, 1]
    assert rows_of(cut) == [
        (0, 0, 0, -1, 0, 4, 3, 6, -1), (0, 1, 0, -1, 0, 4, 3, 3, -1),
        (0, 0, 1, -1, 0, 4, 2, 6, -1), (0, 1, 1, -1, 0, 4, 2, 3, -1),
    ]  # fmt: skip


def test_outer_passes_belong_to_a_step_and_a_step_without_words_is_only_walked() -> None:
    cut = replace(SMALL, time_order="outer", columns=(3,), positions_per_strip=3)
    assert rows_of(cut) == [
        (0, 0, 0, 0, 0, 4, 3, 0, 0), (0, 0, 0, 0, 1, 1, 3, 3, 0),
        (0, 0, 0, -1, -1, 0, 3, 3, 1),
        (0, 0, 0, 1, 0, 4, 3, 0, 2), (0, 0, 0, 1, 1, 1, 3, 3, 2),
    ]  # fmt: skip


def test_attention_loads_its_weights_at_every_step() -> None:
    cut = replace(SMALL, groups=2, rows=(4,), columns=(3,), positions_per_strip=3, weights_change=True)
    assert rows_of(cut) == [
        (0, 0, 0, 0, 0, 4, 3, 0, -1), (0, 0, 0, 1, 0, 4, 3, 9, -1),
        (1, 0, 0, 0, 0, 4, 3, 0, -1), (1, 0, 0, 1, 0, 4, 3, 9, -1),
    ]  # fmt: skip


def test_product_without_words_is_walked_once_a_strip() -> None:
    cut = replace(SMALL, slot_steps=(), columns=(3,))
    assert rows_of(cut) == [(0, 0, 0, -1, -1, 0, 3, 6, -1), (0, 1, 0, -1, -1, 0, 3, 3, -1)]


@given(
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.sets(st.integers(0, 4)), st.booleans(),
    st.sampled_from(["inner", "outer"]),
)  # fmt: skip
def test_every_position_is_walked_at_every_step_of_every_tile(
    groups: int, positions: int, per_strip: int, slots: set[int], change: bool, order: TimeOrder
) -> None:
    cut = replace(
        SMALL, groups=groups, positions=positions, positions_per_strip=per_strip, slot_steps=tuple(sorted(slots)),
        walk_steps=(0, 1, 2, 3, 4), weights_change=change, time_order=order,
    )  # fmt: skip
    table = pass_table(cut)
    assert table.walk.sum() == groups * positions * len(cut.walk_steps) * len(cut.columns)
    tiles = groups * cut.strips * len(cut.columns) * len(cut.rows)
    assert (table.reduction_tile >= 0).sum() == tiles * (cut.pass_steps if slots else 0)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 3)
)
def test_popcounts_are_those_of_the_words(seed: int, planes: int, rows: list[int], spare: int) -> None:
    operand = np.random.default_rng(seed).integers(0, 1 << planes, (2, 2, 3, sum(rows)))
    found = words(operand, planes, tuple(rows), max(rows) + spare)
    assert found.shape == (2, 2, 3, planes, len(rows), max(rows) + spare)
    np.testing.assert_array_equal(found.sum(-1), word_popcounts(operand, planes, tuple(rows)))
    for tile, used in enumerate(rows):
        assert not found[..., tile, used:].any()
    lanes = np.concatenate([found[..., tile, :used] for tile, used in enumerate(rows)], -1)
    np.testing.assert_array_equal((lanes * (1 << np.arange(planes))[:, None]).sum(3), operand)


def sums_of_the_tiles(compiled: Compiled, node: Product, inputs: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Σ over planes, reduction tiles and lanes of 2^plane · bit · weight row, put together from the cut alone."""
    cut = geometry(compiled.schedule, node)
    lanes = compiled.schedule.hardware.array.rows
    streamed = words(reduction_operand(node, compiled.tensors, inputs[0]), cut.planes, cut.rows, lanes)
    weights = stationary_operand(node, compiled.tensors, inputs[1] if len(inputs) > 1 else None)
    batch = len(inputs[0])
    sums = np.zeros((batch, cut.groups, cut.positions, sum(cut.columns)), np.int64)
    strips = np.split(np.arange(cut.positions), np.cumsum(cut.strip_positions)[:-1])
    table = pass_table(replace(cut, slot_steps=(0,), walk_steps=(0,), time_order="inner"))
    first_row, first_column = np.cumsum((0, *cut.rows)), np.cumsum((0, *cut.columns))
    for index in range(len(table)):
        group, tile, output = (getattr(table, field)[index] for field in ("group", "reduction_tile", "output_tile"))
        positions = strips[table.strip[index]][:, None]
        channels = np.arange(first_column[output], first_column[output + 1])
        rows = weights[:, group, first_row[tile] : first_row[tile + 1]][..., channels]
        for plane in range(cut.planes):
            word = streamed[:, group, positions[:, 0], plane, tile, : cut.rows[tile]].astype(np.int64)
            sums[:, group, positions, channels] += (word @ rows) << plane
    if isinstance(node, AttentionProduct) and node.stage in ("key_value", "query_key"):
        return sums.reshape(batch, *node.shape)
    return sums.transpose(0, 2, 1, 3).reshape(batch, *node.shape)


def runs(graph: Graph, machine: Hardware, seed: int, passes: tuple[Pass, ...]) -> Iterator[tuple[Compiled, Execution]]:
    machine = msgspec.structs.replace(machine, widths=msgspec.structs.replace(machine.widths, weight=10))
    for order in (None, "outer"):
        target = Target(machine, "outer" if order else None)
        compiled = compile_graph(graph, target, passes=passes)
        yield compiled, interpret(compiled.schedule, compiled.tensors, random_pixels(graph, seed))


@settings(max_examples=60, deadline=None)
@given(graphs(), hardware(), st.integers(0, 2**32 - 1), st.booleans())
def test_tiles_cover_every_product_exactly_once(graph: Graph, machine: Hardware, seed: int, scores: bool) -> None:
    for compiled, run in runs(graph, machine, seed, SCORES if scores else ANYWHERE):
        for node in compiled.schedule.products:
            for step in node.steps.active:
                found = sums_of_the_tiles(compiled, node, inputs_at(compiled.schedule, run, node, step))
                np.testing.assert_array_equal(found, run.accumulators[node.name][step], node.name)


@settings(max_examples=40, deadline=None)
@given(graphs(), hardware(), st.integers(0, 2**32 - 1))
def test_counts_of_a_product_agree_with_its_words(graph: Graph, machine: Hardware, seed: int) -> None:
    """Accumulates are ones × output channels; cycles are at least streams and walks, and stalls fill the rest."""
    for compiled, run in runs(graph, machine, seed, PIPELINE):
        schedule = compiled.schedule
        for node in schedule.products:
            if not node.steps.active:
                continue
            cut = geometry(schedule, node)
            operands = [
                reduction_operand(node, compiled.tensors, inputs_at(schedule, run, node, step)[0])
                for step in node.steps.active
            ]
            popcounts = np.stack([word_popcounts(o, cut.planes, cut.rows) for o in operands], axis=3)
            counts = product_counts(schedule, node, popcounts).counts
            ones = popcounts.sum((1, 2, 3, 4, 5))
            np.testing.assert_array_equal(counts.accumulates, ones * sum(cut.columns))
            np.testing.assert_array_equal(counts.words_issued, (popcounts > 0).sum((1, 2, 3, 4, 5)) * len(cut.columns))
            walks = int((pass_table(cut).walk > 0).sum())
            visits = cut.groups * cut.positions * len(cut.walk_steps) * len(cut.columns)
            assert set(counts.walk_cycles.tolist()) == {visits + DRAIN * walks}
            whole = np.sum([getattr(counts, kind) for kind in CYCLE_KINDS], axis=0)
            np.testing.assert_array_equal(counts.cycles, whole)
            assert (counts.words_offered >= counts.words_issued).all()
