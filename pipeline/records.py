"""What flows through the pipeline, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Raw messages of one partition, in offset order; offsets may have holes (transactions, compaction)."""

    topic: str
    partition: int
    offset: Int64Array  # [M]
    timestamp_ms: Int64Array  # [M] of the broker
    key: Sequence[bytes | None]  # [M]
    value: Sequence[bytes | None]  # [M] None for a tombstone
    headers: Sequence[Sequence[tuple[str, bytes]]]  # [M]

    def __len__(self) -> int:
        return int(self.offset.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What of one message can't be decoded or placed; it goes to the dead-letter topic, once a message.

    `reasons` and `indices` are parallel: why, and which reading of the message, from 0; -1 is the message as
    a whole.
    """

    message: int  # place in Messages
    reasons: tuple[str, ...]
    indices: tuple[int, ...]


GOOD, MISSING, BAD_QUALITY = 0, 1, 2
"""Faults of a reading as it came: a usable value; none (NaN, null, empty); one that its sender or its text
(`Bad`, `I/O Timeout`) calls bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """A batch of readings as columns, in log order.

    The last three columns are what Kafka brings; a file leaves them out.
    Raises ValueError if the columns differ in length or a reading names no series.
    """

    series: tuple[str, ...]  # ids, each once; not all need to have readings
    series_index: npt.NDArray[np.int32]  # [N] into series
    event_time_ms: Int64Array  # [N] UTC
    value: Float64Array  # [N] NaN where there is no usable value
    fault: npt.NDArray[np.int8] | None = None  # [N] GOOD, MISSING, BAD_QUALITY; None: from NaN
    clock_ms: Int64Array | None = None  # [N] broker timestamps; None: the event times themselves
    message: npt.NDArray[np.int32] | None = None  # [N] place in Messages, ascending
    index: npt.NDArray[np.int32] | None = None  # [N] number of the reading in its message

    def __post_init__(self) -> None:
        columns = (self.fault, self.clock_ms, self.message, self.index)
        if any(column is not None and column.shape != self.value.shape for column in columns):
            raise ValueError("expected fault, clock_ms, message and index to be as long as value")
        shapes = [column.shape for column in (self.series_index, self.event_time_ms, self.value)]
        if len(shapes[0]) != 1 or len(set(shapes)) != 1:
            raise ValueError(
                "expected series_index, event_time_ms and value of one length, "
                f"but their shapes are {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        if len(self):
            low, high = int(self.series_index.min()), int(self.series_index.max())
            if low < 0 or high >= len(self.series):
                raise ValueError(
                    f"expected series_index in 0..{len(self.series) - 1} for {len(self.series)} series, "
                    f"but it reaches from {low} to {high}"
                )

    def __len__(self) -> int:
        return int(self.series_index.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """Forecasts made after one wave, in the series' own units; `[N, E, H]` float32."""

    series: Sequence[str]  # [N]
    event_time_ms: Int64Array  # [N] of the origin, on the grid
    step_ms: Int64Array  # [N] cadence of the series
    forecasters: Sequence[str]  # [E]
    mean: npt.NDArray[np.float32]
    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]
    followed: Sequence[str] = ()  # [N] who stands in the column `leader`, if there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message of the alerts topic; its fields are those of the contract, times in epoch milliseconds."""

    id: str
    kind: str  # silent, bad_quality, out_of_range, anomaly, stuck
    state: str  # noted, firing, resolved
    severity: str
    series: str
    name: str
    unit: str
    labels: Mapping[str, str]  # site, area, equipment, owner
    started: int
    ended: int | None
    time: int
    value: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float | None
    reason: str
    forecaster: str | None
    resolution: str | None  # recovered, shifted, retired
    readings_learned: int | None = None  # of the series so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How right one wave proved what was said before: rows [N] in any order, each slot at most once. They
    come last, as the bank has them.

    E forecasters and Q scored steps in the order that the worker was built with. Errors and widths are in
    units of the series' naive one-step error (floored), so that the mean of |error| is MASE. Where `scored`
    is False, the other columns mean nothing.
    """

    slots: Int64Array  # [N] of the shard
    scored: BoolArray  # [Q, N] a forecast for this reading was judged
    error: npt.NDArray[np.float32]  # [E, Q, N] value less forecast
    missed: BoolArray  # [E, Q, N] the value lay outside the interval
    width: npt.NDArray[np.float32]  # [E, Q, N] of the interval
    replaced: Int64Array  # [E] new forecasts that were not believable and were replaced by naive


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is declared of a series, for who shows it."""

    series: str
    name: str
    unit: str
    labels: Mapping[str, str]  # site, area, equipment, owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Series that are shown one by one, beside what was said about this reading before. N of them, E
    forecasters and L steps in the order that the worker was built with; in the series' own units."""

    places: Int64Array  # [N] among the profiles that were told last
    value: Float64Array  # [N] the last usable one where masked; NaN where there was none
    fault: npt.NDArray[np.int8]  # [N] why it is masked, 0 where it isn't
    said: Float64Array  # [N, L, E, 3] mean, lower, upper; NaN where nothing was said
    readings_learned: Int64Array  # [N]
    score: Float64Array | None = None  # [N] 1.0 pages; NaN where the reading was not judged; None: none was
