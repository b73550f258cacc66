"""Arrow messages that begin as an earlier one did: the same sensors by the same sender, again.

Schema and dictionary are then the same bytes, which were checked and looked up before; what is left to read
is one record batch, in which a dictionary column is a column of whole numbers. A quarter of the time of
reading everything. Whatever is not exactly so is left to the way that reads everything (`arrow`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from pipeline.codec.drafts import Columns
from pipeline.codec.flatbuffers import read_batch_facts
from pipeline.codec.reasons import Reason
from pipeline.codec.times import scale_times
from pipeline.codec.values import split_faults
from pipeline.records import Int64Array

MAX_OPENINGS = 16
MAX_OPENING_BYTES = 256 * 1024
"""With as many, 4 MiB are kept."""
PATIENCE = 64
"""Messages in a row that begin like none before, after which only every so-manyth opening is kept."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
_MARK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a message begins, and what follows from that. numbers: of the series by dictionary index, below 0
    the negative number of a reason; schema: with whole numbers in place of the dictionary column."""

    content: bytes
    schema: Any
    series: int
    time: int
    value: int
    unit: str
    numbers: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The record batch of one message, as it stands there: [N] each, read-only."""

    opening: Opening
    index: npt.NDArray[np.uint64]
    time: Int64Array
    value: npt.NDArray[np.floating[Any]]


class Repeats:
    """Openings that were seen lately, the last one first."""

    def __init__(self, max_readings: int) -> None:
        self._max_readings = max_readings
        self._openings: list[Opening] = []
        self._misses = 0

    def forget(self) -> None:
        """The numbers of series are given anew."""
        self._openings = []

    def read(self, payload: bytes) -> Part | None:
        """None where the message has to be read as a whole."""
        for place, opening in enumerate(self._openings):
            if payload.startswith(opening.content):
                if place:
                    self._openings.insert(0, self._openings.pop(place))
                self._misses = 0
                return self._read_rest(payload, opening)
        self._misses += 1
        return None

    def is_worth(self) -> bool:
        """Whether to keep the opening of the message that `read` has just not known."""
        return 0 < self._misses <= PATIENCE or self._misses % PATIENCE == 1

    def keep(
        self,
        payload: bytes,
        columns: dict[str, int],
        schema: Any,
        unit: str,
        numbers: Int64Array,
        read: Columns,
    ) -> None:
        """Keep the opening of a message that was read as a whole, and gave `read`.

        columns: the places of series, time and value in the schema. Only where this way reads the same.
        """
        field = schema.field(columns["series"])
        plain = schema.set(columns["series"], pa.field(field.name, field.type.index_type))
        size = _find_opening(payload)
        if not 0 < size <= MAX_OPENING_BYTES:
            return
        opening = Opening(
            content=payload[:size],
            schema=plain,
            series=columns["series"],
            time=columns["time"],
            value=columns["value"],
            unit=unit,
            numbers=numbers,
        )
        try:
            part = self._read_rest(payload, opening)
        except (pa.ArrowException, OSError, ValueError):
            return
        if part is not None and _is_same(join([part]), read):  # not so where bytes are in another order
            self._openings = [opening, *self._openings[: MAX_OPENINGS - 1]]

    def _read_rest(self, payload: bytes, opening: Opening) -> Part | None:
        """Raises what pyarrow and the flatbuffers raise for damaged bytes."""
        at = len(opening.content)
        end, message = _read_message(payload, at)
        if message.type != "record batch" or payload[end:] not in (b"", _END):
            return None
        length, compressed = read_batch_facts(message.metadata.to_pybytes(), is_dictionary=False)
        if compressed or not 0 <= length <= self._max_readings:
            return None
        batch = ipc.read_record_batch(message, opening.schema)
        columns = [batch.column(place) for place in (opening.series, opening.time, opening.value)]
        for column in columns:
            column.validate(full=True)
            if column.null_count:
                return None
        index, time, value = columns
        index = index.to_numpy().astype(np.uint64)  # below 0 becomes far too large
        if index.size and int(index.max()) >= opening.numbers.size:
            return None
        if pa.types.is_timestamp(time.type):
            time = time.view(pa.int64())
        return Part(opening=opening, index=index, time=time.to_numpy(), value=value.to_numpy())


def join(parts: Sequence[Part]) -> Columns:
    """Readings of messages with one opening."""
    opening = parts[0].opening
    index, time, value = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "time", "value")
    )
    time_ms, usable = scale_times(time, opening.unit)
    value, fault = split_faults(value.astype(np.float64, copy=False))
    return Columns(
        number=opening.numbers[index],
        time_ms=time_ms,
        value=value,
        fault=fault,
        reason=np.where(usable, np.int8(0), np.int8(Reason.BAD_TIME.value)),
    )


def _is_same(one: Columns, other: Columns) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "value")
        for name in ("number", "time_ms", "value", "fault", "reason")
    )


def _find_opening(payload: bytes) -> int:
    """Bytes of a schema and one dictionary; 0 where the stream begins otherwise."""
    end = 0
    for kind in ("schema", "dictionary"):
        try:
            end, message = _read_message(payload, end)
        except (pa.ArrowException, OSError, ValueError):
            return 0
        if message.type != kind:
            return 0
    return end


def _read_message(payload: bytes, at: int) -> tuple[int, Any]:
    """Where an encapsulated message ends, and the message. Raises ValueError for another way to write one."""
    try:
        mark, size = struct.unpack_from("<Ii", payload, at)
    except struct.error as error:
        raise ValueError(f"expected a message at byte {at} of {len(payload)}") from error
    if mark != _MARK or size <= 0:
        raise ValueError(f"expected the mark of a message at byte {at}")
    message = ipc.read_message(pa.py_buffer(payload).slice(at))
    return at + 8 + size + (0 if message.body is None else message.body.size), message
