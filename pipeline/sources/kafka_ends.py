"""How far the log reaches beyond what was handed out, and whether reading moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.future import Future

from pipeline.ports import Partition

ASK_EVERY_S = 1.0
ASK_TIMEOUT_S = 5.0
FRESH_S = 5.0  # an older answer says nothing about the end of the log


@dataclass(frozen=True, slots=True)
class _End:
    offset: int
    asked_s: float


class Ends:
    """Last stable offsets: the end of what may be read, before the first open transaction. Asked of the
    brokers about once a second, in the background."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: dict[Partition, _End] = {}
        self._asked: Future | None = None
        self._asked_s = float("-inf")

    def find(self, partition: Partition) -> int | None:
        """The end, as the brokers last said; None if they have not (lately)."""
        end = self._known.get(partition)
        return end.offset if end is not None and self._now() - end.asked_s <= FRESH_S else None

    def refresh(
        self, partitions: Iterable[Partition], ask: Callable[[Iterable[Partition], float], Future]
    ) -> None:
        """Takes in an answer and asks again where it is time. Never waits."""
        if self._asked is not None and self._asked.is_done:
            if self._asked.succeeded():
                self._take(self._asked.value)
            self._asked = None
        if self._asked is None and self._now() - self._asked_s >= ASK_EVERY_S:
            wanted = list(partitions)
            self._known = {each: self._known[each] for each in wanted if each in self._known}
            if wanted:
                self._asked_s = self._now()
                self._asked = ask(wanted, ASK_TIMEOUT_S)

    def forget(self) -> None:
        self._known.clear()
        self._asked = None

    def _take(self, found: Mapping[TopicPartition, Any]) -> None:
        # As old as the question: what was appended since then is not in it.
        self._known |= {Partition(*each): _End(end.offset, self._asked_s) for each, end in found.items()}


STALL_S = 30.0
SEEKS = 3  # of no avail: give up


@dataclass(slots=True)
class _Stand:
    position: int
    since_s: float
    seeks: int = 0


class Watchdog:
    """Notices a partition whose position stands before its end: kafka-python has had such stalls."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._stands: dict[Partition, _Stand] = {}

    def check(self, partition: Partition, position: int, end: int | None, now_s: float) -> int:
        """0: it moves, or there is nothing to read, or it has not stood for long. Else seek to the position;
        the number says how often that was due since it stands. More than SEEKS: it does not help."""
        stand = self._stands.get(partition)
        if end is None or stand is None or stand.position != position or end <= position:
            self._stands[partition] = _Stand(position, now_s)
            return 0
        if now_s - stand.since_s < self._stall_s:
            return 0
        stand.seeks, stand.since_s = stand.seeks + 1, now_s
        return stand.seeks

    def forget(self, partition: Partition) -> None:
        self._stands.pop(partition, None)
