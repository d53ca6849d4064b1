"""Training losses: cross-entropy over time, and the mask loss of the DTSS paper."""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dtss.models.network import Network
from dtss.models.time_step_mask import LayerGroup

TemporalLoss = Literal["mean", "tet"]


def classification_loss(
    logits_per_step: Tensor, labels: Tensor, *, temporal: TemporalLoss = "mean", label_smoothing: float = 0.0
) -> Tensor:
    """L_CE of logits [T, B, K] against labels [B].

    "mean":  CE(1/T Σ_t logits[t], labels), the loss of the network as it is used.
    "tet":   1/T Σ_t CE(logits[t], labels), temporal efficient training: each step must answer by itself.
    """
    if temporal == "mean":
        return functional.cross_entropy(logits_per_step.mean(0), labels, label_smoothing=label_smoothing)
    steps = logits_per_step.shape[0]
    return functional.cross_entropy(
        logits_per_step.flatten(0, 1), labels.repeat(steps), label_smoothing=label_smoothing
    )


def mask_loss(model: Network, groups: Collection[LayerGroup], weight: float) -> Tensor:
    """L_mask = λ_m · Σ_{l in groups} Σ_t TM_l[t] (Eq. 8), differentiable through Eq. 6.

    groups  layer groups that may lose steps; the paper does best with qkv and mlp.
    weight  λ_m, the trade of accuracy against time steps.
    """
    masks = [lif.mask() for lif in model.lif_layers().values() if lif.mask is not None and lif.group in groups]
    if not masks:
        return torch.zeros((), device=model.head.weight.device)
    return weight * torch.stack(masks).sum()
