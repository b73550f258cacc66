"""Messages for codec tests, and what came out of them in a form that can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from pipeline.codec import Decoded
from pipeline.records import Messages

NOW_MS = 1_795_415_863_000
KEY = b"by/key"
WORDS = {0: "good", 1: "missing", 2: "bad_quality"}

Reading = tuple[int, int, str, int, float | None, str]  # message, index, series, time, value, fault


def build_messages(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | bytes | None = None,
    clock_ms: int | Sequence[int] = NOW_MS,
) -> Messages:
    count = len(values)
    return Messages(
        topic="readings",
        partition=0,
        offset=np.arange(count, dtype=np.int64) * 2,
        timestamp_ms=np.broadcast_to(np.array(clock_ms, dtype=np.int64), count).copy(),
        key=list(keys) if isinstance(keys, list | tuple) else [keys] * count,
        value=list(values),
        headers=[()] * count,
    )


def dump(thing: object) -> bytes:
    return json.dumps(thing).encode()


def list_readings(decoded: Decoded) -> list[Reading]:
    """In log order; NaN as None."""
    readings = decoded.readings
    assert readings.fault is not None
    assert readings.message is not None
    assert readings.index is not None
    columns = (
        readings.message.tolist(),
        readings.index.tolist(),
        [readings.series[number] for number in readings.series_index],
        readings.event_time_ms.tolist(),
        [None if math.isnan(value) else value for value in readings.value.tolist()],
        [WORDS[fault] for fault in readings.fault.tolist()],
    )
    return list(zip(*columns, strict=True))


def list_rejections(decoded: Decoded) -> list[tuple[int, int, str]]:
    return [
        (one.message, index, reason)
        for one in decoded.rejected
        for index, reason in zip(one.indices, one.reasons, strict=True)
    ]


def list_outcomes(decoded: Decoded, count: int) -> list[tuple[str, ...]]:
    """For each of so many messages a word for each of its readings, in their order: its fault, or why it was
    rejected. A rejection of the message as a whole has a `=` before it."""
    found: list[list[tuple[int, str]]] = [[] for _ in range(count)]
    for place, index, *_, fault in list_readings(decoded):
        found[place].append((index, fault))
    for place, index, reason in list_rejections(decoded):
        found[place].append((index, f"={reason}" if index < 0 else reason))
    return [tuple(word for _, word in sorted(words)) for words in found]


def check_account(decoded: Decoded, messages: Messages) -> None:
    """Each message has readings or rejections or both, or is a tombstone, or empty; each index comes once."""
    readings, rejections = list_readings(decoded), list_rejections(decoded)
    places = [place for place, *_ in readings]
    assert places == sorted(places)
    assert [one.message for one in decoded.rejected] == sorted({place for place, *_ in rejections})
    indices: dict[int, list[int]] = {}
    for place, index, *_ in [*readings, *rejections]:
        indices.setdefault(place, []).append(index)
    for found in indices.values():
        assert sorted(found) in (list(range(len(found))), [-1])
    assert decoded.tombstones == sum(value is None for value in messages.value)
    assert len(indices) + decoded.tombstones + decoded.empty == len(messages)
    assert decoded.readings.clock_ms is not None
    assert decoded.readings.clock_ms.tolist() == messages.timestamp_ms[places].tolist()


def write_arrow(*batches: pa.RecordBatch, options: ipc.IpcWriteOptions | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def arrow(**columns: object) -> bytes:
    """A stream of one batch."""
    return write_arrow(pa.record_batch(columns))
