"""Images per second of one training step, dtss against SpikingJelly, and the LIF layer alone against a plain copy.

All contenders run in one process and take turns, so that what else the machine does meets all of them; what counts
are the ratios of a round. Before anything is timed, the fused LIF is compared with the loop over time on this device.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtss.models.losses import mask_loss
from dtss.models.neurons import NEURON_FAMILIES, Lif, NeuronSpec
from dtss.models.process_memory import keep_freed_memory
from dtss.models.spikformer import CONFIGS, Spikformer, SpikformerConfig
from dtss.models.train import repeatable_algorithms

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
PEER, PEER_CHANNELS_LAST = "SpikingJelly", "SpikingJelly, channels-last"
INSTALL_PEER = (
    "python -m pip install --no-deps spikingjelly==2.0.0 nirtorch && "
    "python -m pip install loguru requests matplotlib scipy nir h5py"
)
Step = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, in the order of the rounds."""

    seconds: list[float]

    def ratio_to(self, other: "Timing") -> dict[str, float]:
        """How many times as fast as `other`: median, least and most over the rounds."""
        ratios = [theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True)]
        return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    on_cuda = torch.device(options.device).type == "cuda"
    batch = options.batch or (256 if on_cuda else 4)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    differences = check_fused(options.device)
    result: dict[str, Any] = {"machine": _machine(options.device), "batch": batch, "fused_differs": differences}
    if not options.json:
        print("\n".join(_machine_lines(result["machine"], batch)))
        print("self-check, fused LIF against the loop over time:", ", ".join(differences) or "equal bit for bit")
    if differences:
        return 1
    if not has_peer():
        print(f"SpikingJelly is not installed, so there is nothing to compare with: {INSTALL_PEER}", file=sys.stderr)
    config = CONFIGS["spikformer-4-384"]
    for precision in options.precision:
        steps = training_steps(config, batch, options.device, precision, compiled=options.compile)
        timings = take_turns(steps, options.rounds, options.device)
        result[f"training_{precision}"] = training_result(timings, batch)
        shape = (config.time_steps, max(batch, 32), 96, 32, 32)  # beyond any cache
        lif_timings = take_turns(lif_steps(shape, options.device, precision), options.rounds, options.device)
        result[f"lif_{precision}"] = lif_result(lif_timings, lif_bytes(shape, precision))
        if not options.json:
            print("\n".join(_tables(result, precision)))
    if options.json:
        print(json.dumps(result, sort_keys=True))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--batch", type=int, help="images of a step (4 on a CPU, 256 on CUDA)")
    parser.add_argument("--rounds", type=int, default=9, help="timed turns of each contender (9)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--precision", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--compile", action="store_true", help="also dtss under torch.compile: minutes of compiling")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    return parser


def has_peer() -> bool:
    return importlib.util.find_spec("spikingjelly") is not None


def check_fused(device: str) -> list[str]:
    """The neuron families and types of currents, if any, where the fused LIF and the loop differ in a bit."""
    differences = []
    for name, family in NEURON_FAMILIES.items():
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            spec = dataclasses.replace(family, threshold=0.9)
            if not _same_as_loop(spec, dtype, device):
                differences.append(f"{name} {dtype}")
    return differences


def _same_as_loop(spec: NeuronSpec, dtype: torch.dtype, device: str) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = (4, 8, 24, 24, 96)  # channels-last, in the end
    tied = torch.randint(-8, 17, shape, generator=generator) / 8
    mixed = torch.where(torch.rand(shape, generator=generator) < 0.5, tied, torch.randn(shape, generator=generator))
    gradient = torch.randn(shape, generator=generator).to(device, dtype).movedim(-1, 2)
    lif = Lif(spec).train()
    found = []
    for run in (lif, lambda current: lif.run_steps(current.float()).to(dtype)):
        current = mixed.to(device, dtype).movedim(-1, 2).requires_grad_()
        spikes = run(current)
        spikes.backward(gradient)
        found.append((spikes, current.grad))
    return all(torch.equal(ours, loops) for ours, loops in zip(*found, strict=True))


def training_steps(
    config: SpikformerConfig, batch: int, device: str, precision: str, *, compiled: bool = False
) -> dict[str, Step]:
    """One whole step (forward, loss, backward, AdamW) of each contender, by name."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, config.in_channels, *config.image_size, generator=generator).to(device)
    labels = torch.randint(0, config.classes, (batch,), generator=generator).to(device)
    plain = dataclasses.replace(config, masked=False)

    def ours(config: SpikformerConfig, *, loop: bool = False, compiled: bool = False) -> Step:
        torch.manual_seed(0)
        model = Spikformer(config).train().to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it in part
        if loop:
            for lif in model.lif_layers().values():
                lif._can_fuse = lambda current: False  # type: ignore[method-assign]  # there is no switch
        network = torch.compile(model, dynamic=False) if compiled else model
        step = _training_step(model, network, images, labels, precision)

        def update() -> None:
            with repeatable_algorithms():
                step(mask_loss(model, ("qkv", "mlp"), 1e-6) if config.masked else 0.0)
            model.project()

        return update

    steps = {"dtss plain": ours(plain), "dtss with masks": ours(config)}
    if torch.device(device).type == "cuda":  # on a CPU it takes half a minute a round to no purpose
        steps["dtss plain, loop over T"] = ours(plain, loop=True)
    if compiled:
        steps["dtss plain, compiled"] = ours(plain, compiled=True)
        steps["dtss with masks, compiled"] = ours(config, compiled=True)
    if has_peer():
        steps[PEER] = _peer_step(plain, images, labels, precision, torch.contiguous_format)
        steps[PEER_CHANNELS_LAST] = _peer_step(plain, images, labels, precision, torch.channels_last)
    return steps


def _peer_step(
    config: SpikformerConfig, images: Tensor, labels: Tensor, precision: str, layout: torch.memory_format
) -> Step:
    """SpikingJelly's Spikformer of the same depth, width, heads, T and surrogate; it picks its fastest kernels."""
    from spikingjelly.activation_based import functional as peer_functional  # noqa: PLC0415  # not always there
    from spikingjelly.activation_based import surrogate  # noqa: PLC0415
    from spikingjelly.activation_based.model.spikformer import Spikformer as PeerSpikformer  # noqa: PLC0415

    height, width = config.image_size
    model = PeerSpikformer(
        T=config.time_steps,
        in_channels=config.in_channels,
        img_size_h=height,
        img_size_w=width,
        patch_size=4,
        num_classes=config.classes,
        embed_dims=config.dim,
        num_heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        depths=config.depth,
        surrogate_function=surrogate.PiecewiseQuadratic(alpha=config.surrogate_peak),
    )
    model = model.train().to(images.device)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)  # type: ignore[call-overload]  # torch types it in part
    step = _training_step(model, model, images, labels, precision)

    def update() -> None:
        peer_functional.reset_net(model)
        step(0.0)

    return update


