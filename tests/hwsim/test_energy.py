"""Energy: counted by hand on a small network, and nothing lost between layers, kinds and totals."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.buffers import row_bits
from dtss.compiler.schedule.format import AttentionProduct, Schedule
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.energy import COMPUTE_KINDS, LEAKAGE_KINDS, MEMORY_KINDS, EnergyByKind, access_energies
from dtss.hwsim.images import Samples, load_samples
from dtss.hwsim.simulate import NodeResult, Result, simulate
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
    """
    hidden = node(run_small(small), "hidden")
    counts, energy = hidden.counts, hidden.energy_pj
    ones = sum(int(p).bit_count() for p in (1, 2, 3, 15, 0, 4))
    assert (counts.words_offered[0], counts.words_issued[0], counts.active_bits[0]) == (8, 6, ones)
    assert (counts.accumulates[0], counts.gated_accumulates[0]) == (2 * ones, 2 * (6 * 3 - ones))
    # 3 cycles load; groups of 4 words: 2 and 4 non-zero; 2 to drain, 2 positions walked
    assert counts.cycles[0] == 3 + 2 + 4 + 2 + 2
    sram_8k, sram_32k, sram_128k, image_4k = (TABLE.sram_access.at(k << 10) / 64 for k in (8, 32, 128, 4))
    assert sram_8k == pytest.approx(10 / 64)
    assert energy.accumulate[0] == pytest.approx(2 * ones * 0.075)
    assert energy.lif_update[0] == pytest.approx(4 * 0.3)
    assert energy.zero_check[0] == pytest.approx(4 * 0.001)
    assert energy.weight_memory[0] == pytest.approx(3 * 16 * 8 * sram_128k)
    assert energy.parameter_memory[0] == pytest.approx(16 * 48 * sram_128k)
    assert energy.image_memory[0] == pytest.approx((6 * 16 + 8) * image_4k)  # and 8 flags
    assert energy.spike_memory[0] == pytest.approx(2 * 16 * sram_32k)
    assert energy.accumulator_file[0] == pytest.approx((6 + 2 + 6) * 16 * 24 * 0.0097)
    assert (energy.membrane_memory[0], energy.current_memory[0], energy.dram[0]) == (0, 0, 0)
    assert energy.leakage[0] == pytest.approx(counts.cycles[0] * leakage_by_hand() / 200)


def leakage_by_hand() -> float:
    """µW of 128 + 3 · 32 + 4 KiB, two banks of 16 × 16 weights of 8 bits, 32 × 16 sums of 24 bits."""
    return 228 * 12.0 + (2 * 2048 + 32 * 16 * 24) * 0.0791 + 2048 * 0.1008


def test_dram_carries_images_and_logits(small: LoadedSchedule) -> None:
    """In bursts of 128 bits: 6 pixels of 4 bits; 2 logits of 3 at two steps; weight blocks of 144 and of 80 bits."""
    result = run_small(small)
    assert node(result, "image").energy_pj.dram[0] == pytest.approx(128 * TABLE.dram.pj)
    assert node(result, "head").energy_pj.dram[0] == pytest.approx(256 * TABLE.dram.pj)
    assert result.configuration_energy_pj == pytest.approx((256 + 128) * TABLE.dram.pj)


def test_weights_that_do_not_fit_are_read_for_every_image(small: LoadedSchedule) -> None:
    memory = msgspec.structs.replace(small.schedule.memory, weights_resident=False)
    streaming = LoadedSchedule(msgspec.structs.replace(small.schedule, memory=memory), small.tensors)
    streamed, resident = run_small(streaming), run_small(small)
    more = streamed.energy_pj - streamed.leakage_pj - (resident.energy_pj - resident.leakage_pj)
    rows = (3 + 6) + (2 + 3)  # of the two layers, with their parameters: each is written as it arrives
    written = rows * 16 * 8 * TABLE.sram_access.at(128 << 10) / 64
    assert more == pytest.approx((256 + 128) * TABLE.dram.pj + written)


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
    assert costs.current_row == pytest.approx(row_bits(schedule, "current") * bit)
    assert costs.current_row == pytest.approx(16 * 30 * bit)


def test_a_larger_memory_costs_more_an_access(small: LoadedSchedule) -> None:
    schedule = small.schedule
    memory = msgspec.structs.replace(schedule.hardware.memory, spike_bytes=4 * schedule.hardware.memory.spike_bytes)
    hardware = msgspec.structs.replace(schedule.hardware, memory=memory)
    larger = msgspec.structs.replace(schedule, hardware=hardware)
    costs, more = access_energies(schedule, TABLE), access_energies(larger, TABLE)
    assert more.spike_word > costs.spike_word
    assert more.leakage_cycle > costs.leakage_cycle
    changed = {"spike_word": 0.0, "spike_row": 0.0, "spike_flag": 0.0, "leakage_cycle": 0.0}
    assert msgspec.structs.replace(more, **changed) == msgspec.structs.replace(costs, **changed)


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
    """With one pJ for a bit of every memory, the memory energy is the bits that moved."""
    ones = flat_table()
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), ones)
    for part in result.nodes:
        counts, schedule = part.counts, case.schedule
        array, widths = schedule.hardware.array, schedule.hardware.widths
        words = counts.spike_word_reads + counts.spike_word_writes
        moved = words * array.rows + counts.words_offered + counts.spike_row_writes * array.columns
        currents = counts.current_row_reads + counts.current_row_writes
        moved += currents * array.columns * widths.membrane
        energy = part.energy_pj.spike_memory + part.energy_pj.image_memory + part.energy_pj.current_memory
        assert energy - moved == pytest.approx(stationary_bits(schedule, part), abs=1e-6)
        membranes = counts.membrane_row_reads + counts.membrane_row_writes
        assert part.energy_pj.membrane_memory == pytest.approx(membranes * array.columns * widths.membrane)
        rows = counts.weight_row_reads + part.dram.weight_row_writes
        weights = rows * array.columns * widths.weight
        assert part.energy_pj.weight_memory == pytest.approx(weights)


def stationary_bits(schedule: Schedule, part: NodeResult) -> np.ndarray:
    """What attention's second operand moves: rows of spikes or counts, or rows of stored sums."""
    if not isinstance(part.node, AttentionProduct):
        return np.zeros(len(part.counts.cycles))
    array, source = schedule.hardware.array, schedule.node(part.node.inputs[1])
    width = schedule.hardware.widths.membrane if isinstance(source, AttentionProduct) else source.value.planes
    return part.counts.stationary_row_reads * array.columns * width


def flat_table() -> Technology:
    """64 pJ for 64 bits at every size, so one for a bit."""
    anchors = tuple(msgspec.structs.replace(anchor, pj=64.0) for anchor in TABLE.sram_access.anchors)
    return msgspec.structs.replace(TABLE, sram_access=msgspec.structs.replace(TABLE.sram_access, anchors=anchors))


def test_parameters_are_read_in_the_width_of_what_they_hold(small: LoadedSchedule) -> None:
    """The hidden layer reads threshold and reset, the head a bias."""
    result = run_small(small, flat_table())
    assert node(result, "hidden").energy_pj.parameter_memory[0] == pytest.approx(16 * (24 + 24))
    assert node(result, "head").energy_pj.parameter_memory[0] == pytest.approx(16 * 24)


def test_a_schedule_is_left_as_it_was(small: LoadedSchedule) -> None:
    before: Schedule = small.schedule
    run_small(small)
    assert small.schedule == before
