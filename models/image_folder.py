"""Photographs in one folder for each class (the layout of ImageNet), decoded when a batch asks for them."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dtss.models.data import DataError, LabelledImages, Split

SUFFIXES = frozenset((".jpeg", ".jpg", ".png", ".webp", ".bmp"))
# ImageNet's habit: the shorter side becomes 256, the middle 224 are looked at; training crops within the 256.
SEEN_SHARE = 0.875


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """An `ImageSource` on disk.

    paths   one a picture.
    labels  int64 [B].
    resize  (height, width) that the picture covers: the smallest such size of its own aspect.
    crop    (height, width) of the middle that is kept.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    resize: tuple[int, int]
    crop: tuple[int, int]

    def select(self, indices: Tensor) -> LabelledImages:
        pictures = [self._decoded(self.paths[i]) for i in indices.tolist()]
        return LabelledImages(torch.from_numpy(np.stack(pictures)), self.labels[indices])

    def part(self, indices: Tensor) -> "ImageFolder":
        paths = tuple(self.paths[i] for i in indices.tolist())
        return dataclasses.replace(self, paths=paths, labels=self.labels[indices])

    def _decoded(self, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as picture:
                return np.asarray(_middle(picture.convert("RGB"), self.resize, self.crop))
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError("not a whole picture", str(path), str(error), "copy it again or delete it") from error


def load_image_folder(folder: Path, image_size: tuple[int, int]) -> Split:
    """FOLDER/train/CLASS/*.jpg and FOLDER/val/CLASS/*.jpg, or the same below FOLDER/imagenet."""
    home = folder / "imagenet" if (folder / "imagenet").is_dir() else folder
    classes = _classes(home / "train", folder)
    if _classes(home / "val", folder) != classes:
        unmatched = sorted(set(classes) ^ set(_classes(home / "val", folder)))
        raise DataError(
            "train and val have different classes", str(home), unmatched[0], "give both the same class folders"
        )
    whole = (round(image_size[0] / SEEN_SHARE), round(image_size[1] / SEEN_SHARE))
    train = _source(home / "train", classes, whole, whole)
    return Split(train, _source(home / "val", classes, whole, image_size), classes)


def _classes(home: Path, folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in home.iterdir() if entry.is_dir())) if home.is_dir() else ()
    if not names:
        raise DataError(
            "no such data set",
            str(home),
            "no class folders" if home.is_dir() else "nothing",
            f"put one folder for each class into {folder / 'train'} and {folder / 'val'}",
        )
    return names


def _source(home: Path, classes: tuple[str, ...], resize: tuple[int, int], crop: tuple[int, int]) -> ImageFolder:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (home / name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            kinds = ", ".join(sorted(SUFFIXES))
            raise DataError("a class without pictures", str(home / name), "nothing", f"put pictures ({kinds}) there")
        paths.extend(found)
        labels.extend([label] * len(found))
    return ImageFolder(tuple(paths), torch.tensor(labels), resize, crop)


def _middle(picture: Image.Image, resize: tuple[int, int], crop: tuple[int, int]) -> Image.Image:
    width, height = picture.size
    factor = max(resize[0] / height, resize[1] / width)
    size = max(resize[1], round(width * factor)), max(resize[0], round(height * factor))
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - crop[1]) // 2, (size[1] - crop[0]) // 2
    return resized.crop((left, top, left + crop[1], top + crop[0]))
