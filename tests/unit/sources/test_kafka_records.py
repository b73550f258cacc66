from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition, errors
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords, MemoryRecordsBuilder

from pipeline.sources.kafka_records import PartitionRecords, _read_all, _read_each, read_batch, read_varint

LZ4 = 3

texts = st.none() | st.binary(max_size=300)
records = st.tuples(
    st.integers(0, 2**42),
    texts,
    texts,
    st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3),
)


def build(rows: list[tuple[int, Any, Any, Any]], codec: int = 0) -> bytes:
    builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=1 << 20)
    for timestamp, key, value, headers in rows:
        assert builder.append(timestamp, key, value, headers) is not None
    builder.close()
    return bytes(builder.buffer())


@given(st.lists(records, min_size=1, max_size=20), st.sampled_from([0, LZ4]), st.sampled_from([1, 40]))
def test_records_are_those_that_the_library_reads(
    rows: list[tuple[int, Any, Any, Any]], codec: int, times: int
) -> None:
    """Few and many of them, which are read in two ways."""
    rows = rows * times
    data = build(rows, codec)
    theirs = [
        (each.offset, each.timestamp, each.key, each.value, each.headers)
        for each in MemoryRecords(data).next_batch()
    ]
    assert [tuple(each) for each in read_batch(MemoryRecords(data).next_batch())] == theirs
    assert len(theirs) == len(rows)


@given(
    st.lists(st.tuples(st.integers(0, 2**42), texts, texts, st.just([])), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
)
def test_many_at_once_are_those_read_one_by_one(
    rows: list[tuple[int, Any, Any, Any]], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(build(rows * 32))
    for at, byte in damage:
        data[61 + at % (len(data) - 61)] = byte
    batch = MemoryRecords(bytes(data)).next_batch()
    body = bytes(batch._buffer)
    try:
        expected = list(_read_each(batch, body))
    except (IndexError, ValueError, errors.CorruptRecordError):
        with pytest.raises((IndexError, ValueError)):
            list(_read_all(batch, body))
        return
    try:
        found = list(_read_all(batch, body))
    except (IndexError, ValueError):
        assert damage  # then they are read one by one: some say that they have headers, if only -1 of them
        return
    assert found == expected


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints(number: int) -> None:
    zigzag = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while zigzag > 0x7F:
        encoded.append((zigzag & 0x7F) | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    assert read_varint(bytes(encoded), 0) == (number, len(encoded))


def test_varint_that_never_ends() -> None:
    with pytest.raises(ValueError, match="more than ten bytes"):
        read_varint(b"\xff" * 20, 0)


def read(data: bytes, check_crcs: bool = True) -> PartitionRecords:
    return PartitionRecords(
        0,
        TopicPartition("readings", 3),
        MemoryRecords(data),
        check_crcs=check_crcs,
        isolation_level=IsolationLevel.READ_COMMITTED,
    )


def test_damaged_batch_is_an_error_and_the_end() -> None:
    good = build([(1, b"k", b"v", [])])
    bad = bytearray(good)
    bad[-1] ^= 0xFF
    found = read(bytes(bad))
    with pytest.raises(
        errors.CorruptRecordError, match="readings/3: the batch at offset 0 has another checksum"
    ):
        found.take(10)
    assert not found  # the fetcher lets go of it, and asks the broker again


@given(st.binary(min_size=1, max_size=60))
def test_bytes_that_are_no_records_are_an_error_and_the_end(garbage: bytes) -> None:
    header = build([(1, b"k", b"v", [])])[:61]
    body = bytearray(header + garbage)
    body[8:12] = (len(body) - 12).to_bytes(4, "big")
    body[57:61] = (5).to_bytes(4, "big")  # so many records, it says
    found = read(bytes(body), check_crcs=False)
    taken = 0
    with pytest.raises(errors.CorruptRecordError):  # noqa: PT012
        for _ in range(10):
            taken += len(found.take(1))
            if not found:
                # What was read before the damage is handed out, the rest asked for again.
                raise errors.CorruptRecordError
    assert taken < 5
    assert not found


def test_position_moves_over_a_whole_batch() -> None:
    found = read(build([(1, b"k", b"1", []), (2, b"k", b"2", [])]))
    assert [each.value for each in found.take(1)] == [b"1"]
    assert found.next_fetch_offset == 1
    assert [each.value for each in found.take(10)] == [b"2"]
    assert found.next_fetch_offset == 2
    assert not found
