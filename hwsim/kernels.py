"""The simulator's inner loops, compiled by numba on first use and kept in its cache.

Every sum is of integers in a type that the caller has proved wide enough, so order and threads change nothing.
Frames f are (step, image) pairs, rows r what a frame is made of: pixels, or tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.kernel import kernel

Array = NDArray[np.integer[Any]]
Index = NDArray[np.int32]


@kernel
def list_events(values: Array, amounts_wanted: bool) -> tuple[NDArray[np.int64], Index, Index]:
    """Where the values [rows, C] are not zero.

    (starts [rows + 1], channels [events], amounts [events, or none]): row r has events starts[r] … starts[r+1] − 1.
    """
    rows, channels = values.shape
    starts = np.empty(rows + 1, np.int64)
    starts[0] = 0
    for row in range(rows):
        count = 0
        for channel in range(channels):
            count += values[row, channel] != 0
        starts[row + 1] = starts[row] + count
    events = starts[rows]
    found = np.empty(events + 1, np.int32)  # one to spare: a zero is written, and then written over
    amounts = np.empty(events + 1 if amounts_wanted else 0, np.int32)
    at = 0
    for row in range(rows):
        if starts[row] == starts[row + 1]:
            continue
        if amounts_wanted:
            for channel in range(channels):
                found[at] = channel
                amounts[at] = values[row, channel]
                at += values[row, channel] != 0
        else:
            for channel in range(channels):
                found[at] = channel
                at += values[row, channel] != 0
    return starts, found, amounts


@kernel
def add_weight_rows(
    starts: NDArray[np.int64], channels: Index, taps: Index, rows: int, length: int,
    weights: Array, budget: int, partial: Array, sums: Array,
) -> None:  # fmt: skip
    """sums[f, p] = Σ weight rows of the events that output position p reads; every event is a single one.

    taps [P, offsets]: the row under each kernel offset, −1 outside the image.
    weights [offsets · length + 1, O], the last row 0.
    budget: rows, at least 8, that `partial` [O], an integer of fewer bits, can take before it is emptied.
    """
    outputs = weights.shape[1]
    listed = np.empty(taps.shape[1] * length + 3, np.int64)
    for frame in range(sums.shape[0]):
        for position in range(taps.shape[0]):
            count = 0
            for offset in range(taps.shape[1]):
                row = taps[position, offset]
                if row >= 0:
                    for event in range(starts[frame * rows + row], starts[frame * rows + row + 1]):
                        listed[count] = offset * length + channels[event]
                        count += 1
            for spare in range(count, count + 3):  # the row of zeros: whole groups of four
                listed[spare] = len(weights) - 1
            total = sums[frame, position]
            total[:] = 0
            partial[:] = 0
            left = budget
            event = 0
            while event < count:
                if left < 8:
                    for output in range(outputs):
                        total[output] += partial[output]
                        partial[output] = 0
                    left = budget
                row_a, row_b = weights[listed[event]], weights[listed[event + 1]]
                row_c, row_d = weights[listed[event + 2]], weights[listed[event + 3]]
                if event + 4 >= count:
                    for output in range(outputs):
                        partial[output] += row_a[output] + row_b[output] + row_c[output] + row_d[output]
                    break
                row_e, row_f = weights[listed[event + 4]], weights[listed[event + 5]]
                row_g, row_h = weights[listed[event + 6]], weights[listed[event + 7]]
                for output in range(outputs):
                    partial[output] += (
                        row_a[output] + row_b[output] + row_c[output] + row_d[output]
                        + row_e[output] + row_f[output] + row_g[output] + row_h[output]
                    )  # fmt: skip
                event += 8
                left -= 8
            for output in range(outputs):
                total[output] += partial[output]


@kernel
def add_weight_multiples(
    starts: NDArray[np.int64], channels: Index, amounts: Index, taps: Index, rows: int, length: int,
    weights: Array, budget: int, partial: Array, sums: Array,
) -> None:  # fmt: skip
    """As `add_weight_rows`, each row times its event's amount; the budget is of amounts, and holds any four of them."""
    outputs = weights.shape[1]
    listed = np.zeros(taps.shape[1] * length + 3, np.int64)
    times = np.zeros(taps.shape[1] * length + 3, partial.dtype)  # narrow, or LLVM multiplies 64 bits wide
    for frame in range(sums.shape[0]):
        for position in range(taps.shape[0]):
            count = 0
            for offset in range(taps.shape[1]):
                row = taps[position, offset]
                if row >= 0:
                    for event in range(starts[frame * rows + row], starts[frame * rows + row + 1]):
                        listed[count] = offset * length + channels[event]
                        times[count] = amounts[event]
                        count += 1
            for spare in range(count, count + 3):  # zero times the first row: whole groups of four
                listed[spare] = 0
                times[spare] = 0
            total = sums[frame, position]
            total[:] = 0
            partial[:] = 0
            left = budget
            for event in range(0, count, 4):
                i, j, k, m = times[event], times[event + 1], times[event + 2], times[event + 3]
                if left < i + j + k + m:
                    for output in range(outputs):
                        total[output] += partial[output]
                        partial[output] = 0
                    left = budget
                left -= i + j + k + m
                row_a, row_b = weights[listed[event]], weights[listed[event + 1]]
                row_c, row_d = weights[listed[event + 2]], weights[listed[event + 3]]
                for output in range(outputs):
                    partial[output] += i * row_a[output] + j * row_b[output] + k * row_c[output] + m * row_d[output]
            for output in range(outputs):
                total[output] += partial[output]


