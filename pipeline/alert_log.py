"""What a backtest keeps of alerts: a score per reading, and the episodes that would have paged."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forecasters.anomaly import Alarms
from forecasters.episodes import BEGINS
from pipeline.histories import History
from pipeline.records import BoolArray, Float64Array, Int64Array

Floats = npt.NDArray[np.float32]
COLUMNS = ("file", "series", "time", "value", "score", "alert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """From its first to its last exceedance; times are those of the readings."""

    series: str
    first_ms: int
    last_ms: int
    score: float  # the highest


@dataclass(slots=True)
class AlertLog:
    """Rows of one history, in the order of the engine. Only `is_kept` keeps a row for every reading."""

    history: History
    is_kept: bool = False
    _rows: list[tuple[Int64Array, Floats]] = field(default_factory=list)  # reading, begins, exceeds, score
    _exceeding: list[tuple[Int64Array, BoolArray, Floats]] = field(default_factory=list)

    def add(self, rows: Int64Array, alarms: Alarms) -> None:
        """rows [N]: of the history, -1 for a step that no reading has."""
        begins, exceeds = alarms.event == BEGINS, alarms.exceeds
        score = np.nan_to_num(alarms.score, nan=0.0)
        real = rows >= 0
        if self.is_kept:
            self._rows.append((rows[real], score[real]))
        hit = exceeds & real
        if hit.any():
            self._exceeding.append((rows[hit], begins[hit], score[hit]))

    def take(self, others: Iterable["AlertLog"]) -> None:
        """The rows of the shards of one history."""
        for other in others:
            self._rows += other._rows
            self._exceeding += other._exceeding

    def list_episodes(self, from_ms: int) -> list[Episode]:
        """Episodes that reach into the time from `from_ms` on, by series and time."""
        open_by_series: dict[int, list[list[float]]] = {}
        for row, begins, score in (
            one for part in self._exceeding for one in zip(*(column.tolist() for column in part), strict=True)
        ):
            series, time_ms = int(self.history.series_index[row]), int(self.history.event_time_ms[row])
            episodes = open_by_series.setdefault(series, [])
            if begins or not episodes:
                episodes.append([time_ms, time_ms, score])
            episodes[-1][1] = time_ms
            episodes[-1][2] = max(episodes[-1][2], score)
        return [
            Episode(series=self.history.series[at], first_ms=int(first), last_ms=int(last), score=score)
            for at, episodes in sorted(open_by_series.items())
            for first, last, score in episodes
            if last >= from_ms
        ]

    def columns(self, episodes: Sequence[Episode]) -> "ScoreRows":
        """One row per reading, in the order of the history; `episodes` decide what is an alert."""
        history, number = self.history, len(self.history.value)
        score = np.zeros(number)
        for rows, values in self._rows:
            score[rows] = values
        alert = np.zeros(number, np.bool_)
        times = history.event_time_ms
        for episode in episodes:
            within = (times >= episode.first_ms) & (times <= episode.last_ms)
            alert |= within & (history.series_index == history.series.index(episode.series))
        return ScoreRows(
            file=history.files[0] if len(history.files) == 1 else "",
            series=history.series, series_index=history.series_index.astype(np.int64),
            time_ms=times, value=history.value, score=score, alert=alert,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRows:
    """What --alerts writes of one history; columns [N]."""

    file: str
    series: tuple[str, ...]
    series_index: Int64Array
    time_ms: Int64Array
    value: Float64Array
    score: Float64Array
    alert: BoolArray


def write_scores(path: str, parts: Sequence[ScoreRows]) -> None:
    """A CSV file with a row per reading; alert is 1 from the first to the last exceedance of an episode."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for part in parts:
            names = [part.series[at] for at in part.series_index.tolist()]
            times = [format_time(time_ms) for time_ms in part.time_ms.tolist()]
            values = ["" if np.isnan(v) else repr(v) for v in part.value.tolist()]
            scores = np.round(part.score, 4).tolist()
            alerts = part.alert.astype(int).tolist()
            rows = zip(names, times, values, scores, alerts, strict=True)
            writer.writerows((part.file, *row) for row in rows)


def format_time(time_ms: int) -> str:
    """As in 2014-04-10T16:15:00.000Z."""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
