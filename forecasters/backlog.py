"""Work that may wait: it is done for several waves in a row, in the order in which it came.

What runs once in a wave finds neither its code nor its data in the processor's caches any more, and takes two
to three times as long as in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_WAVES = 16
MOST_READINGS = 16 * 1024
"""What waves leave behind must still be in the cache when it is worked off."""


class Task(Generic[T]):
    """One call; `find` has it done, and all that came before it."""

    __slots__ = ("_args", "_backlog", "_call", "_found", "part")

    def __init__(self, backlog: Backlog, part: str, call: Callable[..., T], args: tuple[Any, ...]) -> None:
        self.part = part
        self._backlog: Backlog | None = backlog
        self._call, self._args = call, args
        self._found: T | None = None

    def do(self) -> None:
        self._found = self._call(*self._args)
        self._backlog, self._args = None, ()  # what it was about may go

    def find(self) -> T:
        """What came of it."""
        if self._backlog is not None:
            self._backlog.work_off()
        return self._found  # type: ignore[return-value]


class Backlog:
    """Calls with their arguments, which nobody changes meanwhile. Results depend on the order alone, and that
    is kept: so it makes no difference when they are worked off. Not thread-safe."""

    def __init__(self, seconds: dict[str, float]) -> None:
        """seconds: by part, to which the time that it takes is added."""
        self._seconds = seconds
        self._tasks: list[Task[Any]] = []
        self._waves = self._readings = 0

    def put(self, part: str, call: Callable[..., T], *args: Any) -> Task[T]:
        task = Task(self, part, call, args)
        self._tasks.append(task)
        return task

    def end_wave(self, readings: int) -> None:
        """After all of a wave was put: works off what waits, where that is enough."""
        self._waves += 1
        self._readings += readings
        if self._waves >= MOST_WAVES or self._readings >= MOST_READINGS:
            self.work_off()

    def work_off(self) -> None:
        tasks, self._tasks = self._tasks, []
        self._waves = self._readings = 0
        for task in tasks:
            started = time.perf_counter()
            task.do()
            self._seconds[task.part] += time.perf_counter() - started
