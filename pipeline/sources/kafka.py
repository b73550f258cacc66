"""Readings from Kafka: a member of a consumer group that hands out messages in bulk and waits for no state.

A partition that comes is paused; whoever runs the source loads its state and starts it. A partition that goes
is frozen, its checkpoint written aside and committed, for at most a few seconds. What passes (broker away,
rebalances, missing topics) is tried again and told by `trouble`; the rest is a SourceError.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from kafka import errors

from pipeline.kafka_client import explain_refusal
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import (
    Commit,
    Partition,
    Position,
    RebalanceHandler,
    SourceError,
    SourceUnavailable,
    TopicFacts,
    Trouble,
)
from pipeline.records import Messages
from pipeline.sources.kafka_ends import SEEKS, Ends, Watchdog
from pipeline.sources.kafka_group import GroupConsumer
from pipeline.sources.kafka_rebalance import Listener
from pipeline.sources.kafka_topics import find_topic_facts

CALL_S = 5.0  # for a question to the broker that somebody waits for
MISSING_S = 2.0  # a client that has just subscribed, or whose topic is being made, knows it after so long
_BACKOFF_S = 0.2  # after an error, so that a loop around poll does not spin

log = logging.getLogger(__name__)


class KafkaSource:
    """A `Source`. Connects at the first poll, and again for as long as that takes."""

    def __init__(
        self, options: KafkaOptions, handler: RebalanceHandler, clock: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        self._handler = handler
        self._clock = clock
        self._consumer: GroupConsumer | None = None
        self._listener = Listener(handler, self._find_consumer)
        self._ends = Ends()
        self._watchdog = Watchdog()
        self._paused: set[Partition] = set()
        self._stopped: dict[Partition, str] = {}
        self._lost: dict[Partition, int] = {}
        self._trouble: Trouble | None = Trouble(since_s=clock(), reason="not connected yet")
        self._knew_topics_s = time.monotonic()
        self.seeks = 0  # by the watchdog

    def poll(self, timeout_s: float) -> list[Messages]:
        try:
            consumer = self._consumer or self._connect()
            records = self._poll(consumer, timeout_s)
        except (errors.KafkaError, SourceUnavailable) as error:
            if isinstance(error, errors.KafkaError):
                self._refuse(error)
            self._note_trouble(f"{self._options.servers}: {error}")
            time.sleep(min(timeout_s, _BACKOFF_S))
            return []
        self._listener.check_member()
        self._check_connection(consumer)
        self._watch(consumer)
        started = self._listener.started
        return [
            gather_messages(Partition(*each), found)
            for each, found in records.items()
            if Partition(*each) in started
        ]

    def take_assigned(self) -> list[Partition]:
        return self._listener.take_fresh()

    def start(self, partition: Partition, offset: int) -> bool:
        if self._consumer is None or not self._listener.owns(partition):
            return False
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)
        self._paused.discard(partition)
        self._stopped.pop(partition, None)
        self._watchdog.forget(partition)
        self._listener.started.add(partition)
        return True

    def pause(self, partition: Partition) -> None:
        if partition in self._listener.started:
            self._find_consumer().pause(partition)
            self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        if partition in self._listener.started and partition not in self._stopped:
            self._find_consumer().resume(partition)
            self._paused.discard(partition)
            self._watchdog.forget(partition)

    def commit(self, positions: Mapping[Partition, Position]) -> Commit:
        # The group fences members, not partitions: a commit for a partition of somebody else would be taken.
        owned = {each: position for each, position in positions.items() if self._listener.owns(each)}
        refused = dict.fromkeys(positions.keys() - owned.keys(), "not_owned")
        if not owned or self._consumer is None:
            return Commit(refused=refused | dict.fromkeys(owned, "unavailable"))
        try:
            self._consumer.commit(owned, CALL_S)
        except errors.KafkaError as error:
            reason = self._find_commit_refusal(error)
            log.warning("not committed (%s): %s", reason, error)
            return Commit(refused=refused | dict.fromkeys(owned, reason))
        return Commit(done=frozenset(owned), refused=refused)

    def lag(self, partition: Partition) -> int | None:
        position, end = self._find_position(partition), self._ends.find(partition)
        return None if position is None or end is None else max(0, end - position)

    def read_to_end(self, partition: Partition) -> bool:
        return self.lag(partition) == 0

    def committed(self, partition: Partition) -> Position | None:
        found = self._ask(lambda consumer: consumer.fetch_committed(partition, CALL_S))
        return None if found is None else Position(offset=found.offset, metadata=found.metadata or "")

    def bounds(self, partition: Partition) -> tuple[int, int]:
        return self._ask(lambda consumer: consumer.fetch_bounds(partition, CALL_S))

    def topic_facts(self, topic: str) -> TopicFacts:
        return find_topic_facts(self._options, topic)

    @property
    def trouble(self) -> Trouble | None:
        return self._trouble

    @property
    def stopped(self) -> Mapping[Partition, str]:
        return {each: why for each, why in self._stopped.items() if self._listener.owns(each)}

    @property
    def missing_topics(self) -> Sequence[str]:
        """Topics of the configuration that the brokers don't know; they are read once they are there."""
        return [] if self._consumer is None else self._consumer.missing_topics

    def take_lost(self) -> Mapping[Partition, int]:
        lost, self._lost = self._lost, {}
        return lost

    def close(self, timeout_s: float) -> None:
        self._listener.close()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close(timeout_s)
            except errors.KafkaError as error:
                log.warning("leaving group %s: %s", self._options.group, error)

    def _poll(self, consumer: GroupConsumer, timeout_s: float) -> Mapping[Any, Sequence[Any]]:
        """Records by TopicPartition; errors that concern one partition are dealt with."""
        try:
            return consumer.poll(timeout_s)
        except errors.OffsetOutOfRangeError as error:
            for each, offset in error.args[0].items():
                self._move_into_log(Partition(*each), offset)
        except errors.LogTruncationError as error:
            for each, end in error.divergent_offsets.items():
                self._stop(Partition(*each), f"its log was cut back to {end.offset}, before what was learnt")
        return {}

    def _connect(self) -> GroupConsumer:
        self._ends.forget()
        self._consumer = GroupConsumer(self._options, self._listener)
        self._knew_topics_s = time.monotonic()
        return self._consumer

    def _find_consumer(self) -> GroupConsumer:
        if self._consumer is None:
            raise SourceUnavailable(f"{self._options.servers}: not connected")
        return self._consumer

    def _ask(self, question: Callable[[GroupConsumer], Any]) -> Any:
        try:
            return question(self._find_consumer())
        except errors.KafkaError as error:
            self._refuse(error)
            raise SourceUnavailable(f"{self._options.servers}: {error}") from error

    def _refuse(self, error: errors.KafkaError) -> None:
        if sentence := explain_refusal(error, self._options):
            raise SourceError(sentence) from error

    def _find_commit_refusal(self, error: errors.KafkaError) -> str:
        cause = error.args[0] if isinstance(error, errors.CommitFailedError) and error.args else error
        if isinstance(cause, errors.RebalanceInProgressError):
            return "rebalance"
        fenced = (errors.UnknownMemberIdError, errors.IllegalGenerationError, errors.FencedInstanceIdError)
        if isinstance(error, errors.CommitFailedError) or isinstance(cause, fenced):
            return "fenced"
        self._refuse(error)
        return "unavailable"

    def _find_position(self, partition: Partition) -> int | None:
        if self._consumer is None or partition not in self._listener.started:
            return None
        return self._consumer.find_position(partition)

    def _move_into_log(self, partition: Partition, offset: int) -> None:
        """An offset that the log does not have: expired, so go on at its start; or beyond its end."""
        begin, end = self.bounds(partition)
        if offset < begin:
            self._lost[partition] = self._lost.get(partition, 0) + begin - offset
            log.error(
                "%s/%s: %s offsets from %s on expired before they were read",
                *partition,
                begin - offset,
                offset,
            )
            self._find_consumer().seek(partition, begin)
        elif offset > end:
            self._stop(
                partition,
                f"offset {offset} is behind its end {end}: the topic was made anew, or its log lost",
            )

    def _stop(self, partition: Partition, reason: str) -> None:
        self._find_consumer().pause(partition)
        self._paused.add(partition)
        self._stopped[partition] = reason
        log.error("%s/%s stopped: %s", *partition, reason)

    def _check_connection(self, consumer: GroupConsumer) -> None:
        if forbidden := consumer.forbidden_topics:
            self._refuse(errors.TopicAuthorizationFailedError(set(forbidden)))
        if not consumer.is_reachable:
            failure = consumer.last_failure
            self._note_trouble(
                f"{self._options.servers}: no connection to the group's broker: {failure or 'none yet'}",
                logging.WARNING if failure else logging.INFO,  # every start waits for it
            )
        elif missing := consumer.missing_topics:
            if time.monotonic() - self._knew_topics_s >= MISSING_S:
                self._note_trouble(
                    f"{self._options.servers} has no topic {', '.join(missing)}: "
                    "make it with `gatecast topics create`, or correct kafka.topics"
                )
        else:
            self._knew_topics_s = time.monotonic()
            if self._trouble is not None:
                log.info("connected to %s", self._options.servers)
                self._trouble = None

    def _note_trouble(self, reason: str, level: int = logging.WARNING) -> None:
        since_s = self._trouble.since_s if self._trouble else self._clock()
        if self._trouble is None or self._trouble.reason != reason:
            log.log(level, "no readings: %s", reason)
        self._trouble = Trouble(since_s=since_s, reason=reason)

    def _watch(self, consumer: GroupConsumer) -> None:
        moving = self._listener.started - self._paused
        self._ends.refresh(self._listener.started, consumer.ask_ends)
        for partition in moving:
            position = consumer.find_position(partition)
            if position is None:
                continue
            seeks = self._watchdog.check(partition, position, self._ends.find(partition), time.monotonic())
            if seeks > SEEKS:
                raise SourceError(
                    f"{partition.topic}/{partition.partition} stands at offset {position} before its end, "
                    f"and seeking there {SEEKS} times did not help: restart the worker"
                )
            if seeks:
                self.seeks += 1
                log.warning("%s/%s stands at offset %s before its end; seeking", *partition, position)
                consumer.seek(partition, position)


def gather_messages(partition: Partition, records: Sequence[Any]) -> Messages:
    """Columns of kafka-python's records of one partition."""
    return Messages(
        topic=partition.topic,
        partition=partition.partition,
        offset=np.array([record.offset for record in records], dtype=np.int64),
        timestamp_ms=np.array([record.timestamp for record in records], dtype=np.int64),
        key=[record.key for record in records],
        value=[record.value for record in records],
        headers=[record.headers for record in records],
    )
