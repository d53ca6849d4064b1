"""The integer arithmetic against plain Python integers, and fractions rounded toward −∞."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtss.compiler.schedule.numerics import (
    FixedLeak,
    Leak,
    Reset,
    ShiftLeak,
    bit_planes,
    leak,
    lif_step,
    planes_for,
    signed_bits,
)

membranes = st.integers(-(2**40), 2**40)
leaks = st.builds(ShiftLeak, st.integers(1, 20)) | st.integers(0, 12).flatmap(
    lambda bits: st.builds(FixedLeak, st.integers(0, 2**bits), st.just(bits))
)


def python_leak(membrane: int, kind: Leak) -> int:
    if isinstance(kind, ShiftLeak):
        return membrane - math.floor(Fraction(membrane, 2**kind.shift))
    return math.floor(Fraction(membrane * kind.multiplier, 2**kind.fraction_bits))


@given(membranes, leaks)
def test_leak_is_that_of_python_integers(membrane: int, kind: Leak) -> None:
    assert int(leak(np.array(membrane), kind)) == python_leak(membrane, kind)


@pytest.mark.parametrize(
    ("membrane", "kind", "leaked"),
    [
        (3, ShiftLeak(1), 2),
        (-1, ShiftLeak(1), 0),
        (-3, ShiftLeak(1), -1),
        (-5, ShiftLeak(2), -3),
        (3, FixedLeak(3, 2), 2),
        (-1, FixedLeak(3, 2), -1),
        (-3, FixedLeak(3, 2), -3),
        (-7, FixedLeak(1, 0), -7),
        (-7, FixedLeak(0, 0), 0),
    ],
)
def test_shifts_round_toward_minus_infinity(membrane: int, kind: Leak, leaked: int) -> None:
    assert int(leak(np.array(membrane), kind)) == leaked


@given(
    st.lists(st.tuples(membranes, membranes, st.integers(-99, 2**40), membranes), min_size=1, max_size=5),
    leaks,
    st.sampled_from(["soft", "hard"]),
)
def test_lif_step_is_its_equation(neurons: list[tuple[int, int, int, int]], kind: Leak, reset: Reset) -> None:
    columns = np.array(neurons, np.int64).T
    fires, after = lif_step(columns[0], columns[1], columns[2], columns[3], kind, reset)
    for index, (membrane, current, threshold, reset_to) in enumerate(neurons):
        potential = python_leak(membrane, kind) + current
        fired = potential >= threshold
        assert bool(fires[index]) == fired
        assert int(after[index]) == (potential if not fired else potential - reset_to if reset == "soft" else reset_to)


def test_tie_fires() -> None:
    membrane, current, threshold, reset_to = np.array([[4, 3, 5, 0], [4, 2, 5, 0]]).T
    fires, after = lif_step(membrane, current, threshold, reset_to, ShiftLeak(1), "hard")
    assert fires.tolist() == [True, False]
    assert after.tolist() == [0, 4]


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=9))
def test_bit_planes_recompose(values: list[int]) -> None:
    planes = bit_planes(np.array(values), planes_for(max(values)))
    assert planes.dtype == np.bool_
    assert (planes.astype(np.int64) * (1 << np.arange(len(planes)))[:, None]).sum(0).tolist() == values


@given(st.integers(0, 2**50) | st.integers(0, 50).map(lambda bits: 2**bits))
def test_planes_are_the_fewest(highest: int) -> None:
    planes = planes_for(highest)
    assert highest < 2**planes
    assert planes == 1 or highest >= 2 ** (planes - 1)


edges = st.integers(-(2**50), 2**50) | st.builds(
    lambda bits, sign, offset: sign * 2**bits + offset, st.integers(0, 50), st.sampled_from([-1, 1]), st.integers(-1, 1)
)


@given(edges, edges)
def test_signed_bits_are_the_fewest(one: int, other: int) -> None:
    lowest, highest = min(one, other), max(one, other)

    def holds(bits: int) -> bool:
        return -(1 << (bits - 1)) <= lowest and highest < 1 << (bits - 1)

    bits = signed_bits(lowest, highest)
    assert holds(bits)
    assert bits == 1 or not holds(bits - 1)
