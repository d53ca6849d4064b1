"""CIFAR-10 and CIFAR-100 in both official forms; a pickle that names anything but arrays is refused unread."""

import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dtss.models.cifar import CIFAR10, CIFAR10_CLASSES, CIFAR100, CifarLayout, load_cifar
from dtss.models.data import DataError, LabelledImages

IMAGES = 4
FINE = tuple(f"class{i}" for i in range(100))


def planes(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (IMAGES, 3072), dtype=np.uint8)


def labels_of(layout: CifarLayout) -> list[int]:
    return [0, layout.classes - 1, 3, 1]


def write_binary(folder: Path, layout: CifarLayout) -> None:
    home = folder / layout.binary_folder
    home.mkdir()
    labels = np.array(labels_of(layout), dtype=np.uint8)[:, None]
    coarse = np.full_like(labels, 7)
    heads = [labels] if layout.label_bytes == 1 else [coarse, labels]
    for seed, name in enumerate((*layout.train_binary, layout.test_binary)):
        np.hstack([*heads, planes(seed)]).tofile(home / name)
    if layout is CIFAR100:
        (home / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")


def as_python2(batch: dict[bytes, Any]) -> bytes:
    """A pickle as the official archives hold it: protocol 2, byte strings, numpy's old module name."""
    rewritten = pickle.dumps(batch, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in rewritten
    return rewritten


def write_python(folder: Path, layout: CifarLayout) -> None:
    home = folder / layout.python_folder
    home.mkdir()
    for seed, name in enumerate((*layout.train_python, layout.test_python)):
        batch = {b"data": planes(seed), layout.label_key: labels_of(layout), b"batch_label": b"one"}
        (home / name).write_bytes(as_python2(batch))
    if layout is CIFAR100:
        (home / "meta").write_bytes(pickle.dumps({b"fine_label_names": [name.encode() for name in FINE]}, protocol=2))


@pytest.mark.parametrize("write", [write_binary, write_python])
@pytest.mark.parametrize("layout", [CIFAR10, CIFAR100])
def test_both_forms_hold_the_same_images(write: Any, layout: CifarLayout, tmp_path: Path) -> None:
    write(tmp_path, layout)
    split = load_cifar(tmp_path, layout)
    assert isinstance(split.train, LabelledImages) and isinstance(split.test, LabelledImages)
    batches = len(layout.train_binary)
    assert split.train.images.shape == (batches * IMAGES, 32, 32, 3)
    assert (split.train.images.dtype, split.train.labels.dtype) == (torch.uint8, torch.int64)
    assert split.train.labels.tolist() == labels_of(layout) * batches
    assert split.test.labels.tolist() == labels_of(layout)
    # red, green and blue planes, row by row
    assert split.test.images[1, 2, 5].tolist() == [planes(batches)[1, plane * 1024 + 2 * 32 + 5] for plane in range(3)]
    assert split.classes == (CIFAR10_CLASSES if layout is CIFAR10 else FINE)


def test_the_folder_of_the_files_itself_may_be_given(tmp_path: Path) -> None:
    write_binary(tmp_path, CIFAR10)
    assert len(load_cifar(tmp_path / "cifar-10-batches-bin", CIFAR10).test.labels) == IMAGES


def refusal(folder: Path, layout: CifarLayout = CIFAR10) -> str:
    with pytest.raises(DataError) as error:
        load_cifar(folder, layout)
    return str(error.value).replace(f"{folder}/", "")


def test_what_is_missing_is_named_with_its_path(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "cifar-10-batches-bin: no such data set: found nothing; unpack the official CIFAR-10 archive there (binary), "
        "or as cifar-10-batches-py (python)"
    )
    write_binary(tmp_path, CIFAR10)
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    assert refusal(tmp_path) == (
        "cifar-10-batches-bin/data_batch_3.bin: no such file: found nothing; unpack the official archive again"
    )


def test_broken_binary_files_are_refused(tmp_path: Path) -> None:
    write_binary(tmp_path, CIFAR10)
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert refusal(tmp_path) == (
        "cifar-10-batches-bin/test_batch.bin: not whole records: found 12291 bytes; "
        "a record has 3073; unpack the archive again"
    )
    path.write_bytes(b"\x0a" + whole[1:])
    assert refusal(tmp_path) == (
        "cifar-10-batches-bin/test_batch.bin: label out of range: found 1..10; "
        "CIFAR-10 has classes 0..9; unpack the archive again"
    )


class Harmful:
    """What runs a command when an ordinary pickle reader meets it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(protocol: int, tmp_path: Path) -> None:
    write_python(tmp_path, CIFAR10)
    touched = tmp_path / "touched"
    content = pickle.dumps({b"data": Harmful(touched)}, protocol=protocol)
    assert any("GLOBAL" in opcode.name for opcode, _, _ in pickletools.genops(content))
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(content)
    assert refusal(tmp_path) == (
        "cifar-10-batches-py/data_batch_1: holds Python objects that could run code: found posix.system; "
        "unpack the official archive again; its files hold arrays and plain values only"
    )
    assert not touched.exists()


def test_other_names_of_allowed_modules_are_refused(tmp_path: Path) -> None:
    write_python(tmp_path, CIFAR10)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"cnumpy\nload\n(Vx\ntR.")
    assert "found numpy.load; " in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02", "not a whole pickle: found EOFError: Ran out of input; unpack the official archive again"),
        (pickle.dumps([1]), "not a batch: found list; a dict is expected; unpack the archive again"),
        (pickle.dumps({}), "wrong data: found NoneType; uint8 [images, 3072] is expected; unpack it again"),
        (
            pickle.dumps({b"data": planes(0), b"labels": [1]}),
            "wrong labels: found 1 labels; a list of 4 is expected; unpack it again",
        ),
    ],
)
def test_other_pickles_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    write_python(tmp_path, CIFAR10)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    assert refusal(tmp_path) == f"cifar-10-batches-py/test_batch: {message}"


def test_the_class_names_of_cifar_100_are_counted(tmp_path: Path) -> None:
    write_binary(tmp_path, CIFAR100)
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("apple\n")
    assert refusal(tmp_path, CIFAR100) == (
        "cifar-100-binary/fine_label_names.txt: wrong number of class names: found 1 names; "
        "CIFAR-100 has 100 classes; unpack the archive again"
    )


@pytest.mark.data
def test_the_real_one(data_folder: Path) -> None:
    if not (data_folder / "cifar-10-batches-bin").is_dir():
        pytest.skip("no cifar-10-batches-bin in --data")
    split = load_cifar(data_folder, CIFAR10)
    assert torch.bincount(split.train.labels).tolist() == [5000] * 10
    assert torch.bincount(split.test.labels).tolist() == [1000] * 10
