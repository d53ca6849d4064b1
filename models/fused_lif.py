"""A LIF layer with its time-step mask as one pass over memory: numba on a CPU, Triton on CUDA, the loop bit for bit.

As tensor operations the same equations read and write every membrane about twenty times. Here the membranes of a
neuron stay in registers or cache for all T steps, and the backward pass computes them again from the currents rather
than keep them. The layer reads the currents and writes the spikes as they lie in memory: channels-last stays so.
Registered with torch as the operators `dtss::lif` and `dtss::lif_backward`, which torch.compile takes as they are.
"""

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

# the membranes of all steps stay in registers of the GPU
MOST_STEPS_ON_CUDA = 32
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Rules(NamedTuple):
    """A NeuronSpec and its surrogate as plain numbers; peak = γ / V_th, inverse_threshold = 1 / V_th."""

    leak: float
    gain: float
    threshold: float
    inverse_threshold: float
    ties_fire: bool
    soft: bool
    reset_value: float
    initial: float
    peak: float


_RULES = (
    "float leak, float gain, float threshold, float inverse_threshold, bool ties_fire, bool soft, "
    "float reset_value, float initial, float peak"
)


def can_fuse(current: Tensor) -> bool:
    """Whether there is a kernel for such currents, where there is anything to compute."""
    if current.dtype not in DTYPES or current.numel() == 0:
        return False
    if current.device.type == "cuda":
        return len(current) <= MOST_STEPS_ON_CUDA and _triton_is_installed()
    return current.device.type == "cpu"


def fused_lif(current: Tensor, mask: Tensor | None, rules: Rules) -> Tensor:
    """O[t] = Y[t] · TM[t] of the currents I [T, ...] -> the same shape and type; `mask` TM [T], None for all ones.

    Computes in float32 whatever the type of the currents, like `Lif.run_steps`, and so does the gradient. That of
    TM[t] is the sum of ∂L/∂O · Y over all neurons, always in the same order.
    """
    spikes: Tensor = torch.ops.dtss.lif(current, mask, *rules)
    return spikes


def dense_steps(steps: Tensor) -> Tensor:
    """[T, ...] with each step in one piece and the steps one after the other, or one and the same; copied if not.

    The dimensions of a step may lie in any order: channels-last is as good as contiguous.
    """
    neurons = steps[0].numel()
    follows = len(steps) == 1 or steps.stride(0) in (0, neurons)
    return steps if follows and _in_one_piece(steps.shape[1:], steps.stride()[1:]) else steps.contiguous()


def _in_one_piece(shape: Sequence[int], strides: Sequence[int]) -> bool:
    filled = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size != 1):
        if stride != filled:
            return False
        filled *= size
    return True


def _flat(steps: Tensor) -> Tensor:
    """[T, M] of what `dense_steps` returned, or [1, M] where all steps are the same, as they lie in memory."""
    neurons = steps[0].numel()
    distinct = 1 if steps.stride(0) == 0 else len(steps)
    return steps.as_strided((distinct, neurons), (neurons, 1))


def _empty_spikes(current: Tensor) -> Tensor:
    """Room for the spikes of what `dense_steps` returned: laid out as the currents are."""
    strides = (current[0].numel(), *current.stride()[1:])
    return torch.empty_strided(current.shape, strides, dtype=current.dtype, device=current.device)


def _laid_out_as(spikes: Tensor, gradient: Tensor) -> Tensor:
    strides = zip(spikes.stride(), gradient.stride(), spikes.shape, strict=True)
    if gradient.dtype == spikes.dtype and all(ours == theirs for ours, theirs, size in strides if size != 1):
        return gradient
    return torch.empty_like(spikes).copy_(gradient)


