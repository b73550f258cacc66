"""What pictures need of a backtest beyond its figures: the last forecasts of some series, and errors by time.

Letters: N rows of a wave, E forecasters, H horizon, Q scored steps, B buckets of time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from forecasters import Result
from forecasters.reach import Reach, recent_reach
from pipeline.engine.engine import Wave
from pipeline.histories import History
from pipeline.issued import find_scores
from pipeline.records import Float64Array, Int64Array

SHOWN_SERIES = 4
"""Of the first series of the files so many are drawn."""
SHOWN_STEPS = 200
"""Of their grid, up to the end: more are not told apart in a picture."""
BUCKETS = 60
REACH_SERIES = 256
"""Of which the gradient reach is the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The end of one series, and what was said `step` steps ago about each of its times; NaN: nothing."""

    series: str
    step: int
    time_ms: Int64Array  # [T]
    value: Float64Array  # [T]
    mean: Float64Array  # [T, E]
    lower: Float64Array
    upper: Float64Array


@dataclass(frozen=True, slots=True)
class _Row:
    time_ms: int
    value: float
    bounds: Float64Array  # [3, E, 2]: mean, lower, upper; at the first and the last step


class RecordedBank(Protocol):
    """What a recorder needs of a bank."""

    names: tuple[str, ...]
    nets: list[str]
    models: dict[str, Any]
    scored: tuple[int, ...]

    @property
    def ids(self) -> list[str]: ...


class Recorder:
    """Told of every wave of every shard. Memory is bounded by the constants above.

    names, nets: forecasters, and those of them that are recurrent; coverage: what intervals promise; units:
    of the errors that are reported.
    """

    def __init__(self, history: History, bank: RecordedBank, *, coverage: float, units: str) -> None:
        self.names, self.nets = bank.names, tuple(bank.nets)
        self.coverage, self.units = coverage, units
        horizon = bank.scored[-1]
        self.steps = tuple(dict.fromkeys((1, horizon)))
        self._columns = [bank.scored.index(step) for step in self.steps]
        self._history = history
        self._rows: dict[int, deque[_Row]] = {
            place: deque(maxlen=SHOWN_STEPS + horizon)
            for place in range(min(SHOWN_SERIES, len(history.series)))
        }
        self._cadence_ms: dict[int, int] = {}
        self._from_ms = history.scored_from_ms
        span_ms = max(int(history.event_time_ms[-1]) - self._from_ms, 1)
        self._bucket_ms = span_ms / BUCKETS
        shape = (BUCKETS, len(self.names), len(self.steps))
        self._sum_BEQ, self._count_BQ = np.zeros(shape), np.zeros((BUCKETS, len(self.steps)), np.int64)
        self.reach: dict[str, Reach] = {}
        """By recurrent forecaster, of the first shard at the end."""

    def add(
        self,
        series: Int64Array,
        cadence_ms: Int64Array,
        wave: Wave[Result],
        bounds: tuple[Float64Array, Float64Array, Float64Array],
    ) -> None:
        """series `[N]`: places in the history; bounds: mean, lower, upper, `[N, E, H]` in its units."""
        ends = [step - 1 for step in self.steps]
        for row in np.flatnonzero(series < SHOWN_SERIES).tolist():
            place = int(series[row])
            value = float("nan") if wave.masked[row] else float(wave.value[row])
            said = np.stack([bound[row][:, ends] for bound in bounds])
            self._rows[place].append(_Row(int(wave.event_time_ms[row]), value, said))
            self._cadence_ms[place] = int(cadence_ms[row])
        scores = find_scores(wave)
        time_ms = np.broadcast_to(wave.event_time_ms[:, None], (len(series), len(self.steps)))
        origin_ms = time_ms - cadence_ms[:, None] * np.array(self.steps)
        counted = scores.scored[self._columns].T & (
            origin_ms >= self._history.scored_origin_ms[series][:, None]
        )
        bucket = np.clip((time_ms - self._from_ms) / self._bucket_ms, 0, BUCKETS - 1).astype(np.int64)
        size_NEQ = np.abs(scores.error[:, self._columns].transpose(2, 0, 1)).astype(np.float64)
        for at in range(len(self.steps)):
            rows = counted[:, at]
            np.add.at(self._sum_BEQ[:, :, at], bucket[rows, at], size_NEQ[rows, :, at])
            np.add.at(self._count_BQ[:, at], bucket[rows, at], 1)

    def finish(self, bank: RecordedBank) -> None:
        """At the end, with the bank of the first shard: how far its networks reach back."""
        slots = torch.arange(min(len(bank.ids), REACH_SERIES))
        for name in self.nets:
            try:
                found = recent_reach(bank.models[name], slots)
            except ValueError:  # no series has history enough
                continue
            if found.memory_length is not None:
                self.reach[name] = found

    def list_tracks(self) -> list[Track]:
        """By series, then by step."""
        tracks = []
        for place, rows in self._rows.items():
            for at, step in enumerate(self.steps):
                if len(rows) > step:
                    tracks.append(self._trace(place, list(rows), at, step))
        return tracks

    def _trace(self, place: int, rows: list[_Row], at: int, step: int) -> Track:
        said = {row.time_ms: row.bounds[:, :, at] for row in rows}
        shown = rows[-SHOWN_STEPS:]
        ahead_ms = step * self._cadence_ms[place]
        unsaid = np.full((3, len(self.names)), np.nan)
        mean, lower, upper = np.stack([said.get(row.time_ms - ahead_ms, unsaid) for row in shown], axis=1)
        return Track(
            series=self._history.series[place],
            step=step,
            time_ms=np.array([row.time_ms for row in shown]),
            value=np.array([row.value for row in shown]),
            mean=mean,
            lower=lower,
            upper=upper,
        )

    def find_errors(self) -> Mapping[int, tuple[Int64Array, Float64Array]]:
        """By step: times `[B]` (middle of each bucket with a scored target) and mean |error| `[B, E]`, in
        naive one-step errors."""
        found = {}
        for at, step in enumerate(self.steps):
            used = np.flatnonzero(self._count_BQ[:, at])
            middle = self._from_ms + (used + 0.5) * self._bucket_ms
            mean = self._sum_BEQ[used, :, at] / self._count_BQ[used, at][:, None]
            found[step] = (middle.astype(np.int64), mean)
        return found
