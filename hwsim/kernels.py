"""The simulator's inner loops, compiled by numba on first use and kept in its cache.

Every sum is of integers in a type that the caller has proved wide enough, so order and threads change nothing.
Frames f are (step, image) pairs, rows r what a frame is made of: pixels, or tokens.
Of a shared kernel each part takes the same positions of a batch at all steps, so that a thread finds in its cache what
it has written there. Kernels that take little of a run are not shared: each more is seconds of compilation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.kernel import kernel, shared_kernel
from dtss.hwsim.registers import BYTES, bits_set, count_set, lowest_set

Array = NDArray[np.integer[Any]]
Index = NDArray[np.int32]

EVERY_BIT = np.uint64(2**64 - 1)


@kernel
def row_of_part(index: int, begin: int, end: int, rows: int) -> int:
    """The index-th row of a part that has rows begin … end − 1 of `rows` at each step, counted over all steps."""
    return index // (end - begin) * rows + begin + index % (end - begin)


@shared_kernel
def count_events(part: int, parts: int, values: Array, counts: NDArray[np.int64]) -> None:
    """counts[s · rows + r] = how many of the values [steps, rows, C] of a row are not zero."""
    steps, rows, channels = values.shape
    begin, end = part * rows // parts, (part + 1) * rows // parts
    for index in range(steps * (end - begin)):
        row = row_of_part(index, begin, end, rows)
        count, first = 0, 0
        while first < channels:  # a range with a step costs more than what is in it
            if values.itemsize == 1 and row * channels + first + BYTES <= values.size:
                wanted = EVERY_BIT >> np.uint64(max(0, BYTES - (channels - first)))
                count += count_set(bits_set(values, row * channels + first, 255) & wanted)
            else:
                for channel in range(first, min(channels, first + BYTES)):
                    count += values[row // rows, row % rows, channel] != 0
            first += BYTES
        counts[row] = count


@shared_kernel
def list_events(
    part: int, parts: int, values: Array, starts: NDArray[np.int64], found: Index, amounts: Index, amounts_wanted: bool
) -> None:
    """The channels of the values that `count_events` counted, row r's from starts[r] on, and if wanted the values."""
    steps, rows, channels = values.shape
    begin, end = part * rows // parts, (part + 1) * rows // parts
    for index in range(steps * (end - begin)):
        row = row_of_part(index, begin, end, rows)
        looked_at = values[row // rows, row % rows]
        at, first = np.uint64(starts[row]), 0
        while first < channels:
            if values.itemsize == 1 and row * channels + first + BYTES <= values.size:
                wanted = EVERY_BIT >> np.uint64(max(0, BYTES - (channels - first)))
                left = bits_set(values, row * channels + first, 255) & wanted
                while left != 0:
                    found[at] = first + lowest_set(left)
                    left &= left - np.uint64(1)
                    at += np.uint64(1)
            else:
                for channel in range(first, min(channels, first + BYTES)):
                    if looked_at[channel] != 0:
                        found[at] = channel
                        at += np.uint64(1)
            first += BYTES
        if amounts_wanted:
            for event in range(starts[row], starts[row + 1]):
                amounts[event] = looked_at[found[event]]


@shared_kernel
def add_weight_rows(
    part: int, parts: int, starts: NDArray[np.int64], channels: Index, taps: Index, rows: int, length: int,
    weights: Array, budget: int, narrow: Array, sums: Array,
) -> None:  # fmt: skip
    """sums[s, i · P + p] = Σ weight rows of the events that position p of image i reads, each a single one.

    taps [P, offsets]: the row under each kernel offset, −1 outside the image.
    weights [offsets · length + 1, O], the last row 0.
    budget: rows, at least 8, that a sum of the type of `narrow`, an empty array, can take before it is emptied.
    """
    outputs = weights.shape[1]
    partial = np.empty(outputs, narrow.dtype)
    listed = np.empty(taps.shape[1] * length + 3, np.int64)
    begin, end = part * sums.shape[1] // parts, (part + 1) * sums.shape[1] // parts
    for index in range(sums.shape[0] * (end - begin)):
        row = row_of_part(index, begin, end, sums.shape[1])
        step, at = divmod(row, sums.shape[1])
        frame, position = divmod(row, len(taps))
        count = 0
        for offset in range(taps.shape[1]):
            row = taps[position, offset]
            if row >= 0:
                for event in range(starts[frame * rows + row], starts[frame * rows + row + 1]):
                    listed[count] = offset * length + channels[event]
                    count += 1
        for spare in range(count, count + 3):  # the row of zeros: whole groups of four
            listed[spare] = len(weights) - 1
        total = sums[step, at]
        for output in range(outputs):
            total[output] = 0
            partial[output] = 0
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
    weights: Array, budget: int, narrow: Array, sums: Array,
) -> None:  # fmt: skip
    """As `add_weight_rows`, each row times its event's amount; the budget is of amounts, and holds any four of them."""
    outputs = weights.shape[1]
    partial = np.empty(outputs, narrow.dtype)
    listed = np.zeros(taps.shape[1] * length + 3, np.int64)
    times = np.zeros(taps.shape[1] * length + 3, partial.dtype)  # narrow, or LLVM multiplies 64 bits wide
    for index in range(sums.shape[0] * sums.shape[1]):
        step, at = divmod(index, sums.shape[1])
        frame, position = divmod(index, len(taps))
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
        total = sums[step, at]
        for output in range(outputs):
            total[output] = 0
            partial[output] = 0
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


