"""What the benches of the accelerator's shell share: the harness's inputs, random pauses, stream rules, coverage.

Outputs are read at the rising edge, before it takes effect; what is written there takes effect after it. Cycles are
numbered by those edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cocotb
import msgspec
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from dtss.rtl.simulators import REQUEST, BenchRequest

PERIOD_NS = 10
TIMEOUT_US = 500  # a broken module must not keep its bench waiting

_INPUTS = (
    "image_arm", "image_positions", "pixels_tdata", "pixels_tvalid", "pixels_tlast",
    "currents_write_enable", "currents_write_address", "currents_write_row",
    "sender_start", "sender_classes", "sender_step_base", "sender_step_zero", "logits_tready",
    "loader_start", "loader_runs_done", "table_write_enable", "table_write_address", "table_write_row",
    "dram_load", "dram_seed", "dram_latency", "dram_gaps", "dram_wrong_tlast",
    "registers_awaddr", "registers_awprot", "registers_awvalid", "registers_wdata", "registers_wstrb",
    "registers_wvalid", "registers_bready", "registers_araddr", "registers_arprot", "registers_arvalid",
    "registers_rready",
    "status_idle", "status_done", "status_errors", "status_cycles", "counter_value",
)  # fmt: skip


async def begin(dut: Any) -> np.random.Generator:
    """Clock and reset; the test's own random numbers, of the seed that the log starts with."""
    for name in _INPUTS:
        getattr(dut, name).value = 0
    dut.reset.value = 1
    Clock(dut.clock, PERIOD_NS, unit="ns").start()
    await cycles(dut, 2)
    dut.reset.value = 0
    await RisingEdge(dut.clock)
    return np.random.default_rng(cocotb.RANDOM_SEED)


async def cycles(dut: Any, count: int) -> None:
    for _ in range(count):
        await RisingEdge(dut.clock)


async def pulse(dut: Any, signal: Any) -> int:
    """One cycle of 1; the number of that cycle."""
    signal.value = 1
    await RisingEdge(dut.clock)
    signal.value = 0
    return now()


async def reset(dut: Any) -> None:
    """One cycle of reset, and the first cycle after it."""
    await pulse(dut, dut.reset)
    await RisingEdge(dut.clock)


async def until(dut: Any, signal: Any, value: int = 1) -> int:
    """The first cycle, this one or a later one, in which the signal has the value."""
    await RisingEdge(dut.clock)
    while int(signal.value) != value:
        await RisingEdge(dut.clock)
    return now()


def now() -> int:
    """The number of this cycle."""
    return int(get_sim_time("ns")) // PERIOD_NS


def parameters() -> dict[str, int]:
    """The harness's parameters, which the simulators show in ways of their own."""
    return msgspec.json.decode(REQUEST.read_bytes(), type=BenchRequest).parameters


def random_integer(random: np.random.Generator, bits: int) -> int:
    """Of any width."""
    return int.from_bytes(random.bytes(-(-bits // 8)), "little") & ((1 << bits) - 1)


def pauses(random: np.random.Generator) -> Iterator[bool]:
    """For ever: whether to pause in this cycle; single cycles and long spells."""
    while True:
        length = int(random.choice((1, 1, 2, 3, 10)))
        paused = bool(random.integers(2))
        yield from (paused for _ in range(length))


class Coverage:
    """Corners that a test has to reach: it fails if it passed without them."""

    def __init__(self, *corners: str) -> None:
        self.missing = set(corners)
        self._corners = frozenset(corners)

    def hit(self, corner: str, reached: bool = True) -> None:
        assert corner in self._corners, f"{corner} is not a corner of this test"
        if reached:
            self.missing.discard(corner)

    def check(self) -> None:
        assert not self.missing, f"never reached: {', '.join(sorted(self.missing))}"


class StreamWatch:
    """Every beat taken of a stream as (cycle, TDATA, TLAST), and its rule: a beat that is offered stays until taken."""

    def __init__(self, dut: Any, prefix: str) -> None:
        self.beats: list[tuple[int, int, int]] = []
        self.waited = 0  # cycles in which a beat was not taken
        self._dut, self._prefix = dut, prefix
        self._data, self._valid, self._ready = (
            getattr(dut, f"{prefix}_t{name}") for name in ("data", "valid", "ready")
        )
        self._last = getattr(dut, f"{prefix}_tlast", None)
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        held = None
        while True:
            await RisingEdge(self._dut.clock)
            if int(self._dut.reset.value):
                held = None
                continue
            offered = None
            if int(self._valid.value):
                offered = (int(self._data.value), 0 if self._last is None else int(self._last.value))
            assert held is None or offered == held, f"{self._prefix}: {offered} after {held} was not taken"
            if offered is not None and int(self._ready.value):
                self.beats.append((now(), *offered))
                offered = None
            self.waited += offered is not None
            held = offered
