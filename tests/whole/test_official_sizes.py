"""Checkpoints of the official shapes compile within their bars, in a process of their own, whose memory is measured."""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dtss.compiler.schedule import io
from tests.compiler.official_networks import (
    Official,
    SpikformerCifar,
    SpikformerImageNet,
    SpikingformerCifar,
    SpikingformerImageNet,
    busy,
)

GIB = 1 << 30
PROGRAM = Path(sys.executable).with_name("dtss-compile")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "side", "heads", "classes", "hardware", "seconds", "memory"),
    [
        ("spikformer-4-384", SpikformerCifar, 32, 12, 10, "wide-64x32", 20, 3 * GIB),
        ("spikingformer-4-384", SpikingformerCifar, 32, 12, 10, "wide-64x32", 20, 3 * GIB),
        ("spikformer-8-512", SpikformerImageNet, 224, 8, 1000, "large-64x32", 90, 8 * GIB),
        ("spikingformer-8-512", SpikingformerImageNet, 224, 8, 1000, "large-64x32", 90, 8 * GIB),
        ("spikformer-8-768", SpikformerImageNet, 224, 8, 1000, "large-64x32", 90, 8 * GIB),
        ("spikingformer-8-768", SpikingformerImageNet, 224, 8, 1000, "large-64x32", 90, 8 * GIB),
    ],
)
def test_official_shape_compiles_in_time(
    name: str, kind: type[Official], side: int, heads: int, classes: int, hardware: str, seconds: int, memory: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    _, depth, dim = name.split("-")
    model = kind(dim=int(dim), depth=int(depth), heads=heads, classes=classes, mlp_ratio=4)
    state = busy(model, 32).state_dict()  # no tensor depends on the size of the images
    torch.save({"state_dict": state, "args": argparse.Namespace(num_heads=heads)}, tmp_path / "x.pth.tar")
    command: list[str | Path] = [PROGRAM, "x.pth.tar", "--arch", name, "-o", "x.json", "--hardware", hardware, "--json"]
    start = time.perf_counter()
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of the largest child so far
    assert answer.stderr == "" and answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["network"] == name
    start = time.perf_counter()
    loaded = io.load(tmp_path / "x.json")
    load_seconds = time.perf_counter() - start
    print(f"{name}: {took:.1f} s, {peak / GIB:.2f} GiB, loads in {load_seconds:.2f} s")
    assert loaded.schedule.nodes[0].shape == (side, side, 3)
    assert took < seconds
    assert peak < memory
    assert load_seconds < 1.0
    assert max(map(len, (tmp_path / "x.json").read_text().splitlines())) < 200  # readable
