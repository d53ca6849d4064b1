"""A run with its files: what is written when, and that a killed run ends as if it had not been killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dtss.models.checkpoint import CheckpointError, load
from dtss.models.cli import main
from dtss.models.run import best_path
from dtss.models.training_log import COLUMNS
from dtss.models.training_state import state_path

TINY = """
base = "digits"
[network]
name = "tiny"
depth = 1
dim = 16
heads = 2
stem_channels = [8, 16]
[recipe]
epochs = 6
batch_size = 20
"""
OPTIONS = ["--limit-images", "200", "--quiet"]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def command(settings: Path, output: Path, *more: str) -> list[str]:
    return ["--config", str(settings), "-o", str(output), *OPTIONS, *more]


def rows(output: Path) -> list[dict[str, str]]:
    with output.with_suffix(".csv").open() as file:
        return list(csv.DictReader(file))


def test_last_and_best_checkpoint_and_log(settings: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "x.pt"
    output.parent.mkdir()
    assert main(command(settings, output, "--seed", "3")) == 0
    assert sorted(path.name for path in output.parent.iterdir()) == ["x.best.pt", "x.csv", "x.pt"]
    last, best, log = load(output), load(best_path(output)), rows(output)
    assert tuple(log[0]) == COLUMNS
    assert [row["epoch"] for row in log] == ["1", "2", "3", "4", "5", "6"]
    accuracies = [float(row["test_accuracy"]) for row in log]
    assert best.training["test_accuracy"] == pytest.approx(max(accuracies))
    assert best.training["epochs"] == accuracies.index(max(accuracies)) + 1
    assert (last.training["epochs"], last.training["finished"], last.training["train_images"]) == (6, True, 200)
    assert last.training["test_accuracy"] == pytest.approx(accuracies[-1])
    assert last.training["command"] == ("dtss-train --config tiny.toml -o x.pt --limit-images 200 --quiet --seed 3")
    assert all(float(row["images_per_second"]) > 0 for row in log)
    assert 0.0 < float(log[-1]["spike_rate"]) < 1.0
    elapsed = [float(row["elapsed_s"]) for row in log]
    assert elapsed == sorted(elapsed)


def killed(settings: Path, output: Path, epochs: int) -> int:
    """Starts the run in a process of its own, kills it within an epoch after `epochs`; how many batches it had done."""
    code = "import sys; from dtss.models.cli import main; sys.exit(main())"
    arguments = command(settings, output, "--save-every-minutes", "0", "--resume")
    # this process's dtss, wherever it was imported from
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if state_path(output).exists():
                state = torch.load(state_path(output), weights_only=True)
                if state["epoch"] >= epochs and state["batches"] > 0:
                    break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return int(torch.load(state_path(output), weights_only=True)["updates"])


def test_a_killed_run_ends_with_the_same_weights(settings: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.pt", tmp_path / "broken.pt"
    assert main(command(settings, whole)) == 0
    assert 0 < killed(settings, broken, epochs=1) < 60
    (tmp_path / ".broken.pt.training.12345").write_text("half of a state")
    assert main(command(settings, broken, "--resume")) == 0
    expected, resumed = load(whole), load(broken)
    assert list(expected.state_dict) == list(resumed.state_dict)
    for name, tensor in expected.state_dict.items():
        assert torch.equal(tensor, resumed.state_dict[name]), name
    differing = {name for name, value in expected.training.items() if value != resumed.training[name]}
    assert differing == {"command"}
    timeless = [name for name in COLUMNS if name not in ("images_per_second", "elapsed_s")]
    for before, after in zip(rows(whole), rows(broken), strict=True):
        assert [before[name] for name in timeless] == [after[name] for name in timeless]
    assert sorted(path.name for path in tmp_path.glob("*broken*")) == ["broken.best.pt", "broken.csv", "broken.pt"]
    assert not list(tmp_path.glob(".broken*"))
    assert load(best_path(whole)).training["epochs"] == load(best_path(broken)).training["epochs"]


def test_an_unfinished_run_is_neither_overwritten_nor_mixed_up(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "x.pt"

    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dtss.models.run.best_path", stop)
    assert main(command(settings, output, "--save-every-minutes", "0")) == 130
    assert capsys.readouterr().err == (
        "dtss-train: interrupted; the same command with --resume goes on from the last state\n"
    )
    monkeypatch.undo()
    with pytest.raises(SystemExit):
        main(command(settings, output))
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"dtss-train: error: -o {output}: {output}.training holds an unfinished run; "
        "give --resume to go on, or delete that file"
    )
    assert main(command(settings, output, "--resume", "--lr", "0.5")) == 3
    assert capsys.readouterr().err == (
        f"dtss-train: {output}.training: a run with another recipe.learning_rate: found 0.004 there and 0.5 now; "
        "give the options that it was started with, or delete this file to start afresh\n"
    )
    state_path(output).write_text("nothing")
    assert main(command(settings, output, "--resume")) == 3
    assert capsys.readouterr().err.startswith(f"dtss-train: {output}.training: no state of a run: found ")


def test_resuming_a_finished_run_does_nothing(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.pt"
    assert main(command(settings, output, "--epochs", "1", "--resume")) == 0  # nothing to resume: starts
    written = output.stat().st_mtime_ns
    assert main(command(settings, output, "--epochs", "1", "--resume")) == 0
    assert output.stat().st_mtime_ns == written
    assert refused(capsys, *command(settings, output, "--epochs", "2", "--resume")) == (
        f"3: dtss-train: {output}: a finished run with another epochs: found 1 there and 2 now; "
        "give another -o, or leave --resume out to train again"
    )
    assert refused(capsys, *command(settings, output, "--epochs", "1", "--initial-steps", "2", "--resume")) == (
        f"3: dtss-train: {output}: a finished run with another initial_steps: found 4 there and 2 now; "
        "give another -o, or leave --resume out to train again"
    )


@pytest.mark.parametrize("model", ["plain", "vit"])
def test_baselines_from_the_same_command(
    model: str, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.pt"
    options = [option for option in command(settings, output) if option != "--quiet"]
    assert main([*options, "--model", model, "--epochs", "2", "--store-half", "--loss", "tet"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert (", non-spiking, " in first) == (model == "vit")
    checkpoint = load(output)
    assert (checkpoint.config.masked, checkpoint.config.spiking) == (False, model == "plain")
    assert checkpoint.training["average_time_steps"] == (4.0 if model == "plain" else 1.0)
    assert torch.load(output, weights_only=True)["state_dict"]["head.weight"].dtype == torch.float16


SMALL = """
[network]
name = "small"
depth = 1
dim = 16
heads = 2
stem_channels = [8, 16]
stem_pools = [true, true]
"""


def test_cifar_100_gives_the_network_its_hundred_outputs(tmp_path: Path) -> None:
    home = tmp_path / "files" / "cifar-100-binary"
    home.mkdir(parents=True)
    for seed, name in enumerate(("train.bin", "test.bin")):
        records = np.random.default_rng(seed).integers(0, 100, (120, 3074), dtype=np.uint8)
        records.tofile(home / name)
    (home / "fine_label_names.txt").write_text("\n".join(f"class{i}" for i in range(100)))
    settings, output = tmp_path / "small.toml", tmp_path / "x.pt"
    settings.write_text('base = "spikformer-4-384"\n' + SMALL + "[recipe]\nepochs = 1\nbatch_size = 40\nthreads = 1\n")
    more = ("--data-set", "cifar100", "--data", str(home.parent), "--amp", "bf16")
    assert main(["--config", str(settings), "-o", str(output), "--quiet", *more]) == 0
    checkpoint = load(output)
    assert (checkpoint.config.classes, checkpoint.classes[99]) == (100, "class99")
    assert checkpoint.samples.images.shape[1:] == (32, 32, 3)
    assert checkpoint.training["command"].endswith("--data-set cifar100 --data DIR --amp bf16")
    assert str(tmp_path) not in repr(checkpoint.training)


def test_imagenet_folders_train_through_their_decoder(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for label, name in enumerate(("cat", "dog", "eel")):
            home = tmp_path / "imagenet" / part / name
            home.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (30 + 5 * i, 40), (80 * label, 10 * i, 9)).save(home / f"{i}.jpg")
    settings, output = tmp_path / "small.toml", tmp_path / "x.pt"
    network = SMALL + "image_size = [28, 28]\n"
    settings.write_text('base = "spikformer-8-512"\n' + network + "[recipe]\nepochs = 2\nbatch_size = 6\nthreads = 1\n")
    options = ["--config", str(settings), "-o", str(output), "--quiet", "--data", str(tmp_path), "--accumulate", "2"]
    assert main(options) == 0
    checkpoint = load(output)
    assert (checkpoint.config.classes, checkpoint.classes) == (3, ("cat", "dog", "eel"))
    assert checkpoint.samples.images.shape == (12, 28, 28, 3)


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    code: object
    try:
        code = main(list(options))
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err.splitlines()[-1]
    return f"{code}: {error}"


def test_what_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ("-o", str(tmp_path / "x.pt"))
    assert refused(capsys, "--config", "mnist-small", *output, "--data-set", "digits") == (
        "3: dtss-train: data set digits: wrong images: found 8×8 pixels of 1 channels; mnist-small reads 28×28 of 1; "
        "change image_size and in_channels in a TOML file, or choose another configuration"
    )
    assert refused(capsys, "--config", "cifar10-small", *output) == (
        "3: dtss-train: data set cifar10: no folder: found no --data; "
        "give --data DIR with its files; dtss never downloads any"
    )
    assert refused(capsys, "--config", "cifar10-small", *output, "--data", str(tmp_path)) == (
        f"3: dtss-train: {tmp_path}/cifar-10-batches-bin: no such data set: found nothing; unpack the official "
        "CIFAR-10 archive there (binary), or as cifar-10-batches-py (python)"
    )
    assert refused(capsys, "--config", "digit", *output).startswith(
        "2: dtss-train: error: --config digit: no such configuration (did you mean digits?); choose among digits, "
    )
    assert refused(capsys, "--config", "digits", *output, "--limit-images", "0") == (
        "2: dtss-train: error: argument --limit-images: '0' is not a whole number from 1 to 999999999"
    )
    assert refused(capsys, "--config", "digits", *output, "--device", "abacus").startswith(
        "2: dtss-train: error: --device abacus: "
    )
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_is_optional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert refused(capsys, "--config", "digits", "-o", str(tmp_path / "x.pt"), "--tensorboard", "runs") == (
        "2: dtss-train: error: --tensorboard runs: the package tensorboard is not installed; install it "
        "(pip install tensorboard) or leave the option out: the CSV holds the same numbers"
    )


def test_a_state_that_carries_code_is_refused(settings: Path, tmp_path: Path) -> None:
    from dtss.models.training_state import load_state

    torch.save({"format": "dtss-training/1", "run": settings}, tmp_path / "x.pt.training")
    with pytest.raises(CheckpointError, match="no state of a run: found Python objects that would run code"):
        load_state(tmp_path / "x.pt.training", {})
