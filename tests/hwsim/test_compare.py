"""The comparison: the ANN counted by hand, the extension to all steps, and that break-evens break even."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Lif, Product, Steps
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.ann import Form, ann_costs, ann_schedule, multiply_accumulate_pj
from dtss.hwsim.compare import (
    Comparison,
    break_even_steps,
    compare,
    compute_break_even,
    mean_of_products,
)
from dtss.hwsim.images import Samples, load_samples
from dtss.hwsim.plain import plain_nodes, plain_schedule
from dtss.hwsim.report import verdicts
from dtss.hwsim.reshape import _tilings, cut_again, dense_counts, multiplications, with_node
from dtss.hwsim.result import NodeResult, Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import Technology, load_technology
from tests.hwsim.random_networks import Case, cases, many
from tests.hwsim.small import small_network

TABLE = load_technology("45nm")
INT8 = Form(value_bits=8, weight_bits=8)


def run(loaded: LoadedSchedule, technology: Technology = TABLE, images: int | None = None) -> Result:
    return simulate(loaded, load_samples(loaded, "schedule", None, images), technology)


@pytest.fixture(scope="module")
def digits_result(digits: LoadedSchedule) -> Result:
    return run(digits, images=6)


@pytest.fixture(scope="module")
def digits_comparison(digits: LoadedSchedule, digits_result: Result) -> Comparison:
    return compare(digits_result, digits.tensors)


def test_a_layer_of_the_int8_ann_by_hand(small: LoadedSchedule) -> None:
    """Two positions of three pixels to two channels: one pass of two words, 12 MACs of 4-bit pixels.

    The words are gathered and read once each, the row of 16 biases is read once.
    """
    costs = ann_costs(small.schedule, TABLE, INT8)
    hidden, lif = costs["hidden"], costs["lif"].energy_pj
    energy = hidden.energy_pj
    sram_8k, sram_32k, sram_128k, image_4k = (TABLE.sram_access.at(k << 10) / 64 for k in (8, 32, 128, 4))
    assert TABLE.multiply is not None
    assert energy.accumulate == pytest.approx(12 * (TABLE.multiply.at(4, 8) + 0.075))
    assert energy.weight_memory == pytest.approx(3 * 16 * 8 * sram_128k)
    assert energy.parameter_memory == pytest.approx(16 * 24 * sram_8k)
    assert energy.image_memory == pytest.approx(2 * 3 * 4 * image_4k)  # two pixels of three channels
    assert energy.strip_memory == pytest.approx((2 + 2) * 16 * 4 * sram_8k)
    assert energy.spike_memory == pytest.approx(2 * 16 * 8 * sram_32k)  # a row of 16 bytes for each position
    assert energy.accumulator_file == pytest.approx((2 + 2 + 2) * 16 * 24 * 0.0097)
    assert lif.lif_update == pytest.approx(4 * 2 * 0.075)  # four neurons, bias and comparison
    assert (energy.zero_check, energy.gated_accumulate, energy.membrane_memory, energy.stationary_memory) == (0,) * 4
    # 2 positions gathered in 2 cycles are ready after 5 + 1 more: 8, the tile after 1 + 3; 2 words, drain, 2 positions
    # walked: 15. The cycle in which the pass is fetched is the first of the 3 of control.
    assert hidden.cycles == 3 + (8 + 2 + 3 + 2) - 1


def test_the_head_of_the_ann_by_hand(small: LoadedSchedule) -> None:
    """One word of two bytes, two logits stored as currents, one burst to DRAM; the token sum reads two words."""
    costs = ann_costs(small.schedule, TABLE, INT8)
    head, tokens = costs["head"].energy_pj, costs["sum"].energy_pj
    sram_8k, sram_32k = (TABLE.sram_access.at(k << 10) / 64 for k in (8, 32))
    assert head.accumulate == pytest.approx(4 * (0.2 + 0.075))
    assert head.spike_memory == pytest.approx(16 * 8 * sram_32k)
    assert head.strip_memory == pytest.approx((1 + 1) * 16 * 8 * sram_8k)
    assert head.current_memory == pytest.approx(16 * 24 * sram_32k)
    assert head.dram == pytest.approx(128 * TABLE.dram.pj)
    assert tokens.spike_memory == pytest.approx((2 + 1) * 16 * 8 * sram_32k)
    # the word is gathered in one cycle and ready after 5 more: 6, the tile after 1 + 2; a word, drain, a position: 11;
    # and 2 to end the program
    assert costs["head"].cycles == 3 + (6 + 1 + 3 + 1) - 1 + 2
    assert costs["sum"].cycles == 2 + 2 + 2 + 1  # control, two words, the last one's way and sum, and its write


def test_an_ann_fetches_its_biases_and_no_other_parameters(small: LoadedSchedule) -> None:
    """Where weights cross: of the hidden layer 3 rows of 16 bytes, of the head 2, and 16 biases of 24 bits of each."""
    memory = msgspec.structs.replace(small.schedule.memory, weights_resident=False)
    streamed = msgspec.structs.replace(small.schedule, memory=memory)
    machine = msgspec.structs.replace(
        streamed.hardware, memory=msgspec.structs.replace(streamed.hardware.memory, weight_bytes=64)
    )
    costs = ann_costs(msgspec.structs.replace(streamed, hardware=machine), TABLE, INT8)
    burst = 128 * TABLE.dram.pj
    assert costs["hidden"].energy_pj.dram == pytest.approx((3 * 16 * 8 + 16 * 24) / 128 * burst)
    assert costs["head"].energy_pj.dram == pytest.approx(((2 * 16 * 8 + 16 * 24) / 128 + 1) * burst)  # and the logits
    assert costs["lif"].energy_pj.dram == 0


def test_zeros_are_gated_but_move(small: LoadedSchedule) -> None:
    """Half of the values 0: half of the MACs of all layers but the first, and each value written is checked once."""
    dense = ann_costs(small.schedule, TABLE, INT8)
    half = ann_costs(small.schedule, TABLE, msgspec.structs.replace(INT8, zero_share=0.5))
    assert half["head"].energy_pj.accumulate == pytest.approx(dense["head"].energy_pj.accumulate / 2)
    assert half["hidden"].energy_pj.accumulate == dense["hidden"].energy_pj.accumulate
    assert half["head"].energy_pj.spike_memory == dense["head"].energy_pj.spike_memory
    checks = {name: cost.energy_pj.zero_check for name, cost in half.items() if cost.energy_pj.zero_check}
    assert checks == {"lif": pytest.approx(4 * 8 * 0.001), "sum": pytest.approx(2 * 8 * 0.001)}


def test_a_floating_point_ann_has_the_papers_mac() -> None:
    floating = Form(value_bits=32, weight_bits=32, floating=True)
    machine, _ = small_network()
    assert multiply_accumulate_pj(machine, TABLE, floating, 32) == pytest.approx(4.6)
    assert multiply_accumulate_pj(machine, load_technology("28nm"), floating, 32) == pytest.approx(13.32)


def test_weights_that_fit_for_spikes_need_not_fit_for_floats(digits: LoadedSchedule) -> None:
    assert digits.schedule.memory.weights_resident
    assert ann_schedule(digits.schedule, INT8).memory.weights_resident
    wide = ann_schedule(digits.schedule, Form(value_bits=32, weight_bits=32, floating=True))
    assert not wide.memory.weights_resident
    blocks = [node.tiling.output_tiles_per_block for node in wide.products if node.tiling is not None]
    assert min(blocks) >= 1


def test_an_ann_strip_has_one_slot_a_position(digits: LoadedSchedule) -> None:
    ann = ann_schedule(digits.schedule, INT8)
    slots = ann.hardware.array.strip_slots
    for node in ann.products:
        assert node.tiling is not None
        assert node.tiling.positions_per_strip <= slots
        assert node.tiling.strips == -(-node.positions // slots) or node.positions < slots or node.shape[1] < slots


def test_strips_are_cut_where_they_take_the_fewest_cycles(digits: LoadedSchedule) -> None:
    """A short last strip waits for its weights; strips of equal length may wait in all."""
    schedule = digits.schedule
    found = set()
    for slots in (1, 2, 3, 5, 7):
        for node in schedule.products:
            again = cut_again(schedule, node, "inner", slots)
            cycles = {}
            for one in _tilings(schedule, node, "inner", slots):
                tiled = msgspec.structs.replace(node, tiling=one)
                cycles[one.positions_per_strip] = int(dense_counts(with_node(schedule, tiled), tiled).counts.cycles[0])
            assert again.tiling is not None
            assert cycles[again.tiling.positions_per_strip] == min(cycles.values())
            found.add(len(set(cycles.values())))
    assert 2 in found  # some choice matters


@settings(parent=many, max_examples=40)
@given(cases())
def test_every_network_has_its_ann(case: Case) -> None:
    """MACs are those of the shapes; wider values never take less energy of any kind, but at the DRAM in bursts."""
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), TABLE)
    comparison = compare(result, case.tensors)
    for variant in comparison.variants:
        assert len(variant.layers) == len(comparison.layers)
        assert all(value >= 0 for value in msgspec.structs.astuple(variant.total.energy_pj))
        assert variant.total.total_pj == pytest.approx(sum(layer.total_pj for layer in variant.layers), rel=1e-12)
        assert variant.total.cycles == pytest.approx(sum(layer.cycles for layer in variant.layers), rel=1e-12)
    dense, half = (comparison.variant(key) for key in ("int8", "int8_zeros"))
    assert dense.total.cycles == half.total.cycles
    macs = sum(multiplications(case.schedule, node) for node in case.schedule.products)
    assert sum(layer.multiplications for layer in comparison.layers) == macs
    assert verdicts.conclusion(comparison)
    for index in range(len(comparison.layers)):
        assert verdicts.layer_verdict(comparison, index)


def test_this_network_is_the_run(digits_result: Result, digits_comparison: Comparison) -> None:
    this = digits_comparison.variant("this")
    assert this.total.total_pj == pytest.approx(digits_result.energy_pj.mean(), rel=1e-12)
    assert this.total.cycles == pytest.approx(digits_result.cycles.mean(), rel=1e-12)
    assert this.edp_pj_us == pytest.approx((digits_result.energy_pj * digits_result.latency_us).mean(), rel=1e-12)


def test_energy_delay_is_a_mean_of_products() -> None:
    """An image of 1 pJ in 1 µs and one of 3 pJ in 3 µs: 5, not 4."""
    assert mean_of_products(np.array([1.0, 3.0]), np.array([1.0, 3.0])) == 5.0


def test_break_even_of_the_compute_alone() -> None:
    """Horowitz's fp32: a MAC is 4.6, an AC 0.9; a check of 0.05 for every product costs 0.05 / 0.9 of a spike."""
    assert compute_break_even(4.6, 0.0, 0.0, 0.05, 0.9) == pytest.approx(5.1111, rel=1e-4)
    assert compute_break_even(4.6, 0.5, 1.0, 0.05, 0.9) == pytest.approx((2.3 - 0.05) / 0.9)
    assert compute_break_even(4.6, 1.0, 1.0, 0.05, 0.9) is None  # every value is 0: nothing left to beat
    assert compute_break_even(4.6, 0.0, 0.0, 0.05, 0.0) is None


