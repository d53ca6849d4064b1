"""cocotb bench of axi_lite_registers against a model of its map, with random pauses on all five channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp
from cocotbext.axi.axil_channels import AxiLiteAWTransaction, AxiLiteWTransaction

from dtss.rtl.benches.shell import TIMEOUT_US, Coverage, begin, cycles, pauses, random_integer, reset

ID, CONTROL, STATUS, CYCLES_LOW, CYCLES_HIGH, COUNTER_SELECT, COUNTER_LOW, COUNTER_HIGH, COUNT_NODE = range(0, 36, 4)
ID_OF_HARNESS = 0x0001_0000
PULSES = ("control_start", "control_load", "control_soft_reset")
CHANNELS = ("aw", "w", "b", "ar", "r")


class RegisterBench:
    """A master that pauses, the channels' rules, and the pulses that came out."""

    def __init__(self, dut: Any, random: np.random.Generator) -> None:
        self.dut, self.random = dut, random
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "registers"), dut.clock, dut.reset)
        write, read = self.master.write_if, self.master.read_if
        for interface in (write, read):
            interface.log.setLevel("WARNING")
        self.channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        self.pulses = dict.fromkeys(PULSES, 0)
        self.answers_waited = {"b": 0, "r": 0}
        self.first = {"address": 0, "data": 0, "both": 0}
        for watch in (self._watch_pulses(), self._watch_answers(), self._watch_order()):
            cocotb.start_soon(watch)

    def pause(self, paused: bool) -> None:
        for channel in self.channels:
            channel.set_pause_generator(pauses(self.random) if paused else None)
            channel.pause = False

    async def _watch_pulses(self) -> None:
        before = dict.fromkeys(PULSES, 0)
        while True:
            await RisingEdge(self.dut.clock)
            if int(self.dut.reset.value):
                continue
            for name in PULSES:
                value = int(getattr(self.dut, name).value)
                assert not (value and before[name]), f"{name} is longer than a cycle"
                self.pulses[name] += value
                before[name] = value

    async def _watch_answers(self) -> None:
        """BVALID and RVALID wait for their READY, and what they offer with them."""
        held: dict[str, tuple[int, ...] | None] = {"b": None, "r": None}
        while True:
            await RisingEdge(self.dut.clock)
            for channel, names in (("b", ("bresp",)), ("r", ("rdata", "rresp"))):
                offered = None
                if not int(self.dut.reset.value) and self._of(f"{channel}valid"):
                    offered = tuple(self._of(name) for name in names)
                expected = None if int(self.dut.reset.value) else held[channel]
                assert expected is None or offered == expected, f"{channel}: {offered} after {expected} was not taken"
                held[channel] = None if self._of(f"{channel}ready") else offered
                self.answers_waited[channel] += held[channel] is not None

    async def _watch_order(self) -> None:
        """Which of address and data of a write comes first."""
        open_writes = 0  # addresses less data
        while True:
            await RisingEdge(self.dut.clock)
            if int(self.dut.reset.value):
                open_writes = 0
                continue
            address, data = (self._of(f"{name}valid") and self._of(f"{name}ready") for name in ("aw", "w"))
            if open_writes == 0 and (address or data):
                self.first["both" if address and data else "address" if address else "data"] += 1
            open_writes += address - data

    def _of(self, name: str) -> int:
        return int(getattr(self.dut, f"registers_{name}").value)

    async def write(self, offset: int, value: int, strobe: int = 0b1111) -> bool:
        """Any strobe, and content where it is 0, which the master's own writes do not have; False for SLVERR."""
        (answer,) = await self.write_all([(offset, value, strobe)])
        return answer

    async def write_all(self, writes: Sequence[tuple[int, int, int]]) -> list[bool]:
        """Addresses, data and answers each go at their own pace."""
        address_channel, data_channel, answer_channel = self.channels[:3]

        async def send_addresses() -> None:
            for offset, _, _ in writes:
                await address_channel.send(AxiLiteAWTransaction(awaddr=offset + int(self.random.integers(4)), awprot=0))

        async def send_data() -> None:
            for _, value, strobe in writes:
                await data_channel.send(AxiLiteWTransaction(wdata=value, wstrb=strobe))

        for sender in (send_addresses(), send_data()):
            cocotb.start_soon(sender)
        answers = [AxiResp(int((await answer_channel.recv()).bresp)) for _ in writes]
        assert set(answers) <= {AxiResp.OKAY, AxiResp.SLVERR}
        return [answer == AxiResp.OKAY for answer in answers]

    async def read(self, offset: int) -> int | None:
        """None for SLVERR."""
        answer = await self.master.read(offset, 4)
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return int.from_bytes(answer.data, "little") if answer.resp == AxiResp.OKAY else None


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def registers_hold_what_the_map_says(dut: Any) -> None:
    random = await begin(dut)
    bench = RegisterBench(dut, random)
    dut.status_cycles.value, dut.counter_value.value = (
        random_integer(random, len(dut.counter_value)) for _ in range(2)
    )
    for high in (CYCLES_HIGH, COUNTER_HIGH):
        assert await bench.read(high) == 0, "nothing is kept yet"
    select_bits, node_bits = len(dut.counter_select), len(dut.count_node)
    written, pulses = {COUNTER_SELECT: 0, COUNT_NODE: 0xFFFF_FFFF}, dict.fromkeys(PULSES, 0)
    covered = Coverage(
        "address first", "data first", "both at once", "B waits", "R waits", "part of a word", "no byte",
        "control byte not chosen", *PULSES,
    )  # fmt: skip
    for number in range(150):
        if number % 25 == 0:
            bench.pause(number % 50 == 0)
        value, strobe, mask = random_write(random)
        if random.integers(2):
            offset = (COUNTER_SELECT, COUNT_NODE)[int(random.integers(2))]
            assert await bench.write(offset, value, strobe)
            written[offset] = written[offset] & ~mask | value & mask
            covered.hit("part of a word", strobe not in (0, 0b1111))
            covered.hit("no byte", strobe == 0)
        else:
            assert await bench.write(CONTROL, value, strobe)
            for bit, name in enumerate(PULSES):
                pulses[name] += (value & mask) >> bit & 1
                covered.hit(name, bool((value & mask) >> bit & 1))
            covered.hit("control byte not chosen", not strobe & 1 and value & 7 != 0)
            assert await bench.read(CONTROL) == 0
        for offset, expected in written.items():
            assert await bench.read(offset) == expected, hex(offset)
        assert int(dut.counter_select.value) == written[COUNTER_SELECT] & ((1 << select_bits) - 1)
        assert int(dut.count_node.value) == written[COUNT_NODE] & ((1 << node_bits) - 1)
        assert bench.pulses == pulses
    for corner, reached in (("address first", "address"), ("data first", "data"), ("both at once", "both")):
        covered.hit(corner, bench.first[reached] > 0)
    covered.hit("B waits", bench.answers_waited["b"] > 0)
    covered.hit("R waits", bench.answers_waited["r"] > 0)
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def what_cannot_be_read_or_written_answers_slverr(dut: Any) -> None:
    random = await begin(dut)
    bench = RegisterBench(dut, random)
    bench.pause(True)
    read_only = (ID, STATUS, CYCLES_LOW, CYCLES_HIGH, COUNTER_LOW, COUNTER_HIGH)
    for offset in range(0, 1 << len(dut.registers_awaddr), 4):
        mapped = offset <= COUNT_NODE
        value, strobe, _ = random_write(random)
        writable = mapped and offset not in read_only
        assert await bench.write(offset, value, strobe if offset != CONTROL else 0) == writable
        assert (await bench.read(offset) is not None) == mapped
        errors = random_integer(random, len(dut.status_errors))
        idle, done = random.integers(0, 2, 2).tolist()
        dut.status_idle.value, dut.status_done.value, dut.status_errors.value = idle, done, errors
        await cycles(dut, 2)
        assert await bench.read(STATUS) == idle | done << 1 | errors << 8
        assert await bench.read(ID) == ID_OF_HARNESS
    assert bench.pulses == dict.fromkeys(PULSES, 0)


