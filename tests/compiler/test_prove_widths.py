"""No integer of any run leaves its proved bounds, the bounds are reached, and hardware too narrow is refused."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.ir import FloatNeuron, Graph, Linear, Node
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.prove_widths import Interval, accumulator_bounds, membrane_bounds, value_bounds
from dtss.compiler.pipeline import Compiled, compile_graph, optional_passes
from dtss.compiler.schedule.format import Lif
from dtss.compiler.schedule.hardware import Hardware, load_hardware
from dtss.compiler.schedule.interpret import Execution, inputs_at, interpret
from dtss.compiler.schedule.numerics import leak
from tests.compiler.random_graphs import graphs, hardware, random_pixels
from tests.compiler.small_networks import PIXELS, SPIKING_JELLY

EDGE = load_hardware("edge-16x16")


def assert_within(values: NDArray[np.int64], bounds: Interval, where: str) -> None:
    assert (values >= bounds[0]).all(), where
    assert (values <= bounds[1]).all(), where


def assert_integers_within_bounds(compiled: Compiled, run: Execution) -> None:
    bounds: dict[str, Interval] = {}
    for node in compiled.graph.nodes:
        sums = accumulator_bounds(compiled.graph, node, bounds)
        bounds[node.name] = value_bounds(compiled.graph, node, bounds, sums)
        assert node.value is not None
        for value in run.values[node.name].values():
            assert_within(value, bounds[node.name], node.name)
            assert node.value.low <= value.min() <= value.max() <= node.value.high
        for accumulator in run.accumulators.get(node.name, {}).values():
            assert sums is not None
            assert_within(accumulator, sums, f"{node.name} accumulator")
        if node.membrane is not None:
            membrane = membrane_bounds(node, bounds[node.inputs[0]], compiled.graph.time_steps)
            assert_potentials_within(compiled, run, node, membrane)


def assert_potentials_within(compiled: Compiled, run: Execution, node: Node, bounds: Interval) -> None:
    """Both H before and U after the reset."""
    lif = compiled.schedule.node(node.name)
    assert isinstance(lif, Lif)
    before = compiled.tensors[lif.initial].astype(np.int64)
    for step in lif.state_steps:
        potential = leak(before, lif.leak) + inputs_at(compiled.schedule, run, lif, step)[0]
        before = run.membranes[node.name][step]
        for value in (potential, before):
            assert_within(value, bounds, f"{node.name} membrane")
            assert lif.membrane.low <= value.min() <= value.max() <= lif.membrane.high


@settings(max_examples=120, deadline=None)
@given(graphs(), hardware(), st.integers(0, 2**32 - 1), st.booleans())
def test_every_integer_lies_within_its_bounds(graph: Graph, machine: Hardware, seed: int, prune: bool) -> None:
    disabled = frozenset[str]() if prune else frozenset(optional_passes())
    compiled = compile_graph(graph, Target(machine), disabled=disabled)
    assert_integers_within_bounds(compiled, interpret(compiled.schedule, compiled.tensors, random_pixels(graph, seed)))


def one_layer(neuron: FloatNeuron = SPIKING_JELLY, time_steps: int = 2) -> Graph:
    """Two pixels 0 … 15, one output whose weights become 127 and −127, LSB 1/4."""
    build = GraphBuilder("one", time_steps, PIXELS)
    current = build.linear("fc", build.image(1, 1, 2), Linear(np.array([[127.0, -127.0]]), None))
    value = build.lif("fc.lif", current, neuron, "mlp", (1,) * time_steps)
    return build.finish(build.linear("head", value, Linear(np.ones((1, 1)), None)), ("a",))


def narrowed(**widths: int) -> Hardware:
    return msgspec.structs.replace(EDGE, widths=msgspec.structs.replace(EDGE.widths, **widths))


def test_bounds_are_reached() -> None:
    """λ = 1, soft reset, θ too high to fire: U sums up T times the largest current."""
    neuron = FloatNeuron(1.0, 1.0, 1e5, ">", "soft", 0.0, 0.0)
    compiled = compile_graph(one_layer(neuron, 3), Target(EDGE), disabled=frozenset(optional_passes()))
    run = interpret(compiled.schedule, compiled.tensors, np.array([[[[15, 0]]], [[[0, 15]]]]))
    fc, lif = compiled.graph.node("fc"), compiled.graph.node("fc.lif")
    assert run.accumulators["fc"][0].ravel().tolist() == [1905, -1905]
    assert fc.value is not None
    assert lif.membrane is not None
    assert [fc.value.high, fc.value.low] == run.values["fc"][0].ravel().tolist() == [1905 * 4, -1905 * 4]
    assert [lif.membrane.high, lif.membrane.low] == run.membranes["fc.lif"][2].ravel().tolist() == [22860, -22860]


@pytest.mark.parametrize(
    ("widths", "sentence"),
    [
        (
            {"accumulator": 11},
            (
                "fc: its accumulator can reach -1905 … 1905, 12 bits, and the hardware has 11; "
                "use a hardware file with widths.accumulator = 12 or more, or a smaller widths.weight"
            ),
        ),
        (
            {"membrane": 13},
            (
                "fc: its current can reach -7620 … 7620, 14 bits, and the hardware has 13; "
                "use a hardware file with widths.membrane = 14 or more, or a smaller widths.weight"
            ),
        ),
        (
            {"membrane": 14},
            (
                "fc.lif: its membrane can reach -11430 … 7624, 15 bits, and the hardware has 14; "
                "use a hardware file with widths.membrane = 15 or more, or a smaller widths.weight"
            ),
        ),
    ],
)
def test_narrow_hardware_is_refused_by_layer(widths: dict[str, int], sentence: str) -> None:
    with pytest.raises(CompileError) as error:
        compile_graph(one_layer(), Target(narrowed(**widths)))
    assert str(error.value) == sentence


def test_hardware_just_wide_enough_is_accepted() -> None:
    compiled = compile_graph(one_layer(), Target(narrowed(accumulator=12, membrane=15)))
    fc = compiled.graph.node("fc").value
    assert fc is not None
    assert fc.bits == 14


def test_fewer_weight_bits_help_as_the_hint_says() -> None:
    assert compile_graph(one_layer(), Target(narrowed(accumulator=8, weight=4))).graph.node("fc").value is not None


def test_counts_too_large_for_a_stationary_operand_are_refused() -> None:
    """Counts 0 … 2, and weights of two bits, which hold −2 … 1."""
    build = GraphBuilder("counts", 1, PIXELS)
    image = build.image(8, 8, 4)
    currents = [build.linear(letter, image, Linear(np.eye(4), None)) for letter in "qk"]
    spikes = [build.lif(f"{name}.lif", name, SPIKING_JELLY, "qkv", (1,)) for name in currents]
    counts = build.add("counts", *spikes)
    half = replace(SPIKING_JELLY, threshold=0.5)
    value = build.lif("lif", build.attention("product", spikes[0], counts, counts, 1, 0.125), half, "attn", (1,))
    graph = build.finish(build.linear("head", build.token_sum("sum", value), Linear(np.ones((1, 4)), None)), ("a",))
    with pytest.raises(CompileError) as error:
        compile_graph(graph, Target(narrowed(weight=2)))
    assert str(error.value) == (
        "product.query_key: its stationary operand can reach 2, and the array's weights have 2 bits; "
        "use a hardware file with widths.weight = 3 or more"
    )
