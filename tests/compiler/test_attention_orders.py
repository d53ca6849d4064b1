"""Either order of the attention products, made of the other; the one that is taken is the cheaper."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from dtss.compiler.explain import explain
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import Graph, Linear
from dtss.compiler.passes.attention_orders import OUTER, in_order, inner_of, paths
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.passes.relative_energy import product_energy
from dtss.compiler.pipeline import PIPELINE, compile_graph
from dtss.compiler.schedule.format import AttentionProduct, Schedule
from dtss.compiler.schedule.hardware import Hardware, load_hardware
from dtss.hwsim.activity import counter_of
from dtss.hwsim.execute import execute
from tests.compiler.random_graphs import graphs, hardware
from tests.compiler.small_networks import PIXELS, SPIKING_JELLY

EDGE = load_hardware("edge-16x16")
ALWAYS: tuple[Pass, ...] = tuple(
    replace(step, always=True) if isinstance(step, ReassociateAttention) else step for step in PIPELINE
)
WRITTEN = frozenset({"reassociate-attention"})


def attentions(schedule: Schedule) -> list[AttentionProduct]:
    """The second product of each attention."""
    return [node for node in schedule.nodes if isinstance(node, AttentionProduct) and node.stage in OUTER.values()]


def transformer(side: int, channels: int, neuron_threshold: float = 0.5) -> Graph:
    """One attention of two heads on side² tokens."""
    build = GraphBuilder("one", 2, PIXELS)
    image = build.image(side, side, channels)
    every = Linear(np.eye(channels), None)
    lifs = [build.lif(f"{x}.lif", build.linear(x, image, every), SPIKING_JELLY, "qkv", (1, 1)) for x in "qkv"]
    neuron = replace(SPIKING_JELLY, threshold=neuron_threshold)
    value = build.lif("lif", build.attention("product", lifs[0], lifs[1], lifs[2], 2, 0.125), neuron, "attn", (1, 1))
    value = build.token_sum("sum", value)
    return build.finish(build.linear("head", value, Linear(np.ones((1, channels)), None)), ("a",))


def order_of(graph: Graph, machine: Hardware = EDGE) -> str:
    (outer,) = attentions(compile_graph(graph, Target(machine)).schedule)
    return outer.stage


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graphs(), hardware())
def test_there_and_back_gives_the_same_products(graph: Graph, machine: Hardware) -> None:
    """Steps, reasons, bounds and shapes of (Q·Kᵀ)·V follow from Q·(Kᵀ·V) as these follow from it."""
    written = compile_graph(graph, Target(machine), disabled=WRITTEN | {"tune-tiles"}).schedule
    other = compile_graph(graph, Target(machine), disabled=frozenset({"tune-tiles"}), passes=ALWAYS).schedule
    for before, after in zip(attentions(written), attentions(other), strict=True):
        pair = in_order(other, after, "query_key")
        assert pair is not None
        untiled = [msgspec.structs.replace(node, tiling=None) for node in (*pair, inner_of(written, before), before)]
        assert untiled[:2] == untiled[2:]


def test_many_tokens_of_few_channels_multiply_keys_and_values_first() -> None:
    assert order_of(transformer(side=8, channels=8)) == "query_key_value"
    assert order_of(transformer(side=2, channels=32)) == "score_value"


def test_key_value_that_the_array_cannot_hold_is_not_offered() -> None:
    """64 tokens give Kᵀ·V up to 64: seven bits with the sign are one too few."""
    for bits, order in ((8, "query_key_value"), (7, "score_value")):
        machine = msgspec.structs.replace(EDGE, widths=msgspec.structs.replace(EDGE.widths, weight=bits))
        assert order_of(transformer(side=8, channels=8), machine) == order


@pytest.mark.parametrize("machine", ["edge-16x16", "wide-64x32"])
def test_real_digits_cost_less_in_the_order_that_is_taken(digits: Source, machine: str) -> None:
    """Cycles · energy of both products on real spikes, against the other order."""
    target = Target(load_hardware(machine))
    costs: dict[str, dict[str, float]] = {}
    for passes in (ALWAYS, tuple(step for step in PIPELINE if step.name not in WRITTEN)):
        compiled = compile_graph(digits.graph, target, passes=passes)
        taken = attentions(compiled.schedule)[0].stage
        sums = {node.name: np.zeros(2) for node in attentions(compiled.schedule)}
        for run in execute(compiled.schedule, compiled.tensors, digits.images[:24]):
            if isinstance(run.node, AttentionProduct):
                counts = counter_of(compiled.schedule, compiled.tensors, run.node).activity(run).counts
                energy = product_energy(compiled.schedule, counts)
                whole = run.node.name.removesuffix(".key_value").removesuffix(".query_key")
                sums[whole] += [float(counts.cycles.mean()), float(energy.mean())]
        costs[taken] = {name: float(cycles * energy) for name, (cycles, energy) in sums.items()}
    for node in attentions(compile_graph(digits.graph, target).schedule):
        assert costs[node.stage][node.name] == min(cost[node.name] for cost in costs.values())


def test_explanation_names_both_orders_with_their_costs(digits: Source) -> None:
    schedule = compile_graph(digits.graph, Target(EDGE)).schedule
    text = explain(schedule)
    for outer in attentions(schedule):
        taken, other = paths(schedule, outer)
        assert (taken.outer.stage, other.outer.stage) == ("query_key_value", "score_value")
        assert (
            f"chosen: {taken.name}, both products: expected {taken.cycles:,} cycles, energy {taken.energy:,.0f}" in text
        )
        assert (
            f"against: {other.name}, both products: expected {other.cycles:,} cycles, energy {other.energy:,.0f}"
            in text
        )
