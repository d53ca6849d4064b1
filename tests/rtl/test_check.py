"""The structure checks: nothing to find in what is generated, and every seeded violation found."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dtss.compiler.schedule.io import LoadedSchedule, load
from dtss.rtl.check import Finding, check_structure
from dtss.rtl.generate import TOP, generate
from dtss.rtl.simulators import lint

pytestmark = pytest.mark.rtl


@pytest.fixture
def sources(small: LoadedSchedule, tmp_path: Path) -> list[Path]:
    generate(small, tmp_path / "out")
    return sorted((tmp_path / "out" / "rtl").glob("*.v"))


def replace(sources: list[Path], module: str, old: str, new: str) -> None:
    path = next(path for path in sources if path.stem == module)
    text = path.read_text()
    assert old in text, f"{module}.v has changed: seed the violation elsewhere"
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("machine", [(16, 16, 32, 4, 1), (12, 4, 21, 3, 2), (4, 2, 5, 1, 1), (64, 32, 64, 4, 64)])
@pytest.mark.parametrize("order", ["inner", "outer"])
def test_generated_verilog_is_lint_clean(
    machine: tuple[int, ...], order: str, small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    generate(load(small_schedule(machine, order)), tmp_path / "out")
    assert lint(sorted((tmp_path / "out" / "rtl").glob("*.v")), TOP) == []


def test_lint_finds_an_unused_signal(sources: list[Path]) -> None:
    replace(sources, "zero_skipper", "    reg  [GROUP-1:0] issued;", "    reg  [GROUP-1:0] issued;\n    wire nobody;")
    assert any("nobody" in line for line in lint(sources, TOP))


def test_generated_verilog_has_the_promised_structure(sources: list[Path]) -> None:
    assert check_structure(sources) == []


VIOLATIONS = {
    "no_multiplication": (
        "ac_column",
        "{WEIGHT_BITS{spikes[lane]}} & weights[lane*WEIGHT_BITS +: WEIGHT_BITS];",
        "spikes[lane] * weights[lane*WEIGHT_BITS +: WEIGHT_BITS];",
        "Times of spikes, weights",
    ),
    "membrane_writes_are_gated": (
        "membrane_memory",
        "if (step_live && write)",
        "if (step_live || write)",
        "a membrane row is written without the condition step_live",
    ),
    "ports_are_as_declared": (
        "mask_unit",
        "    output wire                  last\n",
        "    output wire [1:0]            last\n",
        "the header says last out 1, the code last out 2",
    ),
    "only_own_modules": ("ac_column", "weight_cell #(", "DSP48E1 #(", "DSP48E1 is not among the files"),
    "lint_exceptions_have_reasons": (
        "ac_column",
        "    genvar row;",
        "    /* verilator lint_off WIDTH */\n    genvar row;",
        "say why, in a comment after it",
    ),
    "parses": ("ac_column", "genvar row;", "genvar row", ""),
}


@pytest.mark.parametrize("rule", VIOLATIONS)
def test_each_rule_finds_its_violation(rule: str, sources: list[Path]) -> None:
    module, old, new, message = VIOLATIONS[rule]
    replace(sources, module, old, new)
    findings = check_structure(sources)
    assert rule in [finding.rule for finding in findings]
    assert any(finding.file == f"{module}.v" and message in finding.message for finding in findings)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("membrane_memory", "if (step_live && write)", "if (write)"),
        ("strip_engine", ".step_live(update),", ".step_live(1'b1),"),
        ("strip_engine", ".step_live(update),", ".step_live(walking),"),
        ("walk_controller", ".step_live(step_live),", ".step_live(),"),
        ("walk_controller", "reads <= step_live && !reset;", "reads <= walking && !reset;"),
        ("walk_controller", "visit <= reads && !reset;", "visit <= reads_slot && !reset;"),
        ("walk_controller", "update <= visit && !reset;", "update <= visit_has_slot && !reset;"),
    ],
)
def test_a_membrane_write_that_the_mask_unit_does_not_gate_is_found(
    module: str, old: str, new: str, sources: list[Path]
) -> None:
    replace(sources, module, old, new)
    assert {finding.rule for finding in check_structure(sources)} == {"membrane_writes_are_gated"}


def test_a_reasoned_lint_exception_is_accepted(sources: list[Path]) -> None:
    replace(
        sources, "ac_column", "    genvar row;", "    /* verilator lint_off WIDTH */ // seen by hand\n    genvar row;"
    )
    assert check_structure(sources) == []


def test_a_finding_says_where(sources: list[Path]) -> None:
    replace(sources, "membrane_memory", "if (step_live && write)", "if (write)")
    finding: Finding = check_structure(sources)[0]
    assert re.fullmatch(
        r"membrane_memory\.v:\d+: membrane_writes_are_gated: a membrane row is written without the condition step_live",
        str(finding),
    )
