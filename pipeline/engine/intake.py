"""Which fate a reading has, and where on its series' grid it lies.

Columns are [N] readings or steps in log order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pipeline.engine import grid
from pipeline.engine.cadence import HeldBack, release_in_place
from pipeline.engine.cells import OpenCells
from pipeline.engine.faults import find_faults
from pipeline.engine.options import IntakeOptions
from pipeline.engine.rows import FATES, REASONS, Rows, Steps, concatenate, list_rejected
from pipeline.engine.series import NO_CADENCE, NO_SLOT, SeriesTable
from pipeline.engine.settings import DEFAULT, Settings
from pipeline.records import BoolArray, Int64Array, Readings, Rejected

__all__ = ["Intake", "IntakeOptions", "Placed", "Register", "run_clock"]

NO_CLOCK = -(2**63)
_UNKNOWN, _MISPLACED = -1, -2  # instead of a place in the series table


class Register(Protocol):
    """Gives series their slots."""

    def add(
        self, ids: Sequence[str], *, cadence_ms: int | Sequence[int], season_ms: int | Sequence[int]
    ) -> Int64Array:
        """Return a slot [len(ids)] for each new series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a batch gives."""

    steps: Steps
    series: Int64Array  # [N] place of each reading that was not rejected
    clock_ms: Int64Array  # [N] shard clock at it
    rejected: tuple[Rejected, ...]  # one a message; without messages, one a reading


class Intake:
    """Places readings on the grids of their series.

    The steps and counts do not depend on how the log is cut into batches. The grid of a series is anchored at
    the first time placed. Without a declared cadence the first readings of a series are held back and
    released together, by time, at the log place of the one that completes them; the cadence is the median of
    their gaps. By default the first reading of a cell wins, so no reading waits for its cell to end.
    """

    def __init__(
        self,
        options: IntakeOptions,
        register: Register,
        settings: Settings = lambda name: DEFAULT,
        is_misplaced: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self.options = options
        self.table = SeriesTable()
        self.num_readings = 0
        """Readings seen so far, whatever their fate: the log number of the next one."""
        self.clock_ms = NO_CLOCK
        """Largest broker timestamp seen, or event time where there are none."""
        self._register, self._settings, self._is_misplaced = register, settings, is_misplaced
        self._counts: Counter[str] = Counter(dict.fromkeys(FATES, 0))
        self._held = HeldBack(options.cadence_readings)
        self._cells: OpenCells | None = None
        if options.within_step != "first" or options.lateness_ms:
            self._cells = OpenCells(
                options.within_step, options.lateness_ms, self.table.columns, self._counts
            )
        self._cached: tuple[tuple[str, ...], Int64Array] = ((), np.empty(0, np.int64))

    @property
    def counts(self) -> dict[str, int]:
        """Readings and steps so far by fate."""
        return dict(self._counts)

    @property
    def series(self) -> tuple[str, ...]:
        """Ids of all series."""
        return self.table.ids

    @property
    def num_held(self) -> int:
        """Readings held back, that have no fate yet, and cells held open."""
        return len(self._held) + len(self._cells or ())

    def count_held(self, place: int) -> int:
        """Readings of one series that are held back for its cadence."""
        return self._held.count(place)

    def place(self, readings: Readings) -> Placed:
        """Return what this batch gives; adds series whose cadence is known to the register."""
        clock_ms = run_clock(readings, self.clock_ms)
        reason = np.full(len(readings), -1, np.int8)  # place in REASONS
        if readings.clock_ms is not None:
            reason[readings.event_time_ms > clock_ms + self.options.max_ahead_ms] = 1
        series = self._find_series(readings, reason < 0)
        reason[(reason < 0) & (series == _UNKNOWN)] = 0
        reason[(reason < 0) & (series == _MISPLACED)] = 2
        for code, name in enumerate(REASONS):
            self._counts[f"rejected_{name}"] += int((reason == code).sum())
        number = np.arange(len(readings)) + self.num_readings
        self.num_readings += len(readings)
        if len(readings):
            self.clock_ms = int(clock_ms[-1])

        taken = reason < 0
        value = readings.value[taken].astype(np.float64)
        given = None if readings.fault is None else readings.fault[taken]
        rows = Rows(
            series=series[taken],
            event_time_ms=readings.event_time_ms[taken].astype(np.int64),
            value=value,
            fault=find_faults(self.table.columns, series[taken], value, given),
            reading=number[taken],
            clock_ms=clock_ms[taken],
        )
        return Placed(
            steps=self._place(self._join(rows)),
            series=rows.series,
            clock_ms=clock_ms[taken],
            rejected=list_rejected(readings, reason),
        )

    def flush(self) -> Steps:
        """Release what is held back and close what is open, at the end of a file.

        Series of which fewer than two times are held stay, counted by ``num_held``.
        """
        ready = self._held.find_ready()
        released = [(0, self._release(series, self.clock_ms)) for series in ready]
        self._add([(0, series) for series in ready])
        rows = concatenate([part for _, part in released])
        grid.anchor(self.table.columns, rows)
        if self._cells is not None:
            rows = concatenate([self._cells.close(rows), self._cells.close_all(self.clock_ms)])
        return grid.place(self.table.columns, rows, self._counts)

    def forget(self, places: Sequence[int]) -> None:
        """Forget series wholly: when one of them returns it is new."""
        for series in places:
            self._held.forget(series)
            if self._cells is not None:
                self._cells.forget(series)
        self.table.forget(places)
        self._cached = ((), np.empty(0, np.int64))

    def save(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The whole state, as names and tensors that share no memory with it."""
        yield from self.table.save("intake")
        yield from self._held.save("intake.held")
        if self._cells is not None:
            yield from self._cells.save("intake.cells")
        yield "intake.counts", torch.tensor([self._counts[fate] for fate in FATES])
        yield "intake.clock", torch.tensor([self.num_readings, self.clock_ms])

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from what ``save`` returned; the register must know the same slots.

        Cells that were held open are lost where the options no longer hold any open. Raises KeyError or
        ValueError where the state is of another make.
        """
        self.table.load("intake", state)
        self._held.load("intake.held", state)
        if self._cells is not None and "intake.cells.series" in state:
            self._cells.load("intake.cells", state)
        self._counts.clear()
        self._counts.update(dict(zip(FATES, state["intake.counts"].tolist(), strict=True)))
        self.num_readings, self.clock_ms = state["intake.clock"].tolist()
        self._cached = ((), np.empty(0, np.int64))

    def _find_series(self, readings: Readings, allowed: BoolArray) -> Int64Array:
        """The place of each reading's series; a new one where an allowed reading names a new series."""
        if readings.series is not self._cached[0]:
            known = [self.table.find(name) for name in readings.series]
            self._cached = (readings.series, np.array(known, np.int64))
        lookup, index = self._cached[1], readings.series_index
        unknown = allowed & (lookup[index] == _UNKNOWN)
        if unknown.any():
            found, first = np.unique(index[unknown], return_index=True)
            for at in found[np.argsort(first)].tolist():
                lookup[at] = self._admit(readings.series[at])
        return lookup[index]

    def _admit(self, name: str) -> int:
        if (at := self.table.find(name)) >= 0:
            return at  # an id that stands twice in `series` is one series all the same
        if self._is_misplaced(name):
            return _MISPLACED
        if len(self.table) >= self.options.max_series:
            return _UNKNOWN
        settings = self._settings(name)
        at = self.table.add(name, settings)
        columns, options = self.table.columns, self.options
        columns["cadence_ms"][at] = settings.cadence_ms or options.cadence_ms or NO_CADENCE
        season_ms = settings.season_ms
        columns["season_ms"][at] = options.season_ms if season_ms is None else season_ms
        return at

    def _join(self, rows: Rows) -> Rows:
        """Give series that need them slots, and hold readings back until their cadence is known."""
        slotless = np.flatnonzero(self.table.columns["slot"][rows.series] == NO_SLOT)
        if not slotless.size:
            return rows
        series = rows.series[slotless]
        has_cadence = self.table.columns["cadence_ms"][series] != NO_CADENCE
        declared, first = np.unique(series[has_cadence], return_index=True)
        waiting = slotless[~has_cadence]
        complete = self._held.hold(rows, waiting)
        self._counts["dropped_duplicate"] += self._held.take_duplicates()
        released = [(row, self._release(at, int(rows.clock_ms[row]))) for row, at in complete]
        # In log order, so that slots don't depend on the cut.
        joined = list(zip(slotless[has_cadence][first].tolist(), declared.tolist(), strict=True))
        self._add(sorted([*joined, *complete]))
        return release_in_place(rows, waiting, released) if waiting.size else rows

    def _release(self, series: int, clock_ms: int) -> Rows:
        rows, cadence_ms = self._held.release(series, clock_ms)
        self.table.columns["cadence_ms"][series] = cadence_ms
        return rows

    def _add(self, new: list[tuple[int, int]]) -> None:
        """Get slots for (row, series) whose cadence is known, in this order."""
        places = [series for _, series in new]
        if not places:
            return
        columns = self.table.columns
        columns["slot"][places] = self._register.add(
            [self.table.name(series) for series in places],
            cadence_ms=columns["cadence_ms"][places].tolist(),
            season_ms=columns["season_ms"][places].tolist(),
        )
        self.fill_limits(places)

    def fill_limits(self, places: Sequence[int]) -> None:
        """Decide anew how many missing steps are filled, for series that have a cadence."""
        columns = self.table.columns
        for series in places:
            if columns["cadence_ms"][series] != NO_CADENCE:
                columns["max_gap"][series] = grid.find_fill_limit(columns, series, self.options.max_gap)

    def _place(self, rows: Rows) -> Steps:
        grid.anchor(self.table.columns, rows)
        if self._cells is not None:
            rows = self._cells.close(rows)
        return grid.place(self.table.columns, rows, self._counts)


def run_clock(readings: Readings, start_ms: int) -> Int64Array:
    """The shard clock at each reading: the running maximum from `start_ms` on."""
    given = readings.event_time_ms if readings.clock_ms is None else readings.clock_ms
    clock: Int64Array = np.maximum.accumulate(np.maximum(given, start_ms))
    return clock
