"""The modules around the core, under both simulators and at three sizes; and that their benches find what is broken."""

from pathlib import Path

import pytest

from dtss.rtl.generate import leaf_modules
from dtss.rtl.simulators import BenchRequest, BenchRun, Simulator, bench_source, lint, run_bench

pytestmark = pytest.mark.rtl

MODULES = ("image_receiver", "logit_sender", "row_format", "weight_loader", "axi_lite_registers")
BENCHES = ("bench_streams", "bench_loader", "bench_registers")
SEED = 20240611

COMMON = {
    "IMAGE_ADDRESS_BITS": 6, "CURRENT_ADDRESS_BITS": 6, "CLASS_BITS": 5, "RUN_BITS": 5, "BEAT_ADDRESS_BITS": 10,
    "REGISTER_ADDRESS_BITS": 7, "COUNTER_BITS": 48, "COUNTER_SELECT_BITS": 5,
}  # fmt: skip
SIZES = {
    # Weight rows of half a beat, or a quarter where they cross narrow; parameter rows of six beats.
    "even": COMMON | {
        "PIXEL_BITS": 24, "TIME_STEPS": 4, "COLUMNS": 4, "VALUE_BITS": 24, "DATA_BITS": 64, "LOAD_ROWS": 1,
        "WEIGHT_BITS": 8, "NARROW_COUNT": 1, "NARROW_BITS": 4, "PARAMETER_ROW_BITS": 384, "WEIGHT_ROWS": 64,
        "PARAMETER_ROWS": 8, "TABLE_ADDRESS_BITS": 3, "ERROR_COUNT": 2, "NODE_BITS": 8,
    },
    # Weight rows of three beats; two narrow widths, 3 bits and 1; memories that are no power of two.
    "odd": COMMON | {
        "PIXEL_BITS": 3, "TIME_STEPS": 3, "COLUMNS": 5, "VALUE_BITS": 19, "DATA_BITS": 32, "LOAD_ROWS": 2,
        "WEIGHT_BITS": 7, "NARROW_COUNT": 2, "NARROW_BITS": 0x0103, "PARAMETER_ROW_BITS": 75, "WEIGHT_ROWS": 41,
        "PARAMETER_ROWS": 7, "TABLE_ADDRESS_BITS": 2, "ERROR_COUNT": 5, "NODE_BITS": 6,
    },
    # No narrow width, no row longer than a beat; one column, one step, logits of all 32 bits.
    "wide": COMMON | {
        "PIXEL_BITS": 17, "TIME_STEPS": 1, "COLUMNS": 1, "VALUE_BITS": 32, "DATA_BITS": 128, "LOAD_ROWS": 3,
        "WEIGHT_BITS": 8, "NARROW_COUNT": 0, "NARROW_BITS": 0, "PARAMETER_ROW_BITS": 51, "WEIGHT_ROWS": 33,
        "PARAMETER_ROWS": 9, "TABLE_ADDRESS_BITS": 2, "ERROR_COUNT": 24, "NODE_BITS": 32,
    },
}  # fmt: skip


def sources(folder: Path | None = None) -> list[Path]:
    """The leaf modules, from the package or from a folder, and the harness."""
    leaves = leaf_modules() if folder is None else sorted(folder.glob("*.v"))
    return [*leaves, bench_source("dram_model"), bench_source("shell_bench")]


def run(simulator: Simulator, size: str, folder: Path, benches: tuple[str, ...], files: list[Path]) -> BenchRun:
    return run_bench(
        BenchRequest(
            simulator=simulator,
            sources=tuple(map(str, files)),
            toplevel="shell_bench",
            parameters=SIZES[size],
            test_module=",".join(f"dtss.rtl.benches.{bench}" for bench in benches),
            build_folder=str(folder / "build"),
            run_folder=str(folder),
            seed=SEED,
        )
    )


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("size", SIZES)
def test_shell(simulator: Simulator, size: str, tmp_path: Path) -> None:
    bench = run(simulator, size, tmp_path, BENCHES, sources())
    assert bench.passed, bench.log.read_text()[-5000:]


@pytest.mark.parametrize("module", MODULES)
def test_each_module_is_lint_clean_by_itself(module: str) -> None:
    assert lint(leaf_modules(), module) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_shell_is_lint_clean_at_each_size(size: str) -> None:
    assert lint(sources(), "shell_bench", SIZES[size]) == []


