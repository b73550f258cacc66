"""`anomaly` and `stuck` alerts: what the bank's alarms mean, as messages.

They follow from the log alone: the same log gives the same alerts with the same ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch

from forecasters.anomaly import Alarms, Told
from forecasters.champion import LEADER, Champion
from forecasters.episodes import BEGINS, BEGINS_NOTED, RECOVERS, SHIFTS, STICKS, Standing
from pipeline.engine.columns import Columns
from pipeline.engine.sensor_alerts import GOES_ON, RETIRED, format_duration, format_time, make_alert
from pipeline.engine.series import NO_SLOT, SeriesTable
from pipeline.engine.settings import DIRECTIONS, Settings
from pipeline.records import Alert, Float64Array, Int64Array

ANOMALY, STUCK = "anomaly", "stuck"
Placed = tuple[int, Alert]
"""A row of the steps, and what it brings."""


class AlertingBank(Protocol):
    """What is asked of the bank."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its forecasters."""

    @property
    def champion(self) -> Champion | None:
        """Whom the series follow."""

    def declare_alerts(
        self, slots: Int64Array, *, min_abs: Float64Array, min_rel: Float64Array, direction: Int64Array,
        may_stick: Int64Array,
    ) -> None:  # fmt: skip
        """Which deviations of these series count."""

    def standing(self, slots: Int64Array) -> Standing | None:
        """Where these series stand; None where the bank was built without alerts."""