def test_break_even_steps() -> None:
    """10 pJ at one step, 40 at four: 10 a step; 25 pJ buy two and a half."""
    assert break_even_steps(25.0, 10.0, 40.0, 4) == pytest.approx(2.5)
    assert break_even_steps(10.0, 10.0, 40.0, 4) == pytest.approx(1.0)
    assert break_even_steps(9.9, 10.0, 40.0, 4) is None
    assert break_even_steps(25.0, 10.0, 10.0, 4) is None


def scaled(result: Result, share: float) -> Result:
    """The same run with `share` of the accumulates of every layer that spikes stream through."""
    slope = TABLE.accumulate.at(result.schedule.hardware.widths.accumulator) - TABLE.gated_accumulate.pj

    def node(part: NodeResult) -> NodeResult:
        if not isinstance(part.node, Product) or part.name == "stem.0.conv":
            return part
        energy = msgspec.structs.replace(
            part.energy_pj, accumulate=part.energy_pj.accumulate + part.counts.accumulates * (share - 1) * slope
        )
        return msgspec.structs.replace(part, energy_pj=energy)

    return msgspec.structs.replace(result, nodes=tuple(node(part) for part in result.nodes))


def test_at_the_break_even_rate_both_take_the_same(digits: LoadedSchedule, digits_result: Result) -> None:
    """Where nothing leaks: the digits' longer run leaks more than the ANN takes, and then no rate breaks even."""
    leaking = compare(digits_result, digits.tensors)
    assert next(ann for ann in leaking.anns if ann.key == "int8").break_even.rate is None
    none = {name: msgspec.structs.replace(entry, uw=0.0) for name, entry in TABLE.entries.items() if "leakage" in name}
    tight = simulate(digits, digits_result.samples, msgspec.structs.replace(TABLE, **none))
    before = compare(tight, digits.tensors)
    int8 = next(ann for ann in before.anns if ann.key == "int8")
    assert int8.break_even.rate is not None
    assert before.spikes_per_synapse is not None
    again = scaled(tight, int8.break_even.rate / before.spikes_per_synapse)
    assert again.energy_pj.mean() == pytest.approx(before.variant("int8").total.total_pj, rel=1e-9)


