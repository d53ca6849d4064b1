"""The whole top under random pauses and resets, with cocotb."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dtss.compiler.schedule import io
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.interpret import interpret
from dtss.rtl.benches.bench_handshakes import CASE, HandshakeCase
from dtss.rtl.counts import Image, NodeCounts, counts_of_the_rules
from dtss.rtl.engine import COUNTERS
from dtss.rtl.generate import TOP, Manifest, generate
from dtss.rtl.memory_image import bits_of
from dtss.rtl.program import program
from dtss.rtl.simulators import BenchRequest, run_bench
from tests.rtl.small_network import TINY

pytestmark = pytest.mark.rtl

IMAGES = 2
HANDSHAKES: dict[bool, TimeOrder] = {False: "inner", True: "outer"}  # weights stream → the order of the time steps


def handshake_case(loaded: io.LoadedSchedule, manifest: Manifest, path: Path) -> HandshakeCase:
    engine, pixels = manifest.engine, loaded.tensors[io.IMAGES][:IMAGES].astype(np.int64)
    run = interpret(loaded.schedule, loaded.tensors, pixels)
    counters, nodes = [], {}
    for index in range(IMAGES):
        of_image = interpret(loaded.schedule, loaded.tensors, pixels[index : index + 1])
        counts = counts_of_the_rules(Image(loaded, path, index, of_image))
        total = {name: sum(of_node[name] for of_node in counts.values()) for name in COUNTERS}
        total["cycles"] += total["stall_cycles"]
        counters.append(total)
        if index == 0:
            nodes = nodes_alone(loaded, counts)
    bits = bits_of(pixels, engine.pixel_planes).reshape(IMAGES, manifest.shell.positions, -1)
    return HandshakeCase(
        resident=manifest.shell.weights_resident,
        pixels=[np.packbits(image, axis=1, bitorder="little").tobytes() for image in bits],
        logits=[run.logits[:, index].ravel().tolist() for index in range(IMAGES)],
        counters=counters,
        nodes=nodes,
    )


def nodes_alone(loaded: io.LoadedSchedule, counts: NodeCounts) -> dict[int, dict[str, int]]:
    """Counters of some nodes by their numbers; the cycles of a node's waits are not counted here."""
    schedule = loaded.schedule
    numbers = sorted({row.node for row in program(schedule, loaded.tensors)})
    chosen = (numbers[len(numbers) // 2], numbers[-2])
    own = {number: counts[schedule.nodes[number].name] for number in chosen}
    return {
        number: {name: events[name] for name in COUNTERS} | {"cycles": events["cycles"] + events["stall_cycles"]}
        for number, events in own.items()
    }


@pytest.mark.parametrize(("streams", "order"), HANDSHAKES.items())
def test_pauses_and_resets(
    streams: bool, order: TimeOrder, small_schedule: Callable[..., Path], tmp_path: Path
) -> None:
    path = small_schedule(TINY, order, seed=7, streams=streams)
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
