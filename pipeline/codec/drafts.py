"""What a decoder finds in a batch, and how it becomes readings and rejections.

Columns are [N] readings in log order, M messages have readings. A reading has at most one reason to be
rejected: of its series, else of its time, its value, its quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.codec.ids import Ids
from pipeline.codec.options import CodecOptions
from pipeline.codec.reasons import LABELS, Reason
from pipeline.codec.times import read_times
from pipeline.codec.values import Qualities, read_values
from pipeline.records import BAD_QUALITY, Float64Array, Int64Array, Messages, Readings, Rejected

Int8Array = npt.NDArray[np.int8]

WHOLE_MESSAGE = -1
"""Index of a rejection that concerns no single reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Readings as arrays, all of them or one message's."""

    number: Int64Array  # [N] of the series; below 0 the negative number of a reason
    time_ms: Int64Array  # [N]
    value: Float64Array  # [N]
    fault: Int8Array  # [N]
    reason: Int8Array  # [N] number of a reason of time, value or quality; 0 for none


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings as objects as they stand in messages, in four parallel lists. None is nothing there.

    A Reason in the place of the series rejects the reading for it.
    """

    series: list[object]
    time: list[object]
    value: list[object]
    quality: list[object]

    @staticmethod
    def empty() -> Rows:
        return Rows([], [], [], [])

    def add(self, series: object, time: object, value: object, quality: object) -> None:
        self.series.append(series)
        self.time.append(time)
        self.value.append(value)
        self.quality.append(quality)

    def extend(self, rows: Rows) -> None:
        self.series.extend(rows.series)
        self.time.extend(rows.time)
        self.value.extend(rows.value)
        self.quality.extend(rows.quality)

    def __len__(self) -> int:
        return len(self.value)


class Draft:
    """Collects a batch: rejections of whole messages, and how many readings the others hold."""

    def __init__(self, options: CodecOptions, messages: Messages) -> None:
        self._max_readings = options.max_readings
        self.messages = messages
        self.empty = 0
        self.places: list[int] = []  # [M] of messages with readings, ascending
        self.counts: list[int] = []  # [M] of their readings
        self._refused: dict[int, list[tuple[int, str]]] = {}

    def reject(self, place: int, reason: Reason, index: int = WHOLE_MESSAGE) -> None:
        self._refused.setdefault(place, []).append((index, reason.label))

    def admit(self, place: int, count: int) -> bool:
        """Note how many readings a message holds. False if it must be left out: it has none, or too many."""
        if count > self._max_readings:
            self.reject(place, Reason.TOO_MANY_READINGS)
            return False
        if count == 0:
            self.empty += 1
            return False
        self.places.append(place)
        self.counts.append(count)
        return True

    def read_rows(self, rows: Rows, ids: Ids, options: CodecOptions, qualities: Qualities) -> Columns:
        """Turn objects into numbers, all readings of the batch at once."""
        message = np.repeat(np.array(self.places, dtype=np.int64), self.counts)
        number = ids.read_all(rows.series, self.messages.key, message.tolist())
        unit = options.time_unit or ("ns" if options.format == "influx" else "auto")
        time_ms, reason = read_times(rows.time, unit, self.messages.timestamp_ms[message])
        value, fault, value_reason = read_values(rows.value, options.decimal)
        reason = np.where(reason != 0, reason, value_reason)
        if options.fields.quality is not None:
            bad, quality_reason = qualities.judge(rows.quality)
            reason = np.where(reason != 0, reason, quality_reason)
            value, fault = np.where(bad, np.nan, value), np.where(bad, np.int8(BAD_QUALITY), fault)
        return Columns(
            number=np.array(number, dtype=np.int64), time_ms=time_ms, value=value, fault=fault, reason=reason
        )

    def finish(self, columns: Columns, series: tuple[str, ...]) -> tuple[Readings, tuple[Rejected, ...]]:
        """Part good readings from bad. Raises ValueError if the columns are not as long as was admitted."""
        counts = np.array(self.counts, dtype=np.int64)
        message = np.repeat(np.array(self.places, dtype=np.int32), counts)
        starts = np.cumsum(counts) - counts
        index = (np.arange(message.size) - np.repeat(starts, counts)).astype(np.int32)
        number, time_ms, value, fault = columns.number, columns.time_ms, columns.value, columns.fault
        bad = (number < 0) | (columns.reason != 0)
        if bad.any():
            rows = np.flatnonzero(bad)
            reason = np.where(number < 0, -number, columns.reason)
            for place, at, why in zip(
                message[rows].tolist(), index[rows].tolist(), reason[rows].tolist(), strict=True
            ):
                self._refused.setdefault(place, []).append((at, LABELS[why]))
            message, index, number, time_ms, value, fault = (
                column[~bad] for column in (message, index, number, time_ms, value, fault)
            )
        readings = Readings(
            series=series,
            series_index=number.astype(np.int32),
            event_time_ms=time_ms,
            value=value,
            fault=fault,
            clock_ms=self.messages.timestamp_ms[message],
            message=message,
            index=index,
        )
        return readings, self._list_rejected()

    def _list_rejected(self) -> tuple[Rejected, ...]:
        return tuple(
            Rejected(
                message=place,
                reasons=tuple(label for _, label in refused),
                indices=tuple(index for index, _ in refused),
            )
            for place, refused in sorted(self._refused.items())
        )


def join_columns(parts: Sequence[Columns]) -> Columns:
    """One after the other; none at all gives empty columns."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Columns(
            number=np.zeros(0, np.int64),
            time_ms=np.zeros(0, np.int64),
            value=np.zeros(0),
            fault=np.zeros(0, np.int8),
            reason=np.zeros(0, np.int8),
        )
    return Columns(
        number=np.concatenate([part.number for part in parts]),
        time_ms=np.concatenate([part.time_ms for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        fault=np.concatenate([part.fault for part in parts]),
        reason=np.concatenate([part.reason for part in parts]),
    )
