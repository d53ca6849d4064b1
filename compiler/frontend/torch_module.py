"""Torch modules of convolutions, linear layers, norms, pools, residual adds and LIF or IF neurons.

`torch_recorder` follows the values through one call of the module in evaluation mode, `torch_functions` says what
each torch function becomes, `torch_neurons` knows the neurons of SpikingJelly, snnTorch and ours.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dtss.compiler.frontend.layers import Layers
from dtss.compiler.frontend.source import refuse_blind
from dtss.compiler.frontend.torch_neurons import refuse_unreadable_neurons, reset_states
from dtss.compiler.frontend.torch_recorder import Recorder, first_tensor
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Graph
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule import io
from dtss.compiler.schedule.check import LARGEST_TIME_STEPS
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import FloatReference, Preprocess, TimeOrder
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.images import network_inputs

TOLERANCE = 1e-6


def compile_module(
    module: nn.Module,
    example_input: Tensor,
    *,
    time_steps: int | None = None,
    preprocess: Preprocess | None = None,
    hardware: str = "edge-16x16",
    time_order: TimeOrder | None = None,
    calibration_images: NDArray[np.uint8] | None = None,
    images: NDArray[np.uint8] | None = None,
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] | None = None,
    name: str | None = None,
) -> Compiled:
    """A spiking torch module as a schedule; `.save(path)` writes it for dtss-sim and dtss-rtl.

    example_input: [B, C, H, W] or [B, F] for a module that computes one step a call, with `time_steps`;
    [T, B, …] for one that computes all steps. Its values do not matter, except for the comparison below.
    preprocess: from a pixel p to the module's input; p/255 if not given.
    hardware: a shipped machine or a TOML file.
    calibration_images: uint8 [B, H, W, C] (F features are [B, 1, F, 1]), on which the integers are chosen.
    images, labels: in the same form, stored with the schedule for dtss-sim, beside
    what the module itself says of them.

    The module is not changed, but its neurons are reset. It warns where the lowering costs something, and if the
    graph's own output on the example differs from the module's.
    """
    read = read_module(module, example_input, time_steps=time_steps, preprocess=preprocess, classes=classes, name=name)
    for note in read.notes:
        warnings.warn(note, stacklevel=2)
    if calibration_images is not None:
        _refuse_other_images("calibration_images", calibration_images, read.graph)
    samples = _samples(module, read, images, labels)
    accuracy = None
    if labels is not None and io.FLOAT_LOGITS in samples:
        accuracy = float((samples[io.FLOAT_LOGITS].argmax(1) == labels).mean())
    compiled = compile_graph(
        read.graph,
        Target(load_hardware(hardware), time_order, calibration=calibration_images),
        reference=FloatReference(trained_accuracy=None, sample_accuracy=accuracy),
    )
    return replace(compiled, tensors=compiled.tensors | samples)


@dataclass(frozen=True, eq=False)
class ReadModule:
    """A module's graph, what there is to note, and how the module itself is run."""

    graph: Graph
    notes: tuple[str, ...]
    runner: Runner


@dataclass(frozen=True, eq=False)
class Runner:
    """How to run a module on images: its input has a time axis, its output has one, and how often it is called.

    features: of one image, [C, H, W] or [F].
    """

    features: tuple[int, ...]
    time_steps: int
    timed_input: bool
    timed_output: bool
    calls: int

    def mean_logits(self, module: nn.Module, images: Tensor) -> Tensor:
        """images [B, C, H, W] → [B, K], the mean over time."""
        shaped = images.reshape(-1, *self.features)
        if self.timed_input:
            shaped = shaped.expand(self.time_steps, *shaped.shape)
        with _evaluation(module), torch.no_grad():
            outputs = torch.stack([first_tensor(module(shaped)) for _ in range(self.calls)])
        return (outputs.flatten(0, 1) if self.timed_output else outputs).mean(0).flatten(1)


