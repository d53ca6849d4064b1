"""The official CIFAR-10 and CIFAR-100 archives, unpacked: binary records or pickled Python."""

import dataclasses
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dtss.models.data import DataError, LabelledImages, Split

SIDE, CHANNELS = 32, 3
PIXELS = SIDE * SIDE * CHANNELS
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# What numpy arrays and plain containers need; Python 2 wrote the archives, so some names are of old modules.
ALLOWED_GLOBALS = frozenset(
    (module, name)
    for names, modules in (
        (("_reconstruct",), ("numpy.core.multiarray", "numpy._core.multiarray")),
        (("ndarray", "dtype"), ("numpy",)),
        (("encode",), ("_codecs",)),
    )
    for module in modules
    for name in names
)


@dataclasses.dataclass(frozen=True)
class CifarLayout:
    """Names inside the archive's folder. A binary record is `label_bytes` labels, the last one used, then pixels."""

    binary_folder: str
    python_folder: str
    train_binary: tuple[str, ...]
    test_binary: str
    train_python: tuple[str, ...]
    test_python: str
    label_bytes: int
    label_key: bytes
    classes: int


CIFAR10 = CifarLayout(
    binary_folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    train_binary=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test_binary="test_batch.bin",
    train_python=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test_python="test_batch",
    label_bytes=1,
    label_key=b"labels",
    classes=10,
)
CIFAR100 = CifarLayout(
    binary_folder="cifar-100-binary",
    python_folder="cifar-100-python",
    train_binary=("train.bin",),
    test_binary="test.bin",
    train_python=("train",),
    test_python="test",
    label_bytes=2,
    label_key=b"fine_labels",
    classes=100,
)


class RestrictedUnpickler(pickle.Unpickler):
    """Reads plain containers and numpy arrays; whatever else a pickle names is refused before it is imported."""

    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED_GLOBALS:
            raise DataError(
                "holds Python objects that could run code",
                self.where,
                f"{module}.{name}",
                "unpack the official archive again; its files hold arrays and plain values only",
            )
        return super().find_class(module, name)


def load_cifar(folder: Path, layout: CifarLayout) -> Split:
    """The archive's own split, from whichever of the two forms lies in `folder`, or is `folder` itself."""
    binary, python = _found(folder, layout.binary_folder), _found(folder, layout.python_folder)
    if binary is not None:
        train, test = layout.train_binary, layout.test_binary
        return Split(_binary(binary, train, layout), _binary(binary, (test,), layout), _binary_classes(binary, layout))
    if python is not None:
        train, test = layout.train_python, layout.test_python
        return Split(_python(python, train, layout), _python(python, (test,), layout), _python_classes(python, layout))
    raise DataError(
        "no such data set",
        str(folder / layout.binary_folder),
        "nothing",
        f"unpack the official CIFAR-{layout.classes} archive there (binary), or as {layout.python_folder} (python)",
    )


def _found(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    return folder if folder.name == name and folder.is_dir() else None


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DataError("no such file", str(path), "nothing", "unpack the official archive again")
    return path


def _binary(folder: Path, names: tuple[str, ...], layout: CifarLayout) -> LabelledImages:
    width = layout.label_bytes + PIXELS
    images, labels = [], []
    for name in names:
        path = _present(folder / name)
        size = path.stat().st_size
        if size == 0 or size % width:
            raise DataError(
                "not whole records", str(path), f"{size} bytes", f"a record has {width}; unpack the archive again"
            )
        records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, width)
        images.append(_channels_last(records[:, layout.label_bytes :]))
        labels.append(_checked_labels(records[:, layout.label_bytes - 1], layout, path))
    return _labelled(images, labels)


def _python(folder: Path, names: tuple[str, ...], layout: CifarLayout) -> LabelledImages:
    images, labels = [], []
    for name in names:
        path = _present(folder / name)
        batch = _unpickled(path)
        pixels = batch.get(b"data")
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (PIXELS,):
            found = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise DataError("wrong data", str(path), found, f"uint8 [images, {PIXELS}] is expected; unpack it again")
        values = batch.get(layout.label_key)
        if not isinstance(values, list) or len(values) != len(pixels):
            found = f"{len(values)} labels" if isinstance(values, list) else type(values).__name__
            key = layout.label_key.decode()
            raise DataError(f"wrong {key}", str(path), found, f"a list of {len(pixels)} is expected; unpack it again")
        images.append(_channels_last(pixels))
        labels.append(_checked_labels(np.asarray(values), layout, path))
    return _labelled(images, labels)


def _unpickled(path: Path) -> dict[bytes, Any]:
    try:
        batch = RestrictedUnpickler(path.read_bytes(), str(path)).load()
    except DataError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        found = f"{type(error).__name__}: {error}"
        raise DataError("not a whole pickle", str(path), found, "unpack the official archive again") from error
    if not isinstance(batch, dict):
        raise DataError("not a batch", str(path), type(batch).__name__, "a dict is expected; unpack the archive again")
    return batch


def _channels_last(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[B, 3072] of whole colour planes -> [B, H, W, C]."""
    return rows.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)


def _checked_labels(labels: NDArray[Any], layout: CifarLayout, path: Path) -> NDArray[np.int64]:
    wide = labels.astype(np.int64)
    if len(wide) and not 0 <= wide.min() <= wide.max() < layout.classes:
        raise DataError(
            "label out of range",
            str(path),
            f"{wide.min()}..{wide.max()}",
            f"CIFAR-{layout.classes} has classes 0..{layout.classes - 1}; unpack the archive again",
        )
    return wide


def _labelled(images: list[NDArray[np.uint8]], labels: list[NDArray[np.int64]]) -> LabelledImages:
    return LabelledImages(torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)))


def _binary_classes(folder: Path, layout: CifarLayout) -> tuple[str, ...]:
    if layout.classes == len(CIFAR10_CLASSES):
        return CIFAR10_CLASSES
    path = _present(folder / "fine_label_names.txt")
    return _checked_classes(path.read_text(encoding="utf-8").split(), layout, path)


def _python_classes(folder: Path, layout: CifarLayout) -> tuple[str, ...]:
    if layout.classes == len(CIFAR10_CLASSES):
        return CIFAR10_CLASSES
    path = _present(folder / "meta")
    names = _unpickled(path).get(b"fine_label_names", [])
    return _checked_classes([name.decode() if isinstance(name, bytes) else str(name) for name in names], layout, path)


def _checked_classes(names: list[str], layout: CifarLayout, path: Path) -> tuple[str, ...]:
    if len(names) != layout.classes:
        raise DataError(
            "wrong number of class names",
            str(path),
            f"{len(names)} names",
            f"CIFAR-{layout.classes} has {layout.classes} classes; unpack the archive again",
        )
    return tuple(names)
