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
import torch

from forecasters import Result
from forecasters.recall import Recall
from pipeline.engine.shard import SteppedWave
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
    """One series, oldest first; T' times, of which the last T' - T are still to come.

    value `[T']`: NaN where masked; base `[T']`: the last value by then. mean, lower, upper `[T', E]`: what
    was said `step` steps before about these times, NaN where nothing was; naive `[T']`: the last value of
    then.
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
        self._forecaster_at = torch.tensor([list(names).index(name) for name in shown], dtype=torch.int64)
        self._step_at = torch.tensor(self.steps, dtype=torch.int64) - 1
        self._lock = threading.Lock()
        self._places: dict[Key, int] = {}
        self._keys: list[Key] = []
        self._by_slot: dict[Partition, Int64Array] = {}
        self._wanted: dict[Key, None] = {}
        self._asked: dict[Key, None] = {}
        """In the order in which they were last asked for."""
        self._grow(0)

    def _grow(self, size: int) -> None:
        shape = (size, self._length)
        kept = self._count.size if size else 0
        fresh = {
            "_time_MT": np.zeros(shape, np.int64),
            "_cadence_M": np.zeros(size, np.int64),
            "_value_MT": np.full(shape, np.nan),
            "_base_MT": np.full(shape, np.nan),
            "_said_MTEL2": np.full((*shape, len(self.shown), len(self.steps), 2), np.nan, np.float32),
            "_count": np.zeros(size, np.int64),
        }
        for name, column in fresh.items():
            if kept:
                column[:kept] = getattr(self, name)
            setattr(self, name, column)

    _time_MT: Int64Array
    _cadence_M: Int64Array
    _value_MT: Float64Array
    _base_MT: Float64Array
    _said_MTEL2: np.ndarray
    _count: Int64Array

    # -- the runner's thread -----------------------------------------------------------------------------

    def add(self, partition: Partition, stepped: SteppedWave[Result]) -> None:
        """Take what a wave says about the series that are followed."""
        wave = stepped.wave
        by_slot = self._widen(partition, int(wave.slots.max(initial=-1)) + 1)
        places = by_slot[wave.slots]
        if len(self._keys) < self._most and (places == NOWHERE).any():
            self._admit_rows(partition, stepped, places)
        rows = np.flatnonzero(places != NOWHERE)
        for row in rows.tolist():
            if self._keys[places[row]][1] != stepped.series[row]:  # a retired one's slot, taken anew
                places[row] = self._rename(int(places[row]), (partition, stepped.series[row]))
        if not rows.size:
            return
        result, at = wave.result, torch.from_numpy(rows).to(wave.result.base.device)
        said = torch.stack([self._choose(result.departure, at), self._choose(result.half, at)], -1)
        said_NEL2, base_N = said.cpu().numpy(), result.base[at].cpu().numpy()
        value_N = np.where(wave.masked[rows], np.nan, wave.value[rows])
        with self._lock:
            self._put(places[rows], wave.event_time_ms[rows], value_N, base_N, said_NEL2)
            self._cadence_M[places[rows]] = stepped.step_ms[rows]

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
            said_TEL2 = np.stack([past.departure, past.half], -1).astype(np.float32)[kept]
            size = len(said_TEL2)
            with self._lock:
                self._time_MT[place, :size] = past.event_time_ms[kept]
                self._value_MT[place, :size] = past.value[kept]
                self._base_MT[place, :size] = past.base[kept]
                self._said_MTEL2[place, :size] = said_TEL2
                self._count[place] = size
                self._cadence_M[place] = past.cadence_ms

    def forget(self, partitions: Mapping[Partition, object]) -> None:
        """Follow series of these partitions only; the places of others go to whoever comes."""
        for partition in [each for each in self._by_slot if each not in partitions]:
            del self._by_slot[partition]
            for key in [key for key in self._places if key[0] == partition]:
                with self._lock:
                    self._count[self._places[key]] = 0

    def _choose(self, found: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        device = found.device
        chosen = found.index_select(0, at).index_select(1, self._forecaster_at.to(device))
        return chosen.index_select(2, self._step_at.to(device))

    def _put(
        self,
        places: Int64Array,
        time_N: Int64Array,
        value_N: Float64Array,
        base_N: Float64Array,
        said: np.ndarray,
    ) -> None:
        at = self._count[places] % self._length
        self._time_MT[places, at] = time_N
        self._value_MT[places, at] = value_N
        self._base_MT[places, at] = base_N
        self._said_MTEL2[places, at] = said
        self._count[places] += 1

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
            return place
        else:
            with self._lock:
                least = next((k for k in self._places if k not in self._asked), None)
                place = self._places[least or next(k for k in self._asked if k in self._places)]
        for by_slot in self._by_slot.values():
            by_slot[by_slot == place] = NOWHERE
        return self._rename(place, key)

    def _rename(self, place: int, key: Key) -> int:
        with self._lock:
            before = self._keys[place]
            self._places.pop(before, None)
            self._asked.pop(before, None)
            self._keys[place] = key
            self._places[key] = place
            self._count[place] = 0
            self._said_MTEL2[place] = np.nan
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
                column[place, order] for column in (self._time_MT, self._value_MT, self._base_MT)
            )
            said_TE2 = self._said_MTEL2[place, order][:, :, self.steps.index(step)].astype(np.float64)
            ahead_ms = step * int(self._cadence_M[place])
        return self._align(step, time_T, value_T, base_T, said_TE2, ahead_ms)

    def _align(
        self,
        step: int,
        time_T: Int64Array,
        value_T: Float64Array,
        base_T: Float64Array,
        said_TE2: np.ndarray,
        ahead_ms: int,
    ) -> Course:
        """Bring forecasts to the times that they are about. A gap that was not stepped through leaves targets
        that are no times of the series: these are left out."""
        target_T = time_T + ahead_ms
        future = target_T[target_T > time_T[-1]] if ahead_ms else time_T[:0]
        times = np.concatenate([time_T, future])
        at = np.searchsorted(times, target_T)
        known = (at < times.size) & (times[np.minimum(at, times.size - 1)] == target_T) & (ahead_ms > 0)
        mean = np.full((times.size, len(self.shown)), np.nan)
        half, naive = np.full_like(mean, np.nan), np.full(times.size, np.nan)
        mean[at[known]] = (base_T[:, None] + said_TE2[..., 0])[known]
        half[at[known]] = said_TE2[known][..., 1]
        naive[at[known]] = base_T[known]
        return Course(
            forecasters=self.shown,
            step=step,
            event_time_ms=times,
            value=np.concatenate([value_T, np.full(future.size, np.nan)]),
            base=np.concatenate([base_T, np.full(future.size, np.nan)]),
            naive=naive,
            mean=mean,
            lower=mean - half,
            upper=mean + half,
            is_past=np.arange(times.size) < time_T.size,
        )
