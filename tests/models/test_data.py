"""The digits split, the preprocessing and the augmentation."""

import pytest
import torch

from dtss.models.data import DATA_SETS, Augmentation, LabelledImages, Preprocess, stratified_split

DIGITS = DATA_SETS["digits"]


def test_digits_are_all_there_and_the_split_is_fixed() -> None:
    split = DIGITS.load()
    assert split.train.images.shape == (1433, 8, 8, 1)
    assert split.test.images.shape == (364, 8, 8, 1)
    assert split.test.images.dtype == torch.uint8
    assert int(split.train.images.max()) == 16
    assert torch.bincount(split.test.labels).tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]
    assert torch.equal(split.test.images, DIGITS.load().test.images)


def test_every_nth_image_of_each_class_is_held_out() -> None:
    labels = torch.tensor([0, 0, 1, 0, 1, 1, 0, 1])
    images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    split = stratified_split(LabelledImages(images, labels), every=3)
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


def test_augmentation_of_nothing_changes_nothing() -> None:
    inputs = torch.rand(3, 1, 8, 8)
    unchanged = Augmentation(shift_pixels=0.0, rotation_degrees=0.0, zoom=0.0)(inputs, torch.Generator())
    assert torch.allclose(unchanged, inputs, atol=1e-5)


def test_a_shift_moves_the_image_by_at_most_its_pixels() -> None:
    inputs = torch.zeros(64, 1, 8, 8)
    inputs[:, :, 4, 4] = 1.0
    shifted = Augmentation(shift_pixels=1.0, rotation_degrees=0.0, zoom=0.0)(inputs, torch.Generator().manual_seed(1))
    assert not torch.equal(shifted, inputs)
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[3:6, 3:6] = False
    assert float(shifted[:, 0, outside].abs().max()) < 1e-5
    assert torch.allclose(shifted.sum((1, 2, 3)), torch.ones(64), atol=1e-5)


def test_augmentation_repeats_for_one_seed_and_differs_between_images() -> None:
    inputs = torch.rand(1, 1, 8, 8).expand(2, 1, 8, 8)
    first = DIGITS.augmentation(inputs, torch.Generator().manual_seed(3))
    assert torch.equal(first, DIGITS.augmentation(inputs, torch.Generator().manual_seed(3)))
    assert not torch.equal(first[0], first[1])
