"""One partition: its readings go in, and what they bring comes out. State follows from the log alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from forecasters.anomaly import Alarms
from forecasters.backlog import MOST_WAVES
from forecasters.reach import Reach
from forecasters.verdict import Evidence
from pipeline.engine.alerts import AlertingBank, Alerts, Placed
from pipeline.engine.engine import Bank, Engine, Wave
from pipeline.engine.intake import Intake, run_clock
from pipeline.engine.lives import HOUR_MS, STATES, Lives
from pipeline.engine.options import ShardOptions
from pipeline.engine.rows import Int8Array, Steps
from pipeline.engine.sensor_alerts import SensorAlerts
from pipeline.engine.series import NO_CADENCE, NO_SLOT
from pipeline.engine.settings import SeriesSettings, Settings
from pipeline.engine.silence import Silence
from pipeline.engine.survey import Survey
from pipeline.placement import find_partition
from pipeline.records import Alert, Float64Array, Int64Array, Profile, Readings, Rejected

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)
Kind = TypeVar("Kind", bound=np.generic)

Judged = tuple[Callable[[], Alarms], Int64Array, Int64Array, Float64Array]
"""A wave that was judged: what of it is alarming, its rows among the steps, their times and values."""


class ShardBank(Bank[ResultT_co], AlertingBank, Protocol[ResultT_co]):
    """What a shard needs of its bank beyond what the engine needs."""

    @property
    def readings_a_tick(self) -> int:
        """How many readings with a value come between the last tick and the next; at least 1."""

    def remove(self, slots: Int64Array) -> None:
        """Forget series wholly; their slots go to new ones."""

    def save(self) -> dict[str, torch.Tensor]:
        """The whole state, sharing no memory with it."""

    def load(
        self, state: Mapping[str, torch.Tensor], signatures: Mapping[str, str] | None = None
    ) -> list[str]:
        """Take the state of another bank; sentences say what of it could not go on."""

    def signatures(self) -> dict[str, str]:
        """What each component of the state depends on."""

    def training(self) -> dict[str, dict[str, float]]:
        """What training did, by forecaster."""

    @property
    def thinned(self) -> int:
        """Readings so far that the networks did not train on because of a limit."""

    def reach(self, forecaster: str, slots: Int64Array) -> Reach:
        """How far back a recurrent forecaster's gradients reach, over these series. Raises ValueError where
        none has enough history."""

    def series_error(self, forecaster: str) -> Float64Array:
        """[S] by slot: mean error of the series one step ahead, in units of scale; NaN where unknown."""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of forecasters that are compared."""

    @property
    def names(self) -> tuple[str, ...]:
        """Forecasters."""

    def seconds(self, name: str) -> float:
        """Time spent in a forecaster."""

    def series_differences(self, pair: tuple[str, str]) -> Float64Array:
        """[S] by slot: relative difference of mean error, first less second; NaN where unknown."""

    def evidence(self) -> Evidence | None:
        """Who forecasts better, as far as this shard knows; None where there is nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedWave(Generic[ResultT]):
    """A wave that the bank has stepped, and which series its rows are of."""

    wave: Wave[ResultT]
    series: Sequence[str]  # [S]
    step_ms: Int64Array  # [S] cadence of the series
    fault: Int8Array  # [S] why a row is masked, GOOD where it isn't
    readings_learned: Int64Array  # [S] by the forecasters of each series, before this batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[ResultT]):
    """Something that a batch brought: a wave, or what follows the waves of a stretch of the log."""

    stepped: SteppedWave[ResultT] | None = None
    alerts: tuple[Alert, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class Shard(Generic[ResultT]):
    """Intake, bank, life of the series and alerts of their sensors, for one partition.

    What `process` gives, and what `save` returns (but for the names that begin with ``silence.``), is a
    function of the log so far: not of how it was cut into batches, of slots, or of the wall clock.
    """

    def __init__(
        self,
        bank: ShardBank[ResultT],
        options: ShardOptions,
        settings: Settings,
        partition: int,
        partitions: int,
    ) -> None:
        """bank: a fresh one; settings: what is declared of a series, by its id."""
        self.bank, self.options, self.partition = bank, options, partition
        self._settings = settings
        self.intake = Intake(options.intake, bank, self._find_settings, self._is_misplaced)
        self._partitions = partitions
        self._freed: list[Int64Array] = []
        self._engine = Engine(bank, self.intake)
        table = self.intake.table
        self.lives = Lives(options.life, self.intake)
        self.alerts = SensorAlerts(options.alerts, table, self.lives, self._find_settings)
        self.anomalies = Alerts(bank, table, self._find_settings, options.champion)
        self.silence = Silence(options.alerts, table, self.lives, self._find_settings)

    @property
    def settings(self) -> Settings:
        """What is declared of the series, by id."""
        return self._settings

    @property
    def clock_ms(self) -> int:
        """The shard clock; far in the past before the first reading."""
        return self.intake.clock_ms

    @property
    def counts(self) -> dict[str, int]:
        """Readings and steps so far by fate."""
        return self.intake.counts

    @property
    def readings_to_ticks(self) -> tuple[int, int]:
        """Readings until the next tick, and as far as is known from each tick to the next."""
        return self.bank.readings_to_tick, self.bank.readings_a_tick

    def count_states(self) -> dict[str, int]:
        """Series by the state of their life."""
        return self.lives.count(self.silence.find_stale(self.clock_ms))

    def process(self, readings: Readings) -> Iterator[Outcome[ResultT]]:
        """Take a batch in, an outcome for each item drawn; draw all before the next call of anything."""
        for piece in self._cut_at_hours(readings):
            clock_ms = int(run_clock(piece, self.clock_ms)[0])
            if clock_ms // HOUR_MS > self.clock_ms // HOUR_MS:
                yield from self._retire(clock_ms)
            yield from self._process(piece)

    def _process(self, readings: Readings) -> Iterator[Outcome[ResultT]]:
        placed = self.intake.place(readings)
        self.lives.hear(placed.series, placed.clock_ms)
        alerts = self.silence.hear(placed.series, placed.clock_ms)
        cadence_ms, table = self.intake.table.columns["cadence_ms"], self.intake.table
        series = placed.steps.series
        self.anomalies.declare_new(series)
        told: list[Placed] = []
        judged: list[Judged] = []
        for wave, rows in self._engine.step_rows(placed.steps):
            places = series[rows]
            stepped = SteppedWave(
                wave=wave,
                series=table.names(places),
                step_ms=cadence_ms[places],
                fault=placed.steps.fault[rows],
                readings_learned=self.lives.accepted[places],
            )
            yield Outcome(stepped=stepped)
            if (find_alarms := getattr(wave.result, "find_alarms", None)) is not None:
                judged.append((find_alarms, rows, wave.event_time_ms, wave.value))
            if len(judged) >= MOST_WAVES:
                told += self._watch(judged, series)
        told += self._watch(judged, series)
        told += self.alerts.watch(placed.steps)
        alerts = self._add_learned(alerts)
        alerts += self._add_learned_by_row(sorted(told, key=lambda one: one[0]), placed.steps)
        self.lives.learn(placed.steps)
        if alerts or placed.rejected:
            yield Outcome(alerts=tuple(alerts), rejected=placed.rejected)

    def _watch(self, judged: list[Judged], series: Int64Array) -> list[Placed]:
        """Messages of these waves, which leave the list. series: of the steps that they are of."""
        told: list[Placed] = []
        for find_alarms, rows, time_ms, value in judged:
            told += self.anomalies.watch(find_alarms(), rows, series[rows], time_ms, value)
        judged.clear()
        return told

    def check_silence(self, now_ms: int, read_to_end: bool) -> list[Alert]:
        """Alerts of live series that have fallen silent by the wall clock; see `Silence.check`."""
        return self._add_learned(self.silence.check(now_ms, read_to_end))

    def take_freed(self) -> Int64Array:
        """Slots of series that were forgotten since the last call; others may have them by now."""
        freed, self._freed = self._freed, []
        return np.concatenate([np.empty(0, np.int64), *freed])

    def list_series(self) -> tuple[str, ...]:
        """Ids of all series."""
        return self.intake.table.ids

    def list_slots(self) -> dict[str, int]:
        """Slots of all series by id; NO_SLOT of those whose cadence is not known yet."""
        table = self.intake.table
        return dict(zip(table.ids, table.columns["slot"][table.places].tolist(), strict=True))

    def profile(self, series: str) -> Profile:
        """What is declared of a series, for who shows it."""
        declared = self._find_settings(series)
        return Profile(series=series, name=declared.name, unit=declared.unit, labels=declared.labels)

    def find_slot(self, series: str) -> int | None:
        """Of a series in the bank; None where it is not known, or has no cadence yet."""
        at = self.intake.table.find(series)
        slot = NO_SLOT if at < 0 else int(self.intake.table.columns["slot"][at])
        return None if slot == NO_SLOT else slot

    def describe(self, series: str) -> dict[str, object] | None:
        """What is known of one series, in plain values; None where it is not known here."""
        at = self.intake.table.find(series)
        if at < 0:
            return None
        columns, declared = self.intake.table.columns, self._find_settings(series)
        states = self.lives.find_states(self.silence.find_stale(self.clock_ms))
        accepted, heard_ms = int(self.lives.accepted[at]), int(self.lives.heard_ms[at])
        return {
            "series": series,
            "name": declared.name,
            "unit": declared.unit,
            "labels": dict(declared.labels),
            "state": STATES[states[at]],
            "cadence_ms": int(columns["cadence_ms"][at]) or None,
            "season_ms": int(columns["season_ms"][at]),
            "mode": "by_exception" if columns["by_exception"][at] else "sampled",
            "readings_learned": accepted,
            "readings_needed": max(self.options.life.warm_readings - accepted, 0),
            "heard": heard_ms,
            "firing": [alert.kind for alert in self.list_firing() if alert.series == series],
        }

    def survey(self) -> Survey:
        """How all series stand now, as copies that stay as they are while the shard goes on."""
        table = self.intake.table
        places = table.places
        states = self.lives.find_states(self.silence.find_stale(self.clock_ms))
        return Survey(
            ids=table.ids,
            slot=table.columns["slot"][places],
            state=states[places],
            accepted=self.lives.accepted[places],
            heard_ms=self.lives.heard_ms[places],
            warm_readings=self.options.life.warm_readings,
            num_retired=self.lives.num_retired,
        )

    def list_firing(self) -> list[Alert]:
        """Alerts that fire now, as after a load: for who shows them, not to be sent again."""
        kinds = (self.anomalies, self.alerts, self.silence)
        return self._add_learned([alert for kind in kinds for alert in kind.list_firing(self.clock_ms)])

    def declare(self, settings: Settings) -> list[Alert]:
        """Take over what is now declared of the series, as after the series file was read again.

        To be called right before a checkpoint, which stores it. A series whose cadence or season is another
        begins anew; the alerts of such a series resolve.
        """
        self._settings = settings
        table, options = self.intake.table, self.options.intake
        anew = []
        for at in table.places.tolist():
            declared = settings(table.name(at))
            table.declare(at, declared)
            cadence_ms = declared.cadence_ms or options.cadence_ms or NO_CADENCE
            season_ms = options.season_ms if declared.season_ms is None else declared.season_ms
            is_other = cadence_ms not in (NO_CADENCE, table.columns["cadence_ms"][at])
            if is_other or season_ms != table.columns["season_ms"][at]:
                anew.append(at)
        self.intake.fill_limits(table.places.tolist())
        alerts = self._forget(anew, self.clock_ms)
        self.anomalies.declare(table.places)
        return alerts

    def save(self) -> dict[str, torch.Tensor]:
        """The whole state: the bank's under its own names, the rest under ``intake.``, ``lives.``,
        ``sensor_alerts.`` and ``silence.``; shares no memory with the shard."""
        state = self.bank.save()
        for part in (
            self.intake.save(),
            self.lives.save("lives"),
            self.alerts.save("sensor_alerts"),
            self.anomalies.save("anomalies"),
            self.silence.save("silence"),
        ):
            state.update(part)
        return state

    def load(
        self, state: Mapping[str, torch.Tensor], signatures: Mapping[str, str] | None = None
    ) -> list[str]:
        """Continue from what `save` returned; only a fresh shard can. Sentences say what could not go on.

        signatures: of the bank whose state it is; None: it was built alike. Raises KeyError or ValueError
        where the state is of another make; the shard is then unusable.
        """
        notes = self.bank.load(state, signatures)
        self.intake.load(state)
        self.lives.load("lives", state)
        self.alerts.load("sensor_alerts", state)
        self.anomalies.load("anomalies", state)
        self.silence.load("silence", state)
        return notes

    def _retire(self, clock_ms: int) -> Iterator[Outcome[ResultT]]:
        places = self.lives.find_retired(clock_ms)
        alerts = self._forget(places, clock_ms)
        if alerts:
            yield Outcome(alerts=tuple(alerts))

    def _forget(self, places: list[int], clock_ms: int) -> list[Alert]:
        if not places:
            return []
        kinds = (self.anomalies, self.alerts, self.silence)
        alerts = self._add_learned([alert for kind in kinds for alert in kind.retire(places, clock_ms)])
        slots = self.intake.table.columns["slot"][places]
        freed = slots[slots != NO_SLOT]
        if freed.size:
            self.bank.remove(freed)
            self._freed.append(freed)
        self.lives.forget(places)
        self.intake.forget(places)
        return alerts

    def _add_learned(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Each with how many readings of its series were learnt by now."""
        places = [self.intake.table.find(alert.series) for alert in alerts]
        learned = self.lives.accepted[places].tolist()
        return [replace(alert, readings_learned=n) for alert, n in zip(alerts, learned, strict=True)]

    def _add_learned_by_row(self, told: Sequence[Placed], steps: Steps) -> list[Alert]:
        """Likewise, up to the row that each alert is about: the rest of a batch is a matter of its cut."""
        before = self._add_learned([alert for _, alert in told])
        found = []
        for (row, _), alert in zip(told, before, strict=True):
            here = steps.series[: row + 1] == steps.series[row]
            learned = (alert.readings_learned or 0) + int((here & ~steps.masked[: row + 1]).sum())
            found.append(replace(alert, readings_learned=learned))
        return found

    def _cut_at_hours(self, readings: Readings) -> Iterator[Readings]:
        """Pieces of a batch, cut before each reading at which the shard clock crosses a whole hour."""
        if self.options.life.retire_after_ms is None:
            bounds = np.array([0, len(readings)] if len(readings) else [], np.int64)
        else:
            hour = run_clock(readings, self.clock_ms) // HOUR_MS
            bounds = np.array([0, *(np.flatnonzero(np.diff(hour)) + 1), len(readings)], np.int64)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if stop > start:
                yield _slice(readings, start, stop)

    def _find_settings(self, name: str) -> SeriesSettings:
        return self._settings(name)

    def _is_misplaced(self, name: str) -> bool:
        if self.options.intake.placement == "producer":
            return False
        return find_partition(name, self._partitions) != self.partition


def _slice(readings: Readings, start: int, stop: int) -> Readings:
    if start == 0 and stop == len(readings):
        return readings

    def cut(column: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        return column[start:stop]

    return Readings(
        series=readings.series,
        series_index=cut(readings.series_index),
        event_time_ms=cut(readings.event_time_ms),
        value=cut(readings.value),
        fault=None if readings.fault is None else cut(readings.fault),
        clock_ms=None if readings.clock_ms is None else cut(readings.clock_ms),
        message=None if readings.message is None else cut(readings.message),
        index=None if readings.index is None else cut(readings.index),
    )
