"""A network trained with rounded weights (dtss-train --quantise) is compiled to the integers it was trained with."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dtss.compiler.check_source import compare
from dtss.compiler.cli import main
from dtss.compiler.frontend.dtss import read
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import AttentionProduct
from dtss.compiler.schedule.hardware import load_hardware
from dtss.models.checkpoint import Checkpoint, load, save
from dtss.models.neurons import NEURON_FAMILIES
from dtss.models.spikformer import ConvUnit, LinearUnit, Residual, Spikformer
from dtss.models.weight_rounding import RoundedConv2d, RoundedLinear, integers
from tests.compiler.test_frontend_dtss import random_checkpoint

HARDWARE = load_hardware("edge-16x16")


def quantised_checkpoint(residual: Residual, bits: int, seed: int) -> Checkpoint:
    """Random weights; norms whose factors are of either sign, of very different size, and once 0."""
    checkpoint = random_checkpoint(residual, NEURON_FAMILIES["dtss"], seed)
    state = dict(checkpoint.state_dict)
    for name, tensor in state.items():
        if name.endswith("norm.weight"):
            signs = torch.randint(0, 2, tensor.shape) * 2 - 1
            state[name] = signs * torch.empty_like(tensor).uniform_(0.5, 1.5) * 2.0 ** int(torch.randint(-2, 3, ()))
    state["blocks.0.mlp.fc2.norm.weight"][3] = 0.0
    return dataclasses.replace(
        checkpoint, config=dataclasses.replace(checkpoint.config, weight_bits=bits), state_dict=state
    )


def trained_integers(model: Spikformer) -> dict[str, np.ndarray]:
    """Product → q, with the sign of BatchNorm's factor, the channels of a kernel last as the compiler has them."""
    found: dict[str, np.ndarray] = {}

    def add(name: str, product: RoundedConv2d | RoundedLinear, sign: torch.Tensor) -> None:
        assert product.grid is not None
        weight = product.weight.detach()
        signed = integers(weight, product.grid.lsb(weight)) * sign.view(-1, *(1,) * (weight.dim() - 1))
        found[name] = (signed.permute(0, 2, 3, 1) if signed.dim() == 4 else signed).numpy().astype(np.int64)

    for name, unit in model.named_modules():
        if isinstance(unit, ConvUnit):
            add(f"{name}.conv", unit.conv, unit.norm.weight.detach().sign())
        if isinstance(unit, LinearUnit):
            add(f"{name}.linear", unit.linear, unit.norm.weight.detach().sign())
    add("head", model.head, torch.ones(len(model.head.weight)))
    return found


def compiled_integers(compiled: Compiled) -> dict[str, np.ndarray]:
    return {
        name.removesuffix(".weight"): tensor
        for name, tensor in compiled.tensors.items()
        if name.endswith(".weight")
    }  # fmt: skip


def one_stage(checkpoint: Checkpoint) -> Checkpoint:
    """A stem of one stage: in a membrane residual its current, which comes from pixels, is added to the others."""
    config = dataclasses.replace(checkpoint.config, stem_channels=(8,), stem_pools=(True,))
    state = {name: tensor for name, tensor in checkpoint.state_dict.items() if name in Spikformer(config).state_dict()}
    state |= {name.replace("stem.1.", "stem.0."): tensor for name, tensor in checkpoint.state_dict.items()
              if name.startswith("stem.1.norm.")}  # fmt: skip
    return dataclasses.replace(
        checkpoint, config=config, state_dict={**state, "stem.0.conv.weight": torch.randn(8, 2, 3, 3)}
    )


@pytest.mark.parametrize("residual", ["spike", "membrane"])
@pytest.mark.parametrize(("bits", "seed", "stages"), [(2, 0, 2), (3, 1, 1), (4, 2, 2), (4, 3, 1), (6, 4, 2), (8, 5, 2)])
def test_integers_are_those_of_the_training(
    residual: Residual, bits: int, seed: int, stages: int, tmp_path: Path
) -> None:
    """Layer by layer, the first one included, whose pixels have two different steps."""
    path = tmp_path / "random.pt"
    checkpoint = quantised_checkpoint(residual, bits, seed)
    save(checkpoint if stages == 2 else one_stage(checkpoint), path)
    source = read(path)
    assert source.weight_bits == bits
    compiled = compile_graph(source.graph, Target(HARDWARE, weight_bits=bits))
    found, expected = compiled_integers(compiled), trained_integers(load(path).build_model())
    assert set(found) == set(expected)
    for name, weight in expected.items():
        np.testing.assert_array_equal(found[name], weight, name)
        assert compiled.graph.node(name).op.weight_bits == bits  # type: ignore[union-attr]  # a product
    assert compare(source, compiled, 4, "random").source_difference < 1e-9


@pytest.mark.parametrize("residual", ["spike", "membrane"])
def test_more_bits_keep_the_integers(residual: Residual, tmp_path: Path) -> None:
    path = tmp_path / "random.pt"
    save(quantised_checkpoint(residual, 4, 6), path)
    narrow, wide = (compile_graph(read(path).graph, Target(HARDWARE, weight_bits=bits)) for bits in (4, 8))
    for name, weight in compiled_integers(narrow).items():
        np.testing.assert_array_equal(compiled_integers(wide)[name], weight, name)


@pytest.mark.parametrize("residual", ["spike", "membrane"])
def test_fewer_bits_are_rounded_once_more(residual: Residual, tmp_path: Path) -> None:
    path = tmp_path / "random.pt"
    save(quantised_checkpoint(residual, 4, 7), path)
    for name, weight in compiled_integers(compile_graph(read(path).graph, Target(HARDWARE, weight_bits=3))).items():
        assert np.abs(weight).max() == 3, name


def test_calibration_finds_nothing_to_round(tmp_path: Path) -> None:
    path = tmp_path / "random.pt"
    save(quantised_checkpoint("spike", 4, 8), path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 6, 2), dtype=np.uint8)
    graph = read(path).graph
    plain, calibrated = (
        compiled_integers(compile_graph(graph, Target(HARDWARE, weight_bits=4, calibration=images)))
        for images in (None, pixels)
    )
    for name, weight in plain.items():
        np.testing.assert_array_equal(calibrated[name], weight, name)


@pytest.mark.parametrize(
    ("options", "bits", "line"),
    [
        ([], 4, "weight bits       4, as the network was trained"),
        (["--weight-bits", "4"], 4, "weight bits       4, as the network was trained"),
        (["--weight-bits", "6"], 6, "weight bits       6 by --weight-bits; the network was trained with 4"),
    ],
)
def test_the_checkpoint_says_how_many_bits(
    options: list[str], bits: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, schedule = tmp_path / "random.pt", tmp_path / "random.json"
    save(quantised_checkpoint("spike", 4, 9), checkpoint)
    assert main([str(checkpoint), "-o", str(schedule), *options]) == 0
    assert line in capsys.readouterr().out.splitlines()
    weighted = [node for node in io.load(schedule).schedule.products if not isinstance(node, AttentionProduct)]
    assert {node.weight_bits for node in weighted} == {bits}


def test_a_float_network_takes_the_arrays_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "float.pt"
    save(random_checkpoint("spike", NEURON_FAMILIES["dtss"], 0), checkpoint)
    assert main([str(checkpoint), "-o", str(tmp_path / "float.json")]) == 0
    assert "weight bits" not in capsys.readouterr().out
