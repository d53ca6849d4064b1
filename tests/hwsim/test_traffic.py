"""Bits at each memory's port: they are what the energy is charged for, and what the roofline stands on."""

import numpy as np
import pytest
from hypothesis import given, settings

from dtss.compiler.schedule.format import Convolution, Linear
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.energy import EnergyByKind
from dtss.hwsim.images import Samples
from dtss.hwsim.report.roofline import BOTTOM, LEFT, RIGHT, TOP, roofline
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology
from dtss.hwsim.traffic import memory_rows, node_traffic
from tests.hwsim.random_networks import Case, cases, many
from tests.hwsim.test_energy import flat_table

TABLE = load_technology("45nm")


@pytest.fixture(scope="module")
def result(digits: LoadedSchedule) -> Result:
    return simulate(digits, Samples(pixels=digits.tensors["samples.images"][:3]), TABLE)


@settings(parent=many, max_examples=40)
@given(cases())
def test_every_bit_is_charged_once(case: Case) -> None:
    """With one pJ for a bit of every memory, energy is bits."""
    found = simulate(LoadedSchedule(case.schedule, case.tensors), Samples(pixels=case.pixels), flat_table())
    for node in found.nodes:
        for memory, moved in node_traffic(case.schedule, node.counts, node.dram).items():
            assert memory in EnergyByKind.__struct_fields__
            cost = {"accumulator_file": TABLE.accumulator_read.pj, "dram": TABLE.dram.pj}.get(memory, 1.0)
            assert getattr(node.energy_pj, memory) == pytest.approx(moved.bits * cost, abs=1e-6)


def test_rows_add_up_and_the_busiest_is_first(result: Result) -> None:
    rows = memory_rows(result)
    moved = [row.read_bits + row.written_bits for row in rows]
    assert moved == sorted(moved, reverse=True)
    assert sum(row.energy_pj for row in rows) == pytest.approx(float(result.memory_pj.mean()))
    by_name = {row.memory: row for row in rows}
    array = result.schedule.hardware.array
    spikes = sum(int(node.counts.spike_row_writes.sum()) for node in result.nodes) * array.columns / result.images
    assert by_name["spike_memory"].written_bits >= spikes
    assert by_name["weight_memory"].capacity_bits == 8 * result.schedule.hardware.memory.weight_bytes


def test_no_product_is_above_its_roof(result: Result) -> None:
    array, widths = result.schedule.hardware.array, result.schedule.hardware.widths
    port = array.weight_rows_per_cycle * array.columns * widths.weight
    products = [node for node in result.nodes if isinstance(node.node, Convolution | Linear)]
    for node in products:
        added, cycles = node.counts.accumulates.mean(), node.cycles.mean()
        intensity = added / (node.counts.weight_row_reads.mean() * array.columns * widths.weight)
        assert added / cycles <= min(array.rows * array.columns, intensity * port) * (1 + 1e-9)
    drawn = roofline(result)
    assert drawn is not None
    assert len(drawn.dots) == len(products)
    assert [roof.port for roof in drawn.roofs] == ["weights"]
    for dot in drawn.dots:
        assert LEFT <= dot.x <= RIGHT
        assert TOP <= dot.y <= BOTTOM


def test_weights_from_dram_have_a_roof_of_their_own(result: Result, digits: LoadedSchedule) -> None:
    assert np.unique([node.dram.dram_read_bits[0] for node in result.nodes]).size == 2  # the image's, and none
    import msgspec

    memory = msgspec.structs.replace(digits.schedule.memory, weights_resident=False)
    streamed = LoadedSchedule(msgspec.structs.replace(digits.schedule, memory=memory), digits.tensors)
    drawn = roofline(simulate(streamed, result.samples, TABLE))
    assert drawn is not None
    assert [roof.port for roof in drawn.roofs] == ["weights", "dram"]
    assert sum(dot.port == "dram" for dot in drawn.dots) == sum(dot.port == "weights" for dot in drawn.dots) > 0
