"""One small network for each fact that lets a step be skipped, and for each that does not."""

from dataclasses import replace

import numpy as np
import pytest

from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.ir import FloatNeuron, Graph, Linear, Node, StatePlan, average_active_steps, average_mask_steps
from dtss.compiler.graph.print import step_marks
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.eliminate_membrane_accesses import EliminateMembraneAccesses
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.passes.lower_attention import LowerAttention
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.passes.prune_time_steps import PruneTimeSteps
from dtss.compiler.schedule.hardware import load_hardware
from tests.compiler.small_networks import DTSS, PIXELS, SPIKING_JELLY, attention, mask

PASSES: tuple[Pass, ...] = (LowerAttention(), PruneTimeSteps(), HoistConstants(), EliminateMembraneAccesses())


class Network:
    """Spikes of 2 channels on 1×2 positions; `unit` is linear and LIF."""

    def __init__(self, time_steps: int = 4, neuron: FloatNeuron = DTSS) -> None:
        self.neuron = neuron
        self.build = GraphBuilder("network", time_steps, PIXELS)
        self.image = self.build.image(1, 2, 2)

    def unit(self, name: str, source: str, bits: str, *, bias: bool = False, neuron: FloatNeuron | None = None) -> str:
        op = Linear(np.eye(2), np.ones(2) if bias else None)
        current = self.build.linear(f"{name}.linear", source, op)
        return self.build.lif(name, current, neuron or self.neuron, "mlp", mask(bits))

    def pruned(self, value: str, *, head_bias: bool = False) -> dict[str, Node]:
        pooled = self.build.token_sum("sum", value)
        op = Linear(np.ones((2, 2)), np.ones(2) if head_bias else None)
        graph = self.build.finish(self.build.linear("head", pooled, op), ("a", "b"))
        return dict(run_passes(graph, PASSES, Target(load_hardware("edge-16x16"))).by_name)


def marks(node: Node) -> str:
    """# computed, b bias only, r reused, 0 zero, x dead."""
    return step_marks(
        node.steps, sum(len(getattr(node.steps, f)) for f in ("active", "bias_only", "reused", "zero", "dead"))
    )


def state(node: Node) -> StatePlan:
    assert node.state is not None
    return node.state


@pytest.mark.parametrize("short", ["q", "k", "v"])
def test_one_live_step_of_any_attention_input_is_enough_for_all_three(short: str) -> None:
    network = Network()
    value = network.unit("in", network.image, "1111")
    masks = {letter: "1000" if letter == short else "1111" for letter in "qkv"} | {"out": "1000"}
    nodes = network.pruned(attention(network.build, "attn", value, DTSS, masks, heads=1))
    for letter in "qkv":
        lif = nodes[f"attn.{letter}.lif"]
        assert lif.steps.active == state(lif).state_steps == (0,), letter
        assert marks(lif) == ("#000" if letter == short else "#xxx")
        assert marks(nodes[f"attn.{letter}.linear"]) == "#xxx"
    assert marks(nodes["attn.product"]) == "#000"
    assert nodes["attn.product"].steps.why[1:] == (
        ("attn.v.lif is zero" if short == "v" else "attn.product.query_key is zero",) * 3
    )
    assert nodes["in"].steps.active == (0,)


def test_disjoint_masks_leave_no_attention_at_all() -> None:
    network = Network()
    value = network.unit("in", network.image, "1111")
    masks = {"q": "1100", "k": "0011", "v": "1111", "out": "1111"}
    nodes = network.pruned(attention(network.build, "attn", value, DTSS, masks, heads=1))
    assert {marks(nodes[f"attn.{letter}.linear"]) for letter in "qkv"} == {"xxxx"}
    assert state(nodes["attn.q.lif"]).state_steps == ()
    assert marks(nodes["attn.product"]) == "0000"


def test_residual_needs_a_branch_wherever_the_sum_is_needed() -> None:
    network = Network()
    value = network.unit("in", network.image, "1110")
    branch = network.unit("branch", value, "1000")
    nodes = network.pruned(network.unit("out", network.build.add("add", value, branch), "0110"))
    assert marks(nodes["branch"]) == "#000"
    assert marks(nodes["add"]) == "###0"
    assert marks(nodes["out.linear"]) == "###0"
    assert marks(nodes["in"]) == "###0"


def test_sum_is_zero_only_where_every_branch_is() -> None:
    network = Network()
    value = network.unit("in", network.image, "1100")
    nodes = network.pruned(network.build.add("add", value, network.unit("branch", value, "1000")))
    assert marks(nodes["add"]) == "##00"
    assert nodes["add"].steps.why == ("", "", "all inputs are zero", "all inputs are zero")
    assert marks(nodes["sum"]) == marks(nodes["head"]) == "##00"


def test_branch_masked_at_every_step_is_not_computed() -> None:
    network = Network()
    value = network.unit("in", network.image, "1100")
    branch = network.unit("b2", network.unit("b1", value, "1111"), "0000")
    nodes = network.pruned(network.build.add("add", value, branch))
    assert marks(nodes["b2"]) == "0000"
    assert {marks(nodes[name]) for name in ("b2.linear", "b1")} == {"xxxx"}
    assert set(marks(nodes["b1.linear"])) == {"x", "0"}
    assert state(nodes["b1"]).state_steps == state(nodes["b2"]).state_steps == ()


