"""Weights on the grid that the compiler will choose: scales by hand, values, and the gradient that passes through."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from dtss.models.neurons import NEURON_FAMILIES
from dtss.models.spikformer import CONFIGS, ConvUnit, LinearUnit, Residual, Spikformer, SpikformerConfig
from dtss.models.weight_rounding import (
    ChannelGrid,
    LayerGrid,
    RoundedConv2d,
    RoundedLinear,
    Summand,
    integers,
    share_grid,
    straight_through,
)

CONFIG = dataclasses.replace(CONFIGS["digits"], depth=1, dim=8, heads=2, stem_channels=(4, 8), weight_bits=4)


def test_a_channel_by_hand() -> None:
    """Of 4 bits the integers are −7 … 7: s = 14/7 = 2; a channel's only weight becomes 4, so that s is exact."""
    weight = torch.tensor([[14.0, -3.1, 1.0, 2.9], [0.0, 6.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    lsb = ChannelGrid(4).lsb(weight)
    assert lsb.tolist() == [[2.0], [1.5], [1 / 7]]
    assert integers(weight, lsb).tolist() == [[7, -2, 0, 1], [0, 4, 0, 0], [0, 0, 0, 0]]
    assert integers(weight, LayerGrid(4).lsb(weight)).tolist() == [[7, -2, 0, 1], [0, 3, 0, 0], [0, 0, 0, 0]]


def test_pixels_bring_their_step() -> None:
    """w·step = (14, 6) is what is rounded: s = 2 there, and 2/step for w itself."""
    weight = torch.tensor([14.0, 3.0]).view(1, 2, 1, 1)
    lsb = ChannelGrid(4, input_lsb=(1.0, 2.0)).lsb(weight)
    assert lsb.flatten().tolist() == [2.0, 1.0]
    assert integers(weight, lsb).flatten().tolist() == [7, 3]


def test_added_currents_share_a_scale() -> None:
    """Factors 1 and ¼: alone S = (2, 4) and (½, ¾). Medians 3 and 0.625: k = round(log2 4.8) = 2 and 0, so
    S = max((2, 4)/4, (½, ¾)) = (½, 1), and s = 4·S/1 and 1·S/¼."""
    weights = torch.tensor([[14.0, 7.0], [28.0, 7.0]]), torch.tensor([[14.0, 7.0], [21.0, 7.0]])
    summands = []
    for weight, gamma in zip(weights, (1.0, -0.25), strict=True):
        product, norm = RoundedLinear(2, 2, bias=False), nn.BatchNorm1d(2, eps=0.0)
        product.weight.data, norm.weight.data = weight, torch.full((2,), gamma)
        summands.append(Summand(product, norm, ChannelGrid(4)))
    share_grid(summands)
    lsbs = [summand.product.grid.lsb(summand.product.weight) for summand in summands if summand.product.grid]
    assert [lsb.flatten().tolist() for lsb in lsbs] == [[2.0, 4.0], [2.0, 4.0]]


def test_the_value_is_rounded_and_the_gradient_is_not() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    rounded = straight_through(weight, ChannelGrid(3))
    lsb = ChannelGrid(3).lsb(weight.detach())
    expected = (torch.round(weight.detach().double() / lsb) * lsb).float()
    assert torch.equal(rounded, expected) and not torch.equal(rounded, weight)
    upstream = torch.randn_like(rounded)
    rounded.backward(upstream)
    assert weight.grad is not None and torch.equal(weight.grad, upstream)


@pytest.mark.parametrize("residual", ["spike", "membrane"])
def test_the_network_computes_with_rounded_weights_everywhere(residual: Residual) -> None:
    """Its logits are those of the float network that holds ŵ."""
    config = dataclasses.replace(CONFIG, residual=residual, neuron=NEURON_FAMILIES["dtss"])
    torch.manual_seed(1)
    model = Spikformer(config, pixel_lsb=(0.25,)).eval()
    for unit in model.modules():
        if isinstance(unit, ConvUnit | LinearUnit):
            unit.norm.bias.data.fill_(0.8)  # busy enough to reach the head
    products = [module for module in model.modules() if isinstance(module, RoundedConv2d | RoundedLinear)]
    assert len(products) == 3 + 6 + 1
    state = model.state_dict()
    for name, module in model.named_modules():
        if module in products:
            assert isinstance(module, RoundedConv2d | RoundedLinear)
            state[f"{name}.weight"] = straight_through(module.weight.detach(), module.grid)
    floating = Spikformer(dataclasses.replace(config, weight_bits=None)).eval()
    images = torch.rand(20, 1, 8, 8)
    unrounded = dict(model.state_dict())
    with torch.no_grad():
        floating.load_state_dict(unrounded)
        assert not torch.equal(model(images), floating(images))
        floating.load_state_dict(state)
        assert torch.equal(model(images), floating(images))


def gradients(config: SpikformerConfig, images: Tensor) -> dict[str, Tensor | None]:
    torch.manual_seed(2)
    model = Spikformer(config).train()
    model(images).square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_every_weight_of_a_product_learns() -> None:
    for name, gradient in gradients(CONFIG, 3 * torch.rand(30, 1, 8, 8)).items():
        if not name.endswith("mask.score"):
            assert gradient is not None and bool(torch.isfinite(gradient).all()), name
    units = [name for name, unit in Spikformer(CONFIG).named_modules() if isinstance(unit, ConvUnit | LinearUnit)]
    assert len(units) == 9


@pytest.mark.parametrize("bits", [1, 9, 0, -4])
def test_impossible_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"digits: weight_bits is {bits}; choose 2..8, or leave it out for float"):
        dataclasses.replace(CONFIG, weight_bits=bits)


def test_the_non_spiking_vit_is_refused() -> None:
    with pytest.raises(ValueError, match="digits: weight_bits is 4, but the non-spiking ViT is never compiled"):
        dataclasses.replace(CONFIG, spiking=False)


@pytest.mark.slow  # tracing alone takes most of a minute
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's tracer does so
@pytest.mark.parametrize("residual", ["spike", "membrane"])
def test_torch_compile_takes_the_network_as_one_graph(residual: Residual) -> None:
    torch.manual_seed(3)
    model = Spikformer(dataclasses.replace(CONFIG, residual=residual), (0.5,)).train()
    images = torch.rand(4, 1, 8, 8)
    before = copy.deepcopy(model)  # BatchNorm's statistics move, and the scale of added currents with them
    traced = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(traced(images), before(images))
