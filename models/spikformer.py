"""Spikformer with trained time-step masks, in both residual styles.

Spike residual (official Spikformer): every unit is product -> BatchNorm -> LIF, and spikes are added after
the LIF, so the next product sees small counts 0, 1, 2, …
Membrane residual (Spikingformer, DTSS paper Fig. 1): a LIF stands before every product, the head included;
residuals add currents, and every product sees bits.

Tensors carry time first: images become [T, B, C, H, W], tokens [T, B, N, D], logits [T, B, K].
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from dtss.models.neurons import NEURON_FAMILIES, NeuronSpec
from dtss.models.time_step_mask import LayerGroup, MaskedLif, TimeStepMask
from dtss.models.weight_rounding import (
    LARGEST_BITS,
    SMALLEST_BITS,
    ChannelGrid,
    LayerGrid,
    RoundedConv2d,
    RoundedLinear,
    Summand,
    share_grid,
)

Residual = Literal["spike", "membrane"]


@dataclasses.dataclass(frozen=True)
class SpikformerConfig:
    """Everything that fixes a network but its weights.

    image_size           (height, width) in pixels.
    dim, heads           D features of a token, split over the heads; D / heads is the length of q, k and v.
    depth                number of blocks.
    mlp_ratio            hidden features of the MLP / D.
    time_steps           T (T_max of the paper).
    initial_steps        steps that each mask leaves active before training.
    stem_channels        output channels of each stem stage; the last is D.
    stem_pools           whether a 3×3 stride-2 max-pool ends the stage: halves the size, rounding up.
    neuron               every LIF of the network, but the attention LIF fires at `attention_threshold`.
    attention_scale      factor on (q·kᵀ)·v.
    masked               False: plain Spikformer, without time-step masks.
    spiking              False: the non-spiking ViT of this shape (vit.py); nothing on steps or neurons counts then.
    minimum_steps, non_negative_scores   see TimeStepMask.
    surrogate_peak, train_leak           see Lif.
    weight_bits          of the integers that products compute with (weight_rounding.py); None: float weights.
    """

    name: str
    image_size: tuple[int, int]
    in_channels: int
    classes: int
    dim: int
    depth: int
    heads: int
    time_steps: int
    initial_steps: int
    stem_channels: tuple[int, ...]
    stem_pools: tuple[bool, ...]
    mlp_ratio: int = 4
    residual: Residual = "spike"
    neuron: NeuronSpec = NEURON_FAMILIES["spikingjelly-tau2"]
    attention_scale: float = 0.125
    attention_threshold: float = 0.5
    masked: bool = True
    spiking: bool = True
    minimum_steps: int = 1
    non_negative_scores: bool = True
    surrogate_peak: float = 1.0
    train_leak: bool = False
    weight_bits: int | None = None

    def __post_init__(self) -> None:
        for name in ("in_channels", "classes", "dim", "depth", "heads", "mlp_ratio", "time_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{self.name}: {name} is {getattr(self, name)}; give 1 or more")
        if min(self.image_size) < 1:
            raise ValueError(f"{self.name}: image_size is {self.image_size}; give a height and a width of 1 or more")
        if self.dim % self.heads:
            raise ValueError(f"{self.name}: dim {self.dim} does not split over {self.heads} heads; change one")
        if len(self.stem_channels) != len(self.stem_pools):
            raise ValueError(
                f"{self.name}: stem_channels has {len(self.stem_channels)} stages and stem_pools "
                f"{len(self.stem_pools)}; give one entry of each per stage"
            )
        if not self.stem_channels or min(self.stem_channels) < 1 or self.stem_channels[-1] != self.dim:
            raise ValueError(
                f"{self.name}: stem_channels is {self.stem_channels}; give positive numbers that end in dim {self.dim}"
            )
        if not 1 <= self.initial_steps <= self.time_steps:
            raise ValueError(
                f"{self.name}: initial_steps is {self.initial_steps}; choose 1..{self.time_steps}, the time_steps"
            )
        if not 0 <= self.minimum_steps <= self.initial_steps:
            raise ValueError(
                f"{self.name}: minimum_steps is {self.minimum_steps}; choose 0..{self.initial_steps}, the initial_steps"
            )
        if self.residual not in ("spike", "membrane"):
            raise ValueError(f"{self.name}: residual is {self.residual!r}; choose 'spike' or 'membrane'")
        for name in ("attention_scale", "attention_threshold", "surrogate_peak"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{self.name}: {name} is {getattr(self, name)}; give a positive finite number")
        self._check_weight_bits()

    def _check_weight_bits(self) -> None:
        if self.weight_bits is None:
            return
        if not SMALLEST_BITS <= self.weight_bits <= LARGEST_BITS:
            raise ValueError(
                f"{self.name}: weight_bits is {self.weight_bits}; choose {SMALLEST_BITS}..{LARGEST_BITS}, or leave it "
                "out for float weights"
            )
        if not self.spiking:
            raise ValueError(
                f"{self.name}: weight_bits is {self.weight_bits}, but the non-spiking ViT is never compiled to "
                "integers; leave it out"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def token_grid(self) -> tuple[int, int]:
        """Height and width of the stem's output, whose pixels are the N tokens."""
        height, width = self.image_size
        for _ in range(sum(self.stem_pools)):
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width


