"""What tests of this folder do with sources: a handler that remembers, polling until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from pipeline.ports import Partition, Position
from pipeline.records import Messages
from pipeline.sources.kafka import KafkaSource

WAIT_S = 40.0  # a busy machine takes its time; a test that passes rarely needs a tenth


class Handler:
    """Freezes at the position that `positions` names, after `delay_s` if that is set."""

    def __init__(self) -> None:
        self.positions: dict[Partition, Position] = {}
        self.frozen: list[Partition] = []
        self.dropped: list[Partition] = []
        self.committed: dict[Partition, Position] = {}
        self.never_done = False

    def freeze(self, partition: Partition) -> Future[Position] | None:
        self.frozen.append(partition)
        if partition not in self.positions:
            return None
        future: Future[Position] = Future()
        if not self.never_done:
            future.set_result(self.positions[partition])
        return future

    def drop(self, partitions: Sequence[Partition], committed: Mapping[Partition, Position]) -> None:
        self.dropped += partitions
        self.committed |= committed


class Reader:
    """A source whose partitions start where the group's offset says, or at the beginning."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.owned: set[Partition] = set()
        self.started_at: dict[Partition, Position] = {}
        self.messages: list[Messages] = []

    def poll(self, timeout_s: float = 0.1) -> list[Messages]:
        found = self.source.poll(timeout_s)
        for partition in self.source.take_assigned():
            position = self.source.committed(partition) or Position(offset=0)
            assert self.source.start(partition, position.offset)
            self.started_at[partition] = position
            self.owned.add(partition)
        self.messages += found
        return found

    @property
    def values(self) -> list[bytes | None]:
        return [value for messages in self.messages for value in messages.value]

    def next_offset(self, partition: Partition) -> int:
        return max(int(m.offset[-1]) + 1 for m in self.messages if (m.topic, m.partition) == tuple(partition))


def wait_until(is_so: Callable[[], bool], *readers: Reader, timeout_s: float = WAIT_S) -> None:
    """Polls the readers in turn until it is so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {timeout_s:.0f} s"
        for reader in readers:
            reader.poll(0.05)
        if not readers:
            time.sleep(0.05)