def _training_step(
    model: nn.Module, network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, precision: str
) -> Callable[[Tensor | float], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.06, fused=images.is_cuda)

    def step(added_loss: Tensor | float) -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits_per_step = network(images)
        loss = functional.cross_entropy(logits_per_step.float().mean(0), labels) + added_loss
        loss.backward()
        optimizer.step()

    return step


def lif_steps(shape: tuple[int, ...], device: str, precision: str) -> dict[str, Step]:
    """Forward and backward of one LIF layer in training, and a copy of its currents."""
    generator = torch.Generator().manual_seed(0)
    dtype = PRECISIONS[precision]
    current = torch.randn(shape, generator=generator).to(device, dtype).requires_grad_()
    gradient = torch.randn(shape, generator=generator).to(device, dtype)
    other = torch.empty_like(gradient)
    lif = Lif(NEURON_FAMILIES["spikingjelly-tau2"]).train()

    def there_and_back(run: Callable[[Tensor], Tensor]) -> Step:
        def step() -> None:
            current.grad = None
            run(current).backward(gradient)

        return step

    steps: dict[str, Step] = {
        "copy": lambda: other.copy_(gradient),
        "dtss": there_and_back(lif),
        "dtss, loop over T": there_and_back(lambda current: lif.run_steps(current.float()).to(dtype)),
    }
    if has_peer():
        from spikingjelly.activation_based import neuron, surrogate  # noqa: PLC0415  # not always there

        node = neuron.LIFNode(
            tau=2.0, surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0), detach_reset=True, step_mode="m"
        )
        node = node.train().to(device)

        def peer(current: Tensor) -> Tensor:
            node.reset()
            spikes: Tensor = node(current)
            return spikes

        steps[PEER] = there_and_back(peer)
    return steps


