"""The recent course of a bounded number of series: values, and what was said of them some steps before.

Letters: M series, T steps of the past, N rows of a wave, E forecasters, L steps ahead.

While there is room, every series is followed; after that, one that somebody asks for, or that alerts, takes
the place of the one that was asked for least lately. 15 MB at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasters import Result
from forecasters.recall import Recall
from pipeline.engine.shard import SteppedWave
from pipeline.issued import pick
from pipeline.ports import Partition
from pipeline.records import BoolArray, Float64Array, Int64Array

MOST_SERIES = 256
LENGTH = 360
"""Steps kept of each: six hours of minutes."""
MOST_AT_ONCE = 8
"""Taken up in one turn of the runner: a flood of alerts must not hold it up, and pages ask again."""
NOWHERE = -1

Key = tuple[Partition, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One series, oldest first: T' times of readings, and times that forecasts were about.

    value `[T']`: NaN where masked or none came; base `[T']`: the last value by then, NaN in the future. mean,
    lower, upper `[T', E]`: what was said `step` steps before about these times, NaN where nothing was; naive
    `[T']`: the last value of then.
    """

    forecasters: tuple[str, ...]
    step: int
    event_time_ms: Int64Array  # [T']
    value: Float64Array
    base: Float64Array
    naive: Float64Array
    mean: Float64Array
    lower: Float64Array
    upper: Float64Array
    is_past: BoolArray  # [T'] false for times still to come


@dataclass(frozen=True, slots=True)
class _Rows:
    """Of a wave of these series in these slots: rows that are followed, and their places."""

    series: list[str]
    slots: Int64Array
    rows: Int64Array
    places: Int64Array


