"""Readings and steps as columns, on their way through the intake.

Columns are [N] readings or steps in log order; `series` is a place in the series table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pipeline.records import (
    BAD_QUALITY,
    GOOD,
    MISSING,
    BoolArray,
    Float64Array,
    Int64Array,
    Readings,
    Rejected,
)

Int8Array = npt.NDArray[np.int8]

OUT_OF_RANGE, OFF = 3, 4
"""What the intake finds, beside the faults that readings come with: a value outside the declared range; a
machine at rest."""
FATE_OF_FAULT = {
    GOOD: "accepted",
    MISSING: "masked_missing",  # a reading without a value
    BAD_QUALITY: "masked_bad_quality",
    OUT_OF_RANGE: "masked_out_of_range",
    OFF: "masked_off",
}
GAP = "masked_gap"
"""A step that fills a gap: the only fate that is no reading's."""
REASONS = ("too_many_series", "too_far_ahead", "misplaced")
"""Why the intake rejects a reading."""
FATES = (
    *FATE_OF_FAULT.values(),
    GAP,
    "dropped_duplicate",  # the time of the reading that has the cell
    "dropped_late",  # a cell that is over
    "dropped_merged",  # another time in the cell of a reading
    *(f"rejected_{reason}" for reason in REASONS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Readings in the order in which they are placed."""

    series: Int64Array
    event_time_ms: Int64Array
    value: Float64Array  # as read, usable where fault is GOOD
    fault: Int8Array
    reading: Int64Array  # number in the log
    clock_ms: Int64Array  # the shard clock where it is placed: at a later reading, if it was held back

    def __len__(self) -> int:
        return int(self.series.size)

    def take(self, index: Int64Array | BoolArray) -> Rows:
        return Rows(**{column.name: getattr(self, column.name)[index] for column in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What the bank is to step through: a step for each reading that has a cell, with the missing ones before
    it that are filled."""

    series: Int64Array
    slot: Int64Array
    event_time_ms: Int64Array  # of the cell: anchor + cell · cadence
    value: Float64Array  # 0 where masked
    masked: BoolArray
    restart: BoolArray  # the first step after a gap that is too long to fill
    filled: Int64Array  # missing cells right before it, each a masked step; 0 where it restarts the series
    reading: Int64Array  # number in the log, from 0 at the intake's first reading
    fault: Int8Array  # why it is masked, GOOD where it isn't
    reported: Float64Array  # the value as read, masked or not
    clock_ms: Int64Array  # the shard clock at the reading that brought it about

    def __len__(self) -> int:
        return int(self.slot.size)


def concatenate(parts: Sequence[Rows]) -> Rows:
    return Rows(
        series=np.concatenate([np.empty(0, np.int64), *(part.series for part in parts)]),
        event_time_ms=np.concatenate([np.empty(0, np.int64), *(part.event_time_ms for part in parts)]),
        value=np.concatenate([np.empty(0, np.float64), *(part.value for part in parts)]),
        fault=np.concatenate([np.empty(0, np.int8), *(part.fault for part in parts)]),
        reading=np.concatenate([np.empty(0, np.int64), *(part.reading for part in parts)]),
        clock_ms=np.concatenate([np.empty(0, np.int64), *(part.clock_ms for part in parts)]),
    )


def build_rows(rows: Sequence[tuple[int, int, float, int, int, int]]) -> Rows:
    """Rows from tuples of series, event time, value, fault, reading and shard clock."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    kinds = (np.int64, np.int64, np.float64, np.int8, np.int64, np.int64)
    arrays = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return Rows(
        series=arrays[0], event_time_ms=arrays[1], value=arrays[2], fault=arrays[3], reading=arrays[4],
        clock_ms=arrays[5],
    )  # fmt: skip


def list_rows(rows: Rows) -> list[tuple[int, int, float, int, int, int]]:
    """The reverse of `build_rows`."""
    columns = [getattr(rows, column.name).tolist() for column in fields(rows)]
    return list(zip(*columns, strict=True))


def list_rejected(readings: Readings, reason: Int8Array) -> tuple[Rejected, ...]:
    """What is rejected, one value a message; `reason` [N] is a place in REASONS, -1 where it is not."""
    refused = np.flatnonzero(reason >= 0)
    if not refused.size:
        return ()
    message = np.arange(len(readings)) if readings.message is None else readings.message
    index = np.zeros(len(readings), np.int64) if readings.index is None else readings.index
    starts = np.flatnonzero(np.diff(message[refused])) + 1
    return tuple(
        Rejected(
            message=int(message[rows[0]]),
            reasons=tuple(REASONS[code] for code in reason[rows].tolist()),
            indices=tuple(index[rows].tolist()),
        )
        for rows in np.split(refused, starts)
    )
