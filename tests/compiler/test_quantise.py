"""Integers that mean what the float network meant: thresholds with their ties, leaks, pixels, shared scales."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.ir import (
    AttentionProduct,
    Convolution,
    FloatNeuron,
    Graph,
    IntegerNeuron,
    Lif,
    Linear,
    Node,
)
from dtss.compiler.passes.base import Pass, Target
from dtss.compiler.passes.compose_linear_maps import ComposeLinearMaps
from dtss.compiler.passes.fold_batch_norm import FoldBatchNorm
from dtss.compiler.passes.fold_preprocessing import FoldPreprocessing
from dtss.compiler.passes.lower_attention import LowerAttention
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.passes.quantise import Quantise, current_nets, integer_leak
from dtss.compiler.pipeline import compile_graph
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import interpret
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak, lif_step
from tests.compiler.random_graphs import graphs
from tests.compiler.small_networks import PIXELS, SPIKING_JELLY

TARGET = Target(load_hardware("edge-16x16"))
LOWER: tuple[Pass, ...] = (FoldBatchNorm(), ComposeLinearMaps(), FoldPreprocessing(), LowerAttention())


def lowered(graph: Graph) -> Graph:
    return run_passes(graph, LOWER, TARGET)


def quantised(graph: Graph) -> Graph:
    return run_passes(graph, (*LOWER, Quantise()), TARGET)


def neuron_of(node: Node) -> IntegerNeuron:
    assert isinstance(node.op, Lif)
    assert isinstance(node.op.neuron, IntegerNeuron)
    return node.op.neuron


@pytest.mark.parametrize(
    ("leak", "integer"),
    [
        (0.5, ShiftLeak(1)),
        (0.75, ShiftLeak(2)),
        (1 - 2**-9, ShiftLeak(9)),
        (0.9, FixedLeak(3686, 12)),
        (0.25, FixedLeak(1024, 12)),
        (0.0, FixedLeak(0, 0)),
        (1.0, FixedLeak(1, 0)),
    ],
)
def test_leak_is_a_shift_where_it_can_be(leak: float, integer: Leak) -> None:
    assert integer_leak(leak) == integer


def one_neuron(neuron: FloatNeuron, largest_weight: float = 64.0) -> IntegerNeuron:
    """The neuron behind one linear layer whose LSB is largest_weight/64/4."""
    build = GraphBuilder("one", 2, PIXELS)
    current = build.linear("linear", build.image(1, 1, 1), Linear(np.array([[largest_weight]]), None))
    value = build.lif("lif", current, neuron, "mlp", (1, 1))
    graph = build.finish(build.linear("head", value, Linear(np.ones((1, 1)), None)), ("a",))
    return neuron_of(quantised(graph).node("lif"))


@pytest.mark.parametrize(
    ("threshold", "gain", "at_least", "above"),
    [(1.0, 1.0, 4, 5), (1.1, 1.0, 5, 5), (1.0, 0.5, 8, 9), (0.125, 1.0, 1, 1), (0.75, 1.0, 3, 4), (0.75, 0.25, 12, 13)],
)
def test_threshold_keeps_the_tie_on_its_side(threshold: float, gain: float, at_least: int, above: int) -> None:
    """s = 1/4: θ = ⌈V/(g·s)⌉ for ≥ and ⌊V/(g·s)⌋ + 1 for >; R = round(V/(g·s)) is its own field."""
    neuron = FloatNeuron(0.5, gain, threshold, ">=", "soft", 0.0, 0.0)
    weak, strict = one_neuron(neuron), one_neuron(replace(neuron, comparison=">"))
    assert weak.threshold.tolist() == [at_least]
    assert strict.threshold.tolist() == [above]
    assert weak.reset_to.tolist() == strict.reset_to.tolist() == [round(threshold / gain * 4)]


@given(st.floats(0.01, 9), st.floats(0.01, 2), st.floats(0.01, 300), st.sampled_from([">", ">="]))
@settings(max_examples=60, deadline=None)
def test_threshold_is_the_smallest_integer_that_fires(
    threshold: float, gain: float, weight: float, comparison: str
) -> None:
    neuron = FloatNeuron(0.5, gain, threshold, ">" if comparison == ">" else ">=", "hard", 0.0, 0.0)
    found = int(one_neuron(neuron, weight).threshold[0])
    unit = Fraction(gain) * Fraction(weight) / 64 / 4

    def fires(potential: int) -> bool:
        exact = potential * unit
        return exact > Fraction(threshold) if comparison == ">" else exact >= Fraction(threshold)

    assert fires(found)
    assert not fires(found - 1)


def test_hard_reset_and_initial_state_are_scaled() -> None:
    neuron = one_neuron(FloatNeuron(0.5, 0.5, 1.0, ">=", "hard", -0.25, 0.75))
    assert (neuron.reset_to.tolist(), neuron.initial.tolist()) == ([-2], [6])


def attention_graph(time_steps: int, neuron: FloatNeuron, channels: int = 4, heads: int = 2) -> Graph:
    build = GraphBuilder("attention", time_steps, PIXELS)
    every = (1,) * time_steps
    identity = Linear(np.eye(channels), None)
    image = build.image(2, 3, channels)
    lifs = [build.lif(f"{x}.lif", build.linear(x, image, identity), SPIKING_JELLY, "qkv", every) for x in "qkv"]
    value = build.lif("lif", build.attention("product", lifs[0], lifs[1], lifs[2], heads, 0.125), neuron, "attn", every)
    value = build.token_sum("sum", value)
    return build.finish(build.linear("head", value, Linear(np.ones((2, channels)), None)), ("a", "b"))


ATTENTION_NEURON = replace(SPIKING_JELLY, threshold=0.5)


@pytest.mark.parametrize("time_steps", [1, 2, 4, 6])
def test_attention_threshold_is_exact(time_steps: int) -> None:
    """½ / (½ · ⅛) = 8 counts, with one fraction bit for each leak after the first step."""
    graph = quantised(attention_graph(time_steps, ATTENTION_NEURON))
    product = graph.node("product").op
    assert isinstance(product, AttentionProduct)
    assert product.current_shift == time_steps - 1
    assert set(neuron_of(graph.node("lif")).threshold.tolist()) == {8 * 2 ** (time_steps - 1)}
    strict = quantised(attention_graph(time_steps, replace(ATTENTION_NEURON, comparison=">")))
    assert set(neuron_of(strict.node("lif")).threshold.tolist()) == {8 * 2 ** (time_steps - 1) + 1}


def test_attention_fraction_bits_grow_with_the_shift_of_the_leak() -> None:
    product = quantised(attention_graph(4, replace(ATTENTION_NEURON, leak=0.75, gain=0.25))).node("product").op
    assert isinstance(product, AttentionProduct)
    assert product.current_shift == 2 * 3


def both_attentions(seed: int, time_steps: int, density: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """(float spikes, integer spikes, ties) of random bits; the float LIF as SpikingJelly writes it."""
    tokens, channels, heads = 6, 4, 2
    graph = quantised(attention_graph(time_steps, ATTENTION_NEURON))
    product, neuron = graph.node("product").op, neuron_of(graph.node("lif"))
    assert isinstance(product, AttentionProduct)
    bits = np.random.default_rng(seed).random((3, time_steps, heads, tokens, channels // heads)) < density
    query, key, value = bits.astype(np.int64)
    counts = (query @ key.swapaxes(-1, -2)) @ value
    counts = counts.transpose(0, 2, 1, 3).reshape(time_steps, tokens, channels)
    floats, integers, ties = [], [], 0
    voltage, membrane = np.zeros((tokens, channels), np.float32), np.zeros((tokens, channels), np.int64)
    for step in range(time_steps):
        voltage = voltage + (np.float32(0.125) * counts[step].astype(np.float32) - voltage) / np.float32(2.0)
        ties += int((voltage == 0.5).sum())
        floats.append(voltage >= 0.5)
        voltage = np.where(voltage >= 0.5, np.float32(0.0), voltage)
        current = counts[step] << product.current_shift
        fires, membrane = lif_step(membrane, current, neuron.threshold, neuron.reset_to, neuron.leak, neuron.reset)
        integers.append(fires)
    return np.array(floats), np.array(integers), ties


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0.5, 1.0))
@settings(max_examples=100, deadline=None)
def test_integer_attention_fires_exactly_as_the_float_one(seed: int, time_steps: int, density: float) -> None:
    floats, integers, _ = both_attentions(seed, time_steps, density)
    np.testing.assert_array_equal(floats, integers)


def test_ties_of_the_attention_are_common_and_kept() -> None:
    runs = [both_attentions(seed, 4, 0.9) for seed in range(40)]
    assert sum(ties for _, _, ties in runs) > 100
    for floats, integers, _ in runs:
        np.testing.assert_array_equal(floats, integers)
        assert 0 < floats.mean() < 1


def image_graph(preprocess: Preprocess, seed: int) -> tuple[Graph, NDArray[np.float64], NDArray[np.float64]]:
    """A 3×3 convolution of the image and a LIF that hands its current on; its weight and bias."""
    random = np.random.default_rng(seed)
    weight, bias = random.normal(0, 1, (3, 3, 3, 2)), random.normal(0, 1, 3)
    build = GraphBuilder("image", 1, preprocess)
    current = build.convolution("conv", build.image(5, 4, 2), Convolution(weight, bias, 1, 1))
    value = build.lif("lif", current, replace(SPIKING_JELLY, gain=1.0), "sps", (1,))
    head = build.linear("head", build.token_sum("sum", value), Linear(np.ones((2, 3)), None))
    return build.finish(head, ("a", "b")), weight, bias


def padded_convolution(image: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    found: NDArray[np.float64] = np.einsum("yxcij,oijc->yxo", windows, weight)
    return found


@pytest.mark.parametrize("mean", [(0.25, 0.5), (0.3, 0.47), (0.0, 1.0)])
@pytest.mark.parametrize("seed", range(5))
def test_pixels_convolve_like_the_normalised_image(seed: int, mean: tuple[float, float]) -> None:
    """Interior: the rounding of weights and bias. Border: also the rounding of the mean to a pixel."""
    preprocess = Preprocess(pixel_scale=1 / 16, mean=mean, std=(0.5, 0.75), pixel_max=16)
    graph, weight, bias = image_graph(preprocess, seed)
    compiled = compile_graph(graph, TARGET)
    pixels = np.random.default_rng(seed).integers(0, 17, (1, 5, 4, 2))
    conv = compiled.graph.node("conv").op
    assert isinstance(conv, Convolution)
    scale = np.abs(weight / 16 / np.array([0.5, 0.75])).max((1, 2, 3)) / 127 / 4  # the LSB of each channel
    current = interpret(compiled.schedule, compiled.tensors, pixels).values["conv"][0][0] * scale
    normalised = (pixels[0] / 16 - np.array(mean)) / np.array([0.5, 0.75])
    error = np.abs(current - (padded_convolution(normalised, weight) + bias))
    pad = np.round(np.array(mean) * 16)
    assert conv.pad_value is not None
    assert conv.pad_value.tolist() == pad.tolist()
    rounding = 16 * 9 * 2 * 4 * scale / 2 + scale / 2  # each weight by half its LSB times a pixel; the bias by half
    off = np.abs(pad / 16 - np.array(mean)) / np.array([0.5, 0.75])
    border = (np.abs(weight) * off).sum((1, 2, 3))
    assert (error[1:-1, 1:-1] <= rounding + 1e-9).all()
    assert (error <= rounding + border + 1e-9).all()


@pytest.mark.parametrize(("mean", "pixel"), [((-0.1, 0.5), "[-2, 8]"), ((0.25, 1.5), "[4, 24]")])
def test_padding_that_is_no_pixel_is_refused(mean: tuple[float, float], pixel: str) -> None:
    graph, _, _ = image_graph(Preprocess(pixel_scale=1 / 16, mean=mean, std=(1.0, 1.0), pixel_max=16), 0)
    with pytest.raises(CompileError) as error:
        quantised(graph)
    assert str(error.value) == (
        f"conv: zero padding of the normalised image is pixel {pixel}, and pixels are 0 to 16; "
        "use a mean within the range of the pixels, or no padding"
    )


def test_products_that_are_added_share_one_scale() -> None:
    """LSBs 2^−7 and 2^−5 and two fraction bits: scale 2^−9, shifts 2 and 4, the same weights."""
    fine = np.array([[127.0, -64.0], [1.0, 127.0]]) / 2**7
    build = GraphBuilder("shared", 2, PIXELS)
    image = build.image(1, 1, 2)
    one = build.linear("fine", image, Linear(fine, np.array([0.5, -0.25])))
    other = build.linear("coarse", image, Linear(fine * 4, np.array([3.0, 2**-9])))
    value = build.lif("lif", build.add("add", one, other), SPIKING_JELLY, "mlp", (1, 1))
    graph = quantised(build.finish(build.linear("head", value, Linear(np.ones((2, 2)), None)), ("a", "b")))
    for name, shift, bias in (("fine", 2, [256, -128]), ("coarse", 4, [1536, 1])):
        product = graph.node(name).op
        assert isinstance(product, Linear)
        assert product.current_shift == shift
        assert product.weight.tolist() == [[127, -64], [1, 127]]
        assert product.bias is not None
        assert product.bias.tolist() == bias
    assert neuron_of(graph.node("lif")).threshold.tolist() == [1024, 1024]


def intervals_of_scale(floats: Node, integers: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds [O] of the LSB that rounds this float product to these integers."""
    assert isinstance(floats.op, Convolution | Linear)
    assert isinstance(integers.op, Convolution | Linear)
    outputs = len(floats.op.weight)
    real, whole = np.abs(floats.op.weight).reshape(outputs, -1), np.abs(integers.op.weight).reshape(outputs, -1)
    lowest = (real / (whole + 0.5)).max(1) / 2**integers.op.current_shift
    highest = np.where(whole > 0, real / np.maximum(whole - 0.5, 0.5), math.inf).min(1) / 2**integers.op.current_shift
    if floats.op.bias is not None and integers.op.bias is not None:
        real, whole = np.abs(floats.op.bias), np.abs(integers.op.bias)
        lowest = np.maximum(lowest, real / (whole + 0.5))
        highest = np.minimum(highest, np.where(whole > 0, real / np.maximum(whole - 0.5, 0.5), math.inf))
    return lowest, highest


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_one_scale_explains_every_weight_and_bias_of_a_net(graph: Graph) -> None:
    floats = lowered(graph)
    integers = quantised(graph)
    for net in current_nets(floats):
        names = [node.name for node in net if isinstance(node.op, Convolution | Linear)]
        if not names:
            continue
        lowest, highest = zip(*(intervals_of_scale(floats.node(n), integers.node(n)) for n in names), strict=True)
        assert (np.max(lowest, axis=0) <= np.min(highest, axis=0) * (1 + 1e-9)).all(), names
        for name in names:
            product = integers.node(name).op
            assert isinstance(product, Convolution | Linear)
            assert np.abs(product.weight).max() <= 127
            assert product.current_shift >= 0


def test_attention_added_to_a_current_is_refused() -> None:
    graph = attention_graph(2, ATTENTION_NEURON)
    build = GraphBuilder("sum", 2, PIXELS, list(graph.nodes[:-3]))
    added = build.add("add", "product", build.linear("linear", "q.lif", Linear(np.eye(4), None)))
    value = build.lif("lif", added, SPIKING_JELLY, "attn", (1, 1))
    with pytest.raises(CompileError) as error:
        quantised(build.finish(build.linear("head", value, Linear(np.ones((2, 4)), None)), ("a", "b")))
    assert str(error.value).endswith(": adds an attention product to another current; put a neuron between them")


@pytest.mark.parametrize(("bits", "shift"), [(8, 2), (6, 4), (4, 6), (2, 8)])
def test_thresholds_are_as_fine_for_narrow_weights(digits: Source, bits: int, shift: int) -> None:
    """A channel's largest weight has ten bits in the units of its threshold, whatever the weights have."""
    graph = compile_graph(digits.graph, Target(load_hardware("edge-16x16"), weight_bits=bits)).graph
    for node in graph.nodes:
        if isinstance(node.op, Linear | Convolution) and node.neuron is not None:
            assert node.op.current_shift == shift
