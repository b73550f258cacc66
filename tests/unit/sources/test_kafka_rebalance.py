from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kafka import TopicPartition

from pipeline.ports import Partition, Position
from pipeline.sources.kafka_rebalance import Listener

FIRST, SECOND = Partition("readings", 0), Partition("readings", 1)


class Consumer:
    """As far as the listener knows it."""

    def __init__(self) -> None:
        self.member_id = "member-1"
        self.is_stable = True
        self.assigned = {FIRST, SECOND}
        self.held: list[Partition] = []

    def hold(self, partitions: Iterable[Partition]) -> None:
        self.held += partitions

    def is_assigned(self, partition: Partition) -> bool:
        return partition in self.assigned


class BadHandler:
    """Raises on freeze, and remembers what it has to drop."""

    def __init__(self) -> None:
        self.dropped: list[Partition] = []

    def freeze(self, partition: Partition) -> Future[Position] | None:
        raise RuntimeError("a bug")

    def drop(self, partitions: Sequence[Partition], committed: Mapping[Partition, Position]) -> None:
        self.dropped += partitions
        assert committed == {}


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def make_listener(consumer: Consumer, handler: BadHandler) -> Listener:
    listener = Listener(handler, lambda: consumer)  # type: ignore[arg-type,return-value]
    run(listener.on_partitions_assigned({TopicPartition(*FIRST), TopicPartition(*SECOND)}))
    assert listener.take_fresh() == [FIRST, SECOND]
    return listener


def test_member_that_was_expelled_unheard_starts_anew() -> None:
    """Expelled between JoinGroup and SyncGroup, kafka-python takes for kept what another may have owned."""
    consumer, handler = Consumer(), BadHandler()
    listener = make_listener(consumer, handler)
    listener.started |= {FIRST, SECOND}
    listener.check_member()
    assert handler.dropped == []

    consumer.member_id = "member-2"
    consumer.assigned = {SECOND}
    consumer.is_stable = False
    listener.check_member()
    assert handler.dropped == []  # not before the new assignment is known
    consumer.is_stable = True
    listener.check_member()

    assert handler.dropped == [FIRST, SECOND]
    assert listener.take_fresh() == [SECOND]
    assert listener.started == set()
    assert not listener.owns(FIRST)
    assert consumer.held == [FIRST, SECOND, SECOND]
    listener.check_member()
    assert handler.dropped == [FIRST, SECOND]


def test_handler_that_raises_breaks_no_rebalance() -> None:
    consumer, handler = Consumer(), BadHandler()
    listener = make_listener(consumer, handler)
    run(listener.on_partitions_revoked({TopicPartition(*FIRST)}))
    assert handler.dropped == [FIRST]
    assert listener.owns(SECOND)
