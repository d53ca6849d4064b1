"""A command that refuses: its exit code, its one line on stderr, and nothing written."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dtss.compiler.cli import main


def assert_refused(capsys: pytest.CaptureFixture[str], code: int, arguments: Sequence[str], sentence: str) -> None:
    """Exit code, one line on stderr and nothing else; not a file more or less, and an earlier output as it was."""
    output = Path(arguments[arguments.index("-o") + 1])
    if output.parent.is_dir() and not output.exists():
        output.write_text("of an earlier run")
    before = contents(Path.cwd())
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.err == f"dtss-compile: error: {sentence}\n", captured.err
    assert captured.out == ""
    assert contents(Path.cwd()) == before


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file and folder below; None for a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
