"""Energy: counted by hand on a small network, and nothing lost between layers, kinds and totals."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.buffers import row_bits
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.energy import (
    COMPUTE_KINDS,
    LEAKAGE_KINDS,
    MEMORY_KINDS,
    AccessEnergies,
    EnergyByKind,
    access_energies,
)
from dtss.hwsim.images import Samples, load_samples
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import Technology, load_technology
from tests.hwsim.random_networks import Case, cases, many

TABLE = load_technology("45nm")


def run_small(small: LoadedSchedule, technology: Technology = TABLE) -> Result:
    return simulate(small, load_samples(small, "small.json", None, None), technology)


def node(result: Result, name: str) -> NodeResult:
    return next(node for node in result.nodes if node.name == name)


def test_a_linear_layer_by_hand(small: LoadedSchedule) -> None:
    """Two positions of three pixels in four planes, on 16 × 16 lanes: one pass, one tile of 3 rows and 2 columns.

    Image 0 holds 1, 2, 3 and 15, 0, 4: planes (101, 011, 000, 000) and (100, 100, 101, 100), so 6 words, 9 − 1 ones.
    The two pixels are gathered as 8 words in 8 cycles, ready 5 + 4 later.
    """
    hidden = node(run_small(small), "hidden")
    counts, energy = hidden.counts, hidden.energy_pj
    ones = sum(int(p).bit_count() for p in (1, 2, 3, 15, 0, 4))
    assert (counts.words_offered[0], counts.words_issued[0], counts.active_bits[0]) == (8, 6, ones)
    assert (counts.accumulates[0], counts.gated_accumulates[0]) == (2 * ones, 2 * (6 * 3 - ones))
    # the tile is there after 1 + 3 cycles, the words after 17; groups of 4 words: 2 and 4 non-zero; 3 to drain, 2
    # positions walked; the pass is fetched in the last of 3 cycles of control
    assert (counts.load_stall_cycles[0], counts.word_stall_cycles[0]) == (3, 17 - 4)
    assert counts.cycles[0] == 3 - 1 + 17 + 2 + 4 + 3 + 2
    sram_8k, sram_32k, sram_128k, image_4k = (TABLE.sram_access.at(k << 10) / 64 for k in (8, 32, 128, 4))
    assert sram_8k == pytest.approx(10 / 64)
    assert energy.accumulate[0] == pytest.approx(2 * ones * 0.075)
    assert energy.lif_update[0] == pytest.approx(4 * 0.3)
    assert energy.zero_check[0] == pytest.approx(8 * 16 * 0.001)  # every bit that enters the strip buffer
    assert energy.weight_memory[0] == pytest.approx(3 * 16 * 8 * sram_128k)
    assert energy.parameter_memory[0] == pytest.approx(16 * 4 * 24 * sram_8k)
    assert energy.image_memory[0] == pytest.approx(2 * 3 * 4 * image_4k)
    assert energy.strip_memory[0] == pytest.approx((8 * (16 + 1) + 6 * 16 + 8) * sram_8k)  # 8 flags in, and out again
    assert energy.spike_memory[0] == pytest.approx(2 * 16 * sram_32k)
    assert energy.accumulator_file[0] == pytest.approx((6 + 2 + 6) * 16 * 24 * 0.0097)
    assert (energy.membrane_memory[0], energy.current_memory[0], energy.dram[0]) == (0, 0, 0)
    assert energy.stationary_memory[0] == 0
    assert energy.leakage[0] == pytest.approx(counts.cycles[0] * leakage_by_hand() / 200)


def leakage_by_hand() -> float:
    """µW of 128 + 3 · 32 + 4 + 8 + 8 + 4 KiB, two banks of 16 × 16 weights of 8 bits, 32 × 16 sums of 24 bits."""
    return 248 * 12.0 + (2 * 2048 + 32 * 16 * 24) * 0.0791 + 2048 * 0.1008


HIDDEN_BITS, HEAD_BITS = 3 * 16 * 8 + 16 * 4 * 24, 2 * 16 * 8 + 16 * 4 * 24
"""A block: a row of 16 weights for each input, and four parameters of 16 channels. Both are whole bursts of 128."""


def test_dram_carries_images_and_logits(small: LoadedSchedule) -> None:
    """In bursts of 128 bits: 6 pixels of 4 bits; 2 logits of 3 at two steps."""
    result = run_small(small)
    assert node(result, "image").energy_pj.dram[0] == pytest.approx(128 * TABLE.dram.pj)
    assert node(result, "head").energy_pj.dram[0] == pytest.approx(256 * TABLE.dram.pj)
    assert result.configuration_energy_pj == pytest.approx((HIDDEN_BITS + HEAD_BITS) * TABLE.dram.pj)


def test_weights_that_do_not_fit_are_read_for_every_image(small: LoadedSchedule) -> None:
    """Each row is written as it arrives."""
    memory = msgspec.structs.replace(small.schedule.memory, weights_resident=False)
    streaming = LoadedSchedule(msgspec.structs.replace(small.schedule, memory=memory), small.tensors)
    streamed, resident = run_small(streaming), run_small(small)
    more = streamed.energy_pj - streamed.leakage_pj - (resident.energy_pj - resident.leakage_pj)
    weights = (3 + 2) * 16 * 8 * TABLE.sram_access.at(128 << 10) / 64
    parameters = (1 + 1) * 16 * 4 * 24 * TABLE.sram_access.at(8 << 10) / 64
    assert more == pytest.approx((HIDDEN_BITS + HEAD_BITS) * TABLE.dram.pj + weights + parameters)


def test_leakage_lasts_as_long_as_the_image(small: LoadedSchedule) -> None:
    """Waiting for DRAM included, and at the machine's clock."""
    result = run_small(small)
    assert result.memory_stall_cycles[0] > 0
    assert result.leakage_pj == pytest.approx(result.latency_us * leakage_by_hand())
    hardware = msgspec.structs.replace(small.schedule.hardware, frequency_mhz=400.0)
    faster = LoadedSchedule(msgspec.structs.replace(small.schedule, hardware=hardware), small.tensors)
    assert run_small(faster).leakage_pj == pytest.approx(result.leakage_pj / 2)


