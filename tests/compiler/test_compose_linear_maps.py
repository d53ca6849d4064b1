"""A head on a residual of currents moves onto the spikes, and nothing changes but where it is multiplied."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.options import Architecture, ReadOptions
from dtss.compiler.frontend.spikformer import graph_of
from dtss.compiler.frontend.spikformer_file import read_network
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Convolution, Graph, Linear, MaxPool, TokenSum
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
    current_head,
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


@pytest.mark.parametrize("summed", [True, False])
def test_logits_stay_and_products_read_unsigned_values(summed: bool) -> None:
    graph = current_head(summed)
    images = torch.randn(5, 1, 4, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    moved = run_passes(graph, MOVE, WIDE)
    assert any(reads_currents(graph, node) for node in graph.nodes)
    assert not any(reads_currents(moved, node) for node in moved.nodes)
    np.testing.assert_allclose(logits_of(moved, images), logits_of(graph, images), rtol=0, atol=1e-12)


def test_terms_are_named_after_head_and_product() -> None:
    moved = run_passes(current_head(True), MOVE, WIDE)
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


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_residual_of_currents_keeps_its_logits(data: st.DataObject) -> None:
    """Branches of random kinds, masks and biases, added in any nesting, read by a head with or without a token sum."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def bias(outputs: int) -> np.ndarray | None:
        return random.normal(size=outputs) if data.draw(st.booleans()) else None

    build = GraphBuilder("random", data.draw(st.integers(1, 3)), PIXELS)
    current = build.convolution(
        "stem", build.image(3, 4, 1), Convolution(random.normal(size=(4, 3, 3, 1)), bias(4), 1, 1)
    )
    for index in range(data.draw(st.integers(1, 3))):
        bits = data.draw(st.lists(st.integers(0, 1), min_size=build.time_steps, max_size=build.time_steps))
        spikes = build.lif(f"lif{index}", current, DTSS, "mlp", tuple(bits))
        if data.draw(st.booleans()):
            op = Convolution(random.normal(size=(4, 3, 3, 4)), bias(4), 1, 1)
            branch = build.convolution(f"branch{index}", spikes, op)
        else:
            branch = build.linear(f"branch{index}", spikes, Linear(random.normal(size=(4, 4)), bias(4)))
        current = build.add(f"add{index}", current, branch) if index and data.draw(st.booleans()) else branch
    value = build.token_sum("sum", current) if data.draw(st.booleans()) else current
    graph = build.finish(build.linear("head", value, Linear(random.normal(size=(3, 4)), bias(3))), ("a", "b", "c"))
    moved = run_passes(graph, MOVE, WIDE)
    images = torch.from_numpy(random.normal(size=(2, 1, 3, 4)))
    assert not any(reads_currents(moved, node) for node in moved.nodes)
    np.testing.assert_allclose(logits_of(moved, images), logits_of(graph, images), rtol=0, atol=1e-9)


def test_switched_off_a_head_on_currents_is_refused_by_name() -> None:
    sentence = (
        r"^head: reads sum, which carries currents, and the array multiplies unsigned values only; "
        r"leave compose-linear-maps on$"
    )
    with pytest.raises(CompileError, match=sentence):
        compile_graph(current_head(), WIDE, disabled=frozenset({"compose-linear-maps"}))


@pytest.mark.parametrize("graph", [spike_residual(), membrane_residual()], ids=lambda graph: str(graph.network))
def test_switched_off_changes_nothing_without_such_a_head(graph: Graph) -> None:
    whole = compile_graph(graph, WIDE)
    without = compile_graph(graph, WIDE, disabled=frozenset({"compose-linear-maps"}))
    assert without.schedule.nodes == whole.schedule.nodes
