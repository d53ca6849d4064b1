"""dtss-compile as a person or a script meets it: files, outputs, exit codes, and one exact line for each mistake."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtss.compiler import cli
from dtss.compiler.ablation import ACCESSES, Ablation, AblationRow
from dtss.compiler.cli import OPTIONAL_PASSES, main
from dtss.compiler.graph.ir import Graph, Linear
from dtss.compiler.passes.base import Target
from dtss.compiler.passes.calibrate import Calibrate
from dtss.compiler.passes.hoist_constants import HoistConstants
from dtss.compiler.pipeline import PIPELINE, optional_passes
from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import AttentionProduct
from dtss.compiler.schedule.hardware import shipped_targets
from tests.compiler.refusals import assert_refused

PROGRAM = Path(sys.executable).with_name("dtss-compile")
Capture = pytest.CaptureFixture[str]
EDGE = shipped_targets()["edge-16x16"].read_text()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path) -> Path:
    """An empty folder to work in, with a checkpoint beside it: ../small.pt."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "small.pt").write_bytes(small_checkpoint.read_bytes())
    monkeypatch.chdir(folder)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_command_writes_a_schedule_and_says_so(zoo: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [PROGRAM, zoo, "-o", "digits.json"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert files(tmp_path) == ["digits.json", "digits.safetensors"]
    lines = answer.stdout.splitlines()
    assert lines[0] == "digits for edge-16x16"
    assert lines[-1] == "written           digits.json, digits.safetensors"
    loaded = io.load(tmp_path / "digits.json")
    assert set(loaded.tensors) >= {io.IMAGES, io.LABELS, io.FLOAT_LOGITS}
    assert loaded.schedule.passes == tuple(step.name for step in PIPELINE)


def test_same_input_same_bytes(work: Path) -> None:
    for name in ("one", "two"):
        Path(name).mkdir()
        assert main(["../small.pt", "-o", f"{name}/small.json", "--quiet"]) == 0
    for name in ("small.json", "small.safetensors"):
        assert (work / "one" / name).read_bytes() == (work / "two" / name).read_bytes()


def test_json_is_one_sorted_object(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "small.json", "--json", "--explain"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert captured.out == json.dumps(summary, indent=2, sort_keys=True) + "\n"
    assert captured.err == ""
    schedule = io.load(work / "small.json").schedule
    assert summary["schedule"] == "small.json"
    assert summary["time_steps"] == 4
    assert summary["average_time_steps_pruned"] == schedule.average_time_steps.pruned
    assert summary["weight_bits"] == schedule.memory.weight_bits
    assert summary["mask_steps"]["rpe.lif"] == [0, 1, 2]
    assert summary["active_steps"].keys() == {lif.name for lif in schedule.lif_nodes}


def test_quiet_prints_nothing(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "small.json", "--quiet", "--explain"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert files(work) == ["small.json", "small.safetensors"]


def test_explain_gives_every_layer_and_its_reasons(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "small.json", "--explain"]) == 0
    out = capsys.readouterr().out
    for node in io.load(work / "small.json").schedule.nodes:
        assert f"  {node.name}\n" in out
    assert "      step 3: masked\n" in out
    assert "b bias only, no weight read" in out


def test_dump_is_one_file_for_each_pass(work: Path) -> None:
    assert main(["../small.pt", "-o", "small.json", "--quiet", "--dump", "dumps/here"]) == 0
    names = ["frontend", *(step.name for step in PIPELINE)]
    assert files(work / "dumps" / "here") == [f"{index:02d}-{name}.txt" for index, name in enumerate(names)]
    assert (work / "dumps/here/00-frontend.txt").read_text().startswith("digits: 4 time steps\n")


def test_onnx_is_written_beside(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtss.compiler.export_onnx.onnx_bytes", lambda graph: graph.network.encode())
    assert main(["../small.pt", "-o", "small.json", "--quiet", "--onnx", "small.onnx"]) == 0
    assert files(work) == ["small.json", "small.onnx", "small.safetensors"]
    assert (work / "small.onnx").read_bytes() == b"digits"


def test_mask_with_a_gap_is_compiled_with_a_warning(work: Path, capsys: Capture) -> None:
    """TP = (1, −1, 1, ½) gives TS = (1½, ½, 1½, ½): steps 0 and 2."""
    import torch

    scores = "stem.0.lif.mask.score"
    gap = rewritten(
        Path("../small.pt"),
        "gap.pt",
        lambda payload: payload["state_dict"][scores].copy_(torch.tensor([1.0, -1.0, 1.0, 0.5])),
    )
    assert main([str(gap), "-o", "gap.json", "--quiet"]) == 0
    assert capsys.readouterr().err == (
        "dtss-compile: warning: stem.0.lif: its mask keeps steps 0, 2, which is no prefix 1…10…0; "
        "compiled as it is, and the state is updated through the gaps\n"
    )
    lif = io.load(work / "gap.json").schedule.lif_nodes[0]
    assert (lif.mask_steps, lif.steps.active, lif.state_steps) == ((0, 2), (0, 2), (0, 1, 2))


def test_optional_passes_are_those_of_the_pipeline() -> None:
    assert optional_passes() == tuple(OPTIONAL_PASSES)


@pytest.mark.parametrize("name", OPTIONAL_PASSES)
def test_optional_pass_is_left_out(work: Path, name: str) -> None:
    assert main(["../small.pt", "-o", "small.json", "--quiet", f"--no-{name}"]) == 0
    passes = io.load(work / "small.json").schedule.passes
    assert passes == tuple(step.name for step in PIPELINE if step.name != name)


def test_ablation_says_what_each_pass_is_worth(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "small.json", "--json", "--ablation", "--limit", "3"]) == 0
    rows = json.loads(capsys.readouterr().out)["ablation"]
    together = [name for name in OPTIONAL_PASSES if name != "calibrate"]
    assert [row["switched_off"] for row in rows] == [[], *([name] for name in OPTIONAL_PASSES), together]
    assert all(row["same_integers"] for row in rows)
    by_pass = {" ".join(row["switched_off"]): row for row in rows}
    assert by_pass["prune-time-steps"]["cycles"] > by_pass[""]["cycles"]
    assert by_pass["hoist-constants"]["accumulates"] > by_pass[""]["accumulates"]
    assert files(work) == ["small.json", "small.safetensors"]


def test_ablation_as_a_table_with_what_does_not_fit(work: Path, capsys: Capture) -> None:
    Path("tight.toml").write_text(EDGE.replace("strip_slots = 32", "strip_slots = 3"))
    options = ["--ablation", "--limit", "2", "--hardware", "tight.toml", "--time-order", "inner"]
    assert main(["../small.pt", "-o", "small.json", *options]) == 0
    out = capsys.readouterr().out
    assert "for an image, mean of 2\n" in out
    assert re.search(r"^all passes .* the same$", out, flags=re.MULTILINE)
    assert re.search(r"^without prune-time-steps +does not compile$", out, flags=re.MULTILINE)
    assert "without prune-time-steps: stem.1.conv: 4 time steps do not fit the 3 accumulator slots" in out


def test_ablation_that_finds_other_integers_fails(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A pass that changes the head's bias stands for any wrong one."""
    right = HoistConstants.run

    def wrong(self: HoistConstants, graph: Graph, target: Target) -> Graph:
        hoisted = right(self, graph, target)
        head = hoisted.node("head")
        assert isinstance(head.op, Linear)
        other = np.ones(head.channels)
        return hoisted.map_nodes({"head": replace(head, op=replace(head.op, bias=other))})

    monkeypatch.setattr(HoistConstants, "run", wrong)
    assert main(["../small.pt", "-o", "small.json", "--ablation", "--limit", "2"]) == 1
    assert re.search(r"^without hoist-constants .* DIFFER$", capsys.readouterr().out, flags=re.MULTILINE)


def test_ablation_calibrates_once(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """No other pass's switch changes what calibration sees; its own is the one row whose integers may differ."""
    right, graphs = Calibrate.run, []

    def counted(self: Calibrate, graph: Graph, target: Target) -> Graph:
        graphs.append(graph)
        return right(self, graph, target)

    monkeypatch.setattr(Calibrate, "run", counted)
    pixels = np.random.default_rng(0).integers(0, 17, (8, 8, 8, 1), dtype=np.uint8)
    np.savez("images.npz", images=pixels, labels=np.zeros(8, np.int64))
    options = ["--json", "--ablation", "--limit", "2", "--weight-bits", "3", "--calibration", "images.npz"]
    assert main(["../small.pt", "-o", "small.json", *options]) == 0
    rows = json.loads(capsys.readouterr().out)["ablation"]
    assert len(graphs) == 1
    assert [row["switched_off"] for row in rows if not row["promised"]] == [["calibrate"]]
    assert all(row["same_integers"] for row in rows if row["promised"])


def test_only_a_broken_promise_fails_the_ablation() -> None:
    for promised in (True, False):
        row = AblationRow(("x",), 1.0, 1.0, 1.0, dict.fromkeys(ACCESSES, 1.0), same_integers=False, promised=promised)
        found = Ablation((row,), "45nm", 1)
        assert found.agrees == (not promised)
        assert found.as_text().endswith("DIFFER" if promised else "others")


def test_simulator_that_fails_is_quoted(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "small.json", "--ablation", "--tech", "no.toml"]) == 3
    assert capsys.readouterr().err.startswith("dtss-compile: error: --ablation: dtss-sim: no.toml: ")
    assert files(work) == []


def test_weight_bits_of_all_and_of_one_layer(work: Path) -> None:
    options = ["--weight-bits", "5", "--layer-weight-bits", "rpe.conv=3", "--layer-weight-bits", "head=8"]
    assert main(["../small.pt", "-o", "small.json", "--quiet", *options]) == 0
    loaded = io.load(work / "small.json")
    bits = {node.name: node.weight_bits for node in loaded.schedule.products if not isinstance(node, AttentionProduct)}
    assert (bits.pop("rpe.conv"), bits.pop("head"), set(bits.values())) == (3, 8, {5})
    largest = {name: int(np.abs(loaded.tensors[f"{name}.weight"]).max()) for name in ("rpe.conv", "head", *bits)}
    assert (largest.pop("rpe.conv"), largest.pop("head"), set(largest.values())) == (3, 127, {15})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--weight-bits", "9"], "stem.0.conv: weights of 9 bits; the array of edge-16x16 takes 2 to 8"),
        (["--weight-bits", "1"], "stem.0.conv: weights of 1 bits; the array of edge-16x16 takes 2 to 8"),
        (
            ["--layer-weight-bits", "rpe=4"],
            "rpe: has no weights to set bits of; name a layer that has: rpe.conv",
        ),
    ],
)
def test_impossible_weight_bits(work: Path, capsys: Capture, options: list[str], sentence: str) -> None:
    assert_refused(capsys, 4, ["../small.pt", "-o", "x.json", *options], sentence)


@pytest.mark.parametrize("order", ["inner", "outer"])
def test_time_order_is_obeyed(work: Path, order: str) -> None:
    assert main(["../small.pt", "-o", "small.json", "--quiet", "--time-order", order, "--hardware", "wide-64x32"]) == 0
    schedule = io.load(work / "small.json").schedule
    orders = {node.tiling.time_order for node in schedule.products if node.tiling and not node.steps.reused}
    assert orders == {order}
    assert schedule.hardware.name == "wide-64x32"


def test_help_is_quick_and_loads_no_torch(tmp_path: Path) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        answer = subprocess.run([PROGRAM, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "exit codes: 0 ok, 1 check failed, 2 usage, 3 bad input file" in answer.stdout
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.3
    code = (
        "import contextlib, io, sys\nfrom dtss.compiler.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n    main(['--help'])\n"
        "sys.exit(str(sorted({'torch', 'numpy', 'networkx'} & set(sys.modules))))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: model, -o/--output"),
        (["../small.pt"], "the following arguments are required: -o/--output"),
        (["../small.pt", "-o", "x.json", "--fast"], "unrecognized arguments: --fast"),
        (["../small.pt", "-o", "x.json", "--no-quantise"], "unrecognized arguments: --no-quantise"),
        (
            ["../small.pt", "-o", "x.json", "--layer-weight-bits", "head:4"],
            "argument --layer-weight-bits: head:4: write it as LAYER=N",
        ),
        (
            ["../small.pt", "-o", "x.json", "--time-order", "random"],
            "argument --time-order: invalid choice: 'random' (choose from 'inner', 'outer')",
        ),
    ],
)
def test_usage_error(work: Path, capsys: Capture, arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        last.replace("choose from inner, outer", "choose from 'inner', 'outer'") == f"dtss-compile: error: {sentence}"
    )
    assert files(work) == []


CHECKPOINT = "give the path of a checkpoint file"
AGAIN = "copy it again or train it again with dtss-train"


def test_missing_checkpoint(work: Path, capsys: Capture) -> None:
    assert_refused(capsys, 3, ["no.pt", "-o", "x.json"], f"no.pt: no such file: found nothing; {CHECKPOINT}")


def test_truncated_checkpoint(work: Path, capsys: Capture) -> None:
    Path("cut.pt").write_bytes(Path("../small.pt").read_bytes()[:5000])
    assert_refused(
        capsys,
        3,
        ["cut.pt", "-o", "x.json"],
        f"cut.pt: not a checkpoint, or truncated: found 5000 bytes that are no whole archive; {AGAIN}",
    )


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch exploited",)


def rewritten(source: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a checkpoint with its payload changed."""
    import torch

    payload = torch.load(source, weights_only=True)
    change(payload)
    torch.save(payload, name)
    return Path(name)


def test_checkpoint_that_carries_code(work: Path, capsys: Capture) -> None:
    rewritten(Path("../small.pt"), "evil.pt", lambda payload: payload.update(training=Exploit()))
    assert_refused(
        capsys,
        3,
        ["evil.pt", "-o", "x.json"],
        "evil.pt: holds Python objects that would run code: found posix.system; "
        "a checkpoint holds tensors and plain values only; open it otherwise only if you trust it",
    )
    assert not Path("exploited").exists()


def test_checkpoint_with_nan_weights(work: Path, capsys: Capture, zoo: Path) -> None:
    rewritten(zoo, "nan.pt", lambda payload: payload["state_dict"]["head.weight"].__setitem__((0, 0), float("nan")))
    assert_refused(
        capsys,
        3,
        ["nan.pt", "-o", "x.json"],
        "nan.pt: state_dict: head.weight: not finite: found 1 NaN or infinite of 640 values; "
        "training diverged: train again with a smaller --lr",
    )


def test_checkpoint_of_another_format(work: Path, capsys: Capture) -> None:
    rewritten(Path("../small.pt"), "new.pt", lambda payload: payload.update(format="dtss-checkpoint/9"))
    assert_refused(
        capsys,
        3,
        ["new.pt", "-o", "x.json"],
        "new.pt: unknown format: found 'dtss-checkpoint/9'; this version reads 'dtss-checkpoint/1'; "
        "train it again with dtss-train",
    )


ROWS = "bad.toml: array.weight_rows_per_cycle"
BAD = "bad.toml: not a valid hardware file: "
COMPARE = "compare it with a shipped target"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            EDGE.replace("strip_slots = 32 ", "# "),
            f"{BAD}Object missing required field `strip_slots` - at `$.array`; {COMPARE}",
        ),
        (
            EDGE.replace("rows = 16 ", "rows = 0 "),
            "bad.toml: array.rows: found 0; give a whole number from 1 to 1024",
        ),
        (
            EDGE.replace("accumulator = 24", "accumulator = 64"),
            "bad.toml: widths.accumulator: found 64; give a whole number from 8 to 48",
        ),
        (
            EDGE.replace("rows = 16 ", 'rows = "many" '),
            f"{BAD}Expected `int`, got `str` - at `$.array.rows`; {COMPARE}",
        ),
        (
            EDGE + "\n[power]\nwatts = 3\n",
            f"{BAD}Object contains unknown field `power`; {COMPARE}",
        ),
        (
            "rows: 16\n",
            f"{BAD}Expected '=' after a key in a key/value pair (at line 1, column 5); {COMPARE}",
        ),
        (
            EDGE.replace("weight_rows_per_cycle = 1", "weight_rows_per_cycle = 17"),
            f"{ROWS}: found 17, and a weight tile has 16 rows; load at most one in a cycle",
        ),
        (EDGE.replace("200.0", "nan"), "bad.toml: frequency_mhz: found nan; give a clock in MHz"),
    ],
)
def test_bad_hardware_file(work: Path, capsys: Capture, text: str, sentence: str) -> None:
    Path("bad.toml").write_text(text)
    assert_refused(capsys, 3, ["../small.pt", "-o", "x.json", "--hardware", "bad.toml"], sentence)


def test_unknown_hardware(work: Path, capsys: Capture) -> None:
    assert_refused(
        capsys,
        3,
        ["../small.pt", "-o", "x.json", "--hardware", "edge"],
        "edge: cannot be read as a hardware file ([Errno 2] No such file or directory: 'edge'); "
        "give a TOML file, or one of: asic-28nm, ecp5-8x8, edge-16x16, kintex7, large-64x32, wide-64x32",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "no/x.json"], "no/x.json: the folder no does not exist; create it first"),
        (["-o", "x.json", "--onnx", "no/x.onnx"], "no/x.onnx: the folder no does not exist; create it first"),
        (
            ["-o", "x.json", "--onnx", "x.json"],
            "x.json: is a file of the schedule itself; give --onnx a name of its own",
        ),
        (["-o", ".."], "..: is a folder; name a file in it"),
        (["-o", ""], ".: is a folder; name a file in it"),
        (
            ["-o", "x.safetensors"],
            "x.safetensors: is the name of the schedule's tensors; end the schedule's name in .json",
        ),
    ],
)
def test_impossible_output(work: Path, capsys: Capture, arguments: list[str], sentence: str) -> None:
    assert_refused(capsys, 3, ["../small.pt", *arguments], sentence)


def test_output_that_cannot_be_written(work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(io.tempfile, "mkstemp", read_only)  # type: ignore[attr-defined]
    assert_refused(
        capsys,
        3,
        ["../small.pt", "-o", "x.json"],
        "x.safetensors: cannot be written (Permission denied); nothing was changed; free space or choose another place",
    )


def test_dump_folder_that_is_a_file(work: Path, capsys: Capture) -> None:
    Path("dump").write_text("")
    arguments = ["../small.pt", "-o", "x.json", "--dump", "dump"]
    assert_refused(capsys, 3, arguments, "dump: is a file; name a folder for the dumps")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "spike_bytes = 32768",
            "spike_bytes = 100",
            (
                "memory.spike_bytes: the network needs 768 bytes at once, and edge-16x16 has 100; "
                "use a hardware file with memory.spike_bytes = 768 or more"
            ),
        ),
        (
            "accumulator = 24",
            "accumulator = 8",
            (
                "stem.0.conv: its accumulator can reach 0 … 18288, 16 bits, and the hardware has 8; "
                "use a hardware file with widths.accumulator = 16 or more, or a smaller widths.weight"
            ),
        ),
    ],
)
def test_network_that_does_not_fit(work: Path, capsys: Capture, old: str, new: str, sentence: str) -> None:
    assert old in EDGE
    Path("tight.toml").write_text(EDGE.replace(old, new))
    assert_refused(capsys, 4, ["../small.pt", "-o", "x.json", "--hardware", "tight.toml"], sentence)


def test_failed_run_keeps_the_schedule_of_the_run_before(work: Path, capsys: Capture) -> None:
    assert main(["../small.pt", "-o", "x.json", "--quiet"]) == 0
    Path("tight.toml").write_text(EDGE.replace("spike_bytes = 32768", "spike_bytes = 100"))
    assert main(["../small.pt", "-o", "x.json", "--quiet", "--hardware", "tight.toml"]) == 4
    io.load(work / "x.json")


def test_internal_error_has_its_own_code(work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_options: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli, "run", broken)
    assert main(["../small.pt", "-o", "x.json"]) == 70
    captured = capsys.readouterr()
    assert (
        captured.err
        == "dtss-compile: internal error: ZeroDivisionError: oh; please report it with the output of --debug\n"
    )
    assert main(["../small.pt", "-o", "x.json", "--debug"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err
