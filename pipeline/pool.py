"""Threads for what may take long: loading and writing checkpoints."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """Calls on threads of its own, begun in the order in which they were submitted.

    Unlike those of a ThreadPoolExecutor its threads hold up no end of the process: a storage that never
    answers must not keep a worker from ending.
    """

    def __init__(self, size: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(size)
        ]
        self._closed = False
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """What comes of the call; cancelled if the pool is closed before it begins."""
        future: Future[R] = Future()
        self._calls.put((future, lambda: call(*args, **kwargs)))
        return future

    def close(self) -> None:
        """Begins nothing more, and waits for nothing."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if self._closed:
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # the one who waits for the future hears of it
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del item, future, call  # a thread that waits holds on to no state