def test_at_a_layers_break_even_rate_both_take_the_same(digits_result: Result, digits_comparison: Comparison) -> None:
    slope = TABLE.accumulate.at(digits_result.schedule.hardware.widths.accumulator)
    ann, this = digits_comparison.variant("int8"), digits_comparison.variant("this")
    checked = 0
    for layer, cost in zip(digits_comparison.layers, this.layers, strict=True):
        measured = layer.fixed_pj + (layer.spikes_per_synapse or 0.0) * layer.multiplications * slope
        assert measured == pytest.approx(cost.total_pj, rel=1e-9), layer.name
    for layer, cost in zip(digits_comparison.layers, ann.layers, strict=True):
        if layer.break_even.rate is not None:
            at_the_rate = layer.fixed_pj + layer.break_even.rate * layer.multiplications * slope
            assert at_the_rate == pytest.approx(cost.total_pj, rel=1e-9)
            assert layer.spikes_per_synapse is not None
            assert layer.wins == (layer.spikes_per_synapse < layer.break_even.rate)
            checked += 1
        elif layer.spikes_per_synapse is not None:
            assert layer.fixed_pj > cost.total_pj
            assert not layer.wins
    assert checked > 5


def test_no_rate_breaks_even_where_memory_alone_is_larger(digits: LoadedSchedule) -> None:
    """With multiplications and additions for nothing, moving words, weights and rows decides."""
    zero = msgspec.structs.replace(
        TABLE.accumulate, anchors=(msgspec.structs.replace(TABLE.accumulate.anchors[0], pj=1e-9),)
    )
    assert TABLE.multiply is not None
    tiny = msgspec.structs.replace(
        TABLE.multiply, anchors=(msgspec.structs.replace(TABLE.multiply.anchors[0], pj=1e-9),)
    )
    comparison = compare(run(digits, msgspec.structs.replace(TABLE, accumulate=zero, multiply=tiny), 3), digits.tensors)
    few = next(ann for ann in comparison.anns if ann.key == "few_bits")
    assert few.break_even.rate is None
    assert not few.wins
    assert "no spike rate breaks even" in dict(verdicts.total_verdicts(comparison))["3-bit ANN"]