@kernel
def multiply_by_head(streamed: Array, stationary: Array, sums: Array) -> None:
    """sums[f, g, p] = Σ_k streamed[f, g, p, k] · stationary[f, g, k], where the streamed value is not zero."""
    frames, heads, positions, length = streamed.shape
    outputs = stationary.shape[3]
    total = np.zeros(outputs, sums.dtype)
    for frame in range(frames):
        for head in range(heads):
            for position in range(positions):
                total[:] = 0
                for index in range(length):
                    amount = streamed[frame, head, position, index]
                    if amount != 0:
                        row = stationary[frame, head, index]
                        for output in range(outputs):
                            total[output] += amount * row[output]
                for output in range(outputs):
                    sums[frame, head, position, output] = total[output]


@kernel
def run_neurons(
    sums: Array, source: Index, factor: int, bias: Array, biased: Index,
    threshold: Array, reset_to: Array, initial: Array,
    hard: bool, by_shift: bool, leak_shift: int, leak_multiplier: int,
    emitted: Index, spikes: NDArray[np.uint8], membranes: Array, limits: NDArray[np.int64],
) -> None:  # fmt: skip
    """I = sum · factor + bias; H = leak(U) + I; Y = [H ≥ θ]; U = H − R·Y (soft) or Y ? R : H (hard), for all steps.

    Neurons n are taken a block at a time; bias, θ, R and the initial U are those of a block, over and over.
    sums [steps computed, n]; source, biased [state steps]: which of them, −1 for none, and whether with a bias.
    leak(U) = U − (U >> leak_shift) if by_shift, else (U · leak_multiplier) >> leak_shift.
    emitted [state steps]: which of spikes [active steps, n], −1 for none.  membranes [state steps or 0, n].
    limits [state steps, 4]: lowest and highest I, lowest and highest U.
    """
    neurons = sums.shape[1]
    keep = len(membranes) > 0
    membrane = np.empty_like(initial)
    current = np.empty_like(initial)
    nothing = np.zeros_like(initial)
    fires = np.empty(len(initial), np.uint8)
    for first in range(0, neurons, len(initial)):
        count = min(len(initial), neurons - first)
        for n in range(count):
            membrane[n] = initial[n]
        for step in range(len(source)):
            added = bias if biased[step] else nothing
            if source[step] >= 0:
                summed = sums[source[step], first : first + count]
                for n in range(count):
                    current[n] = summed[n] * factor + added[n]
            else:
                for n in range(count):
                    current[n] = added[n]
            low = high = current[0]
            for n in range(count):
                low = min(low, current[n])
                high = max(high, current[n])
            limits[step, 0] = min(limits[step, 0], low)
            limits[step, 1] = max(limits[step, 1], high)
            if by_shift and leak_shift == 1:  # as below; a known shift is compiled to narrower integers
                for n in range(count):
                    membrane[n] = membrane[n] - (membrane[n] >> 1) + current[n]
            elif by_shift:
                for n in range(count):
                    membrane[n] = membrane[n] - (membrane[n] >> leak_shift) + current[n]
            else:
                for n in range(count):
                    membrane[n] = ((membrane[n] * leak_multiplier) >> leak_shift) + current[n]
            for n in range(count):
                fires[n] = membrane[n] >= threshold[n]
            if hard:
                for n in range(count):
                    membrane[n] = reset_to[n] if fires[n] else membrane[n]
            else:
                for n in range(count):
                    membrane[n] -= reset_to[n] if fires[n] else 0
            low = high = membrane[0]
            for n in range(count):
                low = min(low, membrane[n])
                high = max(high, membrane[n])
            limits[step, 2] = min(limits[step, 2], low)
            limits[step, 3] = max(limits[step, 3], high)
            if emitted[step] >= 0:
                out = spikes[emitted[step], first : first + count]
                for n in range(count):
                    out[n] = fires[n]
            if keep:
                kept = membranes[step, first : first + count]
                for n in range(count):
                    kept[n] = membrane[n]


