"""cocotb bench of image_receiver and logit_sender: the streams of an image and of its logits."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from dtss.rtl.benches.shell import (
    TIMEOUT_US,
    Coverage,
    StreamWatch,
    begin,
    cycles,
    parameters,
    pauses,
    pulse,
    random_integer,
    reset,
    until,
)
from dtss.rtl.memory_image import bits_of, integer_of_row


class ImageBench:
    """A source of pixels, and every write to the image memory as (position, pixel)."""

    def __init__(self, dut: Any, random: np.random.Generator) -> None:
        self.dut, self.random = dut, random
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "pixels"), dut.clock, dut.reset)
        self.source.log.setLevel("WARNING")
        self.watch = StreamWatch(dut, "pixels")
        self.pixel_bits, self.beat_bits = len(dut.image_write_row), len(dut.pixels_tdata)
        self.rows = 1 << len(dut.image_positions)
        self.writes: list[tuple[int, int]] = []
        cocotb.start_soon(self._watch_writes())

    async def _watch_writes(self) -> None:
        while True:
            await RisingEdge(self.dut.clock)
            if not int(self.dut.reset.value) and int(self.dut.image_write_enable.value):
                self.writes.append((int(self.dut.image_write_address.value), int(self.dut.image_write_row.value)))

    def send(self, count: int, ends: tuple[int, ...]) -> list[tuple[int, int]]:
        """`count` random pixels, their padding too; TLAST after each number of pixels in `ends`. The rows expected."""
        beats = [random_integer(self.random, self.beat_bits) for _ in range(count)]
        for begin_at, end in zip((0, *ends), (*ends, count), strict=True):
            content = b"".join(beat.to_bytes(self.beat_bits // 8, "little") for beat in beats[begin_at:end])
            if content:
                self.source.send_nowait(AxiStreamFrame(content))
        return [(index, beat & ((1 << self.pixel_bits) - 1)) for index, beat in enumerate(beats)]

    async def arm(self, positions: int) -> int:
        self.dut.image_positions.value = positions % self.rows
        self.writes.clear()
        return await pulse(self.dut, self.dut.image_arm)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def image_rows_are_the_pixels_in_order(dut: Any) -> None:
    random = await begin(dut)
    bench = ImageBench(dut, random)
    covered = Coverage("one pixel", "whole memory", "source waits", "arm waits", "pauses", "full speed")
    for number in range(16):
        positions = (1, bench.rows, 2)[number] if number < 3 else int(random.integers(1, bench.rows + 1))
        paused, early = number % 4 > 1, number % 2 == 0
        bench.source.set_pause_generator(pauses(random) if paused else None)
        bench.source.pause = False
        expected = bench.send(positions, ()) if early else []
        await cycles(dut, int(random.integers(0, 5)))
        assert not int(dut.pixels_tready.value), "a beat is let in before arm"
        armed = await bench.arm(positions)
        if not early:
            await cycles(dut, int(random.integers(0, 5)))
            expected = bench.send(positions, ())
        ended = await until(dut, dut.image_done)
        assert bench.writes == expected
        assert not int(dut.image_length_error.value)
        if early and not paused:
            assert ended - armed == positions + 1, "a pixel a cycle"
            covered.hit("full speed", positions > 4)
        covered.hit("one pixel", positions == 1)
        covered.hit("whole memory", positions == bench.rows)
        covered.hit("source waits" if early else "arm waits")
        covered.hit("pauses", paused and ended - armed > positions + 2)
        await cycles(dut, int(random.integers(0, 4)))
        assert int(dut.image_done.value), "done stays"
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_wrong_end_of_the_image_is_remembered(dut: Any) -> None:
    random = await begin(dut)
    bench = ImageBench(dut, random)
    covered = Coverage("early", "early and right", "early by one", "missing", "right after wrong")
    for number in range(24):
        positions = int(random.integers(3, 20))
        early = positions - 1 if number == 0 else int(random.integers(1, positions))
        kind = number % 4
        surplus = int(random.integers(1, 6)) if kind in (1, 2) else 0
        ends = {0: (early,), 1: (early,), 2: (), 3: ()}[kind]
        expected = bench.send(positions + surplus, ends)
        bench.source.set_pause_generator(pauses(random))
        await bench.arm(positions)
        await until(dut, dut.image_done)
        assert int(dut.image_length_error.value) == (kind != 3)
        await cycles(dut, 5)
        assert bench.writes == expected[:positions], "as many as asked for, whatever TLAST says"
        assert int(dut.image_length_error.value) == (kind != 3), "the error stays"
        covered.hit("early and right", kind == 0)
        covered.hit("early", kind == 1)
        covered.hit("early by one", kind == 0 and early == positions - 1)
        covered.hit("missing", kind == 2)
        covered.hit("right after wrong", kind == 3)
        if surplus:  # the rest of the image is still in the source
            await reset(dut)
            assert not int(dut.pixels_tready.value)
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def an_image_starts_over_after_arm_or_reset_in_its_middle(dut: Any) -> None:
    random = await begin(dut)
    bench = ImageBench(dut, random)
    covered = Coverage("reset between beats", "reset on a beat", "arm while armed")
    for number in range(24):
        positions = int(random.integers(4, bench.rows))
        bench.source.set_pause_generator(pauses(random) if number % 2 else None)
        bench.source.pause = False
        await bench.arm(positions)
        part = bench.send(positions - 1, ())
        if number % 3:
            await until(dut, dut.image_write_enable)
            await cycles(dut, int(random.integers(0, positions)))
            cut_a_beat = bool(int(dut.pixels_tvalid.value))
            await reset(dut)
            assert not int(dut.pixels_tready.value) and not int(dut.image_length_error.value)
            covered.hit("reset on a beat" if cut_a_beat else "reset between beats")
        else:
            await bench.source.wait()
            await cycles(dut, 2)
            assert bench.writes == part
            assert int(dut.image_length_error.value) and not int(dut.image_done.value)
            covered.hit("arm while armed")
        positions = int(random.integers(1, bench.rows))
        await bench.arm(positions)
        expected = bench.send(positions, ())
        await until(dut, dut.image_done)
        assert bench.writes == expected and not int(dut.image_length_error.value)
    covered.check()


class LogitBench:
    """A current memory of random rows, a sink of logits, and the number of rows read."""

    def __init__(self, dut: Any, random: np.random.Generator) -> None:
        self.dut, self.random = dut, random
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "logits"), dut.clock, dut.reset)
        self.sink.log.setLevel("WARNING")
        self.watch = StreamWatch(dut, "logits")
        numbers = parameters()
        self.columns, self.value_bits = numbers["COLUMNS"], numbers["VALUE_BITS"]
        self.time_steps = len(dut.sender_step_zero)
        self.address_bits = len(dut.currents_write_address)
        self.memory = np.zeros((1 << self.address_bits, self.columns), np.int64)
        self.reads = 0
        cocotb.start_soon(self._count_reads())

    async def _count_reads(self) -> None:
        while True:
            await RisingEdge(self.dut.clock)
            self.reads += int(self.dut.currents_read_enable.value) and not int(self.dut.reset.value)

    async def fill(self) -> None:
        """Random currents, often at an end of their range."""
        low, high = -(1 << self.value_bits - 1), (1 << self.value_bits - 1) - 1
        shape = self.memory.shape
        extremes = self.random.choice(np.array([low, -1, 0, 1, high]), shape)
        self.memory = np.where(self.random.random(shape) < 0.3, extremes, self.random.integers(low, high + 1, shape))
        self.dut.currents_write_enable.value = 1
        for address, row in enumerate(self.memory.tolist()):
            content = integer_of_row(bits_of(np.array(row), self.value_bits).reshape(-1))
            self.dut.currents_write_address.value, self.dut.currents_write_row.value = address, content
            await RisingEdge(self.dut.clock)
        self.dut.currents_write_enable.value = 0

    async def start(self, classes: int, bases: list[int], zero: list[bool]) -> tuple[int, list[int]]:
        """The cycle of the start, and the logits expected."""
        self.dut.sender_classes.value = classes
        self.dut.sender_step_base.value = sum(base << index * self.address_bits for index, base in enumerate(bases))
        self.dut.sender_step_zero.value = sum(flag << index for index, flag in enumerate(zero))
        expected = [
            0 if zero[step] else int(self.memory.take(bases[step] * self.columns + number, mode="wrap"))
            for step in range(self.time_steps)
            for number in range(classes)
        ]
        self.watch.beats.clear()
        self.reads = 0
        return await pulse(self.dut, self.dut.sender_start), expected

    def case(self, classes: int) -> tuple[int, list[int], list[bool]]:
        bases = self.random.integers(0, len(self.memory), self.time_steps).tolist()
        return classes, bases, (self.random.random(self.time_steps) < 0.3).tolist()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def logits_are_the_currents_in_order_and_the_last_is_marked(dut: Any) -> None:
    random = await begin(dut)
    bench = LogitBench(dut, random)
    await bench.fill()
    most = (1 << len(dut.sender_classes)) - 1
    covered = Coverage(
        "one class", "most classes", "whole rows", "a zero step", "all zero", "back-pressure", "full speed"
    )
    for number in range(20):
        classes = (1, most, bench.columns)[number] if number < 3 else int(random.integers(1, most + 1))
        classes, bases, zero = bench.case(classes)
        zero = [True] * bench.time_steps if number == 4 else zero
        bench.sink.set_pause_generator(pauses(random) if number % 2 else None)
        bench.sink.pause = False
        waited = bench.watch.waited
        started, expected = await bench.start(classes, bases, zero)
        await RisingEdge(dut.clock)
        assert int(dut.sender_busy.value) and not int(dut.sender_done.value), "done is until the next start"
        frame = await bench.sink.recv()
        await cycles(dut, 6)
        assert np.frombuffer(bytes(frame.tdata), "<i4").tolist() == expected
        assert [last for _, _, last in bench.watch.beats] == [0] * (len(expected) - 1) + [1], (
            "TLAST with the last beat only"
        )
        assert int(dut.sender_done.value) and not int(dut.sender_busy.value)
        assert bench.reads == -(-classes // bench.columns) * zero.count(False), "a row is read once"
        if number % 2 == 0:
            assert [cycle for cycle, _, _ in bench.watch.beats] == [
                started + 3 + index for index in range(len(expected))
            ]
        covered.hit("one class", classes == 1)
        covered.hit("most classes", classes == most)
        covered.hit("whole rows", classes % bench.columns == 0)
        covered.hit("a zero step", any(zero))
        covered.hit("all zero", all(zero))
        covered.hit("back-pressure", bench.watch.waited > waited + 10)
        covered.hit("full speed", number % 2 == 0 and len(expected) > bench.columns)
    await reset(dut)
    assert not int(dut.sender_done.value), "done is until a reset"
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_reset_ends_the_logits_and_a_start_while_busy_is_not_seen(dut: Any) -> None:
    random = await begin(dut)
    bench = LogitBench(dut, random)
    await bench.fill()
    covered = Coverage("reset", "reset of a beat that waits", "start while busy", "start while the last beat waits")
    for number in range(24):
        most = (1 << len(dut.sender_classes)) - 1
        bench.sink.set_pause_generator(pauses(random))
        await bench.start(*bench.case(most))
        await cycles(dut, int(random.integers(1, most)))
        waits = bool(int(dut.logits_tvalid.value)) and not int(dut.logits_tready.value)
        await reset(dut)
        assert not int(dut.sender_busy.value) and not int(dut.logits_tvalid.value) and not int(dut.sender_done.value)
        covered.hit("reset")
        covered.hit("reset of a beat that waits", waits)
        _, expected = await bench.start(*bench.case(int(random.integers(2, most))))
        stepped, tried = number % 2 == 0, False
        bench.sink.set_pause_generator(None if stepped else pauses(random))
        await RisingEdge(dut.clock)
        while not int(dut.sender_done.value):
            waits = bool(int(dut.logits_tvalid.value)) and not int(dut.logits_tready.value)
            last = waits and bool(int(dut.logits_tlast.value))
            if waits and ((last and not tried) or random.integers(4) == 0):
                await pulse(dut, dut.sender_start)  # the beat is still there, the sink paused or not
                tried = last
                covered.hit("start while busy")
                covered.hit("start while the last beat waits", last)
            else:
                if stepped:
                    bench.sink.pause = not waits  # one beat at a time
                await RisingEdge(dut.clock)
        await cycles(dut, 4)
        got = [beat - (beat >> 31 << 32) for _, beat, _ in bench.watch.beats]
        assert got == expected
    covered.check()
