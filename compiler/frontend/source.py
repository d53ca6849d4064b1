"""What a front end hands to the compiler, and which front end reads which file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.graph.ir import Graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.check import LARGEST_TIME_STEPS
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import FloatReference, Preprocess

NIR_TIME_STEP = 1e-4  # seconds; what SpikingJelly and snnTorch write and read


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of a model whose file does not say it; None where nothing was said.

    dt: seconds of a time step.  fires: ">=" if a membrane exactly at the threshold fires.
    pixel_scale, mean, std: from a pixel p to the network's input, (p·pixel_scale − mean)/std.
    """

    time_steps: int | None = None
    dt: float | None = None
    fires: Literal[">", ">="] | None = None
    pixel_scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A float graph with the held-out images that came with it.

    images uint8 [B, H, W, C], labels int64 [B], float_logits [B, K] of the source framework on these images.
    notes: what the user should know of how the model was read.
    """

    graph: Graph
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    float_logits: NDArray[np.float32]
    trained_accuracy: float | None
    notes: tuple[str, ...] = ()

    def sample_tensors(self) -> dict[str, np.ndarray]:
        """The images as the schedule's side-car keeps them."""
        if not len(self.images):
            return {}
        return {io.IMAGES: self.images, io.LABELS: self.labels, io.FLOAT_LOGITS: self.float_logits}

    def reference(self) -> FloatReference:
        right = self.float_logits.argmax(1) == self.labels
        return FloatReference(
            trained_accuracy=self.trained_accuracy, sample_accuracy=float(right.mean()) if len(right) else None
        )


def read_source(path: Path, options: ReadOptions = ReadOptions()) -> Source:
    """The model in `path`: a NIR graph by its suffix, else a dtss checkpoint."""
    if path.suffix == ".nir":
        return _read_nir(path, options)
    from dtss.compiler.frontend import dtss  # noqa: PLC0415 - torch loads only when a checkpoint is read

    if options != ReadOptions():
        hint = "leave out --time-steps, --dt, --fires, --pixel-scale, --mean and --std"
        raise BadInputError(str(path), "a dtss checkpoint says itself how it is run", hint)
    return dtss.read(path)


def _read_nir(path: Path, options: ReadOptions) -> Source:
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
    height, width, channels = graph.nodes[0].shape
    return Source(
        graph=graph,
        images=np.zeros((0, height, width, channels), np.uint8),
        labels=np.zeros(0, np.int64),
        float_logits=np.zeros((0, len(graph.classes)), np.float32),
        trained_accuracy=None,
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
        raise BadInputError(option, f"found {' '.join(f'{number:g}' for number in given)}",
                            f"give one finite number, or one for each of the {channels} channels")  # fmt: skip
    return given if len(given) == channels else given * channels
