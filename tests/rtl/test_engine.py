"""The whole engine on a small network with every kind of product: on machines of odd sizes, and with seeded bugs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.io import load
from dtss.rtl.generate import generate, read_manifest
from dtss.rtl.layout import layout_of
from dtss.rtl.simulators import Simulator
from dtss.rtl.stimulus import execute, expected_walks
from dtss.rtl.verify import Job, Report, counts_of_the_rules, verify

pytestmark = pytest.mark.rtl

MACHINES = {
    "edge": (16, 16, 32, 4, 1),
    "odd": (12, 5, 21, 3, 2),
    "tiny": (3, 2, 5, 1, 1),
    "wide_load": (20, 9, 40, 7, 32),
}


def run(folder: Path, simulator: Simulator, image: int = 0) -> Report:
    work = folder.parent / "work"
    return verify(Job(folder, work, (simulator,), (image,), 1, counts_of_the_rules), lambda message: None)


@pytest.mark.parametrize("order", ["inner", "outer"])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_layer_equals_the_golden_model(
    machine: str, order: TimeOrder, small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    generate(load(small_schedule(MACHINES[machine], order, seed=7)), tmp_path / "out")
    report = run(tmp_path / "out", "icarus", image=1)
    assert [mismatch for layer in report.layers for mismatch in layer.mismatches] == []
    assert report.passed
    assert len(report.layers) == 10
    assert all(layer.cycles_rtl == layer.cycles_simulated for layer in report.layers)
    assert [layer.layer for layer in report.layers if not layer.cycles_rtl] == ["dead.linear"]
    assert all(layer.compared["accumulators"] > 0 for layer in report.layers if layer.cycles_rtl)


def test_an_odd_machine_under_verilator(small_schedule: Callable[..., Path], tmp_path: Path) -> None:
    generate(load(small_schedule(MACHINES["odd"], "outer", seed=8)), tmp_path / "out")
    report = run(tmp_path / "out", "verilator")
    assert [mismatch for layer in report.layers for mismatch in layer.mismatches] == []
    assert report.passed


def test_the_small_network_exercises_both_answers_of_every_neuron(
    small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    loaded = load(small_schedule(seed=7))
    engine = generate(loaded, tmp_path / "out").engine
    golden = execute(loaded.schedule, loaded.tensors, loaded.tensors["samples.images"][1])
    for node in loaded.schedule.products:
        if node.name == "dead.linear":
            continue
        expected = expected_walks(loaded.schedule, golden, engine, layout_of(loaded.schedule, node))
        assert np.count_nonzero(expected.rows["accumulators"]) > 0, node.name
        if node.neuron is not None:
            assert np.unique(expected.rows["spikes"]).tolist() == [0, 1], node.name


BUGS = {
    "skipper leaves the last word of a group out": (
        "zero_skipper", "(others == {GROUP{1'b0}})", "((others & (others - 1)) == {GROUP{1'b0}})", "accumulators",
    ),
    "a zero bit does not gate its weight": (
        "ac_column", "{WEIGHT_BITS{spikes[lane]}} & weights", "{WEIGHT_BITS{1'b1}} & weights", "accumulators",
    ),
    "a weight tile loads into the bank that computes": (
        "strip_engine", "loaded_bank <= !current_bank;", "loaded_bank <= current_bank;", "accumulators",
    ),
    "sums of the strip before are kept": (
        "strip_engine", ".clear(fetching || visit_last),", ".clear(fetching),", "accumulators",
    ),
    "a tie does not fire": ("lif_neuron", "potential >= wide_threshold", "potential > wide_threshold", "spikes"),
    "the time-step mask does not gate the output": (
        "mask_unit", "step_live && |(step & active_steps)", "step_live", "spikes",
    ),
    "the skipper takes a cycle more for each group": (
        "zero_skipper", "assign group_done = enable && (others == {GROUP{1'b0}});",
        "assign group_done = enable && (remaining == {GROUP{1'b0}});", "cycles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found(bug: str, small_schedule: Callable[..., Path], tmp_path: Path) -> None:
    module, old, new, quantity = BUGS[bug]
    folder = tmp_path / "out"
    generate(load(small_schedule(seed=7)), folder)
    path = folder / "rtl" / f"{module}.v"
    assert old in path.read_text(), f"{module}.v has changed: seed the bug elsewhere"
    path.write_text(path.read_text().replace(old, new))
    report = run(folder, "icarus")
    assert not report.passed
    assert report.changed_files == [f"rtl/{module}.v"]
    found = {mismatch.quantity for layer in report.layers for mismatch in layer.mismatches}
    assert quantity in found


def test_a_changed_memory_file_is_found(small_schedule: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    generate(load(small_schedule(seed=7)), folder)
    weights = folder / "memories" / read_manifest(folder).layers[1].folder / "weights.hex"
    rows = weights.read_text().splitlines()
    weights.write_text("\n".join([f"{int(rows[0], 16) ^ 1:0{len(rows[0])}x}", *rows[1:]]) + "\n")
    report = run(folder, "icarus")
    wrong = [layer for layer in report.layers if layer.differing]
    assert [layer.layer for layer in wrong] == ["q.linear"]
    assert str(wrong[0].mismatches[0]).startswith("q.linear: accumulators at step 0, position ")
