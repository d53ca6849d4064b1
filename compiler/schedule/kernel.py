"""Functions that numba compiles on their first call and keeps on disk, where there is a place for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled without the interpreter's lock. numba caches beside the source, or in the user's cache folder."""
    try:
        compiled: Callable[P, R] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder can be written: compiled anew in every process
        compiled = njit(nogil=True)(function)
    return compiled
