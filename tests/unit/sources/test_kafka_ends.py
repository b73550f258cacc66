from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.future import Future
from kafka.structs import OffsetAndTimestamp

from pipeline.ports import Partition
from pipeline.sources.kafka_ends import FRESH_S, SEEKS, STALL_S, Ends, Watchdog

FIRST = Partition("readings", 0)


class Brokers:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, partitions: Iterable[Partition], timeout_s: float) -> Future:
        self.asked.append((list(partitions), Future()))
        return self.asked[-1][1]

    def answer(self, offset: int) -> None:
        partitions, future = self.asked[-1]
        future.success({TopicPartition(*each): OffsetAndTimestamp(offset, -1, -1) for each in partitions})


def test_end_is_as_old_as_the_question() -> None:
    now = [100.0]
    ends, brokers = Ends(now=lambda: now[0]), Brokers()
    ends.refresh([FIRST], brokers.ask)
    assert ends.find(FIRST) is None
    now[0] += FRESH_S - 0.5
    brokers.answer(7)
    ends.refresh([FIRST], brokers.ask)
    assert ends.find(FIRST) == 7
    now[0] += 1.0  # asked more than FRESH_S ago: a backlog may lie there by now
    assert ends.find(FIRST) is None


def test_brokers_are_asked_once_a_second_and_not_twice_at_once() -> None:
    now = [0.0]
    ends, brokers = Ends(now=lambda: now[0]), Brokers()
    for _ in range(30):
        ends.refresh([FIRST], brokers.ask)
        now[0] += 0.1
    assert len(brokers.asked) == 1
    brokers.asked[-1][1].failure(KafkaTimeoutError())
    ends.refresh([FIRST], brokers.ask)
    assert len(brokers.asked) == 2
    assert ends.find(FIRST) is None


def test_nothing_is_asked_without_partitions() -> None:
    ends, brokers = Ends(), Brokers()
    ends.refresh([], brokers.ask)
    assert brokers.asked == []


def test_watchdog_asks_to_seek_where_reading_stands() -> None:
    watchdog = Watchdog()
    assert watchdog.check(FIRST, 10, 50, 0.0) == 0
    assert watchdog.check(FIRST, 10, 60, STALL_S - 1) == 0
    found = [watchdog.check(FIRST, 10, 60, STALL_S * n) for n in range(1, SEEKS + 2)]
    assert found == [1, 2, 3, 4]
    assert watchdog.check(FIRST, 11, 60, STALL_S * 6) == 0
    assert watchdog.check(FIRST, 11, 60, STALL_S * 7) == 1


def test_watchdog_is_quiet_at_the_end_of_the_log() -> None:
    watchdog = Watchdog()
    for n in range(10):
        assert watchdog.check(FIRST, 10, 10, STALL_S * n) == 0
        # The brokers say nothing: they are away, and nobody stands because of that.
        assert watchdog.check(FIRST, 10, None, STALL_S * n + 1) == 0
    # Messages that have just come are not overdue.
    assert watchdog.check(FIRST, 10, 11, STALL_S * 9 + 2) == 0
