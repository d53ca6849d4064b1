"""The paper's accounting of a run: counted by hand, and what it leaves out."""

import msgspec
import pytest

from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.images import load_samples
from dtss.hwsim.paper_accounting import PaperLayer, paper_layers
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology

FPGA = load_technology("28nm")


def run(loaded: LoadedSchedule, images: int | None = None) -> Result:
    return simulate(loaded, load_samples(loaded, "schedule", None, images), FPGA)


def by_name(layers: tuple[PaperLayer, ...]) -> dict[str, PaperLayer]:
    return {layer.name: layer for layer in layers}


def test_the_small_network_by_hand(small: LoadedSchedule) -> None:
    """12 MACs of the image; four membranes of 24 bits read and written at the one step of the mask; 6 weights."""
    layers = by_name(paper_layers(run(small), small.tensors))
    hidden, head = layers["hidden"].energy_pj, layers["head"].energy_pj
    sram_32k, sram_128k = (FPGA.sram_access.at(k << 10) / 64 for k in (32, 128))
    assert hidden.accumulate == pytest.approx(12 * 13.32)
    assert layers["hidden"].membrane_accesses == 8
    assert hidden.membrane_memory == pytest.approx(8 * 24 * sram_32k)
    assert hidden.weight_memory == pytest.approx(6 * 8 * sram_128k)
    assert hidden.spike_memory == pytest.approx(4 * sram_32k)  # written; the image's pixels are no spikes
    assert hidden.zero_check == 0
    # two counts of two planes at one step; image 0 and 1 give 2 accumulates each
    assert head.zero_check == pytest.approx(4 * 0.05)
    assert head.accumulate == pytest.approx(2 * 1.8)
    assert head.membrane_memory == 0
    assert (head.dram, hidden.accumulator_file, hidden.lif_update, hidden.parameter_memory) == (0, 0, 0, 0)


def test_membranes_follow_the_masks_whatever_the_time_order(
    digits: LoadedSchedule, digits_outer: LoadedSchedule
) -> None:
    inner, outer = (paper_layers(run(loaded, 2), loaded.tensors) for loaded in (digits, digits_outer))
    for one, other in zip(inner, outer, strict=True):
        assert one.membrane_accesses == other.membrane_accesses
        assert one.energy_pj.membrane_memory == pytest.approx(other.energy_pj.membrane_memory)
    expected = sum(2 * lif.positions * lif.channels * len(lif.mask_steps) for lif in digits.schedule.lif_nodes)
    assert sum(layer.membrane_accesses for layer in inner) == expected


def test_accumulates_are_those_of_the_run(digits: LoadedSchedule) -> None:
    result = run(digits, 2)
    parts = {part.name: part for part in result.nodes}
    for layer in paper_layers(result, digits.tensors):
        if layer.name.startswith("blocks") and layer.energy_pj.accumulate:
            assert layer.energy_pj.accumulate == pytest.approx(parts[layer.name].counts.accumulates.mean() * 1.8)


def test_the_machines_own_column_is_the_run(digits: LoadedSchedule) -> None:
    result = run(digits, 2)
    whole = sum(sum(msgspec.structs.astuple(layer.machine_energy_pj)) for layer in paper_layers(result, digits.tensors))
    assert whole == pytest.approx(result.energy_pj.mean(), rel=1e-12)
