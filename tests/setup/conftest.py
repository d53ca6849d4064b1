"""What the tests of the set-up share."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_files(repository: Path) -> list[Path]:
    """Every file that is in the repository or would be added to it; links to folders are left out."""
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("needs git and a git work tree to tell the project's files from built ones")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=True,
    )
    paths = (repository / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]
