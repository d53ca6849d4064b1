"""dtss-sim's time against a float forward of the same network, one image and a batch, and how its cost grows.

All contenders run in one process and take turns, so that what else the machine does meets all of them; what counts
are the ratios of a round. What is simulated is bit-exact and counts every event, from pixels to energy.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.simulator_networks import compiled, network, network_inputs, peer_network, without_masks
from benchmarks.simulator_peers import OURS, PEERS, compare, peer_lines
from benchmarks.simulator_plot import growth_lines, growth_plot
from dtss.hwsim.execute import run_program
from dtss.hwsim.images import Samples
from dtss.hwsim.simulate import Simulator
from dtss.hwsim.technology import load_technology
from dtss.models.checkpoint import Checkpoint

Step = Callable[[], object]
Seconds = dict[str, list[float]]
PAUSE = 0.05  # seconds
GROWTH_TITLE = "dtss-sim, processor ms of a run: cifar10-small, untrained; 16 images, T = 4, 2 blocks where not varied"
COMMAND = """
import atexit, sys
from dtss.hwsim.cli import main
status = "/proc/self/status"  # the peak of this program alone; getrusage would count its parent's before exec
atexit.register(lambda: print(next(line for line in open(status) if "VmHWM" in line)[6:-3], file=sys.stderr))
sys.exit(main())
"""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    _limit_blas(options.threads)
    torch.set_num_threads(options.threads)
    checkpoint = network(options.network, options.checkpoint)
    if not options.masks:
        checkpoint = without_masks(checkpoint)
    result: dict[str, Any] = {"machine": _machine(), "network": checkpoint.config.name, "masks": options.masks}
    with tempfile.TemporaryDirectory() as folder:
        result |= _measure(checkpoint, Path(folder), options)
    if options.plot is not None:
        result["growth_seconds"] = growth = _growth(options.rounds)
        options.plot.write_text(growth_plot(GROWTH_TITLE, growth), encoding="utf-8")
    if options.peers is not None:
        result["peers"] = compare(options.peers or tuple(PEERS), checkpoint)
    print(json.dumps(result, sort_keys=True) if options.json else "\n".join(_lines(result)))
    return 0


def _limit_blas(threads: int) -> None:
    """Start again with numpy's BLAS limited: its idle threads spin, which counts as processor time."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != str(threads):
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
        os.execv(sys.executable, sys.orig_argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", default="spikformer-4-384", help="or spikformer-8-512")
    parser.add_argument("--checkpoint", type=Path, help="a trained one of dtss-train; else weights are random")
    parser.add_argument("--masks", action="store_true", help="keep the checkpoint's time-step masks; else all T steps")
    parser.add_argument("--batch", type=int, default=32, help="images of the batch (32)")
    parser.add_argument("--rounds", type=int, default=9, help="timed turns of each contender (9)")
    parser.add_argument("--threads", type=int, default=1, help="threads of every contender (1)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the cost over images, steps and layers")
    parser.add_argument("--peers", nargs="*", choices=tuple(PEERS), help="also run other tools; without a name, all")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    return parser


def _measure(checkpoint: Checkpoint, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    loaded = compiled(checkpoint, folder)
    simulator, technology = Simulator.of(loaded), load_technology("45nm")
    found: dict[str, Any] = {}
    for batch in (1, options.batch):
        samples = _samples(loaded.tensors["samples.images"], batch)
        turns: dict[str, Step] = {OURS: _ours(simulator, samples, options.threads)}
        inputs = network_inputs(checkpoint, samples.pixels)
        turns |= {name: _forward(model, inputs) for name, model in _models(checkpoint).items()}
        found[f"images_{batch}"] = _ratios(take_turns(turns, options.rounds if batch == 1 else 3), batch)
    one = _samples(loaded.tensors["samples.images"], 1)
    runs = list(run_program(simulator.program, one.pixels))
    parts: dict[str, Step] = {
        "lay out the weights, once": lambda: Simulator.of(loaded),
        "execute": lambda: list(run_program(simulator.program, one.pixels)),
        "count and charge": lambda: simulator.account(simulator.count(runs), technology),
    }
    found["parts_ms"] = {name: 1e3 * median(cpu) for name, cpu in take_turns(parts, options.rounds)["cpu"].items()}
    found["peak_memory_mib"] = _command_peak(folder / f"{checkpoint.config.name}.json", found)
    return found


def _ours(simulator: Simulator, samples: Samples, threads: int = 1) -> Step:
    technology = load_technology("45nm")
    return lambda: simulator.run(samples, technology, threads=threads).energy_pj


def _models(checkpoint: Checkpoint) -> dict[str, nn.Module]:
    models: dict[str, nn.Module] = {"PyTorch, dtss.models": checkpoint.build_model()}
    peer = peer_network(checkpoint.config)
    return models if peer is None else models | {"SpikingJelly": peer}


def _forward(model: nn.Module, inputs: torch.Tensor) -> Step:
    def step() -> None:
        if "spikingjelly" in type(model).__module__:
            from spikingjelly.activation_based import functional  # noqa: PLC0415  # not always there

            functional.reset_net(model)
        with torch.no_grad():
            model(inputs)

    return step


def _samples(images: np.ndarray, batch: int) -> Samples:
    pixels = np.concatenate([images] * -(-batch // len(images)))[:batch]
    return Samples(pixels=pixels, labels=None, float_logits=None, source="benchmark", clipped_values=0)


def take_turns(steps: Mapping[str, Step], rounds: int) -> dict[str, Seconds]:
    """Processor and wall seconds of each contender, once a round after a turn of warm-up.

    Between two turns a pause: threads of the one before look for more work for some milliseconds, on our processors.
    """
    for step in steps.values():
        step()
    seconds: dict[str, Seconds] = {kind: {name: [] for name in steps} for kind in ("cpu", "wall")}
    for _ in range(rounds):
        for name, step in steps.items():
            time.sleep(PAUSE)
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            seconds["cpu"][name].append(time.process_time() - cpu)
            seconds["wall"][name].append(time.perf_counter() - wall)
    return seconds


def _ratios(seconds: Mapping[str, Seconds], batch: int) -> dict[str, Any]:
    """Milliseconds an image, and our share of each other contender's time in the same round."""
    found: dict[str, Any] = {}
    for kind, taken in seconds.items():
        for name, turns in taken.items():
            ratios = [ours / theirs for ours, theirs in zip(taken[OURS], turns, strict=True)]
            found.setdefault(name, {})[kind] = {
                "ms_per_image": 1e3 * median(turns) / batch,
                "ours_to_it": {"median": median(ratios), "least": min(ratios), "most": max(ratios)},
            }
    return found


def _command_peak(schedule: Path, found: dict[str, Any]) -> float:
    """dtss-sim in a process of its own, with compiled kernels in numba's cache: wall seconds, and MiB at its peak."""
    peak = 0.0
    for arguments, name in ((["--help"], "help"), ([str(schedule), "--limit", "1", "--quiet"], "one image")):
        taken = []
        for _ in range(5):
            wall = time.perf_counter()
            answer = subprocess.run(
                [sys.executable, "-c", COMMAND, *arguments], check=True, capture_output=True, text=True
            )
            taken.append(time.perf_counter() - wall)
            peak = max(peak, int(answer.stderr.split()[-1]) / 1024)
        found.setdefault("command_seconds", {})[name] = min(taken)
    return peak


def _growth(rounds: int) -> dict[str, list[tuple[int, float]]]:
    """Processor seconds over images, time steps and blocks; see GROWTH_TITLE for what is fixed meanwhile."""
    curves: dict[str, list[tuple[int, float]]] = {"images": [], "time steps": [], "blocks": []}
    with tempfile.TemporaryDirectory() as folder:
        base = compiled(network("cifar10-small", None), Path(folder))
        simulator = Simulator.of(base)
        for images in (1, 8, 16, 32, 48, 64):
            curves["images"].append((images, _seconds(simulator, base.tensors["samples.images"], images, rounds)))
        for name in ("time steps", "blocks"):
            for size in (1, 2, 4, 6, 8):
                changed = network("cifar10-small", None, **{"time_steps" if name == "time steps" else "depth": size})
                loaded = compiled(changed, Path(folder))
                seconds = _seconds(Simulator.of(loaded), loaded.tensors["samples.images"], 16, rounds)
                curves[name].append((size, seconds))
    return curves


def _seconds(simulator: Simulator, images: np.ndarray, batch: int, rounds: int) -> float:
    taken = take_turns({OURS: _ours(simulator, _samples(images, batch))}, rounds)
    return min(taken["cpu"][OURS])


def _machine() -> dict[str, str]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "load_average": f"{os.getloadavg()[0]:.1f}",
    }


def _lines(result: Mapping[str, Any]) -> list[str]:
    lines = [", ".join(f"{name} {value}" for name, value in result["machine"].items())]
    lines.append(f"{result['network']}, {'with its masks' if result['masks'] else 'all time steps'}")
    for key, found in result.items():
        if not key.startswith("images_"):
            continue
        batch = key.removeprefix("images_")
        lines += ["", f"| batch {batch} | CPU ms an image | ours / it, CPU (least..most) | ours / it, wall |"]
        lines.append("|---|---|---|---|")
        for name, kinds in found.items():
            cpu, wall = kinds["cpu"], kinds["wall"]
            shares = [_spread(kind["ours_to_it"]) if name != OURS else "-" for kind in (cpu, wall)]
            lines.append(f"| {name} | {cpu['ms_per_image']:.1f} | {shares[0]} | {shares[1]} |")
    lines += ["", "| one image | CPU ms |", "|---|---|"]
    lines += [f"| {name} | {milliseconds:.1f} |" for name, milliseconds in result["parts_ms"].items()]
    seconds = result["command_seconds"]
    processes = f"dtss-sim --help {seconds['help']:.2f} s; one image, whole process {seconds['one image']:.2f} s"
    lines += ["", f"{processes}; peak {result['peak_memory_mib']:.0f} MiB"]
    if "growth_seconds" in result:
        lines += growth_lines(result["growth_seconds"])
    if "peers" in result:
        lines += peer_lines(result["peers"])
    return lines


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['least']:.2f}..{ratio['most']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
