"""The DRAM rules against an engine that moves a cycle at a time and looks at every row of the memories it fills."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dtss.compiler.schedule import dram
from dtss.compiler.schedule.buffers import capacity_rows
from dtss.compiler.schedule.dram import DRAM_COUNTS, DramRules, burst_bits, packed_bits, transfers
from dtss.compiler.schedule.format import Convolution, Linear, Schedule
from dtss.compiler.schedule.hardware import Dram
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import Samples
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology
from tests.hwsim.random_networks import Case, cases, many

DRAM = Dram(bits_per_cycle=64, burst_bits=128, latency_cycles=20)


def test_what_crosses_is_whole_bursts() -> None:
    assert [burst_bits(DRAM, bits) for bits in (1, 128, 129)] == [128, 128, 256]


def test_a_row_takes_whole_beats_or_a_share_that_is_a_power_of_two() -> None:
    assert [packed_bits(DRAM, bits) for bits in (1, 2, 3, 31, 32, 33, 64)] == [1, 2, 4, 32, 32, 64, 64]
    assert [packed_bits(DRAM, bits) for bits in (65, 128, 1536, 1537)] == [128, 128, 1536, 1600]
    odd = msgspec.structs.replace(DRAM, bits_per_cycle=24)
    assert [packed_bits(odd, bits) for bits in (1, 3, 4, 6, 7, 13, 25)] == [3, 3, 6, 6, 12, 24, 48]


def test_transfers_of_the_small_network(small: LoadedSchedule) -> None:
    """A row of 16 weights is two beats, one of 16 channels' 4 parameters of 24 bits is 24."""
    hidden, head = transfers(small.schedule)
    assert (hidden.node, hidden.weight_rows, hidden.parameter_rows) == ("hidden", 3, 1)
    assert (hidden.beats, hidden.bits) == (3 * 2 + 24, 3 * 128 + 1536)
    assert (head.beats, head.bits) == (2 * 2 + 24, 2 * 128 + 1536)


def test_rows_that_share_a_beat_are_written_one_a_cycle(small: LoadedSchedule) -> None:
    wide = msgspec.structs.replace(small.schedule.hardware.dram, bits_per_cycle=512)
    hardware = msgspec.structs.replace(small.schedule.hardware, dram=wide)
    hidden, _ = transfers(msgspec.structs.replace(small.schedule, hardware=hardware))
    assert (hidden.beats, hidden.bits) == (3 + 3, 3 * 128 + 1536)


Key = tuple[str, int]  # node and block
Row = tuple[str, int]  # memory and row


