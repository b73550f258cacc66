from __future__ import annotations

import hashlib
import math

import pytest

from pipeline.engine.sensor_alerts import format_duration, format_time
from pipeline.engine.settings import SeriesSettings
from pipeline.records import BAD_QUALITY, MISSING

START_MS = 1_795_415_880_000
RANGE = {
    "p": SeriesSettings(
        minimum=-1.0, maximum=5.0, unit="bar", severity="critical", name="Pressure", labels={"site": "A"}
    )
}


def test_three_bad_readings_fire_and_the_first_good_one_resolves(make_feed) -> None:
    feed = make_feed(RANGE)
    feed.warm("p")
    assert feed.send("p", 3, math.nan, MISSING) == []
    assert feed.send("p", 4, 2.0, BAD_QUALITY) == []
    (fired,) = feed.send("p", 5, math.nan, MISSING)
    assert feed.send("p", 6, math.nan, MISSING) == []
    (resolved,) = feed.send("p", 7, 2.5)
    assert feed.send("p", 8, 2.5) == []

    started = START_MS + 3 * 60_000
    assert fired.id == hashlib.sha256(f"p\0bad_quality\0{started}".encode()).hexdigest()[:32]
    assert (fired.kind, fired.state, fired.started, fired.ended) == ("bad_quality", "firing", started, None)
    assert (fired.time, fired.value, fired.resolution) == (START_MS + 5 * 60_000, None, None)
    assert (fired.severity, fired.name, fired.unit, fired.labels) == (
        "critical", "Pressure", "bar", {"site": "A"},
    )  # fmt: skip
    assert fired.reason == (
        "3 readings in a row without a usable value, from 2026-11-23T06:41:00Z to 2026-11-23T06:43:00Z."
    )
    assert (resolved.id, resolved.state, resolved.resolution) == (fired.id, "resolved", "recovered")
    assert (resolved.started, resolved.ended, resolved.value) == (started, START_MS + 7 * 60_000, 2.5)
    assert resolved.reason == (
        "A good reading, 2.5, at 2026-11-23T06:45:00Z after 4 readings in a row that were not, over 4 min."
    )


def test_values_outside_the_declared_range(make_feed) -> None:
    feed = make_feed(RANGE)
    feed.warm("p")
    assert feed.send("p", 3, 9.0) + feed.send("p", 4, 9.0) == []
    (fired,) = feed.send("p", 5, 7.25)
    assert (fired.kind, fired.value, fired.lower, fired.upper) == ("out_of_range", 7.25, -1.0, 5.0)
    assert fired.reason == (
        "3 readings in a row outside -1 to 5 bar, from 2026-11-23T06:41:00Z to 2026-11-23T06:43:00Z; "
        "the last was 7.25."
    )
    assert feed.shard.counts["masked_out_of_range"] == 3


def test_a_good_reading_ends_the_row_and_a_gap_does_not(make_feed) -> None:
    feed = make_feed(RANGE)
    feed.warm("p")
    for minute, value in enumerate([9.0, 9.0, 1.0, 9.0, 9.0], start=3):
        assert feed.send("p", minute, value) == []
    (fired,) = feed.send("p", 12, 9.0)
    assert fired.started == START_MS + 6 * 60_000


def test_a_machine_at_rest_has_a_good_sensor(make_feed) -> None:
    feed = make_feed({"p": SeriesSettings(minimum=2.0, off_when=("<", 1.0))})
    for minute in range(3):
        feed.send("p", minute, 3.0)
    for minute in range(3, 9):
        assert feed.send("p", minute, 0.0) == []
    assert feed.shard.counts["masked_off"] == 6
    for minute in range(9, 11):
        assert feed.send("p", minute, 1.5) == []
    assert [alert.state for alert in feed.send("p", 11, 1.5)] == ["firing"]
    assert [alert.state for alert in feed.send("p", 12, 0.0)] == ["resolved"]


def test_no_alert_of_a_series_that_is_not_warm(make_feed) -> None:
    feed = make_feed(RANGE)
    feed.warm("p", until=2)
    for minute in range(2, 8):
        assert feed.send("p", minute, 9.0) == []


def test_number_in_a_row_is_an_option_and_survives_a_restart(make_feed, resume) -> None:
    feed = make_feed(RANGE, alerts={"masked_in_a_row": 2})
    feed.warm("p")
    assert feed.send("p", 3, 9.0) == []
    feed = resume(feed)
    (fired,) = feed.send("p", 4, 9.0)
    feed = resume(feed)
    assert feed.send("p", 5, 9.0) == []
    (resolved,) = feed.send("p", 6)
    assert resolved.id == fired.id


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (999, "999 ms"),
        (90_000, "90 s"),
        (120_000, "2 min"),
        (36 * 3_600_000, "36 h"),
        (7 * 86_400_000, "7 d"),
    ],
)
def test_durations(duration_ms: int, text: str) -> None:
    assert format_duration(duration_ms) == text


def test_times_beyond_the_calendar() -> None:
    assert format_time(2**61) == f"{2**61} ms"
