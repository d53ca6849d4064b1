"""Labelled images, how pixels become network inputs, and what a data set is. The sets themselves: `data_sets`."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from dtss.models.augmentation import Augmentation
from dtss.models.errors import InputError


class DataError(InputError):
    """Files of a data set that cannot be used."""


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

    @property
    def pixel_lsb(self) -> tuple[float, ...]:
        """What one step of a pixel means in x, channel by channel."""
        return tuple(self.pixel_scale / std for std in self.std)

    def __call__(self, images: Tensor) -> Tensor:
        channels_first = images.permute(0, 3, 1, 2).to(torch.float32)
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (channels_first * self.pixel_scale - mean) / std


class ImageSource(Protocol):
    """Labelled images, in memory or on disk: labels int64 [B], pixels only when asked for."""

    @property
    def labels(self) -> Tensor: ...

    def select(self, indices: Tensor) -> "LabelledImages":
        """The images at these positions."""
        ...

    def part(self, indices: Tensor) -> "ImageSource":
        """A source of these images alone."""
        ...


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """images uint8 [B, H, W, C], labels int64 [B]; an `ImageSource` that is all in memory."""

    images: Tensor
    labels: Tensor

    def select(self, indices: Tensor) -> "LabelledImages":
        return LabelledImages(self.images[indices], self.labels[indices])

    def part(self, indices: Tensor) -> "LabelledImages":
        return self.select(indices)


@dataclasses.dataclass(frozen=True)
class Split:
    """Disjoint training and held-out test images, and the names of their classes."""

    train: ImageSource
    test: ImageSource
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A named source of labelled images; `load` gives the same split every time.

    load     (--data folder or None, the network's image size) -> split. Only folders of photographs, which come in
             all sizes, look at the size.
    samples  how many held-out images a checkpoint carries, all classes alike; None: every one.
    """

    preprocess: Preprocess
    augmentation: Augmentation
    load: Callable[[Path | None, tuple[int, int]], Split]
    samples: int | None


def stratified_split(images: LabelledImages, every: int, classes: tuple[str, ...]) -> Split:
    """Holds out every `every`-th image of each class, in file order: no randomness, all classes alike."""
    held_out = torch.zeros(len(images.labels), dtype=torch.bool)
    for label in torch.unique(images.labels):
        held_out[torch.nonzero(images.labels == label).flatten()[::every]] = True
    return Split(
        train=LabelledImages(images.images[~held_out], images.labels[~held_out]),
        test=LabelledImages(images.images[held_out], images.labels[held_out]),
        classes=classes,
    )


def balanced_samples(source: ImageSource, count: int | None) -> LabelledImages:
    """The first images of each class, `count` in all or a few more so that every class has as many.

    Where there are more classes than `count`: one image of `count` classes, evenly spaced among them.
    """
    labels = source.labels
    if count is None or count >= len(labels):
        return source.select(torch.arange(len(labels)))
    present = torch.unique(labels)
    if len(present) > count:
        present = present[torch.arange(count) * len(present) // count]
    each = -(-count // len(present))
    chosen = torch.cat([torch.nonzero(labels == label).flatten()[:each] for label in present])
    return source.select(chosen.sort().values)


def evenly_limited(source: ImageSource, count: int | None) -> ImageSource:
    """`count` images, evenly spaced in file order, which in a folder for each class takes from every class."""
    images = len(source.labels)
    if count is None or count >= images:
        return source
    return source.part(torch.arange(count) * images // count)
