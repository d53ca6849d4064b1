"""The non-spiking vision transformer of a Spikformer's shape: the baseline that spikes are measured against.

Every product, BatchNorm and residual stands where the Spikformer of spike residual has it, under the same name in the
state_dict. In place of the LIF: ReLU after each stem convolution, GELU between fc1 and fc2, nothing after the others,
so that residuals add signed values; attention is the usual softmax(q·kᵀ / √d)·v; one step.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from dtss.models.spikformer import ConvUnit, LinearUnit, SpikformerConfig
from dtss.models.time_step_mask import MaskedLif


class SoftmaxAttention(nn.Module):
    """proj(softmax(q·kᵀ / √d)·v), head by head, q, k, v = BN(W x): [1, B, N, D] -> same."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.proj = (LinearUnit(config.dim, config.dim, None) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (unit(x).unflatten(-1, (self.heads, -1)).transpose(2, 3) for unit in (self.q, self.k, self.v))
        attended = functional.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(attended.transpose(2, 3).flatten(-2))
        return projected


class Mlp(nn.Module):
    """fc2(GELU(fc1(x))), hidden width mlp_ratio · D: [1, B, N, D] -> same."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        hidden = config.dim * config.mlp_ratio
        self.fc1, self.fc2 = LinearUnit(config.dim, hidden, None), LinearUnit(hidden, config.dim, None)

    def forward(self, x: Tensor) -> Tensor:
        current: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return current


class Block(nn.Module):
    """x ← x + attn(x);  x ← x + mlp(x)."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.attn = SoftmaxAttention(config)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        y: Tensor = x + self.mlp(x)
        return y


class Vit(nn.Module):
    """images [B, C, H, W] -> logits [1, B, K]; of the configuration only the shape counts."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.in_channels, *config.stem_channels)
        self.stem = nn.ModuleList(
            ConvUnit(wide_in, wide_out, "spike", None, pool)
            for wide_in, wide_out, pool in zip(widths, config.stem_channels, config.stem_pools, strict=False)
        )
        self.rpe = ConvUnit(config.dim, config.dim, "spike", None)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.dim, config.classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images.unsqueeze(0)
        for stage in self.stem:
            x = functional.relu(stage(x))  # the stage ends in its pool: ReLU and maximum commute
        x = x + functional.relu(self.rpe(x))
        tokens = x.flatten(-2).transpose(-2, -1)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(tokens.mean(-2))
        return logits

    def lif_layers(self) -> dict[str, MaskedLif]:
        """None: nothing spikes here."""
        return {}

    @property
    def masks(self) -> Mapping[str, tuple[int, ...]]:
        return {}

    @property
    def average_time_steps(self) -> float:
        """One pass through the network."""
        return 1.0

    def project(self) -> None:
        """Nothing has a range to be brought back into."""
