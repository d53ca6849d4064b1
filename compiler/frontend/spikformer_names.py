"""The code bases whose Spikformer and Spikingformer checkpoints are read: what each calls its layers, in forward order.

All their neurons are LIFNode(tau=2, decay_input=True, v_reset=0), the attention LIF with threshold 0.5; all scale
attention by 0.125, all pools are 3×3 with stride 2. An event camera's variants differ in that and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtss.compiler.frontend.options import Family


@dataclass(frozen=True)
class Unit:
    """A product and its batch norm; `lif` fires behind them, None where the current goes into the residual."""

    product: str
    norm: str
    lif: str | None = None

    def within(self, scope: str) -> Unit:
        """The same layers behind `scope.`"""
        return Unit(f"{scope}.{self.product}", f"{scope}.{self.norm}", self.lif and f"{scope}.{self.lif}")

    def part(self, name: str) -> Unit:
        """One of the units that a fused one is split into."""
        return Unit(f"{self.product}.{name}", f"{self.norm}.{name}", self.lif and f"{self.lif}.{name}")


@dataclass(frozen=True)
class Fire:
    """A LIF of its own."""

    lif: str


@dataclass(frozen=True)
class Pool:
    """A max-pool: of bits behind a LIF, of currents before one."""

    name: str


StemLayer = Unit | Fire | Pool


@dataclass(frozen=True)
class BlockNames:
    """The layers of a block, named behind `block.0.`; the two inputs are None where a residual carries spikes.

    fused: the one product that makes q, k and v, in this order; the reader splits it.
    """

    attention_input: str | None
    query: Unit
    key: Unit
    value: Unit
    attention_lif: str
    projection: Unit
    mlp_input: str | None
    first: Unit
    second: Unit
    fused: Unit | None = None


@dataclass(frozen=True)
class Layout:
    """One code base.

    signature: keys that only its checkpoints have.  position: the convolution added to the stem's result.
    image_side: pixels, unless something says otherwise.  heads: as its code has them, None for D/32.
    """

    title: str
    family: Family
    signature: tuple[str, ...]
    stem: tuple[StemLayer, ...]
    position: Unit | None
    blocks: str
    block: BlockNames
    image_side: int
    heads: int | None


def _stem(text: str) -> tuple[StemLayer, ...]:
    """`product/norm`, `lif:name` and `pool:name`, each behind `patch_embed.`"""
    layers: list[StemLayer] = []
    for word in text.split():
        kind, _, name = word.rpartition(":")
        match kind:
            case "lif":
                layers.append(Fire(f"patch_embed.{name}"))
            case "pool":
                layers.append(Pool(f"patch_embed.{name}"))
            case _:
                product, _, norm = name.partition("/")
                layers.append(Unit(f"patch_embed.{product}", f"patch_embed.{norm}"))
    return tuple(layers)


def _spikformer_block(kind: str) -> BlockNames:
    def unit(name: str) -> Unit:
        return Unit(f"{name}_{kind}", f"{name}_bn", f"{name}_lif")

    return BlockNames(
        attention_input=None,
        query=unit("attn.q"),
        key=unit("attn.k"),
        value=unit("attn.v"),
        attention_lif="attn.attn_lif",
        projection=unit("attn.proj"),
        mlp_input=None,
        first=unit("mlp.fc1"),
        second=unit("mlp.fc2"),
    )


_SPIKINGFORMER_BLOCK = BlockNames(
    attention_input="attn.proj_lif",
    query=Unit("attn.q_conv", "attn.q_bn", "attn.q_lif"),
    key=Unit("attn.k_conv", "attn.k_bn", "attn.k_lif"),
    value=Unit("attn.v_conv", "attn.v_bn", "attn.v_lif"),
    attention_lif="attn.attn_lif",
    projection=Unit("attn.proj_conv", "attn.proj_bn"),
    mlp_input="mlp.mlp1_lif",
    first=Unit("mlp.mlp1_conv", "mlp.mlp1_bn", "mlp.mlp2_lif"),
    second=Unit("mlp.mlp2_conv", "mlp.mlp2_bn"),
)

_FUSED = Unit("attn.qkv_conv_bn.0", "attn.qkv_conv_bn.1", "attn.qkv_lif")
_SPIKINGJELLY_BLOCK = BlockNames(
    attention_input=None,
    query=_FUSED.part("q"),
    key=_FUSED.part("k"),
    value=_FUSED.part("v"),
    attention_lif="attn.attn_lif",
    projection=Unit("attn.proj_conv_bn.0", "attn.proj_conv_bn.1", "attn.proj_lif"),
    mlp_input=None,
    first=Unit("mlp.fc1.0", "mlp.fc1.1", "mlp.neuron1"),
    second=Unit("mlp.fc2.0", "mlp.fc2.1", "mlp.neuron2"),
    fused=_FUSED,
)

_RPE = Unit("patch_embed.rpe_conv", "patch_embed.rpe_bn", "patch_embed.rpe_lif")
_ENCODING = "patch_embed.positional_encoding"
_ENCODING_UNIT = Unit(f"{_ENCODING}.conv_bn.block.0", f"{_ENCODING}.conv_bn.block.1", f"{_ENCODING}.neuron")

# Where two layouts share their names, the one for small images stands first.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        title="Spikformer's CIFAR code",
        family="spikformer",
        signature=("patch_embed.proj_conv.weight", "block.0.attn.q_linear.weight"),
        stem=_stem("""
            proj_conv/proj_bn    lif:proj_lif
            proj_conv1/proj_bn1  lif:proj_lif1
            proj_conv2/proj_bn2  lif:proj_lif2  pool:maxpool2
            proj_conv3/proj_bn3  lif:proj_lif3  pool:maxpool3
        """),
        position=_RPE,
        blocks="block",
        block=_spikformer_block("linear"),
        image_side=32,
        heads=None,
    ),
    Layout(
        title="Spikformer's ImageNet code",
        family="spikformer",
        signature=("patch_embed.proj_conv.weight", "block.0.attn.q_conv.weight", "patch_embed.rpe_conv.weight"),
        stem=_stem("""
            proj_conv/proj_bn    lif:proj_lif   pool:maxpool
            proj_conv1/proj_bn1  lif:proj_lif1  pool:maxpool1
            proj_conv2/proj_bn2  lif:proj_lif2  pool:maxpool2
            proj_conv3/proj_bn3  lif:proj_lif3  pool:maxpool3
        """),
        position=_RPE,
        blocks="block",
        block=_spikformer_block("conv"),
        image_side=224,
        heads=8,
    ),
    Layout(
        title="CML-Spikformer's CIFAR code",
        family="spikformer-cml",
        signature=("patch_embed.block1_conv.weight", "patch_embed.rpe_conv.weight"),
        stem=_stem("""
            block1_conv/block1_bn                 lif:block1_lif
            block2_conv/block2_bn                 lif:block2_lif
            block3_conv/block3_bn  pool:block3_mp lif:block3_lif
            block4_conv/block4_bn  pool:block4_mp lif:block4_lif
        """),
        position=_RPE,
        blocks="block",
        block=_spikformer_block("linear"),
        image_side=32,
        heads=None,
    ),
    Layout(
        title="SpikingJelly's Spikformer with patches of 4",
        family="spikformer",
        signature=(f"{_ENCODING}.conv_bn.block.0.weight",),
        stem=_stem("""
            stages.0.conv_bn.block.0/stages.0.conv_bn.block.1                               lif:stages.0.neuron
            stages.1.conv_bn.block.0/stages.1.conv_bn.block.1                               lif:stages.1.neuron
            stages.2.conv_bn.block.0/stages.2.conv_bn.block.1  pool:stages.2.conv_bn.block.2  lif:stages.2.neuron
            stages.3.conv_bn.block.0/stages.3.conv_bn.block.1  pool:stages.3.conv_bn.block.2  lif:stages.3.neuron
        """),
        position=_ENCODING_UNIT,
        blocks="blocks",
        block=_SPIKINGJELLY_BLOCK,
        image_side=32,
        heads=None,
    ),
    Layout(
        title="SpikingJelly's Spikformer with patches of 16",
        family="spikformer",
        signature=(f"{_ENCODING}.conv_bn.block.0.weight",),
        stem=_stem("""
            stages.0.conv_bn.block.0/stages.0.conv_bn.block.1  pool:stages.0.conv_bn.block.2  lif:stages.0.neuron
            stages.1.conv_bn.block.0/stages.1.conv_bn.block.1  pool:stages.1.conv_bn.block.2  lif:stages.1.neuron
            stages.2.conv_bn.block.0/stages.2.conv_bn.block.1  pool:stages.2.conv_bn.block.2  lif:stages.2.neuron
            stages.3.conv_bn.block.0/stages.3.conv_bn.block.1  pool:stages.3.conv_bn.block.2  lif:stages.3.neuron
        """),
        position=_ENCODING_UNIT,
        blocks="blocks",
        block=_SPIKINGJELLY_BLOCK,
        image_side=224,
        heads=None,
    ),
    Layout(
        title="Spikingformer's CIFAR code",
        family="spikingformer",
        signature=("patch_embed.block0_conv.weight",),
        stem=_stem("""
                                            block0_conv/block0_bn
            lif:block1_lif                  block1_conv/block1_bn
            lif:block2_lif                  block2_conv/block2_bn
            lif:block3_lif  pool:block3_mp  block3_conv/block3_bn
            lif:block4_lif  pool:block4_mp  block4_conv/block4_bn
        """),
        position=None,
        blocks="block",
        block=_SPIKINGFORMER_BLOCK,
        image_side=32,
        heads=None,
    ),
    Layout(
        title="Spikingformer's ImageNet code",
        family="spikingformer",
        signature=("patch_embed.proj4_conv.weight",),
        stem=_stem("""
                                           proj_conv/proj_bn
            lif:proj1_lif  pool:maxpool1  proj1_conv/proj1_bn
            lif:proj2_lif  pool:maxpool2  proj2_conv/proj2_bn
            lif:proj3_lif  pool:maxpool3  proj3_conv/proj3_bn
            lif:proj4_lif  pool:maxpool4  proj4_conv/proj4_bn
        """),
        position=None,
        blocks="block",
        block=_SPIKINGFORMER_BLOCK,
        image_side=224,
        heads=8,
    ),
    Layout(
        title="CML-Spikingformer's CIFAR code",
        family="spikingformer-cml",
        signature=("patch_embed.proj4_conv.weight",),
        stem=_stem("""
                           proj_conv/proj_bn
            lif:proj1_lif  proj1_conv/proj1_bn
            lif:proj2_lif  proj2_conv/proj2_bn  pool:proj2_mp
            lif:proj3_lif  proj3_conv/proj3_bn  pool:proj3_mp
            lif:proj4_lif  proj4_conv/proj4_bn
        """),
        position=None,
        blocks="block",
        block=_SPIKINGFORMER_BLOCK,
        image_side=32,
        heads=None,
    ),
    Layout(
        title="CML-Spikingformer's ImageNet code",
        family="spikingformer-cml",
        signature=("patch_embed.proj4_conv.weight",),
        stem=_stem("""
                           proj_conv/proj_bn    pool:maxpool
            lif:proj1_lif  proj1_conv/proj1_bn  pool:maxpool1
            lif:proj2_lif  proj2_conv/proj2_bn  pool:maxpool2
            lif:proj3_lif  proj3_conv/proj3_bn  pool:maxpool3
            lif:proj4_lif  proj4_conv/proj4_bn
        """),
        position=None,
        blocks="block",
        block=_SPIKINGFORMER_BLOCK,
        image_side=224,
        heads=8,
    ),
)
