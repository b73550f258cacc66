"""Which series of a worker have values of their own on /metrics, and what was said of them some steps ago.

The set is bounded: what somebody watches, then series with an alert (until 15 minutes after it), then the
worst by scaled error. Letters: N rows of a wave, P shown series, E forecasters, L steps, R ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from forecasters import Result
from pipeline.engine.shard import Shard, SteppedWave
from pipeline.issued import pick
from pipeline.ports import Partition
from pipeline.records import Alert, Float64Array, Int64Array, Profile, Shown

AFTER_ALERT_S = 900.0
"""Whoever looks at a message finds the series still there."""
NOT_SHOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowcaseOptions:
    """forecasters, steps: whose forecasts of shown series are exported, made how many steps ago."""

    forecasters: tuple[str, ...]
    steps: tuple[int, ...]
    max_series: int
    """Beside the watched ones."""
    is_watched: Callable[[str], bool]
    champion: str
    """Whose errors say which series are the worst."""


class Said:
    """Forecasts of the shown series of a shard that wait for the reading they are about: `[P, L, R]` rings,
    where the place of a target is its number on the grid modulo R = the largest step + 1."""

    def __init__(self, num_series: int, num_forecasters: int, steps: Sequence[int]) -> None:
        self._steps = np.array(steps, np.int64)
        self._ring = int(self._steps.max(initial=0)) + 1
        self._columns = np.arange(len(steps))
        shape = (num_series, len(steps), self._ring)
        self._target_ms = np.full(shape, np.iinfo(np.int64).min)
        self._values = np.full((*shape, num_forecasters, 3), np.nan, np.float32)

    def adopt(self, other: Said, mine: Int64Array, theirs: Int64Array) -> None:
        """Take over what another has on the same series."""
        self._target_ms[mine] = other._target_ms[theirs]
        self._values[mine] = other._values[theirs]

    def take(self, places: Int64Array, time_ms: Int64Array, step_ms: Int64Array) -> Float64Array:
        """`[N, L, E, 3]` mean, lower and upper said about these times; NaN where nothing was."""
        at = (time_ms // step_ms) % self._ring
        is_about = self._target_ms[places, :, at] == time_ms[:, None]
        values = self._values[places, :, at]
        return np.where(is_about[:, :, None, None], values, np.nan).astype(np.float64)

    def put(self, places: Int64Array, time_ms: Int64Array, step_ms: Int64Array, values: Float64Array) -> None:
        """Keep what is said now: values `[N, L, E, 3]`."""
        target_ms = time_ms[:, None] + step_ms[:, None] * self._steps
        at = (target_ms // step_ms[:, None]) % self._ring
        self._target_ms[places[:, None], self._columns, at] = target_ms
        self._values[places[:, None], self._columns, at] = values


@dataclass(slots=True)
class _Room:
    """The shown series of one shard."""

    names: tuple[str, ...]
    num_unwatched: int
    said: Said
    place: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[S] by slot: place among the shown, or NOT_SHOWN."""
    last: tuple[Int64Array, Int64Array, Int64Array] | None = None
    """Slots of the last wave, rows of it that are shown, and their places."""

    def find_rows(self, slots: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Rows that are shown, and their places: those of the last wave where slots are the same."""
        if self.last is None or not np.array_equal(self.last[0], slots):
            place = self.place[np.minimum(slots, self.place.size - 1)]
            rows = np.flatnonzero((place != NOT_SHOWN) & (slots < self.place.size))
            self.last = slots.copy(), rows, place[rows]
        return self.last[1:]

    def leave(self, slots: Int64Array) -> None:
        self.place[slots[slots < self.place.size]] = NOT_SHOWN
        self.last = None


class Showcase:
    """Chooses the shown series now and then, and picks their rows out of each wave. Not thread-safe."""

    def __init__(self, options: ShowcaseOptions, names: Sequence[str], clock: Callable[[], float]) -> None:
        """names: of the bank's forecasters; clock: monotonic seconds."""
        self.options = options
        self._at = tuple(list(names).index(name) for name in options.forecasters)
        self._clock = clock
        self._rooms: dict[Partition, _Room] = {}
        self._alerted: dict[str, float] = {}  # until when a series is shown
        self._watched: dict[str, bool] = {}

    def hear(self, alerts: Iterable[Alert]) -> None:
        """Series with an alert are shown from the next choice on."""
        for alert in alerts:
            if alert.state == "firing":
                self._alerted[alert.series] = float("inf")
            elif alert.state == "resolved":
                self._alerted[alert.series] = self._clock() + AFTER_ALERT_S

    def choose(self, partition: Partition, shard: Shard[Result]) -> tuple[Profile, ...]:
        """Choose anew among the series of a shard; what is known of the chosen ones."""
        now_s = self._clock()
        self._alerted = {series: until for series, until in self._alerted.items() if until > now_s}
        slots = shard.list_slots()
        chosen = {series for series in slots if self._is_watched(series)}
        taken = sum(room.num_unwatched for at, room in self._rooms.items() if at != partition)
        most = len(chosen) + max(self.options.max_series - taken, 0)
        alerted = [series for series in self._alerted if series in slots]
        for series in (*alerted, *self._find_worst(shard, slots, most)):
            if len(chosen) >= most:
                break
            chosen.add(series)
        names = tuple(sorted(chosen))
        self._put(partition, names, [slots[name] for name in names])
        return tuple(shard.profile(name) for name in names)

    def take(self, partition: Partition, stepped: SteppedWave[Result]) -> Callable[[], Shown] | None:
        """The shown series of a wave beside what was said about them; None where there are none. To be called
        once some more waves were stepped: scores take less time together (`forecasters.backlog`)."""
        room = self._rooms.get(partition)
        if room is None or not room.place.size:
            return None
        wave = stepped.wave
        rows, places = room.find_rows(wave.slots)
        if not rows.size:
            return None
        time_ms, step_ms = wave.event_time_ms[rows], stepped.step_ms[rows]
        said, find_alarms = room.said.take(places, time_ms, step_ms), wave.result.find_alarms
        learned = stepped.readings_learned[rows]
        last = wave.result.base.cpu().numpy()[rows]
        room.said.put(places, time_ms, step_ms, self._pick(wave.result, rows, last))
        shown = Shown(
            places=places,
            # a sensor that nobody watched is shown from its alert on: what it measured last is known here
            value=np.where(wave.masked[rows], np.where(learned > 0, last, np.nan), wave.value[rows]),
            fault=stepped.fault[rows],
            said=said,
            readings_learned=learned,
        )
        if find_alarms is None:
            return lambda: shown
        return lambda: replace(shown, score=find_alarms().score[rows].astype(np.float64))

    def forget(self, partition: Partition) -> None:
        """The shard is another worker's."""
        self._rooms.pop(partition, None)

    def leave(self, partition: Partition, slots: Int64Array) -> None:
        """These slots belong to other series from now on."""
        if (room := self._rooms.get(partition)) is not None:
            room.leave(slots)

    def _pick(self, result: Result, rows: Int64Array, base_N: Float64Array) -> Float64Array:
        """`[N, L, E, 3]` mean, lower and upper of what is said now, as it is sent."""
        departure_ELN, half_ELN = (
            pick(part, self._at, self.options.steps)
            .take(rows, 1)
            .reshape(len(self._at), len(self.options.steps), -1)
            for part in (result.departure_EHR, result.half_EHR)
        )
        said_3ELN = np.stack([departure_ELN, departure_ELN - half_ELN, departure_ELN + half_ELN])
        return (base_N + said_3ELN).transpose(3, 2, 1, 0)

    def _put(self, partition: Partition, names: tuple[str, ...], slots: Sequence[int]) -> None:
        before = self._rooms.get(partition)
        said = Said(len(names), len(self._at), self.options.steps)
        if before is not None:
            places = {name: at for at, name in enumerate(before.names)}
            kept = [(at, places[name]) for at, name in enumerate(names) if name in places]
            mine, theirs = np.array(kept, np.int64).reshape(-1, 2).T
            said.adopt(before.said, mine, theirs)
        room = _Room(names, sum(not self._is_watched(name) for name in names), said)
        known = [(slot, at) for at, slot in enumerate(slots) if slot >= 0]
        room.place = np.full(max((slot for slot, _ in known), default=-1) + 1, NOT_SHOWN)
        for slot, at in known:
            room.place[slot] = at
        self._rooms[partition] = room

    def _is_watched(self, series: str) -> bool:
        found = self._watched.get(series)
        if found is None:
            found = self._watched[series] = self.options.is_watched(series)
        return found

    def _find_worst(self, shard: Shard[Result], slots: dict[str, int], most: int) -> list[str]:
        """Series by mean scaled error, the worst first."""
        error = shard.bank.series_error(self.options.champion) if most else np.empty(0)
        if not error.size:
            return []
        names, at = list(slots), np.array(list(slots.values()), np.int64)
        own = np.where(at >= 0, error[np.maximum(at, 0)], np.nan)
        order = np.argsort(-np.nan_to_num(own, nan=-1.0), kind="stable")[:most]
        return [names[k] for k in order.tolist() if np.isfinite(own[k])]
