"""dtss checkpoints (written by dtss-train): Spikformer with trained time-step masks, spike or membrane residual.

Supported: every option of `models.spikformer.SpikformerConfig`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dtss.compiler.frontend.archive import bad_input, read_payload
from dtss.compiler.frontend.builder import GraphBuilder
from dtss.compiler.frontend.options import ReadOptions
from dtss.compiler.frontend.source import Source, read_calibration
from dtss.compiler.frontend.spikformer_file import cleaned, layouts_of, tensors_in
from dtss.compiler.graph.ir import Attention, BatchNorm, Convolution, FloatNeuron, Graph, Linear, MaxPool, Node
from dtss.compiler.schedule.check import LARGEST_TIME_STEPS
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.format import Preprocess
from dtss.models import checkpoint as checkpoints
from dtss.models.checkpoint import Checkpoint, CheckpointError
from dtss.models.neurons import Lif
from dtss.models.spikformer import Block, ConvUnit, LinearUnit, Spikformer, SpikformerConfig
from dtss.models.time_step_mask import MaskedLif
from dtss.models.weight_rounding import RoundedConv2d, RoundedLinear, on_grid

STEM_POOL = MaxPool(kernel=3, stride=2, padding=1)

IMAGES_AT_ONCE = 16  # of a large network: what it works on stays small
FLOAT_WORK = 1.2e11  # multiplications for the float logits of the stored images: seconds on two cores


def read(path: Path, options: ReadOptions = ReadOptions()) -> Source:  # noqa: B008 - frozen
    """A checkpoint as a source, its errors in the compiler's form."""
    payload = read_payload(path)
    _refuse_foreign(payload, str(path))
    try:
        checkpoint = checkpoints.from_payload(payload, str(path))
    except CheckpointError as error:
        raise bad_input(error) from None
    _refuse_contradictions(checkpoint, options, str(path))
    if not checkpoint.config.spiking:
        raise UnsupportedError(
            str(path), "a non-spiking ViT has no spikes to schedule", "train with --model dtss or --model plain"
        )
    accuracy = checkpoint.training.get("test_accuracy")
    graph = graph_of(checkpoint)
    found = len(checkpoint.samples.images)
    stored = min(found, max(1, int(FLOAT_WORK / multiplications(graph))))
    return Source(
        graph=graph,
        images=checkpoint.samples.images[:stored].numpy(),
        labels=checkpoint.samples.labels[:stored].numpy(),
        float_logits=float_logits(checkpoint, stored),
        notes=() if stored == found else (f"a large network: {stored} of the checkpoint's {found} images",),
        trained_accuracy=None if accuracy is None else float(accuracy),
        exact_logits=lambda pixels: exact_logits(checkpoint, pixels),
        calibration=read_calibration(graph, options.calibration),
        weight_bits=checkpoint.config.weight_bits,
    )


def _refuse_foreign(payload: object, where: str) -> None:
    """A checkpoint of the field's own code, given as if it were one of ours."""
    if not isinstance(payload, dict) or "format" in payload:
        return
    for layout in layouts_of(cleaned(tensors_in(payload))):
        raise BadInputError(
            where, f"is no dtss checkpoint: it holds the tensors of {layout.title}", f"say --arch {layout.family}"
        )


def _refuse_contradictions(checkpoint: Checkpoint, options: ReadOptions, where: str) -> None:
    """What the user says beside what the checkpoint says."""
    for option in ("heads", "image_size", "mean", "std"):
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise BadInputError(f"--{name}", f"{where} is a dtss checkpoint, which says it itself", "leave it out")
    trained = checkpoint.config.time_steps
    if trained > LARGEST_TIME_STEPS:
        raise UnsupportedError(where, f"runs {trained} time steps", f"a schedule has at most {LARGEST_TIME_STEPS}")
    if options.time_steps not in (None, trained):
        raise BadInputError(
            "--time-steps",
            f"found {options.time_steps}, and the time-step masks of {where} were trained for {trained}",
            "leave it out, or train with other time_steps",
        )


def multiplications(graph: Graph) -> int:
    """Of all products over all T steps of one image, in the float network."""
    counts = (_multiplications(graph, node) for node in graph.nodes)
    return max(1, graph.time_steps * sum(counts))


def _multiplications(graph: Graph, node: Node) -> int:
    match node.op:
        case Convolution() | Linear():
            return node.positions * node.op.weight.size
        case Attention():
            return 2 * node.positions**2 * node.channels
        case _:
            return 0


def float_logits(checkpoint: Checkpoint, images: int) -> NDArray[np.float32]:
    """Mean logits [B, K] of the trained network itself on the first of its stored images."""
    model = checkpoint.build_model()
    inputs = checkpoint.preprocess(checkpoint.samples.images[:images])
    with torch.no_grad():
        means = [model(chunk).mean(0).numpy() for chunk in inputs.split(IMAGES_AT_ONCE)]
    return np.concatenate(means).astype(np.float32, copy=False)


