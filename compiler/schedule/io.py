"""Reading and writing schedule.json and its tensors, whole or not at all."""

from __future__ import annotations

import errno
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
    """A checked schedule with its tensors by name. where: what an error calls it."""

    schedule: Schedule
    tensors: Mapping[str, np.ndarray]
    where: str = "schedule"


def write_atomically(path: Path, content: bytes) -> None:
    """The old file or the new one, never half of one."""
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """All of these files or none: every one is on disk under a temporary name before the first is renamed."""
    staged: dict[Path, Path] = {}
    target = Path()
    try:
        for target, content in contents.items():
            _stage(target, content, staged)
        for target, temporary in staged.items():
            temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(
            str(target), f"cannot be written ({reason})", "nothing was changed; free space or choose another place"
        ) from None
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def _stage(target: Path, content: bytes, staged: dict[Path, Path]) -> None:
    """Write `content` under a temporary name beside `target`, noted in `staged` from the start."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    staged[target] = Path(name)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged[target].chmod(0o644)


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


def save(
    path: Path, schedule: Schedule, tensors: Mapping[str, np.ndarray], others: Mapping[Path, bytes] | None = None
) -> Schedule:
    """Write the tensors beside `path`, bind them by hash, write schedule.json. Returns the bound schedule.

    others: more files of the same run, written with these two or not at all.
    """
    side_car = path.with_suffix(".safetensors")
    if side_car == path:
        raise BadInputError(str(path), "is the name of the schedule's tensors", "end the schedule's name in .json")
    content = safetensors.numpy.save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    bound = msgspec.structs.replace(
        schedule, tensors=SideCar(file=side_car.name, sha256=hashlib.sha256(content).hexdigest())
    )
    check_schedule(bound, tensors, str(path))
    write_together({side_car: content, path: encode(bound)} | dict(others or {}))
    return bound


def load(path: Path) -> LoadedSchedule:
    """Read, verify the hash, and check every invariant of the schedule."""
    schedule = decode(_read(path, "a schedule"), str(path))
    side_car = path.parent / schedule.tensors.file
    if Path(schedule.tensors.file).name != schedule.tensors.file or "\0" in schedule.tensors.file:
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
    return LoadedSchedule(schedule, tensors, str(path))


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
