"""The one definition of integer arithmetic, imported by the compiler, the simulator and the benches.

Every value is a two's-complement integer held in int64; `prove_widths` has shown that none of them
leaves the hardware's width, so nothing here saturates or wraps.
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class ShiftLeak(msgspec.Struct, frozen=True, tag="shift", tag_field="kind", forbid_unknown_fields=True):
    """λ = 1 − 2^−shift:  leak(U) = U − (U >>> shift), the arithmetic shift rounding toward −∞."""

    shift: int


class FixedLeak(msgspec.Struct, frozen=True, tag="fixed", tag_field="kind", forbid_unknown_fields=True):
    """λ ≈ multiplier / 2^fraction_bits:  leak(U) = (U · multiplier) >>> fraction_bits."""

    multiplier: int
    fraction_bits: int


Leak = ShiftLeak | FixedLeak
Reset = Literal["soft", "hard"]


def leak(membrane: Integers, kind: Leak) -> Integers:
    """leak(U), see `ShiftLeak` and `FixedLeak`."""
    match kind:
        case ShiftLeak(shift=shift):
            return membrane - (membrane >> shift)
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return (membrane * multiplier) >> fraction_bits
        case _:
            assert_never(kind)


def lif_step(
    membrane: Integers, current: Integers, threshold: Integers, reset_to: Integers, kind: Leak, reset: Reset
) -> tuple[NDArray[np.bool_], Integers]:
    """One time step of a LIF neuron.

    H = leak(U) + I;   Y = [H ≥ θ];   U' = H − R·Y (soft)  or  Y ? R : H (hard)

    `membrane` U and `current` I are [..., C]; `threshold` θ and `reset_to` R are [C]. Returns (Y, U').
    The time-step mask is the caller's: it gates the output, never the state.
    """
    potential = leak(membrane, kind) + current
    fires = potential >= threshold
    match reset:
        case "soft":
            return fires, potential - np.where(fires, reset_to, 0)
        case "hard":
            return fires, np.where(fires, reset_to, potential)
        case _:
            assert_never(reset)


def bit_planes(values: Integers, planes: int) -> NDArray[np.bool_]:
    """x = Σ_b 2^b·x_b for unsigned x < 2^planes; the plane axis is put first: [planes, ...]."""
    shifts = np.arange(planes, dtype=np.int64).reshape((planes,) + (1,) * values.ndim)
    return ((values[None] >> shifts) & 1).astype(np.bool_)


def planes_for(maximum: int) -> int:
    """Bit planes needed for unsigned values up to `maximum` (at least one)."""
    return max(1, int(maximum).bit_length())


def signed_bits(lowest: int, highest: int) -> int:
    """Width of the narrowest two's-complement integer that holds [lowest, highest]."""
    return 1 + max(int(highest).bit_length() if highest > 0 else 0, int(~lowest).bit_length() if lowest < 0 else 0)
