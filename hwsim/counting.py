"""The kernels that count: ones of streamed words, and spikes. Shared kernels as in `dtss.hwsim.kernels`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.kernel import kernel, shared_kernel
from dtss.hwsim.kernels import EVERY_BIT, Array, Index
from dtss.hwsim.registers import BYTES, bits_set, count_set


@kernel
def count_spiking(values: Array, steps: Index, spikes: NDArray[np.int64]) -> None:
    """spikes[i, steps[k]] = how many of values [k, B, N] of image i are 1; they are 0 or 1."""
    _, batch, size = values.shape
    for frame in range(len(steps) * batch):
        step, image = divmod(frame, batch)
        total = 0
        for first in range(frame * size, (frame + 1) * size - BYTES + 1, BYTES):
            total += count_set(bits_set(values, first, 1))
        for index in range(size // BYTES * BYTES, size):
            total += values[step, image, index]
        spikes[image, steps[step]] = total


@shared_kernel
def count_ones(
    part: int, parts: int, values: Array, group_stride: int, row_stride: int, rows: int, length: int, lanes: int,
    ones: Index,
) -> None:  # fmt: skip
    """ones[i, g, r, k, s, b] = ones of plane b in the values lanes·k … of row r of group g.

    values [steps, B, N]: a row is `length` of them, from g · group_stride + r · row_stride on.
    ones [B, groups, at least rows, slices, steps, planes].
    """
    steps, batch, size = values.shape
    groups, slices, planes = ones.shape[1], ones.shape[3], ones.shape[5]
    begin, end = part * batch * rows // parts, (part + 1) * batch * rows // parts
    for step in range(steps):
        for group in range(groups):
            for index in range(begin, end):
                image, row = divmod(index, rows)
                start = group * group_stride + row * row_stride
                flat = (step * batch + image) * size + start
                for slice_ in range(slices):
                    last = min(length, slice_ * lanes + lanes)
                    for plane in range(planes):
                        total, at = 0, slice_ * lanes
                        while at < last:  # a range with a step costs more than what is in it
                            if values.itemsize == 1 and flat + at + BYTES <= values.size:
                                wanted = EVERY_BIT >> np.uint64(max(0, BYTES - (last - at)))
                                total += count_set(bits_set(values, flat + at, 1 << plane) & wanted)
                            else:
                                for channel in range(start + at, start + min(last, at + BYTES)):
                                    total += (values[step, image, channel] >> plane) & 1
                            at += BYTES
                        ones[image, group, row, slice_, step, plane] = total


@kernel
def add_offsets(ones: Index, taps: Index, offsets_per_word: int, words: Index) -> None:
    """words[i, g, p, w, s, b] = Σ ones of the rows under kernel offsets `offsets_per_word` · w …, of one slice each."""
    for image in range(words.shape[0]):
        for group in range(words.shape[1]):
            for position in range(words.shape[2]):
                words[image, group, position] = 0
                for offset in range(taps.shape[1]):
                    row = taps[position, offset]
                    for step in range(words.shape[4]):
                        for plane in range(words.shape[5]):
                            found = ones[image, group, row, 0, step, plane]
                            words[image, group, position, offset // offsets_per_word, step, plane] += found


@kernel
def count_ones_across(values: Array, lanes: int, ones: Index) -> None:
    """As `count_ones` of values [steps, B, N, C] turned around: rows are channels, group after group."""
    steps, batch, length, _ = values.shape
    _, groups, rows, slices, _, planes = ones.shape
    totals = np.zeros(rows, np.int32)
    for step in range(steps):
        for image in range(batch):
            for group in range(groups):
                for plane in range(planes):
                    for part in range(slices):
                        totals[:] = 0
                        for index in range(part * lanes, min(length, part * lanes + lanes)):
                            for row in range(rows):
                                totals[row] += (values[step, image, index, group * rows + row] >> plane) & 1
                        for row in range(rows):
                            ones[image, group, row, part, step, plane] = totals[row]