def lif_bytes(shape: tuple[int, ...], precision: str) -> dict[str, int]:
    """The least that must pass through memory: I in, O out, then I and ∂L/∂O in, ∂L/∂I out; of a copy one each."""
    tensor = torch.Size(shape).numel() * PRECISIONS[precision].itemsize
    return {"copy": 2 * tensor, "lif": 5 * tensor}


def take_turns(steps: Mapping[str, Step], rounds: int, device: str) -> dict[str, Timing]:
    """Each contender once a round, after two turns of warm-up; each round begins with another."""
    names = list(steps)
    for name in names * 2:
        _timed(steps[name], device)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_timed(steps[name], device))
    return {name: Timing(values) for name, values in seconds.items()}


def _timed(step: Step, device: str) -> float:
    """Processor seconds on a CPU, which other programs hardly change; seconds from launch to finish on CUDA."""
    if torch.device(device).type != "cuda":
        started = time.process_time()
        step()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def training_result(timings: Mapping[str, Timing], batch: int) -> dict[str, Any]:
    """Images/s of each contender, and its ratio to the faster SpikingJelly."""
    peers = [timings[name] for name in (PEER, PEER_CHANNELS_LAST) if name in timings]
    peer = min(peers, key=lambda timing: median(timing.seconds), default=None)
    result: dict[str, Any] = {}
    for name, timing in timings.items():
        result[name] = {"images_per_second": batch / median(timing.seconds)}
        if peer is not None:
            result[name]["times_as_fast_as_spikingjelly"] = timing.ratio_to(peer)
    return result


def lif_result(timings: Mapping[str, Timing], moved: Mapping[str, int]) -> dict[str, Any]:
    """GB/s of the least bytes, and its share of what the copy reaches in the same round."""
    copy = timings["copy"]
    result: dict[str, Any] = {}
    for name, timing in timings.items():
        least = moved["copy" if name == "copy" else "lif"]
        rates = timing.ratio_to(copy)
        result[name] = {
            "gigabytes_per_second": least / median(timing.seconds) / 1e9,
            "share_of_copy": {key: ratio * least / moved["copy"] for key, ratio in rates.items()},
        }
    return result


def _machine(device: str) -> dict[str, str]:
    on_cuda = torch.device(device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_cuda else platform.machine(),
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "load_average": f"{os.getloadavg()[0]:.1f}",
    }


def _machine_lines(machine: Mapping[str, str], batch: int) -> list[str]:
    return [", ".join(f"{name} {value}" for name, value in machine.items()) + f", batch {batch}"]


def _tables(result: Mapping[str, Any], precision: str) -> list[str]:
    lines = ["", f"| training step, {precision} | images/s | × SpikingJelly (least..most) |", "|---|---|---|"]
    for name, found in result[f"training_{precision}"].items():
        ratio = found.get("times_as_fast_as_spikingjelly")
        lines.append(f"| {name} | {found['images_per_second']:.1f} | {_spread(ratio) if ratio else '-'} |")
    lines += ["", f"| LIF forward and backward, {precision} | GB/s | share of a copy (least..most) |", "|---|---|---|"]
    for name, found in result[f"lif_{precision}"].items():
        lines.append(f"| {name} | {found['gigabytes_per_second']:.1f} | {_spread(found['share_of_copy'])} |")
    return lines


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['least']:.2f}..{ratio['most']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
