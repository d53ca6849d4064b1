"""The folders are imported as dtss.*, and their bare names stay free for others."""

import importlib
import site
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = ("compiler", "hwsim", "models", "rtl")


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_imported_as_part_of_dtss(folder: str, repository: Path) -> None:
    module = importlib.import_module(f"dtss.{folder}")
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == repository / folder / "__init__.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_bare_name_is_not_installed(folder: str, tmp_path: Path) -> None:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({folder!r}) is not None)"
    answer = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=False)
    assert answer.returncode == 0, f"`import {folder}` works outside the repository"
    for packages in site.getsitepackages():
        assert not (Path(packages) / folder).exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_type_checkers_find_the_folder(folder: str, repository: Path) -> None:
    link = repository / "typings" / "dtss" / folder
    assert link.is_symlink()
    assert link.resolve() == repository / folder
    assert (repository / folder / "py.typed").read_text() == ""


@pytest.mark.parametrize("module", ["dtss.compiler.schedule", "dtss.hwsim", "dtss.rtl"])
def test_schedule_is_read_without_torch(module: str, tmp_path: Path) -> None:
    """The import contracts see imports between files; this sees what the packages above them load."""
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=False)
    assert answer.returncode == 0
