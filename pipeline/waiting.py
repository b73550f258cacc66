"""Messages that were polled and wait to be worked off, and how many of them are at a time.

A wave of few series takes almost as long as one of many, and a tick cuts a wave in two. So a partition's
messages are worked off in stretches that end with a tick, and wait until they come up to the next one, for
at most so long. State depends on the log alone, so it is no matter of results where a stretch ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.batches import join, split
from pipeline.ports import Partition
from pipeline.records import Messages


class Pace(NamedTuple):
    """Messages of a partition until its next tick, and from one tick to the next; at least 1. An estimate."""

    to_tick: int
    a_tick: int


AT_ONCE = Pace(1, 1)


@dataclass(slots=True)
class _Queue:
    """Of one partition, with the time when each part was polled."""

    parts: deque[tuple[float, Messages]] = field(default_factory=deque)
    num: int = 0

    def take(self, size: int) -> Messages:
        taken: list[Messages] = []
        while size:
            since_s, head = self.parts.popleft()
            if len(head) > size:
                head, rest = split(head, size)
                self.parts.appendleft((since_s, rest))
            taken.append(head)
            size -= len(head)
            self.num -= len(head)
        return join(taken)


class Waiting:
    """find_pace: of a partition; asked anew whenever something is to be taken."""

    def __init__(
        self, find_pace: Callable[[Partition], Pace], gather_s: float, clock: Callable[[], float]
    ) -> None:
        """gather_s: how long messages wait for more at most."""
        self._find_pace, self._gather_s, self._clock = find_pace, gather_s, clock
        self._queues: dict[Partition, _Queue] = {}

    def add(self, found: Iterable[Messages]) -> None:
        now_s = self._clock()
        for messages in found:
            queue = self._queues.setdefault(Partition(messages.topic, messages.partition), _Queue())
            queue.parts.append((now_s, messages))
            queue.num += len(messages)

    def drop(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._queues.pop(partition, None)

    def count(self, partition: Partition) -> int:
        """Messages of a partition."""
        return self._queues[partition].num if partition in self._queues else 0

    @property
    def due_in_s(self) -> float:
        """After how long some are to be worked off; 0: now; infinite where nothing waits."""
        return min((self._due_in_s(*each) for each in self._queues.items()), default=float("inf"))

    def take(self, most: int) -> Messages | None:
        """Those that are to be worked off next, at most so many; of the partition that has waited longest.
        None: nothing yet."""
        due = [each for each in self._queues.items() if self._due_in_s(*each) <= 0.0]
        if not due:
            return None
        partition, queue = min(due, key=lambda each: each[1].parts[0][0])
        messages = queue.take(self._find_size(partition, queue, most))
        if not queue.num:
            del self._queues[partition]
        return messages

    def _due_in_s(self, partition: Partition, queue: _Queue) -> float:
        if queue.num >= self._find_pace(partition).to_tick:
            return 0.0
        return max(0.0, queue.parts[0][0] + self._gather_s - self._clock())

    def _find_size(self, partition: Partition, queue: _Queue, most: int) -> int:
        pace, most = self._find_pace(partition), min(queue.num, most)
        if most < pace.to_tick:
            return most
        return most - (most - pace.to_tick) % pace.a_tick
