"""Values of the messages that are sent: forecasts as JSON or Arrow, alerts as JSON, headers of dead letters.

Letters of dimensions: N rows of a wave, E forecasters, H steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from pipeline.kafka_options import EmitterOptions
from pipeline.records import Alert, Forecasts, Messages, Rejected

LEADER = "leader"  # the column whose forecasters `Forecasts.followed` names
VERSION = 1  # of forecasts and of alerts
MAX_INDICES = 100  # refused readings named in a dead letter
CUT_BYTES = 1024  # of the value of a message too large to be sent again

_ROW_BYTES = 500_000  # of one Arrow message, about: brokers take 1 MB

_encode = msgspec.json.Encoder().encode
_TIME = pa.timestamp("ms", tz="UTC")
_FORECASTS = pa.schema(
    {
        "version": pa.int32(), "series": pa.string(), "time": _TIME, "forecaster": pa.string(),
        "step_ms": pa.int64(), "steps": pa.list_(pa.int32()), "mean": pa.list_(pa.float32()),
        "lower": pa.list_(pa.float32()), "upper": pa.list_(pa.float32()),
    }
)  # fmt: skip
"""Of an Arrow message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a wave is sent."""

    rows: npt.NDArray[np.intp]  # [N]
    forecasters: tuple[tuple[int, str], ...]  # place in the wave and name
    steps: npt.NDArray[np.int64]  # steps ahead, from 1

    @property
    def is_empty(self) -> bool:
        return not (self.rows.size and self.forecasters and self.steps.size)


def select(forecasts: Forecasts, options: EmitterOptions) -> Selection:
    """Every n-th is counted on the series' grid, so that a replay sends the same."""
    steps = np.arange(1, forecasts.mean.shape[2] + 1)
    if options.steps:
        steps = steps[np.isin(steps, options.steps)]
    wanted = [
        (at, name)
        for at, name in enumerate(forecasts.forecasters)
        if not options.forecasters or name in options.forecasters
    ]
    place = forecasts.event_time_ms // np.maximum(forecasts.step_ms, 1)
    return Selection(rows=np.flatnonzero(place % options.every == 0), forecasters=tuple(wanted), steps=steps)


def encode_json(forecasts: Forecasts, chosen: Selection) -> Iterator[tuple[int, bytes]]:
    """Row of the wave and value of each message; a float32 is written in as few digits as name it."""
    steps = chosen.steps.tolist()
    for at, name in chosen.forecasters:
        mean, lower, upper = (
            np.ascontiguousarray(bound[chosen.rows, at][:, chosen.steps - 1])
            for bound in (forecasts.mean, forecasts.lower, forecasts.upper)
        )
        times = forecasts.event_time_ms[chosen.rows].tolist()
        cadences = forecasts.step_ms[chosen.rows].tolist()
        for n, row in enumerate(chosen.rows.tolist()):
            message = {
                "version": VERSION,
                "series": forecasts.series[row],
                "time": times[n],
                "forecaster": forecasts.followed[row] if name == LEADER else name,
                "step_ms": cadences[n],
                "steps": steps,
                "mean": mean[n],
                "lower": lower[n],
                "upper": upper[n],
            }
            yield row, orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_arrow(
    forecasts: Forecasts, chosen: Selection, partition_N: npt.NDArray[np.int64]
) -> Iterator[tuple[int, bytes]]:
    """Partition and value of each message: an IPC stream with a batch of one forecaster and one partition.

    `partition_N` says in which partition each row of the wave lies, so that all forecasts of a series come in
    one partition, in order, as they do with JSON.
    """
    largest = max(1, _ROW_BYTES // (12 * chosen.steps.size + 64))
    # one table for all of them, sorted by partition: a message is a slice of it, which costs no copy
    by_partition = np.argsort(partition_N[chosen.rows], kind="stable")
    rows = chosen.rows[by_partition]
    partitions, starts = np.unique(partition_N[rows], return_index=True)
    batches = [_make_batch(forecasts, chosen, rows, at, name) for at, name in chosen.forecasters]
    for partition, first, end in zip(
        partitions.tolist(), starts.tolist(), [*starts[1:].tolist(), rows.size], strict=True
    ):
        for start in range(first, end, largest):
            for batch in batches:
                yield partition, _write_stream(batch.slice(start, min(largest, end - start)))


def _make_batch(
    forecasts: Forecasts, chosen: Selection, rows: npt.NDArray[np.intp], at: int, name: str
) -> pa.RecordBatch:
    number, width = rows.size, chosen.steps.size
    ends = pa.array(np.arange(0, (number + 1) * width, width, dtype=np.int32))
    is_whole = width == forecasts.mean.shape[2]  # then the steps need no choosing, which is another copy

    def gather(bound: npt.NDArray[np.float32]) -> pa.ListArray:
        found = bound[rows, at]
        return pa.ListArray.from_arrays(
            ends, pa.array((found if is_whole else found[:, chosen.steps - 1]).ravel())
        )

    steps = np.broadcast_to(chosen.steps.astype(np.int32), (number, width))
    columns = [
        pa.array(np.full(number, VERSION, dtype=np.int32)),
        pa.array([forecasts.series[row] for row in rows.tolist()], pa.string()),
        pa.array(forecasts.event_time_ms[rows]).view(_TIME),
        pa.array([forecasts.followed[row] for row in rows.tolist()], pa.string())
        if name == LEADER
        else pa.repeat(name, number),
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


def encode_alert(alert: Alert, options: EmitterOptions) -> bytes:
    """The fields of the record, and which software with which configuration says so."""
    found: dict[str, Any] = {field.name: getattr(alert, field.name) for field in fields(alert)}
    found["labels"] = dict(alert.labels)
    return _encode({"version": VERSION, **found, "software": options.software, "config": options.config})


def list_letter_headers(messages: Messages, refused: Rejected) -> list[tuple[str, bytes]]:
    """Headers of the message, unchanged, and why it is here. A header without a value gets an empty one: the
    library can't send none."""
    at = refused.message
    own = {
        "gatecast-reasons": ",".join(refused.reasons[:MAX_INDICES]),
        "gatecast-indices": ",".join(map(str, refused.indices[:MAX_INDICES])),
        "gatecast-topic": messages.topic,
        "gatecast-partition": str(messages.partition),
        "gatecast-offset": str(messages.offset[at]),
    }
    kept = [(key, value or b"") for key, value in messages.headers[at]]
    return kept + [(key, value.encode()) for key, value in own.items()]
