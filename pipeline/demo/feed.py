"""Readings into the partitions of a topic, each at its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.demo.encoding import Encoder, take_readings
from pipeline.placement import find_partition
from pipeline.records import Readings

if TYPE_CHECKING:
    from pipeline.histories import History

FLUSH_TIMEOUT_S = 60.0
CHUNK_READINGS = 8192  # that are due together are handed over at once
_DUE_S = 1e-6  # nearer than that is now; what rounding leaves over is not worth a sleep
_NAP_S = 0.2  # longest sleep at a stretch, so that a deadline is noticed


class Outlet(Protocol):
    """Takes messages: the producer, or a list in tests."""

    @property
    def num_partitions(self) -> int: ...
    def send(self, partition: int, key: bytes | None, value: bytes) -> None: ...
    def flush(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...


OpenOutlet = Callable[[str, str, Mapping[str, Any]], Outlet]


def open_outlet(bootstrap: str, topic: str, settings: Mapping[str, Any]) -> Outlet:
    """A producer for one topic. Raises BrokerError."""
    from pipeline.exporters.readings import ReadingsProducer  # kafka-python takes long to load

    return ReadingsProducer(bootstrap, topic, settings)


class Feed:
    """Places readings by murmur2 of their id and sends them, batched per partition, in their order."""

    def __init__(self, outlet: Outlet, series: tuple[str, ...], encoder: Encoder) -> None:
        self._outlet, self._encoder = outlet, encoder
        self._size = outlet.num_partitions
        self._partition = np.array([find_partition(name, self._size) for name in series], np.int64)
        self.num_readings = self.num_messages = self.num_bytes = 0
        self.last_ms: int | None = None
        """Event time of the last reading."""

    def send(self, readings: Readings) -> None:
        """Hand a batch over, whose ``series`` are the feed's. Raises BrokerError."""
        partition = self._partition[readings.series_index]
        order = np.argsort(partition, kind="stable")  # keeps the order within a partition, and so in a series
        bounds = np.searchsorted(partition[order], np.arange(self._size + 1))
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            rows = order[bounds[number] : bounds[number + 1]]
            for key, value in self._encoder.encode(take_readings(readings, rows)):
                self._outlet.send(number, key, value)
                self.num_messages += 1
                self.num_bytes += len(value)
        self.num_readings += len(readings)
        if len(readings):
            self.last_ms = int(readings.event_time_ms[-1])


class Pacer:
    """Says when event times are due: ``speed`` times as fast as they went, 0 for at once.

    ``live_at_ms`` is the time of day at the start, if nothing may go before its time. Clock and sleep are in
    seconds, of a clock that never jumps.
    """

    def __init__(
        self,
        first_ms: int,
        speed: float,
        *,
        live_at_ms: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._first_ms, self._speed, self._live_at_ms = first_ms, speed, live_at_ms
        self._clock, self._sleep = clock, sleep
        self._start_s = clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._start_s

    @property
    def due_ms(self) -> float:
        """Event time up to which all is due now."""
        elapsed_ms = self.elapsed_s * 1000
        due = self._first_ms + elapsed_ms * self._speed if self._speed else np.inf
        return due if self._live_at_ms is None else min(due, self._live_at_ms + elapsed_ms)

    def wait_for(self, event_time_ms: int, deadline_s: float = np.inf) -> bool:
        """Sleep until the time is due; False if ``deadline_s`` after the start comes first."""
        while True:
            left_s = deadline_s - self.elapsed_s
            if left_s <= _DUE_S:
                return False
            missing_s = self._find_missing_s(event_time_ms)
            if missing_s <= _DUE_S:
                return True
            self._sleep(min(missing_s, left_s, _NAP_S))

    def find_delay_s(self, event_time_ms: int) -> float:
        """By how much a time is overdue; 0 where nothing can be late, as with a past at any speed."""
        if not self._speed and (self._live_at_ms is None or event_time_ms < self._live_at_ms):
            return 0.0
        late_s = -self._find_missing_s(event_time_ms)
        return max(late_s, 0.0)

    def _find_missing_s(self, event_time_ms: int) -> float:
        elapsed_s = self.elapsed_s
        at_s = (event_time_ms - self._first_ms) / 1000 / self._speed if self._speed else -np.inf
        if self._live_at_ms is not None:
            at_s = max(at_s, (event_time_ms - self._live_at_ms) / 1000)
        return at_s - elapsed_s


def join_due(
    steps: Iterator[Readings], find_next_ms: Callable[[], int], pacer: Pacer, limit: int
) -> Iterator[Readings]:
    """Steps that are due together as one, of about ``limit`` readings at most, so that batches fill up.

    ``find_next_ms`` says the time of the next step without taking it.
    """
    for first in steps:
        parts, size = [first], len(first)
        while size < limit and find_next_ms() <= pacer.due_ms:
            following = next(steps, None)
            if following is None:
                break
            parts.append(following)
            size += len(following)
        yield _concatenate(parts) if len(parts) > 1 else first


def cut_due(history: History, pacer: Pacer, limit: int) -> Iterator[Readings]:
    """The history in order, each piece as long as its readings are due together, of at least one time."""
    times, at = history.event_time_ms, 0
    while at < len(times):
        due_ms = min(pacer.due_ms, float(times[-1]))
        stop = int(np.searchsorted(times, max(due_ms, float(times[at])), side="right"))
        stop = min(stop, at + limit)
        rows = slice(at, stop)
        yield Readings(
            series=history.series,
            series_index=history.series_index[rows],
            event_time_ms=times[rows],
            value=history.value[rows],
        )
        at = stop


def _concatenate(parts: list[Readings]) -> Readings:
    faults = [part.fault for part in parts if part.fault is not None]
    return Readings(
        series=parts[0].series,
        series_index=np.concatenate([part.series_index for part in parts]),
        event_time_ms=np.concatenate([part.event_time_ms for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        fault=np.concatenate(faults) if len(faults) == len(parts) else None,
    )


def run_feed(
    feed: Feed,
    steps: Iterable[Readings],
    pacer: Pacer,
    *,
    on_step: Callable[[Readings], None],
    for_s: float = np.inf,
    num_readings: int | None = None,
) -> None:
    """Send steps in time order, each when the last of its times is due, until a limit or their end.

    Raises BrokerError. Ctrl-C comes through; what was handed over is still on its way then.
    """
    for step in steps:
        if len(step) and not pacer.wait_for(int(step.event_time_ms[-1]), for_s):
            return
        if num_readings is not None and feed.num_readings + len(step) > num_readings:
            step = take_readings(step, slice(0, num_readings - feed.num_readings))
        feed.send(step)
        on_step(step)
        if num_readings is not None and feed.num_readings >= num_readings:
            return