def test_late_mask_keeps_the_state_live_from_the_start() -> None:
    network = Network()
    value = network.unit("in", network.image, "1111")
    nodes = network.pruned(network.unit("late", value, "0011"))
    assert marks(nodes["late"]) == "00##"
    assert marks(nodes["late.linear"]) == marks(nodes["in"]) == "####"
    assert state(nodes["late"]).state_steps == (0, 1, 2, 3)
    assert state(nodes["late"]).membrane_reads == (1, 2, 3)
    assert state(nodes["late"]).membrane_writes == (0, 1, 2)


def test_gap_in_a_mask_keeps_the_state_live_over_it() -> None:
    network = Network()
    value = network.unit("in", network.image, "1111")
    nodes = network.pruned(network.unit("gap", value, "1010"))
    assert marks(nodes["gap"]) == "#0#0"
    assert marks(nodes["gap.linear"]) == "###x"
    assert state(nodes["gap"]).state_steps == (0, 1, 2)
    assert state(nodes["gap"]).why == ("", "", "", "state not live")


@pytest.mark.parametrize(
    ("bits", "reads", "writes"),
    [("1000", (), ()), ("1100", (1,), (0,)), ("0100", (1,), (0,)), ("1111", (1, 2, 3), (0, 1, 2)), ("0000", (), ())],
)
def test_membrane_moves_only_between_two_live_steps(bits: str, reads: tuple[int, ...], writes: tuple[int, ...]) -> None:
    network = Network()
    plan = state(network.pruned(network.unit("lif", network.image, bits))["lif"])
    assert (plan.membrane_reads, plan.membrane_writes) == (reads, writes)


@pytest.mark.parametrize(("bias", "expected"), [(True, "#bbb"), (False, "#000")])
def test_zero_input_leaves_the_bias(bias: bool, expected: str) -> None:
    network = Network()
    value = network.unit("in", network.image, "1000")
    nodes = network.pruned(network.unit("lif", value, "1111", bias=bias))
    assert marks(nodes["lif.linear"]) == expected
    assert nodes["lif.linear"].steps.why[1] == ("bias only: in is zero" if bias else "in is zero")
    assert marks(nodes["lif"]) == "####"


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        (SPIKING_JELLY, "#000"),
        (replace(SPIKING_JELLY, reset_value=-0.25), "#000"),
        (replace(SPIKING_JELLY, leak=1.0), "#000"),
        (replace(SPIKING_JELLY, reset_value=0.1), "####"),
        (replace(SPIKING_JELLY, initial=0.75), "####"),
        (replace(SPIKING_JELLY, threshold=0.0), "####"),
        (replace(SPIKING_JELLY, reset="soft"), "####"),
    ],
)
def test_state_alone_fires_unless_it_was_reset_to_at_most_zero(neuron: FloatNeuron, expected: str) -> None:
    network = Network()
    value = network.unit("in", network.image, "1000")
    nodes = network.pruned(network.unit("lif", value, "1111", neuron=neuron))
    assert marks(nodes["lif"]) == expected
    assert state(nodes["lif"]).state_steps == tuple(range(expected.count("#")))


def test_bias_is_a_current_that_fires() -> None:
    network = Network(neuron=SPIKING_JELLY)
    value = network.unit("in", network.image, "1000")
    assert marks(network.pruned(network.unit("lif", value, "1111", bias=True))["lif"]) == "####"


def test_what_the_image_alone_feeds_runs_once() -> None:
    network = Network()
    nodes = network.pruned(network.unit("lif", network.image, "1110"))
    assert marks(nodes["image"]) == "#rrr"
    assert marks(nodes["lif.linear"]) == "#rrx"
    assert nodes["lif.linear"].steps.why[1:] == ("constant: equal to step 0",) * 2 + ("output not live",)
    assert marks(nodes["lif"]) == "###0"


@pytest.mark.parametrize(("bias", "expected"), [(True, "#bbb"), (False, "#000")])
def test_logits_are_there_at_every_step(bias: bool, expected: str) -> None:
    network = Network()
    nodes = network.pruned(network.unit("lif", network.image, "1000"), head_bias=bias)
    assert marks(nodes["head"]) == expected
    assert not nodes["head"].steps.dead


def test_one_time_step() -> None:
    network = Network(time_steps=1)
    value = network.unit("in", network.image, "1")
    nodes = network.pruned(network.build.add("add", value, network.unit("off", value, "0")))
    assert {name: marks(node) for name, node in nodes.items()} == {
        "image": "#", "in.linear": "#", "in": "#", "off.linear": "x", "off": "0", "add": "#", "sum": "#", "head": "#",
    }  # fmt: skip
    assert state(nodes["in"]).membrane_reads == state(nodes["in"]).membrane_writes == ()


def test_averages_are_over_lif_layers() -> None:
    network = Network()
    value = network.unit("in", network.image, "1111")
    graph: dict[str, Node] = network.pruned(network.unit("lif", value, "1000"))
    whole = Graph("n", 4, PIXELS, ("a", "b"), "head", tuple(graph.values()))
    assert average_mask_steps(whole) == 2.5
    assert average_active_steps(whole) == 1.0
