"""The data sets by name. A further one is one entry of `DATA_SETS`."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dtss.models.augmentation import CropAndFlip, RandomAffine, RandomResizedCrop
from dtss.models.cifar import CIFAR10, CIFAR100, CifarLayout, load_cifar
from dtss.models.data import DataError, DataSet, LabelledImages, Preprocess, Split, stratified_split
from dtss.models.idx import load_idx

FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
DIGIT_CLASSES = tuple("0123456789")


def _load_digits(_folder: Path | None, _image_size: tuple[int, int]) -> Split:
    """1797 handwritten digits of 8×8 pixels 0..16 (UCI optical recognition), bundled with scikit-learn."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # heavy, and only training needs it

    bunch = load_digits()
    images = torch.from_numpy(np.asarray(bunch.images).astype(np.uint8)).unsqueeze(-1)
    labels = torch.from_numpy(np.asarray(bunch.target).astype(np.int64))
    return stratified_split(LabelledImages(images, labels), every=5, classes=DIGIT_CLASSES)


def _load_imagenet(folder: Path | None, image_size: tuple[int, int]) -> Split:
    from dtss.models.image_folder import load_image_folder  # noqa: PLC0415  # Pillow, and only ImageNet needs it

    return load_image_folder(_given(folder, "imagenet"), image_size)


def _cifar(name: str, layout: CifarLayout) -> Callable[[Path | None, tuple[int, int]], Split]:
    return lambda folder, _image_size: load_cifar(_given(folder, name), layout)


def _idx(
    name: str, subfolders: tuple[str, ...], classes: tuple[str, ...]
) -> Callable[[Path | None, tuple[int, int]], Split]:
    return lambda folder, _image_size: load_idx(_given(folder, name), subfolders, classes)


def _given(folder: Path | None, name: str) -> Path:
    if folder is None:
        raise DataError(
            "no folder", f"data set {name}", "no --data", "give --data DIR with its files; dtss never downloads any"
        )
    if not folder.is_dir():
        raise DataError(
            "no such folder",
            f"--data {folder}",
            "a file" if folder.exists() else "nothing",
            f"give the folder of {name}; dtss never downloads any",
        )
    return folder


_colour = partial(Preprocess, 1.0 / 255.0)

DATA_SETS: Mapping[str, DataSet] = {
    "digits": DataSet(
        # mean 0: the zeros that pad a convolution are black pixels, exactly
        preprocess=Preprocess(pixel_scale=1.0 / 16.0, mean=(0.0,), std=(1.0,)),
        augmentation=RandomAffine(shift_pixels=0.8, rotation_degrees=12.0, zoom=0.1),
        load=_load_digits,
        samples=None,
    ),
    "mnist": DataSet(
        preprocess=_colour(mean=(0.1307,), std=(0.3081,)),
        augmentation=RandomAffine(shift_pixels=2.0, rotation_degrees=8.0, zoom=0.08),
        load=_idx("mnist", ("mnist", "MNIST/raw"), DIGIT_CLASSES),
        samples=260,
    ),
    "fashion-mnist": DataSet(
        preprocess=_colour(mean=(0.2860,), std=(0.3530,)),
        augmentation=CropAndFlip(padding=2, flip=True),
        load=_idx("fashion-mnist", ("fashion-mnist", "FashionMNIST/raw"), FASHION_CLASSES),
        samples=260,
    ),
    "cifar10": DataSet(
        preprocess=_colour(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
        augmentation=CropAndFlip(padding=4, flip=True),
        load=_cifar("cifar10", CIFAR10),
        samples=260,
    ),
    "cifar100": DataSet(
        preprocess=_colour(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
        augmentation=CropAndFlip(padding=4, flip=True),
        load=_cifar("cifar100", CIFAR100),
        samples=300,
    ),
    "imagenet": DataSet(
        preprocess=_colour(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        augmentation=RandomResizedCrop(area=(0.25, 1.0), aspect=4.0 / 3.0, output_share=0.875),
        load=_load_imagenet,
        samples=32,
    ),
}
