"""Holds the first readings of a series back until they tell its cadence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from pipeline.engine.rows import Rows, build_rows, concatenate
from pipeline.records import Int64Array

_COLUMNS = {
    "series": np.int64,
    "time_ms": np.int64,
    "value": np.float64,
    "fault": np.int8,
    "reading": np.int64,
}


class HeldBack:
    """Readings with times of their own, by series. The cadence is the median of their gaps.

    They are released together, by time, at the log place of the one that completes them.
    """

    def __init__(self, num_readings: int) -> None:
        """num_readings: how many complete a series."""
        self.num_readings = num_readings
        self._num_duplicates = 0
        self._held: dict[int, dict[int, tuple[float, int, int]]] = {}  # series: time: value, fault, reading

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def count(self, series: int) -> int:
        """Readings that are held of a series."""
        return len(self._held.get(series, ()))

    def hold(self, rows: Rows, waiting: Int64Array) -> list[tuple[int, int]]:
        """Hold the waiting ones of the rows; returns (row, series) of those rows that complete a series.

        Rows of a series after the one that completes it are not held.
        """
        waiting = waiting[np.argsort(rows.series[waiting], kind="stable")]
        starts = np.flatnonzero(np.diff(rows.series[waiting])) + 1
        complete = []
        for group in np.split(waiting, starts) if waiting.size else ():
            series = int(rows.series[group[0]])
            held = self._held.setdefault(series, {})
            for row in group.tolist():
                time_ms = int(rows.event_time_ms[row])
                if time_ms in held:
                    self._num_duplicates += 1  # at once: what is held stays small
                    continue
                held[time_ms] = (float(rows.value[row]), int(rows.fault[row]), int(rows.reading[row]))
                if len(held) >= self.num_readings:
                    complete.append((row, series))
                    break
        return sorted(complete)

    def take_duplicates(self) -> int:
        """How many readings were duplicates since the last call."""
        number, self._num_duplicates = self._num_duplicates, 0
        return number

    def find_ready(self) -> list[int]:
        """Series of which at least two times are held: enough for a cadence at the end of a file."""
        return sorted(series for series, held in self._held.items() if len(held) >= 2)

    def release(self, series: int, clock_ms: int) -> tuple[Rows, int]:
        """What is held of a series, by time, at that shard clock, and its cadence in milliseconds."""
        held = sorted(self._held.pop(series).items())
        rows = build_rows([(series, time_ms, *rest, clock_ms) for time_ms, rest in held])
        return rows, max(1, round(float(np.median(np.diff(rows.event_time_ms)))))

    def forget(self, series: int) -> None:
        self._held.pop(series, None)

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        rows = [
            (series, time_ms, *rest)
            for series, held in sorted(self._held.items())
            for time_ms, rest in sorted(held.items())
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
        for (name, kind), column in zip(_COLUMNS.items(), columns, strict=True):
            yield f"{prefix}.{name}", torch.from_numpy(np.array(column, kind))

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._held = {}
        columns = [state[f"{prefix}.{name}"].tolist() for name in _COLUMNS]
        for series, time_ms, *rest in zip(*columns, strict=True):
            self._held.setdefault(series, {})[time_ms] = (rest[0], rest[1], rest[2])


def release_in_place(rows: Rows, waiting: Int64Array, released: list[tuple[int, Rows]]) -> Rows:
    """The rows in log order with `released` put in at their rows, and without the waiting rows held back.

    A waiting row stays where its series was completed before it.
    """
    completed_at = {int(part.series[0]): row for row, part in released}
    kept = np.ones(len(rows), np.bool_)
    for row in waiting.tolist():
        kept[row] = row > completed_at.get(int(rows.series[row]), len(rows))
    rest = np.flatnonzero(kept)
    places = [np.full(len(part), row) for row, part in released]
    merged = concatenate([rows.take(rest), *(part for _, part in released)])
    # The completing row itself is not kept, so no two sources share a place.
    return merged.take(np.argsort(np.concatenate([rest, *places]), kind="stable"))
