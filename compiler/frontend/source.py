"""What a front end hands to the compiler, and which front end reads which file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.frontend.options import ReadOptions
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.prune_time_steps import reads_the_image
from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.format import FloatReference
from dtss.compiler.schedule.images import ImageForm, UserImages, read_images

ExactLogits = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

HELD_OUT_PART = 4  # one image in so many
MOST_STORED_IMAGES = 32
LARGE_IMAGE_SIDE = 64
MOST_STORED_LARGE_IMAGES = 8


@dataclass(frozen=True, eq=False)
class Source:
    """A float graph with the held-out images that came with it.

    images uint8 [B, H, W, C], maybe none; labels int64 [B], None if unknown; float_logits [B, K] of the source
    framework on these images.
    exact_logits: pixels → logits [B, K] of the source framework in float64.
    calibration: what the user gave to calibrate with.  notes: what the file did not say, for the user.
    """

    graph: Graph
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    float_logits: NDArray[np.float32]
    trained_accuracy: float | None
    exact_logits: ExactLogits
    calibration: UserImages | None = None
    notes: tuple[str, ...] = ()

    def sample_tensors(self) -> dict[str, np.ndarray]:
        """The images as the schedule's side-car keeps them."""
        kept = {io.IMAGES: self.images, io.LABELS: self.labels, io.FLOAT_LOGITS: self.float_logits}
        return {name: array for name, array in kept.items() if array is not None and len(self.images)}

    def reference(self) -> FloatReference:
        accuracy = None
        if self.labels is not None and len(self.labels):
            accuracy = float((self.float_logits.argmax(1) == self.labels).mean())
        return FloatReference(trained_accuracy=self.trained_accuracy, sample_accuracy=accuracy)


def read_source(path: Path, options: ReadOptions = ReadOptions()) -> Source:  # noqa: B008 - frozen
    """The model in `path`: what `options.arch` says it is, else a dtss checkpoint."""
    # torch loads only when a checkpoint is read
    from dtss.compiler.frontend import dtss, spikformer  # noqa: PLC0415

    source = dtss.read(path, options) if options.arch is None else spikformer.read(path, options)
    if not reads_the_image(source.graph):
        raise UnsupportedError(
            str(path),
            "its time-step masks cut every way from the image to the logits, so all images get the same answer",
            "train it again with a smaller mask loss, or keep a first step in every layer (minimum_steps)",
        )
    return source


def read_calibration(graph: Graph, path: Path | None) -> UserImages | None:
    """The user's images, as this network reads them."""
    if path is None:
        return None
    return read_images(path, ImageForm(graph.nodes[0].shape, graph.preprocess, len(graph.classes)))


def split_held_out(graph: Graph, given: UserImages | None) -> tuple[UserImages | None, UserImages]:
    """The user's images: those that calibrate, and the last quarter, which does not and goes into the schedule.

    Of fewer than four images each serves for both. The source network runs on every image that is stored, so a
    schedule keeps MOST_STORED_IMAGES of them, of large ones MOST_STORED_LARGE_IMAGES.
    """
    height, width, _ = shape = graph.nodes[0].shape
    if given is None:
        return None, UserImages(np.zeros((0, *shape), np.uint8), None, 0)
    most = MOST_STORED_IMAGES if max(height, width) <= LARGE_IMAGE_SIDE else MOST_STORED_LARGE_IMAGES
    held_out = len(given.pixels) // HELD_OUT_PART
    if held_out == 0:
        return given, given
    first = len(given.pixels) - held_out
    return _part(given, slice(first)), _part(given, slice(first, first + most))


def _part(images: UserImages, part: slice) -> UserImages:
    labels = None if images.labels is None else images.labels[part]
    return UserImages(images.pixels[part], labels, images.clipped_values)
