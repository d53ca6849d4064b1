"""Pictures in a folder for each class."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dtss.models.data import DataError
from dtss.models.data_sets import DATA_SETS
from dtss.models.image_folder import ImageFolder

RED, BLUE = (250, 10, 10), (10, 10, 250)


def write(home: Path) -> None:
    for part in ("train", "val"):
        for name, colour in (("n02", BLUE), ("n01", RED)):
            (home / part / name).mkdir(parents=True)
            Image.new("RGB", (40, 30), colour).save(home / part / name / "b.JPEG", quality=95)
            Image.new("RGB", (9, 17), colour).save(home / part / name / "a.png")
            (home / part / name / "notes.txt").write_text("no picture")


@pytest.mark.parametrize("home", [".", "imagenet"])
def test_pictures_of_any_size_become_the_networks(home: str, tmp_path: Path) -> None:
    write(tmp_path / home)
    split = DATA_SETS["imagenet"].load(tmp_path, (28, 21))
    assert split.classes == ("n01", "n02")
    assert split.train.labels.tolist() == split.test.labels.tolist() == [0, 0, 1, 1]
    train, test = split.train.select(torch.tensor([3, 0])), split.test.select(torch.arange(4))
    assert train.images.shape == (2, 32, 24, 3)  # 28 and 21 are 0.875 of it: training crops are cut from this
    assert test.images.shape == (4, 28, 21, 3)
    assert train.images.dtype == torch.uint8
    assert train.labels.tolist() == [1, 0]
    for image, colour in zip(train.images, (BLUE, RED), strict=True):
        assert (image.int() - torch.tensor(colour)).abs().max() <= 3
    views = DATA_SETS["imagenet"].augmentation(DATA_SETS["imagenet"].preprocess(train.images), torch.Generator())
    assert views.shape == (2, 3, 28, 21)


def test_the_middle_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    source = ImageFolder((tmp_path / "x.png",), torch.tensor([0]), resize=(10, 10), crop=(10, 10))
    assert source.select(torch.tensor([0])).images.min() == 255
    assert source.part(torch.tensor([0])).paths == source.paths


def refusal(folder: Path) -> str:
    def read() -> None:
        split = DATA_SETS["imagenet"].load(folder, (28, 28))
        split.test.select(torch.arange(len(split.test.labels)))

    with pytest.raises(DataError) as error:
        read()
    return str(error.value).replace(f"{folder}/", "")


def test_what_is_missing_is_named_with_its_path(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "train: no such data set: found nothing; put one folder for each class into train and val"
    )
    write(tmp_path)
    shutil.rmtree(tmp_path / "val" / "n02")
    assert refusal(tmp_path) == (
        f"{tmp_path}: train and val have different classes: found n02; give both the same class folders"
    )
    (tmp_path / "val" / "n02").mkdir()
    assert refusal(tmp_path) == (
        "val/n02: a class without pictures: found nothing; put pictures (.bmp, .jpeg, .jpg, .png, .webp) there"
    )


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "val" / "n01" / "b.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    sentence = refusal(tmp_path)
    assert sentence.startswith("val/n01/b.JPEG: not a whole picture: found ")
    assert sentence.endswith("; copy it again or delete it")
