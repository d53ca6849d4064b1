"""The checkpoint file: a trained network, its preprocessing and held-out samples; reading it runs no code.

{"format": "dtss-checkpoint/1",
 "config":      SpikformerConfig as a plain dict,
 "state_dict":  name -> tensor; float16 where float32 is expected is widened on reading,
 "preprocess":  Preprocess as a plain dict,
 "samples":     {"images": uint8 [B, H, W, C], "labels": int64 [B]}, images that training never saw,
 "classes":     list of K names,
 "training":    plain dict: command, seed, test accuracy, masks, …}
"""

import dataclasses
import hashlib
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor

from dtss.models.atomic import write_atomically
from dtss.models.data import LabelledImages, Preprocess
from dtss.models.errors import InputError
from dtss.models.network import Network, network_of
from dtss.models.spikformer import Spikformer, SpikformerConfig

FORMAT = "dtss-checkpoint/1"
SECTIONS = ("format", "config", "state_dict", "preprocess", "samples", "classes", "training")
RETRAIN = "train it again with dtss-train"
DIRECTORY = 0x10  # MS-DOS attribute of a zip member; torch reads such a tensor as unset memory
LARGEST_SIZE = 1 << 20  # of any number in a configuration
MOST_BLOCKS = 256
# what zipfile raises on an archive with changed bytes
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)

Plain = TypeVar("Plain")


class CheckpointError(InputError):
    """A checkpoint that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checked network: every tensor that `config` asks for is there, in its shape, and finite."""

    config: SpikformerConfig
    state_dict: Mapping[str, Tensor]
    preprocess: Preprocess
    samples: LabelledImages
    classes: tuple[str, ...]
    training: Mapping[str, Any]

    def build_model(self) -> Spikformer:
        """The spiking network with these weights, in evaluation mode; a non-spiking one is refused."""
        if not self.config.spiking:
            raise CheckpointError(
                "no spiking network",
                f"config {self.config.name!r}",
                "a non-spiking ViT, a baseline for accuracies",
                "train one with --model dtss or --model plain",
            )
        model = Spikformer(self.config, self.preprocess.pixel_lsb)
        model.load_state_dict(dict(self.state_dict))
        return model.eval()

    def build_network(self) -> Network:
        """The network with these weights, spiking or not, in evaluation mode."""
        model = network_of(self.config, self.preprocess.pixel_lsb)
        model.load_state_dict(dict(self.state_dict))
        return model.eval()


