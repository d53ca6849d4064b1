"""Trains a network and its time-step masks together (DTSS paper, Eq. 8-11)."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from dtss.models.data import DataSet, ImageSource, Preprocess, Split
from dtss.models.losses import classification_loss, mask_loss
from dtss.models.network import Network, network_of
from dtss.models.recipes import Recipe
from dtss.models.spikformer import Spikformer, SpikformerConfig, record_spikes
from dtss.models.training_state import TrainingState

AUTOCAST = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """State after `epoch` (1-based): means over its updates, while training.

    learning_rate       AdamW's, of the last update.
    loss, mask_loss     L of Eq. 8, and the mask loss in it.
    accuracy            share of training images right.
    average_time_steps  T_avg (Eq. 3).
    images_per_second   training alone;  elapsed_s  the whole run up to here.
    """

    epoch: int
    learning_rate: float
    loss: float
    mask_loss: float
    accuracy: float
    average_time_steps: float
    images_per_second: float
    elapsed_s: float


@dataclasses.dataclass
class Trainer:
    """A run that can stop between any two updates and go on from its `state()`, bit for bit.

    The data's generator draws each epoch's order, then each update's views: what an update sees is fixed by the seed,
    its epoch and its place in it. It stays on the CPU, whatever the device, and nothing else draws.

    compiled  lets torch.compile have the network; parameters and checkpoints keep their names.
    initial   a state_dict to start from; None: weights drawn at random.
    """

    config: SpikformerConfig
    recipe: Recipe
    data_set: DataSet
    split: Split
    device: str = "cpu"
    compiled: bool = False
    initial: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        recipe = self.recipe
        # channels-last: convolutions need no reordering, and the stem's output is the block's tokens as it lies
        model = network_of(self.config, self.data_set.preprocess.pixel_lsb).train().to(self.device)
        if self.initial is not None:
            model.load_state_dict(dict(self.initial))
        self.model: Network = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # untyped
        self.network: Callable[[Tensor], Tensor] = self.model
        if self.compiled:
            self.network = torch.compile(self.model, dynamic=False)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.optimizer = build_optimizer(self.model, recipe)
        self.scaler = torch.amp.GradScaler(torch.device(self.device).type, enabled=recipe.amp == "fp16")
        self.images = len(self.split.train.labels)
        self.batches_per_epoch = max(1, self.images // recipe.batch_size)
        self.epoch, self.batches, self.updates = 0, 0, 0
        self.order: Tensor | None = None
        self.sums: dict[str, list[float]] = {"loss": [], "mask_loss": [], "accuracy": [], "seconds": []}
        self.planned_epochs, self.progress = recipe.epochs, 0.0
        self.elapsed_before, self.started = 0.0, time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started

    @property
    def finished(self) -> bool:
        return self.epoch >= self.planned_epochs

    def epochs(self, after_update: Callable[[], None] = lambda: None) -> Iterator[EpochReport]:
        """Trains to the end, one report an epoch; between reports the network may be read, in evaluation mode."""
        while not self.finished:
            self._start_epoch()
            while self.batches < self.batches_per_epoch:
                self._update()
                after_update()
            yield self._end_epoch()
        self.model.eval()

    def state(self, run: Mapping[str, Any], rows: Sequence[dict[str, float]]) -> TrainingState:
        return TrainingState(
            run=run,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            generator=self.generator.get_state(),
            torch_random=torch.get_rng_state(),
            epoch=self.epoch,
            order=self.order,
            batches=self.batches,
            updates=self.updates,
            sums=self.sums,
            planned_epochs=self.planned_epochs,
            progress=self.progress,
            elapsed_s=self.elapsed_s,
            rows=list(rows),
        )

    def restore(self, state: TrainingState) -> None:
        self.model.load_state_dict(dict(state.model))
        self.optimizer.load_state_dict(dict(state.optimizer))
        self.scaler.load_state_dict(dict(state.scaler))
        self.generator.set_state(state.generator)
        torch.set_rng_state(state.torch_random)
        self.epoch, self.order, self.batches, self.updates = state.epoch, state.order, state.batches, state.updates
        self.sums = {name: list(values) for name, values in state.sums.items()}
        self.planned_epochs, self.progress = state.planned_epochs, state.progress
        self.elapsed_before, self.started = state.elapsed_s, time.monotonic()

    def _start_epoch(self) -> None:
        self.model.train()
        if self.epoch >= self.planned_epochs - round(self.recipe.mask_freeze_share * self.planned_epochs):
            freeze_masks(self.model)
        if self.order is None:
            self.order = torch.randperm(self.images, generator=self.generator)

    def _end_epoch(self) -> EpochReport:
        self.epoch, self.batches, self.order = self.epoch + 1, 0, None
        sums = self.sums
        report = EpochReport(
            epoch=self.epoch,
            learning_rate=max(group["lr"] for group in self.optimizer.param_groups),
            loss=fmean(sums["loss"]),
            mask_loss=fmean(sums["mask_loss"]),
            accuracy=fmean(sums["accuracy"]),
            average_time_steps=self.model.average_time_steps,
            images_per_second=min(self.images, self.recipe.batch_size) / fmean(sums["seconds"]),
            elapsed_s=self.elapsed_s,
        )
        self.sums = {name: [] for name in sums}
        return report

    def _update(self) -> None:
        """One step of AdamW on one batch, in `accumulate` parts."""
        assert self.order is not None
        started = time.monotonic()
        rate_factor = self._next_rate_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_factor
        size = self.recipe.batch_size
        batch = self.split.train.select(self.order[self.batches * size : (self.batches + 1) * size])
        images, labels = batch.images.to(self.device), batch.labels.to(self.device)
        inputs = self.data_set.augmentation(self.data_set.preprocess(images), self.generator)
        self.optimizer.zero_grad()
        totals = torch.zeros(3, dtype=torch.float64)
        parts = self.recipe.accumulate if len(labels) == size else 1
        for part_inputs, part_labels in zip(inputs.chunk(parts), labels.chunk(parts), strict=True):
            totals = totals.to(self.device) + self._backward(part_inputs, part_labels, parts)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.model.project()
        self.batches, self.updates = self.batches + 1, self.updates + 1
        losses, mask_losses, hits = totals.tolist()  # waits for the device, once an update
        self.sums["loss"].append(losses)
        self.sums["mask_loss"].append(mask_losses)
        self.sums["accuracy"].append(hits / len(labels))
        self.sums["seconds"].append(time.monotonic() - started)

    def _backward(self, inputs: Tensor, labels: Tensor, parts: int) -> Tensor:
        """Adds this part's share of ∂L to the gradients; [its share of L, of the mask loss, its right answers]."""
        amp = self.recipe.amp
        with torch.autocast(torch.device(self.device).type, AUTOCAST[amp], enabled=amp != "off"):
            logits_per_step = self.network(inputs)
        logits_per_step = logits_per_step.float()
        of_masks = mask_loss(self.model, self.recipe.mask_groups, self._mask_weight())
        loss = total_loss(self.recipe, logits_per_step, labels, of_masks)
        if parts > 1:
            loss, of_masks = loss / parts, of_masks / parts
        self.scaler.scale(loss).backward()
        right = (logits_per_step.detach().mean(0).argmax(-1) == labels).sum()
        return torch.stack([quantity.detach().double() for quantity in (loss, of_masks, right)])

    def _mask_weight(self) -> float:
        first_masked = round(self.recipe.mask_warmup_share * self.planned_epochs)
        return self.recipe.mask_weight if self.epoch >= first_masked else 0.0

    def _next_rate_factor(self) -> float:
        """The factor of this update; afterwards the schedule stands one update further."""
        recipe = self.recipe
        if recipe.minutes is not None:
            self.planned_epochs = self.epoch + 1 + self._epochs_that_fit(recipe.minutes)
        planned = self.planned_epochs * self.batches_per_epoch
        place = self.updates if recipe.minutes is None else self.progress * planned
        factor = learning_rate_factor(place, round(recipe.warmup_share * planned), planned)
        self.progress += (1.0 - self.progress) / (planned - self.updates)
        return factor

    def _epochs_that_fit(self, minutes: float) -> int:
        """Whole epochs after the present one, at the speed so far, measured by the wall clock with all saving."""
        most = self.recipe.epochs - self.epoch - 1
        if self.updates == 0:
            return most
        epoch_s = self.elapsed_s / self.updates * self.batches_per_epoch
        left_in_epoch_s = (1.0 - self.batches / self.batches_per_epoch) * epoch_s
        return max(0, min(most, round((60.0 * minutes - self.elapsed_s - left_in_epoch_s) / epoch_s)))


