"""Values of forecasts as Arrow: IPC streams with a batch of one forecaster and one partition.

Letters of dimensions: N rows of a wave, E forecasters, H steps.

Waves of the same series follow one another, and their messages differ in times and forecasts only. So the
messages of the last ones are remembered as bytes, and the numbers in them are written over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.exporters.kafka_values import LEADER, VERSION, Selection
from pipeline.records import Forecasts, Int64Array

MESSAGE_BYTES = 500_000  # of one message, about: brokers take 1 MB
REMEMBERED_BYTES = 8 << 20  # of messages, about: 17 000 forecasts of 24 steps; larger waves are encoded anew
REMEMBERED_WAVES = 64  # each of other series: shards in turn, and small waves

Place = Callable[[], Int64Array]
"""In which partition each row of a wave lies."""
_Rows = slice | npt.NDArray[np.intp]
_Key = tuple[str, int, tuple[tuple[int, str], ...], bytes, bytes]

_TIME = pa.timestamp("ms", tz="UTC")
_FORECASTS = pa.schema(
    {
        "version": pa.int32(), "series": pa.string(), "time": _TIME, "forecaster": pa.string(),
        "step_ms": pa.int64(), "steps": pa.list_(pa.int32()), "mean": pa.list_(pa.float32()),
        "lower": pa.list_(pa.float32()), "upper": pa.list_(pa.float32()),
    }
)  # fmt: skip


class _Message:
    """One message, and where its numbers lie in its bytes."""

    def __init__(self, partition: int, at: int, rows: npt.NDArray[np.intp], stream: bytes) -> None:
        """at: place of its forecaster in the wave; rows: of the wave, that it has."""
        self.partition, self.at = partition, at
        self._rows = _cut(rows)
        self._content = bytearray(stream)
        content = pa.py_buffer(self._content)
        batch = pa.ipc.open_stream(content).read_next_batch()  # without a copy: its columns lie in `content`

        def view(column: pa.Array, kind: type) -> npt.NDArray:
            values = column.buffers()[1]
            return np.frombuffer(self._content, kind, len(column), values.address - content.address)

        self._time_ms = view(batch["time"], np.int64)
        self._step_ms = view(batch["step_ms"], np.int64)
        self._bounds = [
            view(batch[name].values, np.float32).reshape(rows.size, -1) for name in ("mean", "lower", "upper")
        ]

    def write(self, forecasts: Forecasts, columns: slice | Int64Array) -> bytes:
        """With the numbers of a wave of the same series."""
        self._time_ms[:] = forecasts.event_time_ms[self._rows]
        self._step_ms[:] = forecasts.step_ms[self._rows]
        said = (forecasts.mean, forecasts.lower, forecasts.upper)
        for place, bound in zip(self._bounds, said, strict=True):
            place[...] = bound[:, self.at][self._rows][:, columns]
        return bytes(self._content)


@dataclass(slots=True)
class _Wave:
    """What the messages of a wave are of. messages: None until the same comes again."""

    size: int  # bytes of its messages, about
    series: list[str]
    followed: list[str]
    messages: list[_Message] | None = None


class ArrowEncoder:
    """Encodes waves, of which the last few are remembered. Not thread-safe."""

    def __init__(self) -> None:
        self._waves: dict[_Key, _Wave] = {}  # the last one that was used at the end
        self._size = 0

    def encode(
        self, forecasts: Forecasts, chosen: Selection, partitions: int, place: Place
    ) -> Iterator[tuple[int, bytes]]:
        """Partition and value of each message. partitions: how many there are; while that and the series are
        the same, `place` is not asked again."""
        key = (
            forecasts.series[0], partitions, chosen.forecasters, chosen.steps.tobytes(), chosen.rows.tobytes()
        )  # fmt: skip
        known = self._waves.pop(key, None)
        self._size -= known.size if known else 0
        # lists of the same strings are compared by their addresses, a few microseconds for 500 of them
        if known is None or known.series != forecasts.series or known.followed != list(forecasts.followed):
            size = chosen.rows.size * len(chosen.forecasters) * _find_row_bytes(chosen)
            self._remember(key, _Wave(size, [*forecasts.series], [*forecasts.followed]))
            for partition, _, _, value in encode_arrow(forecasts, chosen, place()):
                yield partition, value
            return
        self._remember(key, known)
        if known.messages is None:
            known.messages = [_Message(*each) for each in encode_arrow(forecasts, chosen, place())]
        columns = _find_columns(forecasts, chosen)
        for message in known.messages:
            yield message.partition, message.write(forecasts, columns)

    def _remember(self, key: _Key, wave: _Wave) -> None:
        """And forget those that came least lately; a wave that is too large by itself is not kept."""
        self._waves[key] = wave
        self._size += wave.size
        while self._size > REMEMBERED_BYTES or len(self._waves) > REMEMBERED_WAVES:
            self._size -= self._waves.pop(next(iter(self._waves))).size


def encode_arrow(
    forecasts: Forecasts, chosen: Selection, partition_N: Int64Array
) -> Iterator[tuple[int, int, npt.NDArray[np.intp], bytes]]:
    """Of each message its partition, the place of its forecaster in the wave, its rows, and its value.

    `partition_N` says in which partition each row of the wave lies, so that all forecasts of a series come in
    one partition, in order, as they do with JSON.
    """
    largest = max(1, MESSAGE_BYTES // _find_row_bytes(chosen))
    # one table for all of them, sorted by partition: a message is a slice of it, which costs no copy
    by_partition = np.argsort(partition_N[chosen.rows], kind="stable")
    rows = chosen.rows[by_partition]
    partitions, starts = np.unique(partition_N[rows], return_index=True)
    batches = [(at, _make_batch(forecasts, chosen, rows, at, name)) for at, name in chosen.forecasters]
    for partition, first, end in zip(
        partitions.tolist(), starts.tolist(), [*starts[1:].tolist(), rows.size], strict=True
    ):
        for start in range(first, end, largest):
            size = min(largest, end - start)
            for at, batch in batches:
                yield partition, at, rows[start : start + size], _write_stream(batch.slice(start, size))


def _make_batch(
    forecasts: Forecasts, chosen: Selection, rows: npt.NDArray[np.intp], at: int, name: str
) -> pa.RecordBatch:
    number, width = rows.size, chosen.steps.size
    ends = pa.array(np.arange(0, (number + 1) * width, width, dtype=np.int32))
    columns_of = _find_columns(forecasts, chosen)

    def gather(bound: npt.NDArray[np.float32]) -> pa.ListArray:
        return pa.ListArray.from_arrays(ends, pa.array(bound[:, at][rows][:, columns_of].ravel()))

    steps = np.broadcast_to(chosen.steps.astype(np.int32), (number, width))
    columns = [
        pa.array(np.full(number, VERSION, dtype=np.int32)),
        pa.array(_take(forecasts.series, rows), pa.string()),
        pa.array(forecasts.event_time_ms[rows]).view(_TIME),
        pa.array(_take(forecasts.followed, rows), pa.string()) if name == LEADER else pa.repeat(name, number),
        pa.array(forecasts.step_ms[rows]),
        pa.ListArray.from_arrays(ends, pa.array(steps.ravel())),
        gather(forecasts.mean),
        gather(forecasts.lower),
        gather(forecasts.upper),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_FORECASTS)


def _write_stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _take(names: Sequence[str], rows: npt.NDArray[np.intp]) -> list[str]:
    return [names[row] for row in rows.tolist()]


def _find_row_bytes(chosen: Selection) -> int:
    return 12 * int(chosen.steps.size) + 64


def _find_columns(forecasts: Forecasts, chosen: Selection) -> slice | Int64Array:
    """All steps need no choosing, which is another copy."""
    return slice(None) if chosen.steps.size == forecasts.mean.shape[2] else chosen.steps - 1


def _cut(rows: npt.NDArray[np.intp]) -> _Rows:
    """Rows that follow one another as a slice: another copy less."""
    first, end = int(rows[0]), int(rows[0]) + rows.size
    return slice(first, end) if np.array_equal(rows, np.arange(first, end)) else rows
