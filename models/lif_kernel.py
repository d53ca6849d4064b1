"""The LIF layer of `fused_lif` on a CPU: the arithmetic of `Lif.run_steps`, bit for bit.

numba neither fuses nor reorders here (no fastmath), so each value is the one that torch computes. The neurons go
through in blocks small enough that their membranes of all steps stay in the cache nearest to the processor.
"""

from typing import TYPE_CHECKING

import numba
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # fused_lif calls this module
    from dtss.models.fused_lif import Rules

Steps = NDArray[np.float32]  # [T, M], the M neurons of a layer flat; currents may be [1, M], the same at every step
BLOCK = 1024


def rounded(rules: "Rules") -> "Rules":
    """The numbers in the type of the membranes, as torch rounds them when they meet a tensor."""
    return rules._make(value if isinstance(value, bool) else np.float32(value) for value in rules)


@numba.njit(nogil=True)
def _charge(state, current, rules, membrane):  # type: ignore[no-untyped-def]  # numba inlines it
    """H = λ·U + g·I, and U from H: one step of the neurons of a block."""
    for i in range(len(current)):
        charged = rules.leak * state[i] + rules.gain * current[i]
        fired = charged > rules.threshold or (rules.ties_fire and charged == rules.threshold)
        reset = charged - rules.threshold if rules.soft else rules.reset_value
        state[i] = reset if fired else charged
        membrane[i] = charged


@numba.njit(nogil=True)
def forward(current: Steps, mask: Steps, rules: "Rules", spikes: Steps) -> None:
    """O[t] = Y[t] · TM[t] of the currents, written to `spikes`."""
    neurons = current.shape[1]
    state, membrane = np.empty(BLOCK, dtype=np.float32), np.empty(BLOCK, dtype=np.float32)
    zero = np.float32(0.0)
    for start in range(0, neurons, BLOCK):
        stop = min(start + BLOCK, neurons)
        state[:] = rules.initial
        for t in range(len(spikes)):
            gate = mask[t]
            step, row = current[min(t, len(current) - 1), start:stop], spikes[t, start:stop]
            _charge(state, step, rules, membrane)
            for i in range(stop - start):
                charged = membrane[i]
                fired = charged > rules.threshold or (rules.ties_fire and charged == rules.threshold)
                row[i] = gate if fired else zero


@numba.njit(nogil=True)
def backward(
    gradient: Steps, current: Steps, mask: Steps, masked: bool, rules: "Rules", grad_current: Steps
) -> NDArray[np.float64]:
    """∂L/∂I from ∂L/∂O, written to `grad_current`: the surrogate through each spike, λ through each membrane, nothing
    through the reset's Y. Returns ∂L/∂TM [T], empty if not `masked`.
    """
    steps, neurons = gradient.shape
    membranes, state = np.empty((steps, BLOCK), dtype=np.float32), np.empty(BLOCK, dtype=np.float32)
    of_mask = np.zeros((steps if masked else 0, BLOCK))
    one, zero = np.float32(1.0), np.float32(0.0)
    for start in range(0, neurons, BLOCK):
        stop = min(start + BLOCK, neurons)
        state[:] = rules.initial
        for t in range(steps):
            _charge(state, current[min(t, len(current) - 1), start:stop], rules, membranes[t])
        state[:] = zero  # from here on ∂L/∂U[t]
        for t in range(steps - 1, -1, -1):
            gate, membrane = mask[t], membranes[t]
            grad_row, row = gradient[t, start:stop], grad_current[t, start:stop]
            for i in range(stop - start):
                slope = one - abs(membrane[i] * rules.inverse_threshold - one)
                surrogate = rules.peak * (zero if slope < zero else slope)
                fired = membrane[i] > rules.threshold or (rules.ties_fire and membrane[i] == rules.threshold)
                kept = state[i] if rules.soft or not fired else zero
                grad = grad_row[i] * gate * surrogate + kept
                state[i] = grad * rules.leak
                row[i] = grad * rules.gain
            if masked:
                sums = of_mask[t]
                for i in range(stop - start):
                    fired = membrane[i] > rules.threshold or (rules.ties_fire and membrane[i] == rules.threshold)
                    sums[i] += grad_row[i] if fired else zero
    return of_mask.sum(axis=1)