@kernel
def count_spiking(values: Array, counts: NDArray[np.int64]) -> None:
    """counts[f] = how many of values [f, N] are 1; they are 0 or 1."""
    for frame in range(values.shape[0]):
        total = 0
        for index in range(values.shape[1]):
            total += values[frame, index]
        counts[frame] = total


@kernel
def count_ones(values: Array, lanes: int, ones: Index) -> None:
    """ones[r, b, k] = ones of plane b in the values lanes·k … of row r: [rows, C] → [rows, planes, slices]."""
    rows, channels = values.shape
    _, planes, slices = ones.shape
    for row in range(rows):
        for part in range(slices):
            first, last = part * lanes, min(channels, part * lanes + lanes)
            for plane in range(planes):
                count = 0
                for channel in range(first, last):
                    count += (values[row, channel] >> plane) & 1
                ones[row, plane, part] = count


@kernel
def count_ones_of_bytes(values: NDArray[np.uint64], bytes_a_slice: int, ones: Index) -> None:
    """As `count_ones` for values of one byte, eight of them in an integer, and fewer than 256 in a slice."""
    rows, length = values.shape
    _, planes, slices = ones.shape
    lowest = np.uint64(0x0101010101010101)
    for row in range(rows):
        for part in range(slices):
            first = part * bytes_a_slice // 8
            last = min(length, first + bytes_a_slice // 8)
            for plane in range(planes):
                counts = np.uint64(0)
                for index in range(first, last):
                    counts += (values[row, index] >> np.uint64(plane)) & lowest
                ones[row, plane, part] = (counts * lowest) >> np.uint64(56)


@kernel
def gather_ones(per_row: Index, steps: Index, taps: Index, offsets_per_word: int, words: Index) -> None:
    """Ones of each streamed word from those of each row's slices.

    per_row [steps, B, rows, planes, slices]; steps: those that are wanted; words [B, P, S, planes, tiles].
    A word holds `offsets_per_word` kernel offsets (all slices of one if it is 1); taps as in `add_weight_rows`.
    """
    batch, positions, _, planes, tiles = words.shape
    slices = per_row.shape[4]
    for image in range(batch):
        for position in range(positions):
            for step in range(len(steps)):
                for plane in range(planes):
                    word = words[image, position, step, plane]
                    for tile in range(tiles):
                        word[tile] = 0
                    for offset in range(taps.shape[1]):
                        row = taps[position, offset]
                        if row < 0:
                            continue
                        first = offset // offsets_per_word * slices
                        found = per_row[steps[step], image, row, plane]
                        for part in range(slices):
                            word[first + part] += found[part]
