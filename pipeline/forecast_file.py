"""Forecasts of a backtest as a Parquet file: what the forecasts topic would get."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# About 20 MB of numbers at 24 steps.
ROWS_PER_GROUP = 65_536

SCHEMA = pa.schema(
    [
        ("time", pa.int64()),  # of the origin, epoch milliseconds
        ("series", pa.string()),
        ("forecaster", pa.string()),
        ("step_ms", pa.int64()),  # the series' cadence; null while only one reading is known
        ("steps", pa.list_(pa.int32())),
        ("mean", pa.list_(pa.float32())),
        ("lower", pa.list_(pa.float32())),
        ("upper", pa.list_(pa.float32())),
    ]
)


class ForecastFile:
    """Writes a row per origin and forecaster, in row groups as it goes."""

    def __init__(self, path: str | os.PathLike[str], forecasters: Sequence[str]) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA)
        self._forecasters = list(forecasters)
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def write(
        self,
        series: Sequence[str],
        time_ms: npt.NDArray[np.int64],
        step_ms: npt.NDArray[np.int64],
        bounds: Sequence[npt.NDArray[np.float64]],
    ) -> None:
        """``bounds``: mean, lower, upper, each ``[N, E, H]``; a ``step_ms`` of 0 is not known yet."""
        num_rows, num_forecasters, horizon = bounds[0].shape
        total = num_rows * num_forecasters
        offsets = pa.array(np.arange(0, (total + 1) * horizon, horizon, dtype=np.int32))
        steps = pa.array(np.tile(np.arange(1, horizon + 1, dtype=np.int32), total))
        known_ms = np.repeat(step_ms, num_forecasters)
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(bound.astype(np.float32).ravel())) for bound in bounds
        ]
        columns = [
            pa.array(np.repeat(time_ms, num_forecasters)),
            pa.array([name for name in series for _ in self._forecasters], pa.string()),
            pa.array(self._forecasters * num_rows, pa.string()),
            pa.array(known_ms, mask=known_ms == 0),
            pa.ListArray.from_arrays(offsets, steps),
            *lists,
        ]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        self._rows += total
        if self._rows >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches).combine_chunks())
            self._batches, self._rows = [], 0
