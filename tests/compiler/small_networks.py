"""Small fixed networks, their numbers made of exact fractions so that they are the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.graph.ir import BatchNorm, Convolution, FloatNeuron, Graph, Linear, MaxPool
from dtss.compiler.schedule.format import Group, Preprocess

PIXELS = Preprocess(pixel_scale=1.0, mean=(0.0,), std=(1.0,), pixel_max=15)
SPIKING_JELLY = FloatNeuron(0.5, 0.5, 1.0, ">=", "hard", 0.0, 0.0)
DTSS = FloatNeuron(0.5, 1.0, 1.0, ">", "soft", 0.0, 0.0)


def weights(*shape: int) -> NDArray[np.float64]:
    """Multiples of 1/8 from −3/8 to 5/8."""
    return ((np.arange(np.prod(shape)) * 7 % 9 - 3) / 8.0).reshape(shape)


def linear(outputs: int, inputs: int, bias: bool = False) -> Linear:
    return Linear(weights(outputs, inputs), weights(outputs) if bias else None)


def convolution(outputs: int, inputs: int) -> Convolution:
    return Convolution(weights(outputs, 3, 3, inputs), None, 1, 1)


def batch_norm(channels: int) -> BatchNorm:
    ones = np.ones(channels)
    return BatchNorm(scale=ones * 1.5, shift=ones / 4, mean=ones / 8, variance=ones * 0.75, epsilon=0.25)


def mask(bits: str) -> tuple[int, ...]:
    return tuple(int(bit) for bit in bits)


def attention(
    build: GraphBuilder, name: str, value: str, neuron: FloatNeuron, masks: dict[str, str], heads: int
) -> str:
    """q, k, v with their masks, the product, and its LIF (threshold ½, mask `out`)."""
    channels = build.shape(value)[2]
    lifs = []
    for letter in ("q", "k", "v"):
        current = build.linear(f"{name}.{letter}.linear", value, linear(channels, channels))
        lifs.append(build.lif(f"{name}.{letter}.lif", current, neuron, "qkv", mask(masks[letter])))
    product = build.attention(f"{name}.product", lifs[0], lifs[1], lifs[2], heads, 0.125)
    half = FloatNeuron(neuron.leak, neuron.gain, 0.5, neuron.comparison, neuron.reset, 0.0, 0.0)
    return build.lif(f"{name}.lif", product, half, "attn", mask(masks["out"]))


def spike_residual() -> Graph:
    """Official Spikformer's order: product, norm, LIF; spikes are added."""
    build = GraphBuilder("spike-residual", 4, PIXELS)
    value = build.convolution("stem.conv", build.image(4, 4, 1), convolution(4, 1))
    value = build.lif(
        "stem.lif", build.batch_norm("stem.norm", value, batch_norm(4)), SPIKING_JELLY, "sps", mask("1100")
    )
    value = build.max_pool("stem.pool", value, MaxPool(3, 2, 1))
    masks = {"q": "1100", "k": "1110", "v": "0110", "out": "1111"}
    branch = attention(build, "attn", value, SPIKING_JELLY, masks, heads=2)
    branch = _unit(build, "proj", branch, 4, "attn", "1111")
    value = build.add("attn.add", value, branch)
    branch = _unit(build, "fc2", _unit(build, "fc1", value, 8, "mlp", "0110"), 4, "mlp", "1010")
    value = build.add("mlp.add", value, branch)
    value = build.token_sum("head.sum", value)
    return build.finish(build.linear("head", value, linear(3, 4, bias=True)), ("a", "b", "c"))


def membrane_residual() -> Graph:
    """Spikingformer's order: a LIF before every product; currents are added."""
    build = GraphBuilder("membrane-residual", 4, PIXELS)
    current = build.convolution("stem.conv", build.image(4, 4, 1), convolution(4, 1))
    current = build.max_pool("stem.pool", current, MaxPool(3, 2, 1))
    value = build.lif("rpe.lif", current, DTSS, "sps", mask("1100"))
    current = build.add("rpe.add", current, build.convolution("rpe.conv", value, convolution(4, 4)))
    value = build.lif("attn.in", current, DTSS, "qkv", mask("1111"))
    masks = {"q": "1100", "k": "1000", "v": "1111", "out": "1110"}
    value = attention(build, "attn", value, DTSS, masks, heads=2)
    current = build.add("attn.add", current, build.linear("proj", value, linear(4, 4, bias=True)))
    value = build.lif("mlp.in", current, DTSS, "mlp", mask("0011"))
    current = build.add("mlp.add", current, build.linear("fc", value, linear(4, 4)))
    value = build.lif("head.lif", current, DTSS, "mlp", mask("1110"))
    value = build.token_sum("head.sum", value)
    return build.finish(build.linear("head", value, linear(3, 4, bias=True)), ("a", "b", "c"))


def current_head(summed: bool = True) -> Graph:
    """image → conv → (LIF → conv) + (LIF → linear with bias) → [token sum] → head."""
    build = GraphBuilder("current-head", 3, PIXELS)
    current = build.convolution("stem", build.image(4, 3, 1), convolution(4, 1))
    spikes = build.lif("lif1", current, DTSS, "sps", mask("111"))
    current = build.convolution("conv", spikes, convolution(4, 4))
    spikes = build.lif("lif2", current, DTSS, "mlp", mask("110"))
    current = build.add("add", current, build.linear("linear", spikes, linear(4, 4, bias=True)))
    if summed:
        current = build.token_sum("sum", current)
    return build.finish(build.linear("head", current, linear(3, 4, bias=True)), ("a", "b", "c"))


def _unit(build: GraphBuilder, name: str, value: str, outputs: int, group: Group, bits: str) -> str:
    current = build.linear(f"{name}.linear", value, linear(outputs, build.shape(value)[2]))
    current = build.batch_norm(f"{name}.norm", current, batch_norm(outputs))
    return build.lif(f"{name}.lif", current, SPIKING_JELLY, group, mask(bits))
