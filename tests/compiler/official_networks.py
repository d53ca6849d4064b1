"""The networks of the field's own repositories, written here from their description: the oracle of their front end.

Modules bear the names that the repositories give them; each is made when the first forward pass reaches it. Nothing
here knows the compiler. Values are [T·B, C, H, W], as in most of that code; `Fire` unfolds the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 4


class Fire(nn.Module):
    """LIFNode(tau=2, decay_input=True, v_reset=0): V ← V + (X − V)/τ, a spike at V ≥ θ, then V = 0."""

    def __init__(self, threshold: float, trained_decay: bool) -> None:
        super().__init__()
        self.threshold = threshold
        self.w = nn.Parameter(torch.tensor(0.4)) if trained_decay else None  # 1/τ = sigmoid(w)

    def forward(self, current: Tensor) -> Tensor:
        decay = 0.5 if self.w is None else self.w.sigmoid()
        voltage, spikes = torch.zeros(()), []
        for x in current.unflatten(0, (STEPS, -1)):
            voltage = voltage + (x - voltage) * decay
            spike = (voltage >= self.threshold).to(x.dtype)
            voltage = voltage * (1 - spike)
            spikes.append(spike)
        return torch.cat(spikes)


class Official(nn.Module):
    """What all share: D features split over heads, softmax-free attention, a head on the mean of tokens and steps."""

    def __init__(
        self, dim: int = 32, depth: int = 2, heads: int = 2, classes: int = 5, channels: int = 3, mlp_ratio: int = 2
    ) -> None:
        super().__init__()
        self.dim, self.depth, self.heads, self.classes, self.channels = dim, depth, heads, classes, channels
        self.hidden = mlp_ratio * dim
        self.trained_decay = False
        self.spikes: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        x = self.run_stem(images.repeat(STEPS, 1, 1, 1))
        for index in range(self.depth):
            x = self.run_block(f"{self.scope}.{index}", x)
        tokens = x.flatten(2).mean(2)
        head = self.part("head", lambda: nn.Linear(self.dim, self.classes))
        logits: Tensor = head(tokens.unflatten(0, (STEPS, -1)).mean(0))
        return logits

    scope = "block"

    def run_stem(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def run_block(self, name: str, x: Tensor) -> Tensor:
        raise NotImplementedError

    def part(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """The module of this dotted name."""
        *scopes, last = name.split(".")
        parent: nn.Module = self
        for scope in scopes:
            if not hasattr(parent, scope):
                parent.add_module(scope, nn.Module())
            parent = getattr(parent, scope)
        if not hasattr(parent, last):
            parent.add_module(last, make().to(torch.get_default_dtype()))
        found: nn.Module = getattr(parent, last)
        return found

    def fire(self, name: str, x: Tensor, threshold: float = 1.0) -> Tensor:
        spikes: Tensor = self.part(name, lambda: Fire(threshold, self.trained_decay))(x)
        self.spikes[name] = spikes
        return spikes

    def conv(self, name: str, norm: str, outputs: int, x: Tensor) -> Tensor:
        """3×3 without a bias, and its norm."""
        x = self.part(name, lambda: nn.Conv2d(x.shape[1], outputs, 3, padding=1, bias=False))(x)
        y: Tensor = self.part(norm, lambda: nn.BatchNorm2d(outputs))(x)
        return y

    def linear(self, name: str, norm: str, outputs: int, x: Tensor) -> Tensor:
        """nn.Linear on the tokens, then BatchNorm1d."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.part(name, lambda: nn.Linear(x.shape[1], outputs))(tokens)
        tokens = self.part(norm, lambda: nn.BatchNorm1d(outputs))(tokens.transpose(1, 2))
        return torch.unflatten(tokens, 2, x.shape[2:])

    def conv1d(self, name: str, norm: str, outputs: int, x: Tensor, bias: bool) -> Tensor:
        y = self.part(name, lambda: nn.Conv1d(x.shape[1], outputs, 1, bias=bias))(x.flatten(2))
        y = self.part(norm, lambda: nn.BatchNorm1d(outputs))(y)
        return torch.unflatten(y, 2, x.shape[2:])

    def conv2d(self, name: str, norm: str, outputs: int, x: Tensor) -> Tensor:
        y = self.part(name, lambda: nn.Conv2d(x.shape[1], outputs, 1))(x)
        z: Tensor = self.part(norm, lambda: nn.BatchNorm2d(outputs))(y)
        return z

    def unused_norms(self, name: str) -> None:
        for norm in ("norm1", "norm2"):
            self.part(f"{name}.{norm}", lambda: nn.LayerNorm(self.dim))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Head by head: an eighth of Σ_m (q[n]·k[m])·v[m]."""
        split = [x.flatten(2).reshape(x.shape[0], self.heads, self.dim // self.heads, -1) for x in (q, k, v)]
        scores = torch.einsum("bhdn,bhdm->bhnm", split[0], split[1])
        return (torch.einsum("bhnm,bhdm->bhdn", scores, split[2]) * 0.125).reshape(q.shape)


def pool(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class SpikformerCifar(Official):
    """ZK-Zhou/spikformer, cifar10/model.py."""

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        x = self.fire(at + "proj_lif", self.conv(at + "proj_conv", at + "proj_bn", D // 8, x))
        x = self.fire(at + "proj_lif1", self.conv(at + "proj_conv1", at + "proj_bn1", D // 4, x))
        x = pool(self.fire(at + "proj_lif2", self.conv(at + "proj_conv2", at + "proj_bn2", D // 2, x)))
        x = pool(self.fire(at + "proj_lif3", self.conv(at + "proj_conv3", at + "proj_bn3", D, x)))
        return x + self.fire(at + "rpe_lif", self.conv(at + "rpe_conv", at + "rpe_bn", D, x))

    def run_block(self, name: str, x: Tensor) -> Tensor:
        self.unused_norms(name)
        q, k, v = (self.unit(f"{name}.attn.{letter}", self.dim, x) for letter in "qkv")
        attended = self.fire(f"{name}.attn.attn_lif", self.attend(q, k, v), threshold=0.5)
        x = x + self.unit(f"{name}.attn.proj", self.dim, attended)
        return x + self.unit(f"{name}.mlp.fc2", self.dim, self.unit(f"{name}.mlp.fc1", self.hidden, x))

    def unit(self, name: str, outputs: int, x: Tensor) -> Tensor:
        return self.fire(f"{name}_lif", self.linear(f"{name}_linear", f"{name}_bn", outputs, x))


class SpikformerImageNet(SpikformerCifar):
    """ZK-Zhou/spikformer, imagenet/model.py."""

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        for suffix, outputs in (("", D // 8), ("1", D // 4), ("2", D // 2), ("3", D)):
            x = self.conv(f"{at}proj_conv{suffix}", f"{at}proj_bn{suffix}", outputs, x)
            x = pool(self.fire(f"{at}proj_lif{suffix}", x))
        return x + self.fire(at + "rpe_lif", self.conv(at + "rpe_conv", at + "rpe_bn", D, x))

    def unit(self, name: str, outputs: int, x: Tensor) -> Tensor:
        if ".mlp." in name:
            return self.fire(f"{name}_lif", self.conv2d(f"{name}_conv", f"{name}_bn", outputs, x))
        bias = name.endswith("proj")
        return self.fire(f"{name}_lif", self.conv1d(f"{name}_conv", f"{name}_bn", outputs, x, bias))


class SpikformerCml(SpikformerCifar):
    """zhouchenlin2096/Spikingformer-CML, cifar10/CML_Spikformer.py: the pool stands before the LIF."""

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        x = self.fire(at + "block1_lif", self.conv(at + "block1_conv", at + "block1_bn", D // 8, x))
        x = self.fire(at + "block2_lif", self.conv(at + "block2_conv", at + "block2_bn", D // 4, x))
        x = self.fire(at + "block3_lif", pool(self.conv(at + "block3_conv", at + "block3_bn", D // 2, x)))
        x = self.fire(at + "block4_lif", pool(self.conv(at + "block4_conv", at + "block4_bn", D, x)))
        return x + self.fire(at + "rpe_lif", self.conv(at + "rpe_conv", at + "rpe_bn", D, x))


class SpikingformerCifar(Official):
    """zhouchenlin2096/Spikingformer, cifar10/model.py: a LIF before every product, currents are added."""

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        x = self.conv(at + "block0_conv", at + "block0_bn", D // 8, x)
        x = self.conv(at + "block1_conv", at + "block1_bn", D // 4, self.fire(at + "block1_lif", x))
        x = self.conv(at + "block2_conv", at + "block2_bn", D // 2, self.fire(at + "block2_lif", x))
        x = self.conv(at + "block3_conv", at + "block3_bn", D, pool(self.fire(at + "block3_lif", x)))
        return self.conv(at + "block4_conv", at + "block4_bn", D, pool(self.fire(at + "block4_lif", x)))

    def run_block(self, name: str, x: Tensor) -> Tensor:
        self.unused_norms(name)
        spikes = self.fire(f"{name}.attn.proj_lif", x)
        q, k, v = (
            self.fire(
                f"{name}.attn.{letter}_lif",
                self.conv1d(f"{name}.attn.{letter}_conv", f"{name}.attn.{letter}_bn", self.dim, spikes, bias=False),
            )
            for letter in "qkv"
        )
        attended = self.fire(f"{name}.attn.attn_lif", self.attend(q, k, v), threshold=0.5)
        x = x + self.conv1d(f"{name}.attn.proj_conv", f"{name}.attn.proj_bn", self.dim, attended, bias=True)
        hidden = self.fire(f"{name}.mlp.mlp1_lif", x)
        hidden = self.conv2d(f"{name}.mlp.mlp1_conv", f"{name}.mlp.mlp1_bn", self.hidden, hidden)
        hidden = self.fire(f"{name}.mlp.mlp2_lif", hidden)
        return x + self.conv2d(f"{name}.mlp.mlp2_conv", f"{name}.mlp.mlp2_bn", self.dim, hidden)


class SpikingformerImageNet(SpikingformerCifar):
    """zhouchenlin2096/Spikingformer, imagenet/model.py."""

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        x = self.conv(at + "proj_conv", at + "proj_bn", D // 8, x)
        for index, outputs in enumerate((D // 4, D // 2, D, D), start=1):
            x = pool(self.fire(f"{at}proj{index}_lif", x))
            x = self.conv(f"{at}proj{index}_conv", f"{at}proj{index}_bn", outputs, x)
        return x


class SpikingformerCmlCifar(SpikingformerCifar):
    """zhouchenlin2096/Spikingformer-CML, cifar10/model.py."""

    pooled: tuple[int, ...] = (2, 3)

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        for index, outputs in enumerate((D // 8, D // 4, D // 2, D, D)):
            number = index or ""
            x = x if index == 0 else self.fire(f"{at}proj{number}_lif", x)
            x = self.conv(f"{at}proj{number}_conv", f"{at}proj{number}_bn", outputs, x)
            x = pool(x) if index in self.pooled else x
        return x


class SpikingformerCmlImageNet(SpikingformerCmlCifar):
    """zhouchenlin2096/Spikingformer-CML, imagenet/model.py."""

    pooled = (0, 1, 2, 3)


class SpikingJelly(Official):
    """spikingjelly.activation_based.model.spikformer: norm, pool, LIF; one product for q, k and v."""

    scope = "blocks"
    pooled: tuple[int, ...] = (2, 3)

    def run_stem(self, x: Tensor) -> Tensor:
        D, at = self.dim, "patch_embed."
        for index, outputs in enumerate((D // 8, D // 4, D // 2, D)):
            inner = f"{at}stages.{index}.conv_bn.block"
            x = self.conv(f"{inner}.0", f"{inner}.1", outputs, x)
            x = self.fire(f"{at}stages.{index}.neuron", pool(x) if index in self.pooled else x)
        inner = at + "positional_encoding.conv_bn.block"
        return x + self.fire(at + "positional_encoding.neuron", self.conv(f"{inner}.0", f"{inner}.1", D, x))

    def run_block(self, name: str, x: Tensor) -> Tensor:
        qkv = self.conv1d(f"{name}.attn.qkv_conv_bn.0", f"{name}.attn.qkv_conv_bn.1", 3 * self.dim, x, bias=False)
        q, k, v = self.fire(f"{name}.attn.qkv_lif", qkv).chunk(3, 1)
        for letter, spikes in zip("qkv", (q, k, v), strict=True):
            self.spikes[f"{name}.attn.qkv_lif.{letter}"] = spikes
        del self.spikes[f"{name}.attn.qkv_lif"]
        x = x + self.unit(f"{name}.attn.proj_conv_bn", f"{name}.attn.proj_lif", self.dim,
                          self.fire(f"{name}.attn.attn_lif", self.attend(q, k, v), threshold=0.5))  # fmt: skip
        hidden = self.unit(f"{name}.mlp.fc1", f"{name}.mlp.neuron1", self.hidden, x)
        return x + self.unit(f"{name}.mlp.fc2", f"{name}.mlp.neuron2", self.dim, hidden)

    def unit(self, name: str, lif: str, outputs: int, x: Tensor) -> Tensor:
        return self.fire(lif, self.conv1d(f"{name}.0", f"{name}.1", outputs, x, bias=False))


class SpikingJellyImageNet(SpikingJelly):
    """The same with patches of 16."""

    pooled = (0, 1, 2, 3)


def busy(model: Official, side: int, seed: int = 0) -> Official:
    """Random weights, and norms whose statistics come from noise: 5 to 60 % of the neurons spike. In evaluation."""
    generator = torch.manual_seed(seed)
    noise = torch.randn(4, model.channels, side, side, generator=generator)
    with torch.no_grad():
        model.train()(noise)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.7
                nn.init.uniform_(module.weight, 0.5, 2.0, generator=generator)
                nn.init.uniform_(module.bias, 0.4, 1.8, generator=generator)
        model(noise)
    return model.eval()


def old_names(state: dict[str, Any]) -> dict[str, Any]:
    """As old versions of SpikingJelly wrapped layers and saved what their neurons held."""
    wrapped = {
        name.replace("_conv.weight", "_conv.module.weight").replace("_bn.", "_bn.module."): tensor
        for name, tensor in state.items()
    }
    lif = next(name for name in state if name.endswith("_bn.weight")).replace("_bn.weight", "_lif")
    return wrapped | {f"{lif}.surrogate_function.alpha": torch.tensor(2.0), f"{lif}.v": torch.zeros(2, 4)}
