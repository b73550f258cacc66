"""What a demonstration plays: a stretch of history at once, then the rest at its pace.

So nothing is cold when it is live. No event time ever passes the present.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.demo.data_sets import DAY_MS, find_data
from pipeline.demo.feed import CHUNK_READINGS, Feed, Pacer, cut_due, join_due, run_feed
from pipeline.demo.papers import write_series_file
from pipeline.demo.plant import Plant, PlantOptions
from pipeline.durations import format_duration
from pipeline.histories import History, read_history
from pipeline.sources.dialect import TableOptions

HORIZON = 12
"""Steps ahead. The comparison needs 20 blocks of 4 H readings before it names a leader: 960 here."""
CADENCE_MS = 1000
SEASON_STEPS = 120
"""A day of the simulated plant: five of them were seen before the show begins, and more are watched in it."""
HISTORY_STEPS = 600
"""Five days of the plant; of a file where it has as many. A step costs about 6 ms on one core."""
MOST_HISTORY = 200_000
"""Readings of history, beyond which a large demonstration has to begin with fewer steps."""
FAULTS_PER_HOUR = 60.0
SEED = 17
"""Of the plant. Chosen so that within a minute of the show a sensor shifts, one sends bad quality and one
falls silent; a test holds it."""
HOLD_S, FEWEST_HOLD_STEPS = 30.0, 5
"""An alert ends after so long without anything new, by the clock of who looks at it."""

Sleep = Callable[[float], None]


class Programme(Protocol):
    """What is fed, how it is configured, and how it is said."""

    title: str
    series: tuple[str, ...]
    notes: tuple[str, ...]

    def config(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Sections for the worker; files that they name are written into the folder."""

    def play(self, feed: Feed, sleep: Sleep, on_live: Callable[[], None]) -> None:
        """Hand all over, each reading when it is due, until the end; whatever `sleep` raises ends it.
        `on_live` hears that the history is over. Raises BrokerError."""


