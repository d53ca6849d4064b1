"""The DRAM rules against an engine that moves a cycle at a time and looks at every row of the weight memory."""

from __future__ import annotations

import math
from collections import Counter, deque

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dtss.compiler.schedule.dram import DramRules, burst_bits, transfer_cycles, transfers
from dtss.compiler.schedule.format import Convolution, Linear, Schedule
from dtss.compiler.schedule.hardware import Dram
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples
from dtss.hwsim.simulate import Result, simulate
from dtss.hwsim.technology import load_technology
from tests.hwsim.random_networks import Case, cases, many

DRAM = Dram(bits_per_cycle=64, burst_bits=128, latency_cycles=20)


def test_a_transfer_is_whole_bursts_after_the_latency() -> None:
    assert (burst_bits(DRAM, 1), burst_bits(DRAM, 128), burst_bits(DRAM, 129)) == (128, 128, 256)
    assert (transfer_cycles(DRAM, 1), transfer_cycles(DRAM, 129)) == (22, 24)


class SlowDram:
    """An engine that copies and a machine that runs (node, block, cycles) in order, a cycle at a time."""

    def __init__(self, schedule: Schedule, tensors: dict[str, np.ndarray], runs: list[tuple[str, int, int]]) -> None:
        self.dram, self.size = schedule.hardware.dram, schedule.memory.weight.capacity_rows
        self.region = {(r.node, r.block): r for r in schedule.memory.regions if r.memory == "weight"}
        self.queue, self.runs = deque(transfers(schedule, tensors)), deque(runs)
        self.crosses = {(transfer.node, transfer.block) for transfer in self.queue}
        self.owner: dict[int, tuple[str, int]] = {}
        self.here: set[tuple[str, int]] = set()
        self.done: set[tuple[str, int]] = set()
        self.copying: tuple[tuple[str, int], int] | None = None  # what, and when it ends
        self.running: int | None = None  # when the first of `runs` ends

    def waited(self) -> Counter[str]:
        waited: Counter[str] = Counter()
        now = 0
        while self.runs:
            while self.something_happens(now):
                pass
            if self.runs and self.running is None:
                waited[self.runs[0][0]] += 1
            now += 1
        return waited

    def something_happens(self, now: int) -> bool:
        if self.copying is not None and self.copying[1] == now:
            self.here.add(self.copying[0])
            self.copying = None
        elif self.running == now:
            self.done.add(self.runs.popleft()[:2])
            self.running = None
        elif self.copying is None and self.queue and self.has_room():
            transfer = self.queue.popleft()
            key = (transfer.node, transfer.block)
            self.owner |= dict.fromkeys(self.rows(key), key)
            bits = math.ceil(transfer.bits / self.dram.burst_bits) * self.dram.burst_bits
            self.copying = key, now + self.dram.latency_cycles + math.ceil(bits / self.dram.bits_per_cycle)
        elif self.running is None and self.runs and self.may_run(self.runs[0][:2]):
            self.running = now + self.runs[0][2]
        else:
            return False
        return True

    def has_room(self) -> bool:
        """No row is taken from a block that is still to run."""
        rows = self.rows((self.queue[0].node, self.queue[0].block))
        return all(self.owner.get(row) in (None, *self.done) for row in rows)

    def rows(self, key: tuple[str, int]) -> list[int]:
        region = self.region.get(key)
        return [] if region is None else [(region.first_row + i) % self.size for i in range(region.rows)]

    def may_run(self, key: tuple[str, int]) -> bool:
        return key not in self.crosses or key in self.here


