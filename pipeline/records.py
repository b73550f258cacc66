"""What flows through the pipeline, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """A batch of readings as columns, in log order.

    Raises ValueError if the columns differ in length or a reading names no series.
    """

    series: tuple[str, ...]  # ids, each once; not all need to have readings
    series_index: npt.NDArray[np.int32]  # [N] into series
    event_time_ms: Int64Array  # [N] UTC
    value: Float64Array  # [N] NaN where there is no usable value

    def __post_init__(self) -> None:
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
