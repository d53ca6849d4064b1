"""The LIF layer of `fused_lif` on CUDA: the arithmetic of `Lif.run_steps`, bit for bit.

One program owns a block of neurons for all T steps, so each current is read once and each spike written once; the
backward pass reads the currents and ∂L/∂O once and writes ∂L/∂I once. Products and sums are kept apart
(enable_fp_fusion=False): a fused multiply-add rounds once where torch's loop rounds twice, and membranes that tie with
the threshold are common.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from dtss.models.fused_lif import Rules

WARPS = 4
OPTIONS = {"num_warps": WARPS, "enable_fp_fusion": False}


@triton.jit
def _membranes(  # type: ignore[no-untyped-def]
    current,
    place,
    inside,
    stride,
    leak,
    gain,
    threshold,
    reset_value,
    initial,
    steps: tl.constexpr,
    ties_fire: tl.constexpr,
    soft: tl.constexpr,
):
    """H[t] and whether it fires, each a tuple of T blocks; asks for all currents before it uses the first."""
    currents = ()
    for t in tl.static_range(steps):
        currents = currents + (tl.load(current + (place + t * stride), mask=inside, other=0.0),)
    membranes = ()
    fires = ()
    state = tl.zeros(place.shape, tl.float32) + initial
    for t in tl.static_range(steps):
        membrane = leak * state + gain * currents[t].to(tl.float32)
        fired = membrane >= threshold if ties_fire else membrane > threshold
        reset = membrane - threshold if soft else reset_value
        state = tl.where(fired, reset, membrane)
        membranes = membranes + (membrane,)
        fires = fires + (fired,)
    return membranes, fires


@triton.jit
def forward_kernel(  # type: ignore[no-untyped-def]
    current,
    mask,
    spikes,
    neurons,
    current_stride,
    leak,
    gain,
    threshold,
    reset_value,
    initial,
    steps: tl.constexpr,
    ties_fire: tl.constexpr,
    soft: tl.constexpr,
    masked: tl.constexpr,
    block: tl.constexpr,
):
    """O[t] = Y[t] · TM[t];  current_stride is `neurons`, or 0 where every step reads the same currents."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < neurons
    stride = tl.cast(neurons, tl.int64)
    _, fires = _membranes(
        current,
        place,
        inside,
        tl.cast(current_stride, tl.int64),
        leak,
        gain,
        threshold,
        reset_value,
        initial,
        steps,
        ties_fire,
        soft,
    )
    for t in tl.static_range(steps):
        spike = fires[t].to(tl.float32)
        if masked:
            spike = spike * tl.load(mask + t)
        tl.store(spikes + (place + t * stride), spike.to(spikes.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(  # type: ignore[no-untyped-def]
    gradient,
    current,
    mask,
    grad_current,
    grad_mask,
    neurons,
    current_stride,
    leak,
    gain,
    threshold,
    inverse_threshold,
    reset_value,
    initial,
    peak,
    steps: tl.constexpr,
    ties_fire: tl.constexpr,
    soft: tl.constexpr,
    masked: tl.constexpr,
    block: tl.constexpr,
):
    """∂L/∂I from ∂L/∂O: the surrogate through each spike, λ through each membrane, nothing through the reset's Y.

    grad_mask  [T, programs]: this block's share of ∂L/∂TM.
    """
    program = tl.program_id(0).to(tl.int64)
    place = program * block + tl.arange(0, block)
    inside = place < neurons
    stride = tl.cast(neurons, tl.int64)
    gradients = ()
    for t in tl.static_range(steps):
        gradients = gradients + (tl.load(gradient + (place + t * stride), mask=inside, other=0.0),)
    membranes, fires = _membranes(
        current,
        place,
        inside,
        tl.cast(current_stride, tl.int64),
        leak,
        gain,
        threshold,
        reset_value,
        initial,
        steps,
        ties_fire,
        soft,
    )
    carried = tl.zeros(place.shape, tl.float32)  # ∂L/∂U[t]
    for t in tl.static_range(steps - 1, -1, -1):
        grad_spike = gradients[t].to(tl.float32)
        if masked:
            share = tl.sum(tl.where(fires[t], grad_spike, 0.0), axis=0)
            tl.store(grad_mask + t * tl.num_programs(0) + program, share)
            grad_spike = grad_spike * tl.load(mask + t)
        slope = 1.0 - tl.abs(membranes[t] * inverse_threshold - 1.0)
        surrogate = peak * tl.where(slope < 0.0, 0.0, slope)
        kept = carried if soft else tl.where(fires[t], 0.0, carried)
        grad = grad_spike * surrogate + kept
        carried = grad * leak
        grad_input = (grad * gain).to(grad_current.dtype.element_ty)
        tl.store(grad_current + (place + t * stride), grad_input, mask=inside)


def forward(current: Tensor, mask: Tensor | None, rules: Rules, spikes: Tensor) -> None:
    """Writes O [T, M] to `spikes`; current [T, M], or [1, M] where every step reads the same; mask [T]."""
    steps, neurons = spikes.shape
    block = block_of(steps)
    with _on_device_of(current):
        forward_kernel[(triton.cdiv(neurons, block),)](
            current,
            _gate(mask, current),
            spikes,
            neurons,
            neurons if len(current) > 1 else 0,
            rules.leak,
            rules.gain,
            rules.threshold,
            rules.reset_value,
            rules.initial,
            steps=steps,
            ties_fire=rules.ties_fire,
            soft=rules.soft,
            masked=mask is not None,
            block=block,
            **OPTIONS,
        )


def backward(gradient: Tensor, current: Tensor, mask: Tensor | None, rules: Rules, grad_current: Tensor) -> Tensor:
    """Writes ∂L/∂I [T, M] to `grad_current`; ∂L/∂TM [T], empty without a mask, summed in an order that is fixed."""
    steps, neurons = gradient.shape
    block = block_of(steps)
    blocks = triton.cdiv(neurons, block)
    grad_mask = gradient.new_empty((steps if mask is not None else 0, blocks), dtype=torch.float32)
    with _on_device_of(current):
        backward_kernel[(blocks,)](
            gradient,
            current,
            _gate(mask, current),
            grad_current,
            grad_mask,
            neurons,
            neurons if len(current) > 1 else 0,
            rules.leak,
            rules.gain,
            rules.threshold,
            rules.inverse_threshold,
            rules.reset_value,
            rules.initial,
            rules.peak,
            steps=steps,
            ties_fire=rules.ties_fire,
            soft=rules.soft,
            masked=mask is not None,
            block=block,
            **OPTIONS,
        )
    return grad_mask.sum(dim=1)


def block_of(steps: int) -> int:
    """Neurons of a program: eight a thread, loads and stores of 16 bytes; fewer beyond four steps, for registers."""
    return max(32 * WARPS, 4096 // max(4, triton.next_power_of_2(steps)))


def _gate(mask: Tensor | None, current: Tensor) -> Tensor:
    """TM as the kernels read it; without one they read nothing, and any address will do."""
    return current if mask is None else mask.float().contiguous()


def _on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the present device; in its interpreter there is none."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
