"""Functions that numba compiles on their first call and keeps on disk, where there is a place for that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import Any, Concatenate, ParamSpec, TypeVar

import numba
from numba import prange

RUNNING = Path("/proc/loadavg")
OWN_THREADS = Path("/proc/self/task")

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R], *, in_threads: bool = False) -> Callable[P, R]:
    """Compiled without the interpreter's lock. numba caches beside the source, or in the user's cache folder."""
    try:
        compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, parallel=in_threads)(function)
    except RuntimeError:  # no folder can be written: compiled anew in every process
        compiled = numba.njit(nogil=True, parallel=in_threads)(function)
    return compiled


def shared_kernel(part_of: Callable[Concatenate[int, int, P], None]) -> Callable[Concatenate[int, P], None]:
    """part_of(part, parts, …) → run(parts, …), which does all parts, in threads where there are several.

    What two parts write must not overlap, and tuples are no arguments: numba hands none to a thread.
    """
    assert isinstance(part_of, FunctionType)
    alone = kernel(part_of)
    place = part_of.__code__  # the source by whose age and line numba tells what its cache holds
    code = _every_part.__code__.replace(co_filename=place.co_filename, co_firstlineno=place.co_firstlineno)
    every_part = FunctionType(code, {"prange": prange, "part_of": alone}, f"{part_of.__name__}_in_threads")
    every_part.__module__ = part_of.__module__
    in_threads = kernel(every_part, in_threads=True)

    @wraps(part_of)
    def run(parts: int, /, *arguments: P.args, **named: P.kwargs) -> None:
        if parts == 1:
            alone(0, 1, *arguments, **named)
        else:
            in_threads(parts, *arguments, **named)

    return run


part_of: Callable[..., None] = print  # another in each copy: see `shared_kernel`


def _every_part(parts: int, *arguments: Any) -> None:
    for part in prange(parts):
        part_of(part, parts, *arguments)


@contextmanager
def threads_for(wanted: int) -> Iterator[int]:
    """Into how many parts to cut shared kernels for `wanted` threads: one where numba's threads may not be shared.

    They may with OpenMP or TBB; numba's own stop the process when two threads of Python call them at a time. None of
    them are there in a process that was forked from one that had them.
    """
    if wanted == 1 or _THREADS_LEFT_BEHIND:
        yield 1
        return
    before = _start_threads()
    parts = 1 if _threading_layer() == "workqueue" else wanted
    numba.set_num_threads(min(parts, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]  # made as it loads
    try:
        yield parts
    finally:
        numba.set_num_threads(before)


def free_processors() -> int:
    """Processors that this process may use and on which no other runs now; at least one, and all if nobody can tell.

    Threads that share a kernel wait for one another: one of them without a processor holds up all.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        others = int(RUNNING.read_text().split()[3].partition("/")[0])
        others -= sum(_runs(task / "stat") for task in OWN_THREADS.iterdir())
    except OSError:
        return allowed
    return max(1, min(allowed, (os.cpu_count() or allowed) - others))


def _runs(stat: Path) -> bool:
    with suppress(OSError):  # it has ended
        return stat.read_text().rpartition(")")[2].split()[0] == "R"
    return False


# How often an idle thread of GNU's OpenMP looks for work before it sleeps: as long as Python takes between two kernels.
# By default thirty times as often, which on cores that others need too takes the time away from the thread waited for.
_LOOKS_FOR_WORK = "10000"


def _start_threads() -> int:
    """How many there are. OpenMP reads the environment when it is loaded, and then never again."""
    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        os.environ["GOMP_SPINCOUNT"] = _LOOKS_FOR_WORK
        try:
            return numba.get_num_threads()
        finally:
            del os.environ["GOMP_SPINCOUNT"]
    return numba.get_num_threads()


_THREADS_LEFT_BEHIND: list[str] = []  # by a fork


def _forked() -> None:
    with suppress(ValueError):  # no threads yet
        _THREADS_LEFT_BEHIND.append(_threading_layer())


def _threading_layer() -> str:
    return str(numba.threading_layer())  # type: ignore[attr-defined]  # numba exports it


os.register_at_fork(after_in_child=_forked)
