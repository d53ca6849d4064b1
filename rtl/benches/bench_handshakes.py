"""cocotb bench of the whole top: random pauses on every stream change no logit and no count but waits; a reset in the
middle of an image leaves nothing behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
import msgspec
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from dtss.rtl.benches.shell import PERIOD_NS, pauses
from dtss.rtl.engine import COUNTERS

CASE = Path("handshakes.json")  # in the working directory, beside memories/
OUTSIDE = Path("memories") / "outside.bin"
CONTROL, STATUS, COUNTER_SELECT, COUNTER_LOW, COUNT_NODE = 0x04, 0x08, 0x14, 0x18, 0x20
START, LOAD, SOFT_RESET = 1, 2, 4
IDLE, DONE = 1, 2
WAITS = ("cycles", "stall_cycles")
TIMEOUT_US = 5000  # a machine that hangs must not keep its bench waiting


class HandshakeCase(msgspec.Struct, frozen=True, kw_only=True):
    """pixels: of each image, as bytes of beats.  counters: of each image, without pauses.  resident: weights load once.

    nodes: counters of one node alone in the first image, by the node's number.
    """

    resident: bool
    pixels: list[bytes]
    logits: list[list[int]]
    counters: list[dict[str, int]]
    nodes: dict[int, dict[str, int]]


class TopBench:
    """Sources and sinks of the top's ports; the DRAM answers commands from its content."""

    def __init__(self, dut: Any, random: np.random.Generator, case: HandshakeCase) -> None:
        self.dut, self.random, self.case = dut, random, case
        self.outside = OUTSIDE.read_bytes()
        streams = {name: AxiStreamBus.from_prefix(dut, name) for name in ("pixels", "data", "logits", "fetch")}
        self.pixels, self.data = (AxiStreamSource(streams[name], dut.clock, dut.reset) for name in ("pixels", "data"))
        self.logits, self.fetch = (AxiStreamSink(streams[name], dut.clock, dut.reset) for name in ("logits", "fetch"))
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "registers"), dut.clock, dut.reset)
        for port in (self.pixels, self.data, self.logits, self.fetch):
            port.log.setLevel("WARNING")
            port.set_pause_generator(pauses(random))
        for channel in (self.registers.write_if, self.registers.read_if):
            channel.log.setLevel("WARNING")
        cocotb.start_soon(self._answer())

    async def _answer(self) -> None:
        while True:
            command = int.from_bytes(bytes((await self.fetch.recv()).tdata), "little")
            address, size = command & 0xFFFFFFFF, command >> 32
            await self.data.send(AxiStreamFrame(self.outside[address : address + size]))

    async def reset(self) -> None:
        self.dut.reset.value = 1
        await ClockCycles(self.dut.clock, 3)
        for port in (self.pixels, self.data, self.logits, self.fetch):
            port.clear()
        self.dut.reset.value = 0
        await ClockCycles(self.dut.clock, 2)
        await self.load()

    async def soft_reset(self) -> None:
        """Between two beats of every stream, as a driver does that stops its DMA engine first."""
        for port in (self.pixels, self.data):
            await port.wait()
        await self.registers.write_dword(CONTROL, SOFT_RESET)
        await ClockCycles(self.dut.clock, 2)
        for port in (self.logits, self.fetch):
            port.clear()
        await self.load()

    async def load(self) -> None:
        if self.case.resident:
            await self.registers.write_dword(CONTROL, LOAD)
            while not await self.registers.read_dword(STATUS) & IDLE:
                await ClockCycles(self.dut.clock, 10)

    async def begin(self, image: int) -> None:
        await self.registers.write_dword(CONTROL, START)
        await self.pixels.send(AxiStreamFrame(self.case.pixels[image]))

    async def count(self, name: str) -> int:
        await self.registers.write_dword(COUNTER_SELECT, COUNTERS.index(name))
        return int(await self.registers.read_qword(COUNTER_LOW))

    async def end(self, image: int, expected: dict[str, int] | None = None) -> None:
        """The logits, STATUS, and every counter but waits: of the whole image, or as expected."""
        frame = await self.logits.recv()
        assert np.frombuffer(bytes(frame.tdata), "<i4").tolist() == self.case.logits[image]
        await ClockCycles(self.dut.clock, 2)
        assert await self.registers.read_dword(STATUS) == IDLE | DONE
        counters = {name: await self.count(name) for name in COUNTERS}
        waited = counters["stall_cycles"]
        expected = self.case.counters[image] if expected is None else expected
        assert counters["cycles"] - waited == expected["cycles"] - expected["stall_cycles"]
        wrong = {name: count for name, count in counters.items() if name not in WAITS and count != expected[name]}
        assert not wrong, f"{wrong}, expected {[expected[name] for name in wrong]}"


async def begin(dut: Any) -> TopBench:
    dut.reset.value = 1
    Clock(dut.clock, PERIOD_NS, unit="ns").start()
    case = msgspec.json.decode(CASE.read_bytes(), type=HandshakeCase)
    bench = TopBench(dut, np.random.default_rng(cocotb.RANDOM_SEED), case)
    await bench.reset()
    return bench


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def pauses_change_no_logit_and_no_count_but_waits(dut: Any) -> None:
    bench = await begin(dut)
    for image in range(len(bench.case.pixels)):
        await bench.begin(image)
        await bench.end(image)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def an_image_after_a_reset_in_the_middle_of_another_is_as_good(dut: Any) -> None:
    bench = await begin(dut)
    length = bench.case.counters[0]["cycles"]
    for part in (0.05, 0.3, 0.8):
        await bench.begin(1)
        await ClockCycles(dut.clock, int(part * length))
        await bench.reset()
    await bench.begin(0)
    await bench.end(0)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def counters_are_those_of_the_node_that_is_asked_for(dut: Any) -> None:
    bench = await begin(dut)
    for node, counters in bench.case.nodes.items():
        await bench.registers.write_dword(COUNT_NODE, node)
        await bench.begin(0)
        await bench.end(0, counters)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def an_image_after_a_soft_reset_is_as_good_and_registers_stay(dut: Any) -> None:
    bench = await begin(dut)
    node = max(bench.case.nodes)
    await bench.registers.write_dword(COUNT_NODE, node)
    for part in (0.3, 0.8) if bench.case.resident else (0.0,):  # else a transfer would be cut
        if part:
            await bench.begin(1)
            await ClockCycles(dut.clock, int(part * bench.case.counters[0]["cycles"]))
        await bench.soft_reset()
        assert await bench.registers.read_dword(STATUS) == IDLE
    assert await bench.registers.read_dword(COUNT_NODE) == node
    await bench.begin(0)
    await bench.end(0, bench.case.nodes[node])


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_word_on_its_way_is_not_counted_after_a_soft_reset(dut: Any) -> None:
    bench = await begin(dut)
    if not bench.case.resident:
        return  # a transfer would be cut
    length = bench.case.counters[0]["cycles"]
    counted = 0
    for part in np.linspace(0.1, 0.9, 12):
        await bench.begin(1)
        await ClockCycles(dut.clock, int(part * length))
        counted += await bench.count("words_issued")
        await bench.soft_reset()
        for name in ("words_issued", "active_bits", "accumulator_writes"):
            assert await bench.count(name) == 0, name
    assert counted


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_start_while_an_image_is_on_its_way_is_ignored(dut: Any) -> None:
    bench = await begin(dut)
    await bench.begin(0)
    await ClockCycles(dut.clock, int(bench.random.integers(1, bench.case.counters[0]["cycles"])))
    await bench.registers.write_dword(CONTROL, START)
    await bench.end(0)
