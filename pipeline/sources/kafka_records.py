"""Records out of fetched batches, in place of kafka-python's own loop over them.

For two reasons. A record that 3.0.12 can't read (a header whose name is not UTF-8, as any C client may send,
or a damaged batch) makes its `poll` spin for ever. And most of its time goes into fields that nobody here
asks for, one record after the other; here the fields of a whole batch are found at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from kafka import errors
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel

_DEFAULT = 2  # the format of records since Kafka 0.11
_LOG_APPEND_TIME = 1
_NO_HEADERS: list[tuple[str, bytes]] = []
_MANY = 32
"""Records from which on looking at all of them at once is quicker than at one after the other."""
_LONGEST_SHIFT = 56  # of a varint that int64 holds for sure

Ints = npt.NDArray[np.int64]


class Record(NamedTuple):
    """What of a record is used."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class PartitionRecords(Fetcher.PartitionRecords):
    """The records of one partition in one answer of a broker.

    Where a batch can't be read, it ends, and the error is raised; the next poll asks the broker for it again.
    """

    def _unpack_records(self, tp: Any, records: Any, *_: Any) -> Iterator[Record]:
        try:
            yield from self._read_batches(records)
        except Exception as error:
            self.drain()  # or the fetcher would ask this for more records, and get none, for ever
            if isinstance(error, errors.KafkaError):
                raise
            raise errors.CorruptRecordError(
                f"{tp.topic}/{tp.partition}: no record can be read at offset {self.next_fetch_offset}: "
                f"{error!r}"
            ) from error

    def _read_batches(self, records: Any) -> Iterator[Record]:
        while (batch := records.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                raise errors.CorruptRecordError(
                    f"{self.topic_partition.topic}/{self.topic_partition.partition}: "
                    f"the batch at offset {batch.base_offset} has another checksum than it says"
                )
            if batch.magic != _DEFAULT:
                raise errors.CorruptRecordError(f"expected records of format 2, but it is {batch.magic}")
            self.leader_epoch = batch.leader_epoch
            self.bytes_read += batch.size_in_bytes  # more than none: then it is another partition's turn
            if not self._is_hidden(batch):
                for record in read_batch(batch):
                    self.records_read += 1
                    self.next_fetch_offset = record.offset + 1
                    yield record
            # The end of a batch may lie behind its last record, where the log was compacted.
            self.next_fetch_offset = batch.next_offset
        self.drain()

    def _is_hidden(self, batch: Any) -> bool:
        """Marks of transactions, and what belongs to an aborted one."""
        hidden = bool(batch.is_control_batch)
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                hidden = True
        return hidden


def read_batch(batch: Any) -> Iterator[Record]:
    """Records of a DefaultRecordBatch. A name of a header that is not UTF-8 gets signs of replacement.

    Raises IndexError, ValueError or CorruptRecordError for bytes that are no records.
    """
    batch._maybe_uncompress()
    buffer = bytes(batch._buffer)
    if batch.records_count >= _MANY:
        try:
            return _read_all(batch, buffer)
        except (IndexError, ValueError):
            pass  # one by one: some have headers, or are damaged and those before them are not
    return _read_each(batch, buffer)


def _read_all(batch: Any, buffer: bytes) -> Iterator[Record]:
    """All at once. Raises ValueError or IndexError where that can't be done."""
    body, end = _find_bodies(buffer, batch._pos, batch.records_count)
    data = np.frombuffer(buffer, np.uint8)
    since_first_ms, at = _read_varints(data, body + 1)  # behind the attributes
    offset_delta, at = _read_varints(data, at)
    key_size, key_at = _read_varints(data, at)
    value_size, value_at = _read_varints(data, key_at + np.maximum(key_size, 0))
    at = value_at + np.maximum(value_size, 0)
    if (at + 1 != end).any() or data[at].any():
        raise ValueError("some have headers, or another length than they say")
    if batch.timestamp_type == _LOG_APPEND_TIME:
        times: Iterator[int] | list[int] = itertools.repeat(batch.max_timestamp, end.size)
    else:
        times = (batch.first_timestamp + since_first_ms).tolist()
    columns = (
        (batch.base_offset + offset_delta).tolist(),
        times,
        _cut(buffer, key_at, key_size),
        _cut(buffer, value_at, value_size),
        itertools.repeat(_NO_HEADERS, end.size),
    )
    # a quarter of the time of Record(...)
    return map(partial(tuple.__new__, Record), zip(*columns, strict=True))


def _find_bodies(buffer: bytes, at: int, count: int) -> tuple[Ints, Ints]:
    """Where each record begins behind its length, and where it ends: what can't be found at once."""
    begins, ends = [], []
    for _ in range(count):
        low = buffer[at]
        if low < 0x80:
            length, at = low >> 1, at + 1
        elif (high := buffer[at + 1]) < 0x80:
            length, at = (low & 0x7F | high << 7) >> 1, at + 2
        else:
            length, at = read_varint(buffer, at)
        if low & 1:
            raise ValueError("a length below 0")
        begins.append(at)
        at += length
        ends.append(at)
    if at != len(buffer):
        raise ValueError("bytes are left, or missing")
    return np.array(begins, np.int64), np.array(ends, np.int64)


def _read_varints(data: npt.NDArray[np.uint8], at: Ints) -> tuple[Ints, Ints]:
    """As `read_varint` at each of these places."""
    byte = data[at]
    number, at = (byte & 0x7F).astype(np.int64), at + 1
    going, shift = np.flatnonzero(byte & 0x80), 7
    while going.size:
        if shift > _LONGEST_SHIFT:
            raise ValueError("a varint is longer than int64 takes")
        byte = data[at[going]]
        number[going] |= (byte & 0x7F).astype(np.int64) << shift
        at[going] += 1
        going, shift = going[byte >= 0x80], shift + 7
    return (number >> 1) ^ -(number & 1), at


def _cut(buffer: bytes, at: Ints, size: Ints) -> Sequence[bytes | None]:
    """Bytes at these places, None where the size is below 0."""
    cut = [buffer[start:stop] for start, stop in zip(at.tolist(), (at + size).tolist(), strict=True)]
    if int(size.min()) >= 0:
        return cut
    return [None if length < 0 else one for one, length in zip(cut, size.tolist(), strict=True)]


def _read_each(batch: Any, buffer: bytes) -> Iterator[Record]:
    at = batch._pos
    base_offset, first_ms, last_ms = batch.base_offset, batch.first_timestamp, batch.max_timestamp
    by_broker = batch.timestamp_type == _LOG_APPEND_TIME
    for _ in range(batch.records_count):
        length, at = read_varint(buffer, at)
        end = at + length
        at += 1  # attributes: none are defined
        since_first_ms, at = read_varint(buffer, at)
        offset_delta, at = read_varint(buffer, at)
        key, at = _read_bytes(buffer, at)
        value, at = _read_bytes(buffer, at)
        headers = _NO_HEADERS
        if buffer[at]:
            headers, at = _read_headers(buffer, at)
        else:
            at += 1
        if at != end or at > len(buffer):
            raise errors.CorruptRecordError(f"a record of {length} bytes has {at - end + length}")
        timestamp = last_ms if by_broker else first_ms + since_first_ms
        yield Record(base_offset + offset_delta, timestamp, key, value, headers)
    if at != len(buffer):
        raise errors.CorruptRecordError(f"{len(buffer) - at} bytes are left behind the last record")


def read_varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint (as protocol buffers have them), and the place behind it."""
    byte = buffer[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while True:
        byte = buffer[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a varint has more than ten bytes")


def _read_bytes(buffer: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = read_varint(buffer, at)
    if length < 0:
        return None, at
    end = at + length
    return buffer[at:end], end


def _read_headers(buffer: bytes, at: int) -> tuple[list[tuple[str, bytes]], int]:
    number, at = read_varint(buffer, at)
    headers = []
    for _ in range(number):
        name, at = _read_bytes(buffer, at)
        value, at = _read_bytes(buffer, at)
        headers.append(((name or b"").decode(errors="replace"), value or b""))
    return headers, at
