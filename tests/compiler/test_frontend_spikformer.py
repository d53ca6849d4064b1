"""Checkpoints of the field's own repositories compute in the graph what they compute at home; bad ones are refused."""

import argparse
import dataclasses
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtss.compiler.cli import main
from dtss.compiler.frontend.options import Architecture, ReadOptions
from dtss.compiler.frontend.source import read_source
from dtss.compiler.frontend.spikformer import graph_of
from dtss.compiler.frontend.spikformer_file import Network, read_network
from dtss.compiler.frontend.spikformer_forward import source_logits
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Lif
from dtss.compiler.schedule import io
from tests.compiler import official_networks as official
from tests.compiler.official_networks import Official, busy, old_names
from tests.compiler.refusals import assert_refused

Capture = pytest.CaptureFixture[str]

# (code, its --arch, the side of the images it is tried on)
CODES: dict[str, tuple[type[Official], str, int]] = {
    "spikformer-cifar": (official.SpikformerCifar, "spikformer", 16),
    "spikformer-imagenet": (official.SpikformerImageNet, "spikformer", 40),
    "spikformer-cml": (official.SpikformerCml, "spikformer-cml", 16),
    "spikingformer-cifar": (official.SpikingformerCifar, "spikingformer", 16),
    "spikingformer-imagenet": (official.SpikingformerImageNet, "spikingformer", 40),
    "spikingformer-cml-cifar": (official.SpikingformerCmlCifar, "spikingformer-cml", 16),
    "spikingformer-cml-imagenet": (official.SpikingformerCmlImageNet, "spikingformer-cml", 72),
    "spikingjelly-4": (official.SpikingJelly, "spikformer", 16),
    "spikingjelly-16": (official.SpikingJellyImageNet, "spikformer", 72),
}


@pytest.fixture
def _float64() -> Iterator[None]:
    """Doubles, so that two orders of summation do not differ by a spike."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def cifar() -> dict[str, Tensor]:
    """The state_dict of a small Spikformer of the CIFAR code."""
    return dict(busy(official.SpikformerCifar(), 16).state_dict())


@pytest.fixture(scope="module")
def spikingformer() -> dict[str, Tensor]:
    return dict(busy(official.SpikingformerCifar(), 16).state_dict())


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network_in(path: Path, arch: str, **options: Any) -> Network:
    return read_network(path, ReadOptions(arch=Architecture.parse(arch), **options))


def images_of(side: int, count: int = 2, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def normalised(network: Network, pixels: NDArray[np.uint8]) -> Tensor:
    mean, std = np.array(network.preprocess.mean), np.array(network.preprocess.std)
    return torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).copy())


# What a network computes


def assert_computes_the_same(model: Official, network: Network, pixels: NDArray[np.uint8]) -> None:
    """Every spike of every LIF at every step, and the logits: graph, source network and oracle."""
    images = normalised(network, pixels)
    graph = graph_of(network)
    emitted: dict[str, dict[int, Tensor]] = {}
    module = FloatModule(
        graph, np.float64, lambda lif, step, spikes: emitted.setdefault(lif, {}).update({step: spikes})
    )
    watched: dict[str, list[Tensor]] = {}
    source = source_logits(
        network, pixels, torch.float64, lambda lif, spikes: watched.setdefault(lif, []).append(spikes)
    )
    model.spikes.clear()
    with torch.no_grad():
        expected = model.double()(images).numpy()
        logits = module(images)[0].numpy()
    assert set(emitted) == set(watched) == set(model.spikes) == {n.name for n in graph.nodes if isinstance(n.op, Lif)}
    rates = []
    for lif, spikes in model.spikes.items():
        of_oracle = spikes.unflatten(0, (official.STEPS, -1))
        of_graph = torch.stack([emitted[lif][step] for step in range(official.STEPS)])
        assert torch.equal(of_graph, of_oracle), f"{lif}: the graph"
        assert torch.equal(torch.cat(watched[lif], 1), of_oracle), f"{lif}: the source network"
        rates.append(float(of_oracle.mean()))
    assert min(rates) > 0 and 0.05 < np.mean(rates) < 0.6
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(source, expected, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("code", CODES)
def test_every_spike_is_that_of_the_official_network(code: str, tmp_path: Path) -> None:
    kind, arch, side = CODES[code]
    model = busy(kind(), side)
    torch.save(model.state_dict(), tmp_path / "official.pth")
    network = network_in(tmp_path / "official.pth", arch, heads=2, image_size=(side, side))
    assert_computes_the_same(model, network, images_of(side))


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("code", ["spikformer-cifar", "spikingformer-imagenet", "spikingjelly-4"])
def test_parametric_neurons_keep_their_trained_decay(code: str, tmp_path: Path) -> None:
    kind, arch, side = CODES[code]
    model = kind()
    model.trained_decay = True
    torch.save(busy(model, side).state_dict(), tmp_path / "plif.pth")
    network = network_in(tmp_path / "plif.pth", arch, heads=2, image_size=(side, side))
    neurons = [node.op.neuron for node in graph_of(network).nodes if isinstance(node.op, Lif)]
    gains = {neuron.gain for neuron in neurons if hasattr(neuron, "gain")}
    assert gains == {1 / (1 + np.exp(-0.4))}
    assert_computes_the_same(model, network, images_of(side))


def test_neurons_are_those_of_spikingjelly() -> None:
    """The oracle's own LIF against the library, where it is installed."""
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    current = torch.randint(-4, 9, (official.STEPS, 500)) / 4.0  # ties at both thresholds
    for threshold in (1.0, 0.5):
        lif = neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=threshold, v_reset=0.0, step_mode="m")
        assert torch.equal(official.Fire(threshold, False)(current), lif(current))
    parametric = neuron.ParametricLIFNode(init_tau=2.0, decay_input=True, v_reset=0.0, step_mode="m")
    parametric.w.data.fill_(0.4)
    assert torch.equal(official.Fire(1.0, True)(current), parametric(current))


