"""docs/results.md says of every shipped checkpoint what the commands say today."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def test_every_shipped_checkpoint_has_its_row() -> None:
    page = (REPOSITORY / "docs" / "results.md").read_text()
    for checkpoint in (REPOSITORY / "models" / "zoo").glob("*.pt"):
        assert page.count(f"| [{checkpoint.stem}](../models/zoo/{checkpoint.stem}.md) |") == 1


@pytest.mark.slow
def test_table_is_what_compiler_and_simulator_say() -> None:
    program = [sys.executable, str(REPOSITORY / "tools" / "zoo_results.py"), "--check"]
    answer = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_ablation_of_the_digits_is_what_the_compiler_says() -> None:
    program = [sys.executable, str(REPOSITORY / "tools" / "ablation_results.py"), "--check"]
    answer = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
