"""The elementwise unit on random operations, under both simulators; its model and rules; seeded bugs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.schedule.format import Add, MaxPool, Steps, SumPool, TokenSum, Value
from dtss.compiler.schedule.interpret import _elementwise
from dtss.rtl.benches.elementwise_cases import reduce_windows
from dtss.rtl.elementwise import (
    ELEMENTWISE_UNIT,
    ElementwiseOperation,
    ElementwiseParameters,
    StoredValue,
    operation_cycles,
    operation_reads,
    operation_writes,
)
from dtss.rtl.generate import leaf_modules
from dtss.rtl.simulators import BenchRequest, BenchRun, Simulator, bench_source, lint, run_bench

pytestmark = pytest.mark.rtl

SIZES = {
    "even": ElementwiseParameters(
        rows=8, columns=4, value_bits=12, count_bits=7, plane_bits=3, time_steps=4, inputs=3, size_bits=4,
        address_bits=10,
    ),
    "odd": ElementwiseParameters(
        rows=5, columns=3, value_bits=9, count_bits=6, plane_bits=4, time_steps=5, inputs=2, size_bits=6,
        address_bits=10,
    ),
    "least": ElementwiseParameters(
        rows=1, columns=1, value_bits=7, count_bits=6, plane_bits=3, time_steps=1, inputs=1, size_bits=4,
        address_bits=9,
    ),
    "machine": ElementwiseParameters(  # its counts are as wide as in the small network on its odd machine
        rows=12, columns=4, value_bits=24, count_bits=6, plane_bits=4, time_steps=3, inputs=2, size_bits=6,
        address_bits=10,
    ),
}  # fmt: skip
LARGE = ElementwiseParameters(
    rows=64, columns=32, value_bits=24, count_bits=12, plane_bits=4, time_steps=4, inputs=2, size_bits=8,
    address_bits=16,
)  # fmt: skip
COUNT = Value(low=0, high=7)


def run(simulator: Simulator, parameters: ElementwiseParameters, sources: list[Path], folder: Path) -> BenchRun:
    return run_bench(
        BenchRequest(
            simulator=simulator,
            sources=(*map(str, sources), str(bench_source("elementwise_bench"))),
            toplevel="elementwise_bench",
            parameters=parameters.verilog_parameters(),
            test_module="dtss.rtl.benches.bench_elementwise",
            build_folder=str(folder / "build"),
            run_folder=str(folder),
            seed=20240611,
        )
    )


@pytest.mark.parametrize(
    ("simulator", "size"),
    [("verilator", "even"), ("icarus", "even"), ("icarus", "odd"), ("icarus", "least"), ("verilator", "machine")],
)
def test_the_unit_equals_its_model_and_rules(simulator: Simulator, size: str, tmp_path: Path) -> None:
    done = run(simulator, SIZES[size], list(leaf_modules()), tmp_path)
    assert done.passed, done.log.read_text()[-5000:]


BUGS = {
    "the carry into a sum's highest plane is dropped": (
        "count_lane", "larger : total[COUNT_BITS:1]", "larger : {1'b0, total[COUNT_BITS-1:1]}", "rows of spike memory",
    ),
    "a tap outside the input counts for the maximum": (
        "current_lane", "in_bounds ? current : neutral", "in_bounds ? current : 0", "rows of current memory",
    ),
    "a step starts at the base of the step before": (
        "window_walker", "walking ? later_steps & -later_steps : step", "step", "rows of spike memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found(bug: str, tmp_path: Path) -> None:
    module, old, new, finding = BUGS[bug]
    sources = []
    for path in leaf_modules():
        text = path.read_text()
        if path.stem == module:
            assert old in text, f"{module}.v has changed: seed the bug elsewhere"
            text = text.replace(old, new)
        sources.append(tmp_path / path.name)
        sources[-1].write_text(text)
    done = run("icarus", SIZES["odd"], sources, tmp_path)
    assert not done.passed
    assert finding in done.log.read_text()


@pytest.mark.parametrize("parameters", [*SIZES.values(), LARGE], ids=[*SIZES, "large"])
def test_the_verilog_is_lint_clean(parameters: ElementwiseParameters) -> None:
    assert lint(leaf_modules(), ELEMENTWISE_UNIT, parameters.verilog_parameters()) == []


STEPS = Steps(active=(1, 3))


@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_the_model_of_the_bench_is_the_interpreters_for_pools(
    kernel: int, stride: int, padding: int, maximum: bool
) -> None:
    height, width, channels = 7, 6, 5
    output = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
    node: MaxPool | SumPool
    if maximum:
        node = MaxPool(
            name="pool", inputs=("image",), shape=(*output, channels), value=COUNT, steps=STEPS,
            kernel=kernel, stride=stride, padding=padding,
        )  # fmt: skip
    else:
        node = SumPool(
            name="pool", inputs=("image",), shape=(*output, channels), value=COUNT, steps=STEPS,
            kernel=(kernel, kernel), stride=stride, padding=padding,
        )  # fmt: skip
    stored = StoredValue(planes=3, bases={1: 0, 3: 900})
    operation = ElementwiseOperation(
        maximum=maximum, currents=False, kernel=(kernel, kernel), stride=stride, padding=padding,
        input_size=(height, width), output_size=output, slices=2, inputs=(stored,), result=stored,
    )  # fmt: skip
    value = np.random.default_rng(1).integers(-50, 50, (height, width, channels))
    assert np.array_equal(reduce_windows(operation, [value]), _elementwise(node, [value[None]])[0])
    ones = np.pad(np.ones((height, width), int), padding)
    windows = np.lib.stride_tricks.sliding_window_view(ones, (kernel, kernel))[::stride, ::stride]
    assert operation_reads(operation) == windows.sum() * operation.slices * stored.planes * 2


def test_the_model_of_the_bench_is_the_interpreters_for_sums() -> None:
    size, channels, names = (3, 4), 5, ("a", "b", "c")
    values = list(np.random.default_rng(2).integers(-50, 50, (3, *size, channels)))
    stored = StoredValue(planes=1, bases={1: 0})
    operation = ElementwiseOperation(
        maximum=False, currents=True, kernel=(1, 1), stride=1, padding=0, input_size=size, output_size=size,
        slices=1, inputs=(stored,) * 3, result=stored,
    )  # fmt: skip
    add = Add(name="add", inputs=names, shape=(*size, channels), value=COUNT, steps=STEPS)
    assert np.array_equal(reduce_windows(operation, values), _elementwise(add, [value[None] for value in values])[0])
    assert operation_cycles(operation) == 3 * 4 * 3 + 3
    assert (operation_reads(operation), operation_writes(operation)) == (36, 12)
    whole = replace(operation, kernel=size, output_size=(1, 1), inputs=(stored,))
    total = TokenSum(name="sum", inputs=names[:1], shape=(1, 1, channels), value=COUNT, steps=STEPS)
    assert np.array_equal(reduce_windows(whole, values[:1]), _elementwise(total, [values[0][None]])[0])


def test_the_last_planes_have_no_taps_to_hide_behind() -> None:
    spikes = StoredValue(planes=1, bases={1: 0})
    pool = ElementwiseOperation(
        maximum=True, currents=False, kernel=(2, 2), stride=2, padding=0, input_size=(4, 10), output_size=(2, 5),
        slices=1, inputs=(spikes,), result=spikes,
    )  # fmt: skip
    assert operation_cycles(pool) == 10 * 4 + 3
    counts = replace(
        pool, kernel=(1, 2), inputs=(spikes, StoredValue(1, {3: 0})), result=StoredValue(planes=3, bases={1: 0, 3: 0})
    )
    assert operation_cycles(replace(counts, inputs=(spikes, spikes))) == 10 * (4 + 3) + 3 + 2
    assert operation_cycles(counts) == 10 * (3 + 3) + 3 + 2


def test_fields_are_packed_in_the_order_of_the_verilog() -> None:
    text = next(path for path in leaf_modules() if path.stem == "elementwise_fields").read_text()
    order = text.split("assign {")[1].split("}")[0].replace("\n", " ").split(",")
    assert [name.strip() for name in order] == list(SIZES["even"].configuration_widths)
