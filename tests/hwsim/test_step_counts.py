"""What belongs to each time step: against a machine that takes one cycle at a time, and against the layers' counts."""

import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.buffers import is_walked
from dtss.compiler.schedule.events import DRAIN
from dtss.compiler.schedule.format import Integrator, Lif, Product
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples, load_samples
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.simulate import Simulator, simulate
from dtss.hwsim.step_counts import STEP_COUNTS, SharedCycles, StepCounts
from dtss.hwsim.technology import load_technology
from tests.compiler.pass_table import pass_table
from tests.hwsim.random_networks import Case, cases, many
from tests.hwsim.slow_machine import SlowMachine


def run(case: Case) -> Result:
    samples = Samples(pixels=case.pixels)
    return simulate(LoadedSchedule(case.schedule, case.tensors), samples, load_technology("45nm"), by_step=True)


def steps_of(node: NodeResult) -> tuple[StepCounts, SharedCycles]:
    assert node.by_step is not None
    assert node.shared_cycles is not None
    return node.by_step, node.shared_cycles


def check_sums(result: Result) -> None:
    """Steps add up to the layer's counters, image by image; with what they share, to its cycles."""
    for node in result.nodes:
        steps, shared = steps_of(node)
        for name in STEP_COUNTS:
            found = getattr(steps, name)
            assert found.dtype == np.int64
            assert found.shape == (result.images, result.schedule.time_steps)
            if name not in ("walk_cycles", "fill_cycles", "elementwise_cycles"):
                np.testing.assert_array_equal(found.sum(axis=1), getattr(node.counts, name), node.name)
        kinds = [getattr(shared, name) for name in SharedCycles.__struct_fields__]
        assert all((kind >= 0).all() for kind in kinds)
        own = steps.words_issued + steps.walk_cycles + steps.fill_cycles + steps.elementwise_cycles
        np.testing.assert_array_equal(own.sum(axis=1) + np.sum(kinds, axis=0), node.cycles, node.name)
        assert set(shared.drain.tolist()) == {drain_cycles(result, node)}


def drain_cycles(result: Result, node: NodeResult) -> int:
    """DRAIN for each walk: of the pass table, or of each tile of stored currents."""
    if isinstance(node.node, Lif | Integrator):
        tiles = -(-node.node.channels // result.schedule.hardware.array.columns)
        steps = node.node.state_steps if isinstance(node.node, Lif) else node.node.steps.active
        outer = isinstance(node.node, Lif) and node.node.time_order == "outer"
        stored = isinstance(node.node, Integrator) or not is_walked(result.schedule, node.node)
        return DRAIN * tiles * (len(steps) if outer else 1) * bool(steps) * stored
    if not isinstance(node.node, Product):
        return 0
    return DRAIN * int((pass_table(geometry(result.schedule, node.node)).walk > 0).sum())


@settings(parent=many, max_examples=150)
@given(cases())
def test_steps_add_up_to_the_counters_of_their_layer(case: Case) -> None:
    check_sums(run(case))


@settings(parent=many, max_examples=100)
@given(cases(largest_steps=3, images=1))
def test_every_step_equals_the_machine_that_takes_one_cycle_at_a_time(case: Case) -> None:
    execution = interpret(case.schedule, case.tensors, case.pixels.astype(np.int64))
    slow = SlowMachine(case.schedule, case.tensors, execution, 0)
    for node in run(case).nodes:
        slow.run(node.node)
        steps, _ = steps_of(node)
        for name in STEP_COUNTS:
            expected = [slow.at_step[name, step] for step in range(case.schedule.time_steps)]
            assert getattr(steps, name)[0].tolist() == expected, (node.name, name)


@pytest.mark.parametrize("network", ["digits", "digits_outer"])
def test_steps_of_the_digits_add_up(network: str, request: pytest.FixtureRequest) -> None:
    loaded: LoadedSchedule = request.getfixturevalue(network)
    samples, technology = load_samples(loaded, network, None, 9), load_technology("45nm")
    result = simulate(loaded, samples, technology, by_step=True)
    check_sums(result)
    membranes = sum(int(steps_of(node)[0].membrane_row_reads.sum()) for node in result.nodes)
    assert (membranes > 0) == (network == "digits_outer")
    split = Simulator.of(loaded, by_step=True).run(samples, technology, threads=3)
    for whole, parts in zip(result.nodes, split.nodes, strict=True):
        for name in STEP_COUNTS:
            np.testing.assert_array_equal(getattr(steps_of(whole)[0], name), getattr(steps_of(parts)[0], name))


def test_steps_are_counted_only_where_that_was_asked_for(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 1), load_technology("45nm"))
    assert all(node.by_step is None and node.shared_cycles is None for node in result.nodes)