@shared_kernel
def multiply_by_head(
    part: int,
    parts: int,
    streamed: Array,
    stationary: Array,
    sizes: NDArray[np.int64],
    strides: NDArray[np.int64],
    sums: Array,
) -> None:
    """Row (g, a, b) of the sums gets streamed value (g, a, b) times stationary row (g, a, b), if the value is not zero.

    All [frames, N]; sizes: of g, a, b, and of a row; strides [3, 3]: of g, a and b in each, as in the arguments.
    In which the streamed b is 1, and one of the others' a and b is 0. Groups share no sums.
    """
    groups, rows, length, outputs = sizes
    kind = sums.dtype.type
    begin, end = part * groups // parts, (part + 1) * groups // parts
    for index in range(len(streamed) * (end - begin)):
        frame, group = index // (end - begin), begin + index % (end - begin)
        for row in range(rows if strides[2, 1] else 1):
            for column in range(length if strides[2, 2] else 1):
                total = np.uint64(group * strides[2, 0] + row * strides[2, 1] + column * strides[2, 2])
                for output in range(np.uint64(outputs)):  # unsigned: not looked at for being negative
                    sums[frame, total + output] = 0
        for row in range(rows):
            start = group * strides[0, 0] + row * strides[0, 1]
            held = group * strides[1, 0] + row * strides[1, 1]
            made = group * strides[2, 0] + row * strides[2, 1]
            first = 0
            while first < length:
                left = EVERY_BIT >> np.uint64(max(0, BYTES - (length - first)))
                at = frame * streamed.shape[1] + start + first
                if streamed.itemsize == 1 and at + BYTES <= streamed.size:
                    left &= bits_set(streamed, at, 255)
                while left != 0:
                    column = first + lowest_set(left)
                    left &= left - np.uint64(1)
                    amount = kind(streamed[frame, start + column])
                    if amount != 0:
                        operand = np.uint64(held + column * strides[1, 2])
                        total = np.uint64(made + column * strides[2, 2])
                        for output in range(np.uint64(outputs)):
                            sums[frame, total + output] += amount * stationary[frame, operand + output]
                first += BYTES


@kernel
def add_bias(sums: Array, factor: int, bias: Array, values: Array, limits: NDArray[np.int64]) -> None:
    """values = sum · factor + bias, [steps, n, O] with a bias [O]; limits [steps, 2]: the lowest and the highest."""
    kind, bounds = bias.dtype.type, np.iinfo(bias.dtype)
    for step in range(len(sums)):
        low, high = kind(bounds.max), kind(bounds.min)
        for index in range(sums.shape[1]):
            summed, made = sums[step, index], values[step, index]
            for output in range(len(bias)):
                value = kind(summed[output] * factor + bias[output])
                low, high = min(low, value), max(high, value)
                made[output] = value
        limits[step, 0], limits[step, 1] = low, high


@kernel
def add_values(left: Array, right: Array, wide: Array, values: Array, limits: NDArray[np.int64]) -> None:
    """values = left + right, [steps, n], in the type of `wide`, an empty array; limits as in `add_bias`."""
    kind, bounds = wide.dtype.type, np.iinfo(wide.dtype)
    for step in range(len(left)):
        one, other, made = left[step], right[step], values[step]
        low, high = kind(bounds.max), kind(bounds.min)
        for index in range(len(one)):
            value = kind(kind(one[index]) + kind(other[index]))
            low, high = min(low, value), max(high, value)
            made[index] = value
        limits[step, 0], limits[step, 1] = low, high


@kernel
def pool_windows(values: Array, taps: Index, summed: bool, pooled: Array) -> None:
    """pooled[f, p]: the largest of rows taps[p] of values [frames, rows, C], or their sum; −1: none."""
    kind, lowest = pooled.dtype.type, np.iinfo(pooled.dtype).min
    for frame in range(len(values)):
        for position in range(len(taps)):
            into = pooled[frame, position]
            for channel in range(len(into)):
                into[channel] = 0 if summed else lowest
            for row in taps[position]:
                if row >= 0:
                    for channel in range(len(into)):
                        value = kind(values[frame, row, channel])
                        into[channel] = into[channel] + value if summed else max(into[channel], value)


