"""cocotb benches of the leaf modules on random stimulus. The seed is cocotb's, printed at the start of the log."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from dtss.compiler.schedule.numerics import FixedLeak, ShiftLeak, lif_step
from dtss.compiler.schedule.skipper import stream_cycles

ROUNDS = 200
TIMEOUT_US = 200  # a broken module must not keep its bench waiting


def random_generator() -> np.random.Generator:
    return np.random.default_rng(cocotb.RANDOM_SEED)


def width(signal: Any) -> int:
    return len(signal)


def mask(bits: int) -> int:
    return (1 << bits) - 1


async def begin(dut: Any) -> None:
    """Clock and reset. Inputs change and outputs are read at the falling edge, half a cycle from any register."""
    for signal in dut:
        if signal._name.endswith(("_enable", "_load", "_advance", "_beat", "_clear", "_write", "memory_read")):
            signal.value = 0
    dut.reset.value = 1
    Clock(dut.clock, 10, unit="ns").start()
    await FallingEdge(dut.clock)
    await FallingEdge(dut.clock)
    dut.reset.value = 0


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def skipper_issues_every_nonzero_word_and_takes_the_cycles_of_the_rules(dut: Any) -> None:
    random, group = random_generator(), width(dut.skipper_flags)
    await begin(dut)
    for density in (0.0, 0.1, 0.5, 0.9, 1.0) * 10:
        words = int(random.integers(1, 8 * group))
        flags = random.random(words) < density
        issued, cycles = [], 0
        for start in range(0, words, group):
            chunk = flags[start : start + group]
            dut.skipper_flags.value = int(sum(1 << lane for lane in np.flatnonzero(chunk).tolist()))
            dut.skipper_enable.value = 1
            done = False
            while not done:
                await Timer(1, "ns")
                cycles += 1
                if int(dut.skipper_issue.value):
                    issued.append(start + int(dut.skipper_lane.value))
                done = bool(int(dut.skipper_group_done.value))
                await FallingEdge(dut.clock)
        dut.skipper_enable.value = 0
        assert issued == np.flatnonzero(flags).tolist(), f"density {density}, {words} words"
        assert cycles == int(stream_cycles(flags, group)), f"density {density}, {words} words"


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def slot_counter_is_a_division(dut: Any) -> None:
    random, group = random_generator(), width(dut.skipper_flags)
    slot_bits, plane_bits = width(dut.slots_slot), width(dut.slots_plane)
    await begin(dut)
    for _ in range(ROUNDS):
        planes, stride, first = (int(random.integers(low, high)) for low, high in ((1, 12), (1, 5), (0, 4)))
        lanes = range(group)
        dut.slots_planes.value, dut.slots_slot_stride.value, dut.slots_first_slot.value = planes, stride, first
        dut.slots_group_planes.value = group % planes
        dut.slots_group_slots.value = group // planes * stride & mask(slot_bits)
        dut.slots_lane_planes.value = sum(lane % planes << lane * plane_bits for lane in lanes)
        dut.slots_lane_slots.value = sum(
            (lane // planes * stride & mask(slot_bits)) << lane * slot_bits for lane in lanes
        )
        dut.slots_load.value, dut.slots_advance.value = 1, 0
        await FallingEdge(dut.clock)
        dut.slots_load.value, dut.slots_advance.value = 0, 1
        for start in range(0, 8 * group, group):
            for lane in lanes:
                dut.slots_lane.value = lane
                await Timer(1, "ps")
                index = start + lane
                assert int(dut.slots_plane.value) == index % planes, (index, planes)
                expected = first + index // planes * stride & mask(slot_bits)
                assert int(dut.slots_slot.value) == expected, (index, planes, stride, first)
            await FallingEdge(dut.clock)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def column_sums_the_weights_under_the_spikes(dut: Any) -> None:
    random, rows = random_generator(), width(dut.column_spikes)
    bits = width(dut.column_sum) - (rows - 1).bit_length()
    load_rows = width(dut.column_write_weights) // bits
    bank, held = 0, np.zeros(rows, np.int64)
    await begin(dut)
    await _load_column(dut, held, bank, load_rows)
    for extreme in (None, -(1 << bits - 1), (1 << bits - 1) - 1) * 4:
        weights = random.integers(-(1 << bits - 1), 1 << bits - 1, rows)
        weights = weights if extreme is None else np.full(rows, extreme)
        # While one bank loads, words stream over the other.
        await _stream_column(dut, random.integers(0, 2, rows), held, bank)
        await _load_column(dut, weights, 1 - bank, load_rows)
        await _stream_column(dut, random.integers(0, 2, rows), held, bank)
        bank, held = 1 - bank, weights
        for spikes in (np.zeros(rows, int), np.ones(rows, int), *random.integers(0, 2, (20, rows))):
            await _stream_column(dut, spikes, held, bank)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def aligner_turns_lanes_and_keeps_some(dut: Any) -> None:
    random, rows = random_generator(), width(dut.aligner_row)
    await begin(dut)
    for _ in range(ROUNDS):
        row = random.integers(0, 2, rows)
        turn, first, limit = int(random.integers(rows)), int(random.integers(rows)), int(random.integers(rows + 1))
        count = int(random.integers(rows + 1))
        dut.aligner_row.value = _bits(row)
        dut.aligner_turn.value, dut.aligner_first.value = turn, first
        dut.aligner_count.value, dut.aligner_limit.value = count, limit
        await Timer(1, "ns")
        lanes = np.arange(rows)
        kept = (lanes >= first) & (lanes < first + count) & (lanes < limit)
        assert int(dut.aligner_lanes.value) == _bits(np.roll(row, turn) * kept), (row, turn, first, count, limit)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def transposer_gives_columns_of_the_rows_written_since_it_was_cleared(dut: Any) -> None:
    random, rows = random_generator(), width(dut.transposer_row)
    await begin(dut)
    for _ in range(ROUNDS // 10):
        matrix = np.zeros((rows, rows), np.int64)
        for index in range(int(random.integers(1, rows + 1))):
            matrix[index] = random.integers(0, 2, rows)
            dut.transposer_clear.value, dut.transposer_write.value = int(index == 0), 1
            dut.transposer_index.value, dut.transposer_row.value = index, _bits(matrix[index])
            await FallingEdge(dut.clock)
        dut.transposer_clear.value, dut.transposer_write.value = 0, 0
        for column in range(rows):
            dut.transposer_column.value = column
            await Timer(1, "ns")
            assert int(dut.transposer_bits.value) == _bits(matrix[:, column]), column
        await FallingEdge(dut.clock)


def _bits(values: np.ndarray) -> int:
    return sum(1 << index for index in np.flatnonzero(values).tolist())


async def _stream_column(dut: Any, spikes: np.ndarray, weights: np.ndarray, bank: int) -> None:
    dut.column_bank.value, dut.column_enable.value = bank, 1
    dut.column_spikes.value = int(sum(1 << row for row in np.flatnonzero(spikes).tolist()))
    await FallingEdge(dut.clock)
    assert dut.column_sum.value.to_signed() == int(weights @ spikes)
    dut.column_enable.value = 0


async def _load_column(dut: Any, weights: np.ndarray, bank: int, load_rows: int) -> None:
    bits = width(dut.column_write_weights) // load_rows
    dut.column_write_bank.value = bank
    for beat, start in enumerate(range(0, len(weights), load_rows)):
        rows = weights[start : start + load_rows].tolist()
        dut.column_write_beat.value = 1 << beat
        dut.column_write_weights.value = sum((weight & mask(bits)) << index * bits for index, weight in enumerate(rows))
        await FallingEdge(dut.clock)
    dut.column_write_beat.value = 0


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def neuron_equals_lif_step(dut: Any) -> None:
    random = random_generator()
    membrane_bits, value_bits = width(dut.neuron_membrane), width(dut.neuron_current)
    multiplier_bits = width(dut.neuron_leak_multiplier)
    compared = 0
    for round_number in range(10 * ROUNDS):
        membrane = _value(random, membrane_bits)
        current, threshold, reset_to = (_value(random, value_bits) for _ in range(3))
        if round_number % 4 == 0:
            threshold = current  # with U = 0, or a leak to 0, a tie
            membrane = membrane if round_number % 8 else 0
        hard, fixed = bool(random.integers(2)), bool(random.integers(2))
        shift = int(random.integers(0, multiplier_bits)) if fixed else int(random.integers(0, 12))
        multiplier = int(random.integers(0, (1 << shift) + 1)) if fixed else 0
        dut.neuron_membrane.value, dut.neuron_current.value = membrane & mask(membrane_bits), current & mask(value_bits)
        dut.neuron_threshold.value, dut.neuron_reset_to.value = (
            threshold & mask(value_bits),
            reset_to & mask(value_bits),
        )
        dut.neuron_hard_reset.value, dut.neuron_leak_fixed.value = int(hard), int(fixed)
        dut.neuron_leak_shift.value, dut.neuron_leak_multiplier.value = shift, multiplier
        integrates = not random.integers(4)
        dut.neuron_never_fires.value = int(integrates)
        await Timer(1, "ns")
        leak = FixedLeak(multiplier, shift) if fixed else ShiftLeak(shift)
        limit = 1 << 62 if integrates else threshold
        u, i, theta, r = (np.array([value], np.int64) for value in (membrane, current, limit, reset_to))
        fires, after = lif_step(u, i, theta, r, leak, "hard" if hard else "soft")
        case = (membrane, current, threshold, reset_to, leak, hard, integrates)
        assert bool(int(dut.neuron_fires.value)) == bool(fires[0]), case
        if -(1 << membrane_bits - 1) <= after[0] < 1 << membrane_bits - 1:
            assert dut.neuron_next_membrane.value.to_signed() == int(after[0]), case
            compared += 1
    assert compared > ROUNDS


def _value(random: np.random.Generator, bits: int) -> int:
    """A signed value, often at an end of its range or near 0."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    near = (low, low + 1, -2, -1, 0, 1, 2, high - 1, high)
    return int(random.choice(near)) if random.random() < 0.3 else int(random.integers(low, high + 1))


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def mask_unit_visits_the_live_steps_in_order(dut: Any) -> None:
    random, steps = random_generator(), width(dut.mask_window)
    slot_bits = width(dut.mask_slot_offset)
    await begin(dut)
    prefixes = [mask(length) for length in range(1, steps + 1)]
    single = [1 << step for step in range(steps)]
    others = random.integers(1, 1 << min(steps, 62), ROUNDS).tolist()
    for state in (*prefixes, *single, *others):
        fields = {name: int(random.integers(0, 1 << min(steps, 62))) for name in _MASK_FIELDS}
        fields["reused_steps"] &= ~fields["slot_steps"] if random.integers(2) else 0
        windows = [mask(steps)] if random.integers(2) else [1 << step for step in range(steps) if state >> step & 1]
        for window in windows:
            await _walk_mask(dut, state, window, fields, slot_bits)


