"""cocotb bench of weight_loader with the DRAM model: every row, every command and every cycle of random tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
import msgspec
import numpy as np
from cocotb.triggers import RisingEdge

from dtss.rtl.benches.shell import (
    TIMEOUT_US,
    Coverage,
    StreamWatch,
    begin,
    cycles,
    now,
    parameters,
    pulse,
    reset,
    until,
)
from dtss.rtl.loading import Loader, TransferRow, arrivals
from dtss.rtl.memory_image import bits_of, hex_text, integer_of_row

Write = tuple[str, int, int]  # memory, address, row
NO_WRONG_TLAST = 0xFFFF
TABLES = 40


def loader_of(numbers: dict[str, int]) -> Loader:
    """The harness's loader."""
    widths = tuple(numbers["NARROW_BITS"] >> 8 * index & 0xFF for index in range(numbers["NARROW_COUNT"]))
    return Loader(
        data_bits=numbers["DATA_BITS"],
        columns=numbers["COLUMNS"],
        load_rows=numbers["LOAD_ROWS"],
        weight_bits=numbers["WEIGHT_BITS"],
        narrow_bits=widths,
        parameter_row_bits=numbers["PARAMETER_ROW_BITS"],
        weight_memory_rows=numbers["WEIGHT_ROWS"],
        parameter_memory_rows=numbers["PARAMETER_ROWS"],
        run_bits=numbers["RUN_BITS"],
    )


