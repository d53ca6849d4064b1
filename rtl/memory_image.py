"""Memory contents as bit matrices and as $readmemh text. Bit 0 is the lowest bit everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Fields = dict[str, int | Sequence[int]]  # of one row


def bits_of(values: np.ndarray, width: int) -> Bits:
    """Two's complement of integers: [...] → [..., width]."""
    shifts = np.minimum(np.arange(width), 63)
    return ((values.astype(np.int64)[..., None] >> shifts) & 1).astype(np.uint8)


def integers_of(bits: Bits, *, signed: bool) -> NDArray[np.int64]:
    """The inverse of `bits_of`: [..., width] → [...]."""
    weights = np.int64(1) << np.arange(bits.shape[-1], dtype=np.int64)
    if signed:
        weights[-1] = -weights[-1]
    return bits.astype(np.int64) @ weights


def pack_fields(widths: Mapping[str, int], values: Mapping[str, np.ndarray]) -> Bits:
    """Rows of fields, the last field in the lowest bits: values [rows] or [rows, elements] → [rows, bits]."""
    columns = []
    for name in reversed(list(widths)):
        elements = np.asarray(values[name])
        count = 1 if elements.ndim == 1 else elements.shape[1]
        columns.append(
            bits_of(elements.reshape(len(elements), count), widths[name] // count).reshape(len(elements), -1)
        )
    return np.concatenate(columns, axis=1)


def integer_of_row(row: Bits) -> int:
    """One row as an integer of any width."""
    return int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")


def hex_text(rows: Bits) -> str:
    """$readmemh text, one row a line, each line as long as its width asks for."""
    digits = -(-rows.shape[1] // 4)
    padded = np.zeros((len(rows), -(-digits // 2) * 8), np.uint8)
    padded[:, : rows.shape[1]] = rows
    packed = np.packbits(padded[:, ::-1], axis=1)
    return "".join(f"{row.tobytes().hex()[-digits:]}\n" for row in packed)