class PlantProgramme:
    """The simulated plant, live from now on and without end; a fault every minute or so."""

    def __init__(self, num_series: int, *, now: Callable[[], float] = time.time) -> None:
        steps = max(min(HISTORY_STEPS, MOST_HISTORY // num_series), 2)
        self._live_at_ms = int(now() * 1000)
        start_ms = self._live_at_ms // CADENCE_MS * CADENCE_MS - steps * CADENCE_MS
        self.plant = Plant(
            PlantOptions(
                num_series=num_series, start_ms=start_ms, cadence_ms=CADENCE_MS, seed=SEED,
                day_ms=SEASON_STEPS * CADENCE_MS, faults_per_hour=FAULTS_PER_HOUR,
                calm_ms=steps * CADENCE_MS,
                # A sensor by exception brings all steps that it left out at once, a wave of one row each.
                by_exception=False,
            )
        )  # fmt: skip
        self.series = self.plant.layout.series
        self.title = (
            f"a simulated plant: {_count(num_series, 'sensor')}, a reading of each every "
            f"{format_duration(CADENCE_MS)}, days of {format_duration(SEASON_STEPS * CADENCE_MS)}, "
            "a fault every minute or so"
        )
        self.notes: tuple[str, ...] = ()

    def config(self, folder: Path) -> dict[str, dict[str, Any]]:
        path = folder / "series.csv"
        write_series_file(path, self.plant)
        readings = {"cadence_ms": CADENCE_MS, "season_ms": SEASON_STEPS * CADENCE_MS}
        return {
            "readings": {**readings, "series_file": str(path)},
            "alerts": {"grid_s": 1, "hold_steps": find_hold_steps(CADENCE_MS, 1.0)},
        }

    def play(self, feed: Feed, sleep: Sleep, on_live: Callable[[], None]) -> None:
        pacer = Pacer(self.plant.options.start_ms, 0, live_at_ms=self._live_at_ms, sleep=sleep)
        steps = join_due(self.plant, lambda: self.plant.time_ms, pacer, CHUNK_READINGS)
        told = [False]

        def tell(step: object) -> None:
            if not told[0] and self.plant.time_ms > self._live_at_ms:
                told[0] = True
                on_live()

        run_feed(feed, steps, pacer, on_step=tell)


class FileProgramme:
    """A file of history: its first part at once, the rest at a multiple of its own pace, until its end."""

    def __init__(
        self,
        name: str,
        table: TableOptions,
        *,
        num_series: int | None = None,
        speed: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """speed: None is a step a second. num_series: the first so many of the file's.

        Raises TableError.
        """
        path, data_set = find_data(name)
        history = read_history([str(path)], table, rows=None, warmup=0.0, score_from=0.0)
        if num_series is not None and num_series < len(history.series):
            history = take_series(history, num_series)
        self._history, moved_days = move_to_past(history, int(now() * 1000))
        self.series = history.series
        self._season_ms = data_set.season_ms if data_set else DAY_MS
        self._cadence_ms = find_cadence_ms(self._history)
        self._speed = speed or self._cadence_ms / 1000
        times = self._history.event_time_ms
        self._first_live = find_first_live(times, self._cadence_ms, len(self.series))
        left = (int(times[-1]) - int(times[self._first_live])) / 1000 / self._speed
        self.title = (
            f"{data_set.name if data_set else path.name}: {_count(len(self.series), 'series')}, a reading of "
            f"each every {format_duration(self._cadence_ms)}, {self._speed:g} times as fast as measured, "
            f"for {_say_minutes(left)}"
        )
        notes = [f"{data_set.name}: {data_set.what}"] if data_set else []
        notes += [f"assumed: {note}" for note in history.assumed]
        if moved_days:
            notes.append(f"its times lie in the future: all were moved back by {_count(moved_days, 'day')}")
        self.notes = tuple(notes)

    def config(self, folder: Path) -> dict[str, dict[str, Any]]:
        return {
            "readings": {"season_ms": self._season_ms},
            "alerts": {"grid_s": 1, "hold_steps": find_hold_steps(self._cadence_ms, self._speed)},
        }

    def play(self, feed: Feed, sleep: Sleep, on_live: Callable[[], None]) -> None:
        times = self._history.event_time_ms
        for first, stop, speed in ((0, self._first_live, 0.0), (self._first_live, len(times), self._speed)):
            if speed:
                on_live()
            piece = take_rows(self._history, slice(first, stop))
            pacer = Pacer(int(times[first]), speed, sleep=sleep)
            run_feed(feed, cut_due(piece, pacer, CHUNK_READINGS), pacer, on_step=lambda step: None)


def find_hold_steps(cadence_ms: int, speed: float) -> int:
    """How many steps take `HOLD_S` at that speed."""
    return max(math.ceil(HOLD_S * 1000 * speed / cadence_ms), FEWEST_HOLD_STEPS)


def find_cadence_ms(history: History) -> int:
    """The median distance of two readings of one series; a second where no series has two."""
    order = np.lexsort((history.event_time_ms, history.series_index))
    gaps = np.diff(history.event_time_ms[order])[np.diff(history.series_index[order]) == 0]
    gaps = gaps[gaps > 0]
    return max(int(np.median(gaps)), 1) if gaps.size else 1000


def find_first_live(times: np.ndarray, cadence_ms: int, num_series: int) -> int:
    """Which reading is the first after the history: at most half of the file is history."""
    steps = min(HISTORY_STEPS, MOST_HISTORY // num_series)
    wanted = int(np.searchsorted(times, int(times[0]) + steps * cadence_ms))
    middle = int(np.searchsorted(times, times[len(times) // 2]))
    return max(min(wanted, middle), min(1, len(times) - 1))


def move_to_past(history: History, now_ms: int) -> tuple[History, int]:
    """The history, and by how many whole days it was moved back so that it ends before now."""
    ahead_ms = int(history.event_time_ms[-1]) - now_ms
    if ahead_ms <= 0:
        return history, 0
    days = -(-ahead_ms // DAY_MS)
    return dataclasses.replace(history, event_time_ms=history.event_time_ms - days * DAY_MS), days


def take_series(history: History, num_series: int) -> History:
    """The first so many series."""
    kept = history.series_index < num_series
    piece = take_rows(history, np.flatnonzero(kept))
    return dataclasses.replace(piece, series=history.series[:num_series])


def take_rows(history: History, rows: slice | np.ndarray) -> History:
    return dataclasses.replace(
        history,
        series_index=history.series_index[rows],
        event_time_ms=history.event_time_ms[rows],
        value=history.value[rows],
    )


def _count(number: int, noun: str) -> str:
    plural = noun if number == 1 or noun == "series" else f"{noun}s"
    return f"{number:,} {plural}"


def _say_minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
