"""The tiling that is chosen is the cheapest there is, by the simulator's rules and, on the digits, by real spikes."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.tiling_cost import EXPECTED_ONES, bits_moved, candidates, expected_ones
from dtss.compiler.pipeline import compile_graph
from dtss.compiler.schedule.cycles import product_counts
from dtss.compiler.schedule.format import Product, Schedule, TimeOrder
from dtss.compiler.schedule.hardware import Hardware, load_hardware
from dtss.hwsim.activity import node_activity
from dtss.hwsim.execute import execute
from tests.compiler.random_graphs import graphs, hardware

EDGE = load_hardware("edge-16x16")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graphs(), hardware())
def test_no_candidate_is_cheaper_than_the_chosen_one(graph: Graph, machine: Hardware) -> None:
    roomy = msgspec.structs.replace(machine, memory=msgspec.structs.replace(machine.memory, membrane_bytes=1 << 30))
    schedule = compile_graph(graph, Target(roomy)).schedule
    for product in schedule.products:
        best, *others = candidates(schedule, product)
        assert product.tiling == best.tiling
        assert all(best.cost <= other.cost for other in others)
        assert best.cycles == product_counts(schedule, product, expected_ones(schedule, product)).counts.cycles[0]


def test_words_are_as_full_as_expected(digits: Source) -> None:
    schedule = compile_graph(digits.graph, Target(EDGE)).schedule
    product = max(schedule.products, key=lambda node: expected_ones(schedule, node).size)
    ones = expected_ones(schedule, product)
    assert product.tiling is not None
    assert ones.mean() == pytest.approx(EXPECTED_ONES * 16, rel=0.02)
    np.testing.assert_array_equal(ones, expected_ones(schedule, product))


def real_cost(schedule: Schedule, tensors: dict[str, np.ndarray], pixels: np.ndarray) -> dict[str, float]:
    """cycles · bits of each product on real images."""
    costs: dict[str, float] = {}
    for run in execute(schedule, tensors, pixels):
        if isinstance(run.node, Product):
            counts = node_activity(schedule, tensors, run).counts
            costs[run.node.name] = float(counts.cycles.mean()) * float(bits_moved(schedule, counts).mean())
    return costs


@pytest.mark.parametrize("machine", ["edge-16x16", "wide-64x32"])
def test_real_digits_cost_no_more_than_with_either_order_forced(digits: Source, machine: str) -> None:
    """Within 3 %: the words that were drawn are not the real ones."""
    orders: tuple[TimeOrder | None, ...] = (None, "inner", "outer")
    totals = {}
    for order in orders:
        compiled = compile_graph(digits.graph, Target(load_hardware(machine), order))
        totals[order] = sum(real_cost(compiled.schedule, compiled.tensors, digits.images[:24]).values())
    assert totals[None] <= 1.03 * min(totals["inner"], totals["outer"])
    assert max(totals["inner"], totals["outer"]) > 1.1 * min(totals["inner"], totals["outer"])


def test_membranes_that_do_not_fit_keep_time_inside(digits: Source) -> None:
    """The wide machine would run stem.1.conv outermost; without room for its membranes it does not."""
    wide = load_hardware("wide-64x32")
    cramped = msgspec.structs.replace(wide, memory=msgspec.structs.replace(wide.memory, membrane_bytes=64))
    orders = {}
    for machine in (wide, cramped):
        product = compile_graph(digits.graph, Target(machine)).schedule.node("stem.1.conv")
        assert isinstance(product, Product) and product.tiling is not None
        orders[machine.memory.membrane_bytes] = product.tiling.time_order
    assert list(orders.values()) == ["outer", "inner"]