def test_a_logit_of_more_than_32_bits_is_refused(tmp_path: Path) -> None:
    assert lint(leaf_modules(), "logit_sender", {"VALUE_BITS": 32}) == []
    assert any("logit_sender.v" in line for line in lint(leaf_modules(), "logit_sender", {"VALUE_BITS": 33}))


BROKEN = {
    "image_receiver": (
        ("pixels_tlast != last_position", "pixels_tlast && !last_position"),
        ("position == positions - 1'b1", "position == positions"),
        ("length_error <= 1'b0;\n        end else if (write", "end else if (write"),
        ("assign pixels_tready = armed;", "assign pixels_tready = armed || done;"),
        ("if (reset) begin\n            armed <= 1'b0;", "if (reset) begin"),
    ),
    "logit_sender": (
        ("looking && (!logits_tvalid || logits_tready)", "looking"),
        ("last_class && step[TIME_STEPS-1]", "last_class"),
        ("(!beat_zero && (beat_column", "((beat_column"),
        ("{(32-VALUE_BITS){value[VALUE_BITS-1]}}", "{(32-VALUE_BITS){1'b0}}"),
        (" && (column == {COLUMN_BITS{1'b0}})", ""),
        ("!busy && start)\n            looking", "start)\n            looking"),
    ),
    "row_format": (
        ("{(ELEMENT_BITS-PACKED_BITS){value[PACKED_BITS-1]}}", "{(ELEMENT_BITS-PACKED_BITS){1'b0}}"),
        ("content[HELD_BITS-LAST_BEAT*DATA_BITS +: ROW_BITS]", "content[DATA_BITS +: ROW_BITS]"),
        ("(wide_rows + LAST_ROW) >> SLOT_LOG", "wide_rows >> SLOT_LOG"),
    ),
    "weight_loader": (
        ("(row_index == last_row) || last_of_part", "row_index == last_row"),
        ("(runs_done >= after)", "(runs_done > after)"),
        ("(weight_row == LAST_WEIGHT_ROW[WEIGHT_ADDRESS_BITS-1:0])", "1'b0"),
        ("(parameter_row == LAST_PARAMETER_ROW[PARAMETER_ADDRESS_BITS-1:0])", "1'b0"),
        ("data_tlast != end_transfer", "data_tlast && !end_transfer"),
        ("reset || (end_transfer && current_last)", "reset"),
        ("beats << BYTES_LOG", "beats"),
        ("COMMAND: state <= fetch_tready ? RECEIVE : COMMAND;", "COMMAND: state <= RECEIVE;"),
        ("weight_last_beat = format_last_beat[format*INDEX_BITS +: INDEX_BITS];", ""),
    ),
    "axi_lite_registers": (
        ("assign registers_awready = !address_held;", "assign registers_awready = 1'b1;"),
        ("data_held && (!registers_bvalid || registers_bready)", "data_held"),
        ("else if (registers_bready)", "else"),
        ("assign registers_arready = !registers_rvalid;", "assign registers_arready = 1'b1;"),
        ("mapped ? OKAY : SLVERR", "OKAY"),
        ("(write_control || write_select || write_node) ? OKAY : SLVERR", "OKAY"),
        ("load <= write_control && write_strobe[0]", "load <= write_control"),
        ("select_register & ~strobe_mask", "select_register & 32'd0"),
        ("{{(32-HIGH_BITS){1'b0}}, counter_high}", "{{(32-HIGH_BITS){1'b0}}, counter_value[COUNTER_BITS-1:32]}"),
        ("node_register <= 32'hFFFF_FFFF", "node_register <= 32'd0"),
    ),
}  # fmt: skip
BENCH_OF = {
    "image_receiver": "bench_streams",
    "logit_sender": "bench_streams",
    "row_format": "bench_loader",
    "weight_loader": "bench_loader",
    "axi_lite_registers": "bench_registers",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "old", "new"),
    [pytest.param(module, *change, id=f"{module}-{n}") for module in BROKEN for n, change in enumerate(BROKEN[module])],
)
def test_a_broken_module_turns_its_bench_red(module: str, old: str, new: str, tmp_path: Path) -> None:
    for path in leaf_modules():
        text = path.read_text()
        if path.stem == module:
            assert old in text, f"{module}.v has changed: break it elsewhere"
            text = text.replace(old, new, 1)
        (tmp_path / path.name).write_text(text)
    bench = run("icarus", "odd", tmp_path, (BENCH_OF[module],), sources(tmp_path))
    log = bench.log.read_text()
    assert not bench.passed
    assert "FAIL=" in log and "FAIL=0" not in log, "it has to run, and fail in a test"
