"""Trains a Spikformer and its time-step masks together (DTSS paper, Eq. 8-11)."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import fmean

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dtss.models.checkpoint import Checkpoint
from dtss.models.data import DATA_SETS, Augmentation, DataSet, LabelledImages, Preprocess, Split
from dtss.models.losses import classification_loss, mask_loss
from dtss.models.recipes import Recipe
from dtss.models.spikformer import Spikformer, SpikformerConfig, record_spikes


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """State after `epoch` (1-based): mean training loss, share of training images right, T_avg."""

    epoch: int
    loss: float
    accuracy: float
    average_time_steps: float


@dataclasses.dataclass(frozen=True)
class LabelledInputs:
    """inputs [B, C, H, W], preprocessed, and labels int64 [B]."""

    inputs: Tensor
    labels: Tensor


def train_checkpoint(
    config: SpikformerConfig,
    recipe: Recipe,
    command: str,
    on_epoch: Callable[[EpochReport], None] = lambda _report: None,
) -> Checkpoint:
    """Trains, measures on every held-out image, and packs both with those images."""
    data_set = DATA_SETS[recipe.data_set]
    split = data_set.load()
    model = train(config, recipe, data_set, split, on_epoch)
    rates = spike_rates(model, data_set.preprocess(split.test.images))
    return Checkpoint(
        config=config,
        state_dict=model.state_dict(),
        preprocess=data_set.preprocess,
        samples=split.test,
        classes=data_set.classes,
        training={
            "command": command,
            "recipe": {**dataclasses.asdict(recipe), "mask_groups": list(recipe.mask_groups)},
            "torch": str(torch.__version__),
            "test_accuracy": evaluate(model, data_set.preprocess, split.test),
            "test_images": len(split.test.labels),
            "average_time_steps": model.average_time_steps,
            "masks": {name: list(mask) for name, mask in model.masks.items()},
            "spike_rates": {name: [round(rate, 4) for rate in steps] for name, steps in rates.items()},
        },
    )


def train(
    config: SpikformerConfig,
    recipe: Recipe,
    data_set: DataSet,
    split: Split,
    on_epoch: Callable[[EpochReport], None] = lambda _report: None,
) -> Spikformer:
    """Trains on `split.train` alone and returns the network after the last epoch, in evaluation mode.

    The held-out images choose nothing here: neither an epoch nor a setting.
    """
    with _repeatable(recipe.seed, recipe.threads):
        model = Spikformer(config).train()
        inputs = LabelledInputs(data_set.preprocess(split.train.images), split.train.labels)
        generator = torch.Generator().manual_seed(recipe.seed)
        optimizer = build_optimizer(model, recipe)
        schedule = build_schedule(optimizer, recipe, len(inputs.labels))
        first_masked = round(recipe.mask_warmup_share * recipe.epochs)
        first_frozen = recipe.epochs - round(recipe.mask_freeze_share * recipe.epochs)
        for epoch in range(recipe.epochs):
            if epoch == first_frozen:
                freeze_masks(model)
            mask_weight = recipe.mask_weight if epoch >= first_masked else 0.0
            objective = partial(total_loss, model, recipe, mask_weight)
            batches = _shuffled_batches(inputs, recipe.batch_size, data_set.augmentation, generator)
            loss, accuracy = _train_epoch(model, optimizer, schedule, objective, batches)
            on_epoch(EpochReport(epoch + 1, loss, accuracy, model.average_time_steps))
    return model.eval()


def total_loss(
    model: Spikformer, recipe: Recipe, mask_weight: float, logits_per_step: Tensor, labels: Tensor
) -> Tensor:
    """L = L_CE + L_mask (Eq. 8)."""
    cross_entropy = classification_loss(
        logits_per_step, labels, temporal=recipe.temporal_loss, label_smoothing=recipe.label_smoothing
    )
    return cross_entropy + mask_loss(model, recipe.mask_groups, mask_weight)


def _train_epoch(
    model: Spikformer,
    optimizer: Optimizer,
    schedule: LRScheduler,
    objective: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[LabelledInputs],
) -> tuple[float, float]:
    """One update for each batch; mean loss and share of right answers, both while training."""
    losses, accuracies = [], []
    for batch in batches:
        logits_per_step = model(batch.inputs)
        loss = objective(logits_per_step, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        model.project()
        losses.append(loss.item())
        accuracies.append((logits_per_step.mean(0).argmax(-1) == batch.labels).float().mean().item())
    return fmean(losses), fmean(accuracies)


def build_optimizer(model: Spikformer, recipe: Recipe) -> AdamW:
    """AdamW in three groups: mask scores, products (matrices and kernels, the only weights that decay), the rest."""
    named = dict(model.named_parameters())
    scores = [parameter for name, parameter in named.items() if name.endswith("mask.score")]
    products = [parameter for parameter in named.values() if parameter.dim() >= 2]
    rest = [p for name, p in named.items() if p.dim() < 2 and not name.endswith("mask.score")]
    rate = recipe.learning_rate
    return AdamW(
        [
            {"params": scores, "lr": rate * recipe.score_rate_share, "weight_decay": 0.0},
            {"params": products, "lr": rate, "weight_decay": recipe.weight_decay},
            {"params": rest, "lr": rate, "weight_decay": 0.0},
        ]
    )


def build_schedule(optimizer: Optimizer, recipe: Recipe, images: int) -> LRScheduler:
    """`learning_rate_factor` over all updates of the run."""
    updates = recipe.epochs * _batches_per_epoch(images, recipe.batch_size)
    warmup_updates = round(recipe.warmup_share * updates)
    return LambdaLR(optimizer, lambda update: learning_rate_factor(update, warmup_updates, updates))


def freeze_masks(model: Spikformer) -> None:
    """Stops the training of every mask score; the masks stay as they are."""
    for lif in model.lif_layers().values():
        if lif.mask is not None:
            lif.mask.score.requires_grad_(False)


def learning_rate_factor(update: int, warmup_updates: int, updates: int) -> float:
    """Linear from 1/warm-up to 1, then half a cosine down to 0 at `updates`."""
    if update < warmup_updates:
        return (update + 1) / warmup_updates
    progress = (update - warmup_updates) / max(1, updates - warmup_updates)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def predict(model: Spikformer, preprocess: Preprocess, images: Tensor, batch_size: int = 128) -> Tensor:
    """argmax of the logits' mean over time, the lowest class on a tie: uint8 [B, H, W, C] -> int64 [B]."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(preprocess(batch)).mean(0).argmax(-1) for batch in torch.split(images, batch_size)])


