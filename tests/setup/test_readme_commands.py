"""Whatever README tells to type works: its make targets exist, its other commands are run as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler.official_networks import SpikformerCifar, busy

REPOSITORY = Path(__file__).parents[2]
ENDS_A_COMMAND = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1"}


def shell_commands(markdown: str) -> list[list[str]]:
    """The words of each command in the ```sh blocks: no comments, no prompts, split at pipes and such."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, flags=re.DOTALL | re.MULTILINE)
    commands: list[list[str]] = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in shlex.split(line.removeprefix("$ "), comments=True):
            if word in ENDS_A_COMMAND:
                commands.append(words)
                words = []
            else:
                words.append(word)
        commands.append(words)
    return [words for words in commands if words]


README = (REPOSITORY / "README.md").read_text() if (REPOSITORY / "README.md").exists() else ""
COMMANDS = shell_commands(README)
MAKE_COMMANDS = [words for words in COMMANDS if words[0] == "make"]
DTSS_COMMANDS = [words for words in COMMANDS if Path(words[0]).name.startswith("dtss-")]


def test_readme_says_how_to_start() -> None:
    assert ["make", "demo"] in COMMANDS
    assert ["make", "test"] in COMMANDS


@pytest.mark.parametrize("words", MAKE_COMMANDS, ids=shlex.join)
def test_make_target_exists(words: list[str]) -> None:
    targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    declared = re.findall(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(targets) <= set(" ".join(declared).split())


def run_as_written(commands: list[list[str]], folder: Path) -> None:
    """Run README's commands one after the other where `models/` and an empty `build/` are, as in a clone."""
    (folder / "models").symlink_to(REPOSITORY / "models")
    (folder / "build").mkdir()
    put_an_official_checkpoint(folder)
    for command, *arguments in commands:
        program = Path(sys.executable).with_name(command)
        answer = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, f"{shlex.join([command, *arguments])}\n{answer.stdout}\n{answer.stderr}"


def put_an_official_checkpoint(folder: Path) -> None:
    """spikformer.pth.tar as the official CIFAR code writes it, but small, and images.npz: what a user brings along."""
    import numpy as np
    import torch

    model = busy(SpikformerCifar(depth=1, classes=10), 32)
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, folder / "spikformer.pth.tar")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(8))


@pytest.mark.rtl
def test_commands_run_as_written(tmp_path: Path) -> None:
    quick = [words for words in DTSS_COMMANDS if words[0] != "dtss-train"]
    assert {words[0] for words in quick} == {"dtss-compile", "dtss-sim", "dtss-rtl"}
    run_as_written(quick, tmp_path)
    made = {path.name for path in (tmp_path / "build").iterdir()}
    assert {"schedule.json", "schedule.safetensors", "spikformer.json", "report.html", "result.json", "rtl"} <= made


@pytest.mark.slow
def test_training_runs_as_written(tmp_path: Path) -> None:
    run_as_written([words for words in DTSS_COMMANDS if words[0] == "dtss-train"], tmp_path)
    assert (tmp_path / "build" / "digits.pt").stat().st_size > 0


def test_commands_are_found_in_blocks_alone() -> None:
    markdown = "run `make nothing`\n```sh\n# first\nmake demo  # then\n$ dtss-sim a.json \\\n  --json | head\n```\n"
    assert shell_commands(markdown) == [["make", "demo"], ["dtss-sim", "a.json", "--json"], ["head"]]
