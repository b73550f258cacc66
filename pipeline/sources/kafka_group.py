"""A KafkaConsumer in a group, and everything of kafka-python 3.0.12 that its public methods do not give.

kafka-python does all input and output on a thread of its own (the loop). `poll` of the calling thread asks
the loop for one thing after another and waits. A rebalance runs in two halves: JoinGroup and SyncGroup go on
by themselves once begun, but applying a new assignment, with the listener, happens on the loop only while a
`poll` waits for it. That is why nothing else of this file runs during a listener, and why `poll` takes as
long as the listener does, whatever its timeout.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.future import Future
from kafka.protocol.consumer import OffsetSpec
from kafka.structs import OffsetAndMetadata

from pipeline.kafka_client import build_client, list_settings
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import Partition, Position
from pipeline.sources.kafka_records import PartitionRecords

FETCH_WAIT_MS = 50
"""The broker waits for so long at most until there is enough; so does a partition that is started."""
_ENOUGH_BYTES = 32 << 10
"""Some hundred readings. Where one is enough, a busy topic is fetched some hundred times a second, each of
which wakes up broker and worker."""
_FETCH_BYTES = 16 << 20  # of one broker in one answer
_PARTITION_BYTES = 8 << 20
"""Of one partition in one answer. With the default of 1 MiB reading waits for the next answer all the time:
2.1 million readings a second of Arrow became 3.3."""
_HEARTBEATS = 3  # in a session


class GroupConsumer:
    """A member of the group that has subscribed; connected when the constructor returns.

    Raises what kafka-python raises.
    """

    def __init__(self, options: KafkaOptions, listener: AsyncConsumerRebalanceListener) -> None:
        settings = list_settings(options) | {
            "group_id": options.group,
            "group_instance_id": options.instance_id,
            "partition_assignment_strategy": (CooperativeStickyAssignor,),
            "auto_offset_reset": "none",
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "allow_auto_create_topics": options.makes_topics,
            "max_poll_records": options.max_poll_records,
            "max_poll_interval_ms": options.max_poll_interval_ms,
            "session_timeout_ms": options.session_timeout_ms,
            "heartbeat_interval_ms": min(3_000, options.session_timeout_ms // _HEARTBEATS),
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "fetch_min_bytes": _ENOUGH_BYTES,
            "fetch_max_bytes": _FETCH_BYTES,
            "max_partition_fetch_bytes": _PARTITION_BYTES,
            "metrics_enabled": False,
        }
        self._consumer: Any = build_client(KafkaConsumer, settings)
        self._coordinator = self._consumer._coordinator
        self._manager = self._consumer._manager
        self._consumer._fetcher.PartitionRecords = PartitionRecords
        self._coordinator._do_join_and_sync_async = _KeptJoin(self._coordinator).run
        self._topics = () if options.pattern else options.topics
        if options.pattern:
            self._consumer.subscribe(pattern=options.pattern, listener=listener)
        else:
            self._consumer.subscribe(topics=list(options.topics), listener=listener)

    def poll(self, timeout_s: float) -> dict[TopicPartition, list[Any]]:
        """Nothing comes while a rebalance lasts, of retained partitions neither."""
        if self._coordinator._join_task is not None:
            # It began in an earlier poll and is not applied yet. Where it began with new metadata,
            # kafka-python would take it for done, and wait in it for ever, without heartbeats.
            self._coordinator.request_rejoin()
        return self._consumer.poll(timeout_ms=max(0, int(timeout_s * 1000)))

    def close(self, timeout_s: float) -> None:
        self._consumer.close(autocommit=False, timeout_ms=max(0, int(timeout_s * 1000)))

    # Partitions

    def is_assigned(self, partition: Partition) -> bool:
        return self._consumer._subscription.is_assigned(TopicPartition(*partition))

    def hold(self, partitions: Iterable[Partition]) -> None:
        """Pauses them somewhere: without a position, poll would ask for committed ones and raise if there are
        none, paused or not."""
        for partition in partitions:
            self._consumer.pause(TopicPartition(*partition))
            self._consumer.seek(TopicPartition(*partition), 0)

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(TopicPartition(*partition), offset)

    def pause(self, partition: Partition) -> None:
        self._consumer.pause(TopicPartition(*partition))

    def resume(self, partition: Partition) -> None:
        self._consumer.resume(TopicPartition(*partition))

    def find_position(self, partition: Partition) -> int | None:
        """As it stands, without asking anybody (KafkaConsumer.position may wait for the broker)."""
        state = self._consumer._subscription.assignment.get(TopicPartition(*partition))
        return None if state is None or state.position is None else state.position.offset

    # The group and the brokers

    @property
    def member_id(self) -> str:
        """Another one after the group had expelled this member."""
        return self._consumer.group_metadata().member_id

    @property
    def is_stable(self) -> bool:
        """Whether no rebalance is under way, as far as this member knows."""
        return self._coordinator.stable()

    @property
    def missing_topics(self) -> list[str]:
        """Those of the list that the brokers don't know; for a pattern there are none."""
        cluster = self._consumer._cluster
        known = cluster.topics(exclude_internal_topics=False)
        return [topic for topic in self._topics if topic not in known]

    @property
    def forbidden_topics(self) -> list[str]:
        return sorted(self._consumer._cluster.unauthorized_topics)

    @property
    def is_reachable(self) -> bool:
        """Whether there is a connection to the broker that leads the group."""
        return not self._coordinator.coordinator_unknown() and self._consumer._client.connected(
            self._coordinator.coordinator_id
        )

    @property
    def last_failure(self) -> str:
        """Why the last attempt to connect failed; empty while none has."""
        return str(self._consumer._client.last_failure or "")

    # Offsets, from the calling thread

    def fetch_committed(self, partition: Partition, timeout_s: float) -> OffsetAndMetadata | None:
        return self._consumer.committed(
            TopicPartition(*partition), metadata=True, timeout_ms=int(timeout_s * 1000)
        )

    def fetch_bounds(self, partition: Partition, timeout_s: float) -> tuple[int, int]:
        """First offset and last stable offset."""
        each, timeout_ms = TopicPartition(*partition), int(timeout_s * 1000)
        begin = self._consumer.beginning_offsets([each], timeout_ms=timeout_ms)[each]
        return begin, self._consumer.end_offsets([each], timeout_ms=timeout_ms)[each]

    def ask_ends(self, partitions: Iterable[Partition], timeout_s: float) -> Future:
        """Last stable offsets, asked in the background: {TopicPartition: OffsetAndTimestamp}."""
        latest = {TopicPartition(*partition): OffsetSpec.LATEST for partition in partitions}
        fetch = self._consumer._fetcher._fetch_offsets_by_times_async
        return self._manager.call_soon(fetch, latest, int(timeout_s * 1000))

    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        self._consumer.commit(_list_offsets(positions), timeout_ms=int(timeout_s * 1000))

    # From a listener, on the loop

    async def commit_on_loop(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        """What `commit` does, where `commit` would raise "Cannot block on net.run()"."""
        offsets = _list_offsets(positions)
        await self._coordinator._commit_offsets_sync_async(offsets, timeout_ms=int(timeout_s * 1000))

    async def wait_for(self, future: concurrent.futures.Future[Any], timeout_s: float) -> bool:
        """Whether the future of another thread is done within the time; heartbeats go on meanwhile."""
        waiter = Future()
        net = self._manager._net

        def wake(_: object) -> None:
            if not net._closed:
                net.call_soon_threadsafe(lambda: waiter.success(None))

        future.add_done_callback(wake)
        try:
            await self._manager.wait_for(waiter, max(1, int(timeout_s * 1000)))
        except errors.KafkaTimeoutError:
            return False
        return True


class _KeptJoin:
    """JoinGroup and SyncGroup of one rebalance, whose outcome is kept until it is applied.

    kafka-python drops an outcome that comes between two polls, and begins another rebalance, in which all
    members take part: between members that work between their polls this went on for minutes.
    """

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._join = coordinator._do_join_and_sync_async
        self._kept: bytes | None = None

    async def run(self) -> bytes:
        kept, self._kept = self._kept, None
        # Once applied, the state is another one; so it is after the group has expelled this member.
        if kept is None or not self._coordinator.rebalance_in_progress():
            kept = await self._join()
        self._kept = kept
        return kept


def _list_offsets(positions: Mapping[Partition, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*partition): OffsetAndMetadata(position.offset, position.metadata, -1)
        for partition, position in positions.items()
    }
