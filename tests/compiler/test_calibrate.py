"""Calibrated integers change the currents less than rounding to nearest, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import Convolution, Graph, Linear
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.passes.quantise import largest_integer
from dtss.compiler.passes.rounding import best_lsb, error, nearest, rounded_together
from dtss.compiler.pipeline import PIPELINE, Compiled, compile_graph
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import interpret
from dtss.models.data_sets import DATA_SETS
from tests.compiler.small_networks import membrane_residual, spike_residual

EDGE = load_hardware("edge-16x16")
Matrix = NDArray[np.float64]


@pytest.fixture(scope="module")
def training_digits() -> NDArray[np.uint8]:
    """Digits that no accuracy is measured on."""
    pixels: NDArray[np.uint8] = DATA_SETS["digits"].load(None, (8, 8)).train.select(torch.arange(160)).images.numpy()
    return pixels


def pixels_for(graph: Graph, images: int = 12) -> NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, graph.preprocess.pixel_max + 1, (images, *graph.nodes[0].shape))


def problem(seed: int, outputs: int, inputs: int) -> tuple[Matrix, Matrix]:
    """A weight, and the Gram matrix of inputs that go together."""
    random = np.random.default_rng(seed)
    samples = random.normal(size=(3 * inputs, inputs)) @ random.normal(size=(inputs, inputs))
    return random.normal(size=(outputs, inputs)), samples.T @ samples / len(samples)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 200), st.sampled_from([1, 7, 127]))
def test_integers_fit_and_no_channel_is_worse_than_rounded_to_nearest(
    seed: int, outputs: int, inputs: int, largest: int
) -> None:
    weight, gram = problem(seed, outputs, inputs)
    lsb = np.abs(weight).max(1) / largest
    integers = rounded_together(weight, lsb, largest, gram)
    assert (integers == np.rint(integers)).all() and np.abs(integers).max() <= largest
    plain = nearest(weight, lsb, largest)
    after, before = error(weight, integers * lsb[:, None], gram), error(weight, plain * lsb[:, None], gram)
    assert (after <= before * (1 + 1e-9)).all()


def test_rounding_together_comes_near_the_best_integers_there_are() -> None:
    """Against all 5⁶ choices near the weight, on average over 20 problems; rounding to nearest does not."""
    ratios: dict[str, list[float]] = {"together": [], "nearest": []}
    choices = np.array(list(product(range(-2, 3), repeat=6)), np.float64)
    for seed in range(20):
        weight, gram = problem(seed, 1, 6)
        lsb = np.abs(weight).max(1) / 2
        difference = weight - choices * lsb
        best = np.einsum("ck,ck->c", difference @ gram, difference).min()
        for name, integers in (
            ("together", rounded_together(weight, lsb, 2, gram)),
            ("nearest", nearest(weight, lsb, 2)),
        ):
            ratios[name].append(float(np.sqrt(error(weight, integers * lsb[:, None], gram)[0] / best)))
    assert np.mean(ratios["together"]) < 1.2
    assert np.mean(ratios["nearest"]) > 1.4


def test_inputs_that_were_never_seen_round_to_nearest() -> None:
    weight, _ = problem(0, 3, 8)
    lsb = np.full(3, 0.3)
    np.testing.assert_array_equal(rounded_together(weight, lsb, 7, np.zeros((8, 8))), nearest(weight, lsb, 7))


def test_one_large_weight_is_clipped_where_that_helps_the_rest() -> None:
    weight = np.concatenate([np.full(200, 0.24), [2.0]])[None]
    gram = np.eye(201)
    lsb = best_lsb(weight, np.array([2.0 / 7]), 7, gram, shared=False)
    assert 0.5 * 2.0 / 7 <= lsb[0] < 2.0 / 7


@pytest.mark.parametrize("network", [spike_residual, membrane_residual])
@pytest.mark.parametrize("bits", [8, 4])
def test_nothing_is_left_for_quantise_to_round(network: Callable[[], Graph], bits: int) -> None:
    graph = network()
    target = Target(EDGE, weight_bits=bits, calibration=pixels_for(graph).astype(np.uint8))
    seen: dict[str, Graph] = {}
    run_passes(graph, PIPELINE, target, observe=seen.__setitem__)
    for node in seen["calibrate"].nodes:
        if isinstance(node.op, Convolution | Linear):
            integers = seen["quantise"].node(node.name).op
            assert isinstance(integers, Convolution | Linear) and node.op.lsb is not None
            lsb = node.op.lsb.reshape(-1, *[1] * (node.op.weight.ndim - 1))
            np.testing.assert_allclose(integers.weight * lsb, node.op.weight, rtol=1e-12, atol=0)
            assert np.abs(integers.weight).max() <= largest_integer(target, node.name)


@pytest.mark.parametrize("network", [spike_residual, membrane_residual])
def test_no_switch_of_another_pass_changes_an_integer(network: Callable[[], Graph]) -> None:
    graph = network()
    pixels = pixels_for(graph)
    target = Target(EDGE, calibration=pixels.astype(np.uint8))
    logits = [
        interpret(compiled.schedule, compiled.tensors, pixels).logits
        for disabled in ((), ("prune-time-steps",), ("hoist-constants",), ("eliminate-membrane-accesses",))
        for compiled in [compile_graph(graph, target, disabled=frozenset(disabled))]
    ]
    for other in logits[1:]:
        np.testing.assert_array_equal(other, logits[0])


def test_without_images_nothing_is_calibrated() -> None:
    seen: dict[str, Graph] = {}
    run_passes(spike_residual(), PIPELINE, Target(EDGE), observe=seen.__setitem__)
    assert seen["calibrate"] is seen["lower-attention"]


def test_the_same_images_give_the_same_bytes(digits: Source, training_digits: NDArray[np.uint8]) -> None:
    first, second = (four_bits(digits, training_digits) for _ in range(2))
    assert first.schedule == second.schedule
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes()


def four_bits(digits: Source, calibration: NDArray[np.uint8] | None) -> Compiled:
    return compile_graph(digits.graph, Target(EDGE, weight_bits=4, calibration=calibration))


def test_calibrated_four_bits_keep_the_digits(digits: Source, training_digits: NDArray[np.uint8]) -> None:
    """At most 2 points below float, and logits nearer to the float ones than those of naive rounding."""
    errors = []
    for calibration in (training_digits, None):
        compiled = four_bits(digits, calibration)
        logits = interpret(compiled.schedule, compiled.tensors, digits.images.astype(np.int64)).logits.mean(0)
        errors.append(np.abs(logits * compiled.schedule.output.scale - digits.float_logits).mean())
        if calibration is not None:
            right = (logits.argmax(1) == digits.labels).mean()
            assert right >= (digits.float_logits.argmax(1) == digits.labels).mean() - 0.02
    calibrated, naive = errors
    assert calibrated < 0.95 * naive


def test_a_layer_may_have_bits_of_its_own(digits: Source) -> None:
    target = replace(Target(EDGE), layer_weight_bits={"blocks.0.mlp.fc1.linear": 4})
    compiled = compile_graph(digits.graph, target)
    largest = {name: int(np.abs(tensor).max()) for name, tensor in compiled.tensors.items() if name.endswith(".weight")}
    assert largest.pop("blocks.0.mlp.fc1.linear.weight") == 7
    assert set(largest.values()) == {127}