def test_skipping_less_breaks_even_earlier(digits_comparison: Comparison) -> None:
    for even in (layer.break_even for layer in digits_comparison.layers):
        if even.rate is not None and even.rate_no_skipping is not None:
            assert even.rate_no_skipping <= even.rate


def test_more_zeros_are_harder_to_beat(digits_comparison: Comparison) -> None:
    rates = {ann.key: ann.compute_rate or 0.0 for ann in digits_comparison.anns}
    assert rates["int8_zeros"] < rates["int8"] < rates["fp32"]


def test_a_table_without_multiplications_is_told(small: LoadedSchedule) -> None:
    result = run(small, msgspec.structs.replace(TABLE, float_multiply=None))
    with pytest.raises(
        BadInputError, match="45nm: float_multiply: is missing; add a table \\[float_multiply\\] with pj"
    ):
        compare(result, small.tensors)


def test_without_masks_and_pruning_the_extension_is_the_run(digits: LoadedSchedule, digits_result: Result) -> None:
    """At the steps that a layer ran, it is what it was: where every step ran, nothing is assumed."""
    nodes = plain_nodes(digits_result, digits.schedule.time_steps)
    compared = 0
    for part in digits_result.nodes:
        node = part.node
        if not isinstance(node, Product) or len(node.steps.active) < digits.schedule.time_steps:
            continue
        neuron = None if node.neuron is None else digits.schedule.node(node.neuron)
        if isinstance(neuron, Lif) and len(neuron.steps.active) < digits.schedule.time_steps:
            continue
        extended = nodes[part.name].counts
        for name in ("words_issued", "accumulates", "passes", "weight_row_reads", "accumulator_reads", "walk_cycles"):
            np.testing.assert_array_equal(getattr(extended, name), getattr(part.counts, name), err_msg=name)
        np.testing.assert_array_equal(extended.cycles, part.counts.cycles)
        compared += 1
    assert compared >= 2


