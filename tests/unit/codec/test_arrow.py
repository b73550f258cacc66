"""Arrow IPC streams."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import CodecOptions, FieldOptions, build_codec
from pipeline.codec.arrow_repeats import Repeats
from tests.unit.codec.batches import (
    NOW_MS,
    arrow,
    build_messages,
    check_account,
    list_outcomes,
    list_readings,
    list_rejections,
    write_arrow,
)

IDS = ["boiler/3/temp", "kühler", "boiler/3/temp"]
OPTIONS = CodecOptions(format="arrow")


@pytest.mark.parametrize(
    "series",
    [
        pa.array(IDS),
        pa.array(IDS, pa.large_string()),
        pa.array(IDS, pa.string_view()),
        pa.array(IDS).dictionary_encode(),
        pa.array(IDS, pa.large_string()).dictionary_encode(),
        pa.array(IDS).dictionary_encode().cast(pa.dictionary(pa.uint8(), pa.string())),
    ],
    ids=lambda column: str(column.type)[:60],
)
def test_types_of_series(series: pa.Array) -> None:
    payload = arrow(series=series, time=pa.array([1, 2, 3], pa.timestamp("ms")), value=[1.5, 2.5, 3.5])
    messages = build_messages([payload, payload])
    decoded = build_codec(OPTIONS).decode(messages)
    check_account(decoded, messages)
    assert list_readings(decoded) == [
        (message, index, IDS[index], index + 1, index + 1.5, "good")
        for message in (0, 1)
        for index in range(3)
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
def test_timestamps_of_any_unit_and_zone(unit: str, zone: str | None) -> None:
    at = datetime.datetime(2026, 11, 23, 6, 37, 43, tzinfo=datetime.UTC)
    time = pa.array([at, None], pa.timestamp(unit, zone or "UTC")).cast(pa.timestamp(unit, zone))
    decoded = build_codec(OPTIONS).decode(
        build_messages([arrow(series=["a", "a"], time=time, value=[1.0, 2.0])])
    )
    assert [time for _, _, _, time, *_ in list_readings(decoded)] == [1_795_415_863_000, NOW_MS]


def test_times_before_1970_are_cut_towards_the_past() -> None:
    time = pa.array([-1, -1_000_001], pa.timestamp("ns"))
    decoded = build_codec(OPTIONS).decode(
        build_messages([arrow(series=["a", "a"], time=time, value=[1.0, 2.0])])
    )
    assert decoded.readings.event_time_ms.tolist() == [-1, -2]


@pytest.mark.parametrize(
    ("unit", "times", "expected"),
    [
        (None, [1795415863000, 1795415863], [1_795_415_863_000] * 2),
        ("s", [1795415863, 0], [1_795_415_863_000, 0]),
        ("ms", [1795415863000, 5], [1_795_415_863_000, 5]),
        ("ns", [1795415863000000000, 999_999], [1_795_415_863_000, 0]),
    ],
)
def test_whole_numbers_as_times(unit: str | None, times: list[int], expected: list[int]) -> None:
    codec = build_codec(CodecOptions(format="arrow", time_unit=unit))
    payload = arrow(series=["a", "a"], time=pa.array(times, pa.int64()), value=[1.0, 2.0])
    assert codec.decode(build_messages([payload])).readings.event_time_ms.tolist() == expected


def test_rfc3339_refuses_numbers_and_takes_timestamps() -> None:
    codec = build_codec(CodecOptions(format="arrow", time_unit="rfc3339"))
    times = [pa.array([1], pa.int64()), pa.array([1], pa.timestamp("ms"))]
    messages = build_messages([arrow(series=["a"], time=time, value=[1.0]) for time in times])
    assert list_outcomes(codec.decode(messages), 2) == [("bad_time",), ("good",)]


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint64(), pa.int64(), pa.bool_()]
)
def test_types_of_values(kind: pa.DataType) -> None:
    value = pa.array(np.array([1, 0], dtype=kind.to_pandas_dtype()), kind)
    decoded = build_codec(OPTIONS).decode(build_messages([arrow(series=["a", "a"], value=value)]))
    assert decoded.readings.value.tolist() == [1.0, 0.0]
    nothing = pa.nulls(2, kind)
    decoded = build_codec(OPTIONS).decode(build_messages([arrow(series=["a", "a"], value=nothing)]))
    assert list_outcomes(decoded, 1) == [("missing", "missing")]


def test_what_is_no_number_has_the_value_nan() -> None:
    payload = arrow(series=["a"] * 3, value=[float("inf"), float("nan"), float("-inf")])
    decoded = build_codec(OPTIONS).decode(build_messages([payload]))
    assert list_outcomes(decoded, 1) == [("bad_quality", "missing", "bad_quality")]
    assert np.isnan(decoded.readings.value).all()


@pytest.mark.parametrize(
    ("quality", "good"),
    [
        (pa.array(["Good", "Bad", None]), ("good",)),
        (pa.array(["Good", "Bad", None], pa.string_view()), ("good",)),
        (pa.array(["Good", "Bad", None]).dictionary_encode(), ("good",)),
        (pa.array([192, 0, None], pa.uint8()), (192,)),
        (pa.array([True, False, None]), ("true",)),
    ],
    ids=lambda column: str(getattr(column, "type", column))[:50],
)
def test_quality(quality: pa.Array, good: tuple[str | int, ...]) -> None:
    options = CodecOptions(format="arrow", fields=FieldOptions(quality="q", good=good))
    decoded = build_codec(options).decode(
        build_messages([arrow(series=["a"] * 3, value=[1.0, 2.0, 3.0], q=quality)])
    )
    assert list_outcomes(decoded, 1) == [("good", "bad_quality", "good")]
    assert [value for *_, value, _ in list_readings(decoded)] == [1.0, None, 3.0]


@pytest.mark.parametrize("part", ["series", "quality"])
def test_a_null_view_of_negative_length_does_not_end_the_process(part: str) -> None:
    """Full validation passes over it, and a cast to string then ended the process."""
    texts = [b"\x04\0\0\0Good", b"\0\0\0\x80", b"\x03\0\0\0Bad"]  # the null row's length is -2**31
    views = b"".join(text.ljust(16, b"\0") for text in texts)
    column = pa.Array.from_buffers(pa.string_view(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(views)])
    column.validate(full=True)
    payload = arrow(**{"series": ["a"] * 3, "value": [1.0, 2.0, 3.0]} | {part: column})
    options = CodecOptions(format="arrow", fields=FieldOptions(quality="quality"))
    decoded = build_codec(options).decode(build_messages([payload], b"key"))
    if part == "series":
        assert [name for _, _, name, *_ in list_readings(decoded)] == ["Good", "key", "Bad"]
    else:
        assert list_outcomes(decoded, 1) == [("good", "good", "bad_quality")]


def test_names_order_and_unknown_columns() -> None:
    options = CodecOptions(format="arrow", fields=FieldOptions(series="tag", time="at.utc", value="v"))
    payload = arrow(
        x=pa.array([[1], [2]]),
        v=pa.array([1, 2], pa.int32()),
        y=pa.array(["p", "q"]).dictionary_encode(),
        **{"at.utc": pa.array([5, 6], pa.timestamp("ms"))},
        tag=pa.array(["a", "b"]),
    )
    decoded = build_codec(options).decode(build_messages([payload]))
    assert list_readings(decoded) == [(0, 0, "a", 5, 1.0, "good"), (0, 1, "b", 6, 2.0, "good")]


def test_key_and_clock_stand_in() -> None:
    payloads = [arrow(value=[1.0, 2.0]), arrow(series=pa.array([None, "b"]), value=[3.0, 4.0])]
    payloads.append(arrow(series=pa.array([None, "b"]).dictionary_encode(), value=[5.0, 6.0]))
    messages = build_messages(payloads, b"key", [7, 8, 9])
    decoded = build_codec(OPTIONS).decode(messages)
    assert [(series, time) for _, _, series, time, *_ in list_readings(decoded)] == [
        *[("key", 7)] * 2, ("key", 8), ("b", 8), ("key", 9), ("b", 9)
    ]  # fmt: skip


def test_index_counts_through_the_batches_of_a_message() -> None:
    batches = [
        pa.record_batch({"series": pa.array(ids), "value": [1.0, 2.0]}) for ids in (["a", ""], ["", "b"])
    ]
    messages = build_messages([write_arrow(*batches)])
    decoded = build_codec(OPTIONS).decode(messages)
    check_account(decoded, messages)
    assert [index for _, index, *_ in list_readings(decoded)] == [0, 3]
    assert list_rejections(decoded) == [(0, 1, "bad_series"), (0, 2, "bad_series")]


def test_columns_too_long_to_be_kept() -> None:
    ids = [f"{'x' * 200}/{number}" for number in range(1000)]
    payload = arrow(series=pa.array(ids), value=np.arange(1000.0))
    decoded = build_codec(OPTIONS).decode(build_messages([payload, payload]))
    assert [series for _, _, series, *_ in list_readings(decoded)] == ids * 2


def make_repeating(numbers: list[int], kind: pa.DataType = pa.dictionary(pa.int32(), pa.string())) -> bytes:  # noqa: B008
    """Messages of one sender: the same dictionary, whatever the readings."""
    codes = pa.array([number % len(IDS[:2]) for number in numbers], kind.index_type)
    return arrow(
        series=pa.DictionaryArray.from_arrays(codes, pa.array(IDS[:2], kind.value_type)),
        time=pa.array([number + 1 for number in numbers], pa.timestamp("ms", "UTC")),
        value=pa.array([float(number) for number in numbers], pa.float64()),
    )


def test_messages_that_begin_alike_are_read_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as a whole: else this would say nothing."""
    parts = []
    read = Repeats.read
    monkeypatch.setattr(Repeats, "read", lambda self, payload: parts.append(read(self, payload)) or parts[-1])
    payloads = [make_repeating(list(range(k, k + 3 + k % 2))) for k in range(6)]
    other = arrow(series=["c"], time=pa.array([9], pa.timestamp("s")), value=[7.0])
    small = make_repeating([4, 5], pa.dictionary(pa.uint8(), pa.large_string()))
    messages = build_messages([*payloads[:3], other, small, *payloads[3:], small])
    decoded = build_codec(OPTIONS).decode(messages)
    check_account(decoded, messages)
    assert [part is not None for part in parts] == [False, True, True, False, False, True, True, True, True]
    alone = [list_readings(build_codec(OPTIONS).decode(build_messages([each]))) for each in messages.value]
    expected = [(place, *row[1:]) for place, rows in enumerate(alone) for row in rows]
    assert list_readings(decoded) == expected


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3), st.integers(0, 40))
def test_damage_behind_a_known_beginning_is_found_as_alone(damage: list[tuple[int, int]], cut: int) -> None:
    good = make_repeating(list(range(20)))
    bad = bytearray(good)
    for at, byte in damage:
        bad[at % len(bad)] = byte
    bad = bad[: len(bad) - cut]
    again = build_codec(OPTIONS)
    again.decode(build_messages([good]))
    alone = build_codec(OPTIONS)
    decoded = [codec.decode(build_messages([bytes(bad)])) for codec in (again, alone)]
    assert list_outcomes(decoded[0], 1) == list_outcomes(decoded[1], 1)
    assert list_readings(decoded[0]) == list_readings(decoded[1])


def test_numbers_of_series_given_anew_reach_messages_that_begin_alike() -> None:
    codec = build_codec(OPTIONS)
    payload = make_repeating([0, 1])
    first = list_readings(codec.decode(build_messages([payload, payload])))
    codec._ids._max_kept = 1
    codec.decode(build_messages([arrow(series=["x"], time=pa.array([9], pa.timestamp("s")), value=[7.0])]))
    assert list_readings(codec.decode(build_messages([payload, payload]))) == first
