"""Every optional pass keeps the integers: pruned and unpruned schedules of random networks agree on all of them."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dtss.compiler.graph.ir import Graph, Node
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.passes.reassociate_attention import ReassociateAttention
from dtss.compiler.pipeline import PIPELINE, compile_graph, optional_passes
from dtss.compiler.schedule.check import check_schedule
from dtss.compiler.schedule.format import Lif
from dtss.compiler.schedule.hardware import Hardware
from dtss.compiler.schedule.interpret import Execution, interpret
from tests.compiler.random_graphs import graphs, hardware, random_pixels

many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


ALWAYS_REASSOCIATED: tuple[Pass, ...] = tuple(
    replace(step, always=True) if isinstance(step, ReassociateAttention) else step for step in PIPELINE
)


def run(
    graph: Graph, machine: Hardware, seed: int, disabled: frozenset[str], passes: tuple[Pass, ...] = PIPELINE
) -> Execution:
    compiled = compile_graph(graph, Target(machine), disabled=disabled, passes=passes)
    check_schedule(compiled.schedule, compiled.tensors, "random")
    return interpret(compiled.schedule, compiled.tensors, random_pixels(graph, seed))


def assert_same_integers(pruned: Execution, whole: Execution) -> None:
    np.testing.assert_array_equal(pruned.logits, whole.logits)
    for name, values in pruned.values.items():
        if name not in whole.values:
            assert name.endswith((".key_value", ".query_key")), name  # between the two products of attention
            continue
        for step, value in values.items():
            np.testing.assert_array_equal(value, whole.values[name][step if step in whole.values[name] else 0], name)
    for name, membranes in pruned.membranes.items():
        for step, membrane in membranes.items():
            np.testing.assert_array_equal(membrane, whole.membranes[name][step], name)


@many
@given(graphs(), hardware(), st.integers(0, 2**32 - 1))
def test_all_passes_together_keep_every_integer(graph: Graph, machine: Hardware, seed: int) -> None:
    whole = run(graph, machine, seed, frozenset(optional_passes()))
    assert_same_integers(run(graph, machine, seed, frozenset()), whole)


@pytest.mark.parametrize("name", optional_passes())
@settings(parent=many, max_examples=40)
@given(graph=graphs(), machine=hardware(), seed=st.integers(0, 2**32 - 1))
def test_each_pass_alone_keeps_every_integer(name: str, graph: Graph, machine: Hardware, seed: int) -> None:
    whole = run(graph, machine, seed, frozenset(optional_passes()))
    alone = run(graph, machine, seed, frozenset(optional_passes()) - {name})
    assert_same_integers(alone, whole)


@settings(parent=many, max_examples=60)
@given(graphs(), hardware(), st.integers(0, 2**32 - 1), st.booleans())
def test_attention_in_the_other_order_keeps_every_integer(
    graph: Graph, machine: Hardware, seed: int, prune: bool
) -> None:
    """Q·(Kᵀ·V) wherever the array can hold Kᵀ·V, whatever it costs."""
    disabled = frozenset[str]() if prune else frozenset(optional_passes()) - {"reassociate-attention"}
    whole = run(graph, machine, seed, frozenset(optional_passes()))
    assert_same_integers(run(graph, machine, seed, disabled, ALWAYS_REASSOCIATED), whole)


@settings(parent=many, max_examples=40)
@given(graphs(), hardware(), st.integers(0, 2**32 - 1))
def test_time_order_keeps_every_integer(graph: Graph, machine: Hardware, seed: int) -> None:
    outer = compile_graph(graph, Target(machine, "outer"))
    check_schedule(outer.schedule, outer.tensors, "random")
    execution = interpret(outer.schedule, outer.tensors, random_pixels(graph, seed))
    assert_same_integers(run(graph, machine, seed, frozenset()), execution)


@many
@given(graphs(), hardware(), st.integers(0, 2**32 - 1), st.booleans())
def test_spikes_declared_zero_are_zero_when_nothing_is_pruned(
    graph: Graph, machine: Hardware, seed: int, reassociate: bool
) -> None:
    """The facts themselves, on the unpruned run: what a pruned schedule calls zero is zero there."""
    written = frozenset[str]() if reassociate else frozenset({"reassociate-attention"})
    off = frozenset(optional_passes()) - {"reassociate-attention"} | written
    whole = run(graph, machine, seed, off, ALWAYS_REASSOCIATED)
    pruned = compile_graph(graph, Target(machine), disabled=written, passes=ALWAYS_REASSOCIATED).schedule
    for node in pruned.nodes:
        for step in node.steps.zero:
            value = whole.values[node.name].get(step)
            assert value is None or not value.any(), (node.name, step)


def without_first_step(node: Node) -> Node:
    """A LIF that has more than one live step and forgets the first."""
    steps = node.steps
    if node.state is None or len(steps.active) < 2:
        return node
    zero = tuple(sorted((*steps.zero, steps.active[0])))
    return replace(node, steps=msgspec.structs.replace(steps, active=steps.active[1:], zero=zero))


def test_property_goes_red_when_a_live_step_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: a pass that forgets one live step of every LIF is caught."""

    def forgetful(self: PruneTimeSteps, graph: Graph, target: Target) -> Graph:
        return graph.with_nodes(without_first_step(node) for node in original(self, graph, target).nodes)

    original = PruneTimeSteps.run
    monkeypatch.setattr(PruneTimeSteps, "run", forgetful)

    @settings(parent=many, max_examples=150, database=None, phases=[Phase.generate])
    @given(graphs(), hardware(), st.integers(0, 2**32 - 1))
    def check(graph: Graph, machine: Hardware, seed: int) -> None:
        whole = run(graph, machine, seed, frozenset(optional_passes()))
        assert_same_integers(run(graph, machine, seed, frozenset()), whole)

    with pytest.raises(AssertionError):
        check()


def test_pipeline_names_are_unique() -> None:
    names = [step.name for step in PIPELINE]
    assert len(set(names)) == len(names)
    assert Lif.__struct_config__.tag == "lif"
