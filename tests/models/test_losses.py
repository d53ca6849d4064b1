"""The cross-entropy over time and the mask loss (DTSS paper, Eq. 8)."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from dtss.models.losses import classification_loss, mask_loss
from dtss.models.spikformer import CONFIGS, Spikformer
from dtss.models.time_step_mask import LayerGroup

LOGITS = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [1.0, 3.0]]])
LABELS = torch.tensor([0, 1])


def test_cross_entropy_of_the_mean_over_time() -> None:
    expected = functional.cross_entropy(torch.tensor([[1.0, 1.0], [0.5, 2.0]]), LABELS)
    assert torch.equal(classification_loss(LOGITS, LABELS), expected)


def test_temporal_efficient_training_is_the_mean_of_the_cross_entropies() -> None:
    expected = (functional.cross_entropy(LOGITS[0], LABELS) + functional.cross_entropy(LOGITS[1], LABELS)) / 2
    assert float(classification_loss(LOGITS, LABELS, temporal="tet")) == pytest.approx(float(expected))


def test_label_smoothing_is_passed_on() -> None:
    expected = functional.cross_entropy(LOGITS.mean(0), LABELS, label_smoothing=0.2)
    assert torch.equal(classification_loss(LOGITS, LABELS, label_smoothing=0.2), expected)


QKV: LayerGroup = "qkv"
MLP: LayerGroup = "mlp"


def small_model(**changes: object) -> Spikformer:
    return Spikformer(dataclasses.replace(CONFIGS["digits"], depth=1, **changes))  # type: ignore[arg-type]


def test_mask_loss_counts_the_active_steps_of_its_groups() -> None:
    model = small_model(initial_steps=3)
    assert mask_loss(model, [QKV], 0.5).item() == 0.5 * 3 * 3  # q, k, v with 3 steps each
    assert mask_loss(model, [QKV, MLP], 1.0).item() == 5 * 3
    assert mask_loss(model, (), 1.0).item() == 0.0


def test_mask_loss_pushes_only_the_scores_of_its_groups() -> None:
    model = small_model(initial_steps=4)
    mask_loss(model, [MLP], 0.25).backward()
    for lif in model.lif_layers().values():
        assert lif.mask is not None
        if lif.group == "mlp":
            assert lif.mask.score.grad is not None
            # TP[i] reaches TS[1..i], each worth λ_m; step 0 is held by minimum_steps
            assert lif.mask.score.grad.tolist() == [0.0, 0.25, 0.5, 0.75]
        else:
            assert lif.mask.score.grad is None
    assert model.head.weight.grad is None


def test_mask_loss_of_a_plain_spikformer_is_zero() -> None:
    assert mask_loss(small_model(masked=False), [QKV, MLP], 1.0).item() == 0.0
