"""An installed dtss holds the data files that the repository holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

FOLDERS = ("compiler", "hwsim", "models", "rtl")
DATA = {".toml", ".json", ".v", ".vh", ".html", ".j2", ".pt", ".safetensors", ".typed", ".py"}


def test_wheel_holds_modules_and_data(repository: Path, project_files: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    names = {str(path.relative_to(repository)) for path in project_files}
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, source / name)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("dtss-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())

    wanted = {f"dtss/{name}" for name in names if name.split("/")[0] in FOLDERS and Path(name).suffix in DATA}
    assert wanted <= held
    assert {name.split("/")[0].split("-")[0] for name in held} == {"dtss"}  # and no bare `compiler`
