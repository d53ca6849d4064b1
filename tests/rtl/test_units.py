"""The leaf modules on random stimulus, under both simulators and at two sizes."""

from pathlib import Path

import pytest

from dtss.rtl.generate import leaf_modules
from dtss.rtl.simulators import BenchRequest, Simulator, bench_source, run_bench

pytestmark = pytest.mark.rtl

SIZES = {
    "edge": {},
    "odd": {
        "ROWS": 12, "GROUP": 3, "TIME_STEPS": 5, "WEIGHT_BITS": 5, "LOAD_ROWS": 5,
        "MEMBRANE_BITS": 17, "VALUE_BITS": 19, "SLOT_BITS": 4, "LEAK_MULTIPLIER_BITS": 3,
    },
    "machine": {  # as in the small network on its odd machine
        "ROWS": 12, "GROUP": 3, "TIME_STEPS": 3, "WEIGHT_BITS": 8, "LOAD_ROWS": 2, "MEMBRANE_BITS": 24,
        "VALUE_BITS": 24, "SLOT_BITS": 5, "SHIFT_BITS": 4, "PLANE_BITS": 4, "LEAK_MULTIPLIER_BITS": 8,
    },
}  # fmt: skip


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("size", SIZES)
def test_units(simulator: Simulator, size: str, tmp_path: Path) -> None:
    run = run_bench(
        BenchRequest(
            simulator=simulator,
            sources=(*map(str, leaf_modules()), str(bench_source("unit_bench"))),
            toplevel="unit_bench",
            parameters=SIZES[size],
            test_module="dtss.rtl.benches.bench_units",
            build_folder=str(tmp_path / "build"),
            run_folder=str(tmp_path),
            seed=20240611,
        )
    )
    assert run.passed, run.log.read_text()[-5000:]
