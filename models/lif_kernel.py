"""One pass over memory for all time steps of a LIF layer in training, on the CPU: the arithmetic of `Lif`, bit for bit.

Written as tensor operations the same equations read and write every membrane about twenty times, nearly half of a
training step. numba neither fuses nor reorders here (no fastmath), so each value is the one that torch computes.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.float32]  # [T, M], the M neurons of a layer flat


class Rules(NamedTuple):
    """The numbers of a NeuronSpec, and the surrogate's peak γ / V_th, in the type of the membranes."""

    leak: np.float32
    gain: np.float32
    threshold: np.float32
    ties_fire: bool
    soft: bool
    reset_value: np.float32
    initial: np.float32
    peak: np.float32


@numba.njit(nogil=True)
def forward(current: Steps, rules: Rules) -> tuple[Steps, Steps]:
    """H[t] = λ·U[t−1] + g·I[t], Y and U as in NeuronSpec: I -> (Y of {0, 1}, H)."""
    spikes, membranes = np.empty_like(current), np.empty_like(current)
    state = np.full(current.shape[1], rules.initial, dtype=np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    for t in range(current.shape[0]):
        for i in range(current.shape[1]):
            membrane = rules.leak * state[i] + rules.gain * current[t, i]
            spike = one if membrane > rules.threshold or (rules.ties_fire and membrane == rules.threshold) else zero
            reset = membrane - rules.threshold * spike if rules.soft else rules.reset_value
            state[i] = reset if spike > zero else membrane
            membranes[t, i] = membrane
            spikes[t, i] = spike
    return spikes, membranes


@numba.njit(nogil=True)
def backward(grad_spikes: Steps, membranes: Steps, rules: Rules) -> Steps:
    """∂L/∂I from ∂L/∂Y: the surrogate through each spike, λ through each membrane, nothing through the reset's Y."""
    grad_current = np.empty_like(grad_spikes)
    carried = np.zeros(grad_spikes.shape[1], dtype=np.float32)  # ∂L/∂U[t]
    one, zero = np.float32(1.0), np.float32(0.0)
    for t in range(grad_spikes.shape[0] - 1, -1, -1):
        for i in range(grad_spikes.shape[1]):
            membrane = membranes[t, i]
            surrogate = rules.peak * max(one - abs(membrane / rules.threshold - one), zero)
            fired = membrane > rules.threshold or (rules.ties_fire and membrane == rules.threshold)
            kept = carried[i] if rules.soft or not fired else zero
            grad = grad_spikes[t, i] * surrogate + kept
            carried[i] = grad * rules.leak
            grad_current[t, i] = grad * rules.gain
    return grad_current
