"""The idx files of MNIST and Fashion-MNIST, plain or gzip-compressed."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dtss.models.data import DataError, LabelledImages, Split

UNSIGNED_BYTE = 0x08
NAMES = {"train": "train", "test": "t10k"}


def load_idx(folder: Path, subfolders: tuple[str, ...], classes: tuple[str, ...]) -> Split:
    """The official split, from the first of the subfolders of `folder` that is there, else from `folder` itself."""
    home = next((folder / name for name in subfolders if (folder / name).is_dir()), folder)
    train, test = (_labelled(home, prefix, subfolders[0], folder, len(classes)) for prefix in NAMES.values())
    return Split(train, test, classes)


def _labelled(home: Path, prefix: str, subfolder: str, folder: Path, classes: int) -> LabelledImages:
    images = _read(_present(home, f"{prefix}-images-idx3-ubyte", folder / subfolder), dimensions=3)
    path = _present(home, f"{prefix}-labels-idx1-ubyte", folder / subfolder)
    labels = _read(path, dimensions=1).astype(np.int64)
    if len(images) != len(labels):
        raise DataError("wrong number of labels", str(path), str(len(labels)), f"there are {len(images)} images")
    if len(labels) and labels.max() >= classes:
        raise DataError("label out of range", str(path), str(labels.max()), f"there are classes 0..{classes - 1}")
    return LabelledImages(torch.from_numpy(images).unsqueeze(-1), torch.from_numpy(labels))


def _present(home: Path, name: str, expected: Path) -> Path:
    for path in (home / name, home / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        "no such file", str(expected / f"{name}.gz"), "nothing", "copy the official file there, as it is or unpacked"
    )


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Magic 0, 0, element type, dimensions; then each dimension as a big-endian uint32; then the elements."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("not a whole gzip file", str(path), str(error), "copy the official file again") from error
    head = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if len(content) < head or content[:4] != magic:
        raise DataError(
            "not an idx file", str(path), f"first bytes {content[:4].hex(' ')}", f"expected {magic.hex(' ')}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) - head != math.prod(shape):
        raise DataError(
            "truncated, or too long",
            str(path),
            f"{len(content) - head} elements",
            f"its header says {' × '.join(str(size) for size in shape)}; copy the official file again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(shape).copy()
