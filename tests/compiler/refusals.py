"""A command that refuses: its exit code, its one line on stderr, and nothing written."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dtss.compiler.cli import main


def assert_refused(capsys: pytest.CaptureFixture[str], code: int, arguments: Sequence[str], sentence: str) -> None:
    """Exit code, one line on stderr and nothing else, and not a file more or less."""
    before = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.err == f"dtss-compile: error: {sentence}\n", captured.err
    assert captured.out == ""
    assert {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()} == before
