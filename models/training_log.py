"""What a run tells while it goes: a CSV file beside the checkpoint, and TensorBoard where it is installed."""

import csv
import dataclasses
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from dtss.models.atomic import write_atomically


@dataclasses.dataclass(frozen=True)
class LogRow:
    """One epoch, one line of the CSV; times in seconds.

    test_accuracy  share of held-out images right, by the network as it would be stored.
    spike_rate     spikes per neuron and step, mean over layers and steps, on the stored samples.
    """

    epoch: int
    learning_rate: float
    loss: float
    mask_loss: float
    train_accuracy: float
    test_accuracy: float
    average_time_steps: float
    spike_rate: float
    images_per_second: float
    elapsed_s: float


COLUMNS = tuple(field.name for field in dataclasses.fields(LogRow))


def mean_spike_rate(spike_rates: Mapping[str, Sequence[float]]) -> float:
    """Mean over layers and steps of the rates of every LIF layer at each step; 0 of a network without LIF layers."""
    rates = [rate for steps in spike_rates.values() for rate in steps]
    return fmean(rates) if rates else 0.0


def csv_path(output: Path) -> Path:
    """Where the log of the run that writes `output` lies."""
    return output.with_suffix(".csv")


def write_csv(rows: Sequence[LogRow], path: Path) -> None:
    """All epochs so far; whole or not at all, so a restart leaves no epoch twice."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_short(value) for value in dataclasses.astuple(row)] for row in rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def check_tensorboard(folder: Path) -> None:
    """Refuses, with a ValueError, where the package `tensorboard` is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            f"--tensorboard {folder}: the package tensorboard is not installed; install it (pip install tensorboard) "
            f"or leave the option out: the CSV holds the same numbers"
        )


class TensorBoardLog:
    """One scalar for each column, by epoch."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # fails without the optional package

        self._writer: Any = SummaryWriter(str(folder))

    def add(self, row: LogRow) -> None:
        for name in COLUMNS[1:]:
            self._writer.add_scalar(name, getattr(row, name), row.epoch)
        self._writer.flush()
