"""Alerts of sensors that deliver nothing usable: `bad_quality` and `out_of_range`.

They follow from the log alone: the same log gives the same alerts with the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import numpy as np
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.lives import Lives
from pipeline.engine.options import SensorAlertOptions
from pipeline.engine.rows import OFF, OUT_OF_RANGE, Steps
from pipeline.engine.series import SeriesTable
from pipeline.engine.settings import Settings
from pipeline.records import BAD_QUALITY, GOOD, MISSING, Alert, Int64Array

KINDS = ("", "bad_quality", "out_of_range")
_KIND_OF_FAULT = {MISSING: 1, BAD_QUALITY: 1, OUT_OF_RANGE: 2}
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))


class SensorAlerts:
    """Fires when a live series has had several readings in a row without a usable value, and resolves at the
    first good one. The kind is that of the reading that completes the row; gaps neither continue nor end it.
    A machine at rest has a good sensor."""

    def __init__(
        self, options: SensorAlertOptions, table: SeriesTable, lives: Lives, settings: Settings
    ) -> None:
        self.options = options
        self._table, self._lives, self._settings = table, lives, settings
        self._columns = Columns({"row": 0, "kind": 0, "started_ms": 0})

    def _extend(self) -> Columns:
        self._columns.extend(self._table.size)
        return self._columns

    def watch(self, steps: Steps) -> list[Alert]:
        """The alerts that these steps bring, in log order; call it before `Lives.learn` hears of them."""
        c = self._extend()
        is_bad = np.isin(steps.fault, tuple(_KIND_OF_FAULT))
        concerned = c["row"] > 0
        concerned[steps.series[is_bad]] = True
        rows = np.flatnonzero(concerned[steps.series])
        if not rows.size:
            return []
        alerts = []
        accepted: dict[int, int] = {}
        for row in rows.tolist():
            at, fault = int(steps.series[row]), int(steps.fault[row])
            known = accepted.setdefault(at, int(self._lives.accepted[at]))
            if fault in (GOOD, OFF):
                accepted[at] = known + (fault == GOOD)
                if c["kind"][at]:
                    alerts.append(self._recover(at, int(steps.event_time_ms[row]), steps.reported[row]))
                c["row"][at] = c["kind"][at] = 0
                continue
            c["row"][at] += 1
            if c["row"][at] == 1:
                c["started_ms"][at] = steps.event_time_ms[row]
            is_warm = known >= self._lives.options.warm_readings
            if is_warm and not c["kind"][at] and c["row"][at] >= self.options.masked_in_a_row:
                c["kind"][at] = _KIND_OF_FAULT[fault]
                alerts.append(self._fire(at, int(steps.event_time_ms[row]), steps.reported[row]))
        return alerts

    def retire(self, places: list[int], time_ms: int) -> list[Alert]:
        """Resolve the alerts of series that are to be forgotten, and forget them here."""
        c = self._extend()
        firing = sorted((self._table.name(at), at) for at in places if c["kind"][at])
        alerts = [self._make(at, "resolved", time_ms, None, RETIRED, "retired") for _, at in firing]
        c.reset(np.array(places, np.int64))
        return alerts

    def list_firing(self, time_ms: int) -> list[Alert]:
        """What fires now, by series."""
        kinds = self._extend()["kind"]
        firing = sorted((self._table.name(at), at) for at in np.flatnonzero(kinds).tolist())
        return [self._make(at, "firing", time_ms, None, GOES_ON, None) for _, at in firing]

    @property
    def kind(self) -> Int64Array:
        """[S] what fires, as a place in KINDS; 0 where nothing does."""
        return self._extend()["kind"]

    def _fire(self, at: int, time_ms: int, value: float) -> Alert:
        c = self._columns
        span = f"from {format_time(int(c['started_ms'][at]))} to {format_time(time_ms)}"
        number = f"{int(c['row'][at])} readings in a row"
        if KINDS[c["kind"][at]] == "bad_quality":
            reason = f"{number} without a usable value, {span}."
        else:
            low, high = self._table.columns["minimum"][at], self._table.columns["maximum"][at]
            unit = self._settings(self._table.name(at)).unit
            reason = (
                f"{number} outside {low:g} to {high:g}{unit and ' ' + unit}, {span}; the last was {value:g}."
            )
        return self._make(at, "firing", time_ms, value, reason, None)

    def _recover(self, at: int, time_ms: int, value: float) -> Alert:
        c = self._columns
        lasted = format_duration(time_ms - int(c["started_ms"][at]))
        reason = (
            f"A good reading, {value:g}, at {format_time(time_ms)} "
            f"after {int(c['row'][at])} readings in a row that were not, over {lasted}."
        )
        return self._make(at, "resolved", time_ms, value, reason, "recovered")

    def _make(
        self, at: int, state: str, time_ms: int, value: float | None, reason: str, resolution: str | None
    ) -> Alert:
        return make_alert(
            self._table, self._settings, at, KINDS[self._columns["kind"][at]], state,
            int(self._columns["started_ms"][at]), time_ms, value, reason, resolution,
        )  # fmt: skip

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self._extend().save(prefix)

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._columns.load(prefix, state)


GOES_ON = "It goes on since before this worker had the partition."
RETIRED = "The series was retired after a long silence."


def make_alert(
    table: SeriesTable,
    settings: Settings,
    at: int,
    kind: str,
    state: str,
    started_ms: int,
    time_ms: int,
    value: float | None,
    reason: str,
    resolution: str | None,
) -> Alert:
    """An alert of a sensor; firing and resolved have one id, which follows from series, kind and start."""
    series = table.name(at)
    declared = settings(series)
    low, high = float(table.columns["minimum"][at]), float(table.columns["maximum"][at])
    return Alert(
        id=hashlib.sha256(f"{series}\0{kind}\0{started_ms}".encode()).hexdigest()[:32],
        kind=kind,
        state=state,
        severity=declared.severity,
        series=series,
        name=declared.name,
        unit=declared.unit,
        labels=declared.labels,
        started=started_ms,
        ended=time_ms if state == "resolved" else None,
        time=time_ms,
        value=float(value) if value is not None and np.isfinite(value) else None,
        expected=None,
        lower=low if kind == "out_of_range" and np.isfinite(low) else None,
        upper=high if kind == "out_of_range" and np.isfinite(high) else None,
        score=None,
        reason=reason,
        forecaster=None,
        resolution=resolution,
    )


def format_time(time_ms: int) -> str:
    """As in 2026-11-21T08:00:00Z; times that no calendar has as milliseconds."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def format_duration(duration_ms: int) -> str:
    """As in 90 s, 5 min, 36 h or 12 d: the largest unit of which there are at least two."""
    for size, unit in _UNITS:
        if duration_ms >= 2 * size:
            return f"{round(duration_ms / size)} {unit}"
    return f"{duration_ms} ms"