def test_nodes_bear_the_names_of_the_checkpoint(cifar: dict[str, Tensor], work: Path) -> None:
    torch.save(cifar, "x.pth")
    names = {node.name for node in graph_of(network_in(Path("x.pth"), "spikformer", image_size=(16, 16))).nodes}
    layers = {name.rpartition(".")[0] for name in cifar if ".norm" not in name}
    assert layers <= names
    assert names - layers - {name.replace("_bn", "_lif") for name in layers} == {
        "image", "patch_embed.maxpool2", "patch_embed.maxpool3", "patch_embed.add", "head.token_sum",
        *(f"block.{i}.{name}" for i in (0, 1) for name in ("attn.product", "attn.attn_lif", "attn.add", "mlp.add")),
    }  # fmt: skip


# Where the state_dict is, and what it calls its tensors


def timm(state: dict[str, Tensor], **arguments: Any) -> dict[str, Any]:
    """As timm's CheckpointSaver writes it."""
    return {
        "epoch": 3, "arch": "spikformer", "state_dict": state, "version": 2, "metric": 95.5,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3}]},
        "args": argparse.Namespace(opt="adamw", **arguments), "amp_scaler": {"scale": 65536.0},
    }  # fmt: skip


NESTINGS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "state_dict of timm": timm,
    "model": lambda state: {"model": state, "epoch": 3},
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "module. of timm": lambda state: timm({f"module.{name}": tensor for name, tensor in state.items()}),
    "_orig_mod.": lambda state: {"state_dict": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}},
    "module._orig_mod.": lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
    "old SpikingJelly": old_names,
    "old SpikingJelly, module.": lambda state: {f"module.{name}": tensor for name, tensor in old_names(state).items()},
    "ordered": lambda state: torch.nn.Module.state_dict(busy(official.SpikingformerCifar(), 16)),
    "double": lambda state: {name: tensor.double() for name, tensor in state.items()},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_state_dict_is_found_wherever_it_is(spikingformer: dict[str, Tensor], work: Path, nesting: str) -> None:
    torch.save(spikingformer, "plain.pth")
    torch.save(NESTINGS[nesting](spikingformer), "nested.pth")
    plain, nested = (network_in(Path(name), "spikingformer") for name in ("plain.pth", "nested.pth"))
    assert plain.tensors.keys() == nested.tensors.keys()
    assert all(torch.equal(tensor.float(), nested.tensors[name].float()) for name, tensor in plain.tensors.items())
    assert not any("norm1" in name or "num_batches" in name for name in plain.tensors)


