"""cocotb bench of the elementwise unit: random operations on random memories, of which every row is compared.

The seed is cocotb's, printed at the start of the log.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import cocotb
import msgspec
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout

from dtss.rtl.benches.elementwise_cases import Case, cases, corners_to_cover
from dtss.rtl.elementwise import (
    ElementwiseParameters,
    elementwise_configuration,
    operation_cycles,
    operation_reads,
    operation_writes,
)
from dtss.rtl.memory_image import hex_text, integer_of_row
from dtss.rtl.simulators import REQUEST, BenchRequest

PERIOD_NS = 10
MOST_ROUNDS = 12
SOME = 4  # one of so many cases, where all of them would tell the same
ACCESSES = ("spike_word_reads", "spike_word_writes", "current_row_reads", "current_row_writes")


@cocotb.test()
async def results_cycles_and_accesses_are_those_of_the_rules(dut: Any) -> None:
    random, unit = _random_generator(), _parameters()
    await _begin(dut)
    missing, rounds = corners_to_cover(unit), 0
    while missing and rounds < MOST_ROUNDS:
        for case in cases(random, unit):
            await _load(dut, unit, case)
            await _pulse(dut, dut.start)
            await _end(dut, case)
            await _check(dut, case)
            missing -= case.corners
        rounds += 1
    assert not missing, f"not met in {rounds} rounds: {', '.join(sorted(missing))}"


@cocotb.test()
async def a_reset_ends_a_run_and_the_next_one_starts_afresh(dut: Any) -> None:
    random, unit = _random_generator(), _parameters()
    await _begin(dut)
    for case in islice(cases(random, unit), 0, None, SOME):
        await _load(dut, unit, case)
        await _pulse(dut, dut.start)
        for _ in range(int(random.integers(0, min(40, operation_cycles(case.operation) - 1)))):
            await FallingEdge(dut.clock)
        assert int(dut.busy.value), case.name
        await _pulse(dut, dut.reset)
        accesses = [int(getattr(dut, name).value) for name in ACCESSES]
        for _ in range(4):
            assert (int(dut.busy.value), int(dut.done.value)) == (0, 0), case.name
            await FallingEdge(dut.clock)
        assert [int(getattr(dut, name).value) for name in ACCESSES] == accesses, case.name
        await _load(dut, unit, case)
        await _pulse(dut, dut.start)
        await _end(dut, case)
        await _check(dut, case)


@cocotb.test()
async def a_start_while_busy_is_ignored_and_the_next_run_may_start_after_done(dut: Any) -> None:
    random, unit = _random_generator(), _parameters()
    await _begin(dut)
    for case in islice(cases(random, unit), 0, None, SOME):
        await _load(dut, unit, case)
        dut.start.value = 1
        await _end(dut, case)
        for busy in (1, 0, 1):  # the last cycle, the one that sees `start`, the first tap
            await FallingEdge(dut.clock)
            assert int(dut.busy.value) == busy, case.name
        dut.start.value = 0
        await _end(dut, case)
        await _check(dut, case, runs=2)


def _random_generator() -> np.random.Generator:
    return np.random.default_rng(cocotb.RANDOM_SEED)


def _parameters() -> ElementwiseParameters:
    """Those that the harness was built with."""
    request = msgspec.json.decode(REQUEST.read_bytes(), type=BenchRequest)
    return ElementwiseParameters(**{name.lower(): value for name, value in request.parameters.items()})


async def _begin(dut: Any) -> None:
    """Clock and reset. Inputs change at the falling edge, half a cycle from any register."""
    for name in ("load", "start", "save", "configuration"):
        getattr(dut, name).value = 0
    dut.reset.value = 1
    Clock(dut.clock, PERIOD_NS, unit="ns").start()
    await FallingEdge(dut.clock)
    await FallingEdge(dut.clock)
    dut.reset.value = 0


async def _pulse(dut: Any, signal: Any) -> None:
    signal.value = 1
    await FallingEdge(dut.clock)
    signal.value = 0


async def _load(dut: Any, unit: ElementwiseParameters, case: Case) -> None:
    for memory, rows in case.before.items():
        Path(f"{memory}.hex").write_text(hex_text(rows), encoding="ascii")
    dut.configuration.value = integer_of_row(elementwise_configuration(unit, case.operation))
    await _pulse(dut, dut.load)


async def _end(dut: Any, case: Case) -> None:
    limit = 2 * operation_cycles(case.operation) + 100
    await with_timeout(RisingEdge(dut.done), limit * PERIOD_NS, "ns")


async def _check(dut: Any, case: Case, runs: int = 1) -> None:
    """What the harness counted against the rules, some cycles after `done`; then every row of both memories."""
    for _ in range(4):
        await FallingEdge(dut.clock)
    operation = case.operation
    used = "current_row" if operation.currents else "spike_word"
    expected = dict.fromkeys(ACCESSES, 0) | {
        f"{used}_reads": runs * operation_reads(operation),
        f"{used}_writes": runs * operation_writes(operation),
        "busy_cycles": runs * operation_cycles(operation),
        "ends": runs,
        "wrong_cycles": 0,
        "busy": 0,
    }
    assert {name: int(getattr(dut, name).value) for name in expected} == expected, f"{case.name}: {operation}"
    await _pulse(dut, dut.save)
    for memory, rows in case.after.items():
        text = Path(f"{memory}_after.hex").read_text(encoding="ascii")
        found = [line for line in text.splitlines() if not line.startswith("//")]
        meant = hex_text(rows).splitlines()
        wrong = [row for row, (one, other) in enumerate(zip(found, meant, strict=True)) if one != other]
        assert not wrong, f"{case.name}: {len(wrong)} rows of {memory} memory differ, {wrong[:8]} …: {operation}"
