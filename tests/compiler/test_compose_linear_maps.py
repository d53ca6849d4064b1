"""A head on a residual of currents moves onto the spikes, and nothing changes but where it is multiplied."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.options import Architecture, ReadOptions
from dtss.compiler.frontend.spikformer import graph_of
from dtss.compiler.frontend.spikformer_file import read_network
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Graph, Linear, MaxPool, TokenSum
from dtss.compiler.graph.verify import reads_currents
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.compose_linear_maps import ComposeLinearMaps
from dtss.compiler.passes.fold_batch_norm import FoldBatchNorm
from dtss.compiler.passes.manager import run_passes
from dtss.compiler.pipeline import compile_graph
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.interpret import interpret
from dtss.hwsim.execute import execute
from tests.compiler.official_networks import SpikingformerCifar, SpikingformerImageNet, busy
from tests.compiler.small_networks import (
    DTSS,
    PIXELS,
    convolution,
    linear,
    mask,
    membrane_residual,
    spike_residual,
    weights,
)

WIDE = Target(load_hardware("wide-64x32"))
MOVE = (FoldBatchNorm(), ComposeLinearMaps())


def logits_of(graph: Graph, images: torch.Tensor) -> np.ndarray:
    """Of every step [T, B, K]."""
    with torch.inference_mode():
        per_step: np.ndarray = FloatModule(graph, np.float64)(images)[1].numpy()
    return per_step


def small_residual(summed: bool) -> Graph:
    """image → conv → (LIF → conv) + (LIF → linear with bias) → [token sum] → head."""
    build = GraphBuilder("small", 3, PIXELS)
    current = build.convolution("stem", build.image(4, 3, 1), convolution(4, 1))
    spikes = build.lif("lif1", current, DTSS, "sps", mask("111"))
    current = build.convolution("conv", spikes, convolution(4, 4))
    spikes = build.lif("lif2", current, DTSS, "mlp", mask("110"))
    current = build.add("add", current, build.linear("linear", spikes, linear(4, 4, bias=True)))
    if summed:
        current = build.token_sum("sum", current)
    return build.finish(build.linear("head", current, linear(3, 4, bias=True)), ("a", "b", "c"))


@pytest.mark.parametrize("summed", [True, False])
def test_logits_stay_and_products_read_unsigned_values(summed: bool) -> None:
    graph = small_residual(summed)
    images = torch.randn(5, 1, 4, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    moved = run_passes(graph, MOVE, WIDE)
    assert any(reads_currents(graph, node) for node in graph.nodes)
    assert not any(reads_currents(moved, node) for node in moved.nodes)
    np.testing.assert_allclose(logits_of(moved, images), logits_of(graph, images), rtol=0, atol=1e-12)


def test_terms_are_named_after_head_and_product() -> None:
    moved = run_passes(small_residual(True), MOVE, WIDE)
    assert [node.name for node in moved.nodes] == [
        "image", "stem", "lif1", "conv", "lif2",
        "head.conv.map", "head.conv", "head.linear.token_sum", "head.linear", "head",
    ]  # fmt: skip
    assert moved.output == "head"


def test_layers_in_a_row_become_one() -> None:
    build = GraphBuilder("row", 2, PIXELS)
    current = build.convolution("stem", build.image(4, 4, 1), convolution(4, 1))
    spikes = build.lif("lif", current, DTSS, "sps", mask("11"))
    value = build.linear("second", build.linear("first", spikes, linear(6, 4, bias=True)), linear(3, 6))
    graph = build.finish(value, ("a", "b", "c"))
    moved = run_passes(graph, MOVE, WIDE)
    assert [node.name for node in moved.nodes] == ["image", "stem", "lif", "second"]
    images = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=torch.manual_seed(0))
    np.testing.assert_allclose(logits_of(moved, images), logits_of(graph, images), rtol=0, atol=1e-12)


@pytest.mark.parametrize("graph", [spike_residual(), membrane_residual()], ids=lambda graph: str(graph.network))
def test_network_that_multiplies_spikes_alone_is_left_as_it_is(graph: Graph) -> None:
    folded = FoldBatchNorm().run(graph, WIDE)
    assert ComposeLinearMaps().run(folded, WIDE) is folded


def test_what_is_not_linear_is_refused() -> None:
    def network(pooled: bool) -> Graph:
        build = GraphBuilder("bad", 2, PIXELS)
        spikes = build.lif(
            "lif", build.convolution("stem", build.image(4, 4, 1), convolution(4, 1)), DTSS, "sps", mask("11")
        )
        current = build.convolution("conv", spikes, convolution(4, 4))
        if not pooled:
            return build.finish(build.convolution("next", current, convolution(4, 4)), tuple("abcd"))
        pool = build.max_pool("pool", current, MaxPool(3, 2, 1))
        return build.finish(build.linear("head", pool, Linear(weights(3, 4), None)), ("a", "b", "c"))

    with pytest.raises(CompileError, match=r"^next: reads conv, which carries currents; put a neuron between them$"):
        run_passes(network(pooled=False), MOVE, WIDE)
    sentence = r"^head: reads pool, which carries currents and is no sum of products; put a neuron between them$"
    with pytest.raises(CompileError, match=sentence):
        run_passes(network(pooled=True), MOVE, WIDE)


@pytest.mark.parametrize(("kind", "side"), [(SpikingformerCifar, 16), (SpikingformerImageNet, 40)])
def test_spikingformer_runs_in_integers(
    kind: type[SpikingformerCifar] | type[SpikingformerImageNet], side: int, tmp_path: Path
) -> None:
    """Golden model and simulator agree on every integer, and the integers are near the float network."""
    torch.save(busy(kind(), side).state_dict(), tmp_path / "x.pth")
    options = ReadOptions(arch=Architecture("spikingformer"), heads=2, image_size=(side, side))
    graph = graph_of(read_network(tmp_path / "x.pth", options))
    compiled = compile_graph(graph, WIDE)
    pixels = np.random.default_rng(0).integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    golden = interpret(compiled.schedule, compiled.tensors, pixels.astype(np.int64))
    quick = interpret(compiled.schedule, compiled.tensors, pixels.astype(np.int64), np.float64)
    for run in execute(compiled.schedule, compiled.tensors, pixels):
        for step, value in run.values.items():
            np.testing.assert_array_equal(value, golden.values[run.node.name][step], run.node.name)
            np.testing.assert_array_equal(quick.values[run.node.name][step], value, run.node.name)
    mean, std = np.array(graph.preprocess.mean), np.array(graph.preprocess.std)
    images = torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).copy())
    logits = golden.logits.mean(0) * compiled.schedule.output.scale
    expected = logits_of(graph, images).mean(0)
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.95


def test_head_of_spikingformer_reads_token_sums(tmp_path: Path) -> None:
    torch.save(busy(SpikingformerCifar(), 16).state_dict(), tmp_path / "x.pth")
    options = ReadOptions(arch=Architecture("spikingformer"), heads=2, image_size=(16, 16))
    moved = run_passes(graph_of(read_network(tmp_path / "x.pth", options)), MOVE, WIDE)
    branches = [f"block.{index}.{name}" for index in (0, 1) for name in ("attn.proj_conv", "mlp.mlp2_conv")]
    assert moved.node("head").inputs == ("head.patch_embed.block4_conv", *(f"head.{name}" for name in branches))
    assert all(isinstance(moved.inputs(moved.node(f"head.{name}"))[0].op, TokenSum) for name in branches)
    assert "block.1.mlp.add" not in moved.by_name and "block.1.mlp.mlp2_conv" not in moved.by_name
