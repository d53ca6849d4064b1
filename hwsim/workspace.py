"""The threads that share a kernel, and memory for what they write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dtss.hwsim.values import Array

CACHE_LINE = 64


class Workspace:
    """Memory that nobody reads any more serves again for values of the same shape.

    Each thread then writes where it wrote before, and no line of it moves from one processor's cache to another's.
    Without `again` all memory is new, and stays as long as somebody holds it.
    """

    def __init__(self, threads: int = 1, *, again: bool = False) -> None:
        self.threads = threads
        self._again = again
        self._free: dict[tuple[tuple[int, ...], np.dtype[Any]], list[Array]] = {}
        self._taken: list[Array] = []

    def empty(self, shape: tuple[int, ...], kind: DTypeLike) -> Array:
        """As numpy's, from the start of a cache line on."""
        found = self._free.get((shape, np.dtype(kind)))
        memory = found.pop() if found else _aligned(shape, np.dtype(kind))
        if self._again:
            self._taken.append(memory)
        return memory

    def taken(self) -> list[Array]:
        """What was asked for since the last time."""
        taken, self._taken = self._taken, []
        return taken

    def free(self, memories: list[Array]) -> None:
        """Nobody reads them any more."""
        for memory in memories:
            self._free.setdefault((memory.shape, memory.dtype), []).append(memory)


def _aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    aligned: Array = memory[first : first + size].view(kind).reshape(shape)
    return aligned
