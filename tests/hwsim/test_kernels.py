"""The kernels that keep whole registers, against numpy, at the edges of what they are given."""

import os
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dtss.hwsim.counting import count_ones, count_ones_across
from dtss.hwsim.dense import multiply_dense, weight_panels
from dtss.hwsim.kernels import multiply_by_head
from dtss.hwsim.products import Streamed
from tests.hwsim.random_networks import many

seeds = st.integers(0, 2**32 - 1)
parts = st.sampled_from([1, 2, 3])  # of a shared kernel


@many
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 40), st.integers(1, 70), parts, seeds)
def test_dense_products(
    frames: int, positions: int, offsets: int, channels: int, outputs: int, parts: int, seed: int
) -> None:
    """Values and weights reach what a byte holds; windows and panels are full or not."""
    random = np.random.default_rng(seed)
    values = random.choice(np.array([0, 1, 254, 255], np.uint8), (frames, 5, channels))
    weights = random.choice(np.array([-128, -1, 0, 127], np.int8), (offsets * channels, outputs))
    taps = random.integers(-1, 5, (positions, offsets)).astype(np.int32)
    sums = np.full((frames, positions, outputs), 99, np.int32)
    multiply_dense(parts, values, taps, weight_panels(weights), sums)
    padded = np.concatenate([values, np.zeros((frames, 1, channels), np.uint8)], axis=1).astype(np.int64)
    np.testing.assert_array_equal(sums, padded[:, taps].reshape(frames, positions, -1) @ weights.astype(np.int64))


@many
@given(st.sampled_from([np.uint8, np.uint16]), st.integers(1, 9), st.integers(1, 150), st.integers(1, 40), parts, seeds)
def test_products_by_head(dtype: type, positions: int, length: int, outputs: int, parts: int, seed: int) -> None:
    """Q · (Kᵀ·V) of two frames and three heads; the tokens of a head lie side by side with the others'."""
    random = np.random.default_rng(seed)
    values: np.ndarray = random.integers(0, 3, (2, positions, 3, length)).astype(dtype)
    held = random.integers(0, 256, (2, 3, length, outputs)).astype(np.uint8)
    sums = np.zeros((2, positions, 3, outputs), np.int32)
    strides = np.array([(length, 3 * length, 1), (length * outputs, 0, outputs), (outputs, 3 * outputs, 0)])
    arrays = (each.reshape(2, -1) for each in (values, held, sums))
    streamed, stationary, into = arrays
    sizes = np.array([3, positions, length, outputs])
    multiply_by_head(parts, streamed, stationary, sizes, strides, into)
    np.testing.assert_array_equal(sums, np.einsum("fphk,fhko->fpho", values.astype(np.int64), held.astype(np.int64)))


@many
@given(st.sampled_from([np.uint8, np.uint16, np.int32]), st.integers(1, 5), st.integers(1, 200), parts, seeds)
def test_events_are_the_values_that_are_not_zero(dtype: type, rows: int, channels: int, parts: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    share = random.random((rows, channels)) < 0.2
    values: np.ndarray = (random.integers(0, 256, (rows, channels)) * share).astype(dtype)
    streamed = Streamed(values[None], steps=1, above_one=True, threads=parts)
    found, amounts = streamed.events
    row, channel = np.nonzero(values)
    np.testing.assert_array_equal(np.diff(streamed.starts), (values != 0).sum(1))
    np.testing.assert_array_equal(found, channel)
    np.testing.assert_array_equal(amounts, values[row, channel])


@many
@given(
    st.sampled_from([np.uint8, np.uint16]), st.integers(1, 200), st.sampled_from([1, 8, 12, 64, 100, 300]), parts, seeds
)
def test_ones_of_every_plane(dtype: type, channels: int, lanes: int, parts: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    planes = 8 * np.dtype(dtype).itemsize
    values: np.ndarray = random.integers(0, 1 << planes, (3, channels)).astype(dtype)
    bits = values[:, None] >> np.arange(planes, dtype=dtype)[:, None] & 1
    expected = np.add.reduceat(bits.astype(np.int32), range(0, channels, lanes), axis=2)
    ones = np.empty((1, 1, 3, -(-channels // lanes), 1, planes), np.int32)
    count_ones(parts, values.reshape(1, 1, -1), 0, channels, 3, channels, lanes, ones)
    np.testing.assert_array_equal(ones[0, 0, :, :, 0], expected.swapaxes(1, 2))
    ones[:] = -1
    count_ones_across(np.ascontiguousarray(values.T)[None, None], lanes, ones)
    np.testing.assert_array_equal(ones[0, 0, :, :, 0], expected.swapaxes(1, 2))


WITHOUT_BYTES = """
import numpy as np
from dtss.hwsim.dense import multiply_dense, weight_panels
from dtss.hwsim.registers import multiplies_bytes

assert not multiplies_bytes()
random = np.random.default_rng(0)
values = random.integers(0, 256, (1, 9, 41)).astype(np.uint8)
weights = random.integers(-128, 128, (41, 35)).astype(np.int8)
sums = np.empty((1, 9, 35), np.int32)
multiply_dense(1, values, np.arange(9, dtype=np.int32)[:, None], weight_panels(weights), sums)
assert (sums[0] == values[0].astype(np.int64) @ weights).all()
"""


def test_a_processor_that_does_not_multiply_bytes() -> None:
    """The same products, compiled for any processor of this kind."""
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    subprocess.run([sys.executable, "-c", WITHOUT_BYTES], env=environment, check=True)
