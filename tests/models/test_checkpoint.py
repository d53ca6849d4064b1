"""Checkpoints survive the disk unchanged; every broken one is refused with a sentence that helps."""

import dataclasses
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies

from dtss.models.checkpoint import Checkpoint, CheckpointError, load, save
from dtss.models.data import LabelledImages
from dtss.models.errors import InputError
from dtss.models.spikformer import Spikformer
from dtss.models.vit import Vit

Payload = dict[str, Any]


def test_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    loaded = load(path)
    for field in ("config", "preprocess", "classes", "training"):
        assert getattr(loaded, field) == getattr(checkpoint, field)
    assert list(loaded.state_dict) == list(checkpoint.state_dict)
    for name, tensor in checkpoint.state_dict.items():
        assert torch.equal(loaded.state_dict[name], tensor), name
    assert torch.equal(loaded.samples.images, checkpoint.samples.images)
    assert torch.equal(loaded.samples.labels, checkpoint.samples.labels)
    inputs = loaded.preprocess(loaded.samples.images)
    assert torch.equal(loaded.build_model()(inputs), checkpoint.build_model()(inputs))
    assert [file.name for file in tmp_path.iterdir()] == ["small.pt"]


def test_a_file_from_before_rounded_weights_is_a_float_network(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    payload = torch.load(path, weights_only=True)
    del payload["config"]["weight_bits"]
    torch.save(payload, path)
    assert load(path).config == checkpoint.config


def test_a_network_of_rounded_weights_survives(checkpoint: Checkpoint, tmp_path: Path) -> None:
    rounded = dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, weight_bits=4))
    save(rounded, tmp_path / "small.pt")
    loaded = load(tmp_path / "small.pt")
    inputs = loaded.preprocess(loaded.samples.images)
    assert loaded.config.weight_bits == 4
    assert torch.equal(loaded.build_model()(inputs), rounded.build_model()(inputs))


def test_a_trained_leak_survives(checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = dataclasses.replace(checkpoint.config, train_leak=True)
    model = Spikformer(config)
    model.lif_layers()["rpe.lif"].load_state_dict({"leak": torch.tensor(0.75)}, strict=False)
    save(dataclasses.replace(checkpoint, config=config, state_dict=model.state_dict()), tmp_path / "leak.pt")
    assert load(tmp_path / "leak.pt").build_model().lif_layers()["rpe.lif"].spec.leak == 0.75


def test_saving_over_an_old_file_replaces_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    path.write_text("old")
    save(checkpoint, path)
    assert load(path).config == checkpoint.config


def test_a_failed_write_leaves_the_old_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.pt"
    path.write_text("old")

    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError) as error:
        save(checkpoint, path)
    assert str(error.value) == (
        f"{path}: cannot be written: found No space left on device; "
        "the file is as it was; free space or choose another place"
    )
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["small.pt"]


def refusal(path: Path) -> str:
    """The sentence with which `path` is refused, the folder of this test left out."""
    with pytest.raises(CheckpointError) as error:
        load(path)
    return str(error.value).replace(f"{path.parent}/", "")


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.pt") == ("no.pt: no such file: found nothing; give the path of a checkpoint file")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    assert refusal(tmp_path / "folder.pt") == (
        "folder.pt: no such file: found a folder; give the path of a checkpoint file"
    )


def test_truncated_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(path) == (
        "small.pt: not a checkpoint, or truncated: found 1000 bytes that are no whole archive; "
        "copy it again or train it again with dtss-train"
    )


def test_archive_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    sentence = refusal(path)
    assert sentence.startswith("other.pt: not a torch archive: found RuntimeError: ")
    assert sentence.endswith("; copy it again or train it again with dtss-train")


def test_one_changed_byte_is_found(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    content = bytearray(path.read_bytes())
    weight = bytes(checkpoint.state_dict["head.bias"].numpy().tobytes())
    content[content.index(weight) + 2] ^= 1
    path.write_bytes(content)
    sentence = refusal(path)
    assert sentence.startswith("small.pt: damaged archive: found a wrong checksum of archive/data/")
    assert sentence.endswith("; copy it again or train it again with dtss-train")


def test_a_tensor_marked_as_a_folder_is_found(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"archive/data/9") - 46 + 38] = 0x10
    path.write_bytes(content)
    assert refusal(path) == (
        "small.pt: damaged archive: found a folder in place of archive/data/9; "
        "copy it again or train it again with dtss-train"
    )


