"""A disk that fills up, without a disk of one's own: the kernel takes no more bytes from a chosen moment on."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT_BYTES = 100  # so that a first part of the file is on disk when the rest is refused
REASON = "File too large"  # what the kernel says at this limit, by the same path as "No space left on device"
_filling: list[str] = []  # an audit hook cannot be taken back, so it must know when it is not wanted


@contextmanager
def full_disk(name: str) -> Iterator[None]:
    """Once a file with `name` in its own name is opened for writing, no file can grow beyond LEFT_BYTES."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    _install()
    _filling.append(name)
    try:
        yield
    finally:
        _filling.clear()
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _install() -> None:
    if _watch not in _installed:
        _installed.append(_watch)
        sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _filling or event != "open":
        return
    path, _, flags = arguments
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    if writes and isinstance(path, str | os.PathLike) and _filling[0] in Path(path).name:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (LEFT_BYTES, hard))


_installed: list[object] = []
