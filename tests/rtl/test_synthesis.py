"""dtss-rtl synth: what is counted in a netlist, how it fails, and real runs of Yosys (slow)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.compiler.schedule.hardware import load_hardware
from dtss.rtl import synthesis as module_under_test
from dtss.rtl.cli import main
from dtss.rtl.netlist import SEVEN_SERIES_CELLS, Netlist, Resources, memory_bits, module_name, read_netlist
from dtss.rtl.parts import PARTS, UsageError, find_part
from dtss.rtl.simulators import MissingToolError
from dtss.rtl.synthesis import Job, Synthesis, Target, synthesise
from dtss.rtl.synthesis_report import print_synthesis, synthesis_object, utilisation

# As Yosys writes it: a top with two equal lanes and a memory, a library cell with content, an instance without cells.
LANE = "$paramod\\lane\\WIDTH=s32'00000000000000000000000000000100"
MEMORY = "$paramod$0123456789abcdef0123456789abcdef01234567\\synchronous_memory"


def cells(*types: str) -> dict[str, object]:
    return {"cells": {f"cell{number}": {"type": kind, "hide_name": 1} for number, kind in enumerate(types)}}


@pytest.fixture
def netlist(tmp_path: Path) -> Netlist:
    instances = {"lane0": {"type": LANE}, "lane1": {"type": LANE}, "store": {"type": MEMORY}}
    written = {
        "creator": "Yosys 0.70 (git sha1 28ba3cb92, Release)",
        "modules": {
            "top": {"attributes": {"top": "1"}, "cells": {"inverter": {"type": "INV"}, **instances}},
            LANE: {"attributes": {}, **cells("LUT2", "LUT6", "FDRE", "FDSE", "CARRY4", "RAM32M")},
            MEMORY: {"attributes": {}, **cells("RAMB36E1", "RAMB18E1")},
            "RAMB36E1": {"attributes": {"blackbox": "1"}, **cells("$buf")},
        },
    }
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps(written))
    return read_netlist(path)


def test_resources_of_equal_instances_and_of_what_is_inside(netlist: Netlist) -> None:
    uses = list(Resources(netlist, SEVEN_SERIES_CELLS).uses("top", "top"))
    assert [(use.path, use.module, use.instances) for use in uses] == [
        ("top", "top", 1), ("top/lane", "lane", 2), ("top/store", "synchronous_memory", 1),
    ]  # fmt: skip
    assert uses[0].resources == {"carry4": 2, "ff": 4, "lut": 13, "lutram": 8, "ramb18": 1, "ramb36": 1}
    assert uses[1].resources == {"carry4": 2, "ff": 4, "lut": 12, "lutram": 8}


def test_areas_of_a_library_and_bits_of_a_memory() -> None:
    depth = {"WIDTH": "100", "ROWS": format(1000, "032b"), "FILE": "memories/x.hex"}
    written = {
        "creator": "Yosys",
        "modules": {
            "top": {"cells": {"a": {"type": "nand"}, "b": {"type": "nand"}, "m": {"type": MEMORY}}},
            MEMORY: {"attributes": {"blackbox": "1"}, "parameter_default_values": depth},
        },
    }
    library = msgspec.convert(written, Netlist)
    (use,) = Resources(library, (), {"nand": 1.5}).uses("top", "top")
    assert use.resources == {"area": 3.0, "cells": 2, "memory_bits": 4000}
    assert memory_bits(library.modules[MEMORY]) == 4000


@pytest.mark.parametrize(("name", "said"), [("top", "top"), (LANE, "lane"), (MEMORY, "synchronous_memory")])
def test_module_names(name: str, said: str) -> None:
    assert module_name(name) == said


def test_no_netlist(tmp_path: Path) -> None:
    (tmp_path / "netlist.json").write_text("{")
    with pytest.raises(BadInputError, match="is not a netlist"):
        read_netlist(tmp_path / "netlist.json")


def test_utilisation_and_table(netlist: Netlist, capsys: pytest.CaptureFixture[str]) -> None:
    part = find_part("7series", "XC7A35T")
    assert part is not None
    result = Synthesis(
        tool="Yosys 0.70",
        target="7series",
        top="top",
        part=part.name,
        available=part.resources,
        modules=list(Resources(netlist, SEVEN_SERIES_CELLS).uses("top", "top")),
        max_frequency_mhz=None,
        findings=[],
    )
    assert utilisation(result)["bram36"] == (2, 50)  # a RAMB18 is half a RAMB36, and the other half is lost
    assert synthesis_object(result)["passed"]
    print_synthesis(result)
    assert "xc7a35t: 13 of 20,800 lut, 0.1%" in capsys.readouterr().out


def test_parts() -> None:
    assert len({part.name for parts in PARTS.values() for part in parts}) == sum(map(len, PARTS.values()))
    assert find_part("liberty", None) is None
    with pytest.raises(UsageError, match="is no part of ecp5 here; choose of: lfe5u-25f"):
        find_part("ecp5", "xc7k325t")


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job on one file of Verilog."""

    def make(text: str = "", target: Target = "7series", **options: object) -> Job:
        source = tmp_path / "small.v"
        source.write_text(text)
        values = {"sources": (source,), "contents": (), "top": "small", "target": target, "work": tmp_path / "work"}
        return Job(**values | options)  # type: ignore[arg-type]

    return make


