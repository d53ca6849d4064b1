"""The non-spiking ViT has the Spikformer's shape, and its attention is the textbook's."""

import dataclasses
from pathlib import Path

import pytest
import torch

from dtss.models.checkpoint import Checkpoint, save
from dtss.models.network import network_of
from dtss.models.spikformer import CONFIGS, Spikformer
from dtss.models.vit import SoftmaxAttention, Vit


@pytest.mark.parametrize("name", ["digits", "cifar10-small", "spikformer-4-384"])
def test_it_has_the_weights_of_the_plain_spikformer(name: str) -> None:
    plain = dataclasses.replace(CONFIGS[name], masked=False)
    with torch.device("meta"):
        spiking, other = network_of(plain), network_of(dataclasses.replace(plain, spiking=False))
    assert isinstance(spiking, Spikformer) and isinstance(other, Vit)
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (spiking, other)]
    assert shapes[0] == shapes[1]


def test_attention_is_softmax_over_the_keys() -> None:
    torch.manual_seed(0)
    attention = SoftmaxAttention(CONFIGS["digits"]).eval()
    x = torch.randn(1, 2, 5, 64)
    heads = []
    q, k, v = (unit(x)[0] for unit in (attention.q, attention.k, attention.v))
    for head in range(4):
        part = slice(16 * head, 16 * head + 16)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 4.0, dim=-1)
        heads.append(weights @ v[..., part])
    expected = attention.proj(torch.cat(heads, dim=-1).unsqueeze(0))
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_every_weight_learns_and_one_pass_is_one_step() -> None:
    torch.manual_seed(0)
    model = Vit(CONFIGS["digits"])
    logits = model(torch.rand(6, 1, 8, 8))
    assert logits.shape == (1, 6, 10)
    (logits * torch.randn(logits.shape)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
    assert (model.masks, model.lif_layers(), model.average_time_steps) == ({}, {}, 1.0)


def test_the_compiler_says_why_it_takes_none(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from dtss.compiler.frontend.dtss import read
    from dtss.compiler.schedule.errors import UnsupportedError

    config = dataclasses.replace(checkpoint.config, masked=False, spiking=False)
    save(dataclasses.replace(checkpoint, config=config, state_dict=Vit(config).state_dict()), tmp_path / "vit.pt")
    with pytest.raises(UnsupportedError) as error:
        read(tmp_path / "vit.pt")
    assert str(error.value) == (
        f"{tmp_path}/vit.pt: a non-spiking ViT has no spikes to schedule; train with --model dtss or --model plain"
    )
