"""The images to simulate: those stored with the schedule, or the user's own file."""

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
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.io import FLOAT_LOGITS, IMAGES, LABELS, LoadedSchedule

Pixels = NDArray[np.unsignedinteger[Any]]


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Images ready for the machine.

    pixels [B, H, W, C], unsigned, at most preprocess.pixel_max.  labels [B].  float_logits [B, K]: what the
    float network says of the same images.  clipped_values: inputs that no pixel value represents.
    """

    pixels: Pixels
    labels: NDArray[np.int64] | None = None
    float_logits: NDArray[np.float64] | None = None
    clipped_values: int = 0
    source: str = "stored"


def load_samples(loaded: LoadedSchedule, schedule_path: str, images: Path | None, limit: int | None) -> Samples:
    """The stored images, or those of the file `images`; at most `limit` of them."""
    samples = _stored(loaded, schedule_path) if images is None else _from_file(loaded.schedule, images)
    return Samples(
        pixels=samples.pixels[:limit],
        labels=None if samples.labels is None else samples.labels[:limit],
        float_logits=None if samples.float_logits is None else samples.float_logits[:limit],
        clipped_values=samples.clipped_values,
        source=samples.source,
    )


def _stored(loaded: LoadedSchedule, where: str) -> Samples:
    schedule, tensors = loaded.schedule, loaded.tensors
    if IMAGES not in tensors:
        raise BadInputError(where, "no images are stored with this schedule", "give some with --images FILE")
    pixels = _pixels(schedule, f"{where}: {IMAGES}", tensors[IMAGES])
    labels = _labels(schedule, f"{where}: {LABELS}", tensors.get(LABELS), len(pixels))
    logits = tensors.get(FLOAT_LOGITS)
    expected = (len(pixels), len(schedule.output.classes))
    if logits is not None and logits.shape != expected:
        raise BadInputError(
            f"{where}: {FLOAT_LOGITS}", f"found shape {logits.shape}", f"expected {expected}; recompile"
        )
    return Samples(pixels=pixels, labels=labels, float_logits=None if logits is None else logits.astype(np.float64))


def _from_file(schedule: Schedule, path: Path) -> Samples:
    arrays = _read_arrays(path)
    where = str(path)
    labels = None
    if "images" in arrays:
        array = arrays["images"]
        labels = _labels(schedule, f"{where}: labels", arrays.get("labels"), len(array) if array.ndim else 0)
    elif len(arrays) == 1:
        (array,) = arrays.values()
    else:
        raise BadInputError(where, f"holds {sorted(arrays)}", "name the array of images `images`")
    pixels, clipped = _network_input(schedule, where, array)
    return Samples(pixels=pixels, labels=labels, clipped_values=clipped, source=path.name)


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


def _network_input(schedule: Schedule, where: str, array: NDArray[Any]) -> tuple[Pixels, int]:
    """(pixels, values clipped)."""
    height, width, channels = schedule.nodes[0].shape
    choices = f"give uint8 [B, {height}, {width}, {channels}] pixels or float [B, {channels}, {height}, {width}] inputs"
    if array.dtype == np.uint8:
        return _pixels(schedule, where, array), 0
    if array.dtype.kind != "f":
        raise BadInputError(where, f"holds {array.dtype} values", choices)
    if array.ndim != 4 or array.shape[1:] != (channels, height, width):
        raise BadInputError(where, f"float array of shape {array.shape}", choices)
    _refuse_empty(where, array)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise BadInputError(where, f"{count} values are NaN or infinite", "remove them; inputs are finite numbers")
    return _pixels_of_input(schedule, array)


def _pixels_of_input(schedule: Schedule, inputs: NDArray[Any]) -> tuple[Pixels, int]:
    """p = round((x·std + mean) / pixel_scale), clipped to 0 … pixel_max."""
    preprocess = schedule.preprocess
    std, mean = (np.array(values, np.float64).reshape(1, -1, 1, 1) for values in (preprocess.std, preprocess.mean))
    exact = np.rint((inputs.astype(np.float64) * std + mean) / preprocess.pixel_scale)
    clipped = int(((exact < 0) | (exact > preprocess.pixel_max)).sum())
    pixels = np.clip(exact, 0, preprocess.pixel_max).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels).astype(_pixel_type(schedule)), clipped


def _pixel_type(schedule: Schedule) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if schedule.preprocess.pixel_max <= np.iinfo(np.uint8).max else np.uint32


def _pixels(schedule: Schedule, where: str, array: NDArray[Any]) -> Pixels:
    height, width, channels = schedule.nodes[0].shape
    expected = f"give uint8 [B, {height}, {width}, {channels}]"
    if array.dtype != np.uint8:
        raise BadInputError(where, f"holds {array.dtype} values", expected)
    if array.ndim != 4 or array.shape[1:] != (height, width, channels):
        raise BadInputError(where, f"uint8 array of shape {array.shape}", expected)
    _refuse_empty(where, array)
    highest, allowed = int(array.max()), schedule.preprocess.pixel_max
    if highest > allowed:
        found = f"the largest pixel is {highest}, this network's pixels are at most {allowed}"
        raise BadInputError(where, found, "give images in the range the network was trained on")
    return array


def _refuse_empty(where: str, array: NDArray[Any]) -> None:
    if array.size == 0:
        raise BadInputError(where, f"is empty, shape {array.shape}", "give at least one image")


def _labels(schedule: Schedule, where: str, labels: NDArray[Any] | None, images: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    classes = len(schedule.output.classes)
    if labels.dtype.kind not in "iu" or labels.shape != (images,):
        raise BadInputError(where, f"found {labels.dtype} {labels.shape}", f"give {images} whole numbers, one an image")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        found = f"found {labels.min()} … {labels.max()}"
        raise BadInputError(where, found, f"labels of {classes} classes are 0 … {classes - 1}")
    return labels.astype(np.int64)