def random_write(random: np.random.Generator) -> tuple[int, int, int]:
    """A word, a strobe, and the bits that it lets through."""
    strobe = (0b1111, int(random.integers(16)), 0)[int(random.integers(3))]
    return random_integer(random, 32), strobe, sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def the_low_half_keeps_the_high_half(dut: Any) -> None:
    """Counters that move between the two reads: both halves are of one moment."""
    random = await begin(dut)
    bench = RegisterBench(dut, random)
    bits = len(dut.status_cycles)
    cocotb.start_soon(_move_counters(dut, bits))
    for number in range(30):
        bench.pause(number % 2 == 0)
        assert await bench.write(COUNTER_SELECT, number)
        low, other_low = await bench.read(COUNTER_LOW), await bench.read(CYCLES_LOW)
        await cycles(dut, int(random.integers(0, 5)))
        other_high, high = await bench.read(CYCLES_HIGH), await bench.read(COUNTER_HIGH)
        assert None not in (low, high, other_low, other_high)
        assert high == _high_of(low or 0, number, bits), "of the selected counter, as it was when the low half was read"
        assert other_high == _high_of(other_low or 0, 0, bits)
    assert int(dut.control_start.value) == 0


def _high_of(low: int, select: int, bits: int) -> int:
    """The counters of this test have a high half that follows from the low one."""
    return (low * 3 + select) & ((1 << bits - 32) - 1)