def fake_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Instead of Yosys, a shell script."""
    tool = tmp_path / "yosys"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(module_under_test, "find_tool", lambda name, hint: [str(tool)])


def test_an_error_of_yosys(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_tool(monkeypatch, tmp_path, "echo small.v:3: ERROR: syntax error; echo ERROR: second; exit 1")
    with pytest.raises(CheckFailedError, match=r"Yosys, elaborate: syntax error; see .*elaborate\.log"):
        synthesise(job(), lambda _: None)


def test_the_time_limit(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_tool(monkeypatch, tmp_path, "sleep 60")
    with pytest.raises(CheckFailedError, match="not done after 1 s; give it longer with --timeout"):
        synthesise(job(timeout_seconds=1), lambda _: None)


def test_a_missing_tool(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingToolError, match="yosys: is not installed; pip install"):
        synthesise(job(), lambda _: None)


@pytest.mark.parametrize("content", [b"", b"library (x) { }", b"\x1f\x8b"])
def test_a_bad_liberty_file(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    fake_tool(monkeypatch, tmp_path, "exit 0")
    liberty = tmp_path / ("cells.lib.gz" if content.startswith(b"\x1f") else "cells.lib")
    liberty.write_bytes(content)
    with pytest.raises(BadInputError, match=r"cells\.lib"):
        synthesise(job(target="liberty", liberty=liberty), lambda _: None)


@pytest.mark.parametrize("options", [["--target", "liberty"], ["--liberty", "x.lib", "--target", "ecp5"], ["--place"]])
def test_options_that_do_not_go_together(options: list[str], tmp_path: Path) -> None:
    assert main(["synth", str(tmp_path), *options]) == 2


SMALL = """
module small (input wire clock, input wire [7:0] a, b, output reg [7:0] q);
    wire [7:0] sum = a + b;
    always @(posedge clock) q <= sum {mistake};
endmodule
"""


@pytest.mark.slow
@pytest.mark.usefixtures("yosys")
class TestWithYosys:
    def test_a_small_module(self, job: Callable[..., Job]) -> None:
        result = synthesise(job(SMALL.format(mistake="")), lambda _: None)
        assert result.passed and result.totals["ff"] == 8 and result.totals["carry4"] == 2

    def test_a_name_without_a_driver(self, job: Callable[..., Job]) -> None:
        with pytest.raises(CheckFailedError, match="nowhere"):
            synthesise(job(SMALL.format(mistake="+ nowhere")), lambda _: None)

    def test_a_multiplier_is_a_finding(self, job: Callable[..., Job]) -> None:
        text = SMALL.replace("[7:0]", "[15:0]").format(mistake="* a")
        result = synthesise(job(text), lambda _: None)
        assert not result.passed and "multipliers" in result.findings[0]

    def test_the_digits_accelerator(
        self, digits: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Block RAM for every large memory, no multiplier, and a size that does not creep up."""
        assert main(["generate", str(digits("inner")), "-o", str(tmp_path / "rtl"), "--quiet"]) == 0
        assert main(["synth", str(tmp_path / "rtl"), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        totals = report["modules"][0]["resources"]
        assert "dsp" not in totals and totals["lut"] < 23_000 and totals["ff"] < 20_000
        assert totals["ramb36"] + totals["ramb18"] / 2 < 145
        large = [use for use in report["modules"] if use["path"].endswith(("spike_memory", "weight_memory"))]
        assert len(large) == 2 and all(use["resources"].keys() & {"ramb18", "ramb36"} for use in large)

    @pytest.mark.usefixtures("nextpnr")
    def test_the_clock_of_ecp5_8x8_is_closed(
        self, digits: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The whole accelerator of the digits, placed and routed: some ten minutes."""
        assert main(["generate", str(digits("inner", "ecp5-8x8")), "-o", str(tmp_path / "rtl"), "--quiet"]) == 0
        assert main(["synth", str(tmp_path / "rtl"), "--target", "ecp5", "--place", "--json"]) == 0
        reached = json.loads(capsys.readouterr().out)["max_frequency_mhz"]
        assert reached >= load_hardware("ecp5-8x8").frequency_mhz
