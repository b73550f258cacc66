"""Where the thread that moves readings leaves what the page shows, and the server's threads find it.

The runner calls `see`, `hear` and `look`; they return at once and raise nothing. The rest is for other
threads. While nobody asks, nothing is copied but the recent course of some series (`tracks`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from forecasters import Result
from forecasters.recall import Recall, recall
from pipeline.engine.shard import SteppedWave
from pipeline.exporters.quality import QualityFigures
from pipeline.holdings import Holding
from pipeline.live.networks import NetworkCopies, Networks
from pipeline.live.snapshots import Snapshot, Spent, take_bank, take_snapshot
from pipeline.live.tracks import MOST_AT_ONCE, Key, Tracks
from pipeline.ports import Partition
from pipeline.records import Alert

EVERY_S = 1.0
SHARE = 0.02
"""Of the runner's time that snapshots may take at most, where they take long."""
ASKED_S = 10.0
"""A snapshot is kept fresh for so long after somebody asked; pages ask every few seconds."""
FRESH_S, WAIT_S = 3.0, 1.5
"""Who asks first waits for a snapshot; an older one is better than none where the runner is at work."""
RATE_S = 10
"""Seconds that the rate of readings is a mean over."""
MAX_ALERTS = 100


class LiveView:
    """See the module. `clock`: monotonic seconds; `now`: seconds since the epoch."""

    def __init__(
        self,
        quality: Callable[[], QualityFigures],
        tracks: Tracks,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quality, self._now, self._clock = quality, now, clock
        self.tracks = tracks
        self._networks = Networks(clock)
        self._taken = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._taken_s = self._asked_s = self._turned_s = float("-inf")
        self._pause_s = EVERY_S
        self._spent = Spent()
        self._read = 0
        self._counted: dict[Partition, int] = {}
        self._pace: deque[tuple[float, int]] = deque(maxlen=RATE_S + 1)
        self._alerts: deque[Alert] = deque(maxlen=MAX_ALERTS)

    # -- the runner's thread -----------------------------------------------------------------------------

    def see(self, partition: Partition, stepped: SteppedWave[Result]) -> None:
        """A wave that was stepped."""
        self.tracks.add(partition, stepped)

    def hear(self, partition: Partition, alerts: Sequence[Alert]) -> None:
        """Alerts as they are sent; who opens the page next will ask for their series."""
        with self._taken:
            self._alerts.extend(alerts)
        for alert in alerts[-MOST_AT_ONCE:]:
            if alert.state == "firing":
                self.tracks.want(partition, alert.series)

    def look(self, holdings: Mapping[Partition, Holding]) -> None:
        """Once a turn of the runner: takes a snapshot where one is due."""
        now_s = self._clock()
        self._turned_s = now_s
        self._spent.see(holdings.values())
        if not self._pace or now_s - self._pace[-1][0] >= 1.0:
            self._count(holdings, now_s)
        self.tracks.find_wanted(partial(_remember, holdings, self.tracks))
        self._networks.look(holdings)
        if now_s - self._asked_s > ASKED_S or now_s - self._taken_s < self._pause_s:
            return
        snapshot = take_snapshot(
            list(holdings.values()),
            time_ms=int(self._now() * 1000),
            quality=self._quality,
            spent=self._spent,
            readings_per_second=self._find_rate(),
        )
        self._pause_s = max(EVERY_S, (self._clock() - now_s) / SHARE)
        with self._taken:
            self._snapshot, self._taken_s = snapshot, now_s
            self._taken.notify_all()

    def _count(self, holdings: Mapping[Partition, Holding], now_s: float) -> None:
        running = {partition: each for partition, each in holdings.items() if each.loaded is not None}
        self._spent.forget(running)
        totals = {partition: _count_readings(each) for partition, each in running.items()}
        self._read += sum(total - self._counted.get(at, total) for at, total in totals.items())
        self._counted = totals
        self.tracks.forget(running)
        self._pace.append((now_s, self._read))

    def _find_rate(self) -> float:
        (first_s, first), (last_s, last) = self._pace[0], self._pace[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    # -- other threads -----------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot | None:
        """The newest one; waits for a while where that is old or missing and the runner turns. None before
        the first."""
        with self._taken:
            asked_s = self._asked_s = self._clock()
            is_turning = asked_s - self._turned_s < FRESH_S
            if is_turning and asked_s - self._taken_s > FRESH_S:
                self._taken.wait_for(lambda: self._taken_s >= asked_s, WAIT_S)
            return self._snapshot

    def networks(self) -> NetworkCopies | None:
        """Copies of the networks, at most half a minute old; waits a while for the first."""
        return self._networks.ask()

    def alerts(self) -> list[Alert]:
        """The newest first: what was sent since the start, and what fires since before."""
        with self._taken:
            sent, snapshot = list(self._alerts), self._snapshot
        known = {alert.id for alert in sent}
        older = [a for s in snapshot.shards for a in s.firing if a.id not in known] if snapshot else []
        ordered = sorted([*older, *sent], key=lambda alert: alert.time)
        return ordered[: -MAX_ALERTS - 1 : -1]


def _remember(holdings: Mapping[Partition, Holding], tracks: Tracks, key: Key) -> tuple[int, Recall] | None:
    partition, series = key
    holding = holdings.get(partition)
    slot = None if holding is None or holding.loaded is None else holding.shard.find_slot(series)
    if holding is None or slot is None:
        return None
    return slot, recall(take_bank(holding), slot, tracks.shown, tracks.steps)


def _count_readings(holding: Holding) -> int:
    """Whatever became of them; steps that fill gaps are no readings."""
    return sum(count for fate, count in holding.shard.counts.items() if fate != "masked_gap")