def test_an_fpga_leaks_as_a_whole(small: LoadedSchedule) -> None:
    result = run_small(small, load_technology("28nm-fpga"))
    assert result.leakage_pj == pytest.approx(result.latency_us * 160_000)


def test_currents_are_stored_in_the_width_that_is_proved_for_them(small: LoadedSchedule) -> None:
    """As many bits as their rows have in the memory plan."""
    widths = msgspec.structs.replace(small.schedule.hardware.widths, accumulator=24, membrane=30)
    hardware = msgspec.structs.replace(small.schedule.hardware, widths=widths)
    schedule = msgspec.structs.replace(small.schedule, hardware=hardware)
    costs, bit = access_energies(schedule, TABLE), TABLE.sram_access.at(32 << 10) / 64
    assert costs.access_bits.current_row == row_bits(schedule, "current") == 16 * 30
    assert costs.read_bit["current_memory"] == costs.write_bit["current_memory"] == pytest.approx(bit)


def test_a_larger_memory_costs_more_an_access(small: LoadedSchedule) -> None:
    schedule = small.schedule
    memory = msgspec.structs.replace(schedule.hardware.memory, spike_bytes=4 * schedule.hardware.memory.spike_bytes)
    hardware = msgspec.structs.replace(schedule.hardware, memory=memory)
    larger = msgspec.structs.replace(schedule, hardware=hardware)
    costs, more = access_energies(schedule, TABLE), access_energies(larger, TABLE)
    assert more.read_bit["spike_memory"] > costs.read_bit["spike_memory"]
    assert more.write_bit["spike_memory"] > costs.write_bit["spike_memory"]
    assert more.leakage_cycle > costs.leakage_cycle
    assert but_spike_memory(more) == but_spike_memory(costs)


def but_spike_memory(costs: AccessEnergies) -> AccessEnergies:
    read, write = ({**bits, "spike_memory": 0.0} for bits in (costs.read_bit, costs.write_bit))
    return msgspec.structs.replace(costs, read_bit=read, write_bit=write, leakage_cycle=0.0)


