"""The engine's walk stream against the interpreter's, and its counters against the simulator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.rtl.engine import Engine
from dtss.rtl.memory_image import integers_of
from dtss.rtl.stimulus import Expected

SHOWN_MISMATCHES = 10
UNSIGNED = ("spikes",)


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs. `where` names the step, the position and the channel, or the counter."""

    layer: str
    quantity: str
    where: str
    expected: str
    got: str

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.layer}: {self.quantity}{place}: expected {self.expected}, got {self.got}"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Values compared, by quantity; how many differ; the first of these."""

    compared: dict[str, int]
    differing: int
    mismatches: list[Mismatch]


class Trace(msgspec.Struct, frozen=True):
    """The captured walk stream: quantity → [visits, columns], and whether each value is free of X."""

    rows: dict[str, NDArray[np.int64]]
    known: dict[str, NDArray[np.bool_]]


def read_trace(text: str, engine: Engine) -> Trace:
    """Parse the bench's capture: one line a visit, {spikes, membranes, currents, accumulators} in hexadecimal."""
    lines = text.lower().split()
    total = sum(engine.walk_widths.values()) * engine.columns
    bits = _bits([line.translate(_UNKNOWN_TO_0) for line in lines], total)
    unknown = _bits([line.translate(_UNKNOWN_ONLY) for line in lines], total)
    rows, known, start = {}, {}, total
    for quantity, width in engine.walk_widths.items():
        start -= width * engine.columns
        part = slice(start, start + width * engine.columns)
        shape = (len(lines), engine.columns, width)
        rows[quantity] = integers_of(bits[:, part].reshape(shape), signed=quantity not in UNSIGNED)
        known[quantity] = unknown[:, part].reshape(shape).sum(axis=2) == 0
    return Trace(rows, known)


# An X or Z digit counts as 0 in the value, and as unknown in all its bits.
_UNKNOWN_TO_0 = str.maketrans("xz", "00")
_UNKNOWN_ONLY = str.maketrans("0123456789abcdefxz", "0" * 16 + "ff")


def _bits(lines: Sequence[str], width: int) -> NDArray[np.uint8]:
    size = -(-width // 8)
    content = b"".join(int(line, 16).to_bytes(size + 1, "little")[:size] for line in lines)
    packed = np.frombuffer(content, np.uint8).reshape(len(lines), size)
    return np.unpackbits(packed, axis=1, count=width, bitorder="little")


def compare_walks(layer: str, expected: Expected, trace: Trace) -> Comparison:
    """Every value of every visit."""
    visits = len(expected.visits.group)
    captured = len(next(iter(trace.rows.values())))
    if captured != visits:
        mismatch = Mismatch(layer=layer, quantity="visits", where="", expected=str(visits), got=str(captured))
        return Comparison(compared={}, differing=1, mismatches=[mismatch])
    compared, differing = {}, 0
    mismatches: list[Mismatch] = []
    for quantity, want in expected.rows.items():
        used = np.arange(want.shape[1]) < expected.visits.columns[:, None]
        wrong = used & ~(trace.known[quantity] & (trace.rows[quantity] == want))
        compared[quantity], differing = int(used.sum()), differing + int(wrong.sum())
        mismatches += [
            _mismatch(layer, quantity, expected, trace, visit, column)
            for visit, column in np.argwhere(wrong)[: SHOWN_MISMATCHES - len(mismatches)].tolist()
        ]
    return Comparison(compared=compared, differing=differing, mismatches=mismatches)


def _mismatch(layer: str, quantity: str, expected: Expected, trace: Trace, visit: int, column: int) -> Mismatch:
    at = expected.visits
    group, columns = int(at.group[visit]), expected.rows[quantity].shape[1]
    channel = int(at.output_tile[visit]) * columns + column
    where = f"step {at.step[visit]}, position {at.position[visit]}, channel {channel}"
    got = str(trace.rows[quantity][visit, column]) if trace.known[quantity][visit, column] else "X"
    return Mismatch(
        layer=layer,
        quantity=quantity,
        where=f"{where}, head {group}" if at.group.any() else where,
        expected=str(expected.rows[quantity][visit, column]),
        got=got,
    )


def compare_counters(layer: str, expected: Mapping[str, int], got: Mapping[str, int]) -> list[Mismatch]:
    """Every counter that the engine has."""
    return [
        Mismatch(layer=layer, quantity=name, where="", expected=str(expected[name]), got=str(value))
        for name, value in got.items()
        if expected[name] != value
    ]