class Alerts:
    """Makes messages of alarms. What fires is known by the bank; here is only which series were declared."""

    def __init__(self, bank: AlertingBank, table: SeriesTable, settings: Settings, champion: str) -> None:
        """champion: whose forecasts stand in the messages; `leader`: of each series its own."""
        self._bank, self._table, self._settings, self._champion = bank, table, settings, champion
        self._columns = Columns({"declared": 0})

    def _extend(self) -> Columns:
        self._columns.extend(self._table.size)
        return self._columns

    def declare_new(self, places: Int64Array) -> None:
        """Tell the bank what is declared of those series that it has not heard of yet."""
        new = np.unique(places[self._extend()["declared"][places] == 0])
        if new.size:
            self.declare(new)

    def declare(self, places: Int64Array) -> None:
        """Likewise, of series whose declarations may be others now; those without a slot are left out."""
        slots = self._table.columns["slot"][places]
        places, slots = places[slots != NO_SLOT], slots[slots != NO_SLOT]
        if not places.size:
            return
        known = [self._settings(self._table.name(at)) for at in places.tolist()]
        self._bank.declare_alerts(
            slots,
            min_abs=np.array([one.min_abs for one in known]),
            min_rel=np.array([one.min_rel for one in known]),
            direction=np.array([DIRECTIONS[one.direction] for one in known], np.int64),
            may_stick=np.array([not one.by_exception for one in known], np.int64),
        )
        self._extend()["declared"][places] = 1

    def watch(
        self, alarms: Alarms, rows: Int64Array, places: Int64Array, time_ms: Int64Array, value: Float64Array
    ) -> list[Placed]:
        """Messages of one wave; rows [N] of the steps, places of their series."""
        told: list[Placed] = []
        for k, row in enumerate(alarms.told.rows.tolist()):
            at, now_ms, number = int(places[row]), int(time_ms[row]), float(value[row])
            if alarms.sticks[row]:
                told.append((int(rows[row]), self._tell_stuck(alarms, k, at, now_ms, number)))
            if alarms.event[row] in (BEGINS, BEGINS_NOTED):
                told.append((int(rows[row]), self._tell_begin(alarms, k, at, now_ms, number)))
            elif alarms.event[row] in (RECOVERS, SHIFTS):
                told.append((int(rows[row]), self._tell_end(alarms, k, at, now_ms, number)))
        return told

    def retire(self, places: Sequence[int], time_ms: int) -> list[Alert]:
        """Resolve the alerts of series that are to be forgotten."""
        alerts = self._list(np.array(places, np.int64), time_ms, "resolved", RETIRED, "retired")
        self._extend().reset(np.array(places, np.int64))
        return alerts

    def list_firing(self, time_ms: int) -> list[Alert]:
        """What fires now, by series."""
        return self._list(self._table.places, time_ms, "firing", GOES_ON, None)

    def _list(
        self, places: Int64Array, time_ms: int, state: str, reason: str, resolution: str | None
    ) -> list[Alert]:
        slots = self._table.columns["slot"][places]
        places, slots = places[slots != NO_SLOT], slots[slots != NO_SLOT]
        standing = self._bank.standing(slots) if slots.size else None
        if standing is None:
            return []
        listed = []
        for kind, fires, began_ms in (
            (ANOMALY, standing.pages, standing.began_ms),
            (STUCK, standing.is_stuck, standing.rests_ms),
        ):
            followed = self._list_champions(slots) if kind == ANOMALY else []
            for k in np.flatnonzero(fires).tolist():
                at = int(places[k])
                alert = self._make(at, kind, state, int(began_ms[k]), time_ms, None, reason, resolution)
                if kind == ANOMALY:
                    alert = replace(alert, score=float(standing.peak[k]), forecaster=followed[k])
                listed.append((self._table.name(at), kind, alert))
        return [alert for _, _, alert in sorted(listed, key=lambda one: one[:2])]

    def _tell_begin(self, alarms: Alarms, k: int, at: int, now_ms: int, value: float) -> Alert:
        what, row = alarms.told, alarms.told.rows[k]
        expected, lower, upper = (float(column[k]) for column in (what.expected, what.lower, what.upper))
        began_ms = int(what.began_ms[k])
        unit = self._settings(self._table.name(at)).unit
        size = upper - lower if math.isfinite(upper - lower) else abs(value - expected)
        numbers = [format_number(number, size) for number in (value, expected, lower, upper)]
        range_text = f" ({numbers[2]}–{numbers[3]})" if math.isfinite(lower) else ""
        reason = (
            f"{numbers[0]}{unit and ' ' + unit}, expected {numbers[1]}{range_text}, "
            f"since {format_clock(began_ms, now_ms)}"
        )
        state = "firing" if alarms.event[row] == BEGINS else "noted"
        alert = self._make(at, ANOMALY, state, began_ms, now_ms, value, reason, None)
        return replace(
            alert, expected=expected, lower=_finite(lower), upper=_finite(upper),
            score=round(float(alarms.score[row]), 4), forecaster=self._name_champion(what, k),
        )  # fmt: skip

    def _tell_end(self, alarms: Alarms, k: int, at: int, now_ms: int, value: float) -> Alert:
        what = alarms.told
        began_ms, last_ms = int(what.began_ms[k]), int(what.last_ms[k])
        since = format_clock(began_ms, now_ms)
        if alarms.event[what.rows[k]] == SHIFTS:
            resolution = "shifted"
            reason = (
                f"Now {value:.6g}, still far from what was usual before {since}; after "
                f"{format_duration(now_ms - began_ms)} this is taken as normal"
            )
        else:
            resolution = "recovered"
            reason = (
                f"Now {value:.6g}; nothing unusual since {format_clock(last_ms, now_ms)}, "
                f"after it began at {since}"
            )
        alert = self._make(at, ANOMALY, "resolved", began_ms, now_ms, value, reason, resolution)
        forecaster = self._name_champion(what, k)
        return replace(alert, score=round(float(what.peak[k]), 4), forecaster=forecaster)

    def _name_champion(self, told: Told, k: int) -> str:
        """By whom a reading was judged."""
        return self._bank.names[told.champion[k]] if self._champion == LEADER else self._champion

    def _list_champions(self, slots: Int64Array) -> list[str]:
        champion = self._bank.champion if self._champion == LEADER else None
        return champion.list_names(slots) if champion else [self._champion] * slots.size

    def _tell_stuck(self, alarms: Alarms, k: int, at: int, now_ms: int, value: float) -> Alert:
        what = alarms.told
        rests_ms = int(what.rests_ms[k])
        unit = self._settings(self._table.name(at)).unit
        number = f"{value:.6g}{unit and ' ' + unit}"
        if alarms.sticks[what.rows[k]] == STICKS:
            reason = (
                f"{number} without any change since {format_clock(rests_ms, now_ms)}, for "
                f"{format_duration(now_ms - rests_ms)}: far longer than ever before"
            )
            return self._make(at, STUCK, "firing", rests_ms, now_ms, value, reason, None)
        stuck_ms = int(what.stuck_ms[k])
        reason = f"{number}: it moves again, after {format_duration(now_ms - stuck_ms)} without any change"
        return self._make(at, STUCK, "resolved", stuck_ms, now_ms, value, reason, "recovered")

    def _make(
        self, at: int, kind: str, state: str, started_ms: int, time_ms: int, value: float | None, reason: str,
        resolution: str | None,
    ) -> Alert:  # fmt: skip
        return make_alert(
            self._table, self._settings, at, kind, state, started_ms, time_ms, value, reason, resolution
        )

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self._extend().save(prefix)

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._columns.load(prefix, state)


def format_number(number: float, size: float) -> str:
    """With as many decimals as tell two numbers apart that lie a tenth of `size` from each other."""
    if not size > 0 or not math.isfinite(size):
        return f"{number:.6g}"
    decimals = min(max(1 - math.floor(math.log10(size)), 0), 9)
    return f"{number:.{decimals}f}"


def format_clock(time_ms: int, now_ms: int) -> str:
    """As in `03:12` (UTC) of the same day, else with the date."""
    text, today = format_time(time_ms), format_time(now_ms)
    is_today = "T" in text and text[:10] == today[:10]
    return f"{text[11:16]} UTC" if is_today else text


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
