"""The images to simulate: those stored with the schedule, or the user's own file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.images import ImageForm, Pixels, checked_labels, checked_pixels, read_images
from dtss.compiler.schedule.io import FLOAT_LOGITS, IMAGES, LABELS, LoadedSchedule


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
    form = _form(schedule)
    pixels = checked_pixels(form, f"{where}: {IMAGES}", tensors[IMAGES])
    labels = checked_labels(form, f"{where}: {LABELS}", tensors.get(LABELS), len(pixels))
    logits = tensors.get(FLOAT_LOGITS)
    expected = (len(pixels), form.classes)
    if logits is not None and logits.shape != expected:
        raise BadInputError(
            f"{where}: {FLOAT_LOGITS}", f"found shape {logits.shape}", f"expected {expected}; recompile"
        )
    return Samples(pixels=pixels, labels=labels, float_logits=None if logits is None else logits.astype(np.float64))


def _from_file(schedule: Schedule, path: Path) -> Samples:
    images = read_images(path, _form(schedule))
    return Samples(pixels=images.pixels, labels=images.labels, clipped_values=images.clipped_values, source=path.name)


def _form(schedule: Schedule) -> ImageForm:
    return ImageForm(schedule.nodes[0].shape, schedule.preprocess, len(schedule.output.classes))