def exact_logits(checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean logits [B, K] of the trained network on pixels [B, H, W, C], in float64."""
    model = checkpoint.build_model().double()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() * checkpoint.preprocess.pixel_scale
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in
                 (checkpoint.preprocess.mean, checkpoint.preprocess.std))  # fmt: skip
    with torch.no_grad():
        logits: NDArray[np.float64] = model((images - mean) / std).mean(0).numpy()
    return logits


def graph_of(checkpoint: Checkpoint) -> Graph:
    """The float graph of a checkpoint, its masks frozen to step indices."""
    model = checkpoint.build_model()
    preprocess = Preprocess(
        pixel_scale=checkpoint.preprocess.pixel_scale,
        mean=checkpoint.preprocess.mean,
        std=checkpoint.preprocess.std,
        pixel_max=_largest_pixel(checkpoint),
    )
    return _SpikformerReader(model, preprocess).read(checkpoint.classes)


def _largest_pixel(checkpoint: Checkpoint) -> int:
    """The pixel that the scale brings to 1, or all 8 bits where the stored images exceed it."""
    whole = min(255, round(1 / checkpoint.preprocess.pixel_scale))
    return whole if bool((checkpoint.samples.images <= whole).all()) else 255


class _SpikformerReader:
    """Walks the modules in the order of their forward pass, adding nodes by their state_dict names."""

    def __init__(self, model: Spikformer, preprocess: Preprocess) -> None:
        self.model, self.config = model, model.config
        self.builder = GraphBuilder(model.config.name, model.config.time_steps, preprocess)
        self.names = {module: name for name, module in model.named_modules()}

    def read(self, classes: tuple[str, ...]) -> Graph:
        config, build = self.config, self.builder
        value = build.image(*config.image_size, config.in_channels)
        for unit in self.model.stem:
            assert isinstance(unit, ConvUnit)
            value = self._conv_unit(unit, value)
        value = build.add("rpe.add", value, self._conv_unit(self.model.rpe, value))
        for block in self.model.blocks:
            assert isinstance(block, Block)
            value = self._block(block, value)
        value = self._lif(self.model.head_lif, value)
        value = build.token_sum("head.token_sum", value)
        value = build.linear("head", value, head_of(self.model.head, _tokens(config)))
        return build.finish(value, classes)

    def _conv_unit(self, unit: ConvUnit, value: str) -> str:
        name = self.names[unit]
        if unit.residual == "membrane":
            value = self._lif(unit.lif, value)
        value = self.builder.convolution(f"{name}.conv", value, convolution_of(unit.conv))
        value = self.builder.batch_norm(f"{name}.norm", value, batch_norm_of(unit.norm))
        if unit.residual == "spike":
            value = self._lif(unit.lif, value)
        return value if unit.pool is None else self.builder.max_pool(f"{name}.pool", value, STEM_POOL)

    def _linear_unit(self, unit: LinearUnit, value: str) -> str:
        name = self.names[unit]
        value = self.builder.linear(f"{name}.linear", value, linear_of(unit.linear))
        value = self.builder.batch_norm(f"{name}.norm", value, batch_norm_of(unit.norm))
        return self._lif(unit.lif, value)

    def _block(self, block: Block, value: str) -> str:
        name, attention, mlp = self.names[block], block.attn, block.mlp
        spikes = self._lif(attention.input_lif, value)
        query, key, keyed = (self._linear_unit(unit, spikes) for unit in (attention.q, attention.k, attention.v))
        product = self.builder.attention(f"{name}.attn.product", query, key, keyed, attention.heads, attention.scale)
        branch = self._linear_unit(attention.proj, self._lif(attention.lif, product))
        value = self.builder.add(f"{name}.attn.add", value, branch)
        hidden = self._linear_unit(mlp.fc1, self._lif(mlp.input_lif, value))
        return self.builder.add(f"{name}.mlp.add", value, self._linear_unit(mlp.fc2, hidden))

    def _lif(self, lif: MaskedLif | None, value: str) -> str:
        if lif is None:
            return value
        name = self.names[lif]
        return self.builder.lif(name, value, neuron_of(lif), lif.group, self.model.masks[name])


def neuron_of(lif: Lif) -> FloatNeuron:
    """The neuron's numbers as float64."""
    spec = lif.spec
    return FloatNeuron(
        leak=spec.leak,
        gain=spec.gain,
        threshold=spec.threshold,
        comparison=spec.comparison,
        reset=spec.reset,
        reset_value=spec.reset_value,
        initial=spec.initial,
    )


def convolution_of(conv: RoundedConv2d) -> Convolution:
    """torch's [O, C, kernel rows, kernel columns] with the channels put last."""
    weight, lsb = _rounded(conv)
    rows_first = weight.transpose(0, 2, 3, 1)
    return Convolution(rows_first, _optional(conv.bias), int(conv.stride[0]), int(conv.padding[0]), lsb=lsb)


def linear_of(linear: RoundedLinear) -> Linear:
    """torch's [O, C] as it is."""
    weight, lsb = _rounded(linear)
    return Linear(weight, _optional(linear.bias), lsb=lsb)


def head_of(head: RoundedLinear, tokens: int) -> Linear:
    """The classifier on the token sum: the mean's 1/N moves into the weight."""
    linear = linear_of(head)
    return Linear(linear.weight / tokens, linear.bias, lsb=None if linear.lsb is None else linear.lsb / tokens)


def _rounded(product: RoundedConv2d | RoundedLinear) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The weight that the network computes with, and its LSB [O], where it was trained with one."""
    if product.grid is None:
        return _array(product.weight), None
    weight = product.weight.detach()
    return _array(on_grid(weight, product.grid.lsb(weight))), _array(product.grid.channel_lsb(weight))


def batch_norm_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> BatchNorm:
    """A trained norm's affine map."""
    variance = _array(norm.running_var)
    return BatchNorm(_array(norm.weight), _array(norm.bias), _array(norm.running_mean), variance, norm.eps)


def _optional(tensor: Tensor | None) -> NDArray[np.float64] | None:
    return None if tensor is None else _array(tensor)


def _array(tensor: Tensor | None) -> NDArray[np.float64]:
    assert tensor is not None
    array: NDArray[np.float64] = tensor.detach().double().numpy()
    return array


def _tokens(config: SpikformerConfig) -> int:
    height, width = config.token_grid
    return height * width
