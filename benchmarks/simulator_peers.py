"""Other tools on the same network and image, with what each computes and does not; those not installed are named."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import dense_simulators, operation_counters
from benchmarks.dense_simulators import Costs
from benchmarks.operation_counters import Counter, replays
from benchmarks.simulator_networks import compiled, network_inputs
from dtss.compiler.schedule.format import Schedule
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.execute import run_program
from dtss.hwsim.images import Samples
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import Simulator
from dtss.hwsim.technology import load_technology
from dtss.models.checkpoint import Checkpoint

OURS = "dtss-sim"
TECHNOLOGY = "45nm"


@dataclass(frozen=True)
class Subject:
    """What every tool is given: a float network, its schedule, one image."""

    checkpoint: Checkpoint
    loaded: LoadedSchedule

    @property
    def pixels(self) -> np.ndarray:
        return self.loaded.tensors["samples.images"][:1]


@dataclass(frozen=True)
class Findings:
    """Of one image; None where a tool says nothing."""

    cpu_seconds: float
    accumulates: float | None = None
    multiply_accumulates: float | None = None
    cycles: float | None = None
    energy_pj: float | None = None


@dataclass(frozen=True)
class Peer:
    """packages: as they are imported; how to install them is in the README."""

    packages: tuple[str, ...]
    run: Callable[[Subject], Findings]
    computes: str
    lacks: str


def _counted_by(counter: Counter) -> Callable[[Subject], Findings]:
    def run(subject: Subject) -> Findings:
        model = subject.checkpoint.build_model().eval()
        image = network_inputs(subject.checkpoint, subject.pixels)
        started = time.process_time()
        found = counter(model, image)
        seconds = time.process_time() - started
        return Findings(seconds, found.accumulates, found.multiply_accumulates, energy_pj=found.energy_pj)

    return run


def _simulated_by(simulator: Callable[[Schedule], Costs]) -> Callable[[Subject], Findings]:
    def run(subject: Subject) -> Findings:
        started = time.process_time()
        found = simulator(subject.loaded.schedule)
        return Findings(time.process_time() - started, cycles=found.cycles, energy_pj=found.energy_pj)

    return run


COUNTERS: Mapping[str, Counter] = {
    "spikingjelly": operation_counters.spikingjelly,
    "syops": operation_counters.syops,
    "neurobench": operation_counters.neurobench,
}
PEERS: Mapping[str, Peer] = {
    "spikingjelly": Peer(
        ("spikingjelly",),
        _counted_by(COUNTERS["spikingjelly"]),
        "operations of this image × constants, each weight read from memory once an operation",
        "cycles, a machine, masks; inputs above 1 count as dense",
    ),
    "syops": Peer(
        ("syops", "spikingjelly", "progress"),
        _counted_by(COUNTERS["syops"]),
        "operations of this image by layer",
        "attention's products, cycles, memories, energy, masks; inputs above 1 count as dense",
    ),
    "neurobench": Peer(
        ("neurobench", "snntorch"),
        _counted_by(COUNTERS["neurobench"]),
        "operations of this image",
        "attention's products, cycles, memories, energy, masks",
    ),
    "scalesim": Peer(
        ("scalesim",),
        _simulated_by(dense_simulators.scale_sim),
        "cycles with DRAM waits, from the addresses of each cycle",
        "spikes (nothing depends on the image), neurons, energy",
    ),
    "zigzag": Peer(
        ("zigzag", "six"),
        _simulated_by(dense_simulators.zigzag),
        "cycles and energy of the best mapping it finds, by formulas",
        "spikes (nothing depends on the image), neurons",
    ),
}


def compare(names: Sequence[str], checkpoint: Checkpoint) -> dict[str, Any]:
    """What each tool finds, dtss-sim first; the counters' operations by what the products read; who is missing."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(checkpoint, compiled(checkpoint, Path(folder)))
    missing = {name: package for name in names if (package := _missing(PEERS[name])) is not None}
    present = [name for name in names if name not in missing]
    result, ours = _simulated(subject)
    found = {OURS: ours} | {name: PEERS[name].run(subject) for name in present}
    return {
        "found": {name: asdict(findings) for name, findings in found.items()},
        "same_integers": _on_same_integers(subject, result, [name for name in present if name in COUNTERS]),
        "missing": missing,
    }


def _missing(peer: Peer) -> str | None:
    return next((package for package in peer.packages if importlib.util.find_spec(package) is None), None)


def _simulated(subject: Subject) -> tuple[Result, Findings]:
    simulator, technology = Simulator.of(subject.loaded), load_technology(TECHNOLOGY)
    samples = Samples(pixels=subject.pixels, labels=None, float_logits=None, source="benchmark", clipped_values=0)
    simulator.run(samples, technology, threads=1)  # numba compiles
    started = time.process_time()
    result = simulator.run(samples, technology, threads=1)
    energy, cycles, accumulates = result.energy_pj, result.cycles, result.sum_of("accumulates")
    seconds = time.process_time() - started
    return result, Findings(seconds, float(accumulates[0]), 0.0, float(cycles[0]), float(energy[0]))


def _on_same_integers(subject: Subject, result: Result, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What products read → counter → its accumulates and multiply-accumulates on the integers of dtss-sim's own run."""
    image = network_inputs(subject.checkpoint, subject.pixels)
    ours = {node.name: int(node.counts.accumulates[0]) for node in result.nodes}
    runs = list(run_program(Simulator.of(subject.loaded).program, subject.pixels))
    found: dict[str, dict[str, Any]] = {}
    for reads, (products, replay) in replays(subject.loaded, runs).items():
        found[reads] = {OURS: {"accumulates": sum(ours[name] for name in products), "multiply_accumulates": 0}}
        for name in names:
            counted = COUNTERS[name](replay, image)
            found[reads][name] = {
                "accumulates": round(counted.accumulates),
                "multiply_accumulates": round(counted.multiply_accumulates),
            }
    return found


def peer_lines(compared: Mapping[str, Any]) -> list[str]:
    """The tables of `compare`."""
    head = "| tool | CPU s | accumulates, M | MACs, M | cycles, M | energy, µJ | computes | does not |"
    lines = ["", head, "|---|---|---|---|---|---|---|---|"]
    for name, found in compared["found"].items():
        numbers = [_millions(found[key]) for key in ("accumulates", "multiply_accumulates", "cycles", "energy_pj")]
        words = ("events of the machine", "") if name == OURS else (PEERS[name].computes, PEERS[name].lacks)
        lines.append(f"| {name} | {found['cpu_seconds']:.2f} | {' | '.join((*numbers, *words))} |")
    for name, package in compared["missing"].items():
        lines.append(f"{name}: skipped, {package} is not installed; benchmarks/README.md says how")
    return [*lines, *_same_integers_lines(compared["same_integers"])]


def _millions(value: float | None) -> str:
    return "–" if value is None else f"{value / 1e6:,.2f}"


def _same_integers_lines(operations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    tools = list(next(iter(operations.values())))
    lines = ["", f"| the same integers; products that read | {' | '.join(tools)} |", f"|---{'|---' * len(tools)}|"]
    for reads, counted in operations.items():
        cells = [f"{found['accumulates']:,} + {found['multiply_accumulates']:,} MAC" for found in counted.values()]
        lines.append(f"| {reads} | {' | '.join(cells)} |")
    return lines