def stored_halved(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `save` keeps with `half`: matrices and kernels as float16; all else, mask scores above all, as it is."""
    return {name: tensor.half() if tensor.dim() >= 2 else tensor for name, tensor in state_dict.items()}


def restored(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float16 back to float32, exactly."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in state_dict.items()}


def checksum(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for _, tensor in sorted(state_dict.items()):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(checkpoint: Checkpoint, path: Path, *, half: bool = False) -> None:
    """Writes the checkpoint whole or not at all; refuses, as `load` would, one that cannot be used.

    half  stores matrices and kernels in half the bytes, rounded to float16; `load` widens them again.
    """
    state_dict = stored_halved(checkpoint.state_dict) if half else dict(checkpoint.state_dict)
    _check(dataclasses.replace(checkpoint, state_dict=restored(state_dict)), str(path))
    payload = {
        "format": FORMAT,
        "config": msgspec.to_builtins(checkpoint.config),
        "state_dict": state_dict,
        "preprocess": msgspec.to_builtins(checkpoint.preprocess),
        "samples": {"images": checkpoint.samples.images, "labels": checkpoint.samples.labels},
        "classes": list(checkpoint.classes),
        "training": dict(checkpoint.training),
    }
    write_atomically(path, lambda file: torch.save(payload, file))


def load(path: Path) -> Checkpoint:
    """Reads and checks a checkpoint; never runs code that a file carries."""
    return from_payload(read_archive(path), str(path))


def from_payload(payload: object, where: str) -> Checkpoint:
    """What `load` makes of a file's content."""
    if not isinstance(payload, dict) or "format" not in payload:
        raise CheckpointError("no format tag", where, _outline(payload), f"a dtss checkpoint says {FORMAT!r}")
    if payload["format"] != FORMAT:
        raise CheckpointError(
            "unknown format", where, repr(payload["format"]), f"this version reads {FORMAT!r}; {RETRAIN}"
        )
    if set(payload) != set(SECTIONS):
        raise CheckpointError("wrong sections", where, _outline(payload), f"expected {', '.join(sorted(SECTIONS))}")
    config = _plain(payload["config"], SpikformerConfig, f"{where}: config")
    _refuse_absurd(config, f"{where}: config")
    checkpoint = Checkpoint(
        config=config,
        state_dict=restored(_tensors(payload["state_dict"], f"{where}: state_dict")),
        preprocess=_plain(payload["preprocess"], Preprocess, f"{where}: preprocess"),
        samples=LabelledImages(**_tensors(payload["samples"], f"{where}: samples", ("images", "labels"))),
        classes=_plain(payload["classes"], tuple[str, ...], f"{where}: classes"),
        training=_plain(payload["training"], dict[str, Any], f"{where}: training"),
    )
    _check(checkpoint, where)
    return checkpoint


def read_archive(path: Path, allowed: Sequence[type] = (), again: str = f"copy it again or {RETRAIN}") -> object:
    """What torch.save wrote: tensors, plain values and `allowed` classes; any other Python object is refused.

    again  what to do about a damaged file.
    """
    where = str(path)
    if not path.is_file():
        raise CheckpointError(
            "no such file",
            where,
            "a folder" if path.is_dir() else "nothing",
            "give the path of a checkpoint file",
        )
    if not _is_archive(path):
        size = path.stat().st_size
        raise CheckpointError(
            "not a checkpoint, or truncated",
            where,
            f"{size} bytes that are no whole archive",
            again,
        )
    damaged = _damaged_member(path)
    if damaged is not None:
        raise CheckpointError("damaged archive", where, damaged, again)
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "holds Python objects that would run code",
            where,
            _first_refused_name(error),
            "a checkpoint holds tensors and plain values only; open it otherwise only if you trust it",
        ) from error
    except Exception as error:  # what is no torch archive can raise anything in torch's reader
        found = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
        raise CheckpointError("not a torch archive", where, found, again) from error


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end record that speaks of several disks
        return False


def _damaged_member(path: Path) -> str | None:
    """What the archive's own checksums complain of, and tensors marked as folders; torch.load looks at neither."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.external_attr & DIRECTORY:
                    return f"a folder in place of {member.filename}"
            name = archive.testzip()
    except DAMAGE as error:
        return f"{type(error).__name__}: {error}"
    return None if name is None else f"a wrong checksum of {name}"


def _first_refused_name(error: pickle.UnpicklingError) -> str:
    """The Python name that torch's restricted unpickler refused, as far as its message says."""
    name = re.search(r"GLOBAL:? (\S+)", str(error))
    return name[1] if name else "an object outside torch's allow-list"


def _outline(payload: object) -> str:
    if isinstance(payload, dict):
        return "sections " + ", ".join(sorted(str(key) for key in payload))
    return type(payload).__name__


