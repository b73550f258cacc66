"""What a runner works with, in memory: a source with a log, an emitter and a store that write a journal."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.engine.observer import Observer
from pipeline.ports import (
    Commit,
    Partition,
    Position,
    RebalanceHandler,
    SourceUnavailable,
    TopicFacts,
    Trouble,
)
from pipeline.records import Alert, Forecasts, Messages, Rejected
from pipeline.store import CheckpointStore, open_store

TOPIC = "readings"
START_MS = 1_795_415_880_000  # 2026-11-23T06:38:00Z
MINUTE_MS = 60_000

Journal = list[str]
"""What was asked of the doubles, in order."""


@dataclass
class Clock:
    """Seconds; both clocks of a worker. `tick_s` passes at each look."""

    now_s: float = START_MS / 1000
    tick_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


def make_reading(minute: float, series: str = "boiler/1", value: float = 1.0) -> bytes:
    time_ms = START_MS + round(minute * MINUTE_MS)
    return json.dumps({"series": series, "time": time_ms, "value": value}).encode()


@dataclass
class MemorySource:
    """A log for each partition. What happens in the group is put into `events`; each poll takes one."""

    journal: Journal
    clock: Clock
    logs: dict[Partition, list[tuple[int, bytes]]] = field(default_factory=dict)  # timestamp_ms, value
    handler: RebalanceHandler | None = None
    events: list[Callable[[], None]] = field(default_factory=list)
    is_away: bool = False
    refuses: str | None = None
    num_partitions: int = 1
    topic_id: str = "topicId"

    def __post_init__(self) -> None:
        self.group: dict[Partition, Position] = {}
        self.positions: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.owned: set[Partition] = set()
        self.fresh: list[Partition] = []
        self.waits: list[float] = []
        self.most = 1_000_000
        self.stopped: dict[Partition, str] = {}
        self.lost: dict[Partition, int] = {}

    # -- what a test does --------------------------------------------------------------------------------

    def send(self, *values: bytes, partition: int = 0, at_ms: int | None = None) -> None:
        """The broker stamps them with the clock, or with `at_ms`."""
        stamp = int(self.clock.now_s * 1000) if at_ms is None else at_ms
        self.logs.setdefault(Partition(TOPIC, partition), []).extend((stamp, value) for value in values)

    def assign(self, *partitions: int) -> None:
        for partition in partitions:
            each = Partition(TOPIC, partition)
            self.logs.setdefault(each, [])
            self.owned.add(each)
            self.fresh.append(each)

    def revoke(self, partition: int) -> None:
        """At the next poll, as a source does it: freeze, wait, commit, drop."""

        def go() -> None:
            assert self.handler is not None
            each = Partition(TOPIC, partition)
            future: Future[Position] | None = self.handler.freeze(each)
            positions = {} if future is None else {each: future.result(10)}
            committed = positions if positions and each in self.commit(positions).done else {}
            self._lose(each, committed)

        self.events.append(go)

    def expel(self, partition: int) -> None:
        """At the next poll: the partition is somebody else's already."""
        self.events.append(lambda: self._lose(Partition(TOPIC, partition), {}))

    def _lose(self, partition: Partition, committed: Mapping[Partition, Position]) -> None:
        self.owned.discard(partition)
        self.positions.pop(partition, None)
        self.paused.discard(partition)
        assert self.handler is not None
        self.handler.drop([partition], committed)

    # -- the port ----------------------------------------------------------------------------------------

    def poll(self, timeout_s: float) -> list[Messages]:
        self.waits.append(timeout_s)
        if self.events:
            self.events.pop(0)()
        if self.is_away:
            return []
        found = []
        for partition, at in sorted(self.positions.items()):
            part = self.logs[partition][at : at + self.most]
            if part and partition not in self.paused:
                found.append(_gather(partition, at, part))
                self.positions[partition] = at + len(part)
        return found

    def take_assigned(self) -> list[Partition]:
        fresh, self.fresh = self.fresh, []
        return fresh

    def start(self, partition: Partition, offset: int) -> bool:
        if partition not in self.owned:
            return False
        self.journal.append(f"start {partition.partition} at {offset}")
        self.positions[partition] = offset
        return True

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)

    def commit(self, positions: Mapping[Partition, Position]) -> Commit:
        done, refused = [], {}
        for partition, position in positions.items():
            reason = "unavailable" if self.is_away else self.refuses
            if reason is None and partition not in self.owned:
                reason = "not_owned"
            if reason is not None:
                refused[partition] = reason
                self.journal.append(f"commit {partition.partition} at {position.offset} refused: {reason}")
                continue
            self.group[partition] = position
            done.append(partition)
            named = "fresh" if position.metadata == "fresh" else "checkpoint"
            self.journal.append(f"commit {partition.partition} at {position.offset}, {named}")
        return Commit(done=frozenset(done), refused=refused)

    def lag(self, partition: Partition) -> int | None:
        if self.is_away or partition not in self.positions:
            return None
        return len(self.logs[partition]) - self.positions[partition]

    def read_to_end(self, partition: Partition) -> bool:
        return self.lag(partition) == 0

    def committed(self, partition: Partition) -> Position | None:
        self._ask()
        return self.group.get(partition)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        self._ask()
        return 0, len(self.logs[partition])

    def topic_facts(self, topic: str) -> TopicFacts:
        self._ask()
        return TopicFacts(
            topic_id=self.topic_id, partitions=self.num_partitions, timestamp_type="LogAppendTime"
        )

    def _ask(self) -> None:
        if self.is_away:
            raise SourceUnavailable("kafka:9092 does not answer")

    @property
    def trouble(self) -> Trouble | None:
        return Trouble(since_s=0.0, reason="kafka:9092 does not answer") if self.is_away else None

    def take_lost(self) -> Mapping[Partition, int]:
        lost, self.lost = self.lost, {}
        return lost

    def close(self, timeout_s: float) -> None:
        self.journal.append("close")


