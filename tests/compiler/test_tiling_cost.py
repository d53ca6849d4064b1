"""The tiling that is chosen is the cheapest there is, by the simulator's rules and, on the digits, by real spikes."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.relative_energy import product_energy
from dtss.compiler.passes.tiling_cost import EXPECTED_ONES, candidates, expected_ones, plane_shares
from dtss.compiler.pipeline import compile_graph
from dtss.compiler.schedule.cycles import product_counts
from dtss.compiler.schedule.format import Product, Schedule, TimeOrder
from dtss.compiler.schedule.geometry import group_positions
from dtss.compiler.schedule.hardware import Hardware, load_hardware
from dtss.hwsim.activity import counter_of
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
    """cycles · relative energy of each product on real images."""
    costs: dict[str, float] = {}
    for run in execute(schedule, tensors, pixels):
        if isinstance(run.node, Product):
            counts = counter_of(schedule, tensors, run.node).activity(run).counts
            costs[run.node.name] = float(counts.cycles.mean()) * float(product_energy(schedule, counts).mean())
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
    """Seven slots hold one position's four steps, or seven positions' one: outermost, dear weights load less often."""
    array = msgspec.structs.replace(EDGE.array, strip_slots=7)
    orders = {}
    for membrane_bytes in (1 << 16, 64):
        memory = msgspec.structs.replace(EDGE.memory, weight_bytes=1 << 26, membrane_bytes=membrane_bytes)
        machine = msgspec.structs.replace(EDGE, array=array, memory=memory)
        product = compile_graph(digits.graph, Target(machine)).schedule.node("stem.1.conv")
        assert isinstance(product, Product) and product.tiling is not None
        orders[membrane_bytes] = product.tiling.time_order
    assert list(orders.values()) == ["outer", "inner"]


def test_simple_rule_runs_time_innermost_in_the_longest_strips(digits: Source) -> None:
    schedule = compile_graph(digits.graph, Target(EDGE), disabled=frozenset({"tune-tiles"})).schedule
    for product in schedule.products:
        assert product.tiling is not None
        assert product.tiling.time_order == "inner"
        longest = EDGE.array.strip_slots // max(1, len(product.steps.active))
        assert product.tiling.positions_per_strip == min(longest, group_positions(product))


def test_scores_are_expected_to_be_as_small_as_two_spikes_together_are_rare(digits: Source) -> None:
    """Of 16 products of two bits, one in a hundred set each: the low plane has ones, the high ones almost none."""
    schedule = compile_graph(digits.graph, Target(EDGE), disabled=frozenset({"reassociate-attention"})).schedule
    shares = plane_shares(schedule, schedule.node("blocks.0.attn.product.query_key"))
    one = 16 * 0.01 * 0.99**15
    three = 560 * 0.01**3 * 0.99**13
    assert shares[0] == pytest.approx(one + three, rel=1e-3)
    assert len(shares) == 5 and (shares[1:] < 0.02).all()
    np.testing.assert_array_equal(plane_shares(schedule, schedule.node("stem.0.lif")), [EXPECTED_ONES])
