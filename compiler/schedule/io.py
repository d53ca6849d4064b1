"""Reading and writing schedule.json and its tensors, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from dtss.compiler.schedule.check import check_schedule
from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.format import Schedule, SideCar

IMAGES = "samples.images"
LABELS = "samples.labels"
FLOAT_LOGITS = "samples.float_logits"


@dataclass(frozen=True)
class LoadedSchedule:
    """A checked schedule with its tensors by name."""

    schedule: Schedule
    tensors: Mapping[str, np.ndarray]


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, then rename: the old file or the new one, never half of one."""
    handle, temporary = -1, ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise BadInputError(
            str(path), f"cannot be written ({reason})", "nothing was changed; free space or choose another place"
        ) from None


def encode(schedule: Schedule) -> bytes:
    """Canonical JSON: fields in the order of `format`, two spaces of indent, short lists on one line."""
    return _join_short_lists(msgspec.json.format(msgspec.json.encode(schedule), indent=2).decode()).encode() + b"\n"


def _join_short_lists(text: str) -> str:
    lines: list[str] = []
    held: list[str] | None = None
    for line in text.split("\n"):
        bare = line.strip()
        if bare.endswith("[") and held is None:
            held = [line]
        elif held is not None and bare in ("]", "],"):
            joined = held[0] + ", ".join(item.strip().rstrip(",") for item in held[1:]) + bare
            lines += [joined] if len(joined) <= 118 else [*held, line]
            held = None
        elif held is not None and bare.endswith(("{", "[")):
            lines += [*held, line] if not bare.endswith("[") else held
            held = [line] if bare.endswith("[") else None
        elif held is not None:
            held.append(line)
        else:
            lines.append(line)
    return "\n".join(lines)


def save(path: Path, schedule: Schedule, tensors: Mapping[str, np.ndarray]) -> Schedule:
    """Write the tensors beside `path`, bind them by hash, write schedule.json. Returns the bound schedule."""
    side_car = path.with_suffix(".safetensors")
    content = safetensors.numpy.save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    bound = msgspec.structs.replace(
        schedule, tensors=SideCar(file=side_car.name, sha256=hashlib.sha256(content).hexdigest())
    )
    check_schedule(bound, tensors, str(path))
    write_atomically(side_car, content)
    write_atomically(path, encode(bound))
    return bound


def load(path: Path) -> LoadedSchedule:
    """Read, verify the hash, and check every invariant of the schedule."""
    schedule = decode(_read(path, "a schedule"), str(path))
    side_car = path.parent / schedule.tensors.file
    if Path(schedule.tensors.file).name != schedule.tensors.file:
        raise BadInputError(
            f"{path}: tensors.file", f"found {schedule.tensors.file!r}", "name a file in the schedule's own folder"
        )
    content = _read(side_car, "the schedule's tensors")
    digest = hashlib.sha256(content).hexdigest()
    if digest != schedule.tensors.sha256:
        raise BadInputError(
            f"{path}: tensors.sha256",
            f"{side_car.name} has {digest[:12]}…, the schedule was compiled with {schedule.tensors.sha256[:12]}…",
            "recompile, or restore the file that belongs to this schedule",
        )
    try:
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadInputError(str(side_car), f"is not a safetensors file ({error})", "recompile") from None
    check_schedule(schedule, tensors, str(path))
    return LoadedSchedule(schedule, tensors)


def decode(content: bytes, where: str) -> Schedule:
    """Typed schedule from JSON bytes, or `BadInputError` with the path of the wrong field."""
    try:
        return msgspec.json.decode(content, type=Schedule)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(
            where, f"is not a valid dtss-schedule/1 file: {error}", "recompile it with dtss-compile"
        ) from None
    except RecursionError:
        raise BadInputError(where, "is nested too deeply for a schedule", "recompile it with dtss-compile") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(str(path), f"cannot be read as {what} ({error.strerror})", "check the path") from None