async def _move_counters(dut: Any, bits: int) -> None:
    low = 0
    while True:
        await RisingEdge(dut.clock)
        low = (low + 1) & 0xFFFF_FFFF
        select = int(dut.counter_select.value)
        dut.counter_value.value = _high_of(low, select, bits) << 32 | low
        dut.status_cycles.value = _high_of(low, 0, bits) << 32 | low


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def reads_and_writes_do_not_wait_for_each_other(dut: Any) -> None:
    random = await begin(dut)
    bench = RegisterBench(dut, random)
    bench.pause(True)

    async def write_all() -> None:
        for value in range(40):
            assert await bench.write(COUNT_NODE, value)
            assert int(dut.count_node.value) == value & ((1 << len(dut.count_node)) - 1)

    async def read_all() -> None:
        for _ in range(40):
            assert await bench.read(ID) == ID_OF_HARNESS

    writer, reader = cocotb.start_soon(write_all()), cocotb.start_soon(read_all())
    await writer
    await reader
    # Many writes open at once: addresses and data run ahead of each other and of the answers.
    seen: list[int] = []
    cocotb.start_soon(_record_changes(dut, dut.count_node, seen))
    values = random.permutation(min(1 << len(dut.count_node), 1000) - 1)[:60].tolist()
    mapped = random.integers(0, 2, len(values)).astype(bool).tolist()
    writes = [(COUNT_NODE if right else STATUS, value, 0b1111) for value, right in zip(values, mapped, strict=True)]
    before = int(dut.count_node.value)
    assert await bench.write_all(writes) == mapped
    await cycles(dut, 2)
    kept = [value for value, right in zip(values, mapped, strict=True) if right]
    assert seen == kept[kept[:1] == [before] :], "each one once, in order"
    # As many reads.
    offsets = random.choice((ID, COUNT_NODE, COUNTER_SELECT, CONTROL), 40).tolist()
    content = {ID: ID_OF_HARNESS, COUNT_NODE: kept[-1], COUNTER_SELECT: 0, CONTROL: 0}
    events = [bench.master.init_read(offset, 4) for offset in offsets]
    for event, offset in zip(events, offsets, strict=True):
        await event.wait()
        assert int.from_bytes(event.data.data, "little") == content[offset]
    # Reads go on while an answer to a write waits, and the other way round.
    bench.pause(False)
    bench.master.write_if.b_channel.pause = True
    waiting = cocotb.start_soon(bench.write(COUNT_NODE, 5))
    for _ in range(10):
        assert await bench.read(ID) == ID_OF_HARNESS
    assert int(dut.count_node.value) == 5
    bench.master.write_if.b_channel.pause = False
    assert await waiting
    bench.master.read_if.r_channel.pause = True
    waiting_read = cocotb.start_soon(bench.read(COUNT_NODE))
    await cycles(dut, 6)
    for value in range(10):
        assert await bench.write(COUNT_NODE, value)
    bench.master.read_if.r_channel.pause = False
    assert await waiting_read == 5


async def _record_changes(dut: Any, signal: Any, seen: list[int]) -> None:
    before = int(signal.value)
    while True:
        await RisingEdge(dut.clock)
        if int(signal.value) != before:
            before = int(signal.value)
            seen.append(before)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_reset_forgets_what_was_open(dut: Any) -> None:
    random = await begin(dut)
    bench = RegisterBench(dut, random)
    for number in range(12):
        bench.pause(True)
        offset = (CONTROL, COUNT_NODE, COUNTER_SELECT)[number % 3]
        bench.master.init_write(offset, b"\x07\x00\x00\x00")
        bench.master.init_read(ID, 4)
        await cycles(dut, int(random.integers(1, 8)))
        await reset(dut)
        bench.pulses = dict.fromkeys(PULSES, 0)
        bench.pause(False)
        await cycles(dut, 4)
        assert bench.pulses == dict.fromkeys(PULSES, 0), "nothing starts after a reset"
        assert await bench.read(COUNT_NODE) == 0xFFFF_FFFF
        assert await bench.read(COUNTER_SELECT) == 0
        assert await bench.write(COUNTER_SELECT, 9)
        assert await bench.read(COUNTER_SELECT) == 9