class SlowDram:
    """An engine that copies and a machine that runs (node, block, cycles) in order, a cycle at a time.

    It takes the places of the blocks from the memory plan, and asks of every row whether who has it has run.
    """

    def __init__(self, schedule: Schedule, runs: list[tuple[str, int, int]]) -> None:
        self.schedule, self.runs, plan = schedule, deque(runs), schedule.memory
        sizes = {"weight": plan.weight.capacity_rows, "parameter": plan.parameter.capacity_rows}
        self.rows: dict[Key, list[Row]] = {}
        for region in plan.regions:
            if region.memory in sizes and not plan.weights_resident:
                places = [(region.first_row + row) % sizes[region.memory] for row in range(region.rows)]
                self.rows.setdefault((region.node, region.block), []).extend((region.memory, row) for row in places)
        order = [node.name for node in schedule.nodes]
        self.queue = deque(sorted(self.rows, key=lambda key: (order.index(key[0]), key[1])))
        self.owner: dict[Row, Key] = {}
        self.here: set[Key] = set()
        self.done: set[Key] = set()
        self.arriving: set[Key] = set()
        self.ending: set[Key] = set()
        self.waited: Counter[str] = Counter()
        self.engine, self.machine = self.copies(), self.runs_all()

    def ticks(self) -> Counter[str]:
        """Cycles that each node waits. What ends in a cycle is seen from the next one on."""
        machine_lives = True
        while machine_lives:
            next(self.engine, None)
            machine_lives = next(self.machine, None) is not None
            self.here |= self.arriving
            self.done |= self.ending
        return self.waited

    def copies(self) -> Iterator[bool]:
        command, latency = 1, max(1, self.schedule.hardware.dram.latency_cycles)
        while self.queue:
            key = self.queue.popleft()
            while not all(self.owner.get(row) in (None, *self.done) for row in self.rows[key]):
                yield True  # no row is taken from a block that is still to run
            self.owner |= dict.fromkeys(self.rows[key], key)
            for left in reversed(range(command + latency + sum(self.beats_of_rows(key)))):
                if left == 0:
                    self.arriving.add(key)
                yield True

    def beats_of_rows(self, key: Key) -> Iterator[int]:
        """Of weight rows that load together, and of each row of parameters. What is written takes a cycle."""
        hardware, node = self.schedule.hardware, self.schedule.node(key[0])
        columns, together = hardware.array.columns, hardware.array.weight_rows_per_cycle
        weights = sum(memory == "weight" for memory, _ in self.rows[key])
        for _ in range(0, weights, together):
            assert isinstance(node, Convolution | Linear)
            yield max(1, math.ceil(together * columns * node.weight_bits / hardware.dram.bits_per_cycle))
        for _ in self.rows[key][weights:]:
            bits = columns * 4 * max(hardware.widths.accumulator, hardware.widths.membrane)
            yield max(1, math.ceil(bits / hardware.dram.bits_per_cycle))

    def runs_all(self) -> Iterator[bool]:
        image = self.schedule.nodes[0]
        for _ in range(image.positions + 1):
            self.waited[image.name] += 1
            yield True
        for name, block, cycles in self.runs:
            key = (name, block)
            for cycle in range(cycles):
                while cycle == 1 and key in self.rows and key not in self.here:
                    self.waited[name] += 1
                    yield True
                if cycle == cycles - 1:
                    self.ending.add(key)
                yield True


def compare_with_the_slow_engine(case: Case, seed: int) -> None:
    random = np.random.default_rng(seed)
    schedule = case.schedule
    crossing = {(move.node, move.block) for move in transfers(schedule)}

    def run_cycles(name: str) -> np.ndarray:
        """A block that crosses runs two cycles at least: the controller fetches it, and it does something."""
        blocks = number_of_blocks(schedule, name)
        cycles: np.ndarray = random.integers(0, random.choice([2, 200]), (1, blocks))
        cycles += 2 * np.array([(name, block) in crossing for block in range(blocks)])
        return cycles

    cycles = {node.name: run_cycles(node.name) for node in schedule.nodes}
    cycles[schedule.nodes[0].name] = np.zeros((1, 1), np.int64)
    runs = [(name, block, int(count)) for name, counts in cycles.items() for block, count in enumerate(counts[0])]
    expected = SlowDram(schedule, runs).ticks()
    when = DramRules.of(schedule).timeline(cycles)
    assert {name: int(count[0]) for name, count in when.waited.items() if count[0]} == expected
    ends = [int(end[0]) for _, end in when.runs.values()]
    assert ends == sorted(ends)
    assert ends[-1] == sum(expected.values()) + sum(int(count.sum()) for count in cycles.values())
    for key, (begin, end) in when.transfers.items():
        assert begin[0] < end[0] <= when.runs[key][0][0] + 1  # there, when the run has been fetched


@settings(parent=many, max_examples=100)
@given(cases(streams=True), st.integers(0, 2**32 - 1))
def test_stalls_are_those_of_an_engine_that_copies_a_cycle_at_a_time(case: Case, seed: int) -> None:
    compare_with_the_slow_engine(case, seed)