_MASK_FIELDS = ("active_steps", "slot_steps", "reused_steps", "membrane_reads", "membrane_writes")


async def _walk_mask(dut: Any, state: int, window: int, fields: dict[str, int], slot_bits: int) -> None:
    dut.mask_state_steps.value, dut.mask_window.value, dut.mask_enable.value = state, window, 1
    for name, value in fields.items():
        getattr(dut, f"mask_{name}").value = value
    visited = [step for step in range(width(dut.mask_window)) if state & window & 1 << step]
    for step in visited:
        await Timer(1, "ns")

        def has(name: str, step: int = step) -> bool:
            return bool(fields[name] >> step & 1)

        slots_before = bin(fields["slot_steps"] & window & mask(step)).count("1") & mask(slot_bits)
        expected = {
            "step_live": True,
            "output_live": has("active_steps"),
            "has_slot": has("slot_steps") or has("reused_steps"),
            "slot_offset": 0 if has("reused_steps") else slots_before,
            "membrane_read": has("membrane_reads"),
            "membrane_write": has("membrane_writes"),
            "step": 1 << step,
            "first": not state & mask(step),
            "last": step == visited[-1],
        }
        got = {name: int(getattr(dut, f"mask_{name}").value) for name in expected}
        assert got == {name: int(value) for name, value in expected.items()}, (bin(state), bin(window), step, fields)
        await FallingEdge(dut.clock)
    dut.mask_enable.value = 0
    await Timer(1, "ns")
    assert not int(dut.mask_step_live.value)
    assert not int(dut.mask_membrane_write.value)


@cocotb.test(timeout_time=TIMEOUT_US, timeout_unit="us")
async def memories_keep_what_was_written_and_membranes_only_at_live_steps(dut: Any) -> None:
    random, bits = random_generator(), width(dut.memory_write_row)
    await begin(dut)
    plain: dict[int, int] = {}
    gated: dict[int, int] = {}
    for round_number in range(10 * ROUNDS):
        address, row = int(random.integers(16)), int(random.integers(0, 1 << min(bits, 62)))
        write, live, read_address = bool(random.integers(2)), bool(random.integers(2)), int(random.integers(16))
        if round_number < 16:  # first fill every row
            address, write, live = round_number, True, True
        dut.memory_write.value, dut.memory_step_live.value, dut.memory_read.value = int(write), int(live), 1
        dut.memory_write_address.value, dut.memory_write_row.value = address, row
        dut.memory_read_address.value = read_address
        await FallingEdge(dut.clock)
        for memory, signal in ((plain, dut.memory_plain_read_row), (gated, dut.memory_read_row)):
            if read_address in memory:
                assert int(signal.value) == memory[read_address], "a read gives the content before this cycle's write"
        if write:
            plain[address] = row
        if write and live:
            gated[address] = row
