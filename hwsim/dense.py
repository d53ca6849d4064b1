"""Dense products of bytes: every weight times its value, whether that is zero or not, sums in 32 bits.

Weights lie in panels: for 32 outputs, four elements of the sum side by side, then the next four. Windows of values
pass a panel four at a time, so the inner loop keeps 4 × 32 sums in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule.kernel import kernel, shared_kernel
from dtss.hwsim.kernels import row_of_part
from dtss.hwsim.registers import BYTES, SUMS, add_products, load_bytes, no_sums, repeat_bytes, store_sums

OUTPUTS = 2 * SUMS  # of a panel
ELEMENTS = 4  # of the sum, side by side
WINDOWS = 16  # laid out at once: with one panel they stay in the first caches


@kernel
def weight_panels(rows: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
    """Weights [K, O] of a byte as [⌈O/32⌉, ⌈K/4⌉, 32, 4], zeros where there are none."""
    length, outputs = rows.shape
    panels = np.zeros((-(-outputs // OUTPUTS), -(-length // ELEMENTS), OUTPUTS, ELEMENTS), np.int8)
    for element in range(length):
        for output in range(outputs):
            quad = panels[output // OUTPUTS, element // ELEMENTS]
            quad[output % OUTPUTS, element % ELEMENTS] = rows[element, output]
    return panels


@shared_kernel
def multiply_dense(
    part: int,
    parts: int,
    values: NDArray[Any],
    taps: NDArray[np.int32],
    panels: NDArray[np.int8],
    sums: NDArray[Any],
) -> None:
    """sums[s, i·P + p] = Σ over offsets of the weights times values[s·B + i, taps[p, offset]], none where it is −1.

    values [steps · B, rows, C] of bytes; taps [P, offsets]; panels: `weight_panels` of [offsets · C, O];
    sums [steps, B · P, O] of 32 bits.
    """
    steps, at_step, outputs = sums.shape
    begin, end = part * at_step // parts, (part + 1) * at_step // parts
    windows = np.zeros((WINDOWS, panels.shape[1] * ELEMENTS), np.uint8)
    made = np.empty((WINDOWS, outputs), np.int32)
    for first in range(0, steps * (end - begin), WINDOWS):
        count = min(WINDOWS, steps * (end - begin) - first)
        for window in range(count):
            frame, position = divmod(row_of_part(first + window, begin, end, at_step), len(taps))
            _lay_out(values[frame], taps[position], windows[window])
        _multiply_windows(windows, count, panels, made)
        for window in range(count):
            step, at = divmod(row_of_part(first + window, begin, end, at_step), at_step)
            for output in range(outputs):
                sums[step, at, output] = made[window, output]


@kernel
def _lay_out(values: NDArray[Any], taps: NDArray[np.int32], window: NDArray[np.uint8]) -> None:
    """The values under a window one after the other, as the weights lie."""
    channels = values.shape[1]
    for offset in range(len(taps)):
        row, start = taps[offset], np.uint64(offset * channels)
        for channel in range(np.uint64(channels)):  # in a loop of its own: an assignment of slices takes longer
            window[start + channel] = values[row, channel] if row >= 0 else 0


@kernel
def _multiply_windows(
    windows: NDArray[np.uint8], count: int, panels: NDArray[np.int8], sums: NDArray[np.int32]
) -> None:
    """sums [count, O] of windows [count, K]."""
    length, outputs = windows.shape[1], sums.shape[1]
    tile = np.empty((4, OUTPUTS), np.int32)
    for panel in range(len(panels)):
        for window in range(0, count, 4):
            a = b = c = d = e = f = g = h = no_sums()
            at = window * length
            for element in range(0, length, ELEMENTS):
                weights = (panel * length + element) * OUTPUTS
                left, right = load_bytes(panels, weights), load_bytes(panels, weights + BYTES)
                repeated = repeat_bytes(windows, at + element)
                a, b = add_products(a, repeated, left), add_products(b, repeated, right)
                repeated = repeat_bytes(windows, at + length + element)
                c, d = add_products(c, repeated, left), add_products(d, repeated, right)
                repeated = repeat_bytes(windows, at + 2 * length + element)
                e, f = add_products(e, repeated, left), add_products(f, repeated, right)
                repeated = repeat_bytes(windows, at + 3 * length + element)
                g, h = add_products(g, repeated, left), add_products(h, repeated, right)
            store_sums(a, tile, 0)
            store_sums(b, tile, SUMS)
            store_sums(c, tile, 2 * SUMS)
            store_sums(d, tile, 3 * SUMS)
            store_sums(e, tile, 4 * SUMS)
            store_sums(f, tile, 5 * SUMS)
            store_sums(g, tile, 6 * SUMS)
            store_sums(h, tile, 7 * SUMS)
            for row in range(min(4, count - window)):
                for output in range(min(OUTPUTS, outputs - panel * OUTPUTS)):
                    sums[window + row, panel * OUTPUTS + output] = tile[row, output]
