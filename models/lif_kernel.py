"""The LIF layer of `fused_lif` on a CPU: the arithmetic of `Lif.run_steps`, bit for bit.

numba neither fuses nor reorders here (no fastmath), so each value is the one that torch computes. The neurons go
through in blocks small enough that their membranes of all steps stay in the cache nearest to the processor.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from dtss.models.fused_lif import Rules

Steps = NDArray[np.float32]  # [T, M], the M neurons of a layer flat; currents may be [1, M], the same at every step
BLOCK = 1024


def rounded(rules: Rules) -> Rules:
    """The numbers in the type of the membranes, as torch rounds them when they meet a tensor."""
    return Rules._make(value if isinstance(value, bool) else np.float32(value) for value in rules)


# One step of the neurons of a block each; numba turns these loops into vector instructions, and their callers' not.


@numba.njit(nogil=True)
def _charge(current, rules, state, membrane):  # type: ignore[no-untyped-def]  # numba types it
    """H = λ·U + g·I, and U from H."""
    for i in range(len(current)):
        charged = rules.leak * state[i] + rules.gain * current[i]
        fired = charged > rules.threshold or (rules.ties_fire and charged == rules.threshold)
        reset = charged - rules.threshold if rules.soft else rules.reset_value
        state[i] = reset if fired else charged
        membrane[i] = charged


@numba.njit(nogil=True)
def _emit(membrane, gate, rules, spikes):  # type: ignore[no-untyped-def]  # as above
    """O = Y · TM."""
    zero = np.float32(0.0)
    for i in range(len(spikes)):
        fired = membrane[i] > rules.threshold or (rules.ties_fire and membrane[i] == rules.threshold)
        spikes[i] = gate if fired else zero


@numba.njit(nogil=True)
def _differentiate(gradient, gate, membrane, rules, carried, grad_current):  # type: ignore[no-untyped-def]  # as above
    """∂L/∂I, and ∂L/∂U of the step before, from ∂L/∂O and ∂L/∂U."""
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(len(gradient)):
        slope = one - abs(membrane[i] * rules.inverse_threshold - one)
        surrogate = rules.peak * (zero if slope < zero else slope)
        fired = membrane[i] > rules.threshold or (rules.ties_fire and membrane[i] == rules.threshold)
        kept = carried[i] if rules.soft or not fired else zero
        grad = gradient[i] * gate * surrogate + kept
        carried[i] = grad * rules.leak
        grad_current[i] = grad * rules.gain


@numba.njit(nogil=True)
def _add_share(gradient, membrane, rules, shares):  # type: ignore[no-untyped-def]  # as above
    """∂L/∂O · Y, neuron by neuron, which add up to ∂L/∂TM."""
    zero = np.float32(0.0)
    for i in range(len(gradient)):
        fired = membrane[i] > rules.threshold or (rules.ties_fire and membrane[i] == rules.threshold)
        shares[i] += gradient[i] if fired else zero


@numba.njit(nogil=True)
def forward(current: Steps, mask: Steps, rules: Rules, spikes: Steps) -> None:
    """O[t] = Y[t] · TM[t] of the currents, written to `spikes`."""
    state, membrane = np.empty(BLOCK, dtype=np.float32), np.empty(BLOCK, dtype=np.float32)
    for start in range(0, spikes.shape[1], BLOCK):
        stop = min(start + BLOCK, spikes.shape[1])
        state[:] = rules.initial
        for t in range(len(spikes)):
            _charge(current[min(t, len(current) - 1), start:stop], rules, state, membrane)
            _emit(membrane, mask[t], rules, spikes[t, start:stop])


@numba.njit(nogil=True)
def backward(
    gradient: Steps, current: Steps, mask: Steps, masked: bool, rules: Rules, grad_current: Steps
) -> NDArray[np.float64]:
    """∂L/∂I from ∂L/∂O, written to `grad_current`: the surrogate through each spike, λ through each membrane, nothing
    through the reset's Y. Returns ∂L/∂TM [T], empty if not `masked`.
    """
    steps, neurons = gradient.shape
    membranes, state = np.empty((steps, BLOCK), dtype=np.float32), np.empty(BLOCK, dtype=np.float32)
    shares = np.zeros((steps if masked else 0, BLOCK))
    for start in range(0, neurons, BLOCK):
        stop = min(start + BLOCK, neurons)
        state[:] = rules.initial
        for t in range(steps):
            _charge(current[min(t, len(current) - 1), start:stop], rules, state, membranes[t])
        state[:] = 0.0  # from here on ∂L/∂U[t]
        for t in range(steps - 1, -1, -1):
            grad_spikes = gradient[t, start:stop]
            _differentiate(grad_spikes, mask[t], membranes[t], rules, state, grad_current[t, start:stop])
            if masked:
                _add_share(grad_spikes, membranes[t], rules, shares[t])
    return shares.sum(axis=1)
