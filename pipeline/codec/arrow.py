"""Arrow IPC streams: straight to arrays, no Python object a reading."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from pipeline.codec import arrow_repeats
from pipeline.codec.arrow_ids import ArrowIds, is_text
from pipeline.codec.arrow_repeats import Part, Repeats
from pipeline.codec.drafts import Columns, Draft, Int8Array, join_columns
from pipeline.codec.flatbuffers import read_batch_facts
from pipeline.codec.ids import Ids
from pipeline.codec.options import CodecOptions
from pipeline.codec.reasons import Reason
from pipeline.codec.times import read_times, scale_times
from pipeline.codec.values import Qualities, split_faults
from pipeline.records import BAD_QUALITY, Int64Array

PARTS = ("series", "time", "value", "quality")


class ArrowDecoder:
    """Messages to columns.

    Columns that are not asked for are skipped. Compressed batches are refused (see `flatbuffers`): Kafka
    compresses whole batches of messages. Each column is validated in full before it is read, so that damaged
    offsets can't lead outside of the message. A message of 1 000 readings takes some 75 µs, one that begins
    as an earlier one did (see `arrow_repeats`) a quarter of that.
    """

    def __init__(self, options: CodecOptions, ids: Ids) -> None:
        fields = options.fields
        self._names = {
            "series": fields.series or "series",
            "time": fields.time or "time",
            "value": fields.value or "value",
        }
        if fields.quality is not None:
            self._names["quality"] = fields.quality
        self._max_readings = options.max_readings
        self._unit = options.time_unit or "auto"
        self._ids = ArrowIds(ids)
        self._repeats = Repeats(options.max_readings)
        self._generation = ids.generation
        self._numbers = ids
        self._qualities = Qualities(fields.good)

    def decode(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns:
        if self._generation != self._numbers.generation:
            self._repeats.forget()
            self._generation = self._numbers.generation
        columns: list[Columns] = []
        repeated: list[Part] = []  # those not yet joined
        for place, payload in zip(places, payloads, strict=True):
            part = self._read_again(payload)
            if part is not None:
                if draft.admit(place, part.value.size):
                    if repeated and repeated[0].opening is not part.opening:
                        columns.append(arrow_repeats.join(repeated))
                        repeated = []
                    repeated.append(part)
                continue
            key, clock_ms = draft.messages.key[place], int(draft.messages.timestamp_ms[place])
            found = self._read(payload, key, clock_ms)
            if isinstance(found, Reason):
                draft.reject(place, found)
            elif draft.admit(place, found.value.size):
                if repeated:
                    columns.append(arrow_repeats.join(repeated))
                    repeated = []
                columns.append(found)
        if repeated:
            columns.append(arrow_repeats.join(repeated))
        return join_columns(columns)

    def _read_again(self, payload: bytes) -> Part | None:
        try:
            return self._repeats.read(payload)
        except (pa.ArrowException, OSError, ValueError):
            return None  # read as a whole, it is found out what is wrong with it

    def _read(self, payload: bytes, key: bytes | None, clock_ms: int) -> Columns | Reason:
        try:
            schema = self._look(payload)
            columns = schema if isinstance(schema, Reason) else self._find_columns(schema)
            if isinstance(columns, Reason):
                return columns
            options = _choose_fields(tuple(sorted(columns.values())))
            batches = list(ipc.open_stream(payload, options=options))
            parts = [self._read_batch(batch, columns, key, clock_ms) for batch in batches]
        except (pa.ArrowException, OSError, ValueError):
            return Reason.NOT_DECODABLE
        found = join_columns(parts)
        if len(batches) == 1 and self._repeats.is_worth():
            self._keep(payload, schema, columns, batches[0], found)
        return found

    def _keep(self, payload: bytes, schema: Any, columns: dict[str, int], batch: Any, read: Columns) -> None:
        """Remember how the message begins, if it is of the kind that can be read by that."""
        if set(columns) != {"series", "time", "value"}:
            return
        series, time, value = (schema.field(columns[part]).type for part in ("series", "time", "value"))
        is_timestamp = pa.types.is_timestamp(time)
        unit = time.unit if is_timestamp else self._unit
        if (
            not pa.types.is_dictionary(series)
            or not (is_timestamp or pa.types.is_int64(time))
            or not (pa.types.is_float64(value) or pa.types.is_float32(value))
            or unit == "rfc3339"
        ):
            return
        texts = batch.column(sorted(columns.values()).index(columns["series"])).dictionary
        if not texts.null_count:  # where there is nothing, the key is the series: another one in each message
            self._repeats.keep(payload, columns, schema, unit, self._ids.find_texts(texts), read)

    def _look(self, payload: bytes) -> Any | Reason:
        """Go through the messages of the stream without reading their bodies; returns its schema."""
        messages = iter(ipc.MessageReader.open_stream(payload))
        first = next(messages, None)
        if first is None or first.type != "schema":
            return Reason.NOT_DECODABLE
        rows = 0
        for message in messages:
            if message.type not in ("record batch", "dictionary"):
                continue
            is_dictionary = message.type == "dictionary"
            length, compressed = read_batch_facts(message.metadata.to_pybytes(), is_dictionary=is_dictionary)
            if compressed or length < 0:
                return Reason.NOT_DECODABLE
            if not is_dictionary:
                rows += length
        return Reason.TOO_MANY_READINGS if rows > self._max_readings else ipc.read_schema(first)

    def _find_columns(self, schema: Any) -> dict[str, int] | Reason:
        """The place of each part's column in the schema; what may be left out may be missing."""
        columns: dict[str, int] = {}
        for part, name in self._names.items():
            found = schema.get_all_field_indices(name)
            if len(found) == 1:
                if not _CHECKS[part](schema.field(found[0]).type):
                    return Reason.WRONG_TYPE
                columns[part] = found[0]
            elif found or part == "value":
                return Reason.WRONG_TYPE
        return columns

    def _read_batch(self, batch: Any, columns: dict[str, int], key: bytes | None, clock_ms: int) -> Columns:
        order = sorted(columns.values())  # of the schema, whatever the order here
        found = {part: batch.column(order.index(at)) for part, at in columns.items()}
        for column in found.values():
            column.validate(full=True)
        time_ms, reason = self._read_times(found.get("time"), batch.num_rows, clock_ms)
        value, fault = split_faults(_to_numpy(found["value"].cast(pa.float64(), safe=False), np.nan))
        if "quality" in found:
            bad, quality_reason = self._judge(found["quality"])
            reason = np.where(reason != 0, reason, quality_reason)
            value, fault = np.where(bad, np.nan, value), np.where(bad, np.int8(BAD_QUALITY), fault)
        return Columns(
            number=self._ids.read(found.get("series"), batch.num_rows, key),
            time_ms=time_ms,
            value=value,
            fault=fault,
            reason=reason,
        )

    def _read_times(self, column: Any, rows: int, clock_ms: int) -> tuple[Int64Array, Int8Array]:
        clock_reason = 0 if clock_ms >= 0 else Reason.NO_TIME.value
        if column is None:
            return np.full(rows, clock_ms, dtype=np.int64), np.full(rows, clock_reason, dtype=np.int8)
        if pa.types.is_timestamp(column.type):
            unit = column.type.unit
            number = _to_numpy(column.view(pa.int64()), 0)
        else:
            unit = self._unit
            try:
                number = _to_numpy(column.cast(pa.int64()), 0)
            except pa.ArrowInvalid:  # beyond int64
                return read_times(column.to_pylist(), unit, np.full(rows, clock_ms, dtype=np.int64))
        if unit == "rfc3339":
            time_ms, usable = np.zeros_like(number), np.zeros(number.shape, dtype=np.bool_)
        else:
            time_ms, usable = scale_times(number, unit)
        reason = np.where(usable, np.int8(0), np.int8(Reason.BAD_TIME.value))
        if column.null_count:
            nothing = column.is_null().to_numpy(zero_copy_only=False)
            time_ms = np.where(nothing, clock_ms, time_ms)
            reason = np.where(nothing, np.int8(clock_reason), reason)
        return time_ms, reason

    def _judge(self, column: Any) -> tuple[Any, Int8Array]:
        if pa.types.is_string_view(column.type):
            # No kernel may touch it: validation passes over null rows, whose views can hold anything.
            return self._qualities.judge(column.to_pylist())
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        bad, reason = self._qualities.judge(column.dictionary.to_pylist())
        place = _to_numpy(column.indices.cast(pa.int64()), len(bad))
        # Null, at the end, counts as good.
        return np.append(bad, False)[place], np.append(reason, np.int8(0))[place]


def _to_numpy(column: Any, filler: float) -> Any:
    """A read-only array, with the filler where there is null."""
    if column.null_count:
        column = column.fill_null(filler)
    return column.to_numpy(zero_copy_only=False)


@functools.lru_cache(maxsize=64)  # 5 microseconds to build
def _choose_fields(fields: tuple[int, ...]) -> Any:
    return ipc.IpcReadOptions(use_threads=False, included_fields=list(fields))


def _is_quality(kind: Any) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return is_text(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner)


def _is_value(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind))


def _is_series(kind: Any) -> bool:
    return is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _is_time(kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_integer(kind))


_CHECKS = {"series": _is_series, "time": _is_time, "value": _is_value, "quality": _is_quality}
