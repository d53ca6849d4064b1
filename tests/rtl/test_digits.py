"""The digits network of the demo, whole images, both time orders, through the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtss.compiler.schedule.format import TimeOrder
from dtss.rtl.cli import main
from dtss.rtl.engine import COUNTERS
from dtss.rtl.generate import leaf_modules

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize(
    ("order", "hardware"), [("inner", "edge-16x16"), ("outer", "edge-16x16"), ("inner", "ecp5-8x8")]
)
def test_the_rtl_of_the_digits_network_equals_interpreter_and_simulator(
    order: TimeOrder, hardware: str, digits: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rtl"
    assert main(["generate", str(digits(order, hardware)), "-o", str(folder), "--quiet"]) == 0
    code = main(["verify", str(folder), "--images", "2", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert [item for layer in report["layers"] for item in layer["mismatches"]] == []
    assert report["lint"] == report["structure"] == report["changed_files"] == []
    assert [bench["passed"] for bench in report["benches"]] == [True] * 3
    assert report["passed"]
    assert code == 0
    assert all(layer["cycles_rtl"] == layer["cycles_expected"] > 0 for layer in report["layers"])
    assert all(layer["compared"]["counters"] == len(COUNTERS) for layer in report["layers"])
    assert [image["cycles_rtl"] for image in report["images"]] == [
        image["cycles_expected"] for image in report["images"]
    ]


def test_verify_prints_a_table_and_fails_on_a_seeded_bug(
    small_schedule: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rtl"
    assert main(["generate", str(small_schedule()), "-o", str(folder)]) == 0
    said = f"{folder}: {len(leaf_modules()) + 1} Verilog modules, a program of 24 rows, 7 transfers of weights\n"
    assert capsys.readouterr().out == said
    neuron = folder / "rtl" / "lif_neuron.v"
    neuron.write_text(neuron.read_text().replace("&& !never_fires", "&& never_fires"))
    assert main(["verify", str(folder), "--simulator", "icarus"]) == 1
    printed = capsys.readouterr()
    assert "small: RTL against golden model" in printed.out
    assert "the whole image" in printed.out
    wrong = r"stem\.conv: membranes at step \d, position \d+, channel \d: expected -?\d+, got -?\d+; see cycles"
    assert re.search(wrong, printed.out)
    assert "checks failed" in printed.out
    assert f"{neuron} is not as it was generated" in printed.err


def test_help_is_fast_and_imports_no_numpy() -> None:
    code = "import sys; from dtss.rtl import cli; cli._parser().format_help(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        ([], 2),
        (["generate"], 2),
        (["verify", ".", "--images", "0"], 2),
        (["verify", ".", "--image", "x"], 2),
    ],
)
def test_usage(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == code
    assert capsys.readouterr().err or code == 0


def test_input_errors_have_their_exit_code(
    small_schedule: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(tmp_path / "none.json"), "-o", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.startswith(
        f"dtss-rtl: error: {tmp_path / 'none.json'}: cannot be read as a schedule"
    )
    assert main(["verify", str(tmp_path)]) == 3
    assert "give a folder written by `dtss-rtl generate`" in capsys.readouterr().err
    main(["generate", str(small_schedule()), "-o", str(tmp_path / "out"), "--quiet"])
    assert main(["verify", str(tmp_path / "out"), "--image", "2"]) == 3
    assert "image 2 of 2; choose images 0 to 1" in capsys.readouterr().err


def test_a_missing_simulator_is_said(
    small_schedule: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(["generate", str(small_schedule()), "-o", str(tmp_path / "out"), "--quiet"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dtss.rtl.verify.lint", lambda sources, top: [])
    assert main(["verify", str(tmp_path / "out"), "--simulator", "icarus"]) == 2
    assert capsys.readouterr().err == (
        "dtss-rtl: error: iverilog: is not on PATH; "
        "install it (Debian: apt install iverilog), or choose --simulator verilator\n"
    )