def evaluate(model: Spikformer, preprocess: Preprocess, labelled: LabelledImages) -> float:
    """Share of the images whose class is right."""
    predicted = predict(model, preprocess, labelled.images)
    return int((predicted == labelled.labels).sum()) / len(labelled.labels)


def spike_rates(model: Spikformer, inputs: Tensor) -> dict[str, list[float]]:
    """Share of neurons that spike at each step, after the mask, for every LIF layer."""
    recorded = record_spikes(model, inputs)
    return {name: spikes.flatten(1).mean(1).tolist() for name, spikes in recorded.items()}


def _batches_per_epoch(images: int, batch_size: int) -> int:
    return max(1, images // batch_size)


def _shuffled_batches(
    images: LabelledInputs, batch_size: int, augmentation: Augmentation, generator: torch.Generator
) -> Iterator[LabelledInputs]:
    """One epoch of augmented batches; the last, incomplete one is left out."""
    order = torch.randperm(len(images.labels), generator=generator)
    for batch in torch.split(order, batch_size)[: _batches_per_epoch(len(order), batch_size)]:
        yield LabelledInputs(augmentation(images.inputs[batch], generator), images.labels[batch])


@contextmanager
def _repeatable(seed: int, threads: int) -> Iterator[None]:
    """Seed and thread count for a while; the caller's come back afterwards."""
    threads_before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)
