"""Where a reading lies on its series' grid, and which fate that gives it.

Columns are [N] readings or steps in log order, or [S] series in order of first appearance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from forecasters import LARGEST_VALUE
from pipeline.records import BoolArray, Float64Array, Int64Array, Readings

FATES = (
    "accepted",
    "masked_missing",  # a reading without a usable value
    "masked_gap",  # a step that fills a gap; the only fate that is no reading's
    "dropped_duplicate",  # the time of the reading that has the cell
    "dropped_late",  # a cell before the series' last one
    "merged",  # another time in the cell that a reading already has
    "rejected_too_many_series",
)
_NO_CELL = -1  # the first reading of a series has cell 0, so nothing lies between
_NO_SLOT = -1
_MAX_KEY = 2**62


class Register(Protocol):
    """Gives series their slots."""

    def add(
        self, ids: Sequence[str], *, cadence_ms: int | Sequence[int], season_ms: int | Sequence[int]
    ) -> Int64Array:
        """Return a slot [len(ids)] for each new series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeOptions:
    """How readings are laid on a grid. Raises ValueError at a value out of range."""

    cadence_ms: int | None = None
    """Distance of two steps; None infers it from the first readings of each series."""
    season_ms: int = 86_400_000
    max_gap: int = 24
    """So many missing steps in a row are filled with masked ones; after more the series is restarted."""
    cadence_readings: int = 8
    """Readings with times of their own that are held back until their cadence is inferred."""
    max_series: int = 100_000
    """Readings of further series are rejected: invented ids must not use up the memory."""

    def __post_init__(self) -> None:
        lowest = {"cadence_ms": 1, "season_ms": 1, "max_gap": 0, "cadence_readings": 2, "max_series": 1}
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is None and name == "cadence_ms":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"expected {name} to be a whole number of at least {low}, but got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What the bank is to step through, as columns in log order."""

    slot: Int64Array
    event_time_ms: Int64Array  # of the cell: anchor + cell · cadence
    value: Float64Array  # 0 where masked
    masked: BoolArray
    restart: BoolArray  # the first step after a gap longer than max_gap
    reading: Int64Array  # number in the log, from 0 at the intake's first reading; -1 for a filled gap

    def __len__(self) -> int:
        return int(self.slot.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Readings of series whose cadence is known, in the order in which they are placed."""

    series: Int64Array
    event_time_ms: Int64Array
    value: Float64Array
    reading: Int64Array


class Intake:
    """Places readings on the grids of their series.

    The steps and counts do not depend on how the log is cut into batches. The grid of a series is anchored at
    the first time placed. The first reading of a cell wins, so no reading waits for its cell to end.
    Without a configured cadence the first readings of a series are held back and released together, by time,
    at the log place of the one that completes them; the cadence is the median of their gaps.
    """

    def __init__(self, options: IntakeOptions, register: Register) -> None:
        self.options = options
        self.counts: dict[str, int] = dict.fromkeys(FATES, 0)
        self.num_readings = 0
        """Readings seen so far, whatever their fate: the log number of the next one."""
        self._register = register
        self._numbers: dict[str, int] = {}  # id to place in the columns [S]
        self._slot = np.empty(0, np.int64)
        self._cadence_ms = np.empty(0, np.int64)
        self._anchor_ms = np.empty(0, np.int64)
        self._last_cell = np.empty(0, np.int64)
        self._last_time_ms = np.empty(0, np.int64)  # as read, of the reading that has the last cell
        self._held: dict[int, dict[int, tuple[float, int]]] = {}  # series: time: value and log number
        self._cached: tuple[tuple[str, ...], Int64Array] = ((), np.empty(0, np.int64))

    @property
    def series(self) -> tuple[str, ...]:
        """Ids of all series, in order of first appearance."""
        return tuple(self._numbers)

    @property
    def num_held(self) -> int:
        """Readings held back, that have no fate yet."""
        return sum(map(len, self._held.values()))

    def place(self, readings: Readings) -> Steps:
        """Return the steps that this batch gives; adds series whose cadence is known to the register."""
        series = self._number_series(readings)
        known = series >= 0
        self.counts["rejected_too_many_series"] += int(series.size - known.sum())
        number = np.arange(series.size) + self.num_readings
        self.num_readings += series.size
        rows = _Rows(
            series=series[known],
            event_time_ms=readings.event_time_ms[known].astype(np.int64),
            value=readings.value[known].astype(np.float64),
            reading=number[known],
        )
        if self._held:
            rows = self._hold_back(rows)
        return self._place(rows)

    def flush(self) -> Steps:
        """Release, at the end of a file, series of which at least two times are held back.

        Others stay held, counted by ``num_held``.
        """
        ready = [series for series in sorted(self._held) if len(self._held[series]) >= 2]
        rows = [self._release(series) for series in ready]
        self._add(ready)
        return self._place(_concatenate(rows))

    def save(self) -> dict[str, Any]:
        """Return the whole state as arrays and one list of ids."""
        held = [
            (series, time_ms, value, reading)
            for series, readings in self._held.items()
            for time_ms, (value, reading) in readings.items()
        ]
        columns = list(zip(*held, strict=True)) or [(), (), (), ()]
        return {
            "series": list(self._numbers),
            "slot": self._slot.copy(),
            "cadence_ms": self._cadence_ms.copy(),
            "anchor_ms": self._anchor_ms.copy(),
            "last_cell": self._last_cell.copy(),
            "last_time_ms": self._last_time_ms.copy(),
            "held_series": np.array(columns[0], np.int64),
            "held_time_ms": np.array(columns[1], np.int64),
            "held_value": np.array(columns[2], np.float64),
            "held_reading": np.array(columns[3], np.int64),
            "counts": np.array([self.counts[fate] for fate in FATES], np.int64),
            "num_readings": np.array([self.num_readings], np.int64),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``save`` returned; the register must know the same slots."""
        self._numbers = {name: number for number, name in enumerate(state["series"])}
        self._slot = np.array(state["slot"], np.int64)
        self._cadence_ms = np.array(state["cadence_ms"], np.int64)
        self._anchor_ms = np.array(state["anchor_ms"], np.int64)
        self._last_cell = np.array(state["last_cell"], np.int64)
        self._last_time_ms = np.array(state["last_time_ms"], np.int64)
        held = [
            state[name].tolist() for name in ("held_series", "held_time_ms", "held_value", "held_reading")
        ]
        self._held = {}
        for series, time_ms, value, reading in zip(*held, strict=True):
            self._held.setdefault(series, {})[time_ms] = (value, reading)
        self.counts = dict(zip(FATES, state["counts"].tolist(), strict=True))
        self.num_readings = int(state["num_readings"][0])
        self._cached = ((), np.empty(0, np.int64))

    def _number_series(self, readings: Readings) -> Int64Array:
        """Return the place of each reading's series in the columns [S], -1 where there is no room for it."""
        if readings.series is not self._cached[0]:
            known = [self._numbers.get(name, -1) for name in readings.series]
            self._cached = (readings.series, np.array(known, np.int64))
        lookup = self._cached[1]
        unknown = lookup[readings.series_index] < 0
        if unknown.any() and len(self._numbers) < self.options.max_series:
            found, first = np.unique(readings.series_index[unknown], return_index=True)
            room = self.options.max_series - len(self._numbers)
            new = found[np.argsort(first)][:room].tolist()
            for index in new:
                # An id that stands twice in `series` is one series all the same.
                lookup[index] = self._numbers.setdefault(readings.series[index], len(self._numbers))
            self._grow()
        return lookup[readings.series_index]

    def _grow(self) -> None:
        """Make room in the columns for the series that were numbered last."""
        old, num_new = self._slot.size, len(self._numbers) - self._slot.size
        self._slot = np.append(self._slot, np.full(num_new, _NO_SLOT))
        self._cadence_ms = np.append(self._cadence_ms, np.full(num_new, self.options.cadence_ms or 0))
        self._anchor_ms = np.append(self._anchor_ms, np.zeros(num_new, np.int64))
        self._last_cell = np.append(self._last_cell, np.full(num_new, _NO_CELL))
        self._last_time_ms = np.append(self._last_time_ms, np.zeros(num_new, np.int64))
        new = list(range(old, len(self._numbers)))
        if self.options.cadence_ms is None:
            self._held.update((series, {}) for series in new)
        else:
            self._add(new)

    def _add(self, new: list[int]) -> None:
        """Get slots for series whose cadence is known, in this order."""
        if new:
            ids = self.series
            self._slot[new] = self._register.add(
                [ids[series] for series in new],
                cadence_ms=self._cadence_ms[new].tolist(),
                season_ms=self.options.season_ms,
            )

    def _hold_back(self, rows: _Rows) -> _Rows:
        """Take out rows of series without a cadence; put in, at the row that completes them, those held."""
        waiting = np.flatnonzero(self._slot[rows.series] == _NO_SLOT)
        if not waiting.size:
            return rows
        waiting = waiting[np.argsort(rows.series[waiting], kind="stable")]
        starts = np.flatnonzero(np.diff(rows.series[waiting])) + 1
        is_kept = np.ones(rows.series.size, np.bool_)
        released: list[tuple[int, int]] = []  # the completing row, the series
        for group in np.split(waiting, starts):
            num_taken, is_complete = self._hold(rows, group)
            is_kept[group[:num_taken]] = False
            if is_complete:
                released.append((int(group[num_taken - 1]), int(rows.series[group[0]])))
        released.sort()
        parts = [self._release(series) for _, series in released]
        self._add([series for _, series in released])
        kept = np.flatnonzero(is_kept)
        merged = _concatenate([_take(rows, kept), *parts])
        places = [np.full(part.series.size, row) for (row, _), part in zip(released, parts, strict=True)]
        # The completing row itself is not kept, so no two sources share a place.
        return _take(merged, np.argsort(np.concatenate([kept, *places]), kind="stable"))

    def _hold(self, rows: _Rows, group: Int64Array) -> tuple[int, bool]:
        """Hold rows of one series until they are complete; return how many, and whether they are."""
        held = self._held[int(rows.series[group[0]])]
        for num_taken, row in enumerate(group, start=1):
            time_ms = int(rows.event_time_ms[row])
            if time_ms in held:
                self.counts["dropped_duplicate"] += 1  # at once: what is held stays small
                continue
            held[time_ms] = (float(rows.value[row]), int(rows.reading[row]))
            if len(held) >= self.options.cadence_readings:
                return num_taken, True
        return group.size, False

    def _release(self, series: int) -> _Rows:
        """Return what is held of a series, by time, and set its cadence."""
        held = sorted(self._held.pop(series).items())
        event_time_ms = np.array([time_ms for time_ms, _ in held], np.int64)
        self._cadence_ms[series] = max(1, round(float(np.median(np.diff(event_time_ms)))))
        return _Rows(
            series=np.full(len(held), series),
            event_time_ms=event_time_ms,
            value=np.array([value for _, (value, _) in held], np.float64),
            reading=np.array([reading for _, (_, reading) in held], np.int64),
        )

    def _place(self, rows: _Rows) -> Steps:
        """Find the cell of each row, which rows win theirs, and fill the gaps before them."""
        order = np.argsort(rows.series, kind="stable")
        series, time_ms = rows.series[order], rows.event_time_ms[order]
        row = np.arange(series.size)
        is_first = np.ones(series.size, np.bool_)
        is_first[1:] = series[1:] != series[:-1]
        start = np.maximum.accumulate(np.where(is_first, row, 0))
        fresh = is_first & (self._last_cell[series] == _NO_CELL)
        self._anchor_ms[series[fresh]] = time_ms[fresh]
        cadence_ms = self._cadence_ms[series]
        cell = (time_ms - self._anchor_ms[series] + cadence_ms // 2) // cadence_ms

        last_cell = self._last_cell[series]
        highest = _accumulate_maximum(np.maximum(cell, last_cell), np.cumsum(is_first) - 1)
        before = np.where(is_first, last_cell, np.roll(highest, 1))
        wins = cell > before
        # The reading that has the highest cell so far: a row of this batch, or the last of those before.
        holder = np.maximum.accumulate(np.where(wins, row, -1))
        holder_time_ms = np.where(holder >= start, time_ms[holder], self._last_time_ms[series])
        shares = cell == before
        repeats = shares & (time_ms == holder_time_ms)
        self.counts["dropped_duplicate"] += int(repeats.sum())
        self.counts["merged"] += int((shares & ~repeats).sum())
        self.counts["dropped_late"] += int((cell < before).sum())
        ends = np.append(np.flatnonzero(is_first)[1:], series.size)[: is_first.sum()] - 1
        self._last_cell[series[ends]] = highest[ends]
        self._last_time_ms[series[ends]] = holder_time_ms[ends]

        won = np.flatnonzero(wins)
        won = won[np.argsort(order[won])]  # back in log order
        return self._fill(_take(rows, order[won]), cell[won], (cell - before - 1)[won])

    def _fill(self, rows: _Rows, cell: Int64Array, num_missing: Int64Array) -> Steps:
        """Return a step for each row, and masked ones for the cells that are missing before it."""
        restart = num_missing > self.options.max_gap
        num_steps = np.where(restart, 0, num_missing) + 1
        source = np.repeat(np.arange(cell.size), num_steps)
        back = np.cumsum(num_steps)[source] - 1 - np.arange(source.size)  # 0 for the reading itself
        is_fill = back > 0
        series, value = rows.series[source], rows.value[source]
        masked = is_fill | ~(np.abs(value) <= LARGEST_VALUE)  # NaN is masked too
        self.counts["accepted"] += int((~masked).sum())
        self.counts["masked_gap"] += int(is_fill.sum())
        self.counts["masked_missing"] += int((masked & ~is_fill).sum())
        return Steps(
            slot=self._slot[series],
            event_time_ms=self._anchor_ms[series] + (cell[source] - back) * self._cadence_ms[series],
            value=np.where(masked, 0.0, value),
            masked=masked,
            restart=restart[source],
            reading=np.where(is_fill, -1, rows.reading[source]),
        )


def _accumulate_maximum(cell: Int64Array, group: Int64Array) -> Int64Array:
    """Return the running maximum within each group; groups are numbered from 0, ascending."""
    if not cell.size:
        return cell
    low = int(cell.min())
    span = int(cell.max()) - low + 1
    if span * (int(group[-1]) + 1) < _MAX_KEY:
        offset = group * span - low
        return np.maximum.accumulate(cell + offset) - offset
    # Times too far apart for one key: ranks take the place of cells.
    levels, rank = np.unique(cell, return_inverse=True)
    offset = group * levels.size
    return levels[np.maximum.accumulate(rank + offset) - offset]


def _take(rows: _Rows, index: Int64Array) -> _Rows:
    return _Rows(
        series=rows.series[index],
        event_time_ms=rows.event_time_ms[index],
        value=rows.value[index],
        reading=rows.reading[index],
    )


def _concatenate(parts: Sequence[_Rows]) -> _Rows:
    whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
    return _Rows(
        series=np.concatenate([whole, *(part.series for part in parts)]),
        event_time_ms=np.concatenate([whole, *(part.event_time_ms for part in parts)]),
        value=np.concatenate([real, *(part.value for part in parts)]),
        reading=np.concatenate([whole, *(part.reading for part in parts)]),
    )
