"""`silent` alerts: by the wall clock, and the only thing here that looks at it. Learnt state never does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.lives import Lives
from pipeline.engine.options import DAY_MS, SensorAlertOptions
from pipeline.engine.sensor_alerts import RETIRED, format_duration, format_time, make_alert
from pipeline.engine.series import SeriesTable
from pipeline.engine.settings import Settings
from pipeline.records import Alert, BoolArray, Int64Array

MAX_LISTENED_MS = 30_000
"""Most that the time between two checks counts for: a worker that slept has not listened."""
NOT_FIRING = -(2**63)
NOT_CHECKED = -1


class Silence:
    """Fires when a live series has had no reading for longer than its threshold, resolves at its return.

    What counts is the time *listened*: wall-clock time between two checks at both of which the partition was
    read to its end. So neither an outage of the broker nor a backlog nor a pause of the worker makes a sensor
    silent. The time listened is not saved: after a restart it starts from nothing.
    """

    def __init__(
        self, options: SensorAlertOptions, table: SeriesTable, lives: Lives, settings: Settings
    ) -> None:
        self.options = options
        self._table, self._lives, self._settings = table, lives, settings
        self._columns = Columns({"since_ms": NOT_FIRING})  # the last reading before the silence that fires
        self._listened_ms = 0
        self._checked_ms: int | None = None  # the last check, where the partition was read to its end
        # Time listened at the first check after the last reading: a reading between two checks must not be
        # older than it is.
        self._heard_at = Columns({"listened_ms": NOT_CHECKED})

    def _extend(self) -> Columns:
        self._columns.extend(self._table.size)
        self._heard_at.extend(self._table.size)
        return self._columns

    @property
    def firing(self) -> BoolArray:
        """[S] series with a silent alert."""
        firing: BoolArray = self._extend()["since_ms"] != NOT_FIRING
        return firing

    def find_thresholds(self) -> Int64Array:
        """[S] how long a series may say nothing, in milliseconds.

        By exception: silent_after, else a season, else a day. Others: silent_after, but at least some
        cadences.
        """
        columns = self._table.columns
        declared, season = columns["silent_after_ms"], columns["season_ms"]
        unknown = np.where(
            columns["by_exception"] > 0,
            np.where(season > 0, season, DAY_MS),
            self.options.silent_after_ms,
        )
        threshold = np.where(declared > 0, declared, unknown)
        thresholds: Int64Array = np.maximum(threshold, self.options.silent_cadences * columns["cadence_ms"])
        return thresholds

    def find_stale(self, clock_ms: int) -> BoolArray:
        """[S] silent by the shard clock, or firing."""
        stale: BoolArray = clock_ms - self._lives.heard_ms > self.find_thresholds()
        return stale | self.firing

    def hear(self, series: Int64Array, clock_ms: Int64Array) -> list[Alert]:
        """Resolve the alerts of series that have returned with these readings."""
        since = self._extend()["since_ms"]
        self._heard_at["listened_ms"][series] = NOT_CHECKED
        returned = np.flatnonzero(since[series] != NOT_FIRING)
        places, first = np.unique(series[returned], return_index=True)
        alerts = []
        for row, at in sorted(zip(returned[first].tolist(), places.tolist(), strict=True)):
            time_ms = int(clock_ms[row])
            lasted = format_duration(time_ms - int(since[at]))
            reason = f"A reading at {format_time(time_ms)} after {lasted} of silence."
            alerts.append(self._make(at, "resolved", int(since[at]), time_ms, reason, "recovered"))
            since[at] = NOT_FIRING
        return alerts

    def check(self, now_ms: int, read_to_end: bool) -> list[Alert]:
        """Fire for series that have fallen silent; call it every few seconds.

        now_ms: the wall clock; read_to_end: whether the broker answers and nothing of the partition is
        unread.
        """
        since = self._extend()["since_ms"]
        if not read_to_end:
            self._checked_ms = None
            return []
        if self._checked_ms is not None:
            self._listened_ms += min(max(now_ms - self._checked_ms, 0), MAX_LISTENED_MS)
        self._checked_ms = now_ms
        thresholds, heard_at = self.find_thresholds(), self._heard_at["listened_ms"]
        heard_at[heard_at == NOT_CHECKED] = self._listened_ms
        quiet = self._listened_ms - heard_at > thresholds
        fallen = np.flatnonzero(quiet & self._lives.is_warm & (since == NOT_FIRING))
        alerts = []
        for _, at in sorted((self._table.name(at), at) for at in fallen.tolist()):
            since[at] = last_ms = int(self._lives.heard_ms[at])
            lasted = max(now_ms - last_ms, int(thresholds[at]))
            reason = (
                f"No reading since {format_time(last_ms)}, {format_duration(lasted)} ago; "
                f"one is expected every {format_duration(int(self._table.columns['cadence_ms'][at]))} "
                f"and at the latest after {format_duration(int(thresholds[at]))}."
            )
            alerts.append(self._make(at, "firing", last_ms, now_ms, reason, None))
        return alerts

    def retire(self, places: list[int], time_ms: int) -> list[Alert]:
        """Resolve the alerts of series that are to be forgotten, and forget them here."""
        since = self._extend()["since_ms"]
        firing = sorted((self._table.name(at), at) for at in places if since[at] != NOT_FIRING)
        alerts = [self._make(at, "resolved", int(since[at]), time_ms, RETIRED, "retired") for _, at in firing]
        self._columns.reset(np.array(places, np.int64))
        self._heard_at.reset(np.array(places, np.int64))
        return alerts

    def _make(
        self, at: int, state: str, started_ms: int, time_ms: int, reason: str, resolution: str | None
    ) -> Alert:
        return make_alert(
            self._table, self._settings, at, "silent", state, started_ms, time_ms, None, reason, resolution
        )

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        """Which series fire. It depends on the wall clock, as nothing else that a shard saves does."""
        yield from self._extend().save(prefix)

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._columns.load(prefix, state)
        self._heard_at = Columns({"listened_ms": NOT_CHECKED})
        self._listened_ms, self._checked_ms = 0, None
