"""Readings as the values of Kafka messages, in the formats that a worker reads."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.records import GOOD, Readings

FORMATS = ("json", "columns", "arrow")
QUALITY = ("good", "bad")

_ENCODER = msgspec.json.Encoder()


class _Object(msgspec.Struct, omit_defaults=True):
    series: str
    time: int  # epoch milliseconds
    value: float  # NaN is written as null; all else so that the same double is read back
    quality: str | msgspec.UnsetType = msgspec.UNSET


class Encoder:
    """Encodes the readings of one partition. ``format`` is one of FORMATS; a message has ``batch`` readings.

    ``json`` with a batch of one gives an object keyed by its series, with more an array. Messages of several
    readings have no key. ``with_quality`` adds a field ``quality``, which is ``good`` or ``bad``.
    """

    def __init__(self, format: str, batch: int, *, with_quality: bool) -> None:
        if format not in FORMATS or batch < 1:
            raise ValueError(f"expected one of {FORMATS} and a batch of at least 1, got {format}, {batch}")
        self._format, self._batch, self._with_quality = format, batch, with_quality

    def encode(self, readings: Readings) -> Iterator[tuple[bytes | None, bytes]]:
        """Keys and values of the messages, in the order of the readings."""
        if self._format == "json" and self._batch == 1:
            for one in self._make_objects(readings):
                yield one.series.encode(), _ENCODER.encode(one)
            return
        encode = {"json": self._encode_array, "columns": self._encode_columns, "arrow": self._encode_arrow}
        for start in range(0, len(readings), self._batch):
            yield None, encode[self._format](take_readings(readings, slice(start, start + self._batch)))

    def _make_objects(self, readings: Readings) -> list[_Object]:
        columns = zip(
            self._list_series(readings), readings.event_time_ms.tolist(), readings.value.tolist(), strict=True
        )
        if self._with_quality:
            return [
                _Object(series, time, value, quality)
                for (series, time, value), quality in zip(columns, self._list_quality(readings), strict=True)
            ]
        return [_Object(series, time, value) for series, time, value in columns]

    def _encode_array(self, readings: Readings) -> bytes:
        return _ENCODER.encode(self._make_objects(readings))

    def _encode_columns(self, readings: Readings) -> bytes:
        columns = {
            "series": self._list_series(readings),
            "time": readings.event_time_ms.tolist(),
            "value": readings.value.tolist(),
        }
        if self._with_quality:
            columns["quality"] = self._list_quality(readings)
        return _ENCODER.encode(columns)

    def _encode_arrow(self, readings: Readings) -> bytes:
        used, codes = np.unique(readings.series_index, return_inverse=True)
        ids = pa.array([readings.series[at] for at in used], pa.string())
        columns = {
            "series": pa.DictionaryArray.from_arrays(codes.ravel().astype(np.int32), ids),
            "time": pa.array(readings.event_time_ms, pa.timestamp("ms", tz="UTC")),
            "value": pa.array(readings.value, pa.float64(), from_pandas=True),
        }
        if self._with_quality:
            columns["quality"] = pa.array(self._list_quality(readings), pa.string())
        batch = pa.RecordBatch.from_pydict(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    def _list_series(self, readings: Readings) -> list[str]:
        return [readings.series[at] for at in readings.series_index.tolist()]

    def _list_quality(self, readings: Readings) -> Sequence[str]:
        if readings.fault is None:
            return [QUALITY[0]] * len(readings)
        return [QUALITY[fault] for fault in (readings.fault != GOOD).astype(int).tolist()]


def take_readings(readings: Readings, rows: slice | np.ndarray) -> Readings:
    return Readings(
        series=readings.series,
        series_index=readings.series_index[rows],
        event_time_ms=readings.event_time_ms[rows],
        value=readings.value[rows],
        fault=None if readings.fault is None else readings.fault[rows],
    )
