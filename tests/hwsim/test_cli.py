"""dtss-sim as a user meets it: exit codes, messages, files."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dtss.hwsim import cli
from dtss.hwsim.cli import main
from dtss.hwsim.technology import load_technology, shipped_tables
from dtss.rtl.cli import main as generate_verilog

RUN = "import sys; from dtss.hwsim.cli import main; sys.exit(main())"


def in_a_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_table_on_standard_output(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("small on bench-16x16 (16 × 16 array, 200 MHz), 45nm energies, 2 images (stored)\n")
    assert err == ""


def test_steps_are_printed_where_that_is_asked_for(digits_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(digits_path), "--limit", "2"]) == 0
    assert "step  words in" not in capsys.readouterr().out
    assert main([str(digits_path), "--limit", "2", "--steps"]) == 0
    out, _ = capsys.readouterr()
    assert "What each time step does, an image" in out
    assert "step  words in  skipped" in out
    assert "skipper  weight wait  word wait  drain  last results  control  DRAM wait" in out
    assert "weight wait (a weight tile serves all steps of a strip)" in " ".join(out.split())
    assert "membrane rows" not in out  # time runs innermost: a column without numbers


def test_every_file_is_written_and_the_same_input_gives_the_same_bytes(small_path: Path, tmp_path: Path) -> None:
    names = ("result.json", "report.html", "outputs.npz")
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        json_file, html_file, outputs = (str(folder / name) for name in names)
        options = ["--json", json_file, "--html", html_file, "--outputs", outputs, "--quiet"]
        assert main([str(small_path), *options]) == 0
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        contents.append([(folder / name).read_bytes() for name in names])
        time.sleep(1.1)  # longer than the resolution of a date inside a file
    assert contents[0] == contents[1]


def test_outputs(small_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    assert main([str(small_path), "--outputs", str(path), "--quiet"]) == 0
    with np.load(path) as outputs:
        assert sorted(outputs) == ["labels", "logits", "logits_per_step", "spike_counts/lif"]
        assert outputs["logits"].shape == (2, 2)
        assert outputs["logits_per_step"].shape == (2, 2, 2)
        np.testing.assert_array_equal(outputs["logits"], outputs["logits_per_step"].mean(axis=0))
        assert outputs["spike_counts/lif"].tolist() == [[1, 0], [1, 0]]
        assert outputs["labels"].tolist() == [0, 1]


def test_json_on_standard_output_is_only_json(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["format"] == "dtss-result/1"
    assert err == ""


def test_limit(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--json", "-", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "²"])
def test_wrong_limit(limit: str, small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(small_path), f"--limit={limit}"])
    assert stop.value.code == 2
    assert f"{limit!r} is not a whole number from 1 to 999999999" in capsys.readouterr().err


def test_no_schedule_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "SCHEDULE" in capsys.readouterr().err


def test_a_schedule_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json")]) == 3
    out, err = capsys.readouterr()
    assert err == (
        f"dtss-sim: error: {tmp_path}/none.json: cannot be read as a schedule (No such file or directory); "
        "check the path\n"
    )
    assert out == ""


def test_an_unknown_table(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--tech", "7nm"]) == 3
    assert capsys.readouterr().err.startswith("dtss-sim: error: 7nm: cannot be read as a technology table")


def test_crossbars_stand_beside_the_result(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--in-memory", "32nm-imc"]) == 0
    table = " ".join(capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "in memory 7.16 nJ in 10 PE-cycles an image, of 32 nm RRAM crossbars of 64 × 64, SpikeSim" in table
    assert main([str(small_path), "--in-memory", "32nm-imc", "--json", "-"]) == 0
    crossbars = json.loads(capsys.readouterr().out)["in_memory"]
    assert [(product["name"], product["pe_cycles"]) for product in crossbars["products"]] == [
        ("hidden", 8),
        ("head", 2),
    ]
    assert main([str(small_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["in_memory"] is None


def test_crossbars_are_no_table_of_the_machine(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--tech", "32nm-imc"]) == 3
    assert "use --in-memory 32nm-imc" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--html", str(tmp_path / "none" / "report.html")]) == 3
    out, err = capsys.readouterr()
    assert "cannot be written (No such file or directory)" in err
    assert out == ""


def test_clipped_inputs_are_told(small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "bright.npy", np.full((1, 3, 1, 2), 9.0))
    assert main([str(small_path), "--images", str(tmp_path / "bright.npy"), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == "dtss-sim: warning: bright.npy: 6 input values lie outside pixels 0 … 15; clipped\n"
    assert json.loads(out)["totals"]["clipped_input_values"] == 6


def test_a_bug_asks_to_be_reported(
    small_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(options: object) -> None:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(cli, "_run", broken)
    assert main([str(small_path)]) == 70
    expected = "dtss-sim: internal error: ZeroDivisionError: of course; please report it with the output of --debug\n"
    assert capsys.readouterr().err == expected
    assert main([str(small_path), "--debug"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_too_little_memory_is_no_bug(
    small_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def large(options: object) -> None:
        raise MemoryError("Unable to allocate 149. GiB")

    monkeypatch.setattr(cli, "_run", large)
    assert main([str(small_path)]) == 4
    assert capsys.readouterr().err == (
        "dtss-sim: error: memory: this machine has too little (Unable to allocate 149. GiB); "
        "use a smaller model or fewer images\n"
    )


def test_interrupted(small_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main([str(small_path)]) == 130


def test_help_does_not_wait_for_numpy() -> None:
    code = (
        "import sys\nfrom dtss.hwsim.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'rich', 'numba', 'jinja2', 'torch', 'msgspec'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_simulating_imports_neither_torch_nor_the_compiler(small_path: Path) -> None:
    code = (
        f"import sys\nfrom dtss.hwsim.cli import main\nassert main([{str(small_path)!r}, '--quiet']) == 0\n"
        "found = [m for m in sys.modules if m == 'torch' or m.startswith(('dtss.compiler.passes', 'dtss.rtl'))]\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_error(small_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(small_path), "--json", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 141)


def test_no_colour_codes_where_no_terminal_is(small_path: Path) -> None:
    done = in_a_process(small_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_closed_folder_keeps_the_old_file(small_path: Path, tmp_path: Path) -> None:
    """Nothing is left behind where a file cannot be replaced."""
    target = tmp_path / "result.json"
    target.mkdir()
    done = in_a_process(small_path, "--json", target)
    assert done.returncode == 3
    assert target.is_dir()
    assert not list(tmp_path.glob(".result.json*"))


BILLION = 10**9
ABSURD: dict[str, tuple[tuple[str | int, ...], object, str]] = {
    "time": (("time_steps",), BILLION, "time_steps: found 1000000000; give 1 to 64"),
    "image": (
        ("nodes", 0, "shape"),
        [BILLION, 2, 3],
        "image.shape: found (1000000000, 2, 3); sizes are 1 to 1048576",
    ),
    "layer": (
        ("nodes", 1, "shape"),
        [1, 2, 1 << 20],
        "hidden.weight: hidden.weight is int8 (2, 3); an integer tensor of shape (1048576, 3) is needed; recompile",
    ),
    "array": (
        ("hardware", "array", "rows"),
        BILLION,
        "hardware: array.rows: found 1000000000; give a whole number from 1 to 1024",
    ),
}


@pytest.mark.parametrize("program", ["dtss-sim", "dtss-rtl"])
@pytest.mark.parametrize("case", ABSURD)
def test_absurd_sizes_of_a_schedule(
    small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, program: str
) -> None:
    place, value, sentence = ABSURD[case]
    document = json.loads(small_path.read_bytes())
    part = document
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    small_path.write_text(json.dumps(document))
    before = sorted(tmp_path.rglob("*"))
    if program == "dtss-sim":
        code = main([str(small_path), "--json", str(tmp_path / "result.json")])
    else:
        code = generate_verilog(["generate", str(small_path), "-o", str(tmp_path / "verilog")])
    assert capsys.readouterr() == ("", f"{program}: error: {small_path}: {sentence}\n")
    assert code == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_images_that_their_file_only_claims(
    small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "claim.npy"
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (BILLION, 1, 2, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    assert main([str(small_path), "--images", str(path), "--json", str(tmp_path / "result.json")]) == 3
    out, err = capsys.readouterr()
    assert err.startswith(f"dtss-sim: error: {path}: is no array file (")  # the rest is numpy's
    assert err.endswith("); give a .npy or .npz file that numpy.save wrote, without objects in it\n")
    assert (out, (tmp_path / "result.json").exists()) == ("", False)


def test_comparison_in_the_table_and_the_json(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--compare"]) == 0
    out, _ = capsys.readouterr()
    assert "the SNN does not win here" in out
    assert "plain, 2 steps" in out
    assert "1-bit ANN" in out  # the mask leaves one of two steps
    assert main([str(small_path), "--compare", "--ann-zeros", "0.25", "--json", "-"]) == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert [variant["key"] for variant in comparison["variants"]] == [
        "this", "plain", "fp32", "int8", "int8_zeros", "few_bits",
    ]  # fmt: skip
    assert comparison["variants"][4]["label"] == "int8 ANN with 25 % zeros"
    assert comparison["plain_is_exact"] is False


def test_no_comparison_without_asking(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["comparison"], document["paper_model"]) == (None, None)


def test_a_plain_network_of_its_own(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--compare", "--plain", str(small_path), "--json", "-"]) == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert comparison["plain_is_exact"] is True
    this, plain = comparison["variants"][:2]
    assert this["energy_pj_per_image"] == plain["energy_pj_per_image"]


def test_the_papers_accounting(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_path), "--model", "paper"]) == 0
    assert "As the DTSS paper counts it" in capsys.readouterr().out
    assert main([str(small_path), "--model", "paper", "--json", "-"]) == 0
    model = json.loads(capsys.readouterr().out)["paper_model"]
    assert model["membrane_accesses_per_image"] == 8


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "x"])
def test_wrong_share_of_zeros(share: str, small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(small_path), "--compare", f"--ann-zeros={share}"])
    assert stop.value.code == 2
    assert f"{share!r} is not a number from 0 to 1" in capsys.readouterr().err


def test_printing_a_table(small_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a schedule also what events cost at its machine's widths."""
    assert main(["--tech", "45nm", "--print-tech"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["events"] is None and alone["table"]["zero_check"]["pj"] == 0.001
    assert main([str(small_path), "--print-tech"]) == 0
    printed = json.loads(capsys.readouterr().out)
    width = json.loads(small_path.read_bytes())["hardware"]["widths"]["accumulator"]
    assert printed["table"] == alone["table"]
    assert printed["events"]["accumulate"] == pytest.approx(load_technology("45nm").accumulate.at(width))


def test_comparing_with_a_table_that_has_no_multiplication(
    small_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.toml"
    text = shipped_tables()["45nm"].read_text(encoding="utf-8")
    table.write_text(text.partition("[multiply]")[0] + text[text.index("[sram_leakage]") :], encoding="utf-8")
    assert main([str(small_path), "--tech", str(table), "--quiet"]) == 0
    assert main([str(small_path), "--tech", str(table), "--compare"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "dtss-sim: error: 45nm: multiply: is missing; add a table [multiply] with anchors of bits and pj, per, source "
        "and confidence, or leave --compare out\n"
    )