@functools.cache
def _triton_is_installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@torch.library.custom_op(
    "dtss::lif", mutates_args=(), device_types="cpu", schema=f"(Tensor current, Tensor? mask, {_RULES}) -> Tensor"
)
def _lif(current: Tensor, mask: Tensor | None, *rules: Any) -> Tensor:
    from dtss.models import lif_kernel  # noqa: PLC0415  # numba compiles it, and only training needs it

    current = dense_steps(current)
    spikes = _empty_spikes(current)
    gate = torch.ones(len(current)) if mask is None else mask.float()
    rounded = lif_kernel.rounded(Rules(*rules))
    currents, emitted = _flat(current), _flat(spikes)
    for piece in _pieces(emitted):
        part = emitted[:, piece]
        floats = part if part.dtype == torch.float32 else torch.empty(part.shape)
        lif_kernel.forward(currents[:, piece].float().numpy(), gate.numpy(), rounded, floats.numpy())
        if floats is not part:
            part.copy_(floats)
    return spikes


@torch.library.custom_op(
    "dtss::lif_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor gradient, Tensor current, Tensor? mask, {_RULES}) -> (Tensor, Tensor)",
)
def _lif_backward(gradient: Tensor, current: Tensor, mask: Tensor | None, *rules: Any) -> tuple[Tensor, Tensor]:
    from dtss.models import lif_kernel  # noqa: PLC0415  # as above

    current = dense_steps(current)
    grad_current = _empty_spikes(current)
    gate = torch.ones(len(current)) if mask is None else mask.float()
    rounded = lif_kernel.rounded(Rules(*rules))
    currents, gradients, found = _flat(current), _flat(_laid_out_as(grad_current, gradient)), _flat(grad_current)
    grad_mask = torch.zeros(len(current) if mask is not None else 0, dtype=torch.float64)
    for piece in _pieces(found):
        part = found[:, piece]
        floats = part if part.dtype == torch.float32 else torch.empty(part.shape)
        shares = lif_kernel.backward(
            gradients[:, piece].float().numpy(),
            currents[:, piece].float().numpy(),
            gate.numpy(),
            mask is not None,
            rounded,
            floats.numpy(),
        )
        grad_mask += torch.from_numpy(shares)
        if floats is not part:
            part.copy_(floats)
    return grad_current, grad_mask.float()


def _pieces(flat: Tensor) -> list[slice]:
    """Neurons that the CPU takes at once: all of them in float32, else as many as stay in its cache as float32."""
    neurons = flat.shape[1]
    size = neurons if flat.dtype == torch.float32 else 2**15
    return [slice(start, min(start + size, neurons)) for start in range(0, neurons, size)]


@_lif.register_kernel("cuda")
def lif_on_cuda(current: Tensor, mask: Tensor | None, *rules: Any) -> Tensor:
    from dtss.models import lif_triton  # noqa: PLC0415  # Triton is there where CUDA is

    current = dense_steps(current)
    spikes = _empty_spikes(current)
    lif_triton.forward(_flat(current), mask, Rules(*rules), _flat(spikes))
    return spikes


@_lif_backward.register_kernel("cuda")
def lif_backward_on_cuda(gradient: Tensor, current: Tensor, mask: Tensor | None, *rules: Any) -> tuple[Tensor, Tensor]:
    from dtss.models import lif_triton  # noqa: PLC0415  # as above

    current = dense_steps(current)
    grad_current = _empty_spikes(current)
    gradient = _flat(_laid_out_as(grad_current, gradient))
    grad_mask = lif_triton.backward(gradient, _flat(current), mask, Rules(*rules), _flat(grad_current))
    return grad_current, grad_mask


@_lif.register_fake
def _lif_shape(current: Tensor, mask: Tensor | None, *_rules: Any) -> Tensor:
    return _empty_spikes(dense_steps(current))


@_lif_backward.register_fake
def _lif_backward_shape(gradient: Tensor, current: Tensor, mask: Tensor | None, *_rules: Any) -> tuple[Tensor, Tensor]:
    steps = len(current) if mask is not None else 0
    return _empty_spikes(dense_steps(current)), gradient.new_empty(steps, dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    current, mask, *ctx.rules = inputs
    ctx.save_for_backward(current, mask)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    current, mask = ctx.saved_tensors
    grad_current, grad_mask = torch.ops.dtss.lif_backward(gradient, current, mask, *ctx.rules)
    return grad_current, None if mask is None else grad_mask, *(None for _ in ctx.rules)


_lif.register_autograd(_differentiate, setup_context=_keep)
