"""One pass over memory for all time steps of a LIF layer in training, on the CPU: the arithmetic of `Lif`, bit for bit.

Written as tensor operations the same equations read and write every membrane about twenty times, nearly half of a
training step. numba neither fuses nor reorders here (no fastmath), so each value is the one that torch computes.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.float32]  # [T, M], the M neurons of a layer flat


@numba.njit(nogil=True)
def forward(
    current: Steps,
    leak: np.float32,
    gain: np.float32,
    threshold: np.float32,
    ties_fire: bool,
    soft: bool,
    reset_value: np.float32,
    initial: np.float32,
) -> tuple[Steps, Steps]:
    """H[t] = λ·U[t−1] + g·I[t], Y and U as in NeuronSpec: I -> (Y of {0, 1}, H)."""
    spikes, membranes = np.empty_like(current), np.empty_like(current)
    state = np.full(current.shape[1], initial, dtype=np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    for t in range(current.shape[0]):
        for i in range(current.shape[1]):
            membrane = leak * state[i] + gain * current[t, i]
            spike = one if membrane > threshold or (ties_fire and membrane == threshold) else zero
            reset = membrane - threshold * spike if soft else reset_value
            state[i] = reset if spike > zero else membrane
            membranes[t, i] = membrane
            spikes[t, i] = spike
    return spikes, membranes


@numba.njit(nogil=True)
def backward(
    grad_spikes: Steps,
    membranes: Steps,
    leak: np.float32,
    gain: np.float32,
    threshold: np.float32,
    ties_fire: bool,
    soft: bool,
    peak: np.float32,
) -> Steps:
    """∂L/∂I from ∂L/∂Y: the surrogate through each spike, λ through each membrane, nothing through the reset's Y."""
    grad_current = np.empty_like(grad_spikes)
    carried = np.zeros(grad_spikes.shape[1], dtype=np.float32)  # ∂L/∂U[t]
    one, zero = np.float32(1.0), np.float32(0.0)
    for t in range(grad_spikes.shape[0] - 1, -1, -1):
        for i in range(grad_spikes.shape[1]):
            membrane = membranes[t, i]
            surrogate = peak * max(one - abs(membrane / threshold - one), zero)
            fired = membrane > threshold or (ties_fire and membrane == threshold)
            kept = carried[i] if soft or not fired else zero
            grad = grad_spikes[t, i] * surrogate + kept
            carried[i] = grad * leak
            grad_current[t, i] = grad * gain
    return grad_current
