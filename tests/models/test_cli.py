"""dtss-train, as its user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtss.models import run as run_module
from dtss.models.checkpoint import load
from dtss.models.cli import main

SHORT = ["--config", "digits", "--epochs", "2", "--threads", "1", "--batch-size", "128"]


def test_two_epochs_write_a_checkpoint_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "digits.pt"
    assert main([*SHORT, "-o", str(path), "--time-steps", "2", "--neuron", "dtss", "--seed", "7"]) == 0
    checkpoint = load(path)
    assert checkpoint.config.time_steps == checkpoint.config.initial_steps == 2
    assert checkpoint.config.neuron.comparison == ">"
    assert checkpoint.training["recipe"]["seed"] == 7
    assert checkpoint.training["command"] == (
        "dtss-train --config digits --epochs 2 --threads 1 --batch-size 128 -o digits.pt "
        "--time-steps 2 --neuron dtss --seed 7"
    )
    assert len(checkpoint.samples.labels) == checkpoint.training["test_images"] == 364
    printed = capsys.readouterr()
    assert printed.err == ""
    first, header, *layers = printed.out.splitlines()
    accuracy = checkpoint.training["test_accuracy"]
    assert first.startswith(f"{path}: {accuracy:.2%} of 364 held-out images right, T_avg ")
    assert header == "LIF layer               mask (step 0 first)"
    assert [line.split()[0] for line in layers] == list(checkpoint.build_model().masks)


def test_json_is_one_sorted_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "membrane.pt"
    assert main([*SHORT, "-o", str(path), "--residual", "membrane", "--time-steps", "1", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    assert printed.out == json.dumps(report, sort_keys=True) + "\n"
    checkpoint = load(path)
    assert report == {**checkpoint.training, "checkpoint": str(path), "elapsed_s": report["elapsed_s"]}
    assert report["masks"] == {name: list(mask) for name, mask in checkpoint.build_model().masks.items()}
    assert "head_lif" in report["masks"]
    assert set(report["spike_rates"]) == set(report["masks"])


def usage_error(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["--config", "digits", *options])
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_usage_errors_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = ("-o", str(tmp_path / "x.pt"))
    assert usage_error(capsys, "-o", str(tmp_path)) == (
        f"dtss-train: error: -o {tmp_path}: this is a folder; give the name of the file to write"
    )
    assert usage_error(capsys, "-o", f"{tmp_path}/no/x.pt") == (
        f"dtss-train: error: -o {tmp_path}/no/x.pt: the folder {tmp_path}/no does not exist; create it first"
    )
    assert usage_error(capsys, *good, "--mask-groups", "qkv,head") == (
        "dtss-train: error: argument --mask-groups: unknown group 'head'; choose among sps, qkv, attn, mlp"
    )
    assert usage_error(capsys, *good, "--neuron", "relu") == (
        "dtss-train: error: --neuron relu: unknown family; choose among dtss, spikingjelly-tau2, "
        "spikingjelly-tau2-soft, spikingjelly-no-decay-input, dt-snn"
    )
    assert usage_error(capsys, *good, "--initial-steps", "9") == (
        "dtss-train: error: digits: initial_steps is 9; choose 1..4, the time_steps"
    )
    assert usage_error(capsys, *good, "--epochs", "0") == "dtss-train: error: epochs is 0; give 1 or more"
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_network_is_refused_with_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "digits.pt"
    assert main([*SHORT, "-o", str(path), "--lr", "1e25", "--time-steps", "1"]) == 3
    printed = capsys.readouterr()
    assert printed.err.startswith(f"dtss-train: {path}: state_dict: ")
    assert printed.err.endswith("training diverged: train again with a smaller --lr\n")
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_exit_code_70(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_arguments: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(run_module, "run_job", bug)
    assert main([*SHORT, "-o", str(tmp_path / "x.pt")]) == 70
    assert capsys.readouterr().err.endswith(
        "dtss-train: internal error, a bug in dtss; please report the lines above\n"
    )


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\n"
        "from dtss.models.cli import build_parser\n"
        "text = build_parser().format_help()\n"
        "assert '--config NAME|FILE.toml' in text and '--mask-groups' in text\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
