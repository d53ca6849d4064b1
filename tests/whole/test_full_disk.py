"""Every file that a command writes, on a disk that fills up: one line, a documented exit code, no half of a file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dtss.compiler import cli as compiler
from dtss.compiler.schedule.errors import EXIT_BAD_INPUT, EXIT_OK
from dtss.hwsim import cli as hwsim
from dtss.models import cli as models
from dtss.models.checkpoint import load
from dtss.rtl import cli as rtl
from tests.compiler.refusals import contents
from tests.full_disk import REASON, full_disk

Main = Callable[[Sequence[str]], int]
TINY = """
base = "digits"
[network]
name = "tiny"
depth = 1
dim = 16
heads = 2
stem_channels = [8, 16]
[recipe]
epochs = 2
batch_size = 20
mask_weight = 0.1
"""
STUDY_OPTIONS = ["--groups", "none", "--initial-steps", "4", "--time-steps", "4", "--limit-images", "40", "--quiet"]
ALL_OF_THEM = "nothing was changed; free space or choose another place"
ONE_OF_THEM = "the file is as it was; free space or choose another place"


@pytest.fixture(scope="module")
def inputs(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network, its schedule, its Verilog, and what a training needs."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "digits.pt").write_bytes((repository / "models" / "zoo" / "digits.pt").read_bytes())
    (folder / "tiny.toml").write_text(TINY)
    assert compiler.main([str(folder / "digits.pt"), "-o", str(folder / "net.json"), "--quiet"]) == EXIT_OK
    assert rtl.main(["generate", str(folder / "net.json"), "-o", str(folder / "verilog"), "--quiet"]) == EXIT_OK
    return folder


@pytest.fixture
def work(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to write into, with files of an earlier run in it; ../in has the inputs."""
    monkeypatch.setattr("dtss.compiler.export_onnx.onnx_bytes", lambda graph: bytes(1000))  # the real one takes seconds
    (tmp_path / "in").symlink_to(inputs)
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("out.json", "out.safetensors", "out.onnx", "r.json", "r.html", "r.npz", "s.svg"):
        (folder / name).write_text("of an earlier run")
    shutil.copytree(inputs / "verilog", folder / "verilog")
    monkeypatch.chdir(folder)
    return folder


COMPILE = ["../in/digits.pt", "-o", "out.json", "--onnx", "out.onnx", "--dump", "dumps/here", "--quiet"]
SIMULATE = [
    "../in/net.json", "--limit", "1", "--json", "r.json", "--html", "r.html", "--outputs", "r.npz", "--csv", "r.csv",
    "--trace", "r.trace", "--quiet",
]  # fmt: skip
GENERATE = ["generate", "../in/net.json", "-o", "verilog", "--quiet"]
SENSITIVITY = ["sensitivity", "../in/digits.pt", "--images", "2", "--svg", "s.svg"]

VERILOG = "dtss-rtl: error: {folder}/verilog: {}; free space or choose another place"