class LoaderBench:
    """Everything that the loader does, by the cycle."""

    def __init__(self, dut: Any, random: np.random.Generator) -> None:
        self.dut, self.random = dut, random
        self.loader = loader_of(parameters())
        self.table_rows = 1 << len(dut.table_write_address)
        self.beats = 1 << parameters()["BEAT_ADDRESS_BITS"]
        self.commands, self.data = StreamWatch(dut, "fetch"), StreamWatch(dut, "data")
        self.writes: list[Write] = []
        self.runs: list[tuple[int, int]] = []  # (cycle, runs_done) of every cycle
        self.arrived: list[int] = []  # cycle of each arrival
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        dut, counted = self.dut, 0
        while True:
            await RisingEdge(dut.clock)
            if int(dut.reset.value):
                counted = 0
                continue
            for memory in ("weight", "parameter"):
                if int(getattr(dut, f"{memory}_write_enable").value):
                    address, row = (int(getattr(dut, f"{memory}_write_{what}").value) for what in ("address", "row"))
                    self.writes.append((memory, address, row))
            self.runs.append((now(), int(dut.loader_runs_done.value)))
            arrived = int(dut.loader_arrived.value)
            assert arrived in (0, counted, counted + 1), "one at a time"
            if arrived == counted + 1:
                self.arrived.append(now())
            counted = arrived

    async def fill(self, transfers: list[TransferRow]) -> list[Write]:
        """Random content for the transfers, outside and in the table; the writes that have to follow."""
        memory = self.random.integers(0, 2, (self.beats, self.loader.data_bits)).astype(np.uint8)
        expected: list[Write] = []
        for transfer in transfers:
            low = transfer.byte_address * 8 // self.loader.data_bits
            form = self.loader.weight_format(transfer.narrow)
            limit = 1 << form.element_bits - 1
            weights = self.random.integers(-limit, limit, (transfer.weight_rows, form.elements))
            parameters = self.random.integers(0, 2, (transfer.parameter_rows, self.loader.parameter_row_bits))
            padding = int(self.random.integers(2))
            for part in (form.pack(weights, padding), self.loader.parameter_format.pack(parameters, padding)):
                memory[low : low + len(part)] = part
                low += len(part)
            for index, row in enumerate(bits_of(weights, self.loader.weight_bits)):
                address = (transfer.first_weight_row + index) % self.loader.weight_memory_rows
                expected.append(("weight", address, integer_of_row(row.reshape(-1))))
            for index, row in enumerate(parameters.astype(np.uint8)):
                address = (transfer.first_parameter_row + index) % self.loader.parameter_memory_rows
                expected.append(("parameter", address, integer_of_row(row)))
        Path("dram.hex").write_text(hex_text(memory), encoding="ascii")
        self.dut.dram_seed.value = int(self.random.integers(1, 1 << 32))
        await pulse(self.dut, self.dut.dram_load)
        self.dut.table_write_enable.value = 1
        for address, row in enumerate(self.loader.table(transfers)):
            self.dut.table_write_address.value, self.dut.table_write_row.value = address, integer_of_row(row)
            await RisingEdge(self.dut.clock)
        self.dut.table_write_enable.value = 0
        return expected

    def transfers(self, count: int) -> list[TransferRow]:
        """Random ones, behind one another outside in random order; the runs they wait for never fall."""
        random, loader = self.random, self.loader
        waits = np.sort(random.integers(0, 1 << loader.run_bits - 1, count)).tolist()
        shapes = []
        for after in waits:
            weight_rows, parameter_rows = int(random.integers(0, 14)), int(random.integers(0, 4))
            shapes.append(
                TransferRow(
                    after=after,
                    byte_address=0,
                    weight_rows=weight_rows,
                    first_weight_row=self._first_row(loader.weight_memory_rows),
                    narrow=int(random.integers(len(loader.narrow_bits) + 1)),
                    parameter_rows=max(parameter_rows, int(weight_rows == 0)),
                    first_parameter_row=self._first_row(loader.parameter_memory_rows),
                )
            )
        placed, low = dict.fromkeys(range(count), 0), 0
        for index in random.permutation(count).tolist():
            low += int(random.integers(3)) * loader.data_bits // 8
            placed[index] = low
            low += loader.transfer_bytes(shapes[index])
        assert low * 8 <= self.beats * loader.data_bits
        return [msgspec.structs.replace(shape, byte_address=placed[index]) for index, shape in enumerate(shapes)]

    def _first_row(self, rows: int) -> int:
        """Often near the end of the memory."""
        lowest = 0 if self.random.integers(2) else max(0, rows - 4)
        return int(self.random.integers(lowest, rows))

    async def run(self, transfers: list[TransferRow]) -> int:
        """From the start to the end of the table, while runs are complete now and then; the cycle of the start."""
        dut = self.dut
        self.clear()
        dut.loader_runs_done.value = 0
        started = await pulse(dut, dut.loader_start)
        done = 0
        hurry = float(self.random.choice((0.02, 0.1, 1.0)))
        await RisingEdge(dut.clock)
        while int(dut.loader_busy.value):
            if done < transfers[-1].after and self.random.random() < hurry:
                done += 1
                dut.loader_runs_done.value = done
            await RisingEdge(dut.clock)
        await cycles(dut, 3)
        return started

    def clear(self) -> None:
        for record in (self.commands.beats, self.data.beats, self.writes, self.runs, self.arrived):
            record.clear()

    def arrivals(self, started: int, transfers: list[TransferRow], latency: int) -> list[int]:
        """What the rule says of the run that was watched."""
        runs = [(cycle, done) for cycle, done in self.runs if cycle > started]
        done = [next(cycle for cycle, done in runs if done >= transfer.after) for transfer in transfers]
        lengths = [self.loader.transfer_cycles(transfer, latency) for transfer in transfers]
        return list(arrivals(started, done, lengths))

    def check_commands(self, transfers: list[TransferRow]) -> None:
        expected = [self.loader.transfer_bytes(transfer) << 32 | transfer.byte_address for transfer in transfers]
        assert [command for _, command, _ in self.commands.beats] == expected


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def rows_arrive_in_order_and_in_the_cycles_of_the_rule(dut: Any) -> None:
    random = await begin(dut)
    bench = LoaderBench(dut, random)
    dut.dram_wrong_tlast.value = NO_WRONG_TLAST
    loader = bench.loader
    widths = {f"width {bits}" for bits in (loader.weight_bits, *loader.narrow_bits)}
    covered = Coverage(
        *widths, "weights wrap", "parameters wrap", "weights only", "parameters only", "a beat filled in part",
        "waited", "did not wait", "full table", "one transfer", "latency 1",
    )  # fmt: skip
    for number in range(TABLES):
        count = (1, bench.table_rows)[number] if number < 2 else int(random.integers(1, bench.table_rows + 1))
        transfers = bench.transfers(count)
        latency = 1 if number == 2 else int(random.integers(1, 30))
        dut.dram_latency.value = latency
        expected = await bench.fill(transfers)
        started = await bench.run(transfers)
        assert bench.writes == expected
        bench.check_commands(transfers)
        rule = bench.arrivals(started, transfers, latency)
        assert bench.arrived == rule, (bench.arrived, rule, started, transfers)
        assert int(dut.loader_arrived.value) == count and not int(dut.loader_length_error.value)
        before = [started + 1, *rule]
        for transfer, end, begun in zip(transfers, rule, before, strict=False):
            form = loader.weight_format(transfer.narrow)
            covered.hit(f"width {form.element_bits}", transfer.weight_rows > 0)
            covered.hit("weights wrap", transfer.first_weight_row + transfer.weight_rows > loader.weight_memory_rows)
            last = transfer.first_parameter_row + transfer.parameter_rows
            covered.hit("parameters wrap", last > loader.parameter_memory_rows)
            covered.hit("weights only", transfer.parameter_rows == 0)
            covered.hit("parameters only", transfer.weight_rows == 0)
            parts = ((form, transfer.weight_rows), (loader.parameter_format, transfer.parameter_rows))
            covered.hit("a beat filled in part", any(rows % form.rows_of_beat for form, rows in parts))
            waited = end - begun > loader.transfer_cycles(transfer, latency)
            covered.hit("waited" if waited else "did not wait")
        covered.hit("full table", count == bench.table_rows)
        covered.hit("one transfer", count == 1)
        covered.hit("latency 1", latency == 1)
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def gaps_of_the_source_delay_and_change_nothing(dut: Any) -> None:
    random = await begin(dut)
    bench = LoaderBench(dut, random)
    dut.dram_wrong_tlast.value = NO_WRONG_TLAST
    covered = Coverage("the command waits", "the data wait", "later than without gaps")
    for gaps in (20, 60, 100, 200, 230) * 2:
        transfers = bench.transfers(int(random.integers(2, bench.table_rows + 1)))
        latency = int(random.integers(1, 10))
        dut.dram_latency.value, dut.dram_gaps.value = latency, gaps
        expected = await bench.fill(transfers)
        started = await bench.run(transfers)
        assert bench.writes == expected
        bench.check_commands(transfers)
        rule = bench.arrivals(started, transfers, latency)
        assert all(got >= earliest for got, earliest in zip(bench.arrived, rule, strict=True))
        covered.hit("later than without gaps", bench.arrived[-1] > rule[-1])
        covered.hit("the command waits", bench.commands.waited > 0)
        covered.hit("the data wait", bench.data.waited > 0)
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_wrong_tlast_is_remembered_until_the_next_start(dut: Any) -> None:
    random = await begin(dut)
    bench = LoaderBench(dut, random)
    dut.dram_latency.value = 2
    covered = Coverage("early", "missing", "none")
    for number in range(9):
        transfers = bench.transfers(2)
        beats = [bench.loader.transfer_bytes(transfer) * 8 // bench.loader.data_bits for transfer in transfers]
        wrong = (0, beats[0] - 1, NO_WRONG_TLAST)[number % 3]
        dut.dram_wrong_tlast.value = wrong
        expected = await bench.fill(transfers)
        await bench.run(transfers)
        assert bench.writes == expected, "whatever TLAST says"
        assert int(dut.loader_length_error.value) == (wrong != NO_WRONG_TLAST)
        await cycles(dut, 4)
        assert int(dut.loader_length_error.value) == (wrong != NO_WRONG_TLAST), "the error stays"
        covered.hit("none", wrong == NO_WRONG_TLAST)
        covered.hit("early", wrong == 0 and min(beats) > 1)
        covered.hit("missing", wrong == beats[0] - 1)
    covered.check()


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def a_reset_in_mid_transfer_leaves_nothing_behind(dut: Any) -> None:
    random = await begin(dut)
    bench = LoaderBench(dut, random)
    dut.dram_wrong_tlast.value = NO_WRONG_TLAST
    covered = Coverage("before the command", "on the command", "before the data", "among the data")
    for number in range(24):
        dut.dram_latency.value = 6
        dut.dram_gaps.value = 100 if number % 2 else 0
        transfers = bench.transfers(2)
        await bench.fill(transfers)
        dut.loader_runs_done.value = (1 << bench.loader.run_bits) - 1 if number % 4 else 0
        bench.clear()
        await pulse(dut, dut.loader_start)
        if number % 4 == 0:
            await cycles(dut, 3)
        elif number % 4 == 1:
            await until(dut, dut.fetch_tvalid)
        elif number % 4 == 2:
            await until(dut, dut.fetch_tvalid)
            await cycles(dut, 3)
        else:
            await until(dut, dut.data_tvalid)
            await cycles(dut, int(random.integers(2, 14)))
        covered.hit("before the command", bench.commands.beats == [] and not int(dut.fetch_tvalid.value))
        covered.hit("on the command", bool(int(dut.fetch_tvalid.value)))
        covered.hit("before the data", bench.commands.beats != [] and bench.data.beats == [])
        covered.hit("among the data", bench.data.beats != [])
        await reset(dut)
        assert not int(dut.loader_busy.value) and not int(dut.fetch_tvalid.value) and not int(dut.data_tready.value)
        assert not int(dut.loader_arrived.value) and not int(dut.loader_length_error.value)
        dut.dram_gaps.value = 0
        expected = await bench.fill(transfers)
        started = await bench.run(transfers)
        assert bench.writes == expected
        assert bench.arrived == bench.arrivals(started, transfers, 6)
    covered.check()
