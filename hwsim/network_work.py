"""Multiplications, weights and neurons of a Spikformer, from its shape alone.

patch splitting   3×3 convolutions of D/8, D/4, D/2, D channels, each halved by a pool or not, then one of D
a block           q, k, v, proj: D → D;  two attention products of N × N × D;  fc1: D → M·D, fc2: M·D → D
head              D → K
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

KERNEL = 9  # 3×3


class SpikformerShape(msgspec.Struct, frozen=True, kw_only=True):
    """pools: of the four convolutions, those whose output a pool halves. classes: K."""

    blocks: int
    features: int
    image: int
    pools: tuple[bool, bool, bool, bool]
    classes: int
    mlp_ratio: int = 4
    image_channels: int = 3


class LayerWork(msgspec.Struct, frozen=True, kw_only=True):
    """One layer at one time step: MACs, weights without biases, LIF neurons behind it."""

    name: str
    multiplications: int
    weights: int
    neurons: int


def cifar(blocks: int = 4, features: int = 384, classes: int = 10) -> SpikformerShape:
    """32×32 images, 64 tokens."""
    return SpikformerShape(
        blocks=blocks, features=features, image=32, pools=(False, False, True, True), classes=classes
    )


def imagenet(blocks: int = 8, features: int = 512) -> SpikformerShape:
    """224×224 images, 196 tokens."""
    return SpikformerShape(blocks=blocks, features=features, image=224, pools=(True, True, True, True), classes=1000)


def layers(shape: SpikformerShape) -> tuple[LayerWork, ...]:
    """Every product in order; a LIF behind each but the first attention product and the head."""
    stem = tuple(_stem(shape))
    tokens = stem[-1].neurons // shape.features
    blocks = (layer for block in range(shape.blocks) for layer in _block(shape, block, tokens))
    head = shape.features * shape.classes
    return (*stem, *blocks, LayerWork(name="head", multiplications=head, weights=head, neurons=0))


def _stem(shape: SpikformerShape) -> Iterator[LayerWork]:
    size, channels = shape.image, shape.image_channels
    for index, pooled in enumerate((*shape.pools, False)):
        width = shape.features >> max(0, 3 - index)
        weights = KERNEL * channels * width
        name = "rpe" if index == len(shape.pools) else f"stem.{index}"
        yield LayerWork(name=name, multiplications=weights * size * size, weights=weights, neurons=width * size * size)
        size, channels = size // 2 if pooled else size, width


def _block(shape: SpikformerShape, block: int, tokens: int) -> Iterator[LayerWork]:
    features = shape.features
    hidden = shape.mlp_ratio * features

    def linear(name: str, inputs: int, outputs: int) -> LayerWork:
        return LayerWork(
            name=f"{block}.{name}", multiplications=tokens * inputs * outputs, weights=inputs * outputs,
            neurons=tokens * outputs,
        )  # fmt: skip

    def attention(name: str, neurons: int) -> LayerWork:
        return LayerWork(name=f"{block}.{name}", multiplications=tokens * tokens * features, weights=0, neurons=neurons)

    yield from (linear(name, features, features) for name in ("q", "k", "v"))
    yield attention("scores", 0)
    yield attention("values", tokens * features)
    yield linear("proj", features, features)
    yield linear("fc1", features, hidden)
    yield linear("fc2", hidden, features)


def multiplications(shape: SpikformerShape) -> int:
    """MACs a step, without the head."""
    return sum(layer.multiplications for layer in layers(shape) if layer.name != "head")


def neurons(shape: SpikformerShape) -> int:
    """LIF neurons a step."""
    return sum(layer.neurons for layer in layers(shape))


def weights(shape: SpikformerShape) -> int:
    """Weights, biases and batch norms not counted."""
    return sum(layer.weights for layer in layers(shape))
