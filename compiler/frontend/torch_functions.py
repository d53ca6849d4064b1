"""What each torch function becomes, and what a tensor holds while a module is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dtss.compiler.errors import CompileError
from dtss.compiler.frontend.layers import Layers, Pair, Signal
from dtss.compiler.graph.ir import BatchNorm
from dtss.compiler.schedule.errors import UnsupportedError


@dataclass(frozen=True, eq=False)
class Value:
    """What a tensor holds: a signal behind leading axes (B), (T, B) or (T·B).

    averaged: over time, after which only linear layers may follow.  error: why it cannot be lowered.
    """

    signal: Signal
    lead: tuple[int, ...]
    averaged: bool = False
    error: UnsupportedError | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a torch function: the layer that made it, what its first argument holds, and the tensor it gave.

    known: what any other tensor holds, None if it does not come from the input.
    """

    layers: Layers
    layer: str
    value: Value
    result: Tensor
    known: Callable[[Any], Value | None]

    def fresh(self) -> str:
        return self.layers.fresh(self.layer)

    def gives(self, signal: Signal) -> Value:
        return replace(self.value, signal=signal)


def refuse_averaged(name: str, value: Value) -> None:
    if value.averaged:
        raise CompileError(name, "comes after the mean over time", "average after it")


# Parameters as torch names them; the first tensor is call.value.