@shared_kernel
def run_neurons(
    part: int, parts: int, sums: Array, channels: int, taken: Index, factor: int, bias: Array, biased: Index,
    threshold: Array, reset_to: Array, initial: Array,
    hard: bool, by_shift: bool, leak_shift: int, leak_multiplier: int,
    emitted: Index, spikes: Array, membranes: Array, limits: NDArray[np.int64],
) -> None:  # fmt: skip
    """I = sum · factor + bias; H = leak(U) + I; Y = [H ≥ θ]; U = H − R·Y (soft) or Y ? R : H (hard), for all steps.

    Of whole positions, a block of neurons at a time: bias, θ, R and the initial U are those of a block, over and over.
    sums [steps computed, n]; taken, biased [state steps]: which of them, −1 for none, and whether with a bias.
    leak(U) = U − (U >> leak_shift) if by_shift, else (U · leak_multiplier) >> leak_shift.
    emitted [state steps]: which of spikes [active steps, n], −1 for none.  membranes [state steps or 0, n].
    limits [parts, state steps, 4]: lowest and highest I, lowest and highest U.
    """
    positions = sums.shape[1] // channels
    kind, bounds = initial.dtype.type, np.iinfo(initial.dtype)
    positions = sums.shape[1] // channels
    begin, end = part * positions // parts * channels, (part + 1) * positions // parts * channels
    found = np.empty((len(taken), 4), kind)  # of its own: threads that write the same cache line wait for each other
    for step in range(len(taken)):
        found[step, 0] = found[step, 2] = bounds.max
        found[step, 1] = found[step, 3] = bounds.min
    membrane = np.empty_like(initial)
    fires = np.empty(len(initial), np.uint8)
    for first in range(begin, end, len(initial)):
        at, count = np.uint64(first), np.uint64(min(len(initial), end - first))  # unsigned: see `multiply_by_head`
        for n in range(count):  # in a loop of its own: an assignment of slices takes longer
            membrane[n] = initial[n]
        for step in range(len(taken)):
            row, into, bias_bits = taken[step], emitted[step], kind(-1 if biased[step] else 0)
            if by_shift and leak_shift == 1:  # as below; a known shift is compiled to narrower integers
                for n in range(count):
                    membrane[n] -= membrane[n] >> 1
            elif by_shift:
                for n in range(count):
                    membrane[n] -= membrane[n] >> leak_shift
            else:
                for n in range(count):
                    membrane[n] = (membrane[n] * leak_multiplier) >> leak_shift
            low, high = kind(bounds.max), kind(bounds.min)
            if row >= 0:  # no slices of what threads share: they count references, and wait for each other
                for n in range(count):
                    current = kind(sums[row, at + n] * factor + (bias[n] & bias_bits))
                    low, high = min(low, current), max(high, current)
                    membrane[n] += current
            else:
                for n in range(count):
                    current = bias[n] & bias_bits
                    low, high = min(low, current), max(high, current)
                    membrane[n] += current
            found[step, 0] = min(found[step, 0], low)
            found[step, 1] = max(found[step, 1], high)
            low, high = kind(bounds.max), kind(bounds.min)
            if hard:
                for n in range(count):
                    fired = membrane[n] >= threshold[n]
                    left = reset_to[n] if fired else membrane[n]
                    low, high = min(low, left), max(high, left)
                    membrane[n], fires[n] = left, fired
            else:
                for n in range(count):
                    fired = membrane[n] >= threshold[n]
                    left = kind(membrane[n] - (reset_to[n] if fired else kind(0)))
                    low, high = min(low, left), max(high, left)
                    membrane[n], fires[n] = left, fired
            found[step, 2] = min(found[step, 2], low)
            found[step, 3] = max(found[step, 3], high)
            if into >= 0:
                for n in range(count):
                    spikes[into, at + n] = fires[n]
            if len(membranes) > 0:
                for n in range(count):
                    membranes[step, at + n] = membrane[n]
    for step in range(len(taken)):
        for limit in range(4):
            limits[part, step, limit] = found[step, limit]


@kernel
def within(limits: NDArray[np.int64], bounds: NDArray[np.int64]) -> bool:
    """Whether all (lowest, highest, …) of limits [parts, steps, 4] are in bounds [steps, 4]."""
    for part in range(limits.shape[0]):
        for step in range(limits.shape[1]):
            for low in range(0, 4, 2):
                if limits[part, step, low] < bounds[step, low] or limits[part, step, low + 1] > bounds[step, low + 1]:
                    return False
    return True
