"""Networks for the simulator's benchmark: compiled schedules, and the same network in float."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dtss.compiler.cli import main as compile_command
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.io import load as load_schedule
from dtss.models import checkpoint as checkpoints
from dtss.models.checkpoint import Checkpoint
from dtss.models.data import LabelledImages, Preprocess
from dtss.models.spikformer import CONFIGS, Spikformer, SpikformerConfig

HARDWARE = {"spikformer-4-384": "wide-64x32", "spikformer-8-512": "large-64x32"}
BIAS = 0.25  # of every BatchNorm of an untrained network: about a tenth of its neurons fire, as trained ones do
SAMPLES = 64


def untrained(config: SpikformerConfig) -> Checkpoint:
    """Random weights, BatchNorm of unit currents, random images."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SAMPLES, *config.image_size, config.in_channels), generator=generator)
    preprocess = Preprocess(pixel_scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)
    model = Spikformer(config, preprocess.pixel_lsb).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
            nn.init.constant_(module.bias, BIAS)
    samples = LabelledImages(images.to(torch.uint8), torch.zeros(SAMPLES, dtype=torch.int64))
    with torch.no_grad():
        model(preprocess(samples.images[:8]))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_var is not None:
                module.running_var.clamp_(min=0.01)  # behind a layer that stayed silent
    classes = tuple(str(index) for index in range(config.classes))
    return Checkpoint(config, model.state_dict(), preprocess, samples, classes, {})


def without_masks(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights, every LIF active at all T steps."""
    state = {name: tensor for name, tensor in checkpoint.state_dict.items() if not name.endswith("mask.score")}
    return dataclasses.replace(
        checkpoint, config=dataclasses.replace(checkpoint.config, masked=False), state_dict=state
    )


def compiled(checkpoint: Checkpoint, folder: Path) -> LoadedSchedule:
    """What dtss-compile makes of a checkpoint."""
    name = checkpoint.config.name
    checkpoints.save(checkpoint, folder / "network.pt")
    hardware = HARDWARE.get(name, HARDWARE["spikformer-4-384"])
    answer = compile_command(
        [
            str(folder / "network.pt"),
            "-o",
            str(folder / f"{name}.json"),
            "--hardware",
            hardware,
            "--no-calibrate",
            "--quiet",
        ]
    )
    if answer:
        raise RuntimeError(f"{name} does not compile: exit code {answer}")
    return load_schedule(folder / f"{name}.json")


def network_inputs(checkpoint: Checkpoint, pixels: np.ndarray) -> Tensor:
    """Network inputs [B, C, H, W] of pixels."""
    inputs: Tensor = checkpoint.preprocess(torch.from_numpy(np.ascontiguousarray(pixels)))
    return inputs


def network(name: str, path: Path | None, time_steps: int | None = None, depth: int | None = None) -> Checkpoint:
    """A trained checkpoint, or an untrained network without masks."""
    if path is not None:
        return checkpoints.load(path)
    config = CONFIGS[name]
    steps = time_steps or config.time_steps
    return untrained(
        dataclasses.replace(config, masked=False, time_steps=steps, initial_steps=1, depth=depth or config.depth)
    )


def peer_network(config: SpikformerConfig) -> nn.Module | None:
    """SpikingJelly's Spikformer of the same shape in evaluation mode; None where it is not installed."""
    if importlib.util.find_spec("spikingjelly") is None:
        return None
    from spikingjelly.activation_based.model.spikformer import Spikformer as PeerSpikformer  # noqa: PLC0415

    height, width = config.image_size
    model: nn.Module = PeerSpikformer(
        T=config.time_steps,
        in_channels=config.in_channels,
        img_size_h=height,
        img_size_w=width,
        patch_size=2 ** sum(config.stem_pools),
        num_classes=config.classes,
        embed_dims=config.dim,
        num_heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        depths=config.depth,
    )
    return model.eval()
