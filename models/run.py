"""A training run with its files: checkpoints after every epoch, the log, the state from which a killed run resumes."""

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from dtss.models.atomic import remove_leftovers
from dtss.models.checkpoint import Checkpoint, CheckpointError, checksum, load, restored, save, stored_halved
from dtss.models.data import DataError, DataSet, LabelledImages, Split, balanced_samples, evenly_limited
from dtss.models.data_sets import DATA_SETS
from dtss.models.network import Network
from dtss.models.recipes import Recipe
from dtss.models.spikformer import Spikformer, SpikformerConfig
from dtss.models.train import EpochReport, Trainer, evaluate, repeatable, spike_rates
from dtss.models.training_log import LogRow, TensorBoardLog, csv_path, mean_spike_rate, write_csv
from dtss.models.training_state import load_state, save_state, state_path


@dataclasses.dataclass(frozen=True)
class Job:
    """What to train, from which files, into which.

    limit_images        at most so many training and so many held-out images, evenly spaced in file order.
    store_half          matrices and kernels of the checkpoints in float16; accuracies are of the rounded ones.
    save_every_minutes  how often the state is saved within an epoch; at its end always.
    compiled            whether torch.compile has the network.
    initial             the trained network to start from; None: weights drawn at random.
    """

    config: SpikformerConfig
    recipe: Recipe
    output: Path
    command: str
    data_folder: Path | None = None
    limit_images: int | None = None
    store_half: bool = False
    resume: bool = False
    save_every_minutes: float = 10.0
    tensorboard: Path | None = None
    device: str = "cpu"
    compiled: bool = False
    initial: Checkpoint | None = None

    @property
    def initial_weights(self) -> str | None:
        """A checksum of what the run starts from."""
        return None if self.initial is None else checksum(self.initial.state_dict)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that a continuation must share with the run that it continues."""
        network: dict[str, Any] = msgspec.to_builtins(self.config)
        return {
            **{f"network.{name}": value for name, value in network.items()},
            **{f"recipe.{name}": value for name, value in _plain_recipe(self.recipe).items()},
            "limit_images": self.limit_images,
            "store_half": self.store_half,
            "device": self.device,
            "compiled": self.compiled,
            "initial_weights": self.initial_weights,
            "torch": str(torch.__version__),
        }


@dataclasses.dataclass(frozen=True)
class Observer:
    """Who watches a run: `update` gets the share of the run that is done, `epoch` each line of the log."""

    update: Callable[[float], None] = lambda _share: None
    epoch: Callable[[LogRow], None] = lambda _row: None


def best_path(output: Path) -> Path:
    """Where the checkpoint of the best epoch lies: best on the held-out images, so its accuracy flatters."""
    return output.with_name(f"{output.stem}.best{output.suffix}")


def check_device(name: str) -> None:
    """Refuses, with a ValueError, a device that torch cannot compute on."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}; choose cpu, or leave it out") from error


