"""The way into the in-memory broker: never further ahead of the worker than the broker keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pipeline.demo.feed import Outlet

MOST_UNREAD_BYTES = 2 << 20
"""In a partition. The broker forgets what is older than its last 5 MB, read or not."""
SERIES_IN_PARTITION = 250
"""Fewer learn less from each other and cost more."""
NAP_S = 0.02


class BoundedOutlet:
    """Passes messages on; waits while what the worker has not read of a partition is too much to keep.

    Uses as few of the topic's partitions as its series fill. `next_offset` says where the worker is in a
    partition; `sleep` may raise to end a wait.
    """

    def __init__(
        self,
        outlet: Outlet,
        num_series: int,
        *,
        next_offset: Callable[[int], int],
        sleep: Callable[[float], None],
    ) -> None:
        self._outlet, self._next_offset, self._sleep = outlet, next_offset, sleep
        self.num_partitions = min(outlet.num_partitions, -(-num_series // SERIES_IN_PARTITION))
        self._unread: list[deque[int]] = [deque() for _ in range(self.num_partitions)]
        self._unread_bytes = [0] * self.num_partitions
        self._first_unread = [0] * self.num_partitions

    def send(self, partition: int, key: bytes | None, value: bytes) -> None:
        """Raises BrokerError."""
        sizes = self._unread[partition]
        while sizes and self._unread_bytes[partition] + len(value) > MOST_UNREAD_BYTES:
            self._forget_read(partition)
            if self._unread_bytes[partition] + len(value) > MOST_UNREAD_BYTES:
                self._sleep(NAP_S)
        self._outlet.send(partition, key, value)
        sizes.append(len(value))
        self._unread_bytes[partition] += len(value)

    def _forget_read(self, partition: int) -> None:
        """The topic is this outlet's alone: its messages have the offsets from 0 on."""
        sizes, reached = self._unread[partition], self._next_offset(partition)
        while sizes and self._first_unread[partition] < reached:
            self._unread_bytes[partition] -= sizes.popleft()
            self._first_unread[partition] += 1

    def flush(self, timeout_s: float) -> None:
        self._outlet.flush(timeout_s)

    def close(self) -> None:
        self._outlet.close()
