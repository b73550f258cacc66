"""Whether a worker does its work, and if not, why: what `/readyz` answers from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

STALLED_AFTER_S = 60.0
"""Longer than any single poll, checkpoint or load of a shard holds the loop up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason not to be ready; of a partition, or of the worker as a whole where topic is None."""

    reason: str
    topic: str | None = None
    partition: int | None = None

    def __str__(self) -> str:
        return self.reason if self.topic is None else f"{self.topic}[{self.partition}]: {self.reason}"


class Obstacles(Protocol):
    """Whoever knows what is in the way: a worker, or several behind one port."""

    def obstacles(self) -> tuple[Obstacle, ...]: ...


class Readiness:
    """Told by the runner, asked by others; thread-safe. A worker without partitions is ready.

    Until `hinder(None)` is called for the first time, the worker is starting and not ready.
    """

    def __init__(
        self, stalled_after_s: float = STALLED_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._stalled_after_s, self._clock = stalled_after_s, clock
        self._worker: str | None = "the worker is starting"
        self._partitions: dict[tuple[str, int], str] = {}
        self._beat_s: float | None = None

    def hinder(self, reason: str | None) -> None:
        """What keeps the whole worker from working, such as a broker that is away; None: nothing."""
        with self._lock:
            self._worker = reason

    def hinder_partition(self, topic: str, partition: int, reason: str | None) -> None:
        """What keeps one partition from being served, such as a shard that loads; None: nothing, or it is
        not ours any more."""
        with self._lock:
            if reason is None:
                self._partitions.pop((topic, partition), None)
            else:
                self._partitions[topic, partition] = reason

    def beat(self) -> None:
        """The runner's loop has turned; from the first call on, a loop that stands still is an obstacle."""
        self._beat_s = self._clock()  # one reference: no lock on the hot path

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Why the worker is not ready, the worker's own reasons first; empty: it is."""
        with self._lock:
            found = [] if self._worker is None else [Obstacle(reason=self._worker)]
            partitions = sorted(self._partitions.items())
        beat_s = self._beat_s
        if beat_s is not None and self._clock() - beat_s > self._stalled_after_s:
            idle_s = self._clock() - beat_s
            found.append(Obstacle(reason=f"stalled: no poll has ended for {idle_s:.0f} s"))
        found += [Obstacle(reason=why, topic=topic, partition=at) for (topic, at), why in partitions]
        return tuple(found)
