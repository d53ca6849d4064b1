"""Random views of training images."""

import torch

from dtss.models.augmentation import CropAndFlip, RandomAffine, RandomResizedCrop
from dtss.models.data_sets import DATA_SETS


def test_augmentation_of_nothing_changes_nothing() -> None:
    inputs = torch.rand(3, 1, 8, 8)
    unchanged = RandomAffine(shift_pixels=0.0, rotation_degrees=0.0, zoom=0.0)(inputs, torch.Generator())
    assert torch.allclose(unchanged, inputs, atol=1e-5)


def test_a_shift_moves_the_image_by_at_most_its_pixels() -> None:
    inputs = torch.zeros(64, 1, 8, 8)
    inputs[:, :, 4, 4] = 1.0
    shifted = RandomAffine(shift_pixels=1.0, rotation_degrees=0.0, zoom=0.0)(inputs, torch.Generator().manual_seed(1))
    assert not torch.equal(shifted, inputs)
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[3:6, 3:6] = False
    assert float(shifted[:, 0, outside].abs().max()) < 1e-5
    assert torch.allclose(shifted.sum((1, 2, 3)), torch.ones(64), atol=1e-5)


def test_augmentation_repeats_for_one_seed_and_differs_between_images() -> None:
    inputs = torch.rand(1, 1, 8, 8).expand(2, 1, 8, 8)
    first = DATA_SETS["digits"].augmentation(inputs, torch.Generator().manual_seed(3))
    assert torch.equal(first, DATA_SETS["digits"].augmentation(inputs, torch.Generator().manual_seed(3)))
    assert not torch.equal(first[0], first[1])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_crop_is_a_window_of_the_padded_image_or_its_mirror() -> None:
    inputs = torch.rand(200, 2, 5, 6)
    padded = torch.nn.functional.pad(inputs, [1, 1, 1, 1])
    views = CropAndFlip(padding=1, flip=True)(inputs, seeded(0))
    kinds = set()
    for image, view in zip(padded, views, strict=True):
        windows = {(y, x): image[:, y : y + 5, x : x + 6] for y in range(3) for x in range(3)}
        found = [
            (at, flipped)
            for at, window in windows.items()
            for flipped in (False, True)
            if torch.equal(view, window.flip(-1) if flipped else window)
        ]
        assert len(found) == 1
        kinds.add(found[0])
    assert len(kinds) == 18  # every place, mirrored and not


def test_no_padding_and_no_flip_change_nothing() -> None:
    inputs = torch.rand(3, 2, 5, 6)
    assert torch.equal(CropAndFlip(padding=0, flip=False)(inputs, seeded(0)), inputs)


def test_a_resized_crop_of_everything_is_the_image_or_its_mirror() -> None:
    inputs = torch.rand(8, 3, 16, 16)
    views = RandomResizedCrop(area=(1.0, 1.0), aspect=1.0, output_share=1.0)(inputs, seeded(0))
    mirrored = [torch.allclose(view, image.flip(-1), atol=1e-5) for image, view in zip(inputs, views, strict=True)]
    plain = [torch.allclose(view, image, atol=1e-5) for image, view in zip(inputs, views, strict=True)]
    assert all(a != b for a, b in zip(mirrored, plain, strict=True))
    assert any(mirrored) and any(plain)


def test_a_resized_crop_has_the_networks_size_and_stays_inside() -> None:
    crop = DATA_SETS["imagenet"].augmentation
    views = crop(torch.ones(16, 3, 256, 256), seeded(1))
    assert views.shape == (16, 3, 224, 224)
    assert float(views.min()) > 0.45  # half a pixel of the outside at most
    for size in range(8, 400):
        assert round(round(size / 0.875) * 0.875) == size


def test_crops_repeat_for_one_seed() -> None:
    inputs = torch.rand(4, 3, 32, 32)
    for name in ("cifar10", "imagenet", "mnist"):
        view = DATA_SETS[name].augmentation
        assert torch.equal(view(inputs, seeded(5)), view(inputs, seeded(5)))
        assert not torch.equal(view(inputs, seeded(5)), view(inputs, seeded(6)))