# (command, its arguments, the file on which the disk fills up, the line)
WRITTEN_AS_ONE: dict[str, tuple[Main, list[str], str, str]] = {
    "schedule": (compiler.main, COMPILE, ".out.json.", f"dtss-compile: error: out.json: {{}}; {ALL_OF_THEM}"),
    "tensors": (compiler.main, COMPILE, "out.safe", f"dtss-compile: error: out.safetensors: {{}}; {ALL_OF_THEM}"),
    "--onnx": (compiler.main, COMPILE, "out.onnx", f"dtss-compile: error: out.onnx: {{}}; {ALL_OF_THEM}"),
    "--dump": (
        compiler.main, COMPILE, "00-frontend",
        f"dtss-compile: error: dumps/here/00-frontend.txt: {{}}; {ALL_OF_THEM}",
    ),
    "--json": (hwsim.main, SIMULATE, "r.json", f"dtss-sim: error: r.json: {{}}; {ALL_OF_THEM}"),
    "--html": (hwsim.main, SIMULATE, "r.html", f"dtss-sim: error: r.html: {{}}; {ALL_OF_THEM}"),
    "--csv": (hwsim.main, SIMULATE, "r.csv", f"dtss-sim: error: r.csv: {{}}; {ALL_OF_THEM}"),
    "--trace": (hwsim.main, SIMULATE, "r.trace", f"dtss-sim: error: r.trace: {{}}; {ALL_OF_THEM}"),
    "--outputs": (hwsim.main, SIMULATE, "r.npz", f"dtss-sim: error: r.npz: {{}}; {ALL_OF_THEM}"),
    "Verilog": (rtl.main, GENERATE, "ac_array.v", VERILOG),
    "memories": (rtl.main, GENERATE, ".hex", VERILOG),
    "--svg": (
        models.main, SENSITIVITY, "s.svg",
        f"dtss-train sensitivity: s.svg: cannot be written: found {REASON}; {ONE_OF_THEM}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("output", WRITTEN_AS_ONE)
def test_nothing_changes(work: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    main, arguments, name, line = WRITTEN_AS_ONE[output]
    before = contents(work)
    with full_disk(name):
        code = main(arguments)
    captured = capsys.readouterr()
    assert captured.err == line.format(f"cannot be written ({REASON})", folder=work) + "\n"
    assert (code, captured.out) == (EXIT_BAD_INPUT, "")
    assert contents(work) == before


# (the file on which the disk fills up, what is there afterwards: whole files, from which --resume goes on)
TRAINED: dict[str, tuple[str, list[str]]] = {
    "checkpoint": ("x.pt", []),
    "best checkpoint": ("x.best.pt", ["x.pt"]),
    "log": ("x.csv", ["x.best.pt", "x.pt"]),
    "state": ("x.pt.training", ["x.best.pt", "x.csv", "x.pt"]),
}


@pytest.mark.parametrize("output", TRAINED)
def test_training_goes_on_when_there_is_space_again(
    work: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    name, whole = TRAINED[output]
    before = contents(work)
    arguments = ["--config", "../in/tiny.toml", "-o", "x.pt", "--limit-images", "40", "--quiet"]
    with full_disk(f".{name}."):
        code = models.main(arguments)
    captured = capsys.readouterr()
    assert captured.err == f"dtss-train: {name}: cannot be written: found {REASON}; {ONE_OF_THEM}\n"
    assert (code, captured.out) == (EXIT_BAD_INPUT, "")
    assert sorted(path.name for path in contents(work).keys() - before.keys()) == whole
    for path in work.glob("*.pt"):
        load(path)
    assert models.main([*arguments, "--resume"]) == EXIT_OK
    assert sorted(path.name for path in contents(work).keys() - before.keys()) == ["x.best.pt", "x.csv", "x.pt"]


@pytest.mark.parametrize("name", ["ablation.json", "ablation.csv", "ablation.md"])
def test_study_keeps_whole_files(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("dtss.models.ablation.rehearse", lambda plan: None)
    with full_disk(name):
        code = models.main(["ablation", "--config", "../in/tiny.toml", "-o", "study", *STUDY_OPTIONS])
    captured = capsys.readouterr()
    assert captured.err == f"dtss-train ablation: study/{name}: cannot be written: found {REASON}; {ONE_OF_THEM}\n"
    assert (code, captured.out) == (EXIT_BAD_INPUT, "")
    order = ["ablation.json", "ablation.csv", "ablation.md"]
    assert sorted(path.name for path in contents(work / "study")) == sorted(order[: order.index(name)])


@pytest.mark.rtl
def test_verification_names_its_folder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with full_disk("request.json"):
        code = rtl.main(["verify", "verilog", "--quiet"])
    captured = capsys.readouterr()
    assert captured.err == (
        f"dtss-rtl: error: {work}/verilog/verify: cannot be written ({REASON}); "
        "free space or choose another folder with --work\n"
    )
    assert (code, captured.out) == (EXIT_BAD_INPUT, "")


PROGRAMS = ("dtss-compile", "dtss-sim", "dtss-rtl", "dtss-train")
ON_STANDARD_OUTPUT: dict[str, tuple[str, list[str], str]] = {
    "dtss-compile": ("compiler", ["../in/digits.pt", "-o", "new.json"], "error: "),
    "dtss-compile --json": ("compiler", ["../in/digits.pt", "-o", "new.json", "--json"], "error: "),
    "dtss-sim": ("hwsim", ["../in/net.json", "--limit", "1"], "error: "),
    "dtss-sim --json -": ("hwsim", ["../in/net.json", "--limit", "1", "--json", "-"], "error: "),
    "dtss-rtl generate": ("rtl", ["generate", "../in/net.json", "-o", "new"], "error: "),
    "dtss-train sensitivity": ("models", ["sensitivity", "../in/digits.pt", "--images", "2"], ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device of Linux")
@pytest.mark.parametrize("command", ON_STANDARD_OUTPUT)
def test_standard_output_on_a_full_disk(work: Path, command: str) -> None:
    folder, arguments, error = ON_STANDARD_OUTPUT[command]
    code = f"import sys; from dtss.{folder}.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment,
        )  # fmt: skip
    name = " ".join(word for word in command.split()[:2] if word in ("sensitivity", *PROGRAMS))
    if error:
        sentence = "standard output: cannot be written (No space left on device); free space or choose another place"
    else:
        sentence = "standard output: cannot be written: found No space left on device; free space"
    assert done.stderr == f"{name}: {error}{sentence}\n"
    assert done.returncode == EXIT_BAD_INPUT
