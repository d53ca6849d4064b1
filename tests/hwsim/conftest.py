"""The digits network, compiled once, and a small network written by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtss.compiler.schedule.io import LoadedSchedule, load, save
from tests.hwsim.small import small_network


def compile_digits(repository: Path, folder: Path, *options: str) -> Path:
    """dtss-compile on the shipped checkpoint."""
    code = "import sys; from dtss.compiler.cli import main; sys.exit(main())"
    schedule = folder / "schedule.json"
    command = [sys.executable, "-c", code, str(repository / "models/zoo/digits.pt"), "-o", str(schedule), *options]
    subprocess.run([*command, "--quiet"], check=True, env=os.environ | {"NO_COLOR": "1"})
    return schedule


@pytest.fixture(scope="session")
def digits_path(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_digits(repository, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def digits_outer_path(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_digits(repository, tmp_path_factory.mktemp("outer"), "--time-order", "outer")


@pytest.fixture(scope="session")
def digits(digits_path: Path) -> LoadedSchedule:
    return load(digits_path)


@pytest.fixture(scope="session")
def digits_outer(digits_outer_path: Path) -> LoadedSchedule:
    return load(digits_outer_path)


@pytest.fixture
def small(tmp_path: Path) -> LoadedSchedule:
    return load(save_small(tmp_path))


@pytest.fixture
def small_path(tmp_path: Path) -> Path:
    return save_small(tmp_path)


def save_small(folder: Path) -> Path:
    path = folder / "small.json"
    save(path, *small_network())
    return path
