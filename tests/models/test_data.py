"""The digits split, the preprocessing, and which images are taken."""

from pathlib import Path

import pytest
import torch

from dtss.models.cli import DATA_SETS as NAMES
from dtss.models.data import (
    DataError,
    LabelledImages,
    Preprocess,
    Split,
    balanced_samples,
    evenly_limited,
    stratified_split,
)
from dtss.models.data_sets import DATA_SETS

DIGITS = DATA_SETS["digits"]


def load_digits() -> Split:
    return DIGITS.load(None, (8, 8))


def test_digits_are_all_there_and_the_split_is_fixed() -> None:
    split = load_digits()
    assert isinstance(split.train, LabelledImages) and isinstance(split.test, LabelledImages)
    assert split.train.images.shape == (1433, 8, 8, 1)
    assert split.test.images.shape == (364, 8, 8, 1)
    assert split.test.images.dtype == torch.uint8
    assert int(split.train.images.max()) == 16
    assert torch.bincount(split.test.labels).tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]
    assert torch.equal(split.test.images, load_digits().test.select(torch.arange(364)).images)


def test_every_nth_image_of_each_class_is_held_out() -> None:
    labels = torch.tensor([0, 0, 1, 0, 1, 1, 0, 1])
    images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    split = stratified_split(LabelledImages(images, labels), every=3, classes=("a", "b"))
    assert isinstance(split.train, LabelledImages) and isinstance(split.test, LabelledImages)
    assert split.test.images.flatten().tolist() == [0, 2, 6, 7]
    assert split.train.images.flatten().tolist() == [1, 3, 4, 5]
    assert split.test.labels.tolist() == [0, 1, 0, 1]


def test_preprocess_scales_centres_and_moves_the_channels_first() -> None:
    preprocess = Preprocess(pixel_scale=0.25, mean=(1.0, 2.0), std=(0.5, 4.0))
    image = torch.tensor([[[[4, 8], [8, 40]]]], dtype=torch.uint8)  # [1, 1, 2, 2]: two pixels, two channels
    assert preprocess(image).tolist() == [[[[0.0, 2.0]], [[0.0, 2.0]]]]


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ((1.0, (0.0,), (1.0, 1.0)), "preprocess: mean has 1 values and std 2; give one of each per channel"),
        ((1.0, (float("nan"),), (1.0,)), "preprocess: mean is (nan,); give finite numbers"),
        (
            (1.0, (0.0,), (0.0,)),
            "preprocess: pixel_scale is 1.0 and std (0.0,); give positive finite numbers",
        ),
    ],
)
def test_impossible_preprocessing_is_refused(
    preprocess: tuple[float, tuple[float, ...], tuple[float, ...]], message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        Preprocess(*preprocess)
    assert str(error.value) == message


def labelled(labels: list[int]) -> LabelledImages:
    return LabelledImages(torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1), torch.tensor(labels))


def test_samples_take_the_same_from_each_class() -> None:
    source = labelled([2, 2, 2, 0, 1, 0, 1, 0, 1])
    assert len(balanced_samples(source, None).labels) == 9
    assert balanced_samples(source, 6).images.flatten().tolist() == [0, 1, 3, 4, 5, 6]
    assert balanced_samples(source, 4).labels.tolist() == [2, 2, 0, 1, 0, 1]  # 4 of 3 classes: 2 of each
    assert balanced_samples(source, 2).labels.tolist() == [0, 1]


def test_a_limit_is_spread_over_the_file() -> None:
    source = labelled([0] * 4 + [1] * 4)
    assert evenly_limited(source, 4).labels.tolist() == [0, 0, 1, 1]
    assert evenly_limited(source, 8) is source
    assert evenly_limited(source, None) is source


def test_the_command_line_offers_every_data_set() -> None:
    assert set(NAMES) == set(DATA_SETS)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_a_missing_folder_is_named_and_nothing_downloaded(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        DATA_SETS[name].load(None, (32, 32))
    assert str(error.value) == (
        f"data set {name}: no folder: found no --data; give --data DIR with its files; dtss never downloads any"
    )
    with pytest.raises(DataError) as error:
        DATA_SETS[name].load(tmp_path / "no", (32, 32))
    assert str(error.value) == (
        f"--data {tmp_path}/no: no such folder: found nothing; give the folder of {name}; dtss never downloads any"
    )
