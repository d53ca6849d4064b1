"""Every front end against every kind of bad input that it can meet: exit code, the whole message, nothing written.

Cases that a front end's own test file holds are not repeated here; where each one is:

                       dtss .pt            --arch              NIR                 torch module
    truncated          test_cli            test_..spikformer   test_frontend_nir   no file
    code in a pickle   test_cli            test_..spikformer   here                no file
    wrong architecture here                test_..spikformer   here                test_frontend_torch
    missing keys       here                test_..spikformer   test_frontend_nir   cannot be
    extra keys         here                test_..spikformer   here                cannot be
    NaN, infinity      test_cli, here      test_..spikformer   ..nir, here         here
    variance ≤ 0       here                test_..spikformer   no norms            here
    masks all off      test_..spikformer   no masks            no masks            here
    other T            test_..spikformer   no T of its own     no T of its own     here, test_frontend_torch
    unknown node       cannot be           test_..spikformer   test_frontend_nir   test_frontend_torch
    a cycle            cannot be           cannot be           test_frontend_nir   test_frontend_torch
    absurd sizes       here                here                here                here
    full disk          whole/test_full_disk, for every output of every command
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dtss.compiler
from dtss.compiler.cli import main
from dtss.compiler.schedule.errors import EXIT_BAD_INPUT, EXIT_UNSUPPORTED, EXIT_USAGE, UserError
from dtss.models.neurons import NeuronSpec
from dtss.models.spikformer import SpikformerConfig
from dtss.models.time_step_mask import MaskedLif, TimeStepMask
from dtss.models.vit import Vit
from tests.compiler import official_networks as official
from tests.compiler.refusals import assert_refused, contents
from tests.full_disk import REASON, full_disk

Capture = pytest.CaptureFixture[str]
State = dict[str, Any]
BILLION = 10**9
AGAIN = "the checkpoint is damaged, or the norm never saw a batch: train it again"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploited",)


# Checkpoints of dtss-train


def set_state(name: str, tensor: Tensor) -> Callable[[State], object]:
    return lambda payload: payload["state_dict"].update({name: tensor})


def set_config(**values: object) -> Callable[[State], object]:
    return lambda payload: payload["config"].update(values)


def remove(*names: str) -> Callable[[State], object]:
    return lambda payload: [payload["state_dict"].pop(name) for name in names]


def many_samples(payload: State) -> None:
    payload["samples"] = {
        "images": torch.zeros((), dtype=torch.uint8).expand(BILLION, 8, 8, 1),
        "labels": torch.zeros((), dtype=torch.int64).expand(BILLION),
    }


def no_spikes(payload: State) -> None:
    """The same sizes as a plain ViT, as dtss-train --model vit writes them."""
    payload["config"].update(masked=False, spiking=False)
    payload["state_dict"] = Vit(msgspec.convert(payload["config"], SpikformerConfig)).state_dict()


DTSS: dict[str, tuple[Callable[[State], object], list[str], int, str]] = {
    "wrong architecture, named": (
        lambda payload: None, ["--arch", "spikformer"], EXIT_BAD_INPUT,
        "x.pt: says that it is 'dtss-checkpoint/1', not --arch's; leave --arch out",
    ),
    "wrong architecture, no spikes": (
        no_spikes, [], EXIT_UNSUPPORTED,
        "x.pt: a non-spiking ViT has no spikes to schedule; train with --model dtss or --model plain",
    ),
    "wrong architecture, other sizes": (
        set_config(classes=7), [], EXIT_BAD_INPUT,
        ("x.pt: state_dict: head.weight: wrong shape or type: found torch.float32 [10, 8]; "
        "config 'digits' needs torch.float32 [7, 8]"),
    ),
    "missing keys": (
        remove("head.bias", "rpe.conv.weight"), [], EXIT_BAD_INPUT,
        "x.pt: state_dict: tensors are missing: found no rpe.conv.weight, head.bias; config 'digits' needs them",
    ),
    "missing mask": (
        remove("rpe.lif.mask.score"), [], EXIT_BAD_INPUT,
        "x.pt: state_dict: tensors are missing: found no rpe.lif.mask.score; config 'digits' needs them",
    ),
    "extra key": (
        set_state("head.scale", torch.ones(1)), [], EXIT_BAD_INPUT,
        "x.pt: state_dict: tensors that the network has not: found head.scale; fix config 'digits' or drop them",
    ),
    "infinity": (
        set_state("stem.1.norm.running_mean", torch.full((8,), float("-inf"))), [], EXIT_BAD_INPUT,
        ("x.pt: state_dict: stem.1.norm.running_mean: not finite: found 8 NaN or infinite of 8 values; "
        "training diverged: train again with a smaller --lr"),
    ),
    "NaN in a mask": (
        set_state("rpe.lif.mask.score", torch.tensor([1.0, float("nan"), 0.0, 0.0])), [], EXIT_BAD_INPUT,
        ("x.pt: state_dict: rpe.lif.mask.score: not finite: found 1 NaN or infinite of 4 values; "
        "training diverged: train again with a smaller --lr"),
    ),
    "zero variance": (
        set_state("rpe.norm.running_var", torch.zeros(8)), [], EXIT_BAD_INPUT,
        f"rpe.norm: 8 of 8 variances are 0 or below; {AGAIN}",
    ),
    "absurd blocks": (
        set_config(depth=4096), [], EXIT_BAD_INPUT,
        "x.pt: config: depth: absurd size: found 4096; give at most 256",
    ),
    "absurd classes": (
        set_config(classes=BILLION), [], EXIT_BAD_INPUT,
        "x.pt: config: classes: absurd size: found 1000000000; give at most 1048576",
    ),
    "absurd images": (
        set_config(image_size=[8, BILLION]), [], EXIT_BAD_INPUT,
        "x.pt: config: image_size: absurd size: found 1000000000; give at most 1048576",
    ),
    "absurd time": (
        set_config(time_steps=2**63), [], EXIT_BAD_INPUT,
        "x.pt: config: time_steps: absurd size: found 9223372036854775808; give at most 1048576",
    ),
    "a weight that is not in the file": (
        set_state("head.weight", torch.zeros(()).expand(10, 8)), [], EXIT_BAD_INPUT,
        ("x.pt: state_dict: head.weight: more than its file stores: found torch.float32 [10, 8]; "
        "train it again with dtss-train"),
    ),
    "a weight on no device": (
        set_state("head.weight", torch.zeros(10, 8, device="meta")), [], EXIT_BAD_INPUT,
        ("x.pt: state_dict: head.weight: more than its file stores: found torch.float32 [10, 8]; "
        "train it again with dtss-train"),
    ),
    "images that are not in the file": (
        many_samples, [], EXIT_BAD_INPUT,
        ("x.pt: samples: images: more than its file stores: found torch.uint8 [1000000000, 8, 8, 1]; "
        "train it again with dtss-train"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DTSS)
def test_dtss_checkpoint(small_checkpoint: Path, work: Path, capsys: Capture, case: str) -> None:
    change, arguments, code, sentence = DTSS[case]
    payload = torch.load(small_checkpoint, weights_only=True)
    change(payload)
    torch.save(payload, "x.pt")
    assert_refused(capsys, code, ["x.pt", "-o", "x.json", *arguments], sentence)


# Checkpoints of other code


def put(name: str, tensor: Tensor) -> Callable[[State], object]:
    return lambda state: state.update({name: tensor})


def many_blocks(state: State) -> None:
    state |= {f"block.{index}.mlp.fc1_linear.weight": state["head.bias"] for index in range(2, 4096)}


OFFICIAL: dict[str, tuple[Callable[[State], object], list[str], int, str]] = {
    "absurd blocks": (many_blocks, [], EXIT_UNSUPPORTED, "x.pth: has 4096 blocks; at most 256 are compiled"),
    "a weight on no device": (
        put("head.weight", torch.zeros(5, 32, device="meta")), [], EXIT_BAD_INPUT,
        "x.pth: head.weight: claims torch.float32 [5, 32], and its file stores less; copy or download it again",
    ),
    "absurd time": (
        lambda state: None, ["--time-steps", "999999999"], EXIT_BAD_INPUT,
        "--time-steps: found 999999999; give 1 to 64",
    ),
    "absurd heads": (
        lambda state: None, ["--heads", "999999999"], EXIT_BAD_INPUT,
        "--heads: 32 features do not split into 999999999 heads; choose a divisor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OFFICIAL)
def test_official_checkpoint(work: Path, capsys: Capture, case: str) -> None:
    change, arguments, code, sentence = OFFICIAL[case]
    state = dict(official.busy(official.SpikformerCifar(), 16).state_dict())
    change(state)
    torch.save(state, "x.pth")
    assert_refused(capsys, code, ["x.pth", "--arch", "spikformer", "-o", "x.json", *arguments], sentence)


@pytest.mark.parametrize("option", ["--time-steps", "--heads", "--image-size", "--check", "--limit"])
@pytest.mark.parametrize("number", ["1000000000", "9" * 5000, "²"])
def test_number_that_no_option_takes(work: Path, capsys: Capture, option: str, number: str) -> None:
    before = contents(work)
    with pytest.raises(SystemExit) as stop:
        main(["x.pth", "-o", "x.json", option, number])
    assert stop.value.code == EXIT_USAGE
    found = capsys.readouterr().err.splitlines()[-1]
    expected = f"argument {option}: '{number}' is not a whole number from 1 to 999999999"
    assert found == f"dtss-compile: error: {expected}"
    assert contents(work) == before


# NIR


def nir_of(*names_and_nodes: tuple[str, Any]) -> Any:
    """The nodes in a row."""
    import itertools

    nir = pytest.importorskip("nir", reason="make test installs it")
    nodes = dict(names_and_nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), type_check=False)


def nir_network(nir: Any, first: Any, shape: tuple[int, ...] = (2, 4, 4)) -> Any:
    one = np.ones(1)
    return nir_of(
        ("input", nir.Input(np.array(shape))), ("first", first),
        ("fire", nir.IF(r=one * 1e4, v_threshold=one, v_reset=one * 0)), ("output", nir.Output(np.array([3]))),
    )  # fmt: skip


def convolution(nir: Any, **changes: Any) -> Any:
    weight = np.ones((3, 2, 4, 4))
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(3)} | changes
    return nir.Conv2d((4, 4), options.pop("weight", weight), **options)


def infinite(nir: Any) -> Any:
    weight = np.ones((3, 2, 4, 4))
    weight[0, 0, 0, 0] = -np.inf
    return nir_network(nir, convolution(nir, weight=weight))


def pooled(nir: Any, size: int) -> Any:
    sizes = np.array([size, size])
    return nir_network(nir, nir.SumPool2d(sizes, sizes, sizes // 2))


def add_parameter(file: Any) -> None:
    file["node/nodes/fire/refractory"] = np.ones(1)


def many_channels(file: Any) -> None:
    del file["node/nodes/first/weight"]
    file.create_dataset("node/nodes/first/weight", shape=(BILLION, 2, 4, 4), chunks=(1024, 1, 1, 1), dtype="f4")


def untouched(file: Any) -> None:
    """As nir.write wrote it."""


NIR: dict[str, tuple[Callable[[Any], Any], Callable[[Any], None], list[str], int, str]] = {
    "wrong architecture": (
        lambda nir: nir_network(nir, convolution(nir)), untouched, ["--arch", "spikformer"], EXIT_BAD_INPUT,
        "--arch: x.nir is a NIR graph; leave it out",
    ),
    "an extra parameter": (
        lambda nir: nir_network(nir, convolution(nir)), add_parameter, [], EXIT_BAD_INPUT,
        ("x.nir: fire: is no sound IF (TypeError: IF.__init__() got an unexpected keyword argument 'refractory'); "
        "give a graph that nir.write wrote"),
    ),
    "infinity": (
        infinite, untouched, [], EXIT_BAD_INPUT,
        "first: 1 of the 96 numbers of its weight are NaN or infinite; repair or retrain the model",
    ),
    "absurd channels": (
        lambda nir: nir_network(nir, convolution(nir)), many_channels, [], EXIT_BAD_INPUT,
        "x.nir: node/nodes/first/weight: claims 32000000023 numbers; a graph has at most 268435456",
    ),
    "absurd groups": (
        lambda nir: nir_network(nir, convolution(nir, groups=BILLION)), untouched, [], EXIT_BAD_INPUT,
        "first: its 1000000000 groups read 2 channels each, and image has 2; fix the model",
    ),
    "absurd pool": (
        lambda nir: pooled(nir, BILLION), untouched, [], EXIT_UNSUPPORTED,
        "first: its kernel would be 2×1000000000×1000000000; a kernel has at most 134217728 weights",
    ),
    "absurd image": (
        lambda nir: nir_network(nir, convolution(nir), (2, 1 << 20, 1 << 20)), untouched, [], EXIT_BAD_INPUT,
        "input: its shape is 2×1048576×1048576, 2199023255552 values; an image has at most 67108864",
    ),
    "absurd features": (
        lambda nir: nir_network(nir, nir.Threshold(np.ones(1)), (1 << 20, 1, 1)), untouched, [], EXIT_UNSUPPORTED,
        "first.input: its kernel would be 1048576×1048576; a kernel has at most 134217728 weights",
    ),
    "absurd time": (
        lambda nir: nir_network(nir, convolution(nir)), untouched, ["--time-steps", "999999999"], EXIT_BAD_INPUT,
        "--time-steps: found 999999999; give 1 to 64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NIR)
def test_nir_graph(work: Path, capsys: Capture, case: str) -> None:
    nir, h5py = (pytest.importorskip(name, reason="make test installs it") for name in ("nir", "h5py"))
    graph, change, arguments, code, sentence = NIR[case]
    nir.write("x.nir", graph(nir))
    with h5py.File("x.nir", "r+") as file:
        change(file)
    assert_refused(capsys, code, ["x.nir", "-o", "x.json", "--time-steps", "2", *arguments], sentence)


def test_pickle_under_the_name_of_a_nir_graph(work: Path, capsys: Capture) -> None:
    pytest.importorskip("nir", reason="make test installs it")
    torch.save({"state_dict": Exploit()}, "x.nir")
    sentence = "x.nir: is no HDF5 file, or a truncated one; give a graph that nir.write wrote"
    assert_refused(capsys, EXIT_BAD_INPUT, ["x.nir", "-o", "x.json", "--time-steps", "2"], sentence)
    assert not Path("exploited").exists()


# Torch modules


def network(change: Callable[[nn.Sequential], object] = lambda layers: None) -> nn.Sequential:
    """A convolution, its norm, a masked LIF of T = 4, and a linear layer that reads all of it."""
    mask = TimeStepMask(4, 4, minimum_steps=0)
    spec = NeuronSpec(leak=0.5, gain=1.0, threshold=0.75, comparison=">", reset="soft")
    layers = nn.Sequential(
        nn.Flatten(0, 1), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Unflatten(0, (4, -1)),
        MaskedLif(spec, "attn", mask), nn.Flatten(2), nn.Linear(36, 3),
    )  # fmt: skip
    change(layers)
    return layers


def fill(layer: int, name: str, value: float) -> Callable[[nn.Sequential], object]:
    return lambda layers: layers[layer].get_parameter(name).data.fill_(value)


def fill_statistics(name: str, value: float) -> Callable[[nn.Sequential], object]:
    return lambda layers: layers[2].get_buffer(name).fill_(value)


EXAMPLE = torch.rand(4, 2, 2, 5, 6)
TORCH: dict[str, tuple[Callable[[nn.Sequential], object], Tensor, dict[str, Any], int, str]] = {
    "infinite weight": (
        fill(6, "weight", float("inf")), EXAMPLE, {}, EXIT_BAD_INPUT,
        "6: 108 of the 108 numbers of its weight are NaN or infinite; repair or retrain the model",
    ),
    "NaN bias": (
        fill(6, "bias", float("nan")), EXAMPLE, {}, EXIT_BAD_INPUT,
        "6: 3 of the 3 numbers of its bias are NaN or infinite; repair or retrain the model",
    ),
    "NaN statistics": (
        fill_statistics("running_mean", float("nan")), EXAMPLE, {}, EXIT_BAD_INPUT,
        "2: 3 of the 3 numbers of its mean are NaN or infinite; repair or retrain the model",
    ),
    "zero variance": (
        fill_statistics("running_var", 0.0), EXAMPLE, {}, EXIT_BAD_INPUT,
        f"2: 3 of 3 variances are 0 or below; {AGAIN}",
    ),
    "negative variance": (
        fill_statistics("running_var", -1.0), EXAMPLE, {}, EXIT_BAD_INPUT,
        f"2: 3 of 3 variances are 0 or below; {AGAIN}",
    ),
    "masks all off": (
        fill(4, "mask.score", 0.0), EXAMPLE, {}, EXIT_UNSUPPORTED,
        ("Sequential: its time-step masks cut every way from the image to the logits, so all images get the same "
        "answer; train it again with a smaller mask loss, or keep a first step in every layer (minimum_steps)"),
    ),
    "NaN in a mask": (
        fill(4, "mask.score", float("nan")), EXAMPLE, {}, EXIT_BAD_INPUT,
        "4: 4 of the 4 numbers of its mask are NaN or infinite; repair or retrain the model",
    ),
    "mask of another length": (
        lambda layers: None, EXAMPLE[:3], {}, EXIT_BAD_INPUT,
        "4: its mask was trained for 4 time steps, and the example runs 3; give 4",
    ),
    "other T": (
        lambda layers: None, EXAMPLE, {"time_steps": 8}, EXIT_BAD_INPUT,
        "time_steps: is 8; the example has 4 steps",
    ),
    "absurd T": (
        lambda layers: None, torch.zeros(()).expand(BILLION, 1, 2, 5, 6), {}, EXIT_BAD_INPUT,
        "time_steps: is 1000000000; give 1 to 64",
    ),
    "absurd image": (
        lambda layers: None, torch.zeros(()).expand(4, 1, 2, 10**6, 10**6), {}, EXIT_BAD_INPUT,
        "example_input: its shape is 2×1000000×1000000, 2000000000000 values; an image has at most 67108864",
    ),
    "no weights": (
        lambda layers: layers.to("meta"), EXAMPLE, {}, EXIT_BAD_INPUT,
        "1.weight: is on the meta device, without numbers; load the weights first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TORCH)
def test_torch_module(case: str) -> None:
    change, example, options, code, sentence = TORCH[case]
    with pytest.raises(UserError) as refusal:
        dtss.compiler.compile(network(change), example, **options)
    assert (str(refusal.value), refusal.value.exit_code) == (sentence, code)


def test_torch_module_that_is_sound_is_saved_whole_or_not_at_all(work: Path) -> None:
    compiled = dtss.compiler.compile(network(), EXAMPLE)
    Path("x.json").write_text("of an earlier run")
    with full_disk(".x.json."), pytest.raises(UserError) as refusal:
        compiled.save("x.json")
    assert str(refusal.value) == (
        f"x.json: cannot be written ({REASON}); nothing was changed; free space or choose another place"
    )
    assert [path.name for path in contents(work)] == ["x.json"]
    compiled.save("x.json")
    assert sorted(path.name for path in contents(work)) == ["x.json", "x.safetensors"]