CONFIGS: Mapping[str, SpikformerConfig] = {
    config.name: config
    for config in (
        SpikformerConfig(
            name="digits",
            image_size=(8, 8),
            in_channels=1,
            classes=10,
            dim=64,
            depth=2,
            heads=4,
            time_steps=4,
            initial_steps=4,
            stem_channels=(32, 64),
            stem_pools=(False, True),
        ),
        SpikformerConfig(
            name="mnist-small",
            image_size=(28, 28),
            in_channels=1,
            classes=10,
            dim=96,
            depth=1,
            heads=6,
            mlp_ratio=2,
            time_steps=4,
            initial_steps=4,
            stem_channels=(16, 48, 96),
            stem_pools=(True, True, True),
        ),
        SpikformerConfig(
            name="cifar10-small",
            image_size=(32, 32),
            in_channels=3,
            classes=10,
            dim=128,
            depth=2,
            heads=8,
            mlp_ratio=2,
            time_steps=4,
            initial_steps=2,
            stem_channels=(32, 64, 128),
            stem_pools=(True, True, True),
        ),
        SpikformerConfig(
            name="spikformer-1-384",
            image_size=(32, 32),
            in_channels=3,
            classes=10,
            dim=384,
            depth=1,
            heads=12,
            time_steps=4,
            initial_steps=2,
            stem_channels=(48, 96, 192, 384),
            stem_pools=(False, False, True, True),
        ),
        SpikformerConfig(
            name="spikformer-4-384",
            image_size=(32, 32),
            in_channels=3,
            classes=10,
            dim=384,
            depth=4,
            heads=12,
            time_steps=4,
            initial_steps=2,
            stem_channels=(48, 96, 192, 384),
            stem_pools=(False, False, True, True),
        ),
        SpikformerConfig(
            name="spikformer-8-512",
            image_size=(224, 224),
            in_channels=3,
            classes=1000,
            dim=512,
            depth=8,
            heads=8,
            time_steps=4,
            initial_steps=2,
            stem_channels=(64, 128, 256, 512),
            stem_pools=(True, True, True, True),
        ),
    )
}


def build_lif(config: SpikformerConfig, group: LayerGroup, threshold: float | None = None) -> MaskedLif:
    """A LIF layer as the configuration describes it; `threshold` replaces the neuron's own."""
    neuron = config.neuron if threshold is None else dataclasses.replace(config.neuron, threshold=threshold)
    mask = None
    if config.masked:
        mask = TimeStepMask(
            config.time_steps,
            config.initial_steps,
            minimum_steps=config.minimum_steps,
            non_negative=config.non_negative_scores,
        )
    return MaskedLif(neuron, group, mask, surrogate_peak=config.surrogate_peak, train_leak=config.train_leak)