def test_half_of_the_steps_run_twice_the_accumulates(small: LoadedSchedule) -> None:
    """The token sum and the head ran one of two steps; the image's layer runs once, whatever T."""
    result = run(small)
    nodes = plain_nodes(result, 2)
    by_name = {part.name: part for part in result.nodes}
    for name, times in (("head", 2), ("hidden", 1)):
        np.testing.assert_array_equal(nodes[name].counts.accumulates, times * by_name[name].counts.accumulates)
    # two operands a step; then two planes of the last result and two cycles, and two of control, whatever the steps
    assert (by_name["sum"].counts.cycles[0], nodes["sum"].counts.cycles[0]) == (2 + 4 + 2, 4 + 4 + 2)
    plain = plain_schedule(small.schedule, 2)
    assert plain.node("hidden").steps == Steps(active=(0,), reused=(1,), why=("", ""))
    assert nodes["hidden"].counts.lif_updates[0] == 8  # four neurons at two steps


def test_with_time_outermost_every_membrane_moves_at_every_step(digits_outer: LoadedSchedule) -> None:
    result = run(digits_outer, images=2)
    nodes = plain_nodes(result, 3)
    plain = plain_schedule(digits_outer.schedule, 3)
    moved = 0
    for node in plain.products:
        neuron = None if node.neuron is None else plain.node(node.neuron)
        if isinstance(neuron, Lif) and neuron.time_order == "outer":
            counts = nodes[node.name].counts
            assert counts.membrane_row_reads[0] == counts.membrane_row_writes[0] == counts.spike_row_writes[0]
            moved += int(counts.membrane_row_reads[0])
    assert moved > 0


def test_a_run_of_its_own_takes_the_place_of_the_extension(digits: LoadedSchedule, digits_result: Result) -> None:
    comparison = compare(digits_result, digits.tensors, plain=digits_result)
    assert comparison.plain_is_exact
    assert comparison.variant("plain").total == comparison.variant("this").total
    assert "is a run of its own schedule" in verdicts.assumptions(digits_result, comparison)[0]


@settings(parent=many, max_examples=30)
@given(cases(streams=False))
def test_more_steps_never_take_less(case: Case) -> None:
    result = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), TABLE)
    energies = [
        sum(sum(float(kind.mean()) for kind in msgspec.structs.astuple(node.energy_pj)) for node in nodes.values())
        for nodes in (plain_nodes(result, steps) for steps in (1, 2, 5))
    ]
    assert energies == sorted(energies)