def _plain(value: object, kind: type[Plain], where: str) -> Plain:
    """`value` as `kind`, with no key unknown and every type right."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        unknown = sorted(str(key) for key in value if key not in {field.name for field in dataclasses.fields(kind)})
        if unknown:
            raise CheckpointError("unknown settings", where, ", ".join(unknown), "load it with a newer version of dtss")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise CheckpointError("wrong value", where, str(error), RETRAIN) from error


def _tensors(value: object, where: str, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    if not isinstance(value, dict) or (names is not None and set(value) != set(names)):
        wanted = "tensors by name" if names is None else " and ".join(names)
        raise CheckpointError(f"not {wanted}", where, _outline(value), RETRAIN)
    for name, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError("not a tensor", f"{where}: {name}", type(tensor).__name__, RETRAIN)
        if not is_stored_whole(tensor):
            raise CheckpointError("more than its file stores", f"{where}: {name}", _described(tensor), RETRAIN)
    return value


def is_stored_whole(tensor: Tensor) -> bool:
    """A file of a few bytes can claim a tensor of any size, its elements all the same place in memory or nowhere."""
    if tensor.layout != torch.strided:
        return True  # its shape and type are refused without a look at its values
    return not tensor.is_meta and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _refuse_absurd(config: SpikformerConfig, where: str) -> None:
    """Sizes that no file holds the tensors of, before anything is made of them."""
    for name, value in msgspec.to_builtins(config).items():
        sizes = [size for size in (value if isinstance(value, list | tuple) else [value]) if isinstance(size, int)]
        limit = MOST_BLOCKS if name == "depth" else LARGEST_SIZE
        if max(sizes, default=0) > limit:
            raise CheckpointError("absurd size", f"{where}: {name}", str(max(sizes)), f"give at most {limit}")


def _check(checkpoint: Checkpoint, where: str) -> None:
    _check_state(checkpoint, f"{where}: state_dict")
    _check_samples(checkpoint, f"{where}: samples")
    if len(checkpoint.classes) != checkpoint.config.classes:
        raise CheckpointError(
            "wrong number of classes",
            where,
            f"{len(checkpoint.classes)} names",
            f"the network has {checkpoint.config.classes} outputs; name each",
        )
    if len(checkpoint.preprocess.mean) != checkpoint.config.in_channels:
        raise CheckpointError(
            "wrong number of channels",
            f"{where}: preprocess",
            f"{len(checkpoint.preprocess.mean)} means",
            f"the network reads {checkpoint.config.in_channels} channels; give one mean and one std for each",
        )


def _check_state(checkpoint: Checkpoint, where: str) -> None:
    with torch.device("meta"):
        expected = network_of(checkpoint.config).state_dict()
    state = checkpoint.state_dict
    missing = [name for name in expected if name not in state]
    if missing:
        raise CheckpointError(
            "tensors are missing",
            where,
            f"no {_listed(missing)}",
            f"config {checkpoint.config.name!r} needs them",
        )
    extra = [str(name) for name in state if name not in expected]
    if extra:
        raise CheckpointError(
            "tensors that the network has not",
            where,
            _listed(extra),
            f"fix config {checkpoint.config.name!r} or drop them",
        )
    for name, tensor in state.items():
        if _described(tensor) != _described(expected[name]):
            raise CheckpointError(
                "wrong shape or type",
                f"{where}: {name}",
                _described(tensor),
                f"config {checkpoint.config.name!r} needs {_described(expected[name])}",
            )
        if not bool(torch.isfinite(tensor).all()):
            broken = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                "not finite",
                f"{where}: {name}",
                f"{broken} NaN or infinite of {tensor.numel()} values",
                "training diverged: train again with a smaller --lr",
            )


def _check_samples(checkpoint: Checkpoint, where: str) -> None:
    config, images, labels = checkpoint.config, checkpoint.samples.images, checkpoint.samples.labels
    if images.dtype != torch.uint8 or images.shape[1:] != (*config.image_size, config.in_channels):
        height, width = config.image_size
        raise CheckpointError(
            "wrong images",
            where,
            _described(images),
            f"the network reads torch.uint8 [B, {height}, {width}, {config.in_channels}]",
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise CheckpointError(
            "wrong labels",
            where,
            _described(labels),
            f"{len(images)} images need torch.int64 [{len(images)}]",
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < config.classes:
        raise CheckpointError(
            "label out of range",
            where,
            f"{int(labels.min())}..{int(labels.max())}",
            f"the network has classes 0..{config.classes - 1}",
        )


def _described(tensor: Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else f" {tensor.layout}"
    return f"{tensor.dtype} {list(tensor.shape)}{layout}"


def _listed(names: list[str], shown: int = 3) -> str:
    """The first few names, and how many more."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