@pytest.mark.parametrize("rule", ["COMMAND_CYCLES", "IMAGE_CYCLES", "overwritten of a larger memory", "one ring"])
def test_the_slow_engine_goes_red_when_a_rule_is_wrong(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = capacity_rows
    if rule.isupper():
        monkeypatch.setattr(dram, rule, 0)
    elif rule == "one ring":
        endless = {"weight": 0, "parameter": 1 << 30}
        monkeypatch.setattr(dram, "capacity_rows", lambda schedule, name: right(schedule, name) + endless[name])
    else:
        monkeypatch.setattr(dram, "capacity_rows", lambda schedule, name: 2 * right(schedule, name))

    @settings(parent=many, max_examples=100, database=None, phases=[Phase.generate])
    @given(cases(streams=True), st.integers(0, 2**32 - 1))
    def check(case: Case, seed: int) -> None:
        compare_with_the_slow_engine(case, seed)

    with pytest.raises(AssertionError):
        check()


def number_of_blocks(schedule: Schedule, name: str) -> int:
    node = schedule.node(name)
    if not isinstance(node, Convolution | Linear) or node.tiling is None:
        return 1
    return math.ceil(node.tiling.output_tiles / node.tiling.output_tiles_per_block)


def test_each_weight_crosses_once_an_image_however_many_strips(digits: LoadedSchedule) -> None:
    """Rows of 16 weights, two beats of 64 bits, as many as a tile's inputs; and a row of parameters of 24 beats a tile.

    All of the digits' products have 16 outputs a tile; LIFs behind an add read parameters of their own.
    """
    schedule = digits.schedule
    memory = msgspec.structs.replace(schedule.memory, weights_resident=False)
    streamed = msgspec.structs.replace(schedule, memory=memory)
    content: Counter[str] = Counter()
    for transfer in transfers(streamed):
        content[transfer.node] += transfer.bits
    weights = 0
    for node in schedule.nodes:
        if isinstance(node, Convolution | Linear):
            tiles = math.ceil(node.channels / 16)
            inputs = digits.tensors[node.weight].size // node.channels
            assert content.pop(node.name) == tiles * (inputs * 16 * 8 + 16 * 4 * 24)
            weights += digits.tensors[node.weight].size
    assert all(bits % (16 * 4 * 24) == 0 for bits in content.values())
    read = DramRules.of(streamed).constant[:, DRAM_COUNTS.index("dram_read_bits")].sum()
    assert read >= 8 * weights + sum(content.values())


def test_a_slow_dram_stalls_and_changes_nothing_else(digits: LoadedSchedule) -> None:
    def run(bits_per_cycle: int) -> Result:
        dram = msgspec.structs.replace(digits.schedule.hardware.dram, bits_per_cycle=bits_per_cycle)
        hardware = msgspec.structs.replace(digits.schedule.hardware, dram=dram)
        memory = msgspec.structs.replace(digits.schedule.memory, weights_resident=False)
        schedule = msgspec.structs.replace(digits.schedule, hardware=hardware, memory=memory)
        pixels = digits.tensors["samples.images"][:2]
        return simulate(LoadedSchedule(schedule, digits.tensors), Samples(pixels=pixels), load_technology("45nm"))

    slow, fast = run(1), run(512)  # rows of 128 and of 1536 bits take no more room in beats of either
    assert (slow.memory_stall_cycles > fast.memory_stall_cycles).all()
    assert (slow.cycles - slow.memory_stall_cycles == fast.cycles - fast.memory_stall_cycles).all()
    assert (slow.sum_of_dram("dram_read_bits") == fast.sum_of_dram("dram_read_bits")).all()
    assert (slow.compute_pj + slow.memory_pj == fast.compute_pj + fast.memory_pj).all()
    np.testing.assert_array_equal(slow.logits, fast.logits)


def test_counts_of_the_small_network(small: LoadedSchedule) -> None:
    """24 bits of image: one burst, two pixels. Resident weights do not cross. Two steps of logits, a burst each."""
    runs = {node.name: np.ones((3, 1), np.int64) for node in small.schedule.nodes}
    rules = DramRules.of(small.schedule)
    counts = rules.counts(rules.timeline(runs).waited)
    found = {
        (name, field): getattr(count, field).tolist()
        for name, count in counts.items()
        for field in count.__struct_fields__
        if getattr(count, field).any()
    }
    assert found == {
        ("image", "stall_cycles"): [2 + 1] * 3,
        ("image", "dram_read_bits"): [128] * 3,
        ("image", "image_row_writes"): [2] * 3,
        ("head", "dram_write_bits"): [256] * 3,
    }
