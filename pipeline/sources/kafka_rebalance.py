"""What happens while partitions come and go: freeze, write, commit, hand over. On kafka-python's loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from kafka import TopicPartition, errors
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener

from pipeline.ports import Partition, Position, RebalanceHandler
from pipeline.sources.kafka_group import GroupConsumer

FREEZE_S = 2.0  # for the checkpoints of all revoked partitions together: poll stands still meanwhile
COMMIT_S = 2.0

log = logging.getLogger(__name__)


class Listener(AsyncConsumerRebalanceListener):
    """Knows which partitions are owned. Raises nothing, since kafka-python would throw it out of `poll`.

    A partition is fresh until the source's user has taken it, and started once it is read.
    """

    def __init__(self, handler: RebalanceHandler, find_consumer: Callable[[], GroupConsumer]) -> None:
        self._handler = handler
        self._find_consumer = find_consumer  # the consumer is made with its listener, so it comes later
        self._owned: dict[Partition, str] = {}  # and as which member they were got
        self._fresh: list[Partition] = []
        self.started: set[Partition] = set()
        self._closing = False

    def owns(self, partition: Partition) -> bool:
        return partition in self._owned

    def take_fresh(self) -> list[Partition]:
        fresh, self._fresh = self._fresh, []
        return fresh

    def close(self) -> None:
        """From now on partitions go without a word."""
        self._closing = True

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        partitions = sorted(Partition(*each) for each in assigned)
        self._take(partitions)
        log.info("assigned: %s", _name(partitions))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        partitions = sorted(Partition(*each) for each in revoked)
        if self._closing:
            return
        # Expelled between JoinGroup and SyncGroup, it hears only now, as a new member. Others may have learnt
        # on since, and the group would take the commit of this one.
        strange = self._find_strange()
        if gone := [each for each in partitions if each in strange]:
            self._lose(gone)
        if kept := [each for each in partitions if each not in strange]:
            committed = await self._save([each for each in kept if each not in self._fresh])
            self._drop(kept, committed)
            log.info("revoked: %s; committed: %s", _name(kept), _name(committed))

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        if not self._closing:
            self._lose(sorted(Partition(*each) for each in lost))

    def check_member(self) -> None:
        """After each poll. A member that is expelled between JoinGroup and SyncGroup joins anew without a
        call of on_partitions_lost, and takes for retained what another one may have owned in between."""
        consumer, strange = self._find_consumer(), self._find_strange()
        if strange and consumer.is_stable:
            self._lose(strange)
            self._take([each for each in strange if consumer.is_assigned(each)])

    def _find_strange(self) -> list[Partition]:
        """Partitions that were got as a member that the group has expelled since."""
        member = self._find_consumer().member_id
        return sorted(each for each, got_as in self._owned.items() if got_as != member)

    async def _save(self, partitions: list[Partition]) -> dict[Partition, Position]:
        """Freezes, waits, commits; returns what was committed."""
        deadline = time.monotonic() + FREEZE_S
        frozen = {}
        for partition in partitions:
            try:
                future = self._handler.freeze(partition)
            except Exception:
                log.exception("freezing %s failed; its next owner reads on from the last commit", partition)
            else:
                if future is not None:
                    frozen[partition] = future
        consumer = self._find_consumer()
        positions: dict[Partition, Position] = {}
        for partition, future in frozen.items():
            if not await consumer.wait_for(future, deadline - time.monotonic()):
                log.warning(
                    "%s: no checkpoint within %.0f s; the next owner learns it again", partition, FREEZE_S
                )
            elif failure := future.exception():
                log.warning("%s: no checkpoint (%s); the next owner learns it again", partition, failure)
            else:
                positions[partition] = future.result()
        if not positions:
            return {}
        try:
            await consumer.commit_on_loop(positions, COMMIT_S)
        except errors.KafkaError as error:
            log.warning("%s: not committed (%s); the next owner learns it again", _name(positions), error)
            return {}
        return positions

    def _take(self, partitions: list[Partition]) -> None:
        consumer = self._find_consumer()
        consumer.hold(partitions)
        member = consumer.member_id
        self._owned.update(dict.fromkeys(partitions, member))
        self._fresh += partitions

    def _lose(self, partitions: list[Partition]) -> None:
        self._drop(partitions, {})
        log.warning("lost: %s; the group has expelled this worker", _name(partitions))

    def _drop(self, partitions: list[Partition], committed: Mapping[Partition, Position]) -> None:
        gone = set(partitions)
        self.started -= gone
        for partition in gone:
            self._owned.pop(partition, None)
        known = [each for each in partitions if each not in self._fresh]
        self._fresh = [each for each in self._fresh if each not in gone]
        if known:
            try:
                self._handler.drop(known, committed)
            except Exception:
                log.exception("dropping %s failed", _name(known))


def _name(partitions: Iterable[Partition]) -> str:
    return ", ".join(f"{topic}/{number}" for topic, number in partitions) or "none"