def test_the_small_network_has_the_same_counts_under_every_table(small: LoadedSchedule) -> None:
    for one, other in zip(run_small(small).nodes, run_small(small, load_technology("28nm")).nodes, strict=True):
        for name in one.counts.__struct_fields__:
            np.testing.assert_array_equal(getattr(one.counts, name), getattr(other.counts, name))


def assert_energy_adds_up(result: Result) -> None:
    by_kind = sum(result.kind_pj(kind) for kind in EnergyByKind.__struct_fields__)
    by_node = sum(node.compute_pj + node.memory_pj + node.leakage_pj for node in result.nodes)
    assert result.energy_pj == pytest.approx(by_kind, rel=1e-12)
    assert result.energy_pj == pytest.approx(by_node, rel=1e-12)
    assert sorted((*COMPUTE_KINDS, *MEMORY_KINDS, *LEAKAGE_KINDS)) == sorted(EnergyByKind.__struct_fields__)
    assert result.cycles == pytest.approx(sum(node.counts.cycles + node.dram.stall_cycles for node in result.nodes))


def test_energy_of_digits_adds_up(digits: LoadedSchedule) -> None:
    assert_energy_adds_up(simulate(digits, load_samples(digits, "digits", None, 16), TABLE))


@settings(parent=many, max_examples=40)
@given(cases())
def test_energy_of_random_networks_adds_up_and_no_part_is_negative(case: Case) -> None:
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), TABLE)
    assert_energy_adds_up(result)
    for part in result.nodes:
        for kind in EnergyByKind.__struct_fields__:
            assert (getattr(part.energy_pj, kind) >= 0).all()


@settings(parent=many, max_examples=40)
@given(cases())
def test_every_access_is_charged(case: Case) -> None:
    """With one pJ for a bit of every memory, the memory energy is the bits that moved, by memory, written out here."""
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), flat_table())
    for part in result.nodes:
        for memory, bits in bits_moved(case.schedule, part).items():
            assert getattr(part.energy_pj, memory) == pytest.approx(bits), memory


def bits_moved(schedule: Schedule, part: NodeResult) -> dict[str, np.ndarray]:
    counts, dram, image = part.counts, part.dram, schedule.nodes[0]
    rows, columns = schedule.hardware.array.rows, schedule.hardware.array.columns
    widths = schedule.hardware.widths
    parameters = columns * 4 * max(widths.accumulator, widths.membrane)
    return {
        "spike_memory": (counts.spike_word_reads + counts.spike_word_writes) * rows + counts.spike_row_writes * columns,
        "strip_memory": counts.words_issued * rows + counts.words_offered + counts.strip_word_writes * (rows + 1),
        "image_memory": (counts.image_row_reads + dram.image_row_writes) * image.channels * image.value.planes,
        "current_memory": (counts.current_row_reads + counts.current_row_writes) * columns * widths.membrane,
        "membrane_memory": (counts.membrane_row_reads + counts.membrane_row_writes) * columns * widths.membrane,
        "weight_memory": (counts.weight_row_reads + dram.weight_row_writes) * columns * widths.weight,
        "parameter_memory": (counts.parameter_row_reads + dram.parameter_row_writes) * parameters,
        "stationary_memory": (counts.stationary_row_reads + counts.stationary_row_writes) * columns * widths.weight,
    }


def flat_table() -> Technology:
    """64 pJ for 64 bits at every size, so one for a bit."""
    anchors = tuple(msgspec.structs.replace(anchor, pj=64.0) for anchor in TABLE.sram_access.anchors)
    return msgspec.structs.replace(TABLE, sram_access=msgspec.structs.replace(TABLE.sram_access, anchors=anchors))


def test_a_row_of_parameters_is_read_whole(small: LoadedSchedule) -> None:
    """Bias, threshold, reset and initial state of 16 channels, in the width of the wider: once for each walk."""
    result = run_small(small, flat_table())
    assert node(result, "hidden").energy_pj.parameter_memory[0] == pytest.approx(16 * 4 * 24)
    assert node(result, "head").energy_pj.parameter_memory[0] == pytest.approx(16 * 4 * 24)


def test_a_schedule_is_left_as_it_was(small: LoadedSchedule) -> None:
    before: Schedule = small.schedule
    run_small(small)
    assert small.schedule == before
