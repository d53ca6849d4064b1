"""What the harness watched against what was expected: values of walks and writes, counters, logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.rtl.expected import ExpectedRow
from dtss.rtl.network_run import Records

SHOWN_MISMATCHES = 10
CYCLES_BEFORE = 40  # of a wrong value, in its window
CYCLES_AFTER = 4
LONGEST_WINDOW = 2000

Window = tuple[int, int]


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs. where: the step, the position and the channel.  window: the cycles to look at."""

    layer: str
    quantity: str
    where: str
    expected: str
    got: str
    window: Window | None = None

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        cycles = f"; see cycles {self.window[0]} to {self.window[1]}" if self.window is not None else ""
        return f"{self.layer}: {self.quantity}{place}: expected {self.expected}, got {self.got}{cycles}"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Values compared, by quantity; how many differ; the first of these."""

    compared: dict[str, int]
    differing: int
    mismatches: list[Mismatch]


def compare_row(expected: ExpectedRow, found: Records, row_window: Window) -> Comparison:
    """Every value of one row of the program."""
    if len(found.row) != len(expected.lanes):
        return Comparison(compared={}, differing=1, mismatches=[_wrong_number(expected, found, row_window)])
    compared, differing = {}, 0
    mismatches: list[Mismatch] = []
    for quantity, want in expected.values.items():
        used = np.arange(want.shape[1]) < expected.lanes[:, None]
        wrong = used & (found.values[quantity][:, : want.shape[1]] != want)
        compared[quantity], differing = int(used.sum()), differing + int(wrong.sum())
        mismatches += [
            _mismatch(expected, found, quantity, record, lane)
            for record, lane in np.argwhere(wrong)[: SHOWN_MISMATCHES - len(mismatches)].tolist()
        ]
    return Comparison(compared=compared, differing=differing, mismatches=mismatches)


def _wrong_number(expected: ExpectedRow, found: Records, window: Window) -> Mismatch:
    quantity = "writes" if "address" in expected.values else "visits"
    return Mismatch(
        layer=expected.node, quantity=quantity, where="", expected=str(len(expected.lanes)), got=str(len(found.row)),
        window=window,
    )  # fmt: skip


def _mismatch(expected: ExpectedRow, found: Records, quantity: str, record: int, lane: int) -> Mismatch:
    cycle = int(found.cycle[record])
    return Mismatch(
        layer=expected.node,
        quantity=quantity,
        where=expected.place.text(record, lane),
        expected=str(expected.values[quantity][record, lane]),
        got=str(found.values[quantity][record, lane]),
        window=(max(0, cycle - CYCLES_BEFORE), cycle + CYCLES_AFTER),
    )


def compare_counters(layer: str, expected: Mapping[str, int], got: Mapping[str, int], window: Window) -> list[Mismatch]:
    """Every counter that the machine has."""
    first, last = window
    return [
        Mismatch(
            layer=layer, quantity=name, where="", expected=str(expected[name]), got=str(value),
            window=(first, min(last, first + LONGEST_WINDOW)),
        )
        for name, value in got.items()
        if expected[name] != value
    ]  # fmt: skip


def compare_logits(layer: str, expected: NDArray[np.int64], got: Sequence[int]) -> Comparison:
    """[T, K] against the beats of the stream."""
    steps, classes = expected.shape
    if len(got) != expected.size:
        mismatch = Mismatch(layer=layer, quantity="logits", where="", expected=str(expected.size), got=str(len(got)))
        return Comparison(compared={}, differing=1, mismatches=[mismatch])
    found = np.array(got).reshape(steps, classes)
    wrong = np.argwhere(found != expected).tolist()
    mismatches = [
        Mismatch(
            layer=layer, quantity="logit", where=f"step {step}, class {index}", expected=str(expected[step, index]),
            got=str(found[step, index]),
        )
        for step, index in wrong[:SHOWN_MISMATCHES]
    ]  # fmt: skip
    return Comparison(compared={"logits": expected.size}, differing=len(wrong), mismatches=mismatches)