def read_module(
    module: nn.Module,
    example_input: Tensor,
    *,
    time_steps: int | None = None,
    preprocess: Preprocess | None = None,
    classes: tuple[str, ...] | None = None,
    name: str | None = None,
) -> ReadModule:
    """See `compile_module`."""
    timed, steps = _time_steps(example_input, time_steps)
    features = tuple(example_input.shape[2 if timed else 1 :])
    channels = features[0] if len(features) == 3 else 1
    preprocess = preprocess or Preprocess(1 / 255, (0.0,) * channels, (1.0,) * channels, 255)
    layers = Layers(name or type(module).__name__, steps, preprocess)
    refuse_unreadable_neurons(module, steps)
    with _evaluation(module), torch.no_grad():
        output = Recorder(module, layers).record(example_input, timed)
    graph = layers.finish(layers.network, output.signal, classes)
    refuse_blind(graph, layers.network)
    timed_output = len(output.lead) == 2 and not output.averaged
    once = timed or timed_output or output.averaged
    runner = Runner(features, steps, timed, timed_output, calls=1 if once else steps)
    notes = [*layers.notes, *_compare(module, graph, runner, example_input[0] if timed else example_input)]
    return ReadModule(graph, tuple(notes), runner)


def _time_steps(example: Tensor, given: int | None) -> tuple[bool, int]:
    """Whether the example has a time axis, and T."""
    if example.ndim not in (2, 3, 4, 5):
        found = f"its shape is {tuple(example.shape)}"
        raise BadInputError("example_input", found, "give [B, C, H, W] or [B, F], or with time first [T, B, …]")
    timed = example.ndim in (3, 5)
    steps = given if given is not None else example.shape[0] if timed else None
    if steps is None:
        raise BadInputError("time_steps", "is missing", "the example has no time axis: give time_steps=T")
    if timed and steps != example.shape[0]:
        raise BadInputError("time_steps", f"is {steps}", f"the example has {example.shape[0]} steps")
    if not 1 <= steps <= LARGEST_TIME_STEPS:
        raise BadInputError("time_steps", f"is {steps}", f"give 1 to {LARGEST_TIME_STEPS}")
    return timed, steps


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and fresh neurons inside, each part's own mode and fresh neurons again after it."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    reset_states(module)
    try:
        yield
    finally:
        reset_states(module)
        for part, mode in modes.items():
            part.training = mode


def _compare(module: nn.Module, graph: Graph, runner: Runner, images: Tensor) -> list[str]:
    """A note if the graph computes something else than the module, both in doubles."""
    try:
        expected = runner.mean_logits(copy.deepcopy(module).double(), images.double())
    except (RuntimeError, TypeError, NotImplementedError):
        return []  # a module that insists on its own precision
    height, width, channels = graph.nodes[0].shape
    with torch.no_grad():
        found, _ = FloatModule(graph).double()(images.double().reshape(-1, channels, height, width))
    if found.shape == expected.shape and torch.allclose(found, expected, atol=TOLERANCE, rtol=TOLERANCE):
        return []
    apart = float((found - expected).abs().max()) if found.shape == expected.shape else float("nan")
    differ = f"on the example the graph's logits differ from the module's by up to {apart:.3g}"
    return [f"{differ}; look at the spikes of both before you trust the schedule"]


def _refuse_other_images(where: str, images: NDArray[np.uint8], graph: Graph) -> None:
    shape = graph.nodes[0].shape
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        found = f"found {images.dtype} of shape {images.shape}"
        raise BadInputError(where, found, f"give uint8 [B, {', '.join(map(str, shape))}]")


def _samples(
    module: nn.Module, read: ReadModule, images: NDArray[np.uint8] | None, labels: NDArray[np.int64] | None
) -> dict[str, np.ndarray]:
    if images is None:
        return {}
    _refuse_other_images("images", images, read.graph)
    inputs = np.ascontiguousarray(network_inputs(read.graph.preprocess, images))
    logits = read.runner.mean_logits(module, torch.from_numpy(inputs).float()).float().numpy()
    samples: dict[str, np.ndarray] = {io.IMAGES: images, io.FLOAT_LOGITS: logits}
    if labels is not None:
        if labels.shape != (len(images),):
            raise BadInputError("labels", f"found shape {labels.shape}", f"give {len(images)}, one an image")
        samples[io.LABELS] = labels.astype(np.int64)
    return samples
