"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dtss.models.errors import InputError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A reader sees the old file or the whole new one, also after a crash: temporary file, fsync, rename."""
    try:
        _write_and_rename(path, write)
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch.save hides what stopped it
        if not isinstance(cause, OSError):
            raise
        reason = cause.strerror or str(cause)
        raise InputError(
            "cannot be written", str(path), reason, "the file is as it was; free space or choose another place"
        ) from error


def _write_and_rename(path: Path, write: Callable[[BinaryIO], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Deletes what a process that was killed while writing `path` has left beside it."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        if temporary.suffix[1:].isdecimal():
            temporary.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
