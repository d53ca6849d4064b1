"""Batch norm and preprocessing fold away, and the float network computes what it did."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import BatchNorm, Convolution, Graph, Linear, MaxPool
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.fold_batch_norm import FoldBatchNorm
from dtss.compiler.passes.fold_preprocessing import FoldPreprocessing
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.schedule.format import Preprocess
from dtss.compiler.schedule.hardware import load_hardware
from tests.compiler.small_networks import DTSS, PIXELS, batch_norm, convolution, linear

TARGET = Target(load_hardware("edge-16x16"))


def logits_of(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Of every step [T, B, K]."""
    with torch.inference_mode():
        per_step: np.ndarray = FloatModule(graph, np.float64)(torch.from_numpy(images))[1].numpy()
    return per_step


def normed_network(random: np.random.Generator, preprocess: Preprocess, biases: bool, padding: int) -> Graph:
    """Convolution and linear layer, each with a batch norm of its own, a LIF between them."""

    def norm(channels: int) -> BatchNorm:
        scale, shift, mean = random.normal(size=(3, channels))
        return BatchNorm(scale, shift, mean, random.uniform(0.1, 2.0, channels), 1e-5)

    build = GraphBuilder("normed", 2, preprocess)
    op = Convolution(random.normal(size=(3, 3, 3, 2)), random.normal(size=3) if biases else None, 1, padding)
    current = build.batch_norm("norm1", build.convolution("conv", build.image(5, 4, 2), op), norm(3))
    spikes = build.lif("lif", current, DTSS, "sps", (1, 1))
    head = build.linear("head", build.token_sum("sum", spikes), Linear(random.normal(size=(2, 3)), None))
    return build.finish(build.batch_norm("norm2", head, norm(2)), ("a", "b"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_folded_norms_keep_the_logits(seed: int, biases: bool) -> None:
    random = np.random.default_rng(seed)
    preprocess = Preprocess(pixel_scale=1.0, mean=(0.0, 0.0), std=(1.0, 1.0), pixel_max=15)
    graph = normed_network(random, preprocess, biases, 1)
    folded = run_passes(graph, (FoldBatchNorm(),), TARGET)
    assert not any(isinstance(node.op, BatchNorm) for node in folded.nodes)
    images = random.normal(size=(3, 2, 5, 4))
    np.testing.assert_allclose(logits_of(folded, images), logits_of(graph, images), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(0, 15), st.integers(0, 15)),
    st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)),
    st.integers(0, 1),
)
def test_pixels_give_the_logits_of_the_normalised_image(
    seed: int, means: tuple[int, int], std: tuple[float, float], padding: int
) -> None:
    """Where the mean is a pixel, padding is exact too."""
    random = np.random.default_rng(seed)
    mean = (means[0] / 16, means[1] / 16)
    graph = normed_network(random, Preprocess(pixel_scale=1 / 16, mean=mean, std=std, pixel_max=15), True, padding)
    folded = run_passes(graph, (FoldBatchNorm(), FoldPreprocessing()), TARGET)
    pixels = random.integers(0, 16, (3, 2, 5, 4)).astype(np.float64)
    normalised = (pixels / 16 - np.reshape(mean, (2, 1, 1))) / np.reshape(std, (2, 1, 1))
    np.testing.assert_allclose(logits_of(folded, pixels), logits_of(graph, normalised), rtol=0, atol=1e-9)


def test_norm_that_is_not_behind_a_product_is_refused() -> None:
    build = GraphBuilder("bad", 1, PIXELS)
    current = build.convolution("conv", build.image(4, 4, 1), convolution(4, 1))
    pool = build.max_pool("pool", current, MaxPool(3, 2, 1))
    value = build.lif("lif", build.batch_norm("norm", pool, batch_norm(4)), DTSS, "sps", (1,))
    graph = build.finish(build.linear("head", value, linear(3, 4)), ("a", "b", "c"))
    sentence = r"^norm: is not the only reader of a convolution or linear layer; only such a batch norm can be folded$"
    with pytest.raises(CompileError, match=sentence):
        run_passes(graph, (FoldBatchNorm(),), TARGET)
