"""The networks: shapes, names, what each product sees, and the size of the published one."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dtss.models.neurons import NEURON_FAMILIES
from dtss.models.spikformer import CONFIGS, ConvUnit, Residual, Spikformer, SpikformerConfig, record_spikes

TINY = SpikformerConfig(
    name="tiny",
    image_size=(6, 8),
    in_channels=2,
    classes=3,
    dim=8,
    depth=2,
    heads=2,
    mlp_ratio=2,
    time_steps=3,
    initial_steps=2,
    stem_channels=(4, 8),
    stem_pools=(True, False),
    neuron=NEURON_FAMILIES["dtss"],
)
RESIDUALS: list[Residual] = ["spike", "membrane"]

NORM = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


def tiny(residual: Residual = "spike", **changes: object) -> Spikformer:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, residual=residual, **changes)  # type: ignore[arg-type]
    model = Spikformer(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.bias.data.fill_(1.0)  # an untrained network is silent otherwise
    return model


def unit(prefix: str, product: str, lif: bool) -> set[str]:
    mask = ["lif.mask.score"] if lif else []
    return {f"{prefix}.{name}" for name in [f"{product}.weight", *NORM, *mask]}


@pytest.mark.parametrize("residual", RESIDUALS)
def test_forward_and_backward_reach_every_weight(residual: Residual) -> None:
    model = tiny(residual)
    logits = model(torch.rand(4, 2, 6, 8))
    assert logits.shape == (3, 4, 3)
    (logits * torch.randn(logits.shape)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    for name in ("stem.0.conv.weight", "rpe.conv.weight", "blocks.1.mlp.fc2.linear.weight", "head.weight"):
        assert float(dict(model.named_parameters())[name].grad.abs().sum()) > 0.0, name  # type: ignore[union-attr]


def test_state_dict_names_of_the_spike_residual() -> None:
    expected = unit("stem.0", "conv", True) | unit("stem.1", "conv", True) | unit("rpe", "conv", True)
    for block in ("blocks.0", "blocks.1"):
        for name in ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2"):
            expected |= unit(f"{block}.{name}", "linear", True)
        expected.add(f"{block}.attn.lif.mask.score")
    assert set(tiny("spike").state_dict()) == expected | {"head.weight", "head.bias"}


def test_state_dict_names_of_the_membrane_residual() -> None:
    expected = unit("stem.0", "conv", False) | unit("stem.1", "conv", True) | unit("rpe", "conv", True)
    for block in ("blocks.0", "blocks.1"):
        for name, lif in (("attn.q", True), ("attn.k", True), ("attn.v", True), ("attn.proj", False)):
            expected |= unit(f"{block}.{name}", "linear", lif)
        expected |= unit(f"{block}.mlp.fc1", "linear", True) | unit(f"{block}.mlp.fc2", "linear", False)
        for name in ("attn.input_lif", "attn.lif", "mlp.input_lif"):
            expected.add(f"{block}.{name}.mask.score")
    assert set(tiny("membrane").state_dict()) == expected | {
        "head_lif.mask.score",
        "head.weight",
        "head.bias",
    }


def test_lif_layers_in_order_with_their_groups() -> None:
    spike = {name: lif.group for name, lif in tiny("spike", depth=1).lif_layers().items()}
    assert list(spike.items()) == [
        ("stem.0.lif", "sps"),
        ("stem.1.lif", "sps"),
        ("rpe.lif", "sps"),
        ("blocks.0.attn.q.lif", "qkv"),
        ("blocks.0.attn.k.lif", "qkv"),
        ("blocks.0.attn.v.lif", "qkv"),
        ("blocks.0.attn.lif", "attn"),
        ("blocks.0.attn.proj.lif", "attn"),
        ("blocks.0.mlp.fc1.lif", "mlp"),
        ("blocks.0.mlp.fc2.lif", "mlp"),
    ]
    membrane = {name: lif.group for name, lif in tiny("membrane", depth=1).lif_layers().items()}
    assert list(membrane.items()) == [
        ("stem.1.lif", "sps"),
        ("rpe.lif", "sps"),
        ("blocks.0.attn.input_lif", "qkv"),
        ("blocks.0.attn.q.lif", "qkv"),
        ("blocks.0.attn.k.lif", "qkv"),
        ("blocks.0.attn.v.lif", "qkv"),
        ("blocks.0.attn.lif", "attn"),
        ("blocks.0.mlp.input_lif", "mlp"),
        ("blocks.0.mlp.fc1.lif", "mlp"),
        ("head_lif", "mlp"),
    ]


@pytest.mark.parametrize("residual", RESIDUALS)
def test_recorded_spikes_are_bits_that_obey_their_masks(residual: Residual) -> None:
    model = tiny(residual)
    recorded = record_spikes(model, torch.rand(5, 2, 6, 8))
    assert list(recorded) == list(model.lif_layers())
    assert model.training
    for name, spikes in recorded.items():
        assert spikes.shape[:2] == (3, 5), name
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}, name
        assert not spikes[2].any(), name  # initial_steps = 2
    assert sum(float(spikes.sum()) for spikes in recorded.values()) > 0.0
    assert not any(lif._forward_hooks for lif in model.lif_layers().values())


def product_inputs(model: Spikformer) -> dict[str, Tensor]:
    """What every convolution and linear layer reads."""
    inputs: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda _m, args, name=name: inputs.update({name: args[0].detach()}))
    model.eval()(torch.rand(5, 2, 6, 8))
    return inputs


def test_membrane_residual_feeds_bits_to_every_product() -> None:
    inputs = product_inputs(tiny("membrane"))
    for name, value in inputs.items():
        if name not in ("stem.0.conv", "head"):  # the image; the mean over tokens of bits
            assert set(value.unique().tolist()) <= {0.0, 1.0}, name
    head = inputs["head"] * 12  # 3×4 tokens
    assert torch.allclose(head, head.round(), atol=1e-5)


def test_spike_residual_feeds_counts_to_the_blocks() -> None:
    inputs = product_inputs(tiny("spike"))
    for name, value in inputs.items():
        if name not in ("stem.0.conv", "head"):
            assert torch.equal(value, value.round()), name
    assert float(inputs["blocks.1.mlp.fc1.linear"].max()) >= 2.0
    assert set(inputs["blocks.1.mlp.fc2.linear"].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("residual", RESIDUALS)
def test_the_first_convolution_runs_once(residual: Residual) -> None:
    inputs = product_inputs(tiny(residual))
    assert inputs["stem.0.conv"].shape[0] == 5
    assert inputs["stem.1.conv"].shape[0] == 5 * 3


@pytest.mark.parametrize("residual", RESIDUALS)
def test_a_masked_layer_emits_nothing_and_the_others_go_on(residual: Residual) -> None:
    model = tiny(residual, initial_steps=3)
    mask = model.lif_layers()["blocks.0.attn.v.lif"].mask
    assert mask is not None
    mask.score.data.zero_()
    assert model.masks["blocks.0.attn.v.lif"] == (1, 0, 0)
    layers = len(model.masks)
    assert model.average_time_steps == pytest.approx(3 - 2 / layers)
    recorded = record_spikes(model, torch.rand(5, 2, 6, 8))
    assert not recorded["blocks.0.attn.v.lif"][1:].any()
    assert recorded["blocks.0.attn.q.lif"][1:].any()


def test_a_plain_spikformer_has_no_masks() -> None:
    model = tiny(masked=False)
    assert not [name for name in model.state_dict() if "mask" in name]
    assert model.average_time_steps == 3.0


def test_attention_is_scaled_coincidences_without_softmax() -> None:
    model = tiny(attention_scale=0.25).eval()
    attention_lif = model.lif_layers()["blocks.0.attn.lif"]
    recorded = record_spikes(model, torch.rand(2, 2, 6, 8))
    q, k, v = (recorded[f"blocks.0.attn.{name}.lif"] for name in "qkv")
    expected = torch.zeros_like(q)
    for head in (slice(0, 4), slice(4, 8)):
        counts = torch.einsum("tbnd,tbmd->tbnm", q[..., head], k[..., head])
        expected[..., head] = torch.einsum("tbnm,tbmd->tbnd", counts, v[..., head]) * 0.25
    assert torch.equal(attention_lif(expected), recorded["blocks.0.attn.lif"])
    assert attention_lif.spec.threshold == 0.5
    assert expected.max() > 0.0


def test_pool_of_bits_is_their_or() -> None:
    stage = ConvUnit(1, 1, "spike", None, pool=True)
    bits = torch.zeros(1, 1, 1, 4, 4)
    bits[..., 3, 3] = 1.0
    assert stage.pooled(bits).flatten().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_spikformer_4_384_has_the_published_size() -> None:
    """Counted by torch: 934,039,296 multiply-accumulates a step, 1,572,864 in each q·kᵀ and each ·v."""
    config = dataclasses.replace(CONFIGS["spikformer-4-384"], time_steps=1, initial_steps=1, masked=False)
    with torch.device("meta"):
        model = Spikformer(config).eval()
        images = torch.empty(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert counter.get_total_flops() == 2 * 934_039_296
    attention = counter.get_flop_counts()["Spikformer.blocks.0.attn"]
    assert attention[torch.ops.aten.bmm] == 2 * 2 * 1_572_864
    products = [p.numel() for name, p in model.named_parameters() if name.endswith(("conv.weight", "linear.weight"))]
    assert sum(products) + model.head.weight.numel() == 9_281_040


def test_spikformer_8_512_has_196_tokens() -> None:
    assert CONFIGS["spikformer-8-512"].token_grid == (14, 14)
    with torch.device("meta"):
        logits = Spikformer(CONFIGS["spikformer-8-512"]).eval()(torch.empty(1, 3, 224, 224))
    assert logits.shape == (4, 1, 1000)


def test_token_grid_is_what_the_stem_makes() -> None:
    model = tiny(image_size=(7, 9))
    grids: list[tuple[int, ...]] = []
    model.rpe.register_forward_hook(lambda _m, _i, output: grids.append(tuple(output.shape[-2:])))
    model(torch.rand(2, 2, 7, 9))
    assert grids == [model.config.token_grid] == [(4, 5)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "tiny: depth is 0; give 1 or more"),
        ({"image_size": (0, 8)}, "tiny: image_size is (0, 8); give a height and a width of 1 or more"),
        ({"heads": 3}, "tiny: dim 8 does not split over 3 heads; change one"),
        (
            {"stem_pools": (True,)},
            "tiny: stem_channels has 2 stages and stem_pools 1; give one entry of each per stage",
        ),
        ({"stem_channels": (4, 6)}, "tiny: stem_channels is (4, 6); give positive numbers that end in dim 8"),
        ({"initial_steps": 4}, "tiny: initial_steps is 4; choose 1..3, the time_steps"),
        ({"minimum_steps": 3}, "tiny: minimum_steps is 3; choose 0..2, the initial_steps"),
        ({"residual": "none"}, "tiny: residual is 'none'; choose 'spike' or 'membrane'"),
        ({"attention_scale": 0.0}, "tiny: attention_scale is 0.0; give a positive finite number"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
    assert str(error.value) == message
