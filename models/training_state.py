"""The state file of an unfinished run: what the next update depends on, no more; reading it runs no code."""

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dtss.models.atomic import write_atomically
from dtss.models.checkpoint import CheckpointError

FORMAT = "dtss-training/1"
AFRESH = "or delete this file to start afresh"
WHOLE = f"give the file that the killed run left, {AFRESH}"


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """A run between two updates.

    run         settings that a continuation must share, by name.
    model, optimizer, scaler   their state_dicts.
    generator, torch_random    states of the data's generator and of torch's own.
    epoch       the present one, 0-based;  order  its permutation of the images, None before it starts.
    batches     updates done in this epoch;  updates  in all.
    sums        what the log averages over this epoch, one entry an update.
    planned_epochs  of the whole run;  progress  share of the learning-rate schedule behind us.
    elapsed_s   time spent so far, over all restarts.
    rows        lines of the log, one for each finished epoch.
    """

    run: Mapping[str, Any]
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    generator: Tensor
    torch_random: Tensor
    epoch: int
    order: Tensor | None
    batches: int
    updates: int
    sums: Mapping[str, list[float]]
    planned_epochs: int
    progress: float
    elapsed_s: float
    rows: list[dict[str, float]]


def state_path(output: Path) -> Path:
    """Where the state of the run that writes `output` lies."""
    return output.with_name(f"{output.name}.training")


def save_state(state: TrainingState, path: Path) -> None:
    payload = {"format": FORMAT, **{field.name: getattr(state, field.name) for field in dataclasses.fields(state)}}
    write_atomically(path, lambda file: torch.save(payload, file))


def load_state(path: Path, run: Mapping[str, Any]) -> TrainingState:
    """The state, refused unless it belongs to a run with exactly these settings."""
    where = str(path)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError("no state of a run", where, "Python objects that would run code", WHOLE) from error
    except Exception as error:  # what is no torch archive can raise anything in torch's reader
        raise CheckpointError("no state of a run", where, type(error).__name__, WHOLE) from error
    if not isinstance(payload, dict) or payload.pop("format", None) != FORMAT:
        raise CheckpointError("no state of a run", where, "another format", f"{FORMAT!r} is expected, {AFRESH}")
    names = {field.name for field in dataclasses.fields(TrainingState)}
    if set(payload) != names:
        odd = ", ".join(sorted(set(payload) ^ names))
        raise CheckpointError("missing or unknown entries", where, odd, WHOLE)
    _check_same_run(payload["run"], run, where)
    return TrainingState(**payload)


def _check_same_run(saved: Mapping[str, Any], run: Mapping[str, Any], where: str) -> None:
    changed = sorted(name for name in saved.keys() | run.keys() if saved.get(name) != run.get(name))
    if changed:
        name = changed[0]
        raise CheckpointError(
            f"a run with another {name}",
            where,
            f"{saved.get(name)!r} there and {run.get(name)!r} now",
            f"give the options that it was started with, {AFRESH}",
        )