@hypothesis.given(position=strategies.integers(0, 10**6), byte=strategies.integers(0, 255))
@hypothesis.example(position=29, byte=85)  # the length of a field in the first header: the archive ends too early
@hypothesis.settings(
    deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_changed_byte_is_refused_or_harmless(
    checkpoint: Checkpoint, tmp_path: Path, position: int, byte: int
) -> None:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        loaded = load(path)
    except CheckpointError:
        return
    for name, tensor in checkpoint.state_dict.items():
        assert torch.equal(loaded.state_dict[name], tensor), name


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploited",)


def test_file_that_carries_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    torch.save({"format": "dtss-checkpoint/1", "config": Exploit()}, path)
    assert refusal(path) == (
        "evil.pt: holds Python objects that would run code: found posix.system; "
        "a checkpoint holds tensors and plain values only; open it otherwise only if you trust it"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["evil.pt"]


def test_bare_pickle(tmp_path: Path) -> None:
    path = tmp_path / "bare.pt"
    path.write_bytes(pickle.dumps({"format": "dtss-checkpoint/1"}))
    size = path.stat().st_size
    assert refusal(path) == (
        f"bare.pt: not a checkpoint, or truncated: found {size} bytes that are no whole archive; "
        "copy it again or train it again with dtss-train"
    )


def broken(checkpoint: Checkpoint, tmp_path: Path, damage: Callable[[Payload], object]) -> str:
    path = tmp_path / "small.pt"
    save(checkpoint, path)
    payload = torch.load(path, weights_only=True)
    damage(payload)
    torch.save(payload, path)
    return refusal(path)


def drop(section: str, *names: str) -> Callable[[Payload], object]:
    return lambda payload: [payload[section].pop(name) for name in names]


def put(section: str, name: str, value: object) -> Callable[[Payload], object]:
    return lambda payload: payload[section].update({name: value})


SCORES = [f"blocks.0.attn.{name}.lif.mask.score" for name in ("q", "k", "v", "proj")]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda payload: payload.pop("format"),
            (
                "small.pt: no format tag: "
                "found sections classes, config, preprocess, samples, state_dict, training; "
                "a dtss checkpoint says 'dtss-checkpoint/1'"
            ),
        ),
        (
            lambda payload: payload.update(format="dtss-checkpoint/9"),
            (
                "small.pt: unknown format: found 'dtss-checkpoint/9'; "
                "this version reads 'dtss-checkpoint/1'; train it again with dtss-train"
            ),
        ),
        (
            lambda payload: payload.pop("samples"),
            (
                "small.pt: wrong sections: "
                "found sections classes, config, format, preprocess, state_dict, training; "
                "expected classes, config, format, preprocess, samples, state_dict, training"
            ),
        ),
        (
            drop("state_dict", "rpe.conv.weight"),
            "small.pt: state_dict: tensors are missing: found no rpe.conv.weight; config 'digits' needs them",
        ),
        (
            drop("state_dict", *SCORES),
            (
                "small.pt: state_dict: tensors are missing: found no blocks.0.attn.q.lif.mask.score, "
                "blocks.0.attn.k.lif.mask.score, blocks.0.attn.v.lif.mask.score and 1 more; "
                "config 'digits' needs them"
            ),
        ),
        (
            put("state_dict", "blocks.1.norm1.weight", torch.ones(8)),
            (
                "small.pt: state_dict: tensors that the network has not: found blocks.1.norm1.weight; "
                "fix config 'digits' or drop them"
            ),
        ),
        (
            put("state_dict", "rpe.lif.mask.score", torch.ones(7)),
            (
                "small.pt: state_dict: rpe.lif.mask.score: wrong shape or type: found torch.float32 [7]; "
                "config 'digits' needs torch.float32 [4]"
            ),
        ),
        (
            put("state_dict", "head.bias", torch.ones(10, dtype=torch.float64)),
            (
                "small.pt: state_dict: head.bias: wrong shape or type: found torch.float64 [10]; "
                "config 'digits' needs torch.float32 [10]"
            ),
        ),
        (
            put("state_dict", "rpe.lif.mask.score", torch.tensor([1.0, float("nan"), 0.0, float("inf")])),
            (
                "small.pt: state_dict: rpe.lif.mask.score: not finite: found 2 NaN or infinite of 4 values; "
                "training diverged: train again with a smaller --lr"
            ),
        ),
        (
            put("state_dict", "head.bias", "zeros"),
            "small.pt: state_dict: head.bias: not a tensor: found str; train it again with dtss-train",
        ),
        (
            lambda payload: payload.update(state_dict=[1]),
            "small.pt: state_dict: not tensors by name: found list; train it again with dtss-train",
        ),
        (
            put("config", "heads", "two"),
            (
                "small.pt: config: wrong value: found Expected `int`, got `str` - at `$.heads`; "
                "train it again with dtss-train"
            ),
        ),
        (
            put("config", "heads", 3),
            (
                "small.pt: config: wrong value: found digits: dim 8 does not split over 3 heads; change one; "
                "train it again with dtss-train"
            ),
        ),
        (
            put("config", "weight_bits", 1),
            (
                "small.pt: config: wrong value: found digits: weight_bits is 1; choose 2..8, or leave it out for float "
                "weights; train it again with dtss-train"
            ),
        ),
        (
            put("config", "weight_bits", "4"),
            (
                "small.pt: config: wrong value: found Expected `int | null`, got `str` - at `$.weight_bits`; "
                "train it again with dtss-train"
            ),
        ),
        (
            put("config", "dropout", 0.1),
            "small.pt: config: unknown settings: found dropout; load it with a newer version of dtss",
        ),
        (
            drop("config", "dim"),
            (
                "small.pt: config: wrong value: found Object missing required field `dim`; "
                "train it again with dtss-train"
            ),
        ),
        (
            lambda payload: payload["preprocess"].update(mean=[0.0] * 3, std=[1.0] * 3),
            (
                "small.pt: preprocess: wrong number of channels: found 3 means; "
                "the network reads 1 channels; give one mean and one std for each"
            ),
        ),
        (
            put("samples", "images", torch.zeros(5, 1, 8, 8, dtype=torch.uint8)),
            (
                "small.pt: samples: wrong images: found torch.uint8 [5, 1, 8, 8]; "
                "the network reads torch.uint8 [B, 8, 8, 1]"
            ),
        ),
        (
            put("samples", "labels", torch.zeros(4, dtype=torch.int64)),
            "small.pt: samples: wrong labels: found torch.int64 [4]; 5 images need torch.int64 [5]",
        ),
        (
            put("samples", "labels", torch.tensor([0, 1, 2, 3, 10])),
            "small.pt: samples: label out of range: found 0..10; the network has classes 0..9",
        ),
        (
            drop("samples", "labels"),
            "small.pt: samples: not images and labels: found sections images; train it again with dtss-train",
        ),
        (
            lambda payload: payload["classes"].pop(),
            "small.pt: wrong number of classes: found 9 names; the network has 10 outputs; name each",
        ),
    ],
)
def test_broken_content(
    checkpoint: Checkpoint, tmp_path: Path, damage: Callable[[Payload], object], sentence: str
) -> None:
    assert broken(checkpoint, tmp_path, damage) == sentence


