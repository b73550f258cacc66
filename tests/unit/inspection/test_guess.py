"""What is guessed of messages from their bytes."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from pipeline.inspection.guess import Guess, find_time_unit, guess_format


def guess(*values: object, keyed: bool = True) -> Guess:
    encoded = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return guess_format(encoded, keyed=keyed)


def test_one_reading_a_message() -> None:
    found = guess({"series": "a", "time": 1_700_000_000_000, "value": 1.5})
    assert (found.format, found.fields, found.time_unit, found.notes) == ("json", {}, "ms", ())
    assert found.title == "json, one reading a message"


@pytest.mark.parametrize(
    ("message", "fields", "unit"),
    [
        (
            {"TagName": "a", "Timestamp": "2024-01-01T00:00:00Z", "Value": 1, "Quality": "Good"},
            {"time": "Timestamp", "value": "Value", "series": "TagName", "quality": "Quality"},
            "rfc3339",
        ),
        (
            {"meta": {"sensor": "a", "unit": "bar"}, "ts": 1_700_000_000, "data": {"v": 2.0}},
            {"time": "ts", "value": "data.v", "series": "meta.sensor"},
            "s",
        ),
        (
            {"ts": 1_700_000_000_000_000, "id": 5, "name": "a", "val": None, "q": 192},
            {"time": "ts", "value": "val", "series": "name", "quality": "q"},
            "us",
        ),
    ],
)
def test_other_names_and_nested_ones(message: dict[str, Any], fields: dict[str, str], unit: str) -> None:
    found = guess(message)
    assert (found.format, found.fields, found.time_unit) == ("json", fields, unit)


def test_arrays_columns_and_arrow() -> None:
    one = {"series": "a", "time": 1_700_000_000_000, "value": 1}
    assert guess([one, one]).title == "json, an array of readings a message"
    found = guess({"tag": ["a", "b"], "time": [1, 2], "value": [1.0, None]})
    assert (found.format, found.fields, found.time_unit) == ("columns", {"series": "tag"}, "s")
    table = pa.table({"series": ["a"], "ts": pa.array([1], pa.timestamp("ms")), "value": [1.0]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found = guess(bytes(sink.getvalue()))
    assert (found.format, found.fields, found.time_unit) == ("arrow", {"time": "ts"}, None)
    assert guess(bytes(sink.getvalue())[:20]).format is None


def test_telegraf_and_line_protocol() -> None:
    metric = {
        "name": "opcua",
        "tags": {"host": "h", "unit": "3"},
        "fields": {"temp": 1},
        "timestamp": 1_700_000_000,
    }
    other = {**metric, "tags": {"unit": "3"}}
    wanted = {"series": "{name}/{tags.unit}/{field}", "time": "timestamp", "values": "fields.*"}
    for found in (guess(metric, other), guess([metric, other])):
        assert (found.title, found.fields, found.time_unit) == ("Telegraf's JSON", wanted, "s")
    assert guess({"metrics": [metric, other]}).fields == {**wanted, "items": "metrics"}
    found = guess(b"opcua,unit=3 temp=1.5,flow=2i 1700000000000000000\nopcua temp=2 1700000000000000001\n")
    assert (found.format, found.fields, found.time_unit) == ("influx", {}, None)
    assert guess(b"opcua temp=1.5 1700000000\n").time_unit == "s"


def test_readings_in_an_array_of_a_message() -> None:
    found = guess({"device": "d", "timestamp": 1_700_000_000_000, "points": [{"name": "a", "value": 1}]})
    assert found.fields == {"time": "timestamp", "series": "name", "items": "points"}


def test_what_is_missing_is_said() -> None:
    assert guess({"time": 1, "value": 2}).notes == ("no field names the series: the key does",)
    found = guess({"x": 1}, keyed=False)
    assert found.notes == (
        "no field names the series: set fields.series",
        "no field holds the value: set fields.value",
        "no field holds the time: the broker's timestamp counts",
    )


def test_the_majority_decides_and_nonsense_is_named() -> None:
    one = {"series": "a", "time": 1, "value": 1}
    found = guess(one, one, one, b"\x00\x01")
    assert (found.format, found.share) == ("json", 0.75)
    found = guess(b"\x00\x01 what", b"{broken")
    assert found.format is None
    assert found.title == r"no known format; the first begins with b'\x00\x01 what'"
    assert guess_format([None, None], keyed=False).title == "no message with a value"
    assert guess(b"[" * 100_000).format is None


def test_time_units() -> None:
    assert [find_time_unit([10**digits]) for digits in (9, 12, 15, 18)] == ["s", "ms", "us", "ns"]
    assert find_time_unit([None, "2024-01-01T00:00:00Z"]) == "rfc3339"
    assert find_time_unit([None]) is None
