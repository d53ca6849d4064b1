"""What pruning saves, against a schedule that the compiler made without pruning."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtss.compiler.frontend.source import read_source
from dtss.compiler.passes.base import Target
from dtss.compiler.pipeline import Compiled, compile_graph
from dtss.compiler.schedule.cycles import Counts
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.hardware import load_hardware
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.cli import main
from dtss.hwsim.images import Samples
from dtss.hwsim.result import Result
from dtss.hwsim.savings import savings, unpruned
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology
from tests.hwsim.random_networks import Case, cases, many

TABLE = load_technology("45nm")
PRUNING = frozenset({"prune-time-steps", "hoist-constants", "eliminate-membrane-accesses"})


@pytest.mark.parametrize("order", ["inner", "outer"])
def test_unpruned_is_what_the_compiler_makes_without_pruning(order: str, repository: object) -> None:
    """The same tiling rule, so every count is equal; a hoisted product runs innermost even where the others do not."""
    source = read_source(repository / "models" / "zoo" / "digits.pt")  # type: ignore[operator]
    target = Target(load_hardware("edge-16x16"), time_order=order)  # type: ignore[arg-type]
    off = frozenset({"tune-tiles", "reassociate-attention"})

    whole = compile_graph(source.graph, target, disabled=off | PRUNING)
    ours = compile_graph(source.graph, target, disabled=off)
    samples = Samples(pixels=source.images[:2])
    expected = run(whole, samples)
    found = simulate(LoadedSchedule(unpruned(ours.schedule), ours.tensors), samples, TABLE)

    assert (run(ours, samples).cycles < expected.cycles).all()
    hoisted = {"stem.0.conv", "stem.0.lif"} if order == "outer" else set()
    for one, other in zip(found.nodes, expected.nodes, strict=True):
        if one.name in hoisted:
            continue
        for name in Counts.__struct_fields__:
            np.testing.assert_array_equal(getattr(one.counts, name), getattr(other.counts, name), f"{one.name} {name}")


def run(compiled: Compiled, samples: Samples) -> Result:
    return simulate(LoadedSchedule(compiled.schedule, compiled.tensors), samples, TABLE)


def test_digits_save_what_the_masks_leave_out(digits: LoadedSchedule) -> None:
    result = simulate(digits, Samples(pixels=digits.tensors["samples.images"][:4]), TABLE)
    by_name = {saving.quantity: saving for saving in savings(digits, result)}
    assert by_name["cycles"].pruned == result.cycles.mean()
    assert by_name["energy pJ"].pruned == result.energy_pj.mean()
    assert all(0 <= saving.share < 1 for saving in by_name.values())
    assert by_name["time steps of operations"].share > 0.3
    assert by_name["cycles"].share > 0.2


@settings(parent=many, max_examples=40)
@given(cases())
def test_no_network_does_more_work_pruned(case: Case) -> None:
    """And its logits stay, or `savings` raises."""
    loaded = LoadedSchedule(case.schedule, case.tensors)
    result = simulate(loaded, Samples(pixels=case.pixels), TABLE)
    steps = max(1, case.schedule.time_steps)
    if any(steps > case.schedule.hardware.array.strip_slots for _ in case.schedule.products):
        return
    for saving in savings(loaded, result):
        if saving.quantity not in ("cycles", "energy pJ", "weight rows read"):
            assert saving.pruned <= saving.unpruned


@settings(parent=many, max_examples=10)
@given(cases(), st.integers(0, 1))
def test_other_logits_are_refused(case: Case, step: int) -> None:
    loaded = LoadedSchedule(case.schedule, case.tensors)
    result = simulate(loaded, Samples(pixels=case.pixels), TABLE)
    if case.schedule.time_steps > case.schedule.hardware.array.strip_slots:
        return
    other = msgspec.structs.replace(result, logits_per_step=result.logits_per_step + 1)
    with pytest.raises(BadInputError, match="its logits change when no step is pruned"):
        savings(loaded, other)


def test_savings_are_in_every_report(small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    assert main([str(small_path), "--savings", "--json", str(json_file), "--html", str(html_file)]) == 0
    rows = json.loads(json_file.read_text())["savings"]
    assert [row["quantity"] for row in rows] == [
        "time steps of operations", "neuron updates", "membrane rows read or written", "accumulates",
        "weight rows read", "cycles", "energy pJ",
    ]  # fmt: skip
    assert all(row["share"] == pytest.approx(1 - row["pruned"] / row["unpruned"]) for row in rows if row["unpruned"])
    printed, page = capsys.readouterr().out, html_file.read_text()
    assert "What pruning saves, an image" in printed
    for row in rows:
        assert row["quantity"].removesuffix(" pJ") in printed
        assert row["quantity"].removesuffix(" pJ") in page
    assert main([str(small_path), "--json", str(json_file), "--quiet"]) == 0
    assert json.loads(json_file.read_text())["savings"] is None