class Tracks:
    """`add` and `find_wanted` belong on the runner's thread, `course` on any other."""

    def __init__(
        self,
        names: Sequence[str],
        shown: Sequence[str],
        steps: Sequence[int],
        *,
        most: int = MOST_SERIES,
        length: int = LENGTH,
    ) -> None:
        """names: of the bank; shown: those of them to keep; steps: those ahead to keep, from 1."""
        self.shown, self.steps = tuple(shown), tuple(steps)
        self._most, self._length = most, length
        self._forecaster_at = tuple(list(names).index(name) for name in shown)
        self._lock = threading.Lock()
        self._places: dict[Key, int] = {}
        self._keys: list[Key] = []
        self._by_slot: dict[Partition, Int64Array] = {}
        self._last: dict[Partition, _Rows] = {}
        self._wanted: dict[Key, None] = {}
        self._asked: dict[Key, None] = {}
        """In the order in which they were last asked for."""
        self._grow(0)

    def _grow(self, size: int) -> None:
        shape = (self._length, size)
        kept = self._count.size if size else 0
        fresh = {
            "_time_TM": np.zeros(shape, np.int64),
            "_cadence_M": np.zeros(size, np.int64),
            "_value_TM": np.full(shape, np.nan),
            "_base_TM": np.full(shape, np.nan),
            "_said_TM2EL": np.full((*shape, 2, len(self.shown), len(self.steps)), np.nan, np.float32),
            "_count": np.zeros(size, np.int64),
        }
        for name, column in fresh.items():
            if kept:
                (column[:, :kept] if name.count("T") else column[:kept])[...] = getattr(self, name)
            setattr(self, name, column)

    # T first: what a wave writes of all series lies side by side
    _time_TM: Int64Array
    _cadence_M: Int64Array
    _value_TM: Float64Array
    _base_TM: Float64Array
    _said_TM2EL: npt.NDArray[np.float32]
    _count: Int64Array

    # -- the runner's thread -----------------------------------------------------------------------------

    def add(self, partition: Partition, stepped: SteppedWave[Result]) -> None:
        """Take what a wave says about the series that are followed."""
        rows, places = self._find_rows(partition, stepped)
        if not rows.size:
            return
        wave = stepped.wave
        said_N2EL = self._choose(wave.result, rows)
        base_N = wave.result.base.cpu().numpy()[rows]
        value_N = np.where(wave.masked[rows], np.nan, wave.value[rows])
        with self._lock:
            at = self._count[places] % self._length
            self._time_TM[at, places] = wave.event_time_ms[rows]
            self._value_TM[at, places] = value_N
            self._base_TM[at, places] = base_N
            self._said_TM2EL[at, places] = said_N2EL
            self._count[places] += 1
            self._cadence_M[places] = stepped.step_ms[rows]

    def _find_rows(self, partition: Partition, stepped: SteppedWave[Result]) -> tuple[Int64Array, Int64Array]:
        """Rows of the series that are followed, and their places; those of the last wave where it was of the
        same series and no place has changed hands since."""
        last, slots = self._last.get(partition), stepped.wave.slots
        if last and last.series == stepped.series and np.array_equal(last.slots, slots):
            return last.rows, last.places
        by_slot = self._widen(partition, int(slots.max(initial=-1)) + 1)
        places = by_slot[slots]
        if len(self._keys) < self._most and (places == NOWHERE).any():
            self._admit_rows(partition, stepped, places)
        rows = np.flatnonzero(places != NOWHERE)
        for row in rows.tolist():
            if self._keys[places[row]][1] != stepped.series[row]:  # a retired one's slot, taken anew
                places[row] = self._rename(int(places[row]), (partition, stepped.series[row]))
        last = _Rows([*stepped.series], slots.copy(), rows, places[rows])
        self._last[partition] = last
        return last.rows, last.places

    def find_wanted(self, remember: Callable[[Key], tuple[int, Recall] | None]) -> None:
        """Begin to follow what was asked for; `remember` gives slot and past, None where it is gone."""
        with self._lock:
            wanted, self._wanted = list(self._wanted), {}
        for key in wanted[-MOST_AT_ONCE:]:
            if key in self._places or (found := remember(key)) is None:
                continue
            slot, past = found
            place = self._make_room(key)
            self._widen(key[0], slot + 1)[slot] = place
            kept = slice(-self._length, None)
            said_T2EL = np.stack([past.departure, past.half], 1).astype(np.float32)[kept]
            size = len(said_T2EL)
            with self._lock:
                self._time_TM[:size, place] = past.event_time_ms[kept]
                self._value_TM[:size, place] = past.value[kept]
                self._base_TM[:size, place] = past.base[kept]
                self._said_TM2EL[:size, place] = said_T2EL
                self._count[place] = size
                self._cadence_M[place] = past.cadence_ms

    def forget(self, partitions: Mapping[Partition, object]) -> None:
        """Follow series of these partitions only; the places of others go to whoever comes."""
        for partition in [each for each in self._by_slot if each not in partitions]:
            del self._by_slot[partition]
            self._last.pop(partition, None)
            for key in [key for key in self._places if key[0] == partition]:
                with self._lock:
                    self._count[self._places[key]] = 0

    def _choose(self, result: Result, rows: Int64Array) -> npt.NDArray[np.float32]:
        """`[N, 2, E, L]` departures and halves of these rows."""
        shape = (len(self.shown), len(self.steps))
        found = np.empty((rows.size, 2, *shape), np.float32)
        for at, columns_EHR in enumerate((result.departure_EHR, result.half_EHR)):
            picked_KR = pick(columns_EHR, self._forecaster_at, self.steps)
            found[:, at] = picked_KR.take(rows, 1).reshape(*shape, -1).transpose(2, 0, 1)
        return found

    def _widen(self, partition: Partition, slots: int) -> Int64Array:
        by_slot = self._by_slot.get(partition, np.empty(0, np.int64))
        if by_slot.size < slots:
            more = max(slots, 2 * by_slot.size) - by_slot.size
            by_slot = np.concatenate([by_slot, np.full(more, NOWHERE, np.int64)])
        self._by_slot[partition] = by_slot
        return by_slot

    def _admit_rows(self, partition: Partition, stepped: SteppedWave[Result], places: Int64Array) -> None:
        for row in np.flatnonzero(places == NOWHERE).tolist():
            if len(self._keys) >= self._most:
                return
            places[row] = place = self._make_room((partition, stepped.series[row]))
            self._by_slot[partition][stepped.wave.slots[row]] = place

    def _make_room(self, key: Key) -> int:
        """A place for a series; the one that it has, if its slot has changed."""
        if key in self._places:
            place = self._places[key]
        elif len(self._keys) < self._most:
            place = len(self._keys)
            with self._lock:
                if place >= self._count.size:
                    self._grow(min(max(2 * place, 64), self._most))
                self._keys.append(key)
                self._places[key] = place
            self._last.clear()
            return place
        else:
            with self._lock:
                least = next((k for k in self._places if k not in self._asked), None)
                place = self._places[least or next(k for k in self._asked if k in self._places)]
        for by_slot in self._by_slot.values():
            by_slot[by_slot == place] = NOWHERE
        return self._rename(place, key)

    def _rename(self, place: int, key: Key) -> int:
        self._last.clear()
        with self._lock:
            before = self._keys[place]
            self._places.pop(before, None)
            self._asked.pop(before, None)
            self._keys[place] = key
            self._places[key] = place
            self._count[place] = 0
            self._said_TM2EL[:, place] = np.nan
        return place

    # -- other threads -----------------------------------------------------------------------------------

    def want(self, partition: Partition, series: str) -> None:
        """Follow this series from the next turn of the runner on, or go on with it."""
        key = (partition, series)
        with self._lock:
            self._asked.pop(key, None)
            self._asked[key] = None
            if key not in self._places:
                self._wanted[key] = None
            while len(self._asked) > self._most:
                self._asked.pop(next(iter(self._asked)))

    def course(self, partition: Partition, series: str, step: int) -> Course | None:
        """What was said `step` steps before each time; None while the series is not followed.

        Raises ValueError for a step that is not kept.
        """
        if step not in self.steps:
            raise ValueError(f"step: expected one of {', '.join(map(str, self.steps))}, got {step}")
        with self._lock:
            place = self._places.get((partition, series))
            if place is None or not self._count[place]:
                return None
            count = int(self._count[place])
            order = np.arange(max(count - self._length, 0), count) % self._length
            time_T, value_T, base_T = (
                column[order, place] for column in (self._time_TM, self._value_TM, self._base_TM)
            )
            said_T2E = self._said_TM2EL[order, place, :, :, self.steps.index(step)].astype(np.float64)
            ahead_ms = step * int(self._cadence_M[place])
        return self._align(step, time_T, value_T, base_T, said_T2E, ahead_ms)

    def _align(
        self,
        step: int,
        time_T: Int64Array,
        value_T: Float64Array,
        base_T: Float64Array,
        said_T2E: Float64Array,
        ahead_ms: int,
    ) -> Course:
        """Bring forecasts to the times that they are about. Such a time without a reading of its own (a gap,
        a sensor by exception, the future) is a time of the course without a value."""
        target_T = time_T + ahead_ms if ahead_ms else time_T[:0]
        times = np.union1d(time_T, target_T[target_T >= time_T[0]])
        own, about = np.searchsorted(times, time_T), np.searchsorted(times, target_T)
        is_past = times <= time_T[-1]
        value = np.full(times.size, np.nan)
        value[own] = value_T
        held = base_T[np.searchsorted(time_T, times, side="right") - 1]
        mean = np.full((times.size, len(self.shown)), np.nan)
        half, naive = np.full_like(mean, np.nan), np.full(times.size, np.nan)
        if about.size:
            mean[about] = base_T[:, None] + said_T2E[:, 0]
            half[about] = said_T2E[:, 1]
            naive[about] = base_T
        return Course(
            forecasters=self.shown,
            step=step,
            event_time_ms=times,
            value=value,
            base=np.where(is_past, held, np.nan),
            naive=naive,
            mean=mean,
            lower=mean - half,
            upper=mean + half,
            is_past=is_past,
        )
