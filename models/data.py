"""Data sets by name, and how pixels become network inputs. A further data set is one entry of `DATA_SETS`."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """x = (pixel · pixel_scale − mean) / std, channel by channel: uint8 [B, H, W, C] -> [B, C, H, W]."""

    pixel_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"preprocess: mean has {len(self.mean)} values and std {len(self.std)}; give one of each per channel"
            )
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"preprocess: mean is {self.mean}; give finite numbers")
        if not all(0.0 < value < math.inf for value in (self.pixel_scale, *self.std)):
            raise ValueError(
                f"preprocess: pixel_scale is {self.pixel_scale} and std {self.std}; give positive finite numbers"
            )

    def __call__(self, images: Tensor) -> Tensor:
        channels_first = images.permute(0, 3, 1, 2).to(torch.float32)
        mean = torch.tensor(self.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.std).view(1, -1, 1, 1)
        return (channels_first * self.pixel_scale - mean) / std


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """images uint8 [B, H, W, C], labels int64 [B]."""

    images: Tensor
    labels: Tensor


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random affine view of each training image; 0 leaves that part out.

    shift_pixels      largest shift along each axis.
    rotation_degrees  largest rotation, either way.
    zoom              largest relative change of size.
    """

    shift_pixels: float
    rotation_degrees: float
    zoom: float

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """inputs [B, C, H, W] -> same, one transform an image, zeros outside, bilinear."""

        def uniform(limit: float) -> Tensor:
            return (2.0 * torch.rand(len(inputs), generator=generator) - 1.0) * limit

        height, width = inputs.shape[-2:]
        angle, size = uniform(math.radians(self.rotation_degrees)), 1.0 + uniform(self.zoom)
        cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
        # affine_grid measures in half image sizes
        shift_x, shift_y = uniform(2.0 * self.shift_pixels / width), uniform(2.0 * self.shift_pixels / height)
        rows = torch.stack([cosine, -sine, shift_x, sine, cosine, shift_y], dim=1)
        grid = functional.affine_grid(rows.view(-1, 2, 3), list(inputs.shape), align_corners=False)
        return functional.grid_sample(inputs, grid, align_corners=False)


@dataclasses.dataclass(frozen=True)
class Split:
    """Disjoint training and held-out test images."""

    train: LabelledImages
    test: LabelledImages


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A named source of labelled images; `load` gives the same split every time."""

    classes: tuple[str, ...]
    preprocess: Preprocess
    augmentation: Augmentation
    load: Callable[[], Split]


def stratified_split(images: LabelledImages, every: int) -> Split:
    """Holds out every `every`-th image of each class, in file order: no randomness, all classes alike."""
    held_out = torch.zeros(len(images.labels), dtype=torch.bool)
    for label in torch.unique(images.labels):
        held_out[torch.nonzero(images.labels == label).flatten()[::every]] = True
    return Split(
        train=LabelledImages(images.images[~held_out], images.labels[~held_out]),
        test=LabelledImages(images.images[held_out], images.labels[held_out]),
    )


def _load_digits() -> Split:
    """1797 handwritten digits of 8×8 pixels 0..16 (UCI optical recognition), bundled with scikit-learn."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # heavy, and only training needs it

    bunch = load_digits()
    images = torch.from_numpy(np.asarray(bunch.images).astype(np.uint8)).unsqueeze(-1)
    labels = torch.from_numpy(np.asarray(bunch.target).astype(np.int64))
    return stratified_split(LabelledImages(images, labels), every=5)


DATA_SETS: Mapping[str, DataSet] = {
    "digits": DataSet(
        classes=tuple("0123456789"),
        # mean 0: the zeros that pad a convolution are black pixels, exactly
        preprocess=Preprocess(pixel_scale=1.0 / 16.0, mean=(0.0,), std=(1.0,)),
        augmentation=Augmentation(shift_pixels=0.8, rotation_degrees=12.0, zoom=0.1),
        load=_load_digits,
    ),
}