class ConvUnit(nn.Module):
    """3×3 convolution, BatchNorm and at most one LIF: x [T, B, C, H, W] -> [T, B, C', H', W'].

    Spike residual:     LIF(BN(conv x)), then the pool, which on bits is an OR.
    Membrane residual:  BN(conv LIF(x)), then the pool of the currents; without a LIF where x is the image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        residual: Residual,
        lif: MaskedLif | None,
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv = RoundedConv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.lif = lif
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pool else None

    def forward(self, x: Tensor) -> Tensor:
        if self.residual == "spike":
            return self.fire_and_pool(self.current(x))
        return self.pooled(self.current(x if self.lif is None else self.lif(x)))

    def current(self, x: Tensor) -> Tensor:
        """BN(conv x), every step on its own; T may be 1 for an input that is the same at every step."""
        current: Tensor = self.norm(self.conv(x.flatten(0, 1)))
        return torch.unflatten(current, 0, x.shape[:2])

    def fire_and_pool(self, current: Tensor) -> Tensor:
        return self.pooled(current if self.lif is None else self.lif(current))

    def pooled(self, x: Tensor) -> Tensor:
        if self.pool is None:
            return x
        pooled: Tensor = self.pool(x.flatten(0, 1))
        return torch.unflatten(pooled, 0, x.shape[:2])


class LinearUnit(nn.Module):
    """[LIF](BN(W x)) on every token: x [T, B, N, D] -> [T, B, N, D']."""

    def __init__(self, in_features: int, out_features: int, lif: MaskedLif | None) -> None:
        super().__init__()
        self.linear = RoundedLinear(in_features, out_features, bias=False)
        self.norm = nn.BatchNorm1d(out_features)
        self.lif = lif

    def forward(self, x: Tensor) -> Tensor:
        current: Tensor = self.norm(self.linear(x.flatten(0, 2)))
        current = torch.unflatten(current, 0, x.shape[:3])
        return current if self.lif is None else self.lif(current)


class SpikingAttention(nn.Module):
    """proj(LIF(scale · (q·kᵀ)·v)), head by head, q, k, v = LIF(BN(W x)), no softmax: [T, B, N, D] -> same.

    q, k, v are bits, so q·kᵀ counts coincidences and every value is an integer before the scale.
    Membrane residual: x passes `input_lif` first, and proj ends in its BatchNorm.
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        spike_residual = config.residual == "spike"
        self.heads = config.heads
        self.scale = config.attention_scale
        self.input_lif = None if spike_residual else build_lif(config, "qkv")
        self.q = LinearUnit(config.dim, config.dim, build_lif(config, "qkv"))
        self.k = LinearUnit(config.dim, config.dim, build_lif(config, "qkv"))
        self.v = LinearUnit(config.dim, config.dim, build_lif(config, "qkv"))
        self.lif = build_lif(config, "attn", config.attention_threshold)
        self.proj = LinearUnit(config.dim, config.dim, build_lif(config, "attn") if spike_residual else None)

    def forward(self, x: Tensor) -> Tensor:
        spikes = x if self.input_lif is None else self.input_lif(x)
        q, k, v = (self._split_heads(unit(spikes)) for unit in (self.q, self.k, self.v))
        attended = (q @ k.transpose(-2, -1)) @ v * self.scale
        projected: Tensor = self.proj(self.lif(self._join_heads(attended)))
        return projected

    def _split_heads(self, x: Tensor) -> Tensor:
        """[T, B, N, D] -> [T, B, heads, N, D / heads]."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(2, 3)

    def _join_heads(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(-2)


class Mlp(nn.Module):
    """fc2(fc1(x)), hidden width mlp_ratio · D: [T, B, N, D] -> same.

    Membrane residual: x passes `input_lif` first, and fc2 ends in its BatchNorm.
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        spike_residual = config.residual == "spike"
        hidden = config.dim * config.mlp_ratio
        self.input_lif = None if spike_residual else build_lif(config, "mlp")
        self.fc1 = LinearUnit(config.dim, hidden, build_lif(config, "mlp"))
        self.fc2 = LinearUnit(hidden, config.dim, build_lif(config, "mlp") if spike_residual else None)

    def forward(self, x: Tensor) -> Tensor:
        spikes = x if self.input_lif is None else self.input_lif(x)
        current: Tensor = self.fc2(self.fc1(spikes))
        return current


class Block(nn.Module):
    """x ← x + attn(x);  x ← x + mlp(x)."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.attn = SpikingAttention(config)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        y: Tensor = x + self.mlp(x)
        return y


class Spikformer(nn.Module):
    """images [B, C, H, W] -> logits of every step [T, B, K]; the prediction is the mean over T.

    The image is the same at every step (direct encoding): the first convolution runs once and its current is
    repeated.

    pixel_lsb  what one step of a pixel means in each channel of the image; only rounded weights ask for it.
    """

    def __init__(self, config: SpikformerConfig, pixel_lsb: tuple[float, ...] | None = None) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.ModuleList(_stem_stages(config))
        self.rpe = ConvUnit(config.dim, config.dim, config.residual, build_lif(config, "sps"))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head_lif = build_lif(config, "mlp") if config.residual == "membrane" else None
        self.head = RoundedLinear(config.dim, config.classes)
        if config.weight_bits is not None:
            self._round_weights(config.weight_bits, pixel_lsb)

    def forward(self, images: Tensor) -> Tensor:
        x = self._stem(images)
        x = x + self.rpe(x)
        tokens = x.flatten(-2).transpose(-2, -1)
        for block in self.blocks:
            tokens = block(tokens)
        if self.head_lif is not None:
            tokens = self.head_lif(tokens)
        logits: Tensor = self.head(tokens.mean(dim=2))
        return logits

    def _stem(self, images: Tensor) -> Tensor:
        first, *rest = (stage for stage in self.stem if isinstance(stage, ConvUnit))
        current = first.current(images.unsqueeze(0))
        x = first.fire_and_pool(current.expand(self.config.time_steps, *current.shape[1:]))
        for stage in rest:
            x = stage(x)
        return x

    def _round_weights(self, bits: int, pixel_lsb: tuple[float, ...] | None) -> None:
        """Puts every product on the grid that the compiler will choose: see weight_rounding.py."""
        added, summands = self._added_currents(), []
        for name, unit in self.named_modules():
            if isinstance(unit, ConvUnit | LinearUnit):
                product = unit.conv if isinstance(unit, ConvUnit) else unit.linear
                product.grid = grid = ChannelGrid(bits, pixel_lsb if name == "stem.0" else None)
                if unit in added:
                    summands.append(Summand(product, unit.norm, grid))
        share_grid(summands)
        self.head.grid = LayerGrid(bits)

    def _added_currents(self) -> list[nn.Module]:
        """Units whose currents the residual adds up; of spikes, none."""
        if self.config.residual == "spike":
            return []
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        return [self.stem[-1], self.rpe, *(unit for block in blocks for unit in (block.attn.proj, block.mlp.fc2))]

    def lif_layers(self) -> dict[str, MaskedLif]:
        """Every LIF layer by its name in the state_dict, in the order in which a step reaches them."""
        return {name: module for name, module in self.named_modules() if isinstance(module, MaskedLif)}

    @property
    def masks(self) -> dict[str, tuple[int, ...]]:
        """TM of every LIF layer; all ones where the layer has no mask."""
        return {name: self._frozen_mask(lif) for name, lif in self.lif_layers().items()}

    @property
    def average_time_steps(self) -> float:
        """T_avg = Σ_l T_l / L over the L LIF layers, T_l = Σ_t TM_l[t] (Eq. 3)."""
        masks = self.masks.values()
        return sum(sum(mask) for mask in masks) / len(masks)

    def project(self) -> None:
        """Brings mask scores and trained leaks back into their ranges; call after an optimiser step."""
        for lif in self.lif_layers().values():
            lif.project()

    def _frozen_mask(self, lif: MaskedLif) -> tuple[int, ...]:
        return (1,) * self.config.time_steps if lif.mask is None else lif.mask.frozen()


def _stem_stages(config: SpikformerConfig) -> list[ConvUnit]:
    in_channels = (config.in_channels, *config.stem_channels[:-1])
    stages = []
    for i, (wide_in, wide_out, pool) in enumerate(
        zip(in_channels, config.stem_channels, config.stem_pools, strict=True)
    ):
        reads_image = i == 0 and config.residual == "membrane"
        lif = None if reads_image else build_lif(config, "sps")
        stages.append(ConvUnit(wide_in, wide_out, config.residual, lif, pool))
    return stages


def record_spikes(model: Spikformer, images: Tensor) -> dict[str, Tensor]:
    """What each LIF layer emits (O, after its mask) for these images in evaluation: name -> [T, B, ...]."""
    recorded: dict[str, Tensor] = {}

    def recorder(name: str) -> object:
        def record(_module: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            recorded[name] = spikes.detach()

        return record

    layers = model.lif_layers().items()
    handles = [lif.register_forward_hook(recorder(name)) for name, lif in layers]  # type: ignore[arg-type]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return recorded
