"""The whole top under random pauses and resets, with cocotb."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dtss.compiler.schedule import io
from dtss.compiler.schedule.interpret import interpret
from dtss.rtl.benches.bench_handshakes import CASE, HandshakeCase
from dtss.rtl.counts import END_CYCLES, Image, counts_of_the_rules
from dtss.rtl.engine import COUNTERS
from dtss.rtl.generate import TOP, Manifest, generate
from dtss.rtl.memory_image import bits_of
from dtss.rtl.simulators import BenchRequest, run_bench

pytestmark = pytest.mark.rtl

IMAGES = 2
TINY = (4, 2, 5, 1, 1)


def handshake_case(loaded: io.LoadedSchedule, manifest: Manifest, path: Path) -> HandshakeCase:
    engine, pixels = manifest.engine, loaded.tensors[io.IMAGES][:IMAGES].astype(np.int64)
    run = interpret(loaded.schedule, loaded.tensors, pixels)
    counters = []
    for index in range(IMAGES):
        of_image = interpret(loaded.schedule, loaded.tensors, pixels[index : index + 1])
        counts = counts_of_the_rules(Image(loaded, path, index, of_image))
        total = {name: sum(of_node[name] for of_node in counts.values()) for name in COUNTERS}
        total["cycles"] += total["stall_cycles"] + END_CYCLES
        total["control_cycles"] += END_CYCLES
        counters.append(total)
    bits = bits_of(pixels, engine.pixel_planes).reshape(IMAGES, manifest.shell.positions, -1)
    return HandshakeCase(
        resident=manifest.shell.weights_resident,
        pixels=[np.packbits(image, axis=1, bitorder="little").tobytes() for image in bits],
        logits=[run.logits[:, index].ravel().tolist() for index in range(IMAGES)],
        counters=counters,
    )


@pytest.mark.parametrize("streams", [False, True])
def test_pauses_and_resets(streams: bool, small_schedule: Callable[..., Path], tmp_path: Path) -> None:
    path = small_schedule(TINY, seed=7, streams=streams)
    loaded, folder = io.load(path), tmp_path / "out"
    case = handshake_case(loaded, generate(loaded, folder), path)
    shutil.copytree(folder / "memories", tmp_path / "run" / "memories")
    (tmp_path / "run" / CASE).write_bytes(msgspec.json.encode(case))
    run = run_bench(
        BenchRequest(
            simulator="verilator",
            sources=tuple(map(str, sorted((folder / "rtl").glob("*.v")))),
            toplevel=TOP,
            parameters={},
            test_module="dtss.rtl.benches.bench_handshakes",
            build_folder=str(tmp_path / "build"),
            run_folder=str(tmp_path / "run"),
            seed=20240611,
        )
    )
    assert run.passed, run.log.read_text()[-5000:]