def check_compiler(device: str) -> None:
    """Refuses, with a ValueError, a machine on which torch.compile cannot compile, after trying a small function."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # torch's compiler and the one it calls can raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(reason) from error


def finished_checkpoint(job: Job) -> Checkpoint | None:
    """The checkpoint of this very run, if it has come to its end; None if there is something left to train."""
    if not job.resume or not job.output.is_file() or state_path(job.output).exists():
        return None
    checkpoint = load(job.output)
    if not checkpoint.training.get("finished"):
        return None
    config = dataclasses.replace(job.config, classes=checkpoint.config.classes)  # those of the data set
    then = {**msgspec.to_builtins(checkpoint.config), **checkpoint.training["recipe"]}
    now = {**msgspec.to_builtins(config), **_plain_recipe(job.recipe)}
    then["initial_weights"], now["initial_weights"] = checkpoint.training.get("initial_weights"), job.initial_weights
    changed = sorted(name for name, value in now.items() if then.get(name) != value)
    if changed:
        raise CheckpointError(
            f"a finished run with another {changed[0]}",
            str(job.output),
            f"{then.get(changed[0])!r} there and {now[changed[0]]!r} now",
            "give another -o, or leave --resume out to train again",
        )
    return checkpoint


def check_images(job: Job) -> None:
    """Refuses, as run_job does, images that are not there or that the network does not read."""
    _matching(job.config, _load(job, DATA_SETS[job.recipe.data_set]), job.recipe.data_set)


def run_job(job: Job, observer: Observer) -> Checkpoint:
    """Trains to the end; the last checkpoint. After every epoch the files on disk are those of that epoch."""
    data_set = DATA_SETS[job.recipe.data_set]
    split = _load(job, data_set)
    config = _matching(job.config, split, job.recipe.data_set)
    if job.initial is not None and config.classes != job.initial.config.classes:
        raise DataError(
            "another number of classes",
            f"data set {job.recipe.data_set}",
            f"{config.classes}",
            f"the network to start from has {job.initial.config.classes} outputs; give the data set it was trained on",
        )
    initial = None if job.initial is None else job.initial.state_dict
    board = None if job.tensorboard is None else TensorBoardLog(job.tensorboard)
    with repeatable(job.recipe.seed, job.recipe.threads, job.device):
        trainer = Trainer(config, job.recipe, data_set, split, job.device, job.compiled, initial)
        run = _Run(job, trainer, balanced_samples(split.test, data_set.samples))
        if job.resume and state_path(job.output).exists():
            run.resume()
        checkpoint: Checkpoint | None = None
        for report in trainer.epochs(lambda: run.after_update(observer)):
            checkpoint = run.packed()
            row = _row(report, checkpoint)
            run.end_epoch(row, checkpoint)
            observer.epoch(row)
            if board is not None:
                board.add(row)
        return checkpoint if checkpoint is not None else run.packed()


class _Run:
    """The files of a run between two epochs."""

    def __init__(self, job: Job, trainer: Trainer, samples: LabelledImages) -> None:
        self.job, self.trainer, self.samples = job, trainer, samples
        self.rows: list[LogRow] = []
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        output = self.job.output
        for path in (output, best_path(output), csv_path(output), state_path(output)):
            remove_leftovers(path)
        state = load_state(state_path(output), self.job.fingerprint)
        self.rows = [LogRow(**row) for row in state.rows]  # type: ignore[arg-type]  # all numbers
        self.trainer.restore(state)

    def after_update(self, observer: Observer) -> None:
        observer.update(self.trainer.progress)
        if time.monotonic() - self.saved_at >= 60.0 * self.job.save_every_minutes:
            self._save_state()

    def end_epoch(self, row: LogRow, checkpoint: Checkpoint) -> None:
        """A kill between two of these writes leaves a state from which the others are written again, the same."""
        best = max((earlier.test_accuracy for earlier in self.rows), default=-1.0)
        self.rows.append(row)
        save(checkpoint, self.job.output, half=self.job.store_half)
        if row.test_accuracy > best:
            save(checkpoint, best_path(self.job.output), half=self.job.store_half)
        write_csv(self.rows, csv_path(self.job.output))
        if self.trainer.finished:
            state_path(self.job.output).unlink(missing_ok=True)
        else:
            self._save_state()

    def packed(self) -> Checkpoint:
        """The network as it stands, measured on every held-out image as it will be stored."""
        trainer, job = self.trainer, self.job
        deployed = _deployed(trainer.model, half=job.store_half)
        preprocess, test = trainer.data_set.preprocess, trainer.split.test
        training: dict[str, Any] = {
            "command": job.command,
            "recipe": _plain_recipe(job.recipe),
            "torch": str(torch.__version__),
            "epochs": trainer.epoch,
            "finished": trainer.finished,
            "train_images": trainer.images,
            "test_accuracy": evaluate(deployed, preprocess, test),
            "test_images": len(test.labels),
            "sample_accuracy": evaluate(deployed, preprocess, self.samples),
            "average_time_steps": deployed.average_time_steps,
            "masks": {name: list(mask) for name, mask in deployed.masks.items()},
            "spike_rates": _rates(deployed, trainer, self.samples),
        }
        if job.initial is not None:
            training["initial_weights"] = job.initial_weights
        state = {name: tensor.cpu() for name, tensor in deployed.state_dict().items()}
        return Checkpoint(trainer.config, state, preprocess, self.samples, trainer.split.classes, training)

    def _save_state(self) -> None:
        rows = [dataclasses.asdict(row) for row in self.rows]
        save_state(self.trainer.state(self.job.fingerprint, rows), state_path(self.job.output))
        self.saved_at = time.monotonic()


def _load(job: Job, data_set: DataSet) -> Split:
    split = data_set.load(job.data_folder, job.config.image_size)
    train, test = evenly_limited(split.train, job.limit_images), evenly_limited(split.test, job.limit_images)
    return Split(train, test, split.classes)


def _matching(config: SpikformerConfig, split: Split, data_set: str) -> SpikformerConfig:
    """The configuration with as many outputs as the data set has classes, if it reads images of that kind."""
    images = split.test.select(torch.tensor([0])).images
    height, width, channels = images.shape[1:]
    if (height, width, channels) != (*config.image_size, config.in_channels):
        (rows, columns), wide = config.image_size, config.in_channels
        raise DataError(
            "wrong images",
            f"data set {data_set}",
            f"{height}×{width} pixels of {channels} channels",
            f"{config.name} reads {rows}×{columns} of {wide}; change image_size and in_channels in a TOML file, or "
            f"choose another configuration",
        )
    return dataclasses.replace(config, classes=len(split.classes))


def _deployed(model: Network, *, half: bool) -> Network:
    """A copy of the network as a reader of its checkpoint gets it, in evaluation mode, in torch's usual layout."""
    deployed = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # untyped
    if half:
        deployed.load_state_dict(restored(stored_halved(model.state_dict())))
    return deployed.eval()


def _rates(model: Network, trainer: Trainer, samples: LabelledImages) -> dict[str, list[float]]:
    if not isinstance(model, Spikformer):
        return {}
    inputs = trainer.data_set.preprocess(samples.images.to(trainer.device))
    return {name: [round(rate, 4) for rate in steps] for name, steps in spike_rates(model, inputs).items()}


def _row(report: EpochReport, checkpoint: Checkpoint) -> LogRow:
    return LogRow(
        epoch=report.epoch,
        learning_rate=report.learning_rate,
        loss=report.loss,
        mask_loss=report.mask_loss,
        train_accuracy=report.accuracy,
        test_accuracy=checkpoint.training["test_accuracy"],
        average_time_steps=report.average_time_steps,
        spike_rate=mean_spike_rate(checkpoint.training["spike_rates"]),
        images_per_second=report.images_per_second,
        elapsed_s=report.elapsed_s,
    )


def _plain_recipe(recipe: Recipe) -> Mapping[str, Any]:
    return {**dataclasses.asdict(recipe), "mask_groups": list(recipe.mask_groups)}
