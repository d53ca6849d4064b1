"""Images that a user brings: a .npy or .npz file becomes pixels of the network's own form."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Preprocess

Pixels = NDArray[np.unsignedinteger[Any]]


class ImageForm(msgspec.Struct, frozen=True):
    """What a network reads: shape (H, W, C), its preprocessing, and its number of classes."""

    shape: tuple[int, int, int]
    preprocess: Preprocess
    classes: int


class UserImages(msgspec.Struct, frozen=True):
    """pixels [B, H, W, C], labels [B] if the file names them; clipped_values: inputs that no pixel represents."""

    pixels: Pixels
    labels: NDArray[np.int64] | None
    clipped_values: int


def read_images(path: Path, form: ImageForm) -> UserImages:
    """uint8 pixels [B, H, W, C], or float network inputs [B, C, H, W] brought back to pixels."""
    arrays = _read_arrays(path)
    where = str(path)
    labels = None
    if "images" in arrays:
        array = arrays["images"]
        labels = checked_labels(form, f"{where}: labels", arrays.get("labels"), len(array) if array.ndim else 0)
    elif len(arrays) == 1:
        (array,) = arrays.values()
    else:
        raise BadInputError(where, f"holds {sorted(arrays)}", "name the array of images `images`")
    pixels, clipped = _network_input(form, where, array)
    return UserImages(pixels, labels, clipped)


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    hint = "give a .npy or .npz file that numpy.save wrote, without objects in it"
    try:
        with path.open("rb") as file:
            read = np.load(file, allow_pickle=False)
            if isinstance(read, np.ndarray):
                return {path.stem: read}
            return {name: read[name] for name in read.files}
    except OSError as error:
        raise BadInputError(str(path), f"cannot be read ({error.strerror or error})", "check the path") from None
    except (ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInputError(str(path), f"is no array file ({error})", hint) from None


def _network_input(form: ImageForm, where: str, array: NDArray[Any]) -> tuple[Pixels, int]:
    """(pixels, values clipped)."""
    height, width, channels = form.shape
    choices = f"give uint8 [B, {height}, {width}, {channels}] pixels or float [B, {channels}, {height}, {width}] inputs"
    if array.dtype == np.uint8:
        return checked_pixels(form, where, array), 0
    if array.dtype.kind != "f":
        raise BadInputError(where, f"holds {array.dtype} values", choices)
    if array.ndim != 4 or array.shape[1:] != (channels, height, width):
        raise BadInputError(where, f"float array of shape {array.shape}", choices)
    _refuse_empty(where, array)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise BadInputError(where, f"{count} values are NaN or infinite", "remove them; inputs are finite numbers")
    return _pixels_of_input(form.preprocess, array)


def _pixels_of_input(preprocess: Preprocess, inputs: NDArray[Any]) -> tuple[Pixels, int]:
    """p = round((x·std + mean) / pixel_scale), clipped to 0 … pixel_max."""
    std, mean = (np.array(values, np.float64).reshape(1, -1, 1, 1) for values in (preprocess.std, preprocess.mean))
    exact = np.rint((inputs.astype(np.float64) * std + mean) / preprocess.pixel_scale)
    clipped = int(((exact < 0) | (exact > preprocess.pixel_max)).sum())
    pixels = np.clip(exact, 0, preprocess.pixel_max).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels).astype(_pixel_type(preprocess)), clipped


def network_inputs(preprocess: Preprocess, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """x = (p·pixel_scale − mean) / std in doubles: pixels [B, H, W, C] → [B, C, H, W]."""
    inputs: NDArray[np.float64] = (pixels * preprocess.pixel_scale - np.array(preprocess.mean)) / np.array(
        preprocess.std
    )
    return inputs.transpose(0, 3, 1, 2)


def _pixel_type(preprocess: Preprocess) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if preprocess.pixel_max <= np.iinfo(np.uint8).max else np.uint32


def checked_pixels(form: ImageForm, where: str, array: NDArray[Any]) -> Pixels:
    """`array` if it is pixels that this network reads."""
    height, width, channels = form.shape
    expected = f"give uint8 [B, {height}, {width}, {channels}]"
    if array.dtype != np.uint8:
        raise BadInputError(where, f"holds {array.dtype} values", expected)
    if array.ndim != 4 or array.shape[1:] != (height, width, channels):
        raise BadInputError(where, f"uint8 array of shape {array.shape}", expected)
    _refuse_empty(where, array)
    highest, allowed = int(array.max()), form.preprocess.pixel_max
    if highest > allowed:
        found = f"the largest pixel is {highest}, this network's pixels are at most {allowed}"
        raise BadInputError(where, found, "give images in the range the network was trained on")
    return array


def _refuse_empty(where: str, array: NDArray[Any]) -> None:
    if array.size == 0:
        raise BadInputError(where, f"is empty, shape {array.shape}", "give at least one image")


def checked_labels(form: ImageForm, where: str, labels: NDArray[Any] | None, images: int) -> NDArray[np.int64] | None:
    """`labels` if they are one class for each image."""
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (images,):
        raise BadInputError(where, f"found {labels.dtype} {labels.shape}", f"give {images} whole numbers, one an image")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < form.classes:
        found = f"found {labels.min()} … {labels.max()}"
        raise BadInputError(where, found, f"labels of {form.classes} classes are 0 … {form.classes - 1}")
    return labels.astype(np.int64)
