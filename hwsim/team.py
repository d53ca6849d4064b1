"""Threads that share work: whoever calls does its part, and helpers what they get to meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor

Task = Callable[[], object]


class Team:
    """The calling thread, and `helpers` of an executor. Tasks must not wait for each other."""

    def __init__(self, executor: Executor | None = None, helpers: int = 0) -> None:
        self._executor = executor
        self._helpers = helpers
        self._waiting: list[Task] = []

    @property
    def size(self) -> int:
        return 1 + (0 if self._executor is None else self._helpers)

    @property
    def alone(self) -> bool:
        return self.size == 1

    def later(self, task: Task) -> None:
        """To be done by the end of the next `share`; at once by one who is alone."""
        if self.alone:
            task()
        else:
            self._waiting.append(task)

    def share(self, tasks: Sequence[Task] = (), *, worth_helpers: bool = True) -> None:
        """All tasks, and those that wait; returns when they are done. Without helpers only the tasks, by the caller."""
        if self._executor is None or self.alone or not worth_helpers:
            _work(iter(tasks))
            return
        left = iter([*tasks, *self._waiting])
        self._waiting.clear()
        helping = [self._executor.submit(_work, left) for _ in range(self._helpers)]
        _work(left)
        for help_ in helping:
            if not help_.cancel():  # one who has not begun has nothing left to do
                help_.result()


def _work(left: Iterator[Task]) -> None:
    for task in left:
        task()