@settings(parent=many, max_examples=60)
@given(cases(streams=True), st.integers(0, 2**32 - 1))
def test_stalls_are_those_of_an_engine_that_copies_a_cycle_at_a_time(case: Case, seed: int) -> None:
    random = np.random.default_rng(seed)
    schedule = case.schedule
    cycles = {
        node.name: np.zeros((1, 1), np.int64)
        if node is schedule.nodes[0]
        else random.integers(0, random.choice([2, 200]), (1, number_of_blocks(schedule, node.name)))
        for node in schedule.nodes
    }
    runs = [(name, block, int(count)) for name, counts in cycles.items() for block, count in enumerate(counts[0])]
    expected = SlowDram(schedule, case.tensors, runs).waited()
    when = DramRules.of(schedule, case.tensors).timeline(cycles)
    assert {name: int(count[0]) for name, count in when.waited.items() if count[0]} == expected
    ends = [int(end[0]) for _, end in when.runs.values()]
    assert ends == sorted(ends)
    assert ends[-1] == sum(expected.values()) + sum(int(count.sum()) for count in cycles.values())
    for key, (begin, end) in when.transfers.items():
        assert begin[0] < end[0] <= when.runs[key][0][0]


def number_of_blocks(schedule: Schedule, name: str) -> int:
    node = schedule.node(name)
    if not isinstance(node, Convolution | Linear) or node.tiling is None:
        return 1
    return math.ceil(node.tiling.output_tiles / node.tiling.output_tiles_per_block)


def test_each_weight_crosses_once_an_image_however_many_strips(digits: LoadedSchedule) -> None:
    """The same weights, resident and not: the bits of an image, but for bursts, are those of the configuration."""
    schedule = digits.schedule
    plain = msgspec.structs.replace(schedule.hardware.dram, burst_bits=1)
    hardware = msgspec.structs.replace(schedule.hardware, dram=plain)
    memory = msgspec.structs.replace(schedule.memory, weights_resident=False)
    streamed = msgspec.structs.replace(schedule, hardware=hardware, memory=memory)
    content = {transfer.node: transfer.bits for transfer in transfers(streamed, digits.tensors)}
    for node in schedule.nodes:
        if isinstance(node, Convolution | Linear):
            neuron = 0 if node.neuron is None else 2 * schedule.hardware.widths.membrane
            bias = 0 if node.bias is None else schedule.hardware.widths.accumulator
            weights = digits.tensors[node.weight].size * node.weight_bits
            assert content[node.name] == weights + node.channels * (bias + neuron)


def test_a_slow_dram_stalls_and_changes_nothing_else(digits: LoadedSchedule) -> None:
    def run(bits_per_cycle: int) -> Result:
        dram = msgspec.structs.replace(digits.schedule.hardware.dram, bits_per_cycle=bits_per_cycle)
        hardware = msgspec.structs.replace(digits.schedule.hardware, dram=dram)
        memory = msgspec.structs.replace(digits.schedule.memory, weights_resident=False)
        schedule = msgspec.structs.replace(digits.schedule, hardware=hardware, memory=memory)
        pixels = digits.tensors["samples.images"][:2]
        return simulate(LoadedSchedule(schedule, digits.tensors), Samples(pixels=pixels), load_technology("45nm"))

    slow, fast = run(1), run(1 << 20)
    assert (slow.memory_stall_cycles > fast.memory_stall_cycles).all()
    assert (slow.cycles - slow.memory_stall_cycles == fast.cycles - fast.memory_stall_cycles).all()
    assert (slow.sum_of_dram("dram_read_bits") == fast.sum_of_dram("dram_read_bits")).all()
    assert (slow.compute_pj + slow.memory_pj == fast.compute_pj + fast.memory_pj).all()
    np.testing.assert_array_equal(slow.logits, fast.logits)


def test_counts_of_the_small_network(small: LoadedSchedule) -> None:
    """24 bits of image: one burst. Resident weights do not cross. Two steps of logits, a burst each."""
    runs = {node.name: np.ones((3, 1), np.int64) for node in small.schedule.nodes}
    rules = DramRules.of(small.schedule, small.tensors)
    counts = rules.counts(rules.timeline(runs).waited)
    assert {name: count.stall_cycles.tolist() for name, count in counts.items() if count.stall_cycles.any()} == {
        "image": [22, 22, 22]
    }
    assert {name: int(count.dram_read_bits[0]) for name, count in counts.items() if count.dram_read_bits.any()} == {
        "image": 128
    }
    assert {name: int(count.dram_write_bits[0]) for name, count in counts.items() if count.dram_write_bits.any()} == {
        "head": 256
    }
    assert not any(count.weight_row_writes.any() for count in counts.values())