def test_a_diverged_network_is_not_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.state_dict["head.weight"][0, 0] = float("nan")
    with pytest.raises(CheckpointError) as error:
        save(checkpoint, tmp_path / "small.pt")
    assert str(error.value) == (
        f"{tmp_path}/small.pt: state_dict: head.weight: not finite: found 1 NaN or infinite of 80 values; "
        "training diverged: train again with a smaller --lr"
    )
    assert list(tmp_path.iterdir()) == []


def test_error_parts_are_kept(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load(tmp_path / "no.pt")
    assert (error.value.what, error.value.found) == ("no such file", "nothing")
    assert error.value.where == str(tmp_path / "no.pt")


def test_empty_samples_are_allowed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    empty = LabelledImages(torch.zeros(0, 8, 8, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    save(dataclasses.replace(checkpoint, samples=empty), tmp_path / "small.pt")
    assert len(load(tmp_path / "small.pt").samples.labels) == 0


def test_half_precision_halves_matrices_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = {
        name: torch.randn(tensor.shape) if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint.state_dict.items()
    }
    save(dataclasses.replace(checkpoint, state_dict=state), tmp_path / "half.pt", half=True)
    stored = torch.load(tmp_path / "half.pt", weights_only=True)["state_dict"]
    loaded = load(tmp_path / "half.pt").state_dict
    for name, tensor in state.items():
        halved = tensor.dim() >= 2
        assert stored[name].dtype == (torch.float16 if halved else tensor.dtype), name
        assert loaded[name].dtype == tensor.dtype, name
        assert torch.equal(loaded[name], tensor.half().float() if halved else tensor), name
    assert torch.equal(loaded["rpe.lif.mask.score"], state["rpe.lif.mask.score"])


def test_a_weight_beyond_half_precision_is_not_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.state_dict["head.weight"][0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"head\.weight: not finite: found 1 NaN or infinite of 80 values"):
        save(checkpoint, tmp_path / "small.pt", half=True)


def test_a_non_spiking_network_is_kept_but_builds_no_spikformer(checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = dataclasses.replace(checkpoint.config, masked=False, spiking=False)
    torch.manual_seed(2)
    vit = Vit(config).eval()
    save(dataclasses.replace(checkpoint, config=config, state_dict=vit.state_dict()), tmp_path / "vit.pt")
    loaded = load(tmp_path / "vit.pt")
    inputs = loaded.preprocess(loaded.samples.images)
    assert torch.equal(loaded.build_network()(inputs), vit(inputs))
    with pytest.raises(CheckpointError) as error:
        loaded.build_model()
    assert str(error.value) == (
        "config 'digits': no spiking network: found a non-spiking ViT, a baseline for accuracies; "
        "train one with --model dtss or --model plain"
    )
