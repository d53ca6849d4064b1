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
from dtss.compiler.schedule.check import LARGEST_TIME_STEPS
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.format import FloatReference, Preprocess
from dtss.compiler.schedule.images import ImageForm, UserImages, read_images

ExactLogits = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

NIR_TIME_STEP = 1e-4  # seconds; what SpikingJelly and snnTorch write and read
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
    weight_bits: that the network was trained with; None: float weights.
    """

    graph: Graph
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    float_logits: NDArray[np.float32]
    trained_accuracy: float | None
    exact_logits: ExactLogits
    calibration: UserImages | None = None
    notes: tuple[str, ...] = ()
    weight_bits: int | None = None

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
    """The model in `path`: what `options.arch` says it is, a NIR graph by its suffix, else a dtss checkpoint."""
    # torch loads only when a checkpoint is read
    from dtss.compiler.frontend import dtss, spikformer  # noqa: PLC0415

    if path.suffix == ".nir":
        source = _read_nir(path, options)
    else:
        _refuse_options(str(path), options, ("dt", "fires", "pixel_scale"), "no NIR graph")
        source = dtss.read(path, options) if options.arch is None else spikformer.read(path, options)
    refuse_blind(source.graph, str(path))
    return source


def refuse_blind(graph: Graph, where: str) -> None:
    """A network whose logits do not depend on the image."""
    if not reads_the_image(graph):
        raise UnsupportedError(
            where,
            "its time-step masks cut every way from the image to the logits, so all images get the same answer",
            "train it again with a smaller mask loss, or keep a first step in every layer (minimum_steps)",
        )


def _refuse_options(where: str, options: ReadOptions, names: tuple[str, ...], what: str) -> None:
    """Options that mean nothing for this form of model."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise BadInputError(f"--{name.replace('_', '-')}", f"{where} is {what}", "leave it out")


def _read_nir(path: Path, options: ReadOptions) -> Source:
    _refuse_options(str(path), options, ("arch", "heads", "image_size", "ema"), "a NIR graph")
    if options.time_steps is None:
        raise BadInputError(str(path), "a NIR graph does not say how many time steps to run", "give --time-steps T")
    if not 1 <= options.time_steps <= LARGEST_TIME_STEPS:
        raise BadInputError("--time-steps", f"found {options.time_steps}", f"give 1 to {LARGEST_TIME_STEPS}")
    dt = NIR_TIME_STEP if options.dt is None else options.dt
    if not 0 < dt < float("inf"):
        raise BadInputError("--dt", f"found {dt:g}", "give the seconds of a time step, more than 0")
    try:
        from dtss.compiler.frontend import nir  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError as error:
        hint = "install it with: pip install 'dtss[nir]'"
        raise BadInputError(str(path), f"reading NIR needs the package {error.name}", hint) from None
    steps = nir.Discretisation(options.time_steps, dt, options.fires or ">")
    graph, notes = nir.read_graph(path, steps, lambda channels: preprocess_of(options, channels))
    calibration, held_out = split_held_out(graph, read_calibration(graph, options.calibration))
    images = held_out.pixels.astype(np.uint8, copy=False)
    return Source(
        graph=graph,
        images=images,
        labels=held_out.labels,
        float_logits=nir.logits(graph, images).astype(np.float32),
        trained_accuracy=None,
        exact_logits=lambda pixels: nir.logits(graph, pixels),
        calibration=calibration,
        notes=notes,
    )


def preprocess_of(options: ReadOptions, channels: int) -> Preprocess:
    """x = p/255 where nothing else was said; one number stands for all channels."""
    scale = 1 / 255 if options.pixel_scale is None else options.pixel_scale
    if not 0 < scale < float("inf"):
        raise BadInputError("--pixel-scale", f"found {scale:g}", "give a number above 0, such as 0.00392157 for 1/255")
    mean, std = (
        _for_channels(option, numbers, default, channels)
        for option, numbers, default in (("--mean", options.mean, 0.0), ("--std", options.std, 1.0))
    )
    if min(std) <= 0:
        raise BadInputError("--std", f"found {min(std):g}", "give numbers above 0")
    return Preprocess(scale, mean, std, 255)


def _for_channels(option: str, numbers: tuple[float, ...] | None, default: float, channels: int) -> tuple[float, ...]:
    given = (default,) if numbers is None else numbers
    if len(given) not in (1, channels) or not np.isfinite(given).all():
        found = f"found {','.join(f'{number:g}' for number in given)}"
        raise BadInputError(option, found, f"give one finite number, or one for each of the {channels} channels")
    return given if len(given) == channels else given * channels


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
