"""What the official code computes for an image, in torch, straight from the checkpoint's tensors.

It shares the table of names with `spikformer`, which builds the graph, and nothing else: the graph, its passes and
its execution are compared with it (`--check`). Values carry time first: [T, B, C, H, W].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dtss.compiler.frontend.spikformer_file import NORM_TENSORS, Network
from dtss.compiler.frontend.spikformer_names import Fire, Pool, StemLayer, Unit

Watch = Callable[[str, Tensor], None]


def source_logits(
    network: Network, pixels: NDArray[np.uint8], dtype: torch.dtype, watch: Watch = lambda lif, spikes: None
) -> NDArray[np.float64]:
    """Logits [B, K] of pixels [B, H, W, C], an image at a time; `watch` sees the spikes [T, 1, C, H, W] of each LIF."""
    run = _Run(network, dtype, watch)
    with torch.inference_mode():
        logits = [run.logits(torch.from_numpy(image)).double().numpy() for image in pixels]
    return np.reshape(logits, (len(pixels), network.sizes.classes))


class _Run:
    def __init__(self, network: Network, dtype: torch.dtype, watch: Watch) -> None:
        self.network, self.watch = network, watch
        self.tensors = {name: tensor.to(dtype) for name, tensor in network.tensors.items()}
        self.dtype = dtype

    def logits(self, pixels: Tensor) -> Tensor:
        """[K] of one image [H, W, C]: the head on the mean over tokens and steps."""
        x = self._stem(self._normalised(pixels))
        for scope in self.network.block_scopes():
            x = self._block(scope, x)
        features = x.mean((0, 1, 3, 4))
        bias = self.tensors.get("head.bias")
        return functional.linear(features, self.tensors["head.weight"], bias)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """[1, 1, C, H, W]."""
        mean, std = (torch.tensor(values, dtype=self.dtype) for values in
                     (self.network.preprocess.mean, self.network.preprocess.std))  # fmt: skip
        image = (pixels.to(self.dtype) * self.network.preprocess.pixel_scale - mean) / std
        return image.permute(2, 0, 1)[None, None]

    def _stem(self, x: Tensor) -> Tensor:
        """The image is the same at every step: what precedes the first LIF runs once."""
        for layer in self.network.layout.stem:
            x = self._stem_layer(layer, x)
        position = self.network.layout.position
        return x if position is None else x + self._unit(position, x)

    def _stem_layer(self, layer: StemLayer, x: Tensor) -> Tensor:
        match layer:
            case Unit():
                return self._unit(layer, x)
            case Fire():
                return self._lif(layer.lif, x)
            case Pool():
                return self._each_step(lambda step: functional.max_pool2d(step, 3, 2, 1), x)

    def _block(self, scope: str, x: Tensor) -> Tensor:
        names = self.network.layout.block
        spikes = x if names.attention_input is None else self._lif(f"{scope}.{names.attention_input}", x)
        query, key, value = (self._unit(unit.within(scope), spikes) for unit in (names.query, names.key, names.value))
        attended = self._lif(f"{scope}.{names.attention_lif}", self._attend(query, key, value), threshold=0.5)
        x = x + self._unit(names.projection.within(scope), attended)
        spikes = x if names.mlp_input is None else self._lif(f"{scope}.{names.mlp_input}", x)
        return x + self._unit(names.second.within(scope), self._unit(names.first.within(scope), spikes))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(q·kᵀ)·v·⅛ within each head."""
        steps, batch, channels, height, width = query.shape
        heads = self.network.heads
        q, k, v = (x.reshape(steps, batch, heads, channels // heads, -1).mT for x in (query, key, value))
        attended = (q @ k.mT) @ v * 0.125
        return attended.mT.reshape(steps, batch, channels, height, width)

    def _unit(self, unit: Unit, x: Tensor) -> Tensor:
        current = self._each_step(lambda step: self._product_and_norm(unit, step), x)
        return current if unit.lif is None else self._lif(unit.lif, current)

    def _product_and_norm(self, unit: Unit, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{unit.product}.weight"], self.tensors.get(f"{unit.product}.bias")
        weight = weight.reshape(*weight.shape[:2], *(weight.shape[2:] if weight.dim() == 4 else (1, 1)))
        current = functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        scale, shift, mean, variance = (self.tensors[f"{unit.norm}.{name}"] for name in NORM_TENSORS)
        return functional.batch_norm(current, mean, variance, scale, shift)

    def _lif(self, name: str, current: Tensor, threshold: float = 1.0) -> Tensor:
        """H = U + (I − U)/τ; fires at H ≥ θ; then U = 0."""
        decay = self.network.decay(name)
        membrane = torch.zeros_like(current[0])
        spikes = []
        for step_current in current.expand(self.network.time_steps, *current.shape[1:]):
            potential = membrane + (step_current - membrane) * decay
            fires = potential >= threshold
            membrane = potential.masked_fill(fires, 0.0)
            spikes.append(fires.to(self.dtype))
        stacked = torch.stack(spikes)
        self.watch(name, stacked)
        return stacked

    @staticmethod
    def _each_step(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return torch.unflatten(layer(x.flatten(0, 1)), 0, x.shape[:2])
