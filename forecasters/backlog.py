"""Work that may wait: it is done for several waves in a row, in the order in which it came.

What runs once in a wave finds neither its code nor its data in the processor's caches any more, and takes two
to three times as long as in a row.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_WAVES = 16
MOST_READINGS = 16 * 1024
"""What waves leave behind must still be in the cache when it is worked off."""


class Task(Generic[T]):
    """One call; `find` has it done, and all that came before it."""

    __slots__ = ("_backlog", "_call", "_found", "part")

    def __init__(self, backlog: Backlog, part: str, call: Callable[[], T]) -> None:
        self.part = part
        self._backlog = backlog
        self._call: Callable[[], T] | None = call
        self._found: T | None = None

    def do(self) -> None:
        assert self._call is not None
        self._found = self._call()
        self._call = None  # what it was about may go

    def find(self) -> T:
        """What came of it. Raises what `Backlog.work_off` does."""
        if self._call is not None:
            self._backlog.work_off()
        return self._found  # type: ignore[return-value]


class Backlog:
    """Calls with their arguments, which nobody changes meanwhile. Results depend on the order alone, and that
    is kept: so it makes no difference when they are worked off. Not thread-safe."""

    def __init__(self, seconds: dict[str, float]) -> None:
        """seconds: by part, to which the time that it takes is added."""
        self._seconds = seconds
        self._tasks: deque[Task[Any]] = deque()
        self._waves = self._readings = 0
        self._failure: BaseException | None = None

    def put(self, part: str, call: Callable[..., T], *args: Any) -> Task[T]:
        task: Task[T] = Task(self, part, partial(call, *args))
        self._tasks.append(task)
        return task

    def end_wave(self, readings: int) -> None:
        """After all of a wave was put: works off what waits, where that is enough."""
        self._waves += 1
        self._readings += readings
        if self._waves >= MOST_WAVES or self._readings >= MOST_READINGS:
            self.work_off()

    def work_off(self) -> None:
        """Raises what a task raises; from then on RuntimeError, for what would follow from half of it is not
        to be believed, nor saved."""
        if self._failure is not None:
            raise RuntimeError(
                "expected all readings so far to be worked in, but one failed"
            ) from self._failure
        self._waves = self._readings = 0
        try:
            while self._tasks:
                started, task = time.perf_counter(), self._tasks.popleft()
                task.do()
                self._seconds[task.part] += time.perf_counter() - started
        except BaseException as error:
            self._failure = error
            raise
