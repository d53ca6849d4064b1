"""Build and run one cocotb bench; a process of its own, so that the simulator's environment stays in it.

`python -m dtss.rtl.benches.launch request.json` exits with 0 if every test of the bench passed, else 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cocotb_tools.config
import msgspec
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Runner, get_runner

from dtss.rtl.simulators import BenchRequest

TIMESCALE = ("1ns", "1ps")


def run(request: BenchRequest) -> bool:
    """True if all tests passed."""
    runner = get_runner(request.simulator)
    if request.build:
        _build(runner, request)
    try:
        results = runner.test(
            hdl_toplevel=request.toplevel,
            hdl_toplevel_lang="verilog",
            test_module=request.test_module,
            build_dir=request.build_folder,
            test_dir=request.run_folder,
            seed=request.seed,
            plusargs=request.plusargs,
        )
    except SystemExit:  # a simulation that leaves no results: the runner would end this process, without an error
        return False
    tests, failures = get_results(results)
    return tests > 0 and failures == 0


def _build(runner: Runner, request: BenchRequest) -> None:
    if request.simulator == "verilator":
        _build_with_verilator(request)
        return
    runner.build(
        sources=[Path(source) for source in request.sources],
        hdl_toplevel=request.toplevel,
        parameters=request.parameters,
        build_dir=request.build_folder,
        build_args=["-g2005"],
        timescale=TIMESCALE,
        always=True,
    )


def _build_with_verilator(request: BenchRequest) -> None:
    """As cocotb's runner does, but public to Python is only the harness: the build takes a third of the time."""
    libraries = cocotb_tools.config.libs_dir
    folder = Path(request.build_folder)
    folder.mkdir(parents=True, exist_ok=True)
    verilator = [
        "verilator", "-cc", "--exe", "--vpi", "--public-depth", "1", "-Wno-fatal", "-O3",
        "--Mdir", str(folder), "--top-module", request.toplevel, "--prefix", "Vtop", "-o", request.toplevel,
        "--timescale", "/".join(TIMESCALE),
        "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
        *(f"-G{name}={value}" for name, value in request.parameters.items()),
        str(cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"),
        *request.sources,
    ]  # fmt: skip
    jobs = str(len(os.sched_getaffinity(0)))
    make = ["make", "-C", str(folder), "-f", "Vtop.mk", "-j", jobs, "OPT_FAST=-O1", "OPT_SLOW=-O0"]
    for command in (verilator, make):
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(not run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=BenchRequest)))
