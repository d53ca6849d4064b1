"""Whole images through the AXI ports: on machines of odd sizes, in both time orders, and with seeded bugs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.interpret import interpret
from dtss.rtl.compare import Mismatch
from dtss.rtl.counts import counts_of_the_rules
from dtss.rtl.engine import engine_for
from dtss.rtl.expected import expected_row
from dtss.rtl.generate import SCHEDULE, generate, read_manifest
from dtss.rtl.program import ELEMENTWISE, RUN, program
from dtss.rtl.verify import ImageReport, Job, LayerReport, all_mismatches, verify_network
from tests.rtl.small_network import MACHINES, TINY, small_network, stored_network

pytestmark = pytest.mark.rtl

Reports = tuple[list[LayerReport], list[ImageReport]]


def run(folder: Path, images: tuple[int, ...] = (0,), wave: Path | None = None) -> Reports:
    job = Job(folder, folder.parent / "work", (), images, 1, counts_of_the_rules, wave)
    _, layers, reports = verify_network(job, read_manifest(folder), io.load(folder / SCHEDULE), lambda message: None)
    return layers, reports


def texts(layers: list[LayerReport], images: list[ImageReport]) -> list[str]:
    return [str(mismatch) for mismatch in all_mismatches(layers, images)]


@pytest.mark.parametrize(
    ("machine", "order", "streams"),
    [
        ("odd", "outer", True),
        ("tiny", "inner", True),
        pytest.param("edge", "inner", False, marks=pytest.mark.slow),
        pytest.param("edge", "outer", False, marks=pytest.mark.slow),
        pytest.param("odd", "inner", False, marks=pytest.mark.slow),
        pytest.param("tiny", "outer", False, marks=pytest.mark.slow),
        pytest.param("narrow", "outer", False, marks=pytest.mark.slow),
        pytest.param("wide_load", "inner", True, marks=pytest.mark.slow),
        pytest.param("wide_load", "outer", False, marks=pytest.mark.slow),
    ],
)
def test_every_value_and_every_count_equals_the_golden_model(
    machine: str, order: TimeOrder, streams: bool, small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    loaded = io.load(small_schedule(MACHINES[machine], order, seed=7, streams=streams))
    assert loaded.schedule.memory.weights_resident is not streams
    generate(loaded, tmp_path / "out")
    layers, images = run(tmp_path / "out", (1, 0))
    assert texts(layers, images) == []
    assert all(layer.cycles_rtl == layer.cycles_expected > 0 for layer in layers)
    assert all(image.cycles_rtl == image.cycles_expected > 0 for image in images)
    names = [layer.layer for layer in layers if layer.image == 0]
    assert "dead.linear" not in names
    assert {"stem.conv", "kv", "qkv", "qk", "qk.v", "add", "sum", "head"} <= set(names)
    assert all({"accumulators", "currents"} <= set(layer.compared) for layer in layers if "conv" in layer.layer)
    assert all("word" in layer.compared for layer in layers if layer.layer in ("add", "sum"))


@pytest.mark.parametrize(
    ("machine", "order"), [("tiny", "inner"), pytest.param("odd", "outer", marks=pytest.mark.slow)]
)
def test_what_goes_through_current_memory_equals_the_golden_model(
    machine: str, order: TimeOrder, tmp_path: Path
) -> None:
    loaded = small_network(MACHINES[machine], order, seed=7, streams=True, nodes=stored_network)
    generate(loaded, tmp_path / "out")
    layers, images = run(tmp_path / "out", (1, 0))
    assert texts(layers, images) == []
    compared = {layer.layer: set(layer.compared) for layer in layers}
    assert {"currents", "membranes", "spikes"} <= compared["pool.lif"] & compared["qkv.lif"] & compared["total.lif"]
    assert "currents" in compared["pool"] & compared["total"]
    assert "membranes" in compared["out"]


def test_the_small_network_exercises_both_answers_of_every_neuron(small_schedule: Callable[..., Path]) -> None:
    loaded = io.load(small_schedule(seed=7))
    schedule, pixels = loaded.schedule, loaded.tensors[io.IMAGES]
    golden = interpret(schedule, loaded.tensors, pixels[1:2].astype(np.int64))
    rows = program(schedule, loaded.tensors)
    engine = engine_for(schedule, len(rows))
    for row in (row for row in rows if row.operation in (RUN, ELEMENTWISE)):
        expected = expected_row(schedule, golden, engine, row)
        for quantity, values in expected.values.items():
            assert np.count_nonzero(values) > 0, (expected.node, quantity)
            if quantity == "spikes":
                assert np.unique(values).tolist() == [0, 1], expected.node


BUGS = {
    "the gatherer steps past a slice": (
        "gather_walker", "position_address + (row_end ? row_step : position_step)",
        "position_address + (row_end ? row_step : position_step + 1)", "stem.conv: accumulators",
    ),
    "a chunk's place is given back too early": (
        "pass_sequencer", "assign last_use = streams && last_output_tile;", "assign last_use = streams;",
        "accumulators",
    ),
    "an operand that stays is not turned": (
        "stationary_loader", "turned ? turned_row[column] : aligned[column]", "aligned[column]", "qk: accumulators",
    ),
    "results go to the lane before": (
        "pass_sequencer", "spike_lane <= wrapped_lane[ROW_BITS-1:0];", "spike_lane <= spike_lane;", "accumulators",
    ),
    "words are counted twice": (
        "performance_counters", "{{(INCREMENT_BITS-1){1'b0}}, issues}", "{{(INCREMENT_BITS-2){1'b0}}, issues, 1'b0}",
        "words_issued",
    ),
    "a weight tile loads into the bank that computes": (
        "strip_engine", "arriving_bank <= !current_bank;", "arriving_bank <= current_bank;", "accumulators",
    ),
    "a tie does not fire": (
        "lif_neuron", "!beyond_threshold[POTENTIAL_BITS-1]",
        "!beyond_threshold[POTENTIAL_BITS-1] && beyond_threshold != 0", "spikes",
    ),
    "a transfer does not wait for what it overwrites": ("weight_loader", "runs_done >= after", "1'b1", "expected"),
    "the skipper takes a cycle more for each group": (
        "zero_skipper", "assign group_done = enable && (others == {GROUP{1'b0}});",
        "assign group_done = enable && (remaining == {GROUP{1'b0}});", "cycles: expected",
    ),
}  # fmt: skip
QUICK = ("the gatherer steps past a slice", "words are counted twice")


@pytest.mark.parametrize("bug", [pytest.param(bug, marks=[] if bug in QUICK else pytest.mark.slow) for bug in BUGS])
def test_a_seeded_bug_is_found(bug: str, small_schedule: Callable[..., Path], tmp_path: Path) -> None:
    module, old, new, said = BUGS[bug]
    folder = tmp_path / "out"
    generate(io.load(small_schedule(TINY, seed=7, streams=True)), folder)
    path = folder / "rtl" / f"{module}.v"
    assert old in path.read_text(), f"{module}.v has changed: seed the bug elsewhere"
    path.write_text(path.read_text().replace(old, new))
    found = texts(*run(folder))
    assert any(said in text for text in found), found


def test_a_wrong_weight_is_found_where_it_is_used_and_can_be_looked_at(
    small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    folder, wave = tmp_path / "out", tmp_path / "wrong.vcd"
    generate(io.load(small_schedule(TINY, seed=7)), folder)
    outside = folder / "memories" / "outside.bin"
    content = bytearray(outside.read_bytes())
    content[0] ^= 1
    outside.write_bytes(content)
    layers, _ = run(folder, wave=wave)
    wrong = [layer for layer in layers if layer.differing]
    assert wrong[0].layer == "stem.conv"
    first: Mismatch = wrong[0].mismatches[0]
    assert str(first).startswith("stem.conv: accumulators at step 0, position 0, channel 0: expected ")
    assert first.window is not None
    text = wave.read_text()
    assert "walk_accumulators" in text
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert times[0] // 10 >= first.window[0] and times[-1] // 10 <= first.window[1]
