"""What an image's counters must be: by dtss-sim, or by the cycle rules themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dtss.compiler.schedule import io
from dtss.compiler.schedule.cycles import COUNTS, Counts, elementwise_counts, product_counts
from dtss.compiler.schedule.dram import DramRules
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Product, Schedule
from dtss.compiler.schedule.geometry import geometry
from dtss.compiler.schedule.interpret import Execution, Tensors, value_at
from dtss.compiler.schedule.words import reduction_operand, word_popcounts
from dtss.rtl.simulators import MissingToolError

STALLS = "stall_cycles"  # beside the counters of the rules: waits for the image and for weights

NodeCounts = Mapping[str, Mapping[str, int]]
"""Node → counter → events of one image."""


@dataclass(frozen=True)
class Image:
    """One of a schedule's sample images, and its golden run."""

    loaded: io.LoadedSchedule
    schedule_file: Path
    index: int
    run: Execution


CountsOf = Callable[[Image], NodeCounts]


def counts_of_dtss_sim(image: Image) -> NodeCounts:
    """Run dtss-sim on the image and read its JSON."""
    with tempfile.TemporaryDirectory() as folder:
        pixels, answer = Path(folder) / "image.npy", Path(folder) / "counts.json"
        np.save(pixels, image.loaded.tensors[io.IMAGES][image.index : image.index + 1])
        run_dtss_sim([str(image.schedule_file), "--images", str(pixels), "--json", str(answer), "--quiet"])
        result = msgspec.json.decode(answer.read_bytes())
    return {layer["name"]: layer["counts"] | {STALLS: layer["dram"][STALLS]} for layer in result["layers"]}


def run_dtss_sim(arguments: Sequence[str]) -> str:
    """What it prints; `BadInputError` with what it says, if it fails."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    command = shutil.which("dtss-sim", path=places)
    if command is None:
        raise MissingToolError("dtss-sim", "is not on PATH", "install dtss in this environment")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        found = f"failed with exit code {done.returncode}: {done.stderr.strip()}"
        raise BadInputError("dtss-sim", found, "run it by hand")
    return done.stdout


def counts_of_the_rules(image: Image) -> NodeCounts:
    """The cycle rules themselves, without dtss-sim."""
    schedule = image.loaded.schedule
    counts: dict[str, dict[str, int]] = {}
    run_cycles: dict[str, NDArray[np.int64]] = {}
    for node in schedule.nodes:
        if isinstance(node, Product):
            found = product_counts(schedule, node, _popcounts(schedule, image.loaded.tensors, image.run, node))
            counts[node.name], run_cycles[node.name] = _numbers(found.counts), found.block_cycles
        else:
            elementwise = elementwise_counts(schedule, node, 1)
            counts[node.name], run_cycles[node.name] = _numbers(elementwise), elementwise.cycles[:, None]
    waited = DramRules.of(schedule).timeline(run_cycles).waited
    return {name: numbers | {STALLS: int(waited[name][0])} for name, numbers in counts.items()}


def _numbers(counts: Counts) -> dict[str, int]:
    return {name: int(getattr(counts, name)[0]) for name in COUNTS}


def _popcounts(schedule: Schedule, tensors: Tensors, run: Execution, node: Product) -> NDArray[np.int64]:
    """What the cycle rules need: [1, groups, positions, slot steps, planes, reduction tiles]."""
    cut, source = geometry(schedule, node), schedule.node(node.inputs[0])
    steps = [reduction_operand(node, tensors, value_at(run, source, step, 1))[0] for step in cut.slot_steps]
    operand = np.stack(steps) if steps else np.zeros((0, cut.groups, cut.positions, sum(cut.rows)), np.int64)
    ones = word_popcounts(operand.astype(np.int64), cut.planes, cut.rows)
    return np.moveaxis(ones, 0, 2)[None]
