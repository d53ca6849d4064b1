"""Layers as torch and NIR have them, lowered to nodes.

Channels come first here, [C, H, W], as in both sources. What the machine does not have becomes what it has:
a linear layer of a flattened image is a convolution with a kernel as large as the image, an average is a sum whose
division is folded into what follows, groups and dilation are zeros in the kernel.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.ir import BatchNorm, Convolution, FloatNeuron, Graph, Integrator, Linear, MaxPool, SumPool
from dtss.compiler.schedule.check import LARGEST_DIMENSION
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Group, Preprocess

Floats = NDArray[np.float64]
Pair = tuple[int, int]
LARGEST_IMAGE = 1 << 26  # values: 4096×4096 pixels of four channels
LARGEST_KERNEL = 1 << 27  # weights of one layer after zeros are filled in: a gigabyte of doubles


@dataclass(frozen=True, eq=False)
class Signal:
    """factor · elements · (the value of `node`): what is not multiplied yet waits for the next product or neuron.

    factor: of an average.  elements: [H, W, C] of a scale, None for all ones.
    flat: [C·H·W] in the order of the source.  current: signed, so only a neuron, a pool or an add may read it.
    """

    node: str
    factor: Fraction = Fraction(1)
    elements: Floats | None = None
    flat: bool = False
    current: bool = False


@dataclass
class Layers:
    """Adds layers to a graph. `notes`: what the user should know of the lowering."""

    network: str
    time_steps: int
    preprocess: Preprocess
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.build = GraphBuilder(self.network, self.time_steps, self.preprocess)

    def fresh(self, name: str) -> str:
        """The name, of letters, digits and _.- only, or with a number if a node has it already."""
        plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) or "layer"
        choices = (plain if number == 1 else f"{plain}_{number}" for number in itertools.count(1))
        taken = {node.name.replace(".", "_") for node in self.build.nodes} | {"image"}
        return next(choice for choice in choices if choice.replace(".", "_") not in taken)

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """[C, H, W], or [C·H·W] of a flat signal."""
        height, width, channels = self.build.shape(signal.node)
        return (height * width * channels,) if signal.flat else (channels, height, width)

    def image(self, where: str, shape: tuple[int, ...]) -> Signal:
        """[C, H, W], or F features as an image of one row and one channel."""
        refuse_image_shape(where, shape)
        channels, height, width = shape if len(shape) == 3 else (1, 1, shape[0])
        return Signal(self.build.image(height, width, channels), flat=len(shape) == 1)

    # Products

    def convolution(
        self,
        name: str,
        source: Signal,
        weight: Floats,
        bias: Floats | None,
        *,
        stride: Pair = (1, 1),
        padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> Signal:
        """weight [O, C/groups, kernel rows, kernel columns]; padding ((top, bottom), (left, right)) of zeros."""
        refuse_not_finite(name, "weight", weight)
        if source.flat:
            raise CompileError(name, f"convolves {source.node} after it was flattened", "flatten later")
        channels = self.shape(source)[0]
        if len(weight) % groups or weight.shape[1] * groups != channels:
            found = f"its {groups} groups read {weight.shape[1]} channels each, and {source.node} has {channels}"
            raise BadInputError(name, found, "fix the model")
        kernel = self._dense_kernel(name, weight, padding, dilation, groups)
        thick = max(*padding[0], *padding[1])
        sizes = self._window_counts(source, (kernel.shape[1], kernel.shape[2]), stride, (thick, thick))
        step = _one_number(name, stride, sizes)
        weights = kernel * self._factors(name, source)
        return self._product(name, source, Convolution(weights, _checked_bias(name, bias, len(weight)), step, thick))

    def linear(self, name: str, source: Signal, weight: Floats, bias: Floats | None) -> Signal:
        """weight [O, F] on a flat signal, or on one of a single position."""
        refuse_not_finite(name, "weight", weight)
        height, width, channels = self.build.shape(source.node)
        if not source.flat and height * width > 1:
            found = f"it reads {_sizes(self.shape(source))} values that are not flattened"
            raise CompileError(name, found, "flatten them, or use a 1×1 convolution")
        if weight.ndim != 2 or weight.shape[1] != height * width * channels:
            found = f"its weight is {_sizes(weight.shape)} and {source.node} has {height * width * channels} values"
            raise BadInputError(name, found, "fix the model")
        bias = _checked_bias(name, bias, len(weight))
        kernel = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1) * self._factors(name, source, True)
        op = Linear(kernel[:, 0, 0], bias) if height * width == 1 else Convolution(kernel, bias, 1, 0)
        return self.flatten(self._product(name, source, op))

    def _product(self, name: str, source: Signal, op: Convolution | Linear) -> Signal:
        if source.current and not isinstance(op, Linear):  # those are composed with the product before them
            found = f"reads {source.node}, a current: nothing fires between them"
            raise CompileError(name, found, "put a LIF or IF neuron between the two layers")
        add = self.build.convolution if isinstance(op, Convolution) else self.build.linear
        node = add(name, source.node, op)  # type: ignore[arg-type]  # each takes its own op
        self._refuse_large(name, node)
        return Signal(node, current=True)

    def _dense_kernel(
        self, name: str, weight: Floats, padding: tuple[Pair, Pair], dilation: Pair, groups: int
    ) -> Floats:
        """[O, rows, columns, C]: groups, dilation and unequal borders become zeros in the kernel."""
        outputs, group_channels, rows, columns = weight.shape
        if outputs == 0 or 0 in weight.shape:
            raise BadInputError(name, f"its weight is {_sizes(weight.shape)}", "fix the model")
        thick = max(*padding[0], *padding[1])
        before, after = zip(*((thick - first, thick - last) for first, last in padding), strict=True)
        spread = tuple(gap * (taps - 1) + 1 for gap, taps in zip(dilation, (rows, columns), strict=True))
        size = tuple(start + taps + end for start, taps, end in zip(before, spread, after, strict=True))
        if outputs * group_channels * groups * size[0] * size[1] > LARGEST_KERNEL:
            found = f"with zeros filled in its kernel would be {_sizes((outputs, group_channels * groups, *size))}"
            raise CompileError(name, found, "use fewer groups or less dilation and padding")
        dense = np.zeros((outputs, *size, group_channels * groups))
        taps = dense[:, before[0] : size[0] - after[0] : dilation[0], before[1] : size[1] - after[1] : dilation[1]]
        per_group = outputs // groups
        for group in range(groups):
            out = slice(group * per_group, (group + 1) * per_group)
            channels = slice(group * group_channels, (group + 1) * group_channels)
            taps[out, :, :, channels] = weight[out].transpose(0, 2, 3, 1)
        added = dense.size / weight.size
        if added > 1:
            self.notes.append(f"{name}: groups, dilation or unequal padding become zeros in its kernel, which is "
                              f"{added:.3g} times as large; the machine streams them all")  # fmt: skip
        return dense

    def batch_norm(self, name: str, source: Signal, norm: BatchNorm) -> Signal:
        for what in ("scale", "shift", "mean", "variance"):
            refuse_not_finite(name, what, getattr(norm, what))
        channels = self.build.shape(source.node)[2]
        if len(norm.scale) != channels:
            found = f"it norms {len(norm.scale)} channels and {source.node} has {channels}"
            raise CompileError(name, found, "put it before the flattening")
        if source.factor != 1 or source.elements is not None:
            raise CompileError(name, f"norms {source.node} after an average or a scale", "put it before them")
        return replace(source, node=self.build.batch_norm(name, source.node, norm))

    # What has no weights

    def neuron(
        self, name: str, source: Signal, neuron: FloatNeuron, mask: tuple[int, ...] | None = None,
        group: Group | None = None,
    ) -> Signal:  # fmt: skip
        """A neuron whose input is f·I is the neuron in units of f: λ stays, and θ and the reset are divided by f."""
        if not source.current or source.elements is not None:
            source = self.as_current(f"{name}.input", source)
        positions = math.prod(self.build.shape(source.node)[:2])
        mask = mask or (1,) * self.time_steps
        group = group or ("sps" if positions > 1 else "mlp")
        return replace(
            source,
            node=self.build.lif(name, source.node, _in_units_of(neuron, source.factor), group, mask),
            factor=Fraction(1),
            current=False,
        )

    def integrator(self, name: str, source: Signal, leak: float) -> Signal:
        """O[t] = leak·O[t−1] + I[t]; a gain is a scale before or after it."""
        if not source.current or source.elements is not None:
            source = self.as_current(f"{name}.input", source)
        return replace(source, node=self.build.integrator(name, source.node, Integrator(leak)))

    def as_current(self, name: str, source: Signal) -> Signal:
        """Spikes or counts through the identity matrix, so that a neuron or an add of currents can read them."""
        channels = self.build.shape(source.node)[2]
        if source.current:
            raise CompileError(name, f"scales {source.node}, a current, value by value", "scale its weights")
        _refuse_large_kernel(name, (channels, channels))
        self.notes.append(f"{name}: {source.node} is no current; an identity of {channels}×{channels} makes it one")
        weight = np.eye(channels).reshape(channels, 1, 1, channels) * self._factors(name, source)
        current = self._product(name, replace(source, flat=False), Linear(weight[:, 0, 0], None))
        return replace(current, flat=source.flat)

    def max_pool(self, name: str, source: Signal, kernel: Pair, stride: Pair, padding: Pair) -> Signal:
        self._refuse_flat(name, source)
        if source.elements is not None or source.factor < 0:
            raise CompileError(name, "takes the maximum of values with different scales", "pool before scaling")
        if kernel[0] != kernel[1] or padding[0] != padding[1]:
            found = f"its window is {_sizes(kernel)} with padding {_sizes(padding)}"
            raise CompileError(name, found, "use a square window")
        _refuse_wide_padding(name, kernel, padding)
        sizes = self._window_counts(source, kernel, stride, padding)
        op = MaxPool(kernel[0], _one_number(name, stride, sizes), padding[0])
        return replace(source, node=self.build.max_pool(name, source.node, op))

    def sum_pool(
        self, name: str, source: Signal, kernel: Pair, stride: Pair, padding: Pair, divisor: int = 1
    ) -> Signal:
        """The sum over a window, divided by `divisor`: the window's size for an average that counts the padding."""
        self._refuse_flat(name, source)
        if source.elements is not None:
            raise CompileError(name, "sums values with different scales", "pool before scaling")
        _refuse_wide_padding(name, kernel, padding)
        if padding[0] != padding[1]:
            raise CompileError(name, f"its padding is {_sizes(padding)}", "use the same on all sides")
        sizes = self._window_counts(source, kernel, stride, padding)
        op = SumPool(kernel, _one_number(name, stride, sizes), padding[0])
        _refuse_large_kernel(name, (self.build.shape(source.node)[2], *kernel))
        node = self.build.sum_pool(name, source.node, op)
        return replace(source, node=node, factor=source.factor / divisor)

    def token_sum(self, name: str, source: Signal, mean: bool) -> Signal:
        """The sum or mean over all positions."""
        self._refuse_flat(name, source)
        if source.elements is not None:
            raise CompileError(name, "sums values with different scales", "pool before scaling")
        positions = math.prod(self.build.shape(source.node)[:2])
        node = self.build.token_sum(name, source.node)
        return replace(source, node=node, factor=source.factor / (positions if mean else 1))

    def scale(self, name: str, source: Signal, factors: Floats) -> Signal:
        """factors: a number, or an array of the signal's own shape."""
        refuse_not_finite(name, "scale", factors)
        if factors.size == 1 or (factors == factors.flat[0]).all():
            return self._scale_by(name, source, float(factors.flat[0]))
        if factors.shape != self.shape(source):
            found = f"its scale is {_sizes(factors.shape)} and {source.node} is {_sizes(self.shape(source))}"
            raise BadInputError(name, found, "give one factor for each value")
        height, width, channels = self.build.shape(source.node)
        elements = factors.reshape(channels, height, width).transpose(1, 2, 0)
        if source.current:
            return self.scale_channels(name, source, _per_channel(name, elements))
        return replace(source, elements=elements if source.elements is None else source.elements * elements)

    def scale_channels(self, name: str, source: Signal, factors: Floats) -> Signal:
        """A current times one factor for each channel: a norm that moves into the product before it."""
        none, one = np.zeros(len(factors)), np.ones(len(factors))
        return self.batch_norm(name, source, BatchNorm(factors, none, none, one, 0.0))

    def _scale_by(self, name: str, source: Signal, factor: float) -> Signal:
        if factor == 0 or (factor < 0 and source.current):
            raise CompileError(name, f"scales {source.node} by {factor:g}", "put the factor into its weights")
        return replace(source, factor=source.factor * Fraction(factor))

    def flatten(self, source: Signal, flat: bool = True) -> Signal:
        return replace(source, flat=flat)

    def add(self, name: str, *sources: Signal) -> Signal:
        shapes = [self.build.shape(source.node) for source in sources]
        if len(set(shapes)) > 1 or len({source.flat for source in sources}) > 1:
            found = "adds " + " and ".join(_sizes(self.shape(source)) for source in sources)
            raise CompileError(name, found, "add values of one shape")
        alike = len({(source.current, source.factor) for source in sources}) == 1
        if not alike or any(source.elements is not None for source in sources):
            sources = tuple(
                source if source.current else self.as_current(f"{name}.input_{index}", source)
                for index, source in enumerate(sources)
            )
            if len({source.factor for source in sources}) > 1:
                raise CompileError(name, "adds currents of which some are averages", "average before the product")
        return replace(sources[0], node=self.build.add(name, *(source.node for source in sources)))

    def finish(self, where: str, output: Signal, classes: tuple[str, ...] | None = None) -> Graph:
        """The graph of what the output depends on; its factor becomes the scale of the logits."""
        if output.elements is not None:
            raise CompileError(where, "the network ends in a scale of each value", "end it with a linear layer")
        shape = self.build.shape(output.node)
        if math.prod(shape[:2]) != 1:
            found = f"the network ends in {_sizes(self.shape(output))} values at {math.prod(shape[:2])} positions"
            raise CompileError(where, found, "end it with one value for each class")
        names = classes or tuple(map(str, range(shape[2])))
        if len(names) != shape[2]:
            raise CompileError(where, f"{len(names)} class names for {shape[2]} outputs", "give one for each")
        graph = self.build.finish(output.node, names)
        needed = {*nx.ancestors(graph.digraph, output.node), output.node, graph.nodes[0].name}
        return graph.with_nodes(
            (node for node in graph.nodes if node.name in needed), output_scale=float(output.factor)
        )

    def _factors(self, name: str, source: Signal, whole: bool = False) -> Floats:
        """What a kernel [O, rows, columns, C] is multiplied by; `whole`: the kernel is as large as the image."""
        factor = np.float64(source.factor)
        if source.elements is None:
            return np.asarray(factor)
        return factor * (source.elements if whole else _per_channel(name, source.elements))

    def _window_counts(self, source: Signal, kernel: Pair, stride: Pair, padding: Pair) -> list[int]:
        """Rows and columns of windows that fit."""
        sizes = zip(self.shape(source)[1:], kernel, stride, padding, strict=True)
        return [(size + 2 * pad - taps) // max(1, step) + 1 for size, taps, step, pad in sizes]

    def _refuse_flat(self, name: str, source: Signal) -> None:
        if source.flat:
            raise CompileError(name, f"pools {source.node} after it was flattened", "flatten later")

    def _refuse_large(self, name: str, node: str) -> None:
        shape = self.build.shape(node)
        if max(shape) > LARGEST_DIMENSION:
            raise CompileError(name, f"its result would be {_sizes(shape)}", f"sizes are 1 to {LARGEST_DIMENSION}")


def refuse_image_shape(where: str, shape: tuple[int, ...]) -> None:
    """Other than [C, H, W] or [F], or of absurd sizes."""
    if len(shape) not in (1, 3):
        found = f"its shape is {_sizes(shape)}"
        raise CompileError(where, found, "give channels × height × width, or the number of features")
    if not all(1 <= size <= LARGEST_DIMENSION for size in shape):
        raise BadInputError(where, f"its shape is {_sizes(shape)}", f"sizes are 1 to {LARGEST_DIMENSION}")
    if math.prod(shape) > LARGEST_IMAGE:
        found = f"its shape is {_sizes(shape)}, {math.prod(shape)} values"
        raise BadInputError(where, found, f"an image has at most {LARGEST_IMAGE}")


def refuse_not_finite(name: str, what: str, values: Floats) -> None:
    """NaN or infinite numbers mean a damaged or diverged model."""
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise BadInputError(name, f"{wrong} of the {values.size} numbers of its {what} are NaN or infinite",
                            "repair or retrain the model")  # fmt: skip


def _checked_bias(name: str, bias: Floats | None, outputs: int) -> Floats | None:
    """None for no bias or all zeros: then a zero input has a zero current."""
    if bias is None:
        return None
    refuse_not_finite(name, "bias", bias)
    if bias.shape != (outputs,):
        raise BadInputError(name, f"its bias is {_sizes(bias.shape)} for {outputs} outputs", "fix the model")
    return bias if bias.any() else None


def _in_units_of(neuron: FloatNeuron, factor: Fraction) -> FloatNeuron:
    if factor == 1:
        return neuron
    amount = neuron.reset_amount
    return replace(
        neuron,
        threshold=float(Fraction(neuron.threshold) / factor),
        reset_value=float(Fraction(neuron.reset_value) / factor),
        initial=float(Fraction(neuron.initial) / factor),
        reset_amount=None if amount is None else float(Fraction(amount) / factor),
    )


def _per_channel(name: str, elements: Floats) -> Floats:
    """[C] of [H, W, C] that is the same at every position."""
    if (elements != elements[:1, :1]).any():
        raise CompileError(name, "its factors differ between positions", "give one factor for each channel")
    first: Floats = elements[0, 0]
    return first


def _one_number(name: str, stride: Pair, windows: Sequence[int]) -> int:
    """The machine has one stride for both directions; along a direction of one window it does not matter."""
    if min(stride) < 1:
        raise BadInputError(name, f"its stride is {_sizes(stride)}", "give positive numbers")
    if stride[0] == stride[1] or windows[1] == 1:
        return stride[0]
    if windows[0] == 1:
        return stride[1]
    raise CompileError(name, f"its stride is {_sizes(stride)}", "use the same in both directions")


def _refuse_large_kernel(name: str, shape: tuple[int, ...]) -> None:
    if math.prod(shape) > LARGEST_KERNEL:
        raise CompileError(
            name, f"its kernel would be {_sizes(shape)}", f"a kernel has at most {LARGEST_KERNEL} weights"
        )


def _refuse_wide_padding(name: str, kernel: Pair, padding: Pair) -> None:
    if any(2 * pad > taps for pad, taps in zip(padding, kernel, strict=True)):
        found = f"its padding {_sizes(padding)} is more than half its window {_sizes(kernel)}"
        raise CompileError(name, found, "use less padding")


def _sizes(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