def _gather(partition: Partition, at: int, part: Sequence[tuple[int, bytes]]) -> Messages:
    return Messages(
        topic=partition.topic,
        partition=partition.partition,
        offset=np.arange(at, at + len(part), dtype=np.int64),
        timestamp_ms=np.array([stamp for stamp, _ in part], np.int64),
        key=[None] * len(part),
        value=[value for _, value in part],
        headers=[()] * len(part),
    )


@dataclass
class MemoryEmitter:
    """Keeps what it is given. `room`: so many forecasts more fit."""

    journal: Journal
    room: float = float("inf")
    is_stuck: bool = False

    def __post_init__(self) -> None:
        self.sent: list[Forecasts] = []
        self.alerted: list[Alert] = []
        self.letters: list[Rejected] = []

    @property
    def said(self) -> list[tuple[str, int, bytes]]:
        """Each forecast sent: its series, minutes since START_MS, and the numbers."""
        return [
            (name, (int(f.event_time_ms[row]) - START_MS) // MINUTE_MS, f.mean[row].tobytes())
            for f in self.sent
            for row, name in enumerate(f.series)
        ]

    def forecasts(self, forecasts: Forecasts) -> None:
        self.sent.append(forecasts)
        self.room -= len(forecasts.series)
        self.journal.append("forecasts")

    def alerts(self, alerts: Sequence[Alert]) -> None:
        self.alerted += alerts

    def rejected(self, messages: Messages, rejected: Sequence[Rejected]) -> None:
        self.letters += rejected

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def prepare(self) -> None: ...
    def close(self, timeout_s: float) -> None: ...

    def flush(self, timeout_s: float) -> None:
        self.journal.append("flush")
        if self.is_stuck:
            raise TimeoutError("kafka:9092 has not taken all forecasts")


class MemoryStore:
    """A store in memory that fails with `error` while it is set."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.error: Exception | None = None
        self.real: CheckpointStore = open_store(f"memory://{uuid.uuid4().hex}", "plant", TOPIC)

    def write(
        self,
        topic_id: str,
        partition: int,
        offset: int,
        state: Mapping[str, torch.Tensor],
        facts: Mapping[str, object],
    ) -> str:
        self.journal.append(f"write {partition} at {offset}")
        if self.error is not None:
            raise self.error
        return self.real.write(topic_id, partition, offset, state, facts)

    def prune(
        self, topic_id: str, partition: int, committed: Position, *, keep: int, daily_days: int
    ) -> object:
        if self.error is not None:
            raise self.error
        return self.real.prune(topic_id, partition, committed, keep=keep, daily_days=daily_days)


class Counting(Observer):
    """Counts by the name of what it hears, without `on_`."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def _count(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def on_learned(self, readings: int) -> None:
        self._count("learned", readings)

    def on_lost(self, topic: str, partition: int, records: int) -> None:
        self._count("lost", records)

    def on_rejected(self, by_reason: Mapping[str, int]) -> None:
        for reason, number in by_reason.items():
            self._count(f"rejected {reason}", number)

    def on_checkpoint(self, topic: str, partition: int, size_bytes: int) -> None:
        self._count("checkpoint")

    def on_checkpoint_failed(self, topic: str, partition: int) -> None:
        self._count("checkpoint_failed")

    def on_alerts(self, topic: str, partition: int, alerts: Sequence[Any]) -> None:
        self._count("alerts", len(alerts))

    def on_assigned(self, topic: str, partition: int) -> None:
        self._count("assigned")

    def on_revoked(self, topic: str, partition: int) -> None:
        self._count("revoked")