def test_moving_average_is_read_when_asked_for(cifar: dict[str, Tensor], work: Path) -> None:
    average = {name: tensor + 1 if name == "head.bias" else tensor for name, tensor in cifar.items()}
    torch.save(timm(cifar) | {"state_dict_ema": average}, "x.pth.tar")
    last, ema = (network_in(Path("x.pth.tar"), "spikformer", ema=ema) for ema in (False, True))
    assert torch.equal(last.tensors["head.bias"] + 1, ema.tensors["head.bias"])
    assert "the file holds a moving average, too: --ema reads it" in last.notes
    assert not any("--ema" in note for note in ema.notes)


# What the tensors tell, and what they do not


@pytest.mark.parametrize("code", CODES)
def test_sizes_are_those_of_the_tensors(code: str, work: Path) -> None:
    kind, arch, side = CODES[code]
    torch.save(busy(kind(dim=64, depth=3, classes=7), side).state_dict(), "x.pth")
    network = network_in(Path("x.pth"), arch, image_size=(side, side))
    sizes = network.sizes
    assert (sizes.in_channels, sizes.dim, sizes.depth, sizes.classes, sizes.hidden) == (3, 64, 3, 7, 128)
    assert sizes.stem_channels[:4] == (8, 16, 32, 64)
    assert network.name == f"{arch}-3-64"
    network_in(Path("x.pth"), f"{arch}-3-64", image_size=(side, side))


@pytest.mark.parametrize(
    ("code", "classes", "side", "heads"),
    [
        ("spikformer-cifar", 10, 32, 2),
        ("spikformer-imagenet", 10, 224, 8),
        ("spikingformer-cifar", 100, 32, 2),
        ("spikingformer-imagenet", 1000, 224, 8),
        ("spikingformer-cml-cifar", 10, 32, 2),
        ("spikingformer-cml-imagenet", 1000, 224, 8),
        ("spikingjelly-4", 10, 32, 2),
        ("spikingjelly-16", 1000, 224, 2),
    ],
)
def test_what_the_file_does_not_say_is_as_the_code_has_it(
    code: str, classes: int, side: int, heads: int, work: Path
) -> None:
    """Which of two stems with the same names it is follows from the size of the images."""
    kind, arch, tried = CODES[code]
    torch.save(busy(kind(dim=64, depth=1, classes=classes), tried).state_dict(), "x.pth")
    network = network_in(Path("x.pth"), arch)
    assert (network.image_size, network.heads, network.time_steps) == ((side, side), heads, 4)
    colours = "CIFAR" if side == 32 else "ImageNet"
    assert network.notes[1:] == (
        f"{heads} heads (the code's own, see --heads), 4 time steps (the code's own, see --time-steps)",
        (
            f"images {side}×{side}×3 (the code's own, see --image-size), "
            f"mean and std (of {colours}: the code's own, see --mean and --std)"
        ),
    )
    pools = [node for node in graph_of(network).nodes if type(node.op).__name__ == "MaxPool"]
    assert len(pools) == (2 if side == 32 else 4)


def test_arguments_in_the_file_say_what_tensors_do_not(cifar: dict[str, Tensor], work: Path) -> None:
    arguments = {"num_heads": 4, "time_step": 6, "img_size": 24, "mean": [0.5, 0.4, 0.3], "std": (0.3, 0.2, 0.1)}
    torch.save(timm(cifar, **arguments), "x.pth.tar")
    network = network_in(Path("x.pth.tar"), "spikformer")
    assert (network.heads, network.time_steps, network.image_size) == (4, 6, (24, 24))
    assert (network.preprocess.mean, network.preprocess.std) == ((0.5, 0.4, 0.3), (0.3, 0.2, 0.1))
    assert network.notes[1] == "4 heads (from the file's args), 6 time steps (from the file's args)"
    other = network_in(Path("x.pth.tar"), "spikformer", heads=2, time_steps=6, image_size=(16, 20))
    assert other.notes[1] == "2 heads (as said; the file's args have 4), 6 time steps (as said)"
    assert graph_of(other).nodes[0].shape == (16, 20, 3)


@pytest.mark.parametrize(
    "arguments", [{"num_heads": "2", "time_step": True, "img_size": -1, "mean": "0.5"}, {"num_heads": None, "mean": []}]
)
def test_arguments_that_make_no_sense_are_not_read(
    cifar: dict[str, Tensor], work: Path, arguments: dict[str, Any]
) -> None:
    torch.save(timm(cifar, **arguments), "x.pth.tar")
    network = network_in(Path("x.pth.tar"), "spikformer")
    assert (network.heads, network.time_steps, network.image_size) == (1, 4, (32, 32))


