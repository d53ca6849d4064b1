"""`--check`: the float graph against its source framework, and the integers against the float graph, on real images.

The first comparison is of equals: both run in float64, where another order of summation moves no spike, so a
difference is a bug of the front end. The second is what the integers cost, and is reported, never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtss.compiler.frontend.source import Source
from dtss.compiler.graph.float_module import FloatModule
from dtss.compiler.graph.ir import Graph
from dtss.compiler.pipeline import Compiled
from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.compiler.schedule.images import network_inputs
from dtss.compiler.schedule.interpret import interpret

TOLERANCE = 1e-6  # of the largest logit; measured: 1e-14 at most
Spikes = dict[str, dict[int, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Comparison:
    """Shares are of the images, rates of neurons and steps that the schedule computes.

    source_difference: largest |Δ| of a logit, float graph and source.  accuracies: None without labels.
    """

    images: int
    source_difference: float
    source_agreement: float
    integer_agreement: float
    float_accuracy: float | None
    integer_accuracy: float | None
    spike_rate: Mapping[str, float]
    flip_rate: Mapping[str, float]

    @property
    def accuracy_change(self) -> float | None:
        if self.float_accuracy is None or self.integer_accuracy is None:
            return None
        return self.integer_accuracy - self.float_accuracy


@dataclass
class _Counts:
    """Neurons at computed steps, those that spike in the float graph, and those that differ."""

    seen: dict[str, int] = field(default_factory=dict)
    spiking: dict[str, int] = field(default_factory=dict)
    flipped: dict[str, int] = field(default_factory=dict)

    def add(self, expected: Spikes, found: Spikes) -> None:
        for name, by_step in found.items():
            for step, spikes in by_step.items():
                pairs = (self.seen, spikes.size), (self.spiking, expected[name][step].sum()), (
                    self.flipped, (expected[name][step] != spikes).sum()
                )  # fmt: skip
                for counts, more in pairs:
                    counts[name] = counts.get(name, 0) + int(more)

    def rate(self, counts: Mapping[str, int]) -> dict[str, float]:
        return {name: counts[name] / seen for name, seen in self.seen.items()}


def compare(source: Source, compiled: Compiled, images: int, where: str) -> Comparison:
    """On the first `images` of those that go into the schedule, one at a time."""
    pixels, labels = _real_images(source, images, where)
    run_float, counts = _float_run(source.graph), _Counts()
    float_logits, integer_logits = [], []
    for image in pixels:
        logits, expected = run_float(image)
        found_logits, found = _integer_run(compiled, image)
        float_logits.append(logits)
        integer_logits.append(found_logits)
        counts.add(expected, found)
    source_logits = source.exact_logits(pixels)
    floats, integers = np.stack(float_logits), np.stack(integer_logits)
    comparison = Comparison(
        images=len(pixels),
        source_difference=float(np.abs(floats - source_logits).max()),
        source_agreement=_same_class(floats, source_logits),
        integer_agreement=_same_class(floats, integers),
        float_accuracy=None if labels is None else float((floats.argmax(1) == labels).mean()),
        integer_accuracy=None if labels is None else float((integers.argmax(1) == labels).mean()),
        spike_rate=counts.rate(counts.spiking),
        flip_rate=counts.rate(counts.flipped),
    )
    _refuse_difference(comparison, float(np.abs(source_logits).max()), where)
    return comparison


def _real_images(source: Source, images: int, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    if not len(source.images):
        raise BadInputError("--check", f"{where} has no images of its own", "give some with --calibration FILE")
    return source.images[:images], None if source.labels is None else source.labels[:images]


def _float_run(graph: Graph) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float64], Spikes]]:
    """image [H, W, C] → logits [K], spikes [H, W, C] of each LIF at each step."""
    spikes: Spikes = {}

    def watch(lif: str, step: int, emitted: Tensor) -> None:
        spikes.setdefault(lif, {})[step] = emitted[0].permute(1, 2, 0).numpy() > 0

    module = FloatModule(graph, np.float64, watch)

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], Spikes]:
        spikes.clear()
        with torch.inference_mode():
            logits, _ = module(torch.from_numpy(network_inputs(graph.preprocess, image[None])))
        return logits[0].numpy(), {name: dict(by_step) for name, by_step in spikes.items()}

    return run


def _integer_run(compiled: Compiled, image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], Spikes]:
    """The same of the schedule, at the steps that it computes."""
    schedule = compiled.schedule
    execution = interpret(schedule, compiled.tensors, image[None].astype(np.int64), np.float64)
    spikes = {
        node.name: {step: value[0] > 0 for step, value in execution.values[node.name].items()}
        for node in schedule.lif_nodes
        if execution.values[node.name]
    }
    return execution.logits[:, 0].mean(0) * schedule.output.scale, spikes


def _same_class(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    return float((left.argmax(1) == right.argmax(1)).mean())


def _refuse_difference(comparison: Comparison, largest: float, where: str) -> None:
    allowed = TOLERANCE * max(1.0, largest)
    if not comparison.source_difference <= allowed:
        raise CheckFailedError(
            where,
            f"the float graph's logits differ from the source network's by up to {comparison.source_difference:.3g}, "
            f"and {allowed:.3g} is allowed; {comparison.source_agreement:.0%} of {comparison.images} images get the "
            "same class",
            "nothing was written; this is a bug of the front end: please report it",
        )


def comparison_text(comparison: Comparison) -> str:
    """A few lines, then the layers, for a person."""
    same = comparison.source_agreement, comparison.integer_agreement
    lines = [
        f"checked           {comparison.images} images",
        f"graph, source     largest difference {comparison.source_difference:.2g}, same class in {same[0]:.1%}",
        f"integers, graph   same class in {same[1]:.1%}{_accuracy_text(comparison)}",
        "spikes            in the float graph, and those that the integers change:",
    ]
    width = max(map(len, comparison.flip_rate), default=0)
    lines += [
        f"  {name:{width}}  {comparison.spike_rate[name]:7.2%}  {rate:7.3%}"
        for name, rate in comparison.flip_rate.items()
    ]
    return "\n".join(lines)


def _accuracy_text(comparison: Comparison) -> str:
    if comparison.float_accuracy is None or comparison.integer_accuracy is None:
        return ""
    return f", accuracy {comparison.float_accuracy:.1%} → {comparison.integer_accuracy:.1%}"


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """The same for scripts; shares from 0 to 1."""
    return {
        "images": comparison.images,
        "source_largest_difference": comparison.source_difference,
        "source_top1_agreement": comparison.source_agreement,
        "integer_top1_agreement": comparison.integer_agreement,
        "float_accuracy": comparison.float_accuracy,
        "integer_accuracy": comparison.integer_accuracy,
        "accuracy_change": comparison.accuracy_change,
        "spike_rate": dict(comparison.spike_rate),
        "spike_flip_rate": dict(comparison.flip_rate),
    }