def _conv2d(
    call: Call, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Value:  # fmt: skip
    dilated = _pair(dilation)
    sizes = [gap * (taps - 1) for gap, taps in zip(dilated, weight.shape[2:], strict=True)]
    if padding == "same":
        first, last = ((size // 2, size - size // 2) for size in sizes)
        border = (first, last)
    else:
        rows, columns = _pair(0 if padding == "valid" else padding)
        border = ((rows, rows), (columns, columns))
    signal = call.layers.convolution(
        call.fresh(), call.value.signal, _array(weight), _optional(bias), stride=_pair(stride), padding=border,
        dilation=dilated, groups=groups,
    )  # fmt: skip
    return call.gives(signal)


def _linear(call: Call, weight: Tensor, bias: Tensor | None = None) -> Value:
    return call.gives(call.layers.linear(call.fresh(), call.value.signal, _array(weight), _optional(bias)))


def _batch_norm(
    call: Call, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Value:  # fmt: skip
    if training or running_mean is None or running_var is None:
        raise CompileError(call.layer, "has no running statistics", "use track_running_stats=True")
    mean = _array(running_mean)
    scale = np.ones_like(mean) if weight is None else _array(weight)
    shift = np.zeros_like(mean) if bias is None else _array(bias)
    norm = BatchNorm(scale, shift, mean, _array(running_var), eps)
    return call.gives(call.layers.batch_norm(call.fresh(), call.value.signal, norm))


def _max_pool2d(
    call: Call, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:  # fmt: skip
    kernel = _pair(kernel_size)
    refuse_averaged(call.layer, call.value)
    if _pair(dilation) != (1, 1):
        raise CompileError(call.layer, "is dilated", "use dilation=1")
    step = _pair(kernel if stride is None else stride)
    return call.gives(call.layers.max_pool(call.fresh(), call.value.signal, kernel, step, _pair(padding)))


def _avg_pool2d(
    call: Call, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Value:  # fmt: skip
    kernel, border = _pair(kernel_size), _pair(padding)
    if any(border) and not count_include_pad:
        raise CompileError(call.layer, "divides by another number at the border", "use count_include_pad=True")
    divisor = divisor_override or kernel[0] * kernel[1]
    step = _pair(kernel if stride is None else stride)
    return call.gives(call.layers.sum_pool(call.fresh(), call.value.signal, kernel, step, border, divisor))


def _adaptive_avg_pool2d(call: Call, output_size: Any) -> Value:
    sizes = call.layers.shape(call.value.signal)[1:]
    wanted = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    outputs = [size if wish is None else wish for size, wish in zip(sizes, wanted, strict=False)]
    if list(sizes) == outputs:
        return call.value
    if outputs == [1, 1]:
        return call.gives(call.layers.token_sum(call.fresh(), call.value.signal, mean=True))
    if len(sizes) != 2 or any(size % output for size, output in zip(sizes, outputs, strict=True)):
        found = f"averages {_sizes(sizes)} values to {_sizes(outputs)}, whose windows differ in size"
        raise CompileError(call.layer, found, "use sizes that divide")
    kernel = (sizes[0] // outputs[0], sizes[1] // outputs[1])
    pooled = call.layers.sum_pool(call.fresh(), call.value.signal, kernel, kernel, (0, 0), kernel[0] * kernel[1])
    return call.gives(pooled)


def _dropout(call: Call, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training:
        raise CompileError(call.layer, "drops values at random", "pass training=self.training")
    return call.value


def _same_values(call: Call, *_: Any, **__: Any) -> Value:
    """A view or copy: the same values under other axes, told apart by their sizes."""
    body = call.layers.shape(call.value.signal)
    whole = call.layers.shape(replace(call.value.signal, flat=False))
    length = int(np.prod(body))
    count = int(np.prod(call.value.lead))
    shape = tuple(call.result.shape)
    for flat, wanted in ((call.value.signal.flat, body), (False, whole), (True, (length,))):
        lead = shape[: len(shape) - len(wanted)]
        if shape[len(lead) :] == wanted and len(lead) in (1, 2) and int(np.prod(lead)) == count:
            return call.gives(call.layers.flatten(call.value.signal, flat))
    found = f"turns {_sizes((*call.value.lead, *body))} into {_sizes(shape)}"
    raise CompileError(call.layer, found, "flatten whole images only")


def _repeat(call: Call, *_: Any, **__: Any) -> Value:
    """The image once for each time step."""
    steps, shape = call.layers.time_steps, tuple(call.result.shape)
    lead = shape[: len(shape) - len(call.layers.shape(call.value.signal))]
    before = call.value.lead if len(call.value.lead) == 1 else call.value.lead[1:]
    if lead != (steps, *before) or (len(call.value.lead) == 2 and call.value.lead[0] not in (1, steps)):
        found = f"repeats {_sizes(call.value.lead)} to {_sizes(shape)}, which is not {steps} time steps"
        raise CompileError(call.layer, found, f"repeat the image to [T, B, …] with T = {steps}")
    return call.value


def _add(call: Call, other: Any, alpha: float = 1) -> Value:
    value = call.known(other)
    if value is None:
        if not isinstance(other, Tensor) and other == 0:
            return call.value
        raise CompileError(call.layer, "adds a constant", "put it into the bias of a layer")
    if alpha != 1 or value.lead != call.value.lead or value.averaged != call.value.averaged:
        raise CompileError(call.layer, "adds values of different axes or weights", "add outputs of layers")
    return call.gives(call.layers.add(call.fresh(), call.value.signal, value.signal))


def _multiply(call: Call, other: Any) -> Value:
    return _scaled(call, other, lambda number: number)


def _divide(call: Call, other: Any) -> Value:
    return _scaled(call, other, lambda number: 1 / number)


def _scaled(call: Call, other: Any, factor: Callable[[float], float]) -> Value:
    if isinstance(other, Tensor) or other == 0:
        raise CompileError(call.layer, "multiplies values with each other or with a tensor", "scale by a number")
    return call.gives(call.layers.scale(call.layer, call.value.signal, np.array(factor(float(other)))))


def _mean(call: Call, dim: Any = None, keepdim: bool = False) -> Value:
    return _reduce(call, dim, mean=True)


def _sum(call: Call, dim: Any = None, keepdim: bool = False) -> Value:
    return _reduce(call, dim, mean=False)


def _reduce(call: Call, dim: Any, mean: bool) -> Value:
    """Over time, for the output; or over all positions."""
    lead, shape = call.value.lead, call.layers.shape(call.value.signal)
    axes = sorted(axis % (len(lead) + len(shape)) for axis in ((dim,) if isinstance(dim, int) else dim or ()))
    if axes == [0] and len(lead) == 2:
        steps = 1 if mean else call.layers.time_steps
        signal = replace(call.value.signal, factor=call.value.signal.factor * steps)
        return replace(call.value, signal=signal, averaged=True)
    if len(shape) == 3 and axes == [len(lead) + 1, len(lead) + 2]:
        signal = call.layers.token_sum(call.fresh(), call.value.signal, mean)
        return call.gives(call.layers.flatten(signal, call.result.ndim == len(lead) + 1))
    raise CompileError(call.layer, f"reduces axes {axes}", "average over time at the end, or over both image axes")


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().double().numpy()
    return array


def _optional(tensor: Tensor | None) -> NDArray[np.float64] | None:
    return None if tensor is None else _array(tensor)


def _pair(value: Any) -> Pair:
    if isinstance(value, tuple | list):
        return int(value[0]), int(value[-1])
    return int(value), int(value)


def _sizes(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


SAME_VALUES = (
    "flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone", "detach", "to", "double",
    "float", "data", "view_as", "reshape_as", "identity", "requires_grad",
)  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "dropout": _dropout,
    "dropout2d": _dropout,
    "repeat": _repeat,
    "expand": _repeat,
    "broadcast_to": _repeat,
    "add": _add,
    "mul": _multiply,
    "div": _divide,
    "mean": _mean,
    "sum": _sum,
}
HANDLERS: dict[str, Callable[..., Value]] = dict.fromkeys(SAME_VALUES, _same_values) | FUNCTIONS
