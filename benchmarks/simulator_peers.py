"""Other tools on the same network, with what each computes and does not; those that are not installed are named."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.simulator_networks import network_inputs, peer_network
from dtss.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Peer:
    """package: as it is imported.  computes: what its answer holds.  run: None where it has no way to run a network."""

    package: str
    install: str
    computes: str
    run: Callable[[Checkpoint], object] | None


def _spikingjelly(checkpoint: Checkpoint) -> object:
    from spikingjelly.activation_based import functional, op_counter  # noqa: PLC0415  # not always there

    model = peer_network(checkpoint.config)
    assert model is not None
    functional.reset_net(model)
    counters = [op_counter.SynOpCounter()] if hasattr(op_counter, "SynOpCounter") else [op_counter.FlopCounter()]
    with torch.no_grad(), op_counter.DispatchCounterMode(counters):
        model(network_inputs(checkpoint, checkpoint.samples.images[:1].numpy()))
    return [counter.get_total() for counter in counters]


def _syops(checkpoint: Checkpoint) -> object:
    from syops import get_model_complexity_info  # noqa: PLC0415

    size = (checkpoint.config.in_channels, *checkpoint.config.image_size)
    return get_model_complexity_info(
        checkpoint.build_model(), size, None, as_strings=False, print_per_layer_stat=False, verbose=False
    )


PEERS = {
    "spikingjelly": Peer(
        "spikingjelly", "spikingjelly==2.0.0 (--no-deps)",
        "operation counts × constants; no time-step masks, no memories, no cycles", _spikingjelly,
    ),
    "syops": Peer(
        "syops", "syops", "accumulates and multiplies of modules × constants; none of attention's products", _syops
    ),
    "neurobench": Peer(
        "neurobench", "neurobench", "effective accumulates of layers; no attention products, no memories, no cycles",
        None,
    ),
    "scalesim": Peer(
        "scalesim", "scalesim", "dense addresses of each cycle of a systolic array; no spikes: minutes a step", None
    ),
    "zigzag": Peer("zigzag", "zigzag-dse", "dense analytic mapping search of matrix shapes; no spikes, no LIF", None),
}  # fmt: skip


def peer_lines(names: Sequence[str], checkpoint: Checkpoint) -> list[str]:
    """A line for each: its processor seconds and what they buy."""
    return ["", "| peer | CPU s | computes |", "|---|---|---|", *(_line(name, checkpoint) for name in names)]


def _line(name: str, checkpoint: Checkpoint) -> str:
    peer = PEERS[name]
    if importlib.util.find_spec(peer.package) is None:
        return f"| {name} | skipped: not installed (python -m pip install {peer.install}) | {peer.computes} |"
    if peer.run is None:
        return f"| {name} | not run here: it takes no such network as it is | {peer.computes} |"
    started = time.process_time()
    peer.run(checkpoint)
    return f"| {name} | {time.process_time() - started:.2f} | {peer.computes} |"
