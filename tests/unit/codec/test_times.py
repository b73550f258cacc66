"""Times of one reading; the vectorised path is held against it in the property tests."""

from __future__ import annotations

import datetime

import pytest

from pipeline.codec.reasons import Reason
from pipeline.codec.times import MAX_TIME_MS, MIN_TIME_MS, read_time

AT = 1_795_415_863_000


@pytest.mark.parametrize(
    ("raw", "unit", "expected"),
    [
        (1795415863, "s", AT),
        (1795415863.123, "s", AT + 123),
        (1795415863.9999, "s", AT + 999),
        (1.001, "s", 1001),  # 1.001 * 1000 is less
        (1080000000.001, "s", 1_080_000_000_001),
        (AT + 0.9, "ms", AT),
        (AT * 1000 + 999, "us", AT),
        (AT * 1_000_000 + 999_999, "ns", AT),
        (-1, "ns", -1),
        (-1, "s", -1000),
        (-0.5, "s", -500),
        (99_999_999_999, "auto", 99_999_999_999_000),
        (100_000_000_000, "auto", 100_000_000_000),
        (99_999_999_999_999, "auto", 99_999_999_999_999),
        (100_000_000_000_000, "auto", 100_000_000_000),
        (100_000_000_000_000_000, "auto", 100_000_000_000),
        ("1795415863", "auto", AT),
        (" 1795415863.5 ", "auto", AT + 500),
        (253402300799, "s", MAX_TIME_MS - 999),
        (-62135596800, "s", MIN_TIME_MS),
        ("2026-11-23T06:37:43Z", "auto", AT),
        ("2026-11-23T06:37:43Z", "ns", AT),
        ("2026-11-23T06:37:43.0009Z", "rfc3339", AT),
        ("2026-11-23T06:37:43.1z", "rfc3339", AT + 100),
        ("2026-11-23t08:07:43.123456789+01:30", "rfc3339", AT + 123),
        ("2026-11-22 22:37:43-08:00", "rfc3339", AT),
        ("1969-12-31T23:59:59.999Z", "rfc3339", -1),
        ("2016-12-31T23:59:60Z", "rfc3339", 1_483_228_800_000),
        ("9999-12-31T23:59:59.999Z", "rfc3339", MAX_TIME_MS),
        ("0001-01-01T00:00:00Z", "rfc3339", MIN_TIME_MS),
    ],
)
def test_times(raw: object, unit: str, expected: int) -> None:
    assert read_time(raw, unit, 0) == expected


def test_the_range_is_that_of_four_digit_years() -> None:
    for time_ms, text in ((MIN_TIME_MS, "0001-01-01T00:00:00"), (MAX_TIME_MS - 999, "9999-12-31T23:59:59")):
        seconds = (datetime.datetime.fromisoformat(text) - datetime.datetime(1970, 1, 1)).total_seconds()
        assert time_ms == seconds * 1000


@pytest.mark.parametrize(
    ("raw", "unit", "reason"),
    [
        (253402300800, "s", Reason.BAD_TIME),
        (MAX_TIME_MS + 1, "ms", Reason.BAD_TIME),
        (MIN_TIME_MS - 1, "ms", Reason.BAD_TIME),
        (10**400, "s", Reason.BAD_TIME),
        (float("nan"), "auto", Reason.BAD_TIME),
        (float("inf"), "ns", Reason.BAD_TIME),
        (1795415863, "rfc3339", Reason.BAD_TIME),
        ("1795415863", "rfc3339", Reason.BAD_TIME),
        ("", "auto", Reason.BAD_TIME),
        ("2026-11-23T06:37:43", "auto", Reason.BAD_TIME),  # of which zone?
        ("2026-11-23T06:37Z", "auto", Reason.BAD_TIME),
        ("2026-11-23T06:37:43.Z", "auto", Reason.BAD_TIME),
        ("2026-11-23T06:37:43+0100", "auto", Reason.BAD_TIME),
        ("2025-02-29T00:00:00Z", "auto", Reason.BAD_TIME),
        (True, "auto", Reason.WRONG_TYPE),
        ([], "auto", Reason.WRONG_TYPE),
    ],
)
def test_no_times(raw: object, unit: str, reason: Reason) -> None:
    assert read_time(raw, unit, 0) is reason


def test_nothing_is_the_broker_s_timestamp_if_there_is_one() -> None:
    assert read_time(None, "rfc3339", 7) == 7
    assert read_time(None, "s", -1) is Reason.NO_TIME