def train(
    config: SpikformerConfig,
    recipe: Recipe,
    data_set: DataSet,
    split: Split,
    on_epoch: Callable[[EpochReport], None] = lambda _report: None,
) -> Network:
    """Trains on `split.train` alone and returns the network after the last epoch, in evaluation mode.

    The held-out images choose nothing here: neither an epoch nor a setting.
    """
    with repeatable(recipe.seed, recipe.threads):
        trainer = Trainer(config, recipe, data_set, split)
        for report in trainer.epochs():
            on_epoch(report)
    return trainer.model


def total_loss(recipe: Recipe, logits_per_step: Tensor, labels: Tensor, of_masks: Tensor) -> Tensor:
    """L = L_CE + L_mask (Eq. 8)."""
    cross_entropy = classification_loss(
        logits_per_step, labels, temporal=recipe.temporal_loss, label_smoothing=recipe.label_smoothing
    )
    return cross_entropy + of_masks


def build_optimizer(model: Network, recipe: Recipe) -> AdamW:
    """AdamW in three groups: mask scores, products (matrices and kernels, the only weights that decay), the rest.

    `initial_lr` of a group is the peak of its rate. On CUDA one kernel updates all tensors.
    """
    named = dict(model.named_parameters())
    scores = [parameter for name, parameter in named.items() if name.endswith("mask.score")]
    products = [parameter for parameter in named.values() if parameter.dim() >= 2]
    rest = [p for name, p in named.items() if p.dim() < 2 and not name.endswith("mask.score")]
    rates = (recipe.learning_rate * recipe.score_rate_share, recipe.learning_rate, recipe.learning_rate)
    decays = (0.0, recipe.weight_decay, 0.0)
    return AdamW(
        [
            {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
            for parameters, rate, decay in zip((scores, products, rest), rates, decays, strict=True)
        ],
        fused=next(model.parameters()).is_cuda,
    )


def freeze_masks(model: Network) -> None:
    """Stops the training of every mask score; the masks stay as they are."""
    for lif in model.lif_layers().values():
        if lif.mask is not None:
            lif.mask.score.requires_grad_(False)


def learning_rate_factor(update: float, warmup_updates: int, updates: int) -> float:
    """Linear from 1/warm-up to 1, then half a cosine down to 0 at `updates`."""
    if update < warmup_updates:
        return min(1.0, (update + 1) / warmup_updates)
    progress = (update - warmup_updates) / max(1, updates - warmup_updates)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def predict(model: Network, preprocess: Preprocess, images: Tensor, batch_size: int = 128) -> Tensor:
    """argmax of the logits' mean over time, the lowest class on a tie: uint8 [B, H, W, C] -> int64 [B]."""
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        batches = torch.split(images, batch_size)
        return torch.cat([model(preprocess(batch.to(device))).mean(0).argmax(-1).cpu() for batch in batches])


def evaluate(model: Network, preprocess: Preprocess, source: ImageSource, batch_size: int = 128) -> float:
    """Share of the images whose class is right."""
    right = 0
    for indices in torch.split(torch.arange(len(source.labels)), batch_size):
        batch = source.select(indices)
        right += int((predict(model, preprocess, batch.images, batch_size) == batch.labels).sum())
    return right / len(source.labels)


def spike_rates(model: Spikformer, inputs: Tensor) -> dict[str, list[float]]:
    """Share of neurons that spike at each step, after the mask, for every LIF layer."""
    recorded = record_spikes(model, inputs)
    return {name: spikes.flatten(1).mean(1).tolist() for name, spikes in recorded.items()}


@contextmanager
def repeatable(seed: int, threads: int, device: str = "cpu") -> Iterator[None]:
    """Seed, thread count and cuDNN's choice of algorithms for a while; the caller's come back afterwards."""
    threads_before = torch.get_num_threads()
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), repeatable_algorithms():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)


@contextmanager
def repeatable_algorithms() -> Iterator[None]:
    """cuDNN neither times its algorithms, as the fastest may be another the next time, nor adds in order of arrival."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