@pytest.mark.parametrize("text", ["resnet", "spikformer-4", "spikformer-4-384-2", "spikformer4-384", ""])
def test_unknown_architecture_is_a_usage_error(work: Path, capsys: Capture, text: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["x.pth", "--arch", text, "-o", "x.json"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"dtss-compile: error: argument --arch: {text!r} is not known; choose spikformer, spikformer-cml, "
        "spikingformer, spikingformer-cml, or add blocks and features as in spikformer-4-384"
    )


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("--heads", "0", "'0' is not a whole number from 1 to 999999999"),
        ("--time-steps", "-1", "'-1' is not a whole number from 1 to 999999999"),
        ("--image-size", "32,x", "'x' is not a whole number from 1 to 999999999"),
        ("--mean", "red", "'red' is not a list of numbers such as 0.5,0.5,0.5"),
    ],
)
def test_usage_error(work: Path, capsys: Capture, option: str, text: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["x.pth", "--arch", "spikformer", "-o", "x.json", option, text])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"dtss-compile: error: argument {option}: {sentence}"


# The command


def test_command_compiles_checks_and_stores_images(cifar: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    torch.save(timm(cifar, num_heads=2, img_size=16), "official.pth.tar")
    np.savez("images.npz", images=images_of(16, 160), labels=np.arange(160) % 5)
    arguments = ["official.pth.tar", "--arch", "spikformer-2-32", "--calibration", "images.npz", "-o", "x.json"]
    assert main([*arguments, "--check", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "spikformer-2-32 for edge-16x16",
        "source            Spikformer's CIFAR code: 2 blocks of 32 features, MLP of 64",
        "source            2 heads (from the file's args), 4 time steps (the code's own, see --time-steps)",
        (
            "source            images 16×16×3 (from the file's args), "
            "mean and std (of CIFAR: the code's own, see --mean and --std)"
        ),
        "images            120 calibrate, 32 held out go into the schedule",
        "operations        50, over 4 time steps",
    ]
    assert lines[16] == "checked           3 images"
    assert lines[17].startswith("graph, source     largest difference ") and lines[17].endswith("same class in 100.0%")
    assert lines[-1] == "written           x.json, x.safetensors"
    loaded = io.load(work / "x.json")
    np.testing.assert_array_equal(loaded.tensors[io.IMAGES], images_of(16, 160)[120:152])
    np.testing.assert_array_equal(loaded.tensors[io.LABELS], np.arange(120, 152) % 5)
    source = read_source(Path("official.pth.tar"), ReadOptions(arch=Architecture.parse("spikformer")))
    expected = source.exact_logits(images_of(16, 160)[120:152])
    same = np.abs(loaded.tensors[io.FLOAT_LOGITS] - expected).max(1) <= 1e-4  # float32 may move a spike
    assert same.mean() > 0.9
    assert loaded.schedule.reference.sample_accuracy is not None


def test_check_is_in_the_json_summary(spikingformer: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    torch.save(spikingformer, "x.pth")
    np.savez("images.npz", images=images_of(16), labels=np.array([1, 2]))
    arguments = ["x.pth", "--arch", "spikingformer", "--calibration", "images.npz", "--image-size", "16"]
    assert main([*arguments, "-o", "x.json", "--hardware", "wide-64x32", "--json", "--check"]) == 0
    summary = json.loads(capsys.readouterr().out)
    check = summary["check"]
    assert check["images"] == summary["stored_images"] == 2
    assert check["source_largest_difference"] < 1e-12 and check["source_top1_agreement"] == 1.0
    assert check["accuracy_change"] == check["integer_accuracy"] - check["float_accuracy"]
    assert check["spike_flip_rate"].keys() == check["spike_rate"].keys() == summary["active_steps"].keys()
    assert 0 < check["spike_flip_rate"]["patch_embed.block1_lif"] < 0.05 < check["spike_rate"]["patch_embed.block1_lif"]


def test_check_of_a_dtss_checkpoint(small_checkpoint: Path, work: Path, capsys: Capture) -> None:
    assert main([str(small_checkpoint), "-o", "x.json", "--json", "--check", "2"]) == 0
    check = json.loads(capsys.readouterr().out)["check"]
    assert (check["images"], check["source_top1_agreement"]) == (2, 1.0)
    assert check["source_largest_difference"] < 1e-9


def test_check_refuses_a_graph_that_is_not_the_source(
    cifar: dict[str, Tensor], work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(cifar, "x.pth")
    np.save("images.npy", images_of(16))
    monkeypatch.setattr(
        "dtss.compiler.frontend.spikformer.source_logits", lambda network, pixels, dtype: np.eye(len(pixels), 5) * 50
    )
    arguments = ["x.pth", "--arch", "spikformer", "--calibration", "images.npy", "--image-size", "16", "-o", "x.json"]
    before = sorted(work.iterdir())
    assert main([*arguments, "--check"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dtss-compile: error: x.pth: the float graph's logits differ from the source")
    assert captured.err.endswith("nothing was written; this is a bug of the front end: please report it\n")
    assert sorted(work.iterdir()) == before


def test_schedule_without_images_says_so(cifar: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    from dtss.hwsim.cli import main as simulate

    torch.save(cifar, "x.pth")
    assert main(["x.pth", "--arch", "spikformer", "--image-size", "16,16", "-o", "x.json"]) == 0
    assert "images            none in the schedule: give dtss-sim some with --images\n" in capsys.readouterr().out
    assert not {io.IMAGES, io.LABELS, io.FLOAT_LOGITS} & set(io.load(work / "x.json").tensors)
    assert simulate(["x.json"]) == 3
    assert capsys.readouterr().err == (
        "dtss-sim: error: x.json: no images are stored with this schedule; give some with --images FILE\n"
    )
    np.save("images.npy", images_of(16))
    assert simulate(["x.json", "--images", "images.npy", "--quiet"]) == 0


def test_float_images_are_clipped_with_a_warning(cifar: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    torch.save(cifar, "x.pth")
    images = np.zeros((2, 3, 16, 16), np.float32)
    images[0, 0, 0, 0] = 9.0
    np.save("images.npy", images)
    arguments = ["x.pth", "--arch", "spikformer", "--image-size", "16", "--calibration", "images.npy"]
    assert main([*arguments, "-o", "x.json", "--quiet"]) == 0
    assert capsys.readouterr().err == (
        "dtss-compile: warning: images.npy: 1 input values lie outside pixels 0 … 255; clipped\n"
    )


# Refusals


AGAIN = "copy or download it again"
Change = Callable[[dict[str, Any]], object]


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploited",)


def delete(*names: str) -> Change:
    return lambda state: [state.pop(name) for name in names]


def poison(name: str, value: float) -> Change:
    def change(state: dict[str, Any]) -> None:
        state[name] = state[name].clone()
        state[name].view(-1)[1] = value

    return change


def put(name: str, tensor: object) -> Change:
    return lambda state: state.update({name: tensor})


def renamed(old: str, new: str) -> Change:
    return lambda state: [state.update({name.replace(old, new): state.pop(name)}) for name in list(state)]


DOCS = "docs/front-ends.md lists"
CIFAR = "Spikformer's CIFAR code"

BAD_STATES: dict[str, tuple[Change, int, str]] = {
    "missing keys": (
        delete("head.bias", "block.1.attn.k_bn.bias", "patch_embed.rpe_bn.running_var"),
        3,
        f"x.pth: has no patch_embed.rpe_bn.running_var, block.1.attn.k_bn.bias, head.bias; {CIFAR} needs them; {AGAIN}",
    ),
    "missing first key": (
        delete("patch_embed.proj_conv2.weight"),
        3,
        f"x.pth: has no patch_embed.proj_conv2.weight; {CIFAR} needs it; {AGAIN}",
    ),
    "extra keys": (
        put("block.0.attn.relative_position", torch.zeros(4)),
        4,
        f"x.pth: has block.0.attn.relative_position, which {CIFAR} does not read; {DOCS} what is read",
    ),
    "block missing": (
        renamed("block.1.", "block.7."),
        3,
        f"x.pth: has the blocks 0, 7; blocks count from 0 without a gap; {AGAIN}",
    ),
    "NaN": (
        poison("block.0.mlp.fc1_linear.weight", float("nan")),
        3,
        (
            "x.pth: block.0.mlp.fc1_linear.weight: 1 of 2048 values are NaN or infinite; "
            "training diverged: use an earlier epoch"
        ),
    ),
    "infinity": (
        poison("patch_embed.proj_bn.running_mean", float("-inf")),
        3,
        (
            "x.pth: patch_embed.proj_bn.running_mean: 1 of 4 values are NaN or infinite; "
            "training diverged: use an earlier epoch"
        ),
    ),
    "negative variance": (
        poison("block.1.attn.proj_bn.running_var", -0.1),
        3,
        (
            "block.1.attn.proj_bn: 1 of 32 variances are 0 or below; "
            "the checkpoint is damaged, or the norm never saw a batch: train it again"
        ),
    ),
    "zero variance": (
        put("patch_embed.rpe_bn.running_var", torch.zeros(32)),
        3,
        (
            "patch_embed.rpe_bn: 32 of 32 variances are 0 or below; "
            "the checkpoint is damaged, or the norm never saw a batch: train it again"
        ),
    ),
    "wrong shape": (
        put("block.0.attn.q_linear.weight", torch.zeros(32, 31)),
        3,
        "x.pth: block.0.attn.q_linear.weight: found torch.float32 [32, 31]; expected floats of shape [32, 32]",
    ),
    "integers": (
        put("head.bias", torch.zeros(5, dtype=torch.int64)),
        3,
        "x.pth: head.bias: found torch.int64 [5]; expected floats of shape [5]",
    ),
    "absurd size": (
        put("head.weight", torch.zeros(1, 1).expand(2_000_000, 32)),
        3,
        "x.pth: head.weight: found torch.float32 [2000000, 32]; the largest size that is read is 1048576",
    ),
    "more than the file stores": (
        put("head.weight", torch.zeros(1, 1).expand(100_000, 32)),
        3,
        f"x.pth: head.weight: claims torch.float32 [100000, 32], and its file stores less; {AGAIN}",
    ),
    "scalar where a matrix is": (
        put("head.weight", torch.tensor(1.0)),
        3,
        "x.pth: head.weight: found torch.float32 []; expected 2 dimensions",
    ),
    "event camera": (
        put("patch_embed.proj_conv.weight", torch.zeros(4, 2, 3, 3)),
        4,
        (
            "x.pth: patch_embed.proj_conv.weight: reads 2 channels, the events of a DVS camera, whose frames differ at "
            "every time step; only images that stay the same are supported"
        ),
    ),
    "grey images": (
        put("patch_embed.proj_conv.weight", torch.zeros(4, 1, 3, 3)),
        3,
        "x.pth: reads 1 channels, whose mean and std are not known; give --mean and --std",
    ),
    "another network": (
        renamed("patch_embed.", "conv_proj."),
        4,
        (
            "x.pth: holds no Spikformer or Spikingformer of a known code base: found block.0.attn.k_bn.bias, "
            f"block.0.attn.k_bn.running_mean, block.0.attn.k_bn.running_var and 96 more; {DOCS} those that are read"
        ),
    ),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_bad_state_dict(cifar: dict[str, Tensor], work: Path, capsys: Capture, case: str) -> None:
    change, code, sentence = BAD_STATES[case]
    state = {name: cifar[name] for name in (sorted(cifar) if case == "another network" else cifar)}
    change(state)
    torch.save(state, "x.pth")
    assert_refused(capsys, code, ["x.pth", "--arch", "spikformer", "-o", "x.json"], sentence)


BAD_FILES: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "code": (
        lambda state: timm(state) | {"optimizer": Exploit()},
        (
            "x.pth: holds Python objects that would run code: found posix.system; "
            "a checkpoint holds tensors and plain values only; open it otherwise only if you trust it"
        ),
    ),
    "code in the arguments": (
        lambda state: timm(state, hook=Exploit()),
        (
            "x.pth: holds Python objects that would run code: found posix.system; "
            "a checkpoint holds tensors and plain values only; open it otherwise only if you trust it"
        ),
    ),
    "no state_dict": (
        lambda state: {"epoch": 3, "arch": "spikformer"},
        "x.pth: holds no tensors under state_dict or model: found epoch, arch; save the state_dict",
    ),
    "a list": (lambda state: list(state.values()), "x.pth: holds no state_dict, but list; save the model's state_dict"),
    "a dtss checkpoint": (
        lambda state: {"format": "dtss-checkpoint/1", "state_dict": state},
        "x.pth: says that it is 'dtss-checkpoint/1', not --arch's; leave --arch out",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(cifar: dict[str, Tensor], work: Path, capsys: Capture, case: str) -> None:
    content, sentence = BAD_FILES[case]
    torch.save(content(cifar), "x.pth")
    assert_refused(capsys, 3, ["x.pth", "--arch", "spikformer", "-o", "x.json"], sentence)
    assert not Path("exploited").exists()


def test_truncated_file(cifar: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    torch.save(cifar, "x.pth")
    Path("x.pth").write_bytes(Path("x.pth").read_bytes()[:20_000])
    assert_refused(
        capsys, 3, ["x.pth", "--arch", "spikformer", "-o", "x.json"],
        f"x.pth: not a checkpoint, or truncated: found 20000 bytes that are no whole archive; {AGAIN}",
    )  # fmt: skip


def test_damaged_file(cifar: dict[str, Tensor], work: Path, capsys: Capture) -> None:
    torch.save(cifar, "x.pth")
    content = bytearray(Path("x.pth").read_bytes())
    first_weight = next(iter(cifar.values())).numpy().tobytes()
    content[content.index(first_weight) + 5] ^= 0xFF
    Path("x.pth").write_bytes(content)
    assert main(["x.pth", "--arch", "spikformer", "-o", "x.json"]) == 3
    assert capsys.readouterr().err.startswith("dtss-compile: error: x.pth: damaged archive: found a wrong checksum of ")
    assert not Path("x.json").exists()


@pytest.mark.parametrize(
    ("arch", "sentence"),
    [
        ("spikingformer", "holds the tensors of Spikformer's CIFAR code, not of spikingformer; say --arch spikformer"),
        (
            "spikformer-cml",
            "holds the tensors of Spikformer's CIFAR code, not of spikformer-cml; say --arch spikformer",
        ),
        (
            "spikformer-8-512",
            "holds spikformer-2-32 (2 blocks of 32 features), not spikformer-8-512; say --arch spikformer-2-32",
        ),
        (None, "is no dtss checkpoint: it holds the tensors of Spikformer's CIFAR code; say --arch spikformer"),
    ],
)
def test_wrong_architecture(
    cifar: dict[str, Tensor], work: Path, capsys: Capture, arch: str | None, sentence: str
) -> None:
    torch.save(timm(cifar), "x.pth")
    said = [] if arch is None else ["--arch", arch]
    assert_refused(capsys, 3, ["x.pth", *said, "-o", "x.json"], f"x.pth: {sentence}")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--heads", "5"], 3, "--heads: 32 features do not split into 5 heads; choose a divisor"),
        (["--time-steps", "1000000"], 3, "--time-steps: found 1000000; give 1 to 64"),
        (
            ["--image-size", "32,1000000"],
            3,
            "--image-size: found 32×1000000; give a height and a width of 1 to 4096",
        ),
        (["--mean", "0.5"], 3, "--mean: found 1 values; the network reads 3 channels: one each"),
        (["--std", "0.5,0,0.5"], 3, "--std: found 0.5, 0, 0.5; give finite numbers, std above 0"),
        (["--mean", "nan,0,0"], 3, "--mean: found nan, 0, 0; give finite numbers, std above 0"),
        (
            ["--mean=-2,0,0"],
            4,
            ("patch_embed.proj_conv: zero padding of the normalised image is pixel [-510, 0, 0], and pixels are 0 to "
            "255; use a mean within the range of the pixels, or no padding"),
        ),
        (["--ema"], 3, ("x.pth: holds no tensors under state_dict_ema or model_ema: found epoch, arch, state_dict and "
         "5 more; save the state_dict")),
        (["--check"], 3, "--check: x.pth has no images of its own; give some with --calibration FILE"),
        (["--calibration", "no.npy"], 3, "no.npy: cannot be read (No such file or directory); check the path"),
        (
            ["--calibration", "small.npy"],
            3,
            "small.npy: uint8 array of shape (2, 8, 8, 3); give uint8 [B, 32, 32, 3]",
        ),
        (
            ["--image-size", "64"],
            4,
            ("memory.stationary_bytes: the network needs 32768 bytes at once, and edge-16x16 has 8192; use a hardware "
             "file with memory.stationary_bytes = 32768 and memory.spike_bytes = 65536 and "
             "memory.current_bytes = 786432 and memory.image_bytes = 12288 or more"),
        ),
    ],
)  # fmt: skip
def test_option_that_does_not_fit(
    cifar: dict[str, Tensor], work: Path, capsys: Capture, arguments: list[str], code: int, sentence: str
) -> None:
    torch.save(timm(cifar), "x.pth")
    np.save("small.npy", images_of(8))
    assert_refused(capsys, code, ["x.pth", "--arch", "spikformer", "-o", "x.json", *arguments], sentence)


def test_full_disk_leaves_nothing_behind(
    cifar: dict[str, Tensor], work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while the second file, the schedule, is written."""
    torch.save(cifar, "x.pth")
    calls: list[int] = []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(io.os, "fsync", full)  # type: ignore[attr-defined]
    assert_refused(
        capsys, 3, ["x.pth", "--arch", "spikformer", "--image-size", "16", "-o", "x.json"],
        "x.json: cannot be written (No space left on device); nothing was changed; free space or choose another place",
    )  # fmt: skip


# What a dtss checkpoint says itself


def rewritten(source: Path, change: Callable[[dict[str, Any]], object]) -> None:
    payload = torch.load(source, weights_only=True)
    change(payload)
    torch.save(payload, "x.pt")


def all_off(payload: dict[str, Any]) -> None:
    payload["config"]["minimum_steps"] = 0
    for name, tensor in payload["state_dict"].items():
        if name.endswith("mask.score"):
            tensor.zero_()


def negative_variance(payload: dict[str, Any]) -> None:
    payload["state_dict"]["stem.1.norm.running_var"][0] = -1.0


DTSS_REFUSALS: dict[str, tuple[Change, list[str], int, str]] = {
    "masks all off": (
        all_off,
        [],
        4,
        (
            "x.pt: its time-step masks cut every way from the image to the logits, so all images get the same answer; "
            "train it again with a smaller mask loss, or keep a first step in every layer (minimum_steps)"
        ),
    ),
    "other time steps": (
        lambda payload: None,
        ["--time-steps", "8"],
        3,
        (
            "--time-steps: found 8, and the time-step masks of x.pt were trained for 4; "
            "leave it out, or train with other time_steps"
        ),
    ),
    "mask of another length": (
        lambda payload: payload["state_dict"].update({"rpe.lif.mask.score": torch.ones(7)}),
        [],
        3,
        (
            "x.pt: state_dict: rpe.lif.mask.score: wrong shape or type: found torch.float32 [7]; "
            "config 'digits' needs torch.float32 [4]"
        ),
    ),
    "heads": (
        lambda payload: None,
        ["--heads", "2"],
        3,
        "--heads: x.pt is a dtss checkpoint, which says it itself; leave it out",
    ),
    "variance": (
        negative_variance,
        [],
        3,
        (
            "stem.1.norm: 1 of 8 variances are 0 or below; "
            "the checkpoint is damaged, or the norm never saw a batch: train it again"
        ),
    ),
    "absurd depth": (
        lambda payload: payload["config"].update(depth=10**9),
        [],
        3,
        "x.pt: config: depth: absurd size: found 1000000000; give at most 256",
    ),
    "absurd time": (
        lambda payload: payload["config"].update(time_steps=10**12),
        [],
        3,
        "x.pt: config: time_steps: absurd size: found 1000000000000; give at most 1048576",
    ),
}


@pytest.mark.parametrize("case", DTSS_REFUSALS)
def test_bad_dtss_checkpoint(small_checkpoint: Path, work: Path, capsys: Capture, case: str) -> None:
    change, arguments, code, sentence = DTSS_REFUSALS[case]
    rewritten(small_checkpoint, change)
    assert_refused(capsys, code, ["x.pt", "-o", "x.json", *arguments], sentence)


def test_same_time_steps_may_be_said(small_checkpoint: Path, work: Path) -> None:
    assert main([str(small_checkpoint), "-o", "x.json", "--quiet", "--time-steps", "4"]) == 0


def test_calibration_images_reach_the_source(small_checkpoint: Path, work: Path) -> None:
    images = np.random.default_rng(0).integers(0, 17, (40, 8, 8, 1), dtype=np.uint8)
    np.save("images.npy", images)
    source = read_source(small_checkpoint, ReadOptions(calibration=Path("images.npy")))
    assert source.calibration is not None
    np.testing.assert_array_equal(source.calibration.pixels, images)
    assert len(source.images) == 5
    assert dataclasses.replace(source, labels=None).reference().sample_accuracy is None
