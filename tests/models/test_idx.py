"""The idx files of MNIST, plain and compressed."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from dtss.models.data import DataError, LabelledImages
from dtss.models.data_sets import DATA_SETS

PIXELS = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
LABELS = np.array([9, 0, 4], dtype=np.uint8)


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(home: Path, *, compressed: bool) -> None:
    home.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        for name, array in ((f"{prefix}-images-idx3-ubyte", PIXELS), (f"{prefix}-labels-idx1-ubyte", LABELS)):
            content = idx(array)
            (home / (f"{name}.gz" if compressed else name)).write_bytes(
                gzip.compress(content) if compressed else content
            )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "home"),
    [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("mnist", "."), ("fashion-mnist", "fashion-mnist")],
)
def test_it_is_found_and_read(name: str, home: str, compressed: bool, tmp_path: Path) -> None:
    write(tmp_path / "data" / home, compressed=compressed)
    split = DATA_SETS[name].load(tmp_path / "data", (28, 28))
    assert isinstance(split.test, LabelledImages)
    assert torch.equal(split.test.images.squeeze(-1), torch.from_numpy(PIXELS))
    assert split.train.labels.tolist() == [9, 0, 4]
    assert len(split.classes) == 10


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        DATA_SETS["mnist"].load(folder, (28, 28))
    return str(error.value).replace(f"{folder}/", "")


def test_a_missing_file_is_named_with_its_path(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "mnist/train-images-idx3-ubyte.gz: no such file: found nothing; "
        "copy the official file there, as it is or unpacked"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-images-idx3-ubyte", b"PK\3\4", "not an idx file: found first bytes 50 4b 03 04; expected 00 00 08 03"),
        (
            "t10k-images-idx3-ubyte",
            idx(PIXELS)[:-1],
            "truncated, or too long: found 2351 elements; its header says 3 × 28 × 28; copy the official file again",
        ),
        ("t10k-labels-idx1-ubyte", idx(LABELS[:2]), "wrong number of labels: found 2; there are 3 images"),
        ("t10k-labels-idx1-ubyte", idx(LABELS + 1), "label out of range: found 10; there are classes 0..9"),
    ],
)
def test_broken_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path / "mnist", compressed=False)
    (tmp_path / "mnist" / name).write_bytes(content)
    assert refusal(tmp_path) == f"mnist/{name}: {message}"


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mnist", compressed=True)
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:60])
    assert refusal(tmp_path) == (
        "mnist/train-images-idx3-ubyte.gz: not a whole gzip file: found Compressed file ended before the "
        "end-of-stream marker was reached; copy the official file again"
    )


@pytest.mark.data
def test_the_real_one(data_folder: Path) -> None:
    if not (data_folder / "mnist").is_dir():
        pytest.skip("no mnist in --data")
    split = DATA_SETS["mnist"].load(data_folder, (28, 28))
    assert (len(split.train.labels), len(split.test.labels)) == (60_000, 10_000)
