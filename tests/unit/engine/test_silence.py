from __future__ import annotations

from typing import Any

import pytest

from pipeline.engine.settings import SeriesSettings
from pipeline.engine.silence import MAX_LISTENED_MS

START_MS = 1_795_415_880_000
MINUTE_MS = 60_000


def listen(feed: Any, start: float, stop: float, *, read_to_end: bool = True, every_s: int = 10) -> list[Any]:
    """Check every few seconds, from minute to minute."""
    alerts = []
    for now_ms in range(round(start * MINUTE_MS), round(stop * MINUTE_MS) + 1, every_s * 1000):
        alerts += feed.shard.check_silence(START_MS + now_ms, read_to_end)
    return alerts


def test_fires_once_when_a_series_falls_silent_and_resolves_at_its_return(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    assert listen(feed, 2, 7) == []
    (fired,) = listen(feed, 7, 30)
    assert (fired.kind, fired.state, fired.started) == ("silent", "firing", START_MS + 2 * MINUTE_MS)
    assert START_MS + 7 * MINUTE_MS < fired.time <= START_MS + 7.5 * MINUTE_MS
    assert fired.reason == (
        "No reading since 2026-11-23T06:40:00Z, 5 min ago; "
        "one is expected every 60 s and at the latest after 5 min."
    )
    (resolved,) = feed.send("p", 31)
    assert (resolved.id, resolved.state, resolved.resolution) == (fired.id, "resolved", "recovered")
    assert (resolved.ended, resolved.reason) == (
        START_MS + 31 * MINUTE_MS, "A reading at 2026-11-23T07:09:00Z after 29 min of silence.",
    )  # fmt: skip
    assert feed.send("p", 32) == []
    assert listen(feed, 32, 37) == []


def test_never_touches_what_was_learnt(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    before = {name: t.numpy().tobytes() for name, t in feed.shard.save().items()}
    assert len(listen(feed, 2, 30)) == 1
    after = {name: t.numpy().tobytes() for name, t in feed.shard.save().items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"silence.since_ms"}


def test_a_restart_neither_fires_twice_nor_forgets_to_resolve(make_feed, resume) -> None:
    feed = make_feed()
    feed.warm("p")
    (fired,) = listen(feed, 2, 10)
    feed = resume(feed)
    assert listen(feed, 10, 40) == []
    assert [alert.id for alert in feed.send("p", 41)] == [fired.id]


def test_after_an_outage_of_the_broker_nothing_is_silent(make_feed) -> None:
    """Two hours without the broker, whose producers dropped what they could not send."""
    feed = make_feed()
    feed.warm("p")
    assert listen(feed, 2, 3) == []
    assert listen(feed, 3, 123, read_to_end=False, every_s=60) == []
    assert listen(feed, 123, 126) == []
    assert feed.send("p", 126) == []
    assert listen(feed, 126, 131) == []


def test_a_backlog_is_read_to_its_end_first(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    for minute in range(3, 123):
        assert listen(feed, 123, 123.5, read_to_end=False) == []
        assert feed.send("p", minute) == []
    assert listen(feed, 124, 128) == []


def test_a_worker_that_slept_has_not_listened(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    assert listen(feed, 2, 3) == []
    assert feed.shard.check_silence(START_MS + 600 * MINUTE_MS, True) == []
    assert MAX_LISTENED_MS < 2 * MINUTE_MS


def test_one_check_amid_unread_readings_does_not_start_from_nothing(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    assert listen(feed, 2, 5) == []
    assert feed.shard.check_silence(START_MS + 5 * MINUTE_MS + 1000, False) == []
    assert len(listen(feed, 5.1, 7.5)) == 1


@pytest.mark.parametrize("warm", [0, 1, 2])
def test_a_series_that_is_not_warm_raises_none(make_feed, warm: int) -> None:
    feed = make_feed()
    feed.warm("p", until=warm)
    assert listen(feed, 2, 60) == []


@pytest.mark.parametrize(
    ("declared", "minutes"),
    [
        ({}, 5),
        ({"silent_after_ms": 20 * MINUTE_MS}, 20),
        ({"silent_after_ms": 1}, 4),  # four cadences
        ({"by_exception": True}, 50),  # a season
        ({"by_exception": True, "silent_after_ms": 9 * MINUTE_MS}, 9),
        ({"by_exception": True, "season_ms": 0}, 24 * 60),
    ],
)
def test_thresholds(make_feed, declared: dict[str, Any], minutes: int) -> None:
    feed = make_feed(
        {"p": SeriesSettings(**declared)}, alerts={"silent_cadences": 4}, season_ms=50 * MINUTE_MS
    )
    feed.warm("p")
    assert feed.shard.silence.find_thresholds().tolist() == [minutes * MINUTE_MS]
    assert listen(feed, 2, 2 + minutes) == []
    assert len(listen(feed, 2 + minutes, 3 + minutes)) == 1


def test_alerts_come_in_order_of_their_series(make_feed) -> None:
    feed = make_feed()
    for name in "cab":
        feed.warm(name)
    assert [alert.series for alert in listen(feed, 2, 30)] == ["a", "b", "c"]
